//! Linear stacking: the weights of the scorers, by domain and history, that rank what was hidden highest.
//!
//! Coordinate ascent on nDCG itself (Metzler & Croft, "Linear feature-based models for information retrieval", Information Retrieval 2007), from the
//! general to the particular: first one set of weights for everybody; then one for each history slice; then one for each domain and slice.
//!
//! nDCG is full of steps and hollows, and where an ascent ends depends on a few cases. So each is made on several random halves of the people, from two places, and the mean of
//! their weights is taken (Breiman, "Bagging predictors", Machine Learning 1996): what only some cases say falls out.
//!
//! The guard: people are parted in two halves, and each is judged by weights fitted on the other, beside the part that ranks the other best. A domain and slice where the
//! blend so judged is worse than its best part is left to that part.

use std::collections::BTreeSet;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::domain::Domain;
use crate::engine::blend::{Blend, DomainBlend, HistorySlice, NewItems, SliceWeights, weighted};
use crate::engine::scorers::{ByScorer, IALS, POPULARITY, SCORERS};

use super::TrainingSettings;
use super::blending::{Scored, best};

const N: usize = SCORERS.len();
const SLICES: usize = HistorySlice::ALL.len();
/// Ascent goes over all scorers at most so many times.
const SWEEPS: usize = 3;
/// Of fewer people nothing is learned: a domain's slice then takes the weights of all domains.
const ENOUGH: usize = 40;
/// One ascent looks at so many cases at most, spread over all.
const CASES: usize = 800;

/// The weight that iALS has at least: it alone puts new items in order.
const LEAST_OF_IALS: f32 = 0.02;

/// Weights by slice.
type Table = [ByScorer<f32>; SLICES];

/// What was learned.
pub(super) struct Stacked {
    scales: Vec<ByScorer<f32>>,
    tables: Vec<Table>,
    levels: Vec<[f32; SLICES]>,
    /// nDCG and recall of the hybrid by case, with weights that were fitted without the person.
    pub cross_fitted: Vec<(f64, f64)>,
}

/// A case ready to be ranked by weights.
struct Prepared<'a> {
    case: &'a Scored,
    below: usize,
    above: usize,
    share: f32,
    scales: ByScorer<f32>,
}

impl Prepared<'_> {
    fn sums(&self, table: &Table) -> Vec<f32> {
        let weights: ByScorer<f32> =
            std::array::from_fn(|n| table[self.below][n] * (1.0 - self.share) + table[self.above][n] * self.share);
        let heard: f32 = (0..N).filter(|&n| self.case.features[n].is_some()).map(|n| weights[n]).sum();
        let coefficients = std::array::from_fn(|n| if heard > 0.0 { weights[n] / heard / self.scales[n] } else { 0.0 });
        weighted(&self.case.features, &coefficients, 0..self.case.relevant.len())
    }

    fn quality(&self, table: &Table) -> (f64, f64) {
        self.case.quality(&self.sums(table))
    }

    fn touches(&self, slice: usize) -> bool {
        (self.below == slice && self.share < 1.0) || (self.above == slice && self.share > 0.0)
    }
}

pub(super) fn fit(scored: &[Scored], settings: &TrainingSettings) -> Stacked {
    let domains = settings.domains.len();
    let scales: Vec<ByScorer<f32>> = (0..domains).map(|domain| scales(scored, domain)).collect();
    let place = |slice: HistorySlice| HistorySlice::ALL.iter().position(|other| *other == slice).unwrap_or(0);
    let prepared: Vec<Prepared<'_>> = scored
        .iter()
        .map(|case| {
            let (below, above, share) = case.between();
            let scales = scales[usize::from(case.domain)];
            Prepared { case, below: place(below), above: place(above), share, scales }
        })
        .collect();
    let half = |odd: bool| prepared.iter().filter(move |case| (case.case.user % 2 == 1) == odd).collect::<Vec<_>>();
    let all: Vec<&Prepared<'_>> = prepared.iter().collect();
    let (mut tables, (even, odd)) = rayon::join(
        || learn(&all, settings),
        || rayon::join(|| learn(&half(false), settings), || learn(&half(true), settings)),
    );
    let halves = [even, odd];
    let mut cross_fitted: Vec<(f64, f64)> = prepared
        .par_iter()
        .map(|case| case.quality(&halves[usize::from(case.case.user % 2 == 0)][usize::from(case.case.domain)]))
        .collect();
    for (domain, table) in tables.iter_mut().enumerate() {
        for (number, slice) in HistorySlice::ALL.into_iter().enumerate() {
            guard(&prepared, &mut cross_fitted, domain, slice, &mut table[number]);
        }
    }
    for table in &mut tables {
        for weights in &mut table[1..] {
            *weights = with(weights, IALS, weights[IALS].max(LEAST_OF_IALS)).unwrap_or(*weights);
        }
    }
    let levels = (0..domains).map(|domain| levels(&prepared, domain, &tables[domain])).collect();
    Stacked { scales, tables, levels, cross_fitted }
}

