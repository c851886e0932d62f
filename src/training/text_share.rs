//! How much the items' texts count in EASE: the share of its penalty that pulls towards text-EASE, chosen on people held out. None of it, unless a share
//! gains more than the standard error of its gain, so that on them it never costs anything.

use rayon::prelude::*;

use crate::engine::artifact::{Manifest, Model};
use crate::engine::pipeline;
use crate::engine::scorers::ease::{EaseError, Solved};
use crate::engine::scorers::implicit_als::AlsFactors;
use crate::engine::scorers::item_weights::ItemWeights;
use crate::engine::scorers::text_ease::TextEase;
use crate::engine::scorers::{EASE, ITEM_TO_ITEM, SCORERS};
use crate::evaluation::metrics::ndcg;

use super::blending::{K, best, question};
use super::fitting::{Columns, bind};
use super::hold_out::Case;
use super::load::Loaded;
use super::stacking::is_gain;

/// The shares that are tried.
const SHARES: [f32; 4] = [0.25, 0.5, 0.75, 1.0];
/// Cases that they are judged on, at most.
const CASES: usize = 1_000;

/// The share that EASE is fitted with: one that is known, or the one that ranks best for these cases.
#[derive(Clone, Copy)]
pub(super) enum TextShare<'a> {
    Known(f32),
    Chosen(&'a [Case]),
}

impl TextShare<'_> {
    /// The weights of EASE, and the share that they were fitted with.
    ///
    /// # Errors
    /// [`EaseError::NotFinite`].
    pub(super) fn weights(
        self,
        loaded: &Loaded,
        columns: &Columns,
        manifest: &Manifest,
        solved: &Solved,
        keep: usize,
    ) -> Result<(ItemWeights, f32), EaseError> {
        let vectors = loaded.vectors.as_ref().filter(|_| columns.covered > 0);
        let text = vectors.and_then(|vectors| TextEase::new(vectors.matrix(&columns.order[..columns.covered])));
        let Some(text) = text else { return Ok((solved.weights(None, keep)?, 0.0)) };
        let cases: Vec<&Case> = match self {
            Self::Known(share) => return Ok((solved.weights(Some((&text, share)), keep)?, share)),
            Self::Chosen(cases) => cases.iter().filter(|case| case.whole && !case.history.is_empty()).collect(),
        };
        let cases: Vec<&Case> = cases.iter().step_by(cases.len().div_ceil(CASES).max(1)).copied().collect();
        let judge = |weights| judge(loaded, columns, manifest, &cases, weights);
        let (without, weights) = judge(solved.weights(None, keep)?);
        let mut found = (without.clone(), weights, 0.0);
        for share in SHARES {
            let (quality, weights) = judge(solved.weights(Some((&text, share)), keep)?);
            let sum = |of: &[f64]| of.iter().sum::<f64>();
            if sum(&quality) > sum(&found.0) && is_gain(&quality, &without, 1.0) {
                found = (quality, weights, share);
            }
        }
        Ok((found.1, found.2))
    }
}

/// nDCG@20 of these weights by case, and the weights again.
fn judge(
    loaded: &Loaded,
    columns: &Columns,
    manifest: &Manifest,
    cases: &[&Case],
    weights: ItemWeights,
) -> (Vec<f64>, ItemWeights) {
    let mut item_to_item: [ItemWeights; ITEM_TO_ITEM.len()] = Default::default();
    item_to_item[0] = weights;
    let item_ids = columns.order.iter().map(|&item| loaded.items[item as usize].id.clone()).collect();
    let popularity = vec![0.0; columns.order.len()];
    let (manifest, als) = (manifest.clone(), AlsFactors::default());
    let model = Model { manifest, item_ids, popularity, item_to_item, als, meanings: None };
    let mut model = bind(loaded, model);
    let wanted = std::array::from_fn(|scorer| SCORERS[scorer] == SCORERS[EASE]);
    let quality = |case: &&Case| {
        let (profile, candidates) = question(loaded, case);
        let features = pipeline::features(&loaded.catalogue, Some(&model), &profile, &candidates, &wanted);
        features[EASE].as_ref().map_or(0.0, |scores| {
            let ranked = best(scores, K);
            ndcg(&ranked, |&at| case.hidden.contains(&candidates[at as usize].0), case.hidden.len(), K)
        })
    };
    let judged = cases.par_iter().map(quality).collect();
    (judged, std::mem::take(&mut model.model.item_to_item[0]))
}
