//! Real large models over the wire, where there are any: `MEDLEY_TEST_PROVIDERS` names a configuration with providers, such as `benches/providers/providers.toml`
//! with the servers of `benches/providers/start.sh`. Everything else about providers is tested against fakes in `tests/api`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use medley::config::{Config, Overrides};
use medley::domain::{Domain, Item, ItemId, Language};
use medley::engine::rerank::short_list::Known;
use medley::large_model::{ProviderError, ProviderKind, Providers, ShortList, words};

fn item(title: &str, genres: &[&str]) -> Item {
    Item {
        id: ItemId::new(title.replace(' ', "-")).unwrap(),
        domain: Domain::new("movie").unwrap(),
        title: title.to_owned(),
        genres: genres.iter().map(|genre| (*genre).to_owned()).collect(),
        tags: Vec::new(),
        description: None,
        creators: Vec::new(),
        released: None,
        attributes: std::collections::BTreeMap::new(),
        available: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_answers_over_the_wire() {
    let Some(file) = std::env::var_os("MEDLEY_TEST_PROVIDERS").map(PathBuf::from) else {
        println!("MEDLEY_TEST_PROVIDERS names no configuration: no real provider was asked");
        return;
    };
    let overrides = Overrides { file: Some(file), ..Overrides::default() };
    let config = Config::load(&overrides, std::iter::empty()).unwrap();
    let providers = Providers::new(&config.large_model).unwrap();
    let remote: Vec<_> =
        providers.all.iter().filter(|provider| config.large_model.providers.contains_key(&provider.name)).collect();
    assert!(!remote.is_empty(), "the configuration has no providers");
    let known = Known {
        tastes: vec!["movie: a scary film about ghosts".to_owned()],
        liked: vec![item("The Shining", &["Horror"])],
        disliked: Vec::new(),
    };
    let candidates = [
        item("The Conjuring", &["Horror"]),
        item("Toy Story", &["Animation", "Children"]),
        item("Poltergeist", &["Horror"]),
    ];
    let list = ShortList::new(&known, &candidates);
    for provider in remote {
        let started = Instant::now();
        let scores = provider
            .score(&list, Duration::from_secs(600))
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", provider.name));
        let took = started.elapsed();
        assert_eq!(scores.len(), candidates.len());
        let given: Vec<f32> = scores.iter().copied().flatten().collect();
        assert!(
            !given.is_empty() && given.iter().all(|score| (0.0..=1.0).contains(score)),
            "{}: {scores:?}",
            provider.name
        );
        let numbers = provider.statistics();
        assert!(numbers.requests > 0 && numbers.failures == 0, "{}: {numbers:?}", provider.name);
        assert!(numbers.usage.input_tokens > 0, "{}: no usage", provider.name);
        println!(
            "{:<20} {:<11} scores {scores:.3?} in {took:.1?}, {} requests, {} tokens in, {} out",
            provider.name,
            provider.kind.as_str(),
            numbers.requests,
            numbers.usage.input_tokens,
            numbers.usage.output_tokens
        );
        if provider.kind == ProviderKind::Chat {
            let prompt = words::reason("Because you liked {1}", Language::tagged("de").unwrap());
            match provider.write(prompt, Duration::from_secs(600)).await {
                Ok(text) => println!("{:<20} writes {text:?}", provider.name),
                // A model as small as these writes on until it is cut off; its text is refused, as it should be.
                Err(ProviderError::Unusable(reason)) => {
                    println!("{:<20} writes nothing of use: {reason}", provider.name)
                }
                Err(error) => panic!("{}: {error}", provider.name),
            }
        }
    }
}
