//! The same behaviour in both databases gives the same history, to the last bit.

use medley::domain::{Event, InteractionKind};
use rand::RngExt as _;
use rand::SeedableRng as _;

use crate::database::{Database, at, event, user};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_sum_up_equally() {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut events = Vec::new();
    for n in 0..20_000 {
        let kind = InteractionKind::ALL[random.random_range(0..InteractionKind::ALL.len())];
        // Values of very different size, whose sum depends on the order of addition; many events at the same time.
        let value = match random.random_range(0..10) {
            0 | 1 => None,
            2 | 3 => Some(f64::from(random.random_range(-20..20)) / 2.0),
            _ => Some(random.random::<f64>() * 10f64.powi(random.random_range(-12..12))),
        };
        // Ids may hold what quotes or separates elsewhere.
        let item = format!("i{}\"\\,' \u{1f3b5}", random.random_range(0..300));
        let person = if n % 2 == 0 { "ann".to_owned() } else { format!("u{}", random.random_range(0..50)) };
        let at = at(random.random_range(0..500));
        events.push(Event { kind, value, at, ..event(Some(&format!("e{n}")), &person, &item, 0) });
    }
    let (sqlite, postgres) = (Database::sqlite(), Database::postgres().await);
    let (sqlite, postgres) = (sqlite.store().await, postgres.store().await);
    for (n, chunk) in events.chunks(1_700).enumerate() {
        for store in [&sqlite, &postgres] {
            let appended = if n % 2 == 0 { store.append_events(chunk).await } else { store.load_events(chunk).await };
            assert_eq!(appended.unwrap().accepted, chunk.len() as u64);
        }
    }
    let history = sqlite.history(&user("ann")).await.unwrap();
    assert!(history.iter().map(|entry| entry.count).sum::<u32>() > 8_000);
    assert!(history.is_sorted_by_key(|entry| (&entry.item_id, entry.kind)));
    assert_eq!(history, postgres.history(&user("ann")).await.unwrap());
    assert_eq!(sqlite.histories(None, 100).await.unwrap(), postgres.histories(None, 100).await.unwrap());
}
