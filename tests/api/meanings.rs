//! Free texts that the catalogue's words do not explain: asked of the provider whose vectors the model has, once, within the time, and never otherwise.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::app::{TestApp, event, ids};
use crate::fake_provider::{self, degraded};

/// To this embeddings model "kaiju rampage" means the tenth film, and nothing else means anything in particular.
struct Fake {
    server: MockServer,
    /// What it answers with.
    status: Arc<AtomicU16>,
    /// The texts that it was sent.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    async fn start() -> Self {
        let (status, seen) = (Arc::new(AtomicU16::new(200)), Arc::new(Mutex::new(Vec::new())));
        let (says, sees) = (Arc::clone(&status), Arc::clone(&seen));
        let respond = move |request: &Request| {
            let body: Value = request.body_json().unwrap();
            let texts: Vec<&str> =
                body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
            sees.lock().unwrap().extend(texts.iter().map(|text| (*text).to_owned()));
            let vector = |text: &str| match () {
                () if text.contains("movie number 10") || text.contains("kaiju") => vec![1.0, 0.1, 0.0],
                () if text.contains("longer") => vec![1.0; 4],
                () => vec![0.0, 1.0, text.len() as f32 / 100.0],
            };
            let rows = texts.iter().enumerate().map(|(index, text)| json!({"index": index, "embedding": vector(text)}));
            let rows: Vec<Value> = rows.collect();
            ResponseTemplate::new(says.load(Ordering::SeqCst)).set_body_json(json!({"data": rows}))
        };
        let server = MockServer::start().await;
        Mock::given(path("/v1/embeddings")).respond_with(respond).mount(&server).await;
        Self { server, status, seen }
    }

    /// A service that has trained with its vectors.
    async fn app(&self, more: &[(&str, &str)]) -> TestApp {
        let mut settings = vec![
            ("QUERY_PREFIX", "query: "),
            ("RETRIES", "0"),
            ("MEDLEY_LARGE_MODEL__RERANK", ""),
            ("MEDLEY_LARGE_MODEL__EMBEDDINGS", "p"),
            ("MEDLEY_LARGE_MODEL__FREE_TEXT", "true"),
        ];
        settings.extend(more);
        let app = fake_provider::app(&self.server.uri(), "embeddings", &settings).await;
        let items = ["movie-00", "movie-02", "movie-04", "music-00", "music-02", "game-00"];
        let liked = |user: usize| items.iter().skip(user % 3).map(move |item| event(&format!("u{user}"), item, "like"));
        let rows: Vec<Value> = (0..40).flat_map(liked).collect();
        app.post("/api/events", &json!({"events": rows})).await.expect(200);
        let mut job = app.call("POST", "/api/models/train", "").await.expect(202);
        let at = format!("/api/jobs/{}", job["id"].as_str().unwrap());
        while job["state"] == "running" {
            tokio::time::sleep(Duration::from_millis(50)).await;
            job = app.get(&at).await.expect(200);
        }
        assert_eq!(job["state"], "succeeded", "{job}");
        while app.recommend(&json!({})).await["model"]["version"] != job["result"]["version"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.seen.lock().unwrap().clear();
        app
    }

    /// What it was sent since the last time.
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn films(text: &str) -> Value {
    json!({"query": text, "domains": ["movie"], "limit": 3, "diversity": 0.0})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_words_do_not_explain_is_asked_about_once() {
    let fake = Fake::start().await;
    let app = fake.app(&[]).await;
    let answer = app.recommend(&films("kaiju rampage")).await;
    assert_eq!(ids(&answer["movie"])[0], "movie-10", "{answer}");
    assert_eq!((degraded(&answer).len(), answer["unmatched"][0]["value"].as_str()), (0, Some("kaiju rampage")));
    assert_eq!(fake.seen(), ["query: kaiju rampage"]);
    assert_eq!(app.recommend(&films("kaiju rampage")).await["movie"], answer["movie"], "kept");
    assert_eq!(fake.seen(), [""; 0]);

    // A part that is known stays known.
    let mut all = films("comedy kaiju rampage");
    all["limit"] = json!(12);
    let list = ids(&app.recommend(&all).await["movie"]);
    assert!(list[..6].iter().all(|id| id[6..].parse::<u32>().unwrap() % 2 == 1), "comedies come first: {list:?}");
    assert_eq!(list[6], "movie-10", "{list:?}");
    assert_eq!(fake.seen(), ["query: comedy kaiju rampage"]);

    // What the catalogue has words for goes nowhere, nor does a single word, which is more likely a misspelling.
    for text in ["horror", "The First movie number 3", "Creator 2", "comedy horror", "kaiju"] {
        app.recommend(&films(text)).await;
    }
    assert_eq!(fake.seen(), [""; 0]);

    // Many who ask the same at the same time.
    let again = films("kaiju stampede");
    futures_util::future::join_all((0..8).map(|_| app.recommend(&again))).await;
    assert_eq!(fake.seen(), ["query: kaiju stampede"]);

    // Several at once, in one request.
    let asked = json!({"movie": ["kaiju brawl", "kaiju duel"], "query": "kaiju again", "domains": ["movie"]});
    app.recommend(&asked).await;
    let mut seen = fake.seen();
    seen.sort_unstable();
    assert_eq!(seen, ["query: kaiju again", "query: kaiju brawl", "query: kaiju duel"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_costs_the_meaning_until_it_is_back() {
    let fake = Fake::start().await;
    let app = fake.app(&[]).await;
    fake.status.store(503, Ordering::SeqCst);
    let answer = app.recommend(&films("kaiju rampage")).await;
    assert_eq!(degraded(&answer), ["llm_unavailable"].into(), "{answer}");
    assert_eq!(ids(&answer["movie"]).len(), 3);
    assert_eq!(fake.seen().len(), 1);
    fake.status.store(200, Ordering::SeqCst);
    let answer = app.recommend(&films("kaiju rampage")).await;
    assert_eq!((degraded(&answer).len(), ids(&answer["movie"])[0].as_str()), (0, "movie-10"), "{answer}");

    let answer = app.recommend(&films("something longer entirely")).await;
    assert!(degraded(&answer).contains("llm_unavailable"), "a vector of another length: {answer}");

    fake.seen();
    fake.status.store(503, Ordering::SeqCst);
    for number in 0..8 {
        let answer = app.recommend(&films(&format!("kaiju attack {number}"))).await;
        assert_eq!(degraded(&answer), ["llm_unavailable"].into(), "{answer}");
    }
    assert_eq!(fake.seen().len(), 5, "it is left alone after five failures");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_where_that_is_not_wished_or_the_vectors_are_of_another_model() {
    let fake = Fake::start().await;
    let app = fake.app(&[("MEDLEY_LARGE_MODEL__FREE_TEXT", "false")]).await;
    let answer = app.recommend(&films("kaiju rampage")).await;
    assert_eq!((fake.seen(), degraded(&answer).len()), (Vec::new(), 0), "{answer}");

    let app = fake.app(&[]).await;
    let version = app.recommend(&json!({})).await["model"]["version"].as_str().unwrap().to_owned();
    let folder = app.config.models_dir(&medley::domain::Tenant::default()).join(version);
    let model = medley::engine::artifact::Model::open(&folder).unwrap();
    let meanings = model.meanings.expect("they go with the model");
    assert_eq!((meanings.source.provider.as_str(), meanings.source.model.as_str()), ("p", "fake"));

    let app = fake.app(&[("MEDLEY_LARGE_MODEL__EMBEDDINGS", "embedded-static")]).await;
    app.recommend(&films("kaiju rampage")).await;
    assert_eq!(fake.seen(), [""; 0], "the model has no vectors of it");
}