/// Leaves a slice to its best part when the blend is worse on people it was not fitted on.
fn guard(
    cases: &[Prepared<'_>],
    cross_fitted: &mut [(f64, f64)],
    domain: usize,
    slice: HistorySlice,
    weights: &mut ByScorer<f32>,
) {
    let own: Vec<usize> = (0..cases.len())
        .filter(|&at| usize::from(cases[at].case.domain) == domain && cases[at].case.slice() == slice)
        .collect();
    if own.is_empty() {
        return;
    }
    let is_odd = |at: &usize| cases[*at].case.user % 2 == 1;
    let best_of = |among: &mut dyn Iterator<Item = usize>| best_alone(&among.map(|at| &cases[at]).collect::<Vec<_>>());
    let of_even = best_of(&mut own.iter().copied().filter(|at| !is_odd(at)));
    let of_odd = best_of(&mut own.iter().copied().filter(is_odd));
    let parts = |at: usize| cases[at].case.alone[if is_odd(&at) { of_even } else { of_odd }];
    let blended: f64 = own.iter().map(|&at| cross_fitted[at].0).sum();
    if own.iter().map(|&at| parts(at).0).sum::<f64>() > blended {
        *weights = one(best_of(&mut own.iter().copied()));
        own.into_iter().for_each(|at| cross_fitted[at] = parts(at));
    }
}

/// A table for each domain.
fn learn(cases: &[&Prepared<'_>], settings: &TrainingSettings) -> Vec<Table> {
    let known: Vec<&Prepared<'_>> =
        cases.iter().copied().filter(|case| case.case.slice() != HistorySlice::Stranger).collect();
    let single = one(best_alone(&known));
    let mut table = [single; SLICES];
    // Of a stranger only popularity has something to say.
    table[0] = one(POPULARITY);
    let near_single = single.map(|weight| (weight + 0.02) / (1.0 + 0.02 * N as f32));
    let whole: Vec<&Prepared<'_>> = known.iter().copied().filter(|case| case.case.whole).collect();
    // From people as they are, who are those that will be asked for, and from the shorter histories as well, which are many more cases.
    let learned: Vec<ByScorer<f32>> = [&known, &whole]
        .into_par_iter()
        .filter_map(|cases| bag(cases, &table, &[1, 2, 3, 4], &[[1.0 / N as f32; N], near_single], settings))
        .collect();
    if let Some(weights) = mean(&learned) {
        table[1..].fill(weights);
    }
    for slice in 1..SLICES {
        learn_slice(&known, &mut table, slice, settings);
    }
    let domain_table = |domain: usize| {
        let mut table = table;
        let known: Vec<&Prepared<'_>> =
            known.iter().copied().filter(|case| usize::from(case.case.domain) == domain).collect();
        // With one domain, its cases have taught the table already.
        if known.len() < cases.len() {
            (1..SLICES).for_each(|slice| learn_slice(&known, &mut table, slice, settings));
        }
        table
    };
    (0..settings.domains.len()).into_par_iter().map(domain_table).collect()
}

fn learn_slice(known: &[&Prepared<'_>], table: &mut Table, slice: usize, settings: &TrainingSettings) {
    let touching: Vec<&Prepared<'_>> = known.iter().copied().filter(|case| case.touches(slice)).collect();
    if let Some(weights) = bag(&touching, table, &[slice], &[table[slice]], settings) {
        table[slice] = weights;
    }
}

/// The scorer that ranks best by itself.
fn best_alone(cases: &[&Prepared<'_>]) -> usize {
    let alone = |scorer: usize| cases.iter().map(|case| case.case.alone[scorer].0).sum::<f64>();
    (0..N).max_by(|&a, &b| alone(a).total_cmp(&alone(b)).then(b.cmp(&a))).unwrap_or(POPULARITY)
}

/// The weights of these slices, all alike: the mean of what ascents on random halves of the people end at, which begin at `starts` in turns. `None`: too few
/// people.
fn bag(
    cases: &[&Prepared<'_>],
    table: &Table,
    slices: &[usize],
    starts: &[ByScorer<f32>],
    settings: &TrainingSettings,
) -> Option<ByScorer<f32>> {
    let people: BTreeSet<usize> = cases.iter().map(|case| case.case.user).collect();
    if people.len() < ENOUGH {
        return None;
    }
    let ends: Vec<ByScorer<f32>> = (0..settings.blend_samples.max(1))
        .into_par_iter()
        .map(|sample| {
            let mut random = ChaCha8Rng::seed_from_u64(settings.seed.wrapping_add(sample as u64));
            let chosen: BTreeSet<usize> = people.iter().copied().filter(|_| random.random::<bool>()).collect();
            let own: Vec<&Prepared<'_>> =
                cases.iter().copied().filter(|case| chosen.contains(&case.case.user)).collect();
            let step = own.len().div_ceil(CASES).max(1);
            let own: Vec<&Prepared<'_>> = own.into_iter().step_by(step).collect();
            let mut table = *table;
            slices.iter().for_each(|&slice| table[slice] = starts[sample % starts.len()]);
            ascend(&own, &mut table, slices);
            table[slices[0]]
        })
        .collect();
    mean(&ends)
}

fn mean(of: &[ByScorer<f32>]) -> Option<ByScorer<f32>> {
    normalised(&std::array::from_fn(|n| of.iter().map(|weights| weights[n]).sum::<f32>()))
}

fn one(scorer: usize) -> ByScorer<f32> {
    std::array::from_fn(|n| f32::from(u8::from(n == scorer)))
}

/// Moves the weights of these slices, all alike, one scorer at a time, as long as the cases gain by it.
fn ascend(cases: &[&Prepared<'_>], table: &mut Table, slices: &[usize]) {
    let quality = |table: &Table| cases.iter().map(|case| case.quality(table).0).sum::<f64>();
    let mut now = quality(table);
    for _ in 0..SWEEPS {
        let mut moved = false;
        for scorer in 0..N {
            let weights = table[slices[0]];
            let tried: Vec<(f64, Table)> = steps(weights[scorer])
                .into_par_iter()
                .filter_map(|weight| with(&weights, scorer, weight))
                .map(|weights| {
                    let mut other = *table;
                    slices.iter().for_each(|&slice| other[slice] = weights);
                    (quality(&other), other)
                })
                .collect();
            let best = tried.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((quality, other)) = best.filter(|(quality, _)| *quality > now + 1e-9) {
                (*table, now, moved) = (other, quality, true);
            }
        }
        if !moved {
            return;
        }
    }
}

/// The weights that are tried for a scorer that has this one.
fn steps(weight: f32) -> Vec<f32> {
    if weight < 0.01 {
        vec![0.03, 0.1, 0.3]
    } else {
        vec![0.0, weight * 0.5, weight * 0.75, weight * 1.33, weight * 2.0]
    }
}

/// The weights with another one for one scorer, summing to 1 again; `None` when nothing is left.
fn with(weights: &ByScorer<f32>, scorer: usize, weight: f32) -> Option<ByScorer<f32>> {
    let mut weights = *weights;
    weights[scorer] = weight;
    normalised(&weights)
}

/// Summing to 1, those below a two-hundredth 0; `None` when nothing is left.
fn normalised(weights: &ByScorer<f32>) -> Option<ByScorer<f32>> {
    let sum: f32 = weights.iter().sum();
    (sum > 1e-6).then(|| weights.map(|weight| if weight / sum < 0.005 { 0.0 } else { weight / sum }))
}

/// Whether the mean gain is above so many standard errors.
pub(super) fn is_gain(new: &[f64], old: &[f64], errors: f64) -> bool {
    let count = new.len() as f64;
    let mean = new.iter().zip(old).map(|(new, old)| new - old).sum::<f64>() / count;
    let variance = new.iter().zip(old).map(|(new, old)| (new - old - mean).powi(2)).sum::<f64>() / count;
    mean > 1e-6 && mean > errors * (variance / count).sqrt()
}

/// By scorer: the median over the cases of a domain of their tenth best raw score; that over all domains where it has nothing to say.
fn scales(scored: &[Scored], domain: usize) -> ByScorer<f32> {
    let median = |scorer: usize, own: bool| {
        let cases = scored.iter().filter(|case| !own || usize::from(case.domain) == domain);
        median(cases.filter_map(|case| tenth(case.features[scorer].as_ref()?)).collect())
    };
    std::array::from_fn(|n| median(n, true).or_else(|| median(n, false)).unwrap_or(DomainBlend::UNFITTED_SCALES[n]))
}

fn levels(cases: &[Prepared<'_>], domain: usize, table: &Table) -> [f32; SLICES] {
    let own = |slice: usize, domain: Option<usize>| {
        let cases = cases.iter().filter(|case| domain.is_none_or(|domain| usize::from(case.case.domain) == domain));
        let cases = cases.filter(|case| case.case.slice() == HistorySlice::ALL[slice]);
        median(cases.filter_map(|case| tenth(&case.sums(table))).collect())
    };
    std::array::from_fn(|slice| own(slice, Some(domain)).or_else(|| own(slice, None)).unwrap_or(1.0))
}

/// The tenth largest (or the least of fewer), if it is positive.
pub(super) fn tenth(scores: &[f32]) -> Option<f32> {
    let place = *best(scores, 10).last()?;
    Some(scores[place as usize]).filter(|score| *score > 0.0)
}

pub(super) fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_unstable_by(f32::total_cmp);
    values.get(values.len() / 2).copied()
}

impl Stacked {
    /// The blend as models keep it.
    pub(super) fn blend(&self, domains: &[Domain], new_items: &[NewItems]) -> Blend {
        let of = |(number, domain): (usize, &Domain)| {
            let slices = HistorySlice::ALL.into_iter().enumerate().map(|(slice, name)| {
                let (weights, level) = (self.tables[number][slice], self.levels[number][slice]);
                (name, SliceWeights { weights, level })
            });
            let (scales, new_items) = (self.scales[number], new_items[number]);
            (domain.clone(), DomainBlend { scales, slices: slices.collect(), new_items })
        };
        Blend { domains: domains.iter().enumerate().map(of).collect() }
    }
}
