//! How fast both stores load, read and append: `cargo bench --bench store`. Postgres is a server of its own, as in the tests.

use std::time::Instant;

use medley::domain::{Event, InteractionKind, UserId};

#[path = "../tests/store/database.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod database;
#[path = "../tests/support/mod.rs"]
mod support;

use database::{Database, event, user};

const PEOPLE: usize = 2_500;
const EACH: usize = 200;

#[tokio::main]
async fn main() {
    measure("sqlite", &Database::sqlite()).await;
    measure("sqlite, encrypted", &Database::sqlite().encrypted(1)).await;
    measure("postgres", &Database::postgres().await).await;
    measure("postgres, encrypted", &Database::postgres().await.encrypted(1)).await;
}

async fn measure(name: &str, database: &Database) {
    let store = database.store().await;
    let events: Vec<Event> = (0..PEOPLE * EACH)
        .map(|n| Event {
            kind: InteractionKind::Rating,
            value: Some((n % 10) as f64 / 2.0),
            ..event(
                Some(&format!("movielens:{}:{n}", n / EACH)),
                &format!("u{}", n / EACH),
                &format!("movielens:{}", n * 7919 % 9973),
                n as i64,
            )
        })
        .collect();
    let started = Instant::now();
    for chunk in events.chunks(50_000) {
        store.load_events(chunk).await.unwrap();
    }
    let rate = |count: usize, started: Instant| count as f64 / started.elapsed().as_secs_f64();
    println!("{name}: load {:.0} events/s", rate(events.len(), started));
    let started = Instant::now();
    store.load_events(&events[..100_000]).await.unwrap();
    println!("{name}: load again {:.0} events/s", rate(100_000, started));

    for round in ["first", "second"] {
        let started = Instant::now();
        for n in 0..1_000 {
            assert_eq!(store.history(&user(&format!("u{}", n * 37 % PEOPLE))).await.unwrap().len(), EACH);
        }
        println!("{name}: history of {EACH}, {round} round: {:.0} us", 1e6 / rate(1_000, started));
    }
    let started = Instant::now();
    let (mut after, mut people): (Option<UserId>, usize) = (None, 0);
    loop {
        let page = store.histories(after.as_ref(), 500).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        people += page.len();
    }
    assert_eq!(people, PEOPLE);
    println!("{name}: histories {:.0} events/s", rate(events.len(), started));
    let started = Instant::now();
    for n in 0..500 {
        store.append_events(&[event(Some(&format!("x{n}")), "u1", "a", n)]).await.unwrap();
    }
    println!("{name}: append of one {:.0} us", 1e6 / rate(500, started));
    let started = Instant::now();
    for _ in 0..500 {
        store.watermark().await.unwrap();
    }
    println!("{name}: watermark {:.0} us", 1e6 / rate(500, started));
}
