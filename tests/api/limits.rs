//! Over a real socket: huge bodies, slow clients, too many at once, an orderly end.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::app::TestApp;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
    _app: TestApp,
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
    Running { address, stop, server, _app: app }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_at_once_are_told_so() {
    let running = serve(&[("MEDLEY_SERVER__MAX_CONCURRENCY", "1")]).await;
    // Holds the only place: its body does not come.
    let holding = connect(running.address, "POST /api/events HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let client = client();
    let url = |path: &str| format!("http://{}{path}", running.address);
    let refused = client.get(url("/api/items")).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let refused = client.post(url("/api/recommend")).body("{}").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 429, "no 5xx from this route");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(client.get(url("/livez")).send().await.unwrap().status().as_u16(), 200, "health is always answered");
    drop(holding);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(client.post(url("/api/recommend")).body("{}").send().await.unwrap().status().as_u16(), 200);
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
