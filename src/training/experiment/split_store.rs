//! The split of a store: everything before one moment against everything after it, for everybody alike.
//!
//! Leaving out each person's last interactions instead would let models learn from the future of others (Ji et al., "A Critical Study on Data Leakage in
//! Recommender System Offline Evaluation", TOIS 2023).
//!
//! Everybody is asked for at that moment, and whoever goes on long enough once more in the middle of what they did after it, with all they had done by
//! then: models know nothing from after the split, people do, as in service, where behaviour is folded in at request time. Where a domain's interactions all bear one time, there is no before and after: there a fifth
//! of what each person likes is hidden at random, and the report says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::domain::{Behaviour, Interaction, Item, ItemId, UserId};
use crate::engine::preference::{newest, preferences};
use crate::evaluation::Source;
use crate::store::Store;

use super::super::load::{Loader, load_items};
use super::super::{TrainingError, TrainingSettings};
use super::{Split, SplitCase};

/// Events read at once.
const EVENTS_AT_ONCE: u32 = 20_000;

/// How a store is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitKind {
    /// At one moment for everybody; at random only in domains without an order in time.
    Temporal,
    /// A random part of what each person likes.
    Random,
    /// A random part of the items, with all that anybody did with them: how well are items ranked that nobody has touched yet?
    Items,
}

/// Splits what the store holds so that `test_share` of the interactions are to be foreseen. What bears a time after `now` is left out, and a note says how
/// much that was: a store in use goes on taking events while it is read, and admits those of a sender whose clock is ahead.
///
/// # Errors
/// [`TrainingError::Store`].
pub async fn split_store(
    store: &dyn Store,
    settings: &TrainingSettings,
    kind: SplitKind,
    test_share: f64,
    now: Timestamp,
) -> Result<Split, TrainingError> {
    let items = load_items(store).await?;
    let mut people: BTreeMap<UserId, Vec<Interaction>> = BTreeMap::new();
    let (mut after, mut left_out) = (0, 0u64);
    loop {
        let events = store.events(after, EVENTS_AT_ONCE).await?;
        let Some(last) = events.last() else { break };
        after = last.sequence;
        for stored in events {
            let event = stored.event;
            if event.at > now {
                left_out += 1;
                continue;
            }
            let interaction =
                Interaction { item_id: event.item_id, kind: event.kind, value: event.value, at: event.at };
            people.entry(event.user_id).or_default().push(interaction);
        }
    }
    let mut split = split(items, people, settings, kind, test_share);
    if left_out > 0 {
        tracing::info!(left_out, "events that bear a time after the evaluation began are left out");
        split.notes.push(format!(
            "Events of after {now}, left out as they came in meanwhile or from a clock that is ahead: {left_out}."
        ));
    }
    Ok(split)
}

