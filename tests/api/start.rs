//! A start from the catalogue on the disk: only what has changed in the store since is read.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use medley::config::{Config, Overrides};
use medley::domain::{Item, ItemId, Tenant};
use medley::serving::Service;
use medley::store::{self, Options, Store};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tower::ServiceExt as _;

use crate::app::{catalogue, ids};

/// The settings and the store of a folder.
async fn open(folder: &Path) -> (Arc<Config>, Arc<dyn Store>) {
    let overrides = Overrides { data_dir: Some(folder.to_owned()), ..Overrides::default() };
    let quick = ("MEDLEY_DATABASE__REFRESH_INTERVAL_MS".to_owned(), "20".to_owned());
    let config = Arc::new(Config::load(&overrides, std::iter::once(quick)).unwrap());
    let options = Options {
        url: config.database_url(),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(5),
        master_key: None,
    };
    let store = store::open(&options).await.unwrap();
    store.migrate().await.unwrap();
    (config, store)
}

/// A service as long as it is asked.
struct Running(Router, Weak<Service>);

impl Running {
    async fn start(config: &Arc<Config>, store: &Arc<dyn Store>) -> Self {
        let service = Service::start(Arc::clone(config), Arc::clone(store)).await.unwrap();
        let weak = Arc::downgrade(&service);
        Self(medley::http::router(service, false).await, weak)
    }

    /// From then on it writes nothing.
    async fn stop(self) {
        let (Self(router, service), started) = (self, Instant::now());
        drop(router);
        while service.strong_count() > 0 {
            assert!(started.elapsed() < Duration::from_secs(10), "it lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> (u16, Value) {
        ask(&self.0, method, path, body).await
    }

    /// Whether it finds an item by its id in its memory.
    async fn has(&self, id: &str) -> bool {
        self.ask("GET", &format!("/api/items/{id}/similar"), String::new()).await.0 == 200
    }

    /// All music, and what is missing from the answer.
    async fn music(&self) -> (Vec<String>, Value) {
        let body = json!({"domains": ["music"], "limit": 100, "music": ["rock"]}).to_string();
        let (status, answer) = self.ask("POST", "/api/recommend", body).await;
        assert_eq!(status, 200, "{answer}");
        let mut found = ids(&answer["music"]);
        found.sort();
        (found, answer["degraded"].clone())
    }
}

async fn ask(router: &Router, method: &str, path: &str, body: String) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn change(store: &Arc<dyn Store>, id: &str, change: impl FnOnce(&mut Item)) {
    let mut item = store.item(&ItemId::new(id).unwrap()).await.unwrap().unwrap();
    change(&mut item);
    store.upsert_items(&[item]).await.unwrap();
}

#[tokio::test]
async fn only_what_has_changed_is_read_and_only_of_the_same_store() {
    let folder = tempfile::tempdir().unwrap();
    let (config, store) = open(folder.path()).await;
    store.upsert_items(&catalogue()).await.unwrap();
    let snapshot = config.snapshot(&Tenant::default());
    let first = Running::start(&config, &store).await;
    let started = Instant::now();
    while !snapshot.is_file() {
        assert!(started.elapsed() < Duration::from_secs(20), "nothing is written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    first.stop().await;
    let whole = std::fs::read(&snapshot).unwrap();

    // What is gone from the store without its knowledge is missed by those who read all of it.
    let mut database = sqlx::SqliteConnection::connect(&config.database_url()).await.unwrap();
    sqlx::query("DELETE FROM items WHERE id = 'music-00'").execute(&mut database).await.unwrap();
    let unchanged = Running::start(&config, &store).await;
    assert!(unchanged.has("music-00").await, "it is not read again");
    let (found, degraded) = unchanged.music().await;
    assert_eq!((found.len(), degraded), (12, json!(["no_model"])));
    unchanged.stop().await;

    assert!(store.delete_item(&ItemId::new("music-02").unwrap()).await.unwrap());
    change(&store, "music-01", |item| item.id = ItemId::new("music-new").unwrap()).await;
    let changed = Running::start(&config, &store).await;
    let (found, degraded) = changed.music().await;
    assert_eq!((found.len(), degraded), (12, json!(["no_model"])));
    let is_there = |id: &str| found.iter().any(|found| found == id);
    assert!(is_there("music-new") && !is_there("music-02"), "{found:?}");
    assert!(is_there("music-00"), "the rest is not read again");
    changed.stop().await;

    // One that is broken is not believed.
    std::fs::write(&snapshot, &whole[..whole.len() - 1]).unwrap();
    let all = Running::start(&config, &store).await;
    assert!(!all.has("music-00").await && all.has("music-03").await && all.has("music-new").await);
    all.stop().await;

    // Another store in the same folder.
    std::fs::write(&snapshot, &whole).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (_, other) = open(elsewhere.path()).await;
    for n in 0..50 {
        let mut item = catalogue().remove(0);
        item.id = ItemId::new(format!("other-{n}")).unwrap();
        other.upsert_items(&[item]).await.unwrap();
    }
    let theirs = Running::start(&config, &other).await;
    assert!(theirs.has("other-49").await && !theirs.has("music-03").await);
    theirs.stop().await;

    // The change that it ends with is not the newest of its item any more: it might be of another store.
    std::fs::write(&snapshot, &whole).unwrap();
    change(&store, "game-11", |item| item.title = "Another".to_owned()).await;
    let all = Running::start(&config, &store).await;
    assert!(!all.has("music-00").await && all.has("music-new").await);
}
