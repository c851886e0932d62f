//! Faults of the database: it refuses, hangs in the middle of everything, is gone without a word, or is slow, at the start as well. Every recommendation is
//! answered, no event is acknowledged that is not there, and it recovers by itself.

mod support {
    #![allow(dead_code, reason = "each test crate uses its part of the harness")]
    pub mod postgres;
    pub mod server;
}

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use medley::domain::ItemId;
use medley::serving::keys::{NewKey, Scope};
use medley::store;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use support::server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does to each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Connections are closed, old and new.
    Refused,
    /// Connections stand, and nothing comes through.
    Hung,
    /// The same, and it never will: the other end has gone without a word, and only connections made afterwards lead somewhere.
    Gone,
    /// Each piece comes half a second late.
    Slow,
}

/// A TCP proxy before `target`, and what sets its fault.
async fn proxy(target: String) -> (u16, watch::Sender<Fault>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (set, fault) = watch::channel(Fault::None);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (target, fault) = (target.clone(), fault.clone());
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(&target).await else { return };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::select! {
                    () = pass(from_client, to_server, fault.clone()) => (),
                    () = pass(from_server, to_client, fault) => (),
                }
            });
        }
    });
    (port, set)
}

/// The URL of this database behind a proxy, and what sets the proxy's fault.
async fn behind_proxy(url: &str) -> (String, watch::Sender<Fault>) {
    let at = url.find("127.0.0.1:").expect("the server of the tests is on this machine");
    let host: String = url[at..].chars().take_while(|c| *c != '/').collect();
    let (port, fault) = proxy(host.clone()).await;
    (url.replace(&host, &format!("127.0.0.1:{port}")), fault)
}

