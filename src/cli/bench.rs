//! `medley bench`: load on a running service, and how long its answers take.

use std::fmt::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use clap::Args;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpStream;

use super::Context;
use super::health::reachable;

mod open_loop;

/// Before each measurement, so that caches and connections are warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// The number of the first body that is measured; those below it are for the warm-up.
const AFTER_WARM_UP: usize = 1_000_000;
/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Send load to a running service, on this machine only, and print how many answers it gives and how fast.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Where it listens; by default the address of the settings.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Connections that each send one request after the other.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Seconds for each kind of request.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Ask for these people as well, in turn.
    #[arg(long = "user", value_name = "ID", value_delimiter = ',')]
    users: Vec<String>,
    /// Send so many requests a second instead, of the last kind alone, whether earlier ones are answered or not: what is shed is counted apart.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// The API key, where there are keys.
    #[arg(long, value_name = "SECRET", env = "MEDLEY_BENCH_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// What came of one kind of request. Latencies in milliseconds.
#[derive(Debug, Serialize)]
struct Row {
    request: &'static str,
    requests_per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    requests: usize,
    failed: usize,
}

/// One kind of request.
struct Kind {
    name: &'static str,
    /// The body of the nth request.
    body: Box<dyn Fn(usize) -> Bytes + Send + Sync>,
    /// What a right answer has.
    status: StatusCode,
}

pub async fn run(context: &Context, arguments: &BenchArgs) -> Result<()> {
    let address = address(context, arguments)?;
    connect(address).await.with_context(|| format!("nobody listens on {address}"))?;
    let target = Arc::new(Target { address, key: arguments.key.clone() });
    let time = Duration::from_secs(arguments.seconds.into());
    let mut kinds = kinds(&arguments.users);
    if let Some(rate) = arguments.rate {
        let kind = Arc::new(kinds.pop().context("there is no kind of request")?);
        let outcome = open_loop::run(&target, &kind, arguments.connections, rate, time).await;
        return if context.json { super::print_json(&outcome) } else { super::print(&outcome.line()) };
    }
    let mut rows = Vec::new();
    for kind in kinds {
        let kind = Arc::new(kind);
        load(&target, &kind, arguments.connections, WARM_UP, 0).await;
        let (latencies, failed, took) = load(&target, &kind, arguments.connections, time, AFTER_WARM_UP).await;
        rows.push(row(kind.name, latencies, failed, took));
    }
    if context.json {
        super::print_json(&rows)?
    } else {
        super::print(&table(&rows))?
    }
    if rows.iter().all(|row| row.requests == 0) {
        bail!("no request was answered as it should be: does the service want a key (--key)?");
    }
    Ok(())
}

/// Only loopback, so that no other machine is loaded by mistake.
fn address(context: &Context, arguments: &BenchArgs) -> Result<SocketAddr> {
    let address = match &arguments.url {
        Some(url) => {
            let host = url.strip_prefix("http://").context("the URL must start with http://")?;
            let host = host.split('/').next().unwrap_or(host);
            let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
            host.to_socket_addrs()?.next().context("the name has no address")?
        }
        None => reachable(context.config.server.address),
    };
    if !address.ip().is_loopback() {
        bail!("load is sent to loopback only, not to {address}");
    }
    Ok(address)
}

fn kinds(users: &[String]) -> Vec<Kind> {
    let tastes = json!({"music": ["rock", "pop", "electronic"], "movie": ["action", "comedy", "drama"],
                        "game": ["strategy", "action", "adventure"]});
    let mut refused = tastes.clone();
    refused["limit"] = json!(0);
    let in_turn = |name, bodies: Vec<serde_json::Value>, status| {
        let bodies: Vec<Bytes> = bodies.iter().map(|body| Bytes::from(body.to_string())).collect();
        Kind { name, body: Box::new(move |n| bodies[n % bodies.len()].clone()), status }
    };
    let mut kinds = vec![
        // Routed, read, parsed, checked, refused: what a request costs besides the recommendation.
        in_turn("refused", vec![refused], StatusCode::UNPROCESSABLE_ENTITY),
        in_turn("same tastes", vec![tastes], StatusCode::OK),
        // No two of them are alike, so that no answer can be given again.
        Kind { name: "other tastes", body: Box::new(other_tastes), status: StatusCode::OK },
    ];
    if !users.is_empty() {
        let bodies = users.iter().map(|user| json!({"user_id": user})).collect();
        kinds.push(in_turn("known users", bodies, StatusCode::OK));
    }
    kinds
}

