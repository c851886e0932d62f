//! Real large models over the wire, where there are any: `MEDLEY_TEST_PROVIDERS` names a configuration with providers, such as `benches/providers/providers.toml`
//! with the servers of `benches/providers/start.sh`. And `medley evaluate --providers` with fakes; everything else about providers is tested against fakes in
//! `tests/api`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use medley::config::{Config, Overrides};
use medley::domain::{Domain, Event, InteractionKind, Item, ItemId, Language, UserId};
use medley::engine::rerank::short_list::Known;
use medley::large_model::{ProviderError, ProviderKind, Providers, ShortList, words};
use medley::store::{self, Store};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

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

/// A store in the folder with 150 people, who keep to one of ten groups of films.
async fn store_with_behaviour(folder: &Path) -> Arc<dyn Store> {
    let url = format!("sqlite://{}", folder.join("medley.db").display());
    let options =
        store::Options { url, max_connections: 2, acquire_timeout: Duration::from_secs(10), master_key: None };
    let store = store::open(&options).await.unwrap();
    store.migrate().await.unwrap();
    let items: Vec<Item> =
        (0..100).map(|n| item(&format!("film {n}"), &[["Horror", "Comedy", "War"][n / 10 % 3]])).collect();
    store.upsert_items(&items).await.unwrap();
    let now = Timestamp::now();
    let event = |person: usize, nth: usize| Event {
        event_id: None,
        user_id: UserId::new(format!("person-{person}")).unwrap(),
        item_id: ItemId::new(format!("film-{}", person % 10 * 10 + (person / 10 + nth) % 10)).unwrap(),
        kind: InteractionKind::Watch,
        value: None,
        at: now - SignedDuration::from_hours((1 + nth + person) as i64),
        recommendation_id: None,
        position: None,
    };
    let events: Vec<Event> = (0..150).flat_map(|person| (0..7).map(move |nth| event(person, nth))).collect();
    store.load_events(&events).await.unwrap();
    store
}

/// Runs `medley evaluate --providers` against a re-ranker whose `refused` requests, counted from 1, are answered with that status. Gives whether the command succeeded,
/// and what it printed on stderr.
async fn evaluate(folder: &Path, refused: fn(usize) -> Option<u16>) -> (bool, String) {
    let (server, requests) = (MockServer::start().await, AtomicUsize::new(0));
    let respond = move |request: &Request| {
        if let Some(status) = refused(requests.fetch_add(1, Ordering::Relaxed) + 1) {
            return ResponseTemplate::new(status);
        }
        let body: Value = request.body_json().unwrap();
        let rows = (0..body["documents"].as_array().unwrap().len()).map(|n| json!({"index": n, "score": 0.5}));
        ResponseTemplate::new(200).set_body_json(json!({"results": rows.collect::<Vec<_>>()}))
    };
    Mock::given(wiremock::matchers::any()).respond_with(respond).mount(&server).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
    command.args(["evaluate", "--providers", "p", "--split", "random", "--data-dir"]).arg(folder);
    let (url, of) = (server.uri(), |key: &str| format!("MEDLEY_LARGE_MODEL__PROVIDERS__P__{key}"));
    for (key, value) in [("KIND", "rerank"), ("BASE_URL", url.as_str()), ("MODEL", "fake"), ("ALLOW_PRIVATE", "true")] {
        command.env(of(key), value);
    }
    command.env(of("CALIBRATE"), "false").env(of("RETRIES"), "0").env(of("TIMEOUT_MS"), "20000");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_stored_after_a_hiccup_and_not_when_many_lists_have_no_opinion() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_with_behaviour(folder.path()).await;
    let (succeeded, said) = evaluate(folder.path(), |request| request.is_multiple_of(8).then_some(422)).await;
    assert!(!succeeded && said.contains("`p` has no opinion of") && said.contains("nothing is stored"), "{said}");
    assert_eq!(store.evaluations(10).await.unwrap().len(), 0);
    let (succeeded, said) = evaluate(folder.path(), |request| (request <= 8).then_some(503)).await;
    assert!(succeeded, "{said}");
    let stored = store.evaluations(10).await.unwrap();
    let report = &stored[0].report;
    let (cases, of) = (report["cases"].as_u64().unwrap(), &report["providers"][0]);
    let answered = of["requests"].as_u64().unwrap() - of["failures"].as_u64().unwrap();
    // A list that several people share is asked about once, and few were under way before the provider was left alone.
    assert!(stored.len() == 1 && cases >= 100 && answered * 10 >= cases * 8, "{report}");
    assert_eq!(
        report["fusion"]["p"].as_object().unwrap().len(),
        report["rows"][0]["slices"].as_object().unwrap().len()
    );
}