/// Hands over what comes, as the fault in force allows; ends when either side does.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut gone = fault.clone();
    loop {
        let read = tokio::select! {
            biased;
            _ = gone.wait_for(|fault| *fault == Fault::Gone) => None,
            _ = fault.wait_for(|fault| *fault == Fault::Refused) => Some(0),
            read = from.read(&mut buffer) => Some(read.unwrap_or(0)),
        };
        let Some(size) = read else { return std::future::pending().await };
        if size == 0 {
            return;
        }
        if *fault.borrow() == Fault::Slow {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        // What hangs is kept, and comes through when the fault is over, as from a process that was stopped.
        let Ok(state) = fault.wait_for(|fault| *fault != Fault::Hung).await.map(|state| *state) else { return };
        if state == Fault::Refused || to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}

struct Client {
    http: reqwest::Client,
    server: Server,
}

impl Client {
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.http.post(self.server.url(path)).body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn recommend(&self, user: &str) -> (Duration, BTreeSet<String>) {
        let started = Instant::now();
        let (status, answer) = self.post("/api/recommend", &json!({"user_id": user})).await;
        let took = started.elapsed();
        assert_eq!(status, 200, "{answer}");
        for domain in ["music", "movie", "game"] {
            assert_eq!(answer[domain].as_array().unwrap().len(), 10, "{domain}");
        }
        let degraded = answer["degraded"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned());
        (took, degraded.collect())
    }

    async fn event(&self, id: &str) -> u16 {
        let event = json!({"event_id": id, "user_id": "ann", "item_id": "movie-alien-1979", "type": "like"});
        self.post("/api/events", &json!({"events": [event]})).await.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_costs_the_history_and_nothing_else() {
    let database = support::postgres::database().await;
    let (url, fault) = behind_proxy(&database.url).await;
    let data = tempfile::tempdir().unwrap();
    let http = support::server::client(Duration::from_secs(20));
    let variables = [("MEDLEY_DATABASE_URL", url.as_str()), ("MEDLEY_DEMO__CATALOGUE", "always")];
    let client = Arc::new(Client { server: Server::start(data.path(), &variables), http });
    client.server.ready(&client.http).await;
    assert_eq!(client.event("before").await, 200);
    let mut acknowledged = BTreeSet::from(["before".to_owned()]);

    for state in [Fault::Refused, Fault::Hung, Fault::Gone, Fault::Slow] {
        fault.send(state).unwrap();
        let senders: Vec<_> = (0..8)
            .map(|_| {
                let client = Arc::clone(&client);
                tokio::spawn(async move {
                    let mut answers = Vec::new();
                    for _ in 0..25 {
                        answers.push(client.recommend("ann").await);
                    }
                    answers
                })
            })
            .collect();
        // Meanwhile somebody sends an event. A slow database may still take it.
        let name = format!("{state:?}");
        let status = client.event(&name).await;
        assert!(status == 503 || (status == 200 && state == Fault::Slow), "{state:?}: {status}");
        if status == 200 {
            acknowledged.insert(name);
        }
        let mut times = Vec::new();
        for sender in senders {
            for (took, degraded) in sender.await.unwrap() {
                assert!(degraded.contains("history_unavailable"), "{state:?}: {degraded:?}");
                times.push(took);
            }
        }
        times.sort_unstable();
        println!("{state:?}: median {:?}, p99 {:?} of {} answers", times[100], times[197], times.len());

        fault.send(Fault::None).unwrap();
        let over = Instant::now();
        while client.recommend("ann").await.1.contains("history_unavailable") {
            assert!(over.elapsed() < Duration::from_secs(5), "{state:?}: it does not recover");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{state:?}: over after {:?}", over.elapsed());
        let name = format!("after {state:?}");
        let status = client.event(&name).await;
        assert_eq!(status, 200, "{state:?}");
        acknowledged.insert(name);
    }

    let stored = client.http.get(client.server.url("/api/users/ann/export")).send().await.unwrap();
    let stored: Value = stored.json().await.unwrap();
    let stored: Vec<&str> =
        stored["events"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    let unique: BTreeSet<String> = stored.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(unique.len(), stored.len(), "stored twice: {stored:?}");
    assert!(acknowledged.is_subset(&unique), "acknowledged {acknowledged:?}, stored {unique:?}");
}

#[cfg(target_os = "linux")]
/// Sends a signal to each process of a Postgres server: those that have a connection or a task, and the one that they all come from.
fn signal_all(pids: &BTreeSet<i32>, signal: rustix::process::Signal) {
    for pid in pids.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)) {
        // One that has ended meanwhile needs no signal.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(target_os = "linux")]
/// The processes of the server behind a URL.
async fn processes(url: &str) -> BTreeSet<i32> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let pids: Vec<i32> =
        sqlx::query_scalar("SELECT pid FROM pg_stat_activity").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let parent = |pid: &i32| -> Option<i32> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    let parents: BTreeSet<i32> = pids.iter().filter_map(parent).collect();
    assert_eq!(parents.len(), 1, "all of {pids:?} come from the server: {parents:?}");
    pids.into_iter().chain(parents).collect()
}

/// A server that is stopped as a debugger or a frozen virtual machine stops it: its kernel goes on taking connections and what is sent.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_database_server_that_is_stopped_and_goes_on() {
    use rustix::process::Signal;

    let (url, _server) = support::postgres::server_of_its_own();
    let data = tempfile::tempdir().unwrap();
    let http = support::server::client(Duration::from_secs(20));
    let variables = [("MEDLEY_DATABASE_URL", url.as_str()), ("MEDLEY_DEMO__CATALOGUE", "always")];
    let client = Client { server: Server::start(data.path(), &variables), http };
    client.server.ready(&client.http).await;
    assert_eq!(client.event("before").await, 200);
    assert!(!client.recommend("ann").await.1.contains("history_unavailable"));

    let processes = processes(&url).await;
    signal_all(&processes, Signal::STOP);
    assert_eq!(client.event("meanwhile").await, 503, "nothing is acknowledged that is not on the disk");
    let mut times = Vec::new();
    for _ in 0..200 {
        let (took, degraded) = client.recommend("ann").await;
        assert!(degraded.contains("history_unavailable"), "{degraded:?}");
        times.push(took);
    }
    times.sort_unstable();
    println!("stopped: median {:?}, p99 {:?} of {} answers", times[100], times[197], times.len());

    signal_all(&processes, Signal::CONT);
    let over = Instant::now();
    while client.recommend("ann").await.1.contains("history_unavailable") {
        assert!(over.elapsed() < Duration::from_secs(5), "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("over after {:?}", over.elapsed());
    assert_eq!(client.event("after").await, 200);
    // What was refused may be there, once; what was acknowledged is.
    let stored = client.http.get(client.server.url("/api/users/ann/export")).send().await.unwrap();
    let stored: Value = stored.json().await.unwrap();
    let mut stored: Vec<&str> =
        stored["events"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    stored.retain(|id| *id != "meanwhile");
    stored.sort_unstable();
    assert_eq!(stored, ["after", "before"]);
}

/// What a request with this key is answered.
async fn recommended(http: &reqwest::Client, server: &Server, token: &str, body: &Value) -> (u16, Value) {
    let request = http.post(server.url("/api/recommend")).bearer_auth(token).body(body.to_string());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn codes(answer: &Value) -> Vec<&str> {
    answer["degraded"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_the_database_answers_from_the_disk() {
    let database = support::postgres::database().await;
    let (url, fault) = behind_proxy(&database.url).await;
    let options = store::Options {
        url: database.url.clone(),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(10),
        master_key: None,
    };
    let store = store::open(&options).await.unwrap();
    store.migrate().await.unwrap();
    let [key, revoked] = ["shop", "gone"].map(|name| {
        let scopes = [Scope::Recommend, Scope::Events, Scope::Catalogue];
        NewKey::generate(name.to_owned(), &scopes, Timestamp::now(), None)
    });
    for key in [&key, &revoked] {
        store.create_key(&key.record).await.unwrap();
    }
    store.revoke_key(&revoked.record.id, Timestamp::now()).await.unwrap();
    let token = key.token.expose_secret();

    let data = tempfile::tempdir().unwrap();
    let http = support::server::client(Duration::from_secs(20));
    let variables = [("MEDLEY_DATABASE_URL", url.as_str()), ("MEDLEY_DEMO__CATALOGUE", "always")];
    let server = Server::start(data.path(), &variables);
    server.ready(&http).await;
    let ask = json!({"movie": ["horror"]});
    let (status, before) = recommended(&http, &server, token, &ask).await;
    assert_eq!((status, codes(&before)), (200, vec![]));
    assert!(before["model"]["version"].is_string(), "the demo comes with a model");
    let snapshot = data.path().join("catalogue.snapshot");
    let started = Instant::now();
    while !(snapshot.is_file() && data.path().join("keys.json").is_file()) {
        assert!(started.elapsed() < Duration::from_secs(20), "nothing is kept on the disk");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(server);

    // Meanwhile the best of that list is deleted, and another takes its title.
    let best = ItemId::new(before["movie"][0]["item_id"].as_str().unwrap()).unwrap();
    let mut other = store.item(&best).await.unwrap().unwrap();
    assert!(store.delete_item(&best).await.unwrap());
    other.id = ItemId::new("another").unwrap();
    store.upsert_items(&[other]).await.unwrap();

    let kept = std::fs::read(&snapshot).unwrap();
    for away in [Fault::Refused, Fault::Hung] {
        // Once the store is back, what is there now is kept instead.
        std::fs::write(&snapshot, &kept).unwrap();
        fault.send(away).unwrap();
        let started = Instant::now();
        let server = Server::start(data.path(), &variables);
        println!("{away:?}: listens {:?} after its start", started.elapsed());
        let readiness = http.get(server.url("/readyz")).send().await.unwrap();
        assert_eq!(readiness.status().as_u16(), 200);
        assert_eq!(readiness.json::<Value>().await.unwrap()["store"], false);
        let (status, answer) = recommended(&http, &server, token, &ask).await;
        assert_eq!((status, codes(&answer)), (200, vec!["catalogue_snapshot"]), "{away:?}");
        for part in ["movie", "music", "game", "model"] {
            assert_eq!(answer[part], before[part], "{away:?}: the same catalogue and model");
        }
        let (status, answer) = recommended(&http, &server, token, &json!({"user_id": "demo-listener-001"})).await;
        assert_eq!((status, codes(&answer)), (200, vec!["catalogue_snapshot", "history_unavailable"]), "{away:?}");
        let (status, answer) = recommended(&http, &server, token, &json!({"model": "popularity"})).await;
        assert_eq!(
            (status, answer["music"].as_array().unwrap().len()),
            (200, 10),
            "{away:?}: popularity needs no store"
        );
        // Keys are those of the last time that the store was read.
        for refused in [revoked.token.expose_secret(), "mk_0_0"] {
            assert_eq!(recommended(&http, &server, refused, &ask).await.0, 401, "{away:?}");
        }
        let event = json!({"events": [{"user_id": "ann", "item_id": "another", "type": "like"}]});
        let sent =
            http.post(server.url("/api/events")).bearer_auth(token).body(event.to_string()).send().await.unwrap();
        assert_eq!(sent.status().as_u16(), 503, "{away:?}");

        fault.send(Fault::None).unwrap();
        let over = Instant::now();
        let answer = loop {
            let (status, answer) = recommended(&http, &server, token, &ask).await;
            assert_eq!(status, 200, "{away:?}");
            if codes(&answer).is_empty() {
                break answer;
            }
            assert!(over.elapsed() < Duration::from_secs(5), "{away:?}: it does not recover");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        println!("{away:?}: over after {:?}", over.elapsed());
        let ids: Vec<&str> =
            answer["movie"].as_array().unwrap().iter().map(|item| item["item_id"].as_str().unwrap()).collect();
        assert!(!ids.contains(&best.as_str()), "{away:?}: what was deleted meanwhile is gone");
        let found = http.get(server.url("/api/items/another/similar")).bearer_auth(token).send().await.unwrap();
        assert_eq!(found.status().as_u16(), 200, "{away:?}: what was added meanwhile is there");
    }

    // A snapshot that is broken is not believed.
    let whole = std::fs::read(&snapshot).unwrap();
    std::fs::write(&snapshot, &whole[..whole.len() / 2]).unwrap();
    fault.send(Fault::Refused).unwrap();
    let server = Server::start(data.path(), &variables);
    assert_eq!(http.get(server.url("/readyz")).send().await.unwrap().status().as_u16(), 503);
    fault.send(Fault::None).unwrap();
    server.ready(&http).await;
}
