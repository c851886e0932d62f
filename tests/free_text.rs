//! Free text in English and Chinese on the demo catalogue: of the first ten answers to each case, how many bear a label that was judged to answer it.

use medley::demo;
use medley::domain::{Domain, Filters, Query, Rerank, Taste};
use medley::engine::catalogue::Catalogue;
use medley::engine::pipeline;

/// The list, the text, and the genres and tags of which an item needs one.
#[derive(serde::Deserialize)]
struct Case {
    domain: String,
    text: String,
    labels: Vec<String>,
}

/// Half of them in Chinese. `benches/free_text` reads them too.
fn cases() -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("support/free_text.json")).unwrap();
    assert_eq!(cases.len(), 34);
    cases
}

/// The mean precision at ten that must hold; what was reached when this was written is in docs/accuracy.md.
const FLOOR: f64 = 0.95;
/// No single case may come out worse.
const LEAST: f64 = 0.5;

#[test]
fn most_of_the_first_ten_answer_the_text() {
    let domains = ["music", "movie", "game"].map(|name| Domain::new(name).unwrap());
    let mut catalogue = Catalogue::new(&domains);
    for item in demo::items() {
        catalogue.upsert(item);
    }
    let interactions = medley::config::Config::load(&medley::config::Overrides::default(), []).unwrap().interactions;
    let mut sum = 0.0;
    let cases = cases();
    for Case { domain, text, labels } in &cases {
        let domain = Domain::new(domain).unwrap();
        let taste = Taste { domain: Some(domain.clone()), text: text.clone(), pointer: "/query".to_owned() };
        let query = Query {
            tastes: vec![taste],
            user_id: None,
            session: Vec::new(),
            domains: vec![domain],
            limit: 10,
            filters: Filters::default(),
            exclude: Vec::new(),
            include_seen: false,
            model: None,
            diversity: 0.1,
            explain: false,
            rerank: Rerank::None,
            deadline: None,
            min_watermark: None,
        };
        let answer = pipeline::recommend(&catalogue, None, &interactions, &query, &[]);
        let list = &answer.lists[0].1;
        assert_eq!(list.len(), 10, "{text}");
        let answers = list.iter().filter(|ranked| {
            let mut own = ranked.item.genres.iter().chain(&ranked.item.tags);
            own.any(|label| labels.contains(&label.to_lowercase()))
        });
        let precision = answers.count() as f64 / 10.0;
        let titles: Vec<&str> = list.iter().map(|ranked| ranked.item.title.as_str()).collect();
        println!("{precision:.1}  {text}: {}", titles.join(", "));
        assert!(precision >= LEAST, "{text}: {precision}: {titles:?}");
        sum += precision;
    }
    let mean = sum / cases.len() as f64;
    println!("mean precision@10 over {} cases: {mean:.3}", cases.len());
    assert!(mean >= FLOOR, "{mean}");
}
