//! How fast both stores load, read and append: `cargo bench --bench store`. Postgres is a server of its own, as in the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use medley::domain::{Event, InteractionKind, UserId};

#[path = "../tests/store/database.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod database;
#[path = "../tests/support/mod.rs"]
mod support;

use database::{Database, event, user};

const PEOPLE: usize = 2_500;
const EACH: usize = 200;
const AT_ONCE: Duration = Duration::from_secs(3);

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
    // What a recommendation for somebody known cannot do without: as many at once as `medley bench` has connections, through the pool of the service.
    let (started, asked) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let askers = (0..16).map(|_| {
        let (store, asked) = (Arc::clone(&store), Arc::clone(&asked));
        tokio::spawn(async move {
            while started.elapsed() < AT_ONCE {
                let n = asked.fetch_add(1, Ordering::Relaxed);
                assert_eq!(store.history(&user(&format!("u{}", n * 37 % PEOPLE))).await.unwrap().len(), EACH);
            }
        })
    });
    for asker in askers.collect::<Vec<_>>() {
        asker.await.unwrap();
    }
    println!("{name}: history of {EACH}, 16 at once: {:.0}/s", rate(asked.load(Ordering::Relaxed), started));
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
    // Ingest in batches, each durable before its answer: 8 clients with batches of 1,000.
    let started = Instant::now();
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for batch in 0..25 {
                let events: Vec<Event> = (0..1_000)
                    .map(|n| {
                        let (number, id) = (batch * 1_000 + n, format!("b{writer}-{batch}-{n}"));
                        event(
                            Some(&id),
                            &format!("u{}", number * 7 % PEOPLE),
                            &format!("movielens:{}", number % 9973),
                            number as i64,
                        )
                    })
                    .collect();
                store.append_events(&events).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    println!("{name}: append in batches of 1,000, 8 at once: {:.0} events/s", rate(200_000, started));
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