/// Three genres of each domain, others (or in another order) for each `n` below 720³.
fn other_tastes(n: usize) -> Bytes {
    const GENRES: [(&str, &str); 3] = [
        ("music", "rock pop electronic jazz folk classical metal ambient blues soul"),
        ("movie", "action comedy drama thriller romance horror crime adventure fantasy mystery"),
        ("game", "strategy action adventure simulation puzzle shooter platformer racing sports survival"),
    ];
    // A step that has no factor in common with the number of bodies comes by each of them, and changes all domains at once.
    let mut left = n * 123_456_791 % 720usize.pow(3);
    let mut three = |genres: &'static str| {
        let mut genres: Vec<&str> = genres.split(' ').collect();
        [(); 3].map(|()| {
            let place = left % genres.len();
            left /= genres.len();
            genres.remove(place)
        })
    };
    let body: serde_json::Map<String, serde_json::Value> =
        GENRES.into_iter().map(|(domain, genres)| (domain.to_owned(), json!(three(genres)))).collect();
    Bytes::from(serde_json::Value::from(body).to_string())
}

struct Target {
    address: SocketAddr,
    key: Option<String>,
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Body>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends the bodies from the one numbered `from` on over all connections until `time` is over: how long the right answers took, how many were not right, and the time taken.
async fn load(
    target: &Arc<Target>,
    kind: &Arc<Kind>,
    connections: u32,
    time: Duration,
    from: usize,
) -> (Vec<Duration>, usize, Duration) {
    let start = Instant::now();
    let senders: Vec<_> = (from..from + connections as usize)
        .map(|first| {
            let (target, kind) = (Arc::clone(target), Arc::clone(kind));
            tokio::spawn(async move {
                let (mut latencies, mut failed, mut connection) = (Vec::new(), 0, None);
                for next in (first..).step_by(connections as usize) {
                    let sent = Instant::now();
                    if sent.duration_since(start) >= time {
                        break;
                    }
                    let asked = ask(&target, &mut connection, (kind.body)(next));
                    let answer = tokio::time::timeout(PATIENCE, asked).await;
                    if matches!(answer, Ok(Ok((status, _))) if status == kind.status) {
                        latencies.push(sent.elapsed());
                    } else {
                        failed += 1;
                        connection = None;
                        // A service that refuses at once is not to be hammered.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                (latencies, failed)
            })
        })
        .collect();
    let (mut latencies, mut failed) = (Vec::new(), 0);
    for sender in senders {
        let (own, lost) = sender.await.unwrap_or_default();
        latencies.extend(own);
        failed += lost;
    }
    (latencies, failed, start.elapsed())
}

/// Sends one request and reads the whole answer: its status, and whether it says when to try again.
async fn ask(target: &Target, connection: &mut Option<SendRequest<Body>>, body: Bytes) -> Result<(StatusCode, bool)> {
    let sender = match connection {
        Some(sender) => sender,
        None => connection.insert(connect(target.address).await?),
    };
    sender.ready().await?;
    let mut request = Request::post("/api/recommend").header(header::HOST, target.address.to_string());
    if let Some(key) = &target.key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    let answer = sender.send_request(request.body(Body::from(body))?).await?;
    let found = (answer.status(), answer.headers().contains_key(header::RETRY_AFTER));
    answer.into_body().collect().await?;
    Ok(found)
}

/// The latency that this share of all sorted ones does not exceed, in milliseconds.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share).ceil() as usize).max(1) - 1;
    sorted.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
}

fn row(request: &'static str, mut latencies: Vec<Duration>, failed: usize, took: Duration) -> Row {
    latencies.sort_unstable();
    let at = |share| percentile(&latencies, share);
    Row {
        request,
        requests_per_second: latencies.len() as f64 / took.as_secs_f64(),
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        requests: latencies.len(),
        failed,
    }
}

fn table(rows: &[Row]) -> String {
    let mut out = format!(
        "{:<12} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}\n",
        "request", "per second", "p50 ms", "p95 ms", "p99 ms", "max ms", "answers", "failed"
    );
    for row in rows {
        let _ = writeln!(
            out,
            "{:<12} {:>10.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9} {:>7}",
            row.request,
            row.requests_per_second,
            row.p50_ms,
            row.p95_ms,
            row.p99_ms,
            row.max_ms,
            row.requests,
            row.failed
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tastes_are_other_ones() {
        let bodies: std::collections::HashSet<Bytes> = (0..20_000).map(other_tastes).collect();
        assert_eq!(bodies.len(), 20_000);
        assert_eq!(
            other_tastes(0),
            r#"{"game":["strategy","action","adventure"],"movie":["action","comedy","drama"],"music":["rock","pop","electronic"]}"#
        );
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_latencies() {
        let latencies: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        let of = row("x", latencies, 3, Duration::from_secs(2));
        assert_eq!([of.p50_ms, of.p95_ms, of.p99_ms, of.max_ms].map(f64::round), [50.0, 95.0, 99.0, 100.0]);
        assert!((of.requests_per_second - 50.0).abs() < 1e-9 && of.failed == 3);
        assert!(row("x", Vec::new(), 0, Duration::from_secs(1)).p99_ms.abs() < 1e-9);
    }
}
