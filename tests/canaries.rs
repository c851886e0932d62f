//! Names and secrets that must not be found anywhere: planted in requests and settings, looked for in all that a service leaves behind.

mod support {
    #![allow(dead_code, reason = "each test crate uses its part of the harness")]
    pub mod server;
}

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::server::Server;

const MASTER_KEY: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const ADMIN_KEY: &str = "canary-of-the-admin-key-0123456789";
const PROVIDER_KEY: &str = "canary-of-the-provider-key";
/// What the ids of users and events begin with, what is asked for in words, and the secrets.
const CANARIES: [&str; 6] = ["canary-user", "canary-event", "canary-query", MASTER_KEY, ADMIN_KEY, PROVIDER_KEY];

/// The files below a folder, with their bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![(path.display().to_string(), std::fs::read(&path).unwrap())],
        })
        .collect()
}

fn found(what: &[(String, Vec<u8>)]) -> Vec<(String, &'static str)> {
    let holds = |bytes: &[u8], canary: &str| memchr::memmem::find(bytes, canary.as_bytes()).is_some();
    let of = |(name, bytes): &(String, Vec<u8>)| {
        CANARIES.iter().filter(|canary| holds(bytes, canary)).map(|canary| (name.clone(), *canary)).collect::<Vec<_>>()
    };
    what.iter().flat_map(of).collect()
}

