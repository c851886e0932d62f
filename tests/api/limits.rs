//! Over a real socket: huge bodies, slow clients, too many at once, an orderly end.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::app::TestApp;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
    app: TestApp,
}

async fn serve(settings: &[(&str, &str)]) -> Running {
    let app = TestApp::with(settings).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let (router, config) = (app.router.clone(), app.config.clone());
    let server = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        medley::http::serve(listener, router, None, &config.server, stopped).await
    });
    Running { address, stop, server, app }
}

async fn connect(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// What comes until the other side closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.expect("it ends").unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_body_gets_an_answer() {
    let running = serve(&[("MEDLEY_SERVER__MAX_BODY_BYTES", "100000")]).await;
    let client = client();
    let url = format!("http://{}/api/recommend", running.address);
    for size in [100_001, 700_000] {
        let answer = client.post(&url).body("x".repeat(size)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 413);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.text().await.unwrap().contains("100000 bytes"));
    }
    // Announced, never sent: refused at once.
    let stream =
        connect(running.address, "POST /api/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
            .await;
    assert!(rest(stream).await.starts_with("HTTP/1.1 413"));
    assert_eq!(client.post(&url).body("{}").send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_is_let_go() {
    let settings = [("MEDLEY_SERVER__HEADER_TIMEOUT_MS", "300"), ("MEDLEY_SERVER__REQUEST_TIMEOUT_MS", "400")];
    let running = serve(&settings).await;
    let started = Instant::now();
    let headers = connect(running.address, "POST /api/recommend HTTP/1.1\r\nhost: ").await;
    let answer = rest(headers).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let body = connect(running.address, "POST /api/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await;
    let answer = rest(body).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_incomplete"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// A body that takes its time takes none of what the answer has: a provider that says nothing costs its opinion, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_body_and_a_slow_provider_are_still_answered() {
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", hanging.local_addr().unwrap());
    let settings = [
        ("MEDLEY_SERVER__REQUEST_TIMEOUT_MS", "6000"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__P__KIND", "chat"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__P__BASE_URL", &url),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__P__ALLOW_PRIVATE", "true"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__P__MODEL", "none"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__P__TIMEOUT_MS", "60000"),
        ("MEDLEY_LARGE_MODEL__RERANK", "p"),
    ];
    let running = serve(&settings).await;
    let body = r#"{"movie": ["horror"], "rerank": "llm"}"#;
    let head = format!(
        "POST /api/recommend HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = connect(running.address, &head).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("llm_timed_out"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_takes_no_place_of_others() {
    let settings = [("MEDLEY_SERVER__MAX_CONCURRENCY", "1"), ("MEDLEY_SERVER__MAX_RANKINGS", "1")];
    let running = serve(&settings).await;
    let mut slow = Vec::new();
    for path in ["/api/events", "/api/recommend", "/api/items"] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{{");
        slow.push(connect(running.address, &request).await);
    }
    slow.push(connect(running.address, "POST /api/recommend HTTP/1.1\r\nhost: ").await);
    slow.push(connect(running.address, "").await);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let client = client();
    let url = |path: &str| format!("http://{}{path}", running.address);
    for _ in 0..5 {
        assert_eq!(client.post(url("/api/recommend")).body("{}").send().await.unwrap().status().as_u16(), 200);
        assert_eq!(client.get(url("/api/items")).send().await.unwrap().status().as_u16(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_is_let_go() {
    let running = serve(&[("MEDLEY_SERVER__HEADER_TIMEOUT_MS", "300")]).await;
    assert_eq!(rest(connect(running.address, "").await).await, "", "nothing at all");
    // A client that keeps its connection after an answer.
    let kept = connect(running.address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(rest(kept).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let running = serve(&[("MEDLEY_SERVER__MAX_CONNECTIONS", "2")]).await;
    let held = [connect(running.address, "").await, connect(running.address, "").await];
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut refused = TcpStream::connect(running.address).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(5), refused.read(&mut [0; 1])).await.expect("at once");
    assert!(closed.is_err() || closed.unwrap() == 0);
    drop(held);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let url = format!("http://{}/api/recommend", running.address);
    assert_eq!(client().post(url).body("{}").send().await.unwrap().status().as_u16(), 200);
}

/// Keeps everybody from writing, as a long write of another process does.
async fn writer(app: &TestApp) -> sqlx::SqliteConnection {
    let mut writer = sqlx::SqliteConnection::connect(&app.config.database_url()).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    writer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_at_once_are_told_so() {
    let running = serve(&[("MEDLEY_SERVER__MAX_CONCURRENCY", "1")]).await;
    let client = client();
    let url = |path: &str| format!("http://{}{path}", running.address);
    let mut writer = writer(&running.app).await;
    // Holds the only place: it waits for the store.
    let event = r#"{"events": [{"user_id": "ann", "item_id": "music-00", "type": "like"}]}"#;
    let holding = tokio::spawn(client.post(url("/api/events")).body(event).send());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = client.get(url("/api/items")).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(client.get(url("/livez")).send().await.unwrap().status().as_u16(), 200, "health is always answered");
    let recommended = client.post(url("/api/recommend")).body(r#"{"user_id": "ann"}"#).send().await.unwrap();
    assert_eq!(recommended.status().as_u16(), 200, "recommendations have places of their own");
    sqlx::query("ROLLBACK").execute(&mut writer).await.unwrap();
    assert_eq!(holding.await.unwrap().unwrap().status().as_u16(), 200);
    assert_eq!(client.get(url("/api/items")).send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_rankings_at_once_are_told_so() {
    let settings = [("MEDLEY_SERVER__MAX_RANKINGS", "1"), ("MEDLEY_DATABASE__HISTORY_TIMEOUT_MS", "4000")];
    let running = serve(&settings).await;
    let client = client();
    let url = format!("http://{}/api/recommend", running.address);
    let ask = |body: &'static str| client.post(&url).body(body).send();
    assert_eq!(ask("{}").await.unwrap().status().as_u16(), 200);
    // Holds the only place: it waits for events that never come.
    let holding = tokio::spawn(ask(r#"{"user_id": "ann", "min_watermark": "w-999"}"#));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = ask(r#"{"user_id": "bob"}"#).await.unwrap();
    assert_eq!(refused.status().as_u16(), 429, "no 5xx from this route");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(ask("{}").await.unwrap().status().as_u16(), 200, "an answer that is kept takes no ranking");
    let similar = client.get(format!("http://{}/api/items/music-00/similar", running.address)).send().await.unwrap();
    assert_eq!(similar.status().as_u16(), 503);
    assert_eq!(holding.await.unwrap().unwrap().status().as_u16(), 200);
    assert_eq!(ask(r#"{"user_id": "bob"}"#).await.unwrap().status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_is_finished_when_the_client_goes_away() {
    let running = serve(&[]).await;
    let mut writer = writer(&running.app).await;
    let event = r#"{"events": [{"event_id": "e", "user_id": "ann", "item_id": "music-00", "type": "like"}]}"#;
    let item = r#"{"domain": "music", "title": "New", "genres": ["rock"]}"#;
    for (what, body) in [("POST /api/events", event), ("PUT /api/items/new", item)] {
        let request = format!("{what} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let client = connect(running.address, &request).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(client);
    }
    // Longer than the connection needs to notice; the store has not begun yet.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(running.app.store.count_events().await.unwrap(), 0);
    sqlx::query("ROLLBACK").execute(&mut writer).await.unwrap();
    let store = &running.app.store;
    let is_there = async || {
        let new = medley::domain::ItemId::new("new").unwrap();
        store.count_events().await.unwrap() == 1 && store.item(&new).await.unwrap().is_some()
    };
    let started = Instant::now();
    while !is_there().await {
        assert!(started.elapsed() < Duration::from_secs(10), "given up with the client");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_requests_finish() {
    let running = serve(&[]).await;
    let request = "POST /api/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";
    let mut under_way = connect(running.address, &format!("{request}{{")).await;
    let idle = TcpStream::connect(running.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    running.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(TcpStream::connect(running.address).await.is_err(), "no new connections");
    assert!(!running.server.is_finished(), "it waits");
    under_way.write_all(b"}").await.unwrap();
    assert!(rest(under_way).await.starts_with("HTTP/1.1 200"));
    drop(idle);
    let ended = tokio::time::timeout(Duration::from_secs(5), running.server).await;
    ended.expect("it ends once they are done").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_ever() {
    let running = serve(&[("MEDLEY_SERVER__DRAIN_TIMEOUT_MS", "300")]).await;
    let _under_way =
        connect(running.address, "POST /api/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(3), running.server).await;
    ended.expect("it ends").unwrap().unwrap();
}

fn client() -> reqwest::Client {
    // A client wants to know how it would encrypt, even where nothing is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