fn split(
    items: Vec<Item>,
    people: BTreeMap<UserId, Vec<Interaction>>,
    settings: &TrainingSettings,
    kind: SplitKind,
    test_share: f64,
) -> Split {
    let domains: HashMap<ItemId, u16> = items
        .iter()
        .filter_map(|item| {
            let place = settings.domains.iter().position(|domain| *domain == item.domain)?;
            Some((item.id.clone(), place as u16))
        })
        .collect();
    let unordered = match kind {
        SplitKind::Random | SplitKind::Items => (0..settings.domains.len() as u16).collect(),
        SplitKind::Temporal => without_order(&people, &domains),
    };
    let cutoff = cutoff(&people, &domains, &unordered, test_share);
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    // By id, as the order of the catalogue is that of its changes.
    let by_id: BTreeSet<&ItemId> = items.iter().map(|item| &item.id).collect();
    let mut chosen = |_: &&ItemId| kind == SplitKind::Items && random.random::<f64>() < test_share;
    let new_items: BTreeSet<ItemId> = by_id.into_iter().filter(&mut chosen).cloned().collect();
    let mut loader = Loader::new(items, settings);
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut first_seen: HashMap<ItemId, i64> = HashMap::new();
    for (user, interactions) in people {
        let whole = Behaviour::merged(Vec::new(), &interactions);
        let strengths = preferences(&whole, &settings.interactions, newest(&whole));
        let liked: BTreeSet<ItemId> =
            strengths.into_iter().filter(|(_, strength)| *strength > 0.0).map(|(item, _)| item).collect();
        let hidden: BTreeSet<ItemId> = liked
            .iter()
            .filter(|&item| domains.get(item).is_some_and(|domain| unordered.contains(domain)))
            .filter(|item| {
                if kind == SplitKind::Items { new_items.contains(*item) } else { random.random::<f64>() < test_share }
            })
            .cloned()
            .collect();
        let is_before = |interaction: &Interaction| match domains.get(&interaction.item_id) {
            _ if new_items.contains(&interaction.item_id) => false,
            Some(domain) if unordered.contains(domain) => !hidden.contains(&interaction.item_id),
            _ => cutoff.is_some_and(|cutoff| interaction.at < cutoff),
        };
        let (before, later): (Vec<Interaction>, Vec<Interaction>) = interactions.iter().cloned().partition(is_before);
        for interaction in &before {
            let seen = first_seen.entry(interaction.item_id.clone()).or_insert(i64::MAX);
            *seen = (*seen).min(interaction.at.as_second());
        }
        let history = Behaviour::merged(Vec::new(), &before);
        loader.add(&user, &history);
        let middle = cutoff.and_then(|cutoff| middle(&later, cutoff));
        wanted.push(Wanted::new(&user, &before, &later, &liked, &domains, cutoff));
        if let Some(middle) = middle {
            let by_then =
                |interaction: &&Interaction| interaction.at < middle && is_ordered(&domains, &unordered, interaction);
            let (known, rest): (Vec<Interaction>, Vec<Interaction>) =
                later.iter().cloned().partition(|interaction| by_then(&interaction));
            let known: Vec<Interaction> = before.iter().cloned().chain(known).collect();
            let mut asked = Wanted::new(&user, &known, &rest, &liked, &domains, Some(middle));
            // Where there is no order in time, the middle says nothing new.
            asked.first = false;
            asked.relevant.retain(|domain, _| !unordered.contains(domain));
            wanted.push(asked);
        }
    }
    let mut loaded = loader.finish();
    if kind == SplitKind::Random {
        // What is to be foreseen lies anywhere in time. So must be what training holds out to learn the blend on: with times it would hide the newest.
        loaded.times.fill(0);
    }
    let place = |id: &ItemId| loaded.items.binary_search_by(|item| item.id.cmp(id)).ok().map(|place| place as u32);
    let cases: Vec<SplitCase> = wanted
        .into_iter()
        .flat_map(|Wanted { user, history, relevant, asked_at, first }| {
            relevant
                .into_iter()
                .map(move |(domain, items)| (user.clone(), history.clone(), (asked_at, first), domain, items))
        })
        .map(|(user, history, (asked_at, first), domain, items)| {
            let relevant = items.iter().filter_map(place).collect();
            SplitCase { user: user.to_string(), domain, history, relevant, asked_at, first }
        })
        .collect();
    let mut source = source(&loaded, &cases, cutoff, &unordered, settings);
    let mut notes: Vec<String> = Vec::new();
    let mut candidates = None;
    if kind == SplitKind::Items {
        source.kind = "items".into();
        source.description = format!("{} items that training never saw, ranked among themselves", new_items.len());
        candidates = Some(loaded.items.iter().map(|item| new_items.contains(&item.id)).collect());
    } else {
        notes.extend(unordered.iter().map(|&domain| {
            let name = &settings.domains[usize::from(domain)];
            format!(
                "{name}: split at random within each person, as its interactions have no order in time or it was asked for"
            )
        }));
    }
    let first_seen = loaded.items.iter().map(|item| first_seen.get(&item.id).copied()).collect();
    Split { loaded, cases, source, candidates, first_seen, notes }
}

/// What one person is asked for at one moment.
struct Wanted {
    user: UserId,
    history: Vec<Behaviour>,
    relevant: BTreeMap<u16, Vec<ItemId>>,
    asked_at: Option<Timestamp>,
    /// Whether all that is known of the person is in the training part as well.
    first: bool,
}

