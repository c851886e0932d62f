//! Holding out: what is hidden of some people so that the blend can be fitted on it and the model measured.
//!
//! For each person held out, the newest fifth of their items of a domain is hidden (or a random fifth, where all happened at one time). Everybody
//! is then asked for several times: as they are, with their first three and first twelve items of the domain, with those of other domains only, and
//! as a stranger; so that each [`HistorySlice`](crate::engine::blend::HistorySlice) has cases.
//!
//! Of every third person who is known in several domains, one domain is hidden as a whole instead: whoever comes to a domain for the first time is to be foreseen with
//! all that everybody likes among the candidates, not only with what somebody took to last.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::engine::dataset::Dataset;

use super::TrainingSettings;
use super::load::Loaded;

/// Lengths of history, besides the real one, that people are asked for with.
const FIRST: [usize; 2] = [3, 12];

/// One person, asked for in one domain with one part of their history.
pub(super) struct Case {
    pub user: usize,
    pub domain: u16,
    /// Items of the domain in the history, and whether there are others.
    pub items: usize,
    pub elsewhere: bool,
    /// Whether this is the history as it is, which is what the metrics are reported on.
    pub whole: bool,
    pub history: Vec<(u32, f32)>,
    pub hidden: Vec<u32>,
}

/// The cases, and the data without what they hide, with its times.
pub(super) struct HeldOut {
    pub cases: Vec<Case>,
    pub data: Dataset,
    pub times: Vec<i64>,
}

/// Holds out. Each `round` takes other people than the one before, and where what is hidden is a matter of chance, other items of them.
pub(super) fn hold_out(loaded: &Loaded, settings: &TrainingSettings, round: usize) -> HeldOut {
    let mut people = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed.wrapping_add(1 + round as u64));
    let data = &loaded.data;
    let mut out = HeldOut { cases: Vec::new(), data: Dataset::new(data.item_count), times: Vec::new() };
    // Those known in several domains come first: they alone teach what one domain says of another, and there may be few.
    let crossing: Vec<bool> = (0..data.users()).map(|user| is_crossing(loaded, user)).collect();
    let crossers = crossing.iter().filter(|crossing| **crossing).count();
    let share_of = |wanted: f64, people: usize| settings.validation_share.min(wanted / people.max(1) as f64);
    let of_crossers = share_of(settings.validation_max_users as f64, crossers);
    let left = settings.validation_max_users as f64 - of_crossers * crossers as f64;
    let of_others = share_of(left, data.users() - crossers);
    for (user, crosses) in crossing.into_iter().enumerate() {
        let (items, strengths) = data.row(user);
        let at = &loaded.times[data.offsets[user]..data.offsets[user + 1]];
        let share = if crosses { of_crossers } else { of_others };
        let chosen = (people.random::<f64>() + round as f64 * share) % 1.0 < share;
        let whole_domain = crosses && chosen && random.random_range(0..3) == 0;
        let hidden = match (chosen, whole_domain) {
            (true, true) => hidden_domain(loaded, items, strengths, &mut random),
            (true, false) => hidden_items(loaded, items, strengths, at, &mut random),
            _ => BTreeMap::new(),
        };
        let is_hidden = |item: u32| {
            let domain = loaded.domain_of[item as usize];
            hidden.get(&domain).is_some_and(|of: &Vec<u32>| whole_domain || of.contains(&item))
        };
        let kept: Vec<(u32, f32, i64)> =
            (0..items.len()).filter(|&n| !is_hidden(items[n])).map(|n| (items[n], strengths[n], at[n])).collect();
        for (domain, of_domain) in hidden {
            cases_of(loaded, user, domain, &kept, of_domain, &mut out.cases);
        }
        out.times.extend(kept.iter().map(|&(_, _, time)| time));
        let mut row: Vec<(u32, f32)> = kept.into_iter().map(|(item, strength, _)| (item, strength)).collect();
        out.data.push(&mut row);
    }
    out
}

/// Whether somebody took to anything in two domains or more.
fn is_crossing(loaded: &Loaded, user: usize) -> bool {
    let (items, strengths) = loaded.data.row(user);
    let mut liked = items.iter().zip(strengths).filter(|(_, strength)| **strength > 0.0);
    let domain = |item: u32| loaded.domain_of[item as usize];
    liked.next().is_some_and(|(&first, _)| liked.any(|(&item, _)| domain(item) != domain(first)))
}

/// All that somebody likes in one of their domains.
fn hidden_domain(
    loaded: &Loaded,
    items: &[u32],
    strengths: &[f32],
    random: &mut ChaCha8Rng,
) -> BTreeMap<u16, Vec<u32>> {
    let mut by_domain: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for (&item, _) in items.iter().zip(strengths).filter(|(_, strength)| **strength > 0.0) {
        by_domain.entry(loaded.domain_of[item as usize]).or_default().push(item);
    }
    let chosen = random.random_range(0..by_domain.len().max(1));
    by_domain.into_iter().nth(chosen).into_iter().collect()
}

/// By domain: a fifth of what somebody likes, at least one, if at least two remain.
fn hidden_items(
    loaded: &Loaded,
    items: &[u32],
    strengths: &[f32],
    times: &[i64],
    random: &mut ChaCha8Rng,
) -> BTreeMap<u16, Vec<u32>> {
    let mut by_domain: BTreeMap<u16, Vec<(i64, u32, u32)>> = BTreeMap::new();
    let one_time = times.windows(2).all(|pair| pair[0] == pair[1]);
    for n in 0..items.len() {
        if strengths[n] > 0.0 {
            let order = if one_time { random.random::<u32>() } else { 0 };
            by_domain.entry(loaded.domain_of[items[n] as usize]).or_default().push((times[n], order, items[n]));
        }
    }
    by_domain.retain(|_, liked| liked.len() >= 3);
    for liked in by_domain.values_mut() {
        liked.sort_unstable();
        let hidden = (liked.len() / 5).max(1);
        liked.drain(..liked.len() - hidden);
    }
    let items = |liked: Vec<(i64, u32, u32)>| liked.into_iter().map(|(_, _, item)| item).collect();
    by_domain.into_iter().map(|(domain, liked)| (domain, items(liked))).collect()
}

fn cases_of(
    loaded: &Loaded,
    user: usize,
    domain: u16,
    kept: &[(u32, f32, i64)],
    hidden: Vec<u32>,
    cases: &mut Vec<Case>,
) {
    let (mut own, other): (Vec<_>, Vec<_>) =
        kept.iter().copied().partition(|&(item, ..)| loaded.domain_of[item as usize] == domain);
    own.sort_unstable_by_key(|&(item, _, time)| (time, item));
    let mut add = |own: &[(u32, f32, i64)], other: &[(u32, f32, i64)], whole: bool| {
        let mut history: Vec<(u32, f32)> =
            own.iter().chain(other).map(|&(item, strength, _)| (item, strength)).collect();
        history.sort_unstable_by_key(|&(item, _)| item);
        let (items, elsewhere, hidden) = (own.len(), !other.is_empty(), hidden.clone());
        cases.push(Case { user, domain, items, elsewhere, whole, history, hidden });
    };
    add(&own, &other, true);
    for first in FIRST {
        if own.len() > first {
            add(&own[..first], &[], false);
        }
    }
    if !other.is_empty() && !own.is_empty() {
        add(&[], &other, false);
    }
    add(&[], &[], false);
}
