//! The whole service as a process: an event counts in the next answer, models are swapped under load, both stores agree.

mod support {
    #![allow(dead_code, reason = "each test crate uses its part of the harness")]
    pub mod postgres;
    pub mod server;
}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::server::Server;

struct Service {
    server: Server,
    client: reqwest::Client,
    _data: tempfile::TempDir,
}

impl Service {
    async fn demo(variables: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut all = vec![("MEDLEY_DEMO__CATALOGUE", "always")];
        all.extend_from_slice(variables);
        let client = support::server::client(Duration::from_secs(10));
        let server = Server::start(data.path(), &all);
        server.ready(&client).await;
        Self { server, client, _data: data }
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.client.post(self.server.url(path)).body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path} {body}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(self.server.url(path)).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect()
}

/// How near the top 20 of `list` are to an item: the mean of their similarities to it, 0 for what is not similar.
fn nearness(list: &[String], similarity: &BTreeMap<String, f64>) -> f64 {
    list.iter().take(20).filter_map(|id| similarity.get(id)).sum::<f64>() / 20.0
}

/// 1,000 rounds: like an item, and the next answer is without it and nearer to it.
async fn an_event_counts_in_the_next_answer(service: &Service) {
    const ROUNDS: usize = 1_000;
    const PEOPLE: usize = 250;
    let domains = ["music", "movie", "game"];
    let mut nearer = 0;
    for round in 0..ROUNDS {
        let user = format!("round-{}", round % PEOPLE);
        let domain = domains[(round / PEOPLE + round) % 3];
        let ask = json!({"user_id": user, "domains": [domain], "limit": 200, "diversity": 0});
        let before = ids(&service.post("/api/recommend", &ask).await[domain]);
        let liked = before[(round * 7) % 60].clone();
        let similar = service.get(&format!("/api/items/{liked}/similar?domain={domain}&limit=200")).await;
        let similarity = similar["data"].as_array().unwrap().iter();
        let similarity = similarity
            .map(|item| (item["item_id"].as_str().unwrap().to_owned(), item["score"].as_f64().unwrap()))
            .collect();
        let answer = service
            .post("/api/events", &json!({"events": [{"user_id": user, "item_id": liked, "type": "like"}]}))
            .await;
        let mut ask = ask;
        ask["min_watermark"] = answer["watermark"].clone();
        let answer = service.post("/api/recommend", &ask).await;
        assert_eq!(answer["degraded"], json!([]), "round {round}");
        let after = ids(&answer[domain]);
        assert!(!after.contains(&liked), "round {round}: {liked} was consumed and is still there");
        let before: Vec<String> = before.into_iter().filter(|id| *id != liked).collect();
        let (was, is) = (nearness(&before, &similarity), nearness(&after, &similarity));
        if is < was {
            eprintln!("round {round}, {domain}: after {liked} was liked nearness to it fell from {was} to {is}");
        }
        nearer += usize::from(is >= was);
    }
    eprintln!("{nearer} of {ROUNDS} answers moved toward the liked item or stayed");
    assert_eq!(nearer, ROUNDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_counts_in_the_next_answer_on_sqlite() {
    an_event_counts_in_the_next_answer(&Service::demo(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_counts_in_the_next_answer_on_postgres() {
    let database = support::postgres::database().await;
    an_event_counts_in_the_next_answer(&Service::demo(&[("MEDLEY_DATABASE_URL", database.url.as_str())]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_swaps_fail_no_request() {
    let service = Arc::new(Service::demo(&[]).await);
    let versions = |models: &Value| -> Vec<String> {
        let mut all: Vec<String> =
            models["data"].as_array().unwrap().iter().map(|m| m["version"].as_str().unwrap().to_owned()).collect();
        all.sort();
        all.dedup();
        all
    };
    service.post("/api/models/train", &json!({})).await;
    let mut known = versions(&service.get("/api/models").await);
    for _ in 0..600 {
        if known.len() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        known = versions(&service.get("/api/models").await);
    }
    assert!(known.len() >= 2, "a second version is trained: {known:?}");

    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..4)
        .map(|n| {
            let (service, done, answered) = (Arc::clone(&service), Arc::clone(&done), Arc::clone(&answered));
            tokio::spawn(async move {
                let ask = json!({"user_id": format!("demo-listener-{:03}", n + 1), "movie": ["horror"]});
                while !done.load(Ordering::Relaxed) {
                    let answer = service.post("/api/recommend", &ask).await;
                    assert_eq!(answer["degraded"], json!([]));
                    assert_eq!(answer["movie"].as_array().unwrap().len(), 10);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for swap in 0..200 {
        let version = &known[swap % 2];
        service.post(&format!("/api/models/{version}/activate"), &json!({})).await;
        let answer = service.post("/api/recommend", &json!({})).await;
        assert_eq!(answer["model"]["version"].as_str(), Some(version.as_str()));
    }
    done.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no request failed");
    }
    eprintln!("{} answers during 200 swaps", answered.load(Ordering::Relaxed));
    assert!(answered.load(Ordering::Relaxed) > 200);
}
