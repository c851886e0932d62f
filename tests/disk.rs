//! No room left: what is written is refused and says so, reading and recommending go on, and it passes when there is room again. SQLite with a limit on its file,
//! which it treats as a full disk (`benches/disk/run` has a real one); Postgres as it reports a full disk.

mod support {
    #![allow(dead_code, reason = "each test crate uses its part of the harness")]
    pub mod postgres;
    pub mod server;
}

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection as _;
use support::server::Server;

struct Client {
    http: reqwest::Client,
    server: Server,
}

impl Client {
    async fn start(data: &std::path::Path, url: &str) -> Self {
        // However slow the machine is, a long history is part of the answer.
        let patient = ("MEDLEY_DATABASE__HISTORY_TIMEOUT_MS", "5000");
        let variables = [("MEDLEY_DATABASE_URL", url), ("MEDLEY_DEMO__CATALOGUE", "never"), patient];
        let client =
            Self { http: support::server::client(Duration::from_secs(20)), server: Server::start(data, &variables) };
        client.server.ready(&client.http).await;
        let items: Vec<Value> = (0..20)
            .map(|n| json!({"id": format!("i{n}"), "domain": "music", "title": format!("Title {n}"), "genres": ["rock"]}))
            .collect();
        assert_eq!(client.post("/api/items", &json!(items)).await.0, 200);
        client
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.http.post(self.server.url(path)).body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Sends a batch for this person; true when it was stored, false when there was no room.
    async fn events(&self, user: &str, from: usize) -> bool {
        let events: Vec<Value> = (from..from + 500)
            .map(|n| json!({"event_id": format!("{user}-{n}"), "user_id": user, "item_id": format!("i{}", n % 20), "type": "play"}))
            .collect();
        let body = json!({"events": events}).to_string();
        let answer = self.http.post(self.server.url("/api/events")).body(body).send().await.unwrap();
        if answer.status().is_success() {
            return true;
        }
        assert_eq!(answer.status().as_u16(), 503);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "storage_full");
        false
    }

    /// What is read is read as ever.
    async fn reads(&self) {
        let (status, answer) = self.post("/api/recommend", &json!({"user_id": "ann"})).await;
        assert_eq!((status, &answer["degraded"]), (200, &json!(["no_model"])), "history and all");
        for path in ["/api/items", "/api/items/i1", "/api/users/ann/events", "/readyz"] {
            assert_eq!(self.http.get(self.server.url(path)).send().await.unwrap().status().as_u16(), 200, "{path}");
        }
    }

    /// The ids of a person's events.
    async fn stored(&self, user: &str) -> BTreeSet<String> {
        let export = self.http.get(self.server.url(&format!("/api/users/{user}/export"))).send().await.unwrap();
        let export: Value = export.json().await.unwrap();
        export["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let data = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?max_size_mib=2", data.path().join("medley.db").display());
    let client = Client::start(data.path(), &url).await;
    let mut batches = 0;
    while client.events("ann", batches * 500).await {
        batches += 1;
        assert!(batches < 100, "it never fills");
    }
    assert!(batches > 0);
    for _ in 0..7 {
        assert!(!client.events("ann", batches * 500).await, "as often as it is tried");
    }
    client.reads().await;
    let acknowledged: BTreeSet<String> = (0..batches * 500).map(|n| format!("ann-{n}")).collect();
    assert_eq!(client.stored("ann").await, acknowledged, "all or nothing of each batch");
    let items: Vec<Value> = (0..50)
        .map(|n| json!({"id": format!("new{n}"), "domain": "music", "title": "New", "description": "y".repeat(5_000)}))
        .collect();
    let items = json!(items);
    let (status, problem) = client.post("/api/items", &items).await;
    assert_eq!((status, &problem["code"]), (503, &json!("storage_full")));
    let found = client.http.get(client.server.url("/api/items/new1/similar")).send().await.unwrap();
    assert_eq!(found.status().as_u16(), 404, "not in memory either");
    // Erasing makes room.
    let erased = client.http.delete(client.server.url("/api/users/ann")).send().await.unwrap();
    assert_eq!(erased.status().as_u16(), 200, "{:?}", erased.text().await);
    assert!(client.events("ann", 0).await);
    assert_eq!(client.post("/api/items", &items).await.0, 200);
    client.reads().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let database = support::postgres::database().await;
    let data = tempfile::tempdir().unwrap();
    let client = Client::start(data.path(), &database.url).await;
    assert!(client.events("ann", 0).await);
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    for statement in [
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION full_disk()",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    for _ in 0..7 {
        assert!(!client.events("ann", 500).await, "as often as it is tried");
    }
    client.reads().await;
    assert_eq!(client.stored("ann").await.len(), 500);
    sqlx::query("DROP TRIGGER full_disk ON events").execute(&mut connection).await.unwrap();
    assert!(client.events("ann", 500).await);
    assert_eq!(client.stored("ann").await.len(), 1_000);
}
