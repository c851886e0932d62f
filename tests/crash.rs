//! `kill -9` while events are sent with retries: what was acknowledged is there, once.

mod support {
    #![allow(dead_code, reason = "each test crate uses its part of the harness")]
    pub mod postgres;
    pub mod server;
}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use support::server::Server;
use tokio::sync::RwLock;

const EVENTS: usize = 100_000;
const BATCH: usize = 100;
const SENDERS: usize = 4;
const KILLS: usize = 50;
const PEOPLE: usize = 50;

async fn acknowledged_events_survive(variables: &[(&str, &str)]) {
    let data = tempfile::tempdir().unwrap();
    let client = support::server::client(Duration::from_secs(5));
    let server = Server::start(data.path(), variables);
    server.ready(&client).await;
    let address = Arc::new(RwLock::new(server.address.clone()));
    let server = Arc::new(std::sync::Mutex::new(server));
    let done = Arc::new(AtomicBool::new(false));
    let retries = Arc::new(AtomicU64::new(0));
    let (acknowledged, kills_so_far) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));

    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (client, address, retries) = (client.clone(), Arc::clone(&address), Arc::clone(&retries));
            let (acknowledged, kills_so_far) = (Arc::clone(&acknowledged), Arc::clone(&kills_so_far));
            tokio::spawn(async move {
                for batch in (0..EVENTS / BATCH).filter(|batch| batch % SENDERS == sender) {
                    let events: Vec<Value> = (batch * BATCH..(batch + 1) * BATCH)
                        .map(|n| {
                            json!({"event_id": format!("e{n}"), "user_id": format!("u{}", n % PEOPLE),
                                   "item_id": format!("i{}", n % 997), "type": "play"})
                        })
                        .collect();
                    let body = json!({"events": events}).to_string();
                    // However fast the machine is, the kills are spread over all that is sent.
                    while acknowledged.load(Ordering::Relaxed) * KILLS
                        > (kills_so_far.load(Ordering::Relaxed) + 1) * (EVENTS / BATCH)
                    {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    loop {
                        let url = format!("{}/api/events", address.read().await);
                        let sent = client.post(url).body(body.clone()).send().await;
                        match sent {
                            Ok(answer) if answer.status().is_success() => {
                                // The acknowledgement must have arrived whole to count as one.
                                if let Ok(answer) = answer.json::<Value>().await {
                                    let stored =
                                        answer["accepted"].as_u64().unwrap() + answer["duplicates"].as_u64().unwrap();
                                    assert_eq!(stored, BATCH as u64, "{answer}");
                                    acknowledged.fetch_add(1, Ordering::Relaxed);
                                    break;
                                }
                            }
                            Ok(answer) => assert_ne!(answer.status().as_u16() / 100, 4, "{:?}", answer.text().await),
                            Err(_) => {}
                        }
                        retries.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();

    let killer = {
        let (server, address, done, data) =
            (Arc::clone(&server), Arc::clone(&address), Arc::clone(&done), data.path().to_owned());
        let kills_so_far = Arc::clone(&kills_so_far);
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        tokio::task::spawn_blocking(move || {
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
            let mut kills = 0;
            while kills < KILLS && !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(random.random_range(5..250)));
                let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                let mut running = server.lock().unwrap();
                running.kill();
                *running = Server::start(&data, &variables);
                *address.blocking_write() = running.address.clone();
                kills += 1;
                kills_so_far.store(kills, Ordering::Relaxed);
            }
            kills
        })
    };
    for sender in senders {
        sender.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    let kills = killer.await.unwrap();
    eprintln!("{kills} kills, {} sendings repeated", retries.load(Ordering::Relaxed));
    assert_eq!(kills, KILLS, "the events were through before all kills: send more");

    let address = address.read().await.clone();
    let mut times = BTreeMap::<String, usize>::new();
    for person in 0..PEOPLE {
        let mut cursor = None::<String>;
        loop {
            let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let request = client.get(format!("{address}/api/users/u{person}/events?limit=200{after}"));
            let page: Value = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
            for event in page["data"].as_array().unwrap() {
                *times.entry(event["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
    }
    assert_eq!(times.len(), EVENTS, "each acknowledged event is there");
    assert!(times.values().all(|&n| n == 1), "none is there twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    acknowledged_events_survive(&[("MEDLEY_DEMO__CATALOGUE", "never")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    let database = support::postgres::database().await;
    acknowledged_events_survive(&[("MEDLEY_DATABASE_URL", database.url.as_str())]).await;
}
