//! A synthetic catalogue, model and people, always the same for the same number of items. Their sizes are those of trained models, their values are made up:
//! they measure speed and memory, and say nothing of quality.

use std::collections::BTreeMap;

use jiff::Timestamp;
use medley::domain::{Domain, Event, EventId, InteractionKind, Item, ItemId, UserId};
use medley::engine::artifact::{FORMAT, Manifest, Metrics, Model};
use medley::engine::blend::{Blend, DomainBlend, HistorySlice, NewItems, SliceWeights};
use medley::engine::scorers::ITEM_TO_ITEM;
use medley::engine::scorers::implicit_als::{AlsFactors, AlsSettings};
use medley::engine::scorers::item_weights::ItemWeights;
use medley::engine::scorers::term_factors::TermFactors;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// What `engine.ease_max_items`, `engine.ease_keep_per_item` and `engine.item_knn_neighbours` are by default.
const COVERED: usize = 20_000;
const KEPT: usize = 1_000;
const NEIGHBOURS: usize = 200;
/// Items beyond those that EASE covers have few people, and so few neighbours.
const NEIGHBOURS_OF_THE_REST: usize = 40;

/// How much somebody has done, and how many people of each kind there are.
pub const EVENTS: [usize; 5] = [10, 100, 200, 1_000, 10_000];
pub const PEOPLE: usize = 20;

/// Genres by domain, the common ones first; `medley bench` asks for some of them.
pub const GENRES: [(&str, [&str; 16]); 3] = [
    (
        "music",
        [
            "rock",
            "pop",
            "electronic",
            "hip hop",
            "jazz",
            "folk",
            "classical",
            "metal",
            "ambient",
            "blues",
            "soul",
            "country",
            "punk",
            "reggae",
            "funk",
            "indie",
        ],
    ),
    (
        "movie",
        [
            "drama",
            "comedy",
            "action",
            "thriller",
            "romance",
            "horror",
            "crime",
            "adventure",
            "science fiction",
            "fantasy",
            "mystery",
            "war",
            "western",
            "animation",
            "family",
            "documentary",
        ],
    ),
    (
        "game",
        [
            "action",
            "adventure",
            "strategy",
            "role-playing",
            "simulation",
            "puzzle",
            "shooter",
            "platformer",
            "racing",
            "sports",
            "fighting",
            "survival",
            "stealth",
            "horror",
            "rhythm",
            "sandbox",
        ],
    ),
];

/// A place below `count` that falls off as a power law: half of all are among the first `√count`.
fn popular(random: &mut ChaCha8Rng, count: usize) -> usize {
    ((count as f64).powf(random.random::<f64>()) as usize - 1).min(count - 1)
}

fn id(number: usize) -> ItemId {
    ItemId::new(format!("item-{number:07}")).expect("an id")
}

/// The items, the most popular first; domains take turns.
pub fn items(count: usize) -> Vec<Item> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut word = |from: usize| format!("w{}", popular(&mut random, from));
    let item = |number: usize| {
        let (domain, genres) = GENRES[number % GENRES.len()];
        let mut names = |prefix: &str, from: usize, most: usize| -> Vec<String> {
            let mut names: Vec<String> = (0..most).map(|_| format!("{prefix}{}", word(from))).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let (tags, creators) = (names("tag ", 300, 6), names("creator ", count / 4 + 10, 2));
        let (title, description) = (names("", 20_000, 3).join(" "), names("", 5_000, 14).join(" "));
        let mut own: Vec<String> =
            (0..2).map(|n| genres[(number / 3 * 7 + n * (number / 48 + 1)) % 16].to_owned()).collect();
        own.dedup();
        Item {
            id: id(number),
            domain: Domain::new(domain).expect("a domain"),
            title,
            genres: own,
            tags,
            description: Some(description),
            creators,
            released: None,
            attributes: BTreeMap::new(),
            available: true,
        }
    };
    (0..count).map(item).collect()
}

