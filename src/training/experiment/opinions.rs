//! What a second opinion is worth: short lists of the hybrid, re-ordered by what a provider says of them, against the lists as they were.
//!
//! The weight of an opinion is learned for each history slice and judged on people it was not learned from: those of the other half. A gain has to be
//! larger than twice its standard error (the best of several weights gains something by chance), else the weight is 0, which leaves the list as it is. Two controls go through the same procedure and must gain
//! nothing: random numbers, and the provider's own numbers dealt out to other candidates of the list.

use std::collections::BTreeMap;

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::domain::Item;
use crate::engine::blend::HistorySlice;
use crate::engine::pipeline::{self, MODEL_NAMES};
use crate::engine::rerank::fusion::{FusionWeights, fused};
use crate::engine::rerank::short_list::{Known, slice};
use crate::evaluation::intervals::{Bootstrap, Estimate};
use crate::evaluation::metrics::ndcg;
use crate::training::stacking::is_gain;
use crate::training::{TrainingError, fit};

use super::{ExperimentSettings, NEVER, Split, bind, chosen, query};

/// A gain must be larger than so many standard errors.
const ERRORS: f64 = 2.0;
/// From fewer cases nothing is learned: even a standard error says little.
const ENOUGH: usize = 20;

/// The weights that are tried.
const WEIGHTS: [f32; 7] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0];

/// One person and the short list that is to be judged for them.
pub struct Asked {
    user: u32,
    pub slice: HistorySlice,
    pub known: Known,
    pub items: Vec<Item>,
    scores: Vec<f32>,
    relevant: Vec<bool>,
    /// How many items are relevant in all, on the short list or not.
    count: usize,
}

/// By case: what a provider said of its candidates; empty where it failed.
pub type Opinions = Vec<Vec<Option<f32>>>;

/// One way to order the short lists, against the ranker's.
#[derive(Debug, Clone, Serialize)]
pub struct OpinionRow {
    /// The provider, or the control.
    pub name: String,
    /// nDCG@n of lists of n, over all cases.
    pub ndcg: Estimate,
    /// Its paired difference to the ranker's order.
    pub difference: Estimate,
    /// By history slice.
    pub slices: BTreeMap<HistorySlice, OpinionSlice>,
}

#[derive(Debug, Clone, Serialize)]
pub struct OpinionSlice {
    pub cases: usize,
    pub difference: Estimate,
    /// What was learned from all cases of the slice.
    pub weight: f32,
}

/// What opinions are worth.
#[derive(Debug, Clone, Serialize)]
pub struct OpinionReport {
    pub cases: usize,
    /// nDCG of the ranker's own order.
    pub ranker: Estimate,
    pub rows: Vec<OpinionRow>,
    /// By provider: what is to be used for serving.
    pub fusion: BTreeMap<String, FusionWeights>,
}

