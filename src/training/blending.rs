//! The blend's weights, fitted on people who were held out; and the metrics of the parts and of the whole on them.
//!
//! For each person held out, the newest fifth of their items of a domain is hidden (or a random fifth, where all happened at one time). EASE
//! and popularity are fitted without what is hidden. Everybody is then asked for several times: as they are, with their first three and first twelve
//! items of the domain, with those of other domains only, and as a stranger; so that each [`HistorySlice`] has cases.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::engine::ItemIndex;
use crate::engine::artifact::{BoundModel, Metrics, Model};
use crate::engine::blend::{Blend, HistorySlice, SCORERS, SliceBlend};
use crate::engine::catalogue::Catalogue;
use crate::engine::dataset::Dataset;
use crate::engine::pipeline::{self, Features};
use crate::engine::scorers::{Profile, ease};
use crate::evaluation::metrics::{ndcg, recall};

use super::load::{Loaded, popularity};
use super::{Columns, TrainingError, TrainingSettings, manifest};

const K: usize = 20;
/// Weights are fitted on the union of each scorer's best so many candidates and what is hidden: what none of them ranks there does not come
/// to the top of a blend. The metrics are measured on all candidates.
const POOL: usize = 300;
/// Weights are tried in steps of a tenth.
const STEPS: u8 = 10;
/// A slice with fewer cases takes the weights of the slice over all domains.
const ENOUGH: usize = 30;

/// One person, asked for in one domain with one part of their history.
struct Case {
    user: usize,
    domain: u16,
    slice: HistorySlice,
    /// Whether this is the history as it is, which is what the metrics are reported on.
    whole: bool,
    history: Vec<(u32, f32)>,
    hidden: Vec<u32>,
}

/// What the scorers say to a case, and where what was hidden is among the candidates.
struct Scored {
    domain: u16,
    slice: HistorySlice,
    whole: bool,
    features: Features,
    relevant: Vec<bool>,
    count: usize,
}

pub(super) fn fit(
    loaded: &Loaded,
    columns: &Columns,
    settings: &TrainingSettings,
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> Result<(Blend, Metrics), TrainingError> {
    progress("hold out", 0.1);
    let (cases, reduced, times) = hold_out(loaded, settings);
    if cases.is_empty() {
        return Ok((Blend::default(), Metrics::new()));
    }
    progress("fit ease for validation", 0.15);
    let model = validation_model(loaded, columns, settings, &reduced, &times)?;
    progress("score people held out", 0.5);
    let scored: Vec<Scored> = cases.par_iter().map(|case| score(loaded, &model, case)).collect();
    progress("fit blend", 0.65);
    let pools: Vec<Scored> = scored.par_iter().map(Scored::pool).collect();
    let blend = fit_blend(&pools, settings);
    drop(pools);
    progress("measure", 0.72);
    Ok((blend.clone(), measure(&scored, &blend, settings)))
}

/// The cases, and the data without what they hide, with its times.
fn hold_out(loaded: &Loaded, settings: &TrainingSettings) -> (Vec<Case>, Dataset, Vec<i64>) {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let data = &loaded.data;
    let mut reduced = Dataset::new(data.item_count);
    let mut times = Vec::with_capacity(loaded.times.len());
    let mut cases = Vec::new();
    let share = settings.validation_share.min(settings.validation_max_users as f64 / data.users().max(1) as f64);
    for user in 0..data.users() {
        let (items, strengths) = data.row(user);
        let at = &loaded.times[data.offsets[user]..data.offsets[user + 1]];
        let chosen = random.random::<f64>() < share;
        let hidden = if chosen { hidden_items(loaded, items, strengths, at, &mut random) } else { BTreeMap::new() };
        let is_hidden = |item: u32| hidden.values().any(|of: &Vec<u32>| of.contains(&item));
        let mut kept: Vec<(u32, f32, i64)> =
            (0..items.len()).filter(|&n| !is_hidden(items[n])).map(|n| (items[n], strengths[n], at[n])).collect();
        for (domain, of_domain) in hidden {
            cases_of(loaded, user, domain, &kept, of_domain, &mut cases);
        }
        times.extend(kept.iter().map(|&(_, _, time)| time));
        let mut row: Vec<(u32, f32)> = kept.drain(..).map(|(item, strength, _)| (item, strength)).collect();
        reduced.push(&mut row);
    }
    (cases, reduced, times)
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
    by_domain
        .into_iter()
        .map(|(domain, liked)| (domain, liked.into_iter().map(|(_, _, item)| item).collect()))
        .collect()
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
        let slice = HistorySlice::of(own.len(), !other.is_empty());
        let mut history: Vec<(u32, f32)> =
            own.iter().chain(other).map(|&(item, strength, _)| (item, strength)).collect();
        history.sort_unstable_by_key(|&(item, _)| item);
        cases.push(Case { user, domain, slice, whole, history, hidden: hidden.clone() });
    };
    add(&own, &other, true);
    for first in [3, 12] {
        if own.len() > first {
            add(&own[..first], &[], false);
        }
    }
    if !other.is_empty() && !own.is_empty() {
        add(&[], &other, false);
    }
    add(&[], &[], false);
}