/// In clear, where nothing but deleting protects them: a thousand people are erased of two, and what is left says nothing of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_thousand_people_who_were_erased() {
    const ERASED: usize = 1_000;
    let (data, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = std::fs::File::create(logs.path().join("log")).unwrap();
    // A small demo: what is looked for is not in it.
    let demo = ("MEDLEY_DEMO__LISTENERS", "60");
    let variables = [("MEDLEY_AUTH__ADMIN_KEY", ADMIN_KEY), ("MEDLEY_LOG__LEVEL", "debug"), demo];
    let mut server = Server::start_logged(data.path(), &variables, log.into());
    let client = support::server::client(Duration::from_secs(60));
    server.ready(&client).await;
    let post = |path: &str, body: Value| {
        let request = client.post(server.url(path)).bearer_auth(ADMIN_KEY).json(&body);
        async move { request.send().await.unwrap() }
    };
    let train = async || {
        let job: Value = post("/api/models/train", json!({})).await.json().await.unwrap();
        let job = server.url(&format!("/api/jobs/{}", job["id"].as_str().unwrap()));
        let mut state = json!("running");
        while state == "running" {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answer = client.get(&job).bearer_auth(ADMIN_KEY).send().await.unwrap();
            state = answer.json::<Value>().await.unwrap()["state"].take();
        }
        assert_eq!(state, "succeeded");
    };
    let first = post("/api/recommend", json!({"limit": 100})).await.json::<Value>().await.unwrap();
    let items: Vec<&str> =
        first["movie"].as_array().unwrap().iter().map(|item| item["item_id"].as_str().unwrap()).collect();
    // Ends in a letter, so that none is the beginning of another.
    let name = |number: usize| format!("canary-user-{}-{number}x", if number < ERASED { "gone" } else { "here" });
    for batch in 0..2 {
        let events: Vec<Value> = (0..5 * 2 * ERASED)
            .map(|n| {
                let (user, item) = (name(n % (2 * ERASED)), items[(n * 7 + batch) % items.len()]);
                json!({"event_id": format!("canary-event-{user}-{batch}-{n}"), "user_id": user, "item_id": item, "type": "like"})
            })
            .collect();
        assert!(post("/api/events", json!({"events": events})).await.status().is_success());
    }
    train().await;
    let model = files(&data.path().join("models"));
    assert!(post("/api/recommend", json!({"user_id": name(0), "explain": true})).await.status().is_success());
    for number in 0..ERASED {
        let url = server.url(&format!("/api/users/{}", name(number)));
        let receipt: Value = client.delete(url).bearer_auth(ADMIN_KEY).send().await.unwrap().json().await.unwrap();
        assert_eq!(receipt["erased"]["events"], 10);
    }
    train().await;
    assert!(files(&data.path().join("models")).len() > model.len(), "another model was trained");
    let export = client.get(server.url(&format!("/api/users/{}/export", name(0)))).bearer_auth(ADMIN_KEY).send().await;
    assert_eq!(export.unwrap().json::<Value>().await.unwrap()["events"], json!([]));
    server.kill();
    let compact = Command::new(env!("CARGO_BIN_EXE_medley")).args(["compact", "--data-dir"]).arg(data.path()).status();
    assert!(compact.unwrap().success());
    let mut left = files(data.path());
    left.extend(files(logs.path()));
    assert!(left.iter().any(|(name, log)| name.ends_with("log") && log.len() > 100_000), "a line for each erasure");
    let (mut gone, mut here) = (Vec::new(), 0);
    for (name, bytes) in &left {
        here += memchr::memmem::find_iter(bytes, "canary-user-here").count();
        gone.extend(memchr::memmem::find(bytes, b"canary-user-gone").map(|_| name));
    }
    assert!(here >= ERASED, "the search finds what there is to find: {here}");
    assert_eq!(gone, Vec::<&String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_service_leaves_no_names_and_no_secrets_behind() {
    let (data, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = std::fs::File::create(logs.path().join("log")).unwrap();
    let variables = [
        ("MEDLEY_ENCRYPTION__MASTER_KEY", MASTER_KEY),
        ("MEDLEY_AUTH__ADMIN_KEY", ADMIN_KEY),
        ("MEDLEY_LOG__LEVEL", "trace"),
        ("MEDLEY_DEMO__LISTENERS", "60"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__NOWHERE__KIND", "chat"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__NOWHERE__MODEL", "m"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__NOWHERE__BASE_URL", "http://127.0.0.1:9/v1"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__NOWHERE__ALLOW_PRIVATE", "true"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__NOWHERE__API_KEY", PROVIDER_KEY),
    ];
    let mut server = Server::start_logged(data.path(), &variables, log.into());
    let client = support::server::client(Duration::from_secs(60));
    server.ready(&client).await;
    let post = |path: &str, body: Value| {
        let request = client.post(server.url(path)).bearer_auth(ADMIN_KEY).json(&body);
        async move { request.send().await.unwrap() }
    };
    let first = post("/api/recommend", json!({"movie": ["action"]})).await.json::<Value>().await.unwrap();
    let item = first["movie"][0]["item_id"].as_str().unwrap().to_owned();
    let events: Vec<Value> = (0..300)
        .map(|n| {
            json!({"event_id": format!("canary-event-{n}"), "user_id": format!("canary-user-{}", n % 20), "item_id": item, "type": "like"})
        })
        .collect();
    assert!(post("/api/events", json!({"events": events})).await.status().is_success());
    // Answers, and refusals, which are written to the log as well.
    let requests = [
        json!({"user_id": "canary-user-1", "explain": true}),
        json!({"user_id": "canary-user-1", "rerank": "nowhere"}),
        json!({"query": "canary-query of a rainy night"}),
        json!({"user_id": "canary-user-1", "model": "canary-query"}),
        json!({"user_id": ["canary-user-1"]}),
        json!({"history": [{"item_id": "canary-query", "type": "like"}]}),
    ];
    for (n, request) in requests.iter().enumerate() {
        let answer = post("/api/recommend", request.clone()).await;
        assert_eq!(answer.status().is_success(), n != 3 && n != 4, "{request}");
    }
    let job: Value = post("/api/models/train", json!({})).await.json().await.unwrap();
    let merged = post("/api/users/canary-user-2/merge", json!({"from": "canary-user-3"})).await;
    let own = client.get(server.url("/api/users/canary-user-1/events")).bearer_auth(ADMIN_KEY).send().await.unwrap();
    assert!(own.text().await.unwrap().contains("canary-event"), "the search has something to find");
    let gone = client.delete(server.url("/api/users/canary-user-4")).bearer_auth(ADMIN_KEY).send().await.unwrap();
    assert!(gone.status().is_success() && merged.status().is_success(), "{} {}", gone.status(), merged.status());
    let refused =
        client.get(server.url("/api/items?limit=1")).bearer_auth(format!("{ADMIN_KEY}x")).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let metrics = client.get(server.url("/metrics")).bearer_auth(ADMIN_KEY).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("medley_"), "{metrics}");
    let job = server.url(&format!("/api/jobs/{}", job["id"].as_str().unwrap()));
    let mut state = json!("running");
    while state == "running" {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let answer = client.get(&job).bearer_auth(ADMIN_KEY).send().await.unwrap();
        state = answer.json::<Value>().await.unwrap()["state"].take();
    }
    assert_eq!(state, "succeeded");

    let mut left = files(data.path());
    assert!(left.iter().any(|(name, _)| name.contains("models")) && left.iter().any(|(name, _)| name.ends_with(".db")));
    server.kill();
    left.extend(files(data.path()));
    left.extend(files(logs.path()));
    assert!(left.last().is_some_and(|(_, log)| log.len() > 1_000), "the log is where it was looked for");
    left.push(("metrics".to_owned(), metrics.into_bytes()));
    let config = Command::new(env!("CARGO_BIN_EXE_medley")).arg("config").envs(variables).output().unwrap();
    assert!(config.status.success());
    left.push(("medley config".to_owned(), [config.stdout, config.stderr].concat()));
    assert_eq!(found(&left), []);
}