impl Wanted {
    /// Relevant is what somebody takes to later, likes all in all, and did not touch before.
    fn new(
        user: &UserId,
        before: &[Interaction],
        later: &[Interaction],
        liked: &BTreeSet<ItemId>,
        domains: &HashMap<ItemId, u16>,
        asked_at: Option<Timestamp>,
    ) -> Self {
        let known: BTreeSet<&ItemId> = before.iter().map(|interaction| &interaction.item_id).collect();
        let new: BTreeSet<&ItemId> = later.iter().map(|interaction| &interaction.item_id).collect();
        let mut relevant: BTreeMap<u16, Vec<ItemId>> = BTreeMap::new();
        for item in new.into_iter().filter(|item| !known.contains(item) && liked.contains(*item)) {
            if let Some(&domain) = domains.get(item) {
                relevant.entry(domain).or_default().push(item.clone());
            }
        }
        Self { user: user.clone(), history: Behaviour::merged(Vec::new(), before), relevant, asked_at, first: true }
    }
}

fn is_ordered(domains: &HashMap<ItemId, u16>, unordered: &BTreeSet<u16>, interaction: &Interaction) -> bool {
    domains.get(&interaction.item_id).is_some_and(|domain| !unordered.contains(domain))
}

/// The moment in the middle of what somebody did from `cutoff` on, if that was enough and took any time.
fn middle(later: &[Interaction], cutoff: Timestamp) -> Option<Timestamp> {
    const ENOUGH: usize = 4;
    let mut times: Vec<Timestamp> = later.iter().map(|interaction| interaction.at).filter(|at| *at >= cutoff).collect();
    times.sort_unstable();
    let middle = *times.get(times.len() / 2)?;
    (times.len() >= ENOUGH && middle > times[0]).then_some(middle)
}

/// The domains whose interactions all bear one time.
fn without_order(people: &BTreeMap<UserId, Vec<Interaction>>, domains: &HashMap<ItemId, u16>) -> BTreeSet<u16> {
    let mut span: BTreeMap<u16, (Timestamp, Timestamp)> = BTreeMap::new();
    for interaction in people.values().flatten() {
        if let Some(&domain) = domains.get(&interaction.item_id) {
            let span = span.entry(domain).or_insert((interaction.at, interaction.at));
            *span = (span.0.min(interaction.at), span.1.max(interaction.at));
        }
    }
    span.into_iter().filter(|(_, (first, last))| first == last).map(|(domain, _)| domain).collect()
}

/// The moment after which `share` of the interactions with an order in time lie; `None` when there are none.
fn cutoff(
    people: &BTreeMap<UserId, Vec<Interaction>>,
    domains: &HashMap<ItemId, u16>,
    unordered: &BTreeSet<u16>,
    share: f64,
) -> Option<Timestamp> {
    let ordered = people.values().flatten().filter(|interaction| is_ordered(domains, unordered, interaction));
    let mut times: Vec<Timestamp> = ordered.map(|interaction| interaction.at).collect();
    times.sort_unstable();
    let place = ((1.0 - share.clamp(0.0, 1.0)) * times.len() as f64) as usize;
    times.get(place.min(times.len().saturating_sub(1))).copied()
}

fn source(
    loaded: &super::Loaded,
    cases: &[SplitCase],
    cutoff: Option<Timestamp>,
    unordered: &BTreeSet<u16>,
    settings: &TrainingSettings,
) -> Source {
    let names: Vec<String> =
        unordered.iter().map(|&domain| settings.domains[usize::from(domain)].to_string()).collect();
    let description = match cutoff {
        Some(cutoff) if unordered.is_empty() => format!("everything before {cutoff} against everything after it"),
        Some(cutoff) => {
            format!("everything before {cutoff} against everything after it; {} at random", names.join(", "))
        }
        None => "a random part of what each person likes".to_owned(),
    };
    Source {
        kind: if cutoff.is_some() { "temporal" } else { "random" }.to_owned(),
        description,
        train_interactions: loaded.data.items.len() as u64,
        test_interactions: cases.iter().map(|case| case.relevant.len() as u64).sum(),
        users: loaded.data.users() as u64,
        items: loaded.items.len() as u64,
        // A split at random has no moment that its histories must not reach beyond.
        cutoff: cutoff.filter(|_| unordered.is_empty()),
    }
}