/// A model without what is hidden, bound to the catalogue that was loaded.
fn validation_model(
    loaded: &Loaded,
    columns: &Columns,
    settings: &TrainingSettings,
    reduced: &Dataset,
    times: &[i64],
) -> Result<BoundModel, TrainingError> {
    let engine = &settings.engine;
    let sums = popularity(reduced, times, settings, loaded.items.len());
    let model = Model {
        manifest: manifest(loaded, settings, jiff::Timestamp::UNIX_EPOCH, Blend::default(), Metrics::new()),
        item_ids: columns.order.iter().map(|&item| loaded.items[item as usize].id.clone()).collect(),
        popularity: columns.popularity(loaded, &sums),
        ease: ease::fit(&columns.apply(reduced), columns.covered, engine.ease_lambda, engine.ease_keep_per_item)?,
    };
    // The items went into the catalogue in the order of their places here, so that binding reserves nothing new.
    let mut places = Catalogue::default();
    for item in &loaded.items {
        places.reserve(&item.id);
    }
    Ok(model.bind(&mut places))
}

fn score(loaded: &Loaded, model: &BoundModel, case: &Case) -> Scored {
    let history: Vec<(ItemIndex, f32)> =
        case.history.iter().map(|&(item, strength)| (ItemIndex(item), strength)).collect();
    let profile = Profile { history, ..Profile::default() };
    let known = loaded.data.row(case.user).0;
    // What the person knows and what is not hidden is not asked for, whatever part of the history the case shows.
    let candidates: Vec<ItemIndex> = (0..loaded.items.len() as u32)
        .filter(|&item| loaded.domain_of[item as usize] == case.domain)
        .filter(|item| known.binary_search(item).is_err() || case.hidden.contains(item))
        .map(ItemIndex)
        .collect();
    let features = pipeline::features(&loaded.catalogue, Some(model), &profile, &candidates);
    let relevant = candidates.iter().map(|item| case.hidden.contains(&item.0)).collect();
    Scored { domain: case.domain, slice: case.slice, whole: case.whole, features, relevant, count: case.hidden.len() }
}

fn fit_blend(scored: &[Scored], settings: &TrainingSettings) -> Blend {
    let mut blend = Blend::default();
    for slice in HistorySlice::ALL {
        let of_slice: Vec<&Scored> = scored.iter().filter(|case| case.slice == slice).collect();
        if of_slice.is_empty() {
            continue;
        }
        let pooled = fit_slice(&of_slice, slice);
        for (number, domain) in settings.domains.iter().enumerate() {
            let own: Vec<&Scored> =
                of_slice.iter().copied().filter(|case| usize::from(case.domain) == number).collect();
            let fitted = match own.len() {
                0 => pooled,
                1..ENOUGH => SliceBlend { weights: pooled.weights, scales: scales(&own, pooled.scales) },
                _ => fit_slice(&own, slice),
            };
            blend.slices.entry(domain.clone()).or_default().insert(slice, fitted);
        }
    }
    blend
}

/// The scales of these cases, and the weights of the highest mean nDCG@20 among all in steps of a tenth. Single scorers are among them, so
/// that the blend is never below its best part on these cases; of equals the one with the most EASE, then the most content.
fn fit_slice(cases: &[&Scored], slice: HistorySlice) -> SliceBlend {
    let scales = scales(cases, SliceBlend::unfitted(slice).scales);
    let mut grid = Vec::new();
    for content in 0..=STEPS {
        for ease in 0..=STEPS - content {
            grid.push([STEPS - content - ease, content, ease].map(|step| f32::from(step) / f32::from(STEPS)));
        }
    }
    let quality = |weights: [f32; 3]| -> f64 {
        let blend = SliceBlend { weights, scales };
        cases.iter().map(|case| case.ndcg(&blend)).sum::<f64>() / cases.len() as f64
    };
    let measured: Vec<f64> = grid.par_iter().map(|&weights| quality(weights)).collect();
    let best = (0..grid.len()).max_by(|&a, &b| {
        measured[a]
            .total_cmp(&measured[b])
            .then(grid[a][2].total_cmp(&grid[b][2]))
            .then(grid[a][1].total_cmp(&grid[b][1]))
    });
    SliceBlend { weights: best.map_or(SliceBlend::unfitted(slice).weights, |best| grid[best]), scales }
}

