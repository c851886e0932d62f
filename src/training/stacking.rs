//! Linear stacking: the weights of the scorers, by domain and history, that rank what was hidden highest.
//!
//! Coordinate ascent on nDCG itself (Metzler & Croft, "Linear feature-based models for information retrieval", Information Retrieval 2007), from the
//! general to the particular: first one set of weights for everybody; then one for each history slice; then one for each domain and slice. nDCG is full of
//! steps and hollows, so each ascent begins at the best of several places: the weights that the more general cases taught, the best scorer alone, and the
//! weights of greatest likelihood ([`super::listwise`]), which have no such hollows. A step is taken only when its gain is larger than its own
//! standard error, so that few cases stay near what many taught.
//!
//! The guard: people are parted in two halves, and each is judged by weights fitted on the other. A domain and slice where the blend so judged is worse
//! than its best part is left to that part.

use rayon::prelude::*;

use crate::domain::Domain;
use crate::engine::blend::{Blend, DomainBlend, HistorySlice, SliceWeights, weighted};
use crate::engine::scorers::{ByScorer, IALS, POPULARITY, SCORERS};

use super::blending::{Scored, best};
use super::listwise;

const N: usize = SCORERS.len();
const SLICES: usize = HistorySlice::ALL.len();
/// Ascent goes over all scorers at most so many times.
const SWEEPS: usize = 3;
/// A domain's slice with fewer cases takes the weights of all domains.
const ENOUGH: usize = 20;

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

    fn is_mostly(&self, slice: usize) -> bool {
        (self.below == slice && self.share < 0.5) || (self.above == slice && self.share >= 0.5)
    }
}

pub(super) fn fit(scored: &[Scored], domains: usize) -> Stacked {
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
        || learn(&all, domains),
        || rayon::join(|| learn(&half(false), domains), || learn(&half(true), domains)),
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
    let blended: f64 = own.iter().map(|&at| cross_fitted[at].0).sum();
    let alone = |scorer: usize| own.iter().map(|&at| cases[at].case.alone[scorer].0).sum::<f64>();
    let Some(part) = (0..N).max_by(|&a, &b| alone(a).total_cmp(&alone(b)).then(b.cmp(&a))) else { return };
    if alone(part) > blended {
        *weights = one(part);
        for at in own {
            cross_fitted[at] = cases[at].case.alone[part];
        }
    }
}