/// Rows of up to `keep` weights: half of the targets are near, half are popular; the strongest weights are few.
fn weights(count: usize, keep: impl Fn(usize) -> usize, seed: u64) -> ItemWeights {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let row = |item: usize| {
        let mut targets: Vec<u32> = (0..keep(item).min(count * 2 / 3))
            .map(|n| {
                let near = (item + popular(&mut random, count.min(4_000))) % count;
                if n % 2 == 0 { near } else { popular(&mut random, count) }
            } as u32)
            .filter(|&target| target as usize != item)
            .collect();
        targets.sort_unstable();
        targets.dedup();
        targets.into_iter().map(|target| (target, 0.2 * random.random::<f32>().powi(4) - 0.005)).collect()
    };
    ItemWeights::from_rows((0..count).map(row).collect(), 0)
}

/// A model of the size that training makes by default; each scorer counts in its blend.
pub fn model(items: &[Item]) -> Model {
    let count = items.len();
    let covered = count.min(COVERED);
    // As many dimensions as in `config/default.toml`.
    let settings = AlsSettings { dimensions: 128, ..AlsSettings::default() };
    let k = settings.dimensions;
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let factors: Vec<f32> = (0..count)
        .flat_map(|item| {
            // The more popular, the longer.
            let length = 1.0 / (1.0 + item as f32 / count as f32 * 20.0).sqrt();
            (0..k).map(|_| length * (random.random::<f32>() - 0.3) / (k as f32).sqrt()).collect::<Vec<f32>>()
        })
        .collect();
    let gram: Vec<f32> = (0..k).map(|d| factors.iter().skip(d).step_by(k).map(|value| value * value).sum()).collect();
    let neighbours = |item: usize| if item < COVERED { NEIGHBOURS } else { NEIGHBOURS_OF_THE_REST };
    let item_to_item = std::array::from_fn(|place| match ITEM_TO_ITEM[place] {
        "ease" | "graph_filter" => weights(covered, |_| KEPT, 10 + place as u64),
        _ => weights(count, neighbours, 10 + place as u64),
    });
    let slice = SliceWeights { weights: [0.1, 0.1, 0.3, 0.2, 0.1, 0.05, 0.05, 0.1], level: 1.0 };
    let blend = DomainBlend {
        scales: DomainBlend::UNFITTED_SCALES,
        slices: HistorySlice::ALL.into_iter().map(|name| (name, slice)).collect(),
        new_items: NewItems::default(),
    };
    let domains = GENRES.iter().map(|(domain, _)| (Domain::new(*domain).expect("a domain"), blend.clone())).collect();
    Model {
        manifest: Manifest {
            format: FORMAT,
            version: format!("synthetic-{count}"),
            trained_at: Timestamp::UNIX_EPOCH,
            data_fingerprint: "synthetic".into(),
            seed: 1,
            parameters: serde_json::json!({}),
            metrics: Metrics::new(),
            users: 0,
            items: count as u64,
            interactions: 0,
            als: settings,
            ease_strength_exponent: 0.5,
            blend: Blend { domains },
            checksum: String::new(),
            bytes: 0,
        },
        item_ids: items.iter().map(|item| item.id.clone()).collect(),
        popularity: (0..count).map(|item| 1.0 - (item as f32 + 1.0).ln() / (count as f32 + 1.0).ln()).collect(),
        item_to_item,
        als: AlsFactors { dimensions: k, factors, eigenvalues: gram, trained: count, terms: TermFactors::default() },
        meanings: None,
    }
}

/// The name of one of the people who did so much.
pub fn user(events: usize, number: usize) -> UserId {
    UserId::new(format!("events-{events}-{number}")).expect("an id")
}

/// What one of them did: plays of popular items and of items near a place of their own, one an hour.
pub fn events(items: usize, events: usize, number: usize) -> Vec<Event> {
    let mut random = ChaCha8Rng::seed_from_u64((events * PEOPLE + number) as u64);
    let home = random.random_range(0..items);
    (0..events)
        .map(|n| {
            let near = (home + popular(&mut random, items.min(3_000.max(2 * events)))) % items;
            let item = if n % 2 == 0 { near } else { popular(&mut random, items) };
            Event {
                event_id: EventId::new(format!("{events}-{number}-{n}")).ok(),
                user_id: user(events, number),
                item_id: id(item),
                kind: InteractionKind::Play,
                value: None,
                at: Timestamp::from_second(1_750_000_000 + n as i64 * 3_600).expect("a time"),
                recommendation_id: None,
                position: None,
            }
        })
        .collect()
}