/// By scorer: the median over the cases of their tenth best raw score; `fallback` for a scorer that had nothing to say.
fn scales(cases: &[&Scored], fallback: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|scorer| {
        let tenth = |case: &&Scored| {
            let mut scores = case.features[scorer].clone()?;
            let place = 9.min(scores.len().checked_sub(1)?);
            let (_, score, _) = scores.select_nth_unstable_by(place, |a, b| b.total_cmp(a));
            Some(*score).filter(|score| *score > 0.0)
        };
        let mut all: Vec<f32> = cases.iter().filter_map(tenth).collect();
        all.sort_unstable_by(f32::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(fallback[scorer])
    })
}

impl Scored {
    /// The same case over the candidates that can come to the top of a blend.
    fn pool(&self) -> Self {
        let all = 0..self.relevant.len() as u32;
        let mut chosen: Vec<u32> = all.clone().filter(|&at| self.relevant[at as usize]).collect();
        for scores in self.features.iter().flatten() {
            let mut places: Vec<u32> = all.clone().collect();
            if places.len() > POOL {
                let better = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
                places.select_nth_unstable_by(POOL, better);
                places.truncate(POOL);
            }
            chosen.extend(places);
        }
        chosen.sort_unstable();
        chosen.dedup();
        let of = |scores: &Vec<f32>| chosen.iter().map(|&at| scores[at as usize]).collect();
        Self {
            features: std::array::from_fn(|scorer| self.features[scorer].as_ref().map(of)),
            relevant: chosen.iter().map(|&at| self.relevant[at as usize]).collect(),
            ..*self
        }
    }

    /// Places among the candidates, the `K` best first; ties by place.
    fn ranked(&self, blend: &SliceBlend) -> Vec<u32> {
        let scores: Vec<f32> =
            (0..self.relevant.len()).map(|at| pipeline::blended(&self.features, at, blend).iter().sum()).collect();
        let better = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        let mut places: Vec<u32> = (0..self.relevant.len() as u32).collect();
        if places.len() > K {
            places.select_nth_unstable_by(K, better);
            places.truncate(K);
        }
        places.sort_unstable_by(better);
        places
    }

    fn ndcg(&self, blend: &SliceBlend) -> f64 {
        ndcg(&self.ranked(blend), |&place| self.relevant[place as usize], self.count, K)
    }
}

/// nDCG@20 and recall@20 of the hybrid and each scorer alone, over everybody held out as they are, in all and by domain.
fn measure(scored: &[Scored], blend: &Blend, settings: &TrainingSettings) -> Metrics {
    let mut metrics = Metrics::new();
    let whole: Vec<&Scored> = scored.iter().filter(|case| case.whole).collect();
    for (number, name) in std::iter::once("hybrid").chain(SCORERS).enumerate() {
        let rows: Vec<(u16, f64, f64)> = whole
            .par_iter()
            .map(|case| {
                let fitted = blend.of(&settings.domains[usize::from(case.domain)], case.slice);
                let weights = if number == 0 {
                    fitted.weights
                } else {
                    std::array::from_fn(|scorer| f32::from(u8::from(scorer + 1 == number)))
                };
                let ranked = case.ranked(&SliceBlend { weights, ..fitted });
                let relevant = |&place: &u32| case.relevant[place as usize];
                (case.domain, ndcg(&ranked, relevant, case.count, K), recall(&ranked, relevant, case.count, K))
            })
            .collect();
        let of = metrics.entry(name.to_owned()).or_default();
        add_means(of, "", &rows);
        for (place, domain) in settings.domains.iter().enumerate() {
            let own: Vec<_> = rows.iter().copied().filter(|row| usize::from(row.0) == place).collect();
            add_means(of, &format!("{domain}/"), &own);
        }
    }
    metrics
}

fn add_means(metrics: &mut BTreeMap<String, f64>, prefix: &str, rows: &[(u16, f64, f64)]) {
    if rows.is_empty() {
        return;
    }
    let count = rows.len() as f64;
    metrics.insert(format!("{prefix}ndcg@20"), rows.iter().map(|row| row.1).sum::<f64>() / count);
    metrics.insert(format!("{prefix}recall@20"), rows.iter().map(|row| row.2).sum::<f64>() / count);
    metrics.insert(format!("{prefix}cases"), count);
}
