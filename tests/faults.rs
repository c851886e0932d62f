//! Faults of the database: it refuses, hangs in the middle of everything, or is slow. Every recommendation is answered, no event is acknowledged
//! that is not there, and it recovers by itself.

mod support {
    #![allow(dead_code, reason = "each test crate uses its part of the harness")]
    pub mod postgres;
    pub mod server;
}

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
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

/// Hands over what comes, as the fault in force allows; ends when either side does.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let size = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = fault.wait_for(|fault| *fault == Fault::Refused) => 0,
        };
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
    let at = database.url.find("127.0.0.1:").expect("the server of the tests is on this machine");
    let host: String = database.url[at..].chars().take_while(|c| *c != '/').collect();
    let (port, fault) = proxy(host.clone()).await;
    let url = database.url.replace(&host, &format!("127.0.0.1:{port}"));
    let data = tempfile::tempdir().unwrap();
    let http = support::server::client(Duration::from_secs(20));
    let variables = [("MEDLEY_DATABASE_URL", url.as_str()), ("MEDLEY_DEMO__CATALOGUE", "always")];
    let client = Arc::new(Client { server: Server::start(data.path(), &variables), http });
    client.server.ready(&client.http).await;
    assert_eq!(client.event("before").await, 200);
    let mut acknowledged = BTreeSet::from(["before".to_owned()]);

    for state in [Fault::Refused, Fault::Hung, Fault::Slow] {
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
