//! Synthetic listeners: people with a few tastes that run through music, movies and games.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::domain::{Event, EventId, InteractionKind, Item, UserId};

/// Their newest events happened here.
const NOW: &str = "2026-11-01T00:00:00Z";
/// Their oldest events are this many days older.
const DAYS: i64 = 730;

/// The behaviour of `listeners` synthetic people named `demo-listener-001` and so on, the same for the same seed. Each has two to four
/// tastes (a genre or a tag, which often is common to the domains) and takes mostly to items that meet them, classics more than others.
/// One in five keeps to one domain.
#[must_use]
pub fn events(items: &[Item], listeners: usize, seed: u64) -> Vec<Event> {
    let Ok(now) = NOW.parse::<Timestamp>() else { return Vec::new() };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let labels = labels(items);
    let known: Vec<f64> = items.iter().map(|item| renown(item, &mut random)).collect();
    let domains: Vec<&str> =
        items.iter().map(|item| item.domain.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    if labels.is_empty() || domains.is_empty() {
        return Vec::new();
    }
    let mut events = Vec::new();
    for number in 1..=listeners {
        let Ok(user) = UserId::new(format!("demo-listener-{number:03}")) else { continue };
        let tastes: Vec<&str> =
            (0..random.random_range(2..=4)).filter_map(|_| labels.choose(&mut random).copied()).collect();
        let only = if random.random_bool(0.2) { domains.choose(&mut random).copied() } else { None };
        let mut taken = BTreeSet::new();
        let weights: Vec<f64> = items
            .iter()
            .zip(&known)
            .map(|(item, known)| {
                let met = tastes.iter().filter(|taste| has(item, taste)).count() as f64;
                if only.is_some_and(|only| item.domain.as_str() != only) {
                    0.0
                } else {
                    known * (0.06 + 2.0 * met + met * met)
                }
            })
            .collect();
        let total: f64 = weights.iter().sum();
        for _ in 0..random.random_range(15..=60) {
            let Some(place) = draw(&weights, total, &mut random) else { continue };
            if !taken.insert(place) {
                continue;
            }
            let item = &items[place];
            let meets = tastes.iter().any(|taste| has(item, taste));
            let (kind, value) = behave(item.domain.as_str(), meets, &mut random);
            let ago = SignedDuration::from_secs(random.random_range(0..DAYS * 86_400));
            events.push(Event {
                event_id: EventId::new(format!("demo-{number}-{place}")).ok(),
                user_id: user.clone(),
                item_id: item.id.clone(),
                kind,
                value,
                at: now - ago,
                recommendation_id: None,
                position: None,
            });
        }
    }
    events
}

/// Genres and tags that at least eight items have: what a taste can be.
fn labels(items: &[Item]) -> Vec<&str> {
    let mut counts = std::collections::BTreeMap::new();
    for label in items.iter().flat_map(|item| item.genres.iter().chain(&item.tags)) {
        *counts.entry(label.as_str()).or_insert(0) += 1;
    }
    counts.into_iter().filter(|&(_, count)| count >= 8).map(|(label, _)| label).collect()
}

fn has(item: &Item, label: &str) -> bool {
    item.genres.iter().chain(&item.tags).any(|own| own == label)
}

/// How well known a work is: a heavy tail, and more for what is called a classic.
fn renown(item: &Item, random: &mut impl Rng) -> f64 {
    let tail = 1.0 / (0.03 + random.random::<f64>()).powf(0.8);
    if has(item, "classic") || has(item, "cult classic") { 2.0 * tail } else { tail }
}

fn draw(weights: &[f64], total: f64, random: &mut impl Rng) -> Option<usize> {
    let mut left = random.random::<f64>() * total;
    weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    })
}

fn behave(domain: &str, meets: bool, random: &mut impl Rng) -> (InteractionKind, Option<f64>) {
    use InteractionKind::{Dislike, Like, Play, Playtime, Rating, Skip, Watch};
    let pick = random.random::<f64>();
    if !meets && pick < 0.3 {
        return if random.random_bool(0.3) { (Dislike, None) } else { (Skip, None) };
    }
    if pick > 0.8 {
        return (Like, None);
    }
    match domain {
        "music" => (Play, Some((1.0 + 40.0 * random.random::<f64>().powi(3) * if meets { 2.0 } else { 1.0 }).floor())),
        "game" => (Playtime, Some(((0.3 + 80.0 * random.random::<f64>().powi(3)) * 10.0).round() / 10.0)),
        _ if pick < 0.5 => {
            let stars = if meets { random.random_range(6..=10) } else { random.random_range(2..=8) };
            (Rating, Some(f64::from(stars) / 2.0))
        }
        _ => (Watch, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_people_and_another_seed_others() {
        let items = super::super::items();
        let (first, again, other) = (events(&items, 40, 7), events(&items, 40, 7), events(&items, 40, 8));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!(first.len() > 600, "{}", first.len());
        let ids: BTreeSet<_> = first.iter().filter_map(|event| event.event_id.as_ref()).collect();
        assert_eq!(ids.len(), first.len());
        assert!(first.iter().all(|event| event.user_id.as_str().starts_with("demo-listener-")));
        let kinds: BTreeSet<_> = first.iter().map(|event| event.kind).collect();
        assert!(kinds.len() >= 6, "{kinds:?}");
    }
}