/// A table for each domain.
fn learn(cases: &[&Prepared<'_>], domains: usize) -> Vec<Table> {
    let known: Vec<&Prepared<'_>> =
        cases.iter().copied().filter(|case| case.case.slice() != HistorySlice::Stranger).collect();
    let mut table = [one(best_alone(&known)); SLICES];
    // Of a stranger only popularity has something to say.
    table[0] = one(POPULARITY);
    let all: Vec<usize> = (1..SLICES).collect();
    begin(&known, &known, &mut table, &all);
    ascend(&known, &mut table, &all);
    for slice in 1..SLICES {
        learn_slice(&known, &mut table, slice);
    }
    let domain_table = |domain: usize| {
        let mut table = table;
        let known: Vec<&Prepared<'_>> =
            known.iter().copied().filter(|case| usize::from(case.case.domain) == domain).collect();
        // With one domain, its cases have taught the table already.
        if known.len() < cases.len() {
            (1..SLICES).for_each(|slice| learn_slice(&known, &mut table, slice));
        }
        table
    };
    (0..domains).map(domain_table).collect()
}

fn learn_slice(known: &[&Prepared<'_>], table: &mut Table, slice: usize) {
    let touching: Vec<&Prepared<'_>> = known.iter().copied().filter(|case| case.touches(slice)).collect();
    let own: Vec<&Prepared<'_>> = touching.iter().copied().filter(|case| case.is_mostly(slice)).collect();
    begin(&own, &touching, table, &[slice]);
    ascend(&touching, table, &[slice]);
}

/// The scorer that ranks best by itself.
fn best_alone(cases: &[&Prepared<'_>]) -> usize {
    let alone = |scorer: usize| cases.iter().map(|case| case.case.alone[scorer].0).sum::<f64>();
    (0..N).max_by(|&a, &b| alone(a).total_cmp(&alone(b)).then(b.cmp(&a))).unwrap_or(POPULARITY)
}

/// Sets the weights of these slices, all alike, to where an ascent should begin: as they are, the best scorer of `own` alone, or the weights of `own`'s
/// greatest likelihood, whichever ranks `judges` best.
fn begin(own: &[&Prepared<'_>], judges: &[&Prepared<'_>], table: &mut Table, slices: &[usize]) {
    if own.len() < ENOUGH {
        return;
    }
    let features: Vec<(&Scored, &ByScorer<f32>)> = own.iter().map(|case| (case.case, &case.scales)).collect();
    let mut now: f64 = mean(judges, table);
    for weights in [one(best_alone(own)), listwise::fit(&features)] {
        let mut other = *table;
        slices.iter().for_each(|&slice| other[slice] = weights);
        let quality = mean(judges, &other);
        if quality > now {
            (*table, now) = (other, quality);
        }
    }
}

fn mean(cases: &[&Prepared<'_>], table: &Table) -> f64 {
    let judged: Vec<f64> = cases.par_iter().map(|case| case.quality(table).0).collect();
    judged.iter().sum::<f64>() / cases.len().max(1) as f64
}

fn one(scorer: usize) -> ByScorer<f32> {
    std::array::from_fn(|n| f32::from(u8::from(n == scorer)))
}

/// Moves the weights of these slices, all alike, one scorer at a time, as long as the cases gain by it.
fn ascend(cases: &[&Prepared<'_>], table: &mut Table, slices: &[usize]) {
    if cases.len() < ENOUGH {
        return;
    }
    let mut now: Vec<f64> = cases.par_iter().map(|case| case.quality(table).0).collect();
    for _ in 0..SWEEPS {
        let mut moved = false;
        for scorer in 0..N {
            let weights = table[slices[0]];
            let tried: Vec<Table> = steps(weights[scorer])
                .into_iter()
                .filter_map(|weight| with(&weights, scorer, weight))
                .map(|weights| {
                    let mut other = *table;
                    slices.iter().for_each(|&slice| other[slice] = weights);
                    other
                })
                .collect();
            let judged: Vec<Vec<f64>> =
                cases.par_iter().map(|case| tried.iter().map(|table| case.quality(table).0).collect()).collect();
            let of = |place: usize| judged.iter().map(|by_table| by_table[place]).collect::<Vec<f64>>();
            let gain = |judged: &[f64]| judged.iter().zip(&now).map(|(new, old)| new - old).sum::<f64>();
            let best =
                (0..tried.len()).map(|place| (place, of(place))).max_by(|a, b| gain(&a.1).total_cmp(&gain(&b.1)));
            if let Some((place, judged)) = best.filter(|(_, judged)| is_gain(judged, &now, 1.0)) {
                (*table, now, moved) = (tried[place], judged, true);
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
fn tenth(scores: &[f32]) -> Option<f32> {
    let place = *best(scores, 10).last()?;
    Some(scores[place as usize]).filter(|score| *score > 0.0)
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_unstable_by(f32::total_cmp);
    values.get(values.len() / 2).copied()
}

impl Stacked {
    /// The blend as models keep it.
    pub(super) fn blend(&self, domains: &[Domain]) -> Blend {
        let of = |(number, domain): (usize, &Domain)| {
            let slices = HistorySlice::ALL.into_iter().enumerate().map(|(slice, name)| {
                let (weights, level) = (self.tables[number][slice], self.levels[number][slice]);
                (name, SliceWeights { weights, level })
            });
            (domain.clone(), DomainBlend { scales: self.scales[number], slices: slices.collect() })
        };
        Blend { domains: domains.iter().enumerate().map(of).collect() }
    }
}
