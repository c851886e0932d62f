//! A service on a store of its own, with a small catalogue, answering in this process.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use medley::config::{Config, Overrides};
use medley::domain::{Domain, Item, ItemId};
use medley::serving::Service;
use medley::store::{self, Options, Store};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A running service; its store goes with it.
pub struct TestApp {
    pub router: Router,
    pub config: Arc<Config>,
    pub store: Arc<dyn Store>,
    _data: tempfile::TempDir,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that it is a problem document of this status, and returns the pointers it names.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Vec<String> {
        let text = self.text();
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        let problem = self.json();
        for field in ["type", "title", "detail", "code"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {text}");
        }
        assert_eq!(problem["status"], status, "{text}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{text}");
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With further `MEDLEY_*` settings.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let overrides = Overrides { data_dir: Some(data.path().to_owned()), ..Overrides::default() };
        let quick = ("MEDLEY_DATABASE__REFRESH_INTERVAL_MS", "20");
        let settings = settings.iter().copied().chain([quick]).map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = Arc::new(Config::load(&overrides, settings).unwrap());
        let options = Options {
            url: config.database_url(),
            max_connections: 4,
            acquire_timeout: std::time::Duration::from_secs(5),
            master_key: None,
        };
        let store = store::open(&options).await.unwrap();
        store.migrate().await.unwrap();
        store.upsert_items(&catalogue()).await.unwrap();
        let service = Service::start(Arc::clone(&config), Arc::clone(&store)).await.unwrap();
        Self { router: medley::http::router(service, false).await, config, store, _data: data }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// A request without a Content-Type, as the first client sends it.
    pub async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Request::builder().method(method).uri(path).body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body.to_string()).await
    }

    pub async fn recommend(&self, body: &Value) -> Value {
        self.post("/api/recommend", body).await.expect(200)
    }
}

/// Twelve works a domain: `music-00` to `game-11`; even ones are rock, horror and strategy.
pub fn catalogue() -> Vec<Item> {
    let genres = [("music", ["rock", "jazz"]), ("movie", ["horror", "comedy"]), ("game", ["strategy", "action"])];
    let item = |domain: &str, genres: [&str; 2], number: usize| Item {
        id: ItemId::new(format!("{domain}-{number:02}")).unwrap(),
        domain: Domain::new(domain).unwrap(),
        title: format!("The {} {domain} number {number}", ["First", "Second", "Third"][number % 3]),
        genres: vec![genres[number % 2].to_owned()],
        tags: vec![format!("tag {}", number % 4)],
        description: None,
        creators: vec![format!("Creator {}", number % 5)],
        released: Some(jiff::civil::date(1980 + i16::try_from(number).unwrap(), 1, 1)),
        attributes: [("language".to_owned(), vec![["en", "de"][number / 6].to_owned()])].into(),
        available: true,
    };
    genres
        .into_iter()
        .flat_map(|(domain, genres)| (0..12).map(move |number| (domain, genres, number)))
        .map(|(domain, genres, number)| item(domain, genres, number))
        .collect()
}

/// The item ids of a list of an answer.
pub fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect()
}

/// One event.
pub fn event(user: &str, item: &str, kind: &str) -> Value {
    json!({"user_id": user, "item_id": item, "type": kind})
}
