//! The protocol of papers that rank each true item among sampled ones, for comparison with their tables only: sampled metrics can order models
//! differently than full ones (Krichene & Rendle, KDD 2020).

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::engine::artifact::BoundModel;

use super::{ExperimentSettings, Split, SplitCase, ranking};

/// Means over all true items of how each was ranked among sampled ones.
#[derive(Debug, Clone, Serialize)]
pub struct Sampled {
    pub model: String,
    /// True items that were ranked.
    pub rows: usize,
    pub mrr: f64,
    pub ndcg_at_10: f64,
    /// The share of them on the first place, among the first five, among the first ten.
    pub hit_rate_at_1: f64,
    pub hit_rate_at_5: f64,
    pub hit_rate_at_10: f64,
}

pub(super) fn measure(
    split: &Split,
    model: &BoundModel,
    settings: &ExperimentSettings,
    name: &str,
    cases: &[&SplitCase],
    negatives: usize,
) -> Sampled {
    let ranks: Vec<usize> = cases
        .par_iter()
        .enumerate()
        .flat_map_iter(|(at, case)| {
            let mut random = ChaCha8Rng::seed_from_u64(settings.training.seed ^ at as u64);
            let ranked = ranking(split, model, settings, name, case, split.loaded.items.len());
            let mut rank_of = vec![usize::MAX; split.loaded.items.len()];
            for (rank, &item) in ranked.iter().enumerate() {
                rank_of[item as usize] = rank;
            }
            let others: Vec<u32> = ranked.iter().copied().filter(|item| !case.relevant.contains(item)).collect();
            let rank = |&item: &u32| {
                let ahead = |_: usize| {
                    let other = others[random.random_range(0..others.len().max(1))];
                    usize::from(rank_of[other as usize] < rank_of[item as usize])
                };
                if others.is_empty() { 0 } else { (0..negatives).map(ahead).sum() }
            };
            case.relevant.iter().map(rank).collect::<Vec<usize>>()
        })
        .collect();
    let mean =
        |gain: &dyn Fn(usize) -> f64| ranks.iter().map(|&rank| gain(rank)).sum::<f64>() / ranks.len().max(1) as f64;
    let hit = |k: usize| mean(&|rank| f64::from(u8::from(rank < k)));
    Sampled {
        model: name.to_owned(),
        rows: ranks.len(),
        mrr: mean(&|rank| 1.0 / (rank as f64 + 1.0)),
        ndcg_at_10: mean(&|rank| if rank < 10 { 1.0 / (rank as f64 + 2.0).log2() } else { 0.0 }),
        hit_rate_at_1: hit(1),
        hit_rate_at_5: hit(5),
        hit_rate_at_10: hit(10),
    }
}