/// Trains on the one part, and gives the hybrid's best `length` for each case of which anything is known.
///
/// # Errors
/// [`TrainingError`].
pub fn short_lists(
    split: &Split,
    settings: &ExperimentSettings,
    length: usize,
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> Result<Vec<Asked>, TrainingError> {
    split.check()?;
    let training = &settings.training;
    let model = bind(&split.loaded, fit(&split.loaded, training, NEVER, progress)?);
    let catalogue = &split.loaded.catalogue;
    let mut users = std::collections::HashMap::new();
    let cases: Vec<(u32, _)> = chosen(split, settings)
        .into_iter()
        .filter(|case| !case.history.is_empty())
        .map(|case| {
            let next = users.len() as u32;
            (*users.entry(case.user.as_str()).or_insert(next), case)
        })
        .collect();
    let asked = cases.par_iter().map(|&(user, case)| {
        let domain = training.domains[usize::from(case.domain)].clone();
        let query = query(domain.clone(), length, MODEL_NAMES[0]);
        let answer = pipeline::recommend(catalogue, Some(&model), &training.interactions, &query, &case.history);
        let list: Vec<_> = answer.lists.into_iter().flat_map(|(_, list)| list).collect();
        let place = |item: &Item| split.loaded.items.binary_search_by(|other| other.id.cmp(&item.id)).ok();
        let is_relevant = |item: &Item| place(item).is_some_and(|place| case.relevant.contains(&(place as u32)));
        Asked {
            user,
            slice: slice(catalogue, &query, &case.history, &domain),
            known: Known::of(catalogue, &query, &case.history, &training.interactions),
            scores: list.iter().map(|ranked| ranked.score).collect(),
            relevant: list.iter().map(|ranked| is_relevant(&ranked.item)).collect(),
            count: case.relevant.len(),
            items: list.into_iter().map(|ranked| Item::clone(&ranked.item)).collect(),
        }
    });
    Ok(asked.collect())
}

impl Asked {
    /// nDCG of the list under an opinion of this weight.
    fn quality(&self, opinions: &[Option<f32>], weight: f32) -> f64 {
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        if opinions.len() == self.scores.len() {
            let totals = fused(&self.scores, opinions, weight);
            order.sort_by(|&a, &b| totals[b].0.total_cmp(&totals[a].0).then(a.cmp(&b)));
        }
        ndcg(&order, |&place| self.relevant[place], self.count, self.scores.len())
    }
}

/// Learns what each provider's opinions count, and judges them and their controls.
#[must_use]
pub fn judge(cases: &[Asked], providers: &[(String, Opinions)], seed: u64) -> OpinionReport {
    let bootstrap = Bootstrap::new(cases.iter().map(|case| case.user), seed);
    let estimate = |values: &[f64], pick: &dyn Fn(usize) -> bool| {
        let column = (0..cases.len()).filter(|&at| pick(at)).map(|at| (at as u32, values[at])).collect();
        let nothing = Estimate { mean: 0.0, low: 0.0, high: 0.0 };
        bootstrap.estimates(&[column]).pop().flatten().unwrap_or(nothing)
    };
    let plain: Vec<f64> = cases.iter().map(|case| case.quality(&[], 0.0)).collect();
    let (mut rows, mut fusion) = (Vec::new(), BTreeMap::new());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let noise: Opinions =
        cases.iter().map(|case| case.items.iter().map(|_| Some(random.random::<f32>())).collect()).collect();
    let mut variants: Vec<(String, &Opinions, bool)> = Vec::new();
    let dealt: Vec<(String, Opinions)> = providers
        .iter()
        .map(|(name, opinions)| {
            let mut dealt = opinions.clone();
            dealt.iter_mut().for_each(|of_case| of_case.shuffle(&mut random));
            (format!("{name}, dealt out to others (control)"), dealt)
        })
        .collect();
    for ((name, opinions), (control, dealt)) in providers.iter().zip(&dealt) {
        variants.push((name.clone(), opinions, true));
        variants.push((control.clone(), dealt, false));
    }
    variants.push(("random numbers (control)".to_owned(), &noise, false));
    for (name, opinions, is_provider) in variants {
        let (weights, judged) = cross_fitted(cases, opinions, &plain);
        let difference: Vec<f64> = judged.iter().zip(&plain).map(|(new, old)| new - old).collect();
        let slices = weights.0.iter().map(|(&slice, &weight)| {
            let own = |at: usize| cases[at].slice == slice;
            let count = (0..cases.len()).filter(|&at| own(at)).count();
            (slice, OpinionSlice { cases: count, difference: estimate(&difference, &own), weight })
        });
        rows.push(OpinionRow {
            ndcg: estimate(&judged, &|_| true),
            difference: estimate(&difference, &|_| true),
            slices: slices.collect(),
            name: name.clone(),
        });
        if is_provider {
            fusion.insert(name, weights);
        }
    }
    OpinionReport { cases: cases.len(), ranker: estimate(&plain, &|_| true), rows, fusion }
}

/// The weights learned from all cases, and the quality of each case by weights that were learned from the other half of the people. A slice that so
/// judged loses by them gets the weight 0.
fn cross_fitted(cases: &[Asked], opinions: &Opinions, plain: &[f64]) -> (FusionWeights, Vec<f64>) {
    let (mut weights, mut judged) = (FusionWeights::default(), plain.to_vec());
    for slice in HistorySlice::ALL {
        let own: Vec<usize> = (0..cases.len()).filter(|&at| cases[at].slice == slice).collect();
        if own.is_empty() {
            continue;
        }
        let of_half = |half: u32| own.iter().copied().filter(|&at| cases[at].user % 2 == half).collect::<Vec<_>>();
        let learned = [learn(cases, opinions, plain, &of_half(1)), learn(cases, opinions, plain, &of_half(0))];
        for &at in &own {
            judged[at] = cases[at].quality(&opinions[at], learned[(cases[at].user % 2) as usize]);
        }
        let gain: f64 = own.iter().map(|&at| judged[at] - plain[at]).sum();
        weights.0.insert(slice, if gain > 0.0 { learn(cases, opinions, plain, &own) } else { 0.0 });
    }
    (weights, judged)
}

/// The weight of the largest gain, 0 when it is not above `ERRORS` standard errors.
fn learn(cases: &[Asked], opinions: &Opinions, plain: &[f64], own: &[usize]) -> f32 {
    let old: Vec<f64> = own.iter().map(|&at| plain[at]).collect();
    let tried = WEIGHTS.map(|weight| {
        let new: Vec<f64> = own.par_iter().map(|&at| cases[at].quality(&opinions[at], weight)).collect();
        (weight, new)
    });
    let best = tried.into_iter().max_by(|a, b| a.1.iter().sum::<f64>().total_cmp(&b.1.iter().sum::<f64>()));
    best.filter(|(_, new)| new.len() >= ENOUGH && is_gain(new, &old, ERRORS)).map_or(0.0, |(weight, _)| weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases() -> Vec<Asked> {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        (0..200)
            .map(|user| {
                let relevant: Vec<bool> = (0..20).map(|_| random.random::<f32>() < 0.15).collect();
                Asked {
                    user,
                    slice: if user < 100 { HistorySlice::Few } else { HistorySlice::Many },
                    known: Known::default(),
                    items: Vec::new(),
                    scores: (0..20).map(|place| 1.0 - place as f32 / 20.0).collect(),
                    count: relevant.iter().filter(|relevant| **relevant).count(),
                    relevant,
                }
            })
            .collect()
    }

    #[test]
    fn an_opinion_that_knows_counts_and_one_that_does_not_counts_nothing() {
        let cases = cases();
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let knows = |case: &Asked, share: f32, random: &mut ChaCha8Rng| -> Vec<Option<f32>> {
            case.relevant.iter().map(|&r| Some(f32::from(u8::from(r)) * share + random.random::<f32>())).collect()
        };
        // It knows the people with short histories only.
        let wise: Opinions = cases
            .iter()
            .map(|case| knows(case, if case.slice == HistorySlice::Few { 1.0 } else { 0.0 }, &mut random))
            .collect();
        let silent: Opinions = vec![Vec::new(); cases.len()];
        let report = judge(&cases, &[("wise".to_owned(), wise), ("silent".to_owned(), silent)], 1);
        let row = |name: &str| report.rows.iter().find(|row| row.name == name).unwrap();
        assert!(row("wise").difference.low > 0.0, "{:?}", row("wise"));
        let weights = &report.fusion["wise"];
        assert!(weights.of(HistorySlice::Few) >= 0.3 && weights.of(HistorySlice::Many) <= 0.05, "{weights:?}");
        assert_eq!(row("silent").difference.mean, 0.0);
        for control in report.rows.iter().filter(|row| row.name.contains("control")) {
            assert!(control.difference.low <= 0.0 && control.difference.mean.abs() < 0.02, "{control:?}");
        }
    }
}
