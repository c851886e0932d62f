//! Fusion: a second opinion, such as a large model's, puts the head of a ranked list in a new order. It adds nothing to the list and takes nothing from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{RankedItem, Reason, ReasonCode};
use crate::engine::blend::HistorySlice;

/// What a second opinion counts beside the ranker's, 0 to 1, by how much is known of the person.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FusionWeights(pub BTreeMap<HistorySlice, f32>);

impl FusionWeights {
    /// The same for everybody.
    #[must_use]
    pub fn constant(weight: f32) -> Self {
        Self(HistorySlice::ALL.into_iter().map(|slice| (slice, weight)).collect())
    }

    /// 0 for a slice that nothing was measured of.
    #[must_use]
    pub fn of(&self, slice: HistorySlice) -> f32 {
        self.0.get(&slice).copied().unwrap_or(0.0)
    }
}

/// What ranks the candidates: `(1 - weight) · score + weight · opinion`, each brought to 0..=1 within the list, and the opinion's share of it.
///
/// * `scores`: the ranker's, of the first `opinions.len()` places.
/// * `opinions`: larger is better; of a candidate without one the mean is taken.
#[must_use]
pub fn fused(scores: &[f32], opinions: &[Option<f32>], weight: f32) -> Vec<(f32, f32)> {
    let given: Vec<f32> = opinions.iter().copied().flatten().filter(|opinion| opinion.is_finite()).collect();
    let opinion_of = spread(&given);
    let mean = given.iter().map(|&opinion| opinion_of(opinion)).sum::<f32>() / given.len().max(1) as f32;
    let score_of = spread(scores);
    let both = scores.iter().zip(opinions).map(|(&score, opinion)| {
        let opinion = opinion.filter(|opinion| opinion.is_finite());
        let part = weight * opinion.map_or(mean, &opinion_of);
        let total = (1.0 - weight) * score_of(score) + part;
        (total, if opinion.is_some() && total > 0.0 { part / total } else { 0.0 })
    });
    both.collect()
}

/// Brings the least of some values to 0 and the largest to 1; all to 1/2 when they are alike.
fn spread(values: &[f32]) -> impl Fn(f32) -> f32 + use<> {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    move |value| if most > least { (value - least) / (most - least) } else { 0.5 }
}

/// Puts the first `opinions.len()` items in their new order. The scores stay where they are, so that they fall with rank and mean what they meant. With
/// `explain`, what a reason says, the opinion's share becomes one, and the others keep what is left.
pub fn fuse(list: &mut [RankedItem], opinions: &[Option<f32>], weight: f32, explain: Option<&str>) {
    let head = list.len().min(opinions.len());
    let list = &mut list[..head];
    let scores: Vec<f32> = list.iter().map(|ranked| ranked.score).collect();
    let fused = fused(&scores, &opinions[..head], weight);
    let mut order: Vec<usize> = (0..head).collect();
    order.sort_by(|&a, &b| fused[b].0.total_cmp(&fused[a].0).then(a.cmp(&b)));
    let old = list.to_vec();
    for (place, &from) in order.iter().enumerate() {
        list[place] = RankedItem { score: scores[place], ..old[from].clone() };
        if let Some(text) = explain {
            explain_by(&mut list[place].reasons, fused[from].1, text);
        }
    }
}

fn explain_by(reasons: &mut Vec<Reason>, share: f32, text: &str) {
    if share <= 0.0 {
        return;
    }
    reasons.iter_mut().for_each(|reason| reason.weight *= 1.0 - share);
    reasons.push(Reason {
        code: ReasonCode::LargeModel,
        text: text.to_owned(),
        names: Vec::new(),
        evidence: Vec::new(),
        weight: share,
    });
    reasons.sort_by(|a, b| b.weight.total_cmp(&a.weight));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Domain, Item, ItemId};

    fn list() -> Vec<RankedItem> {
        let of = |(number, score): (usize, f32)| RankedItem {
            item: Arc::new(Item {
                id: ItemId::new(format!("i{number}")).unwrap(),
                domain: Domain::new("movie").unwrap(),
                title: String::new(),
                genres: Vec::new(),
                tags: Vec::new(),
                description: None,
                creators: Vec::new(),
                released: None,
                attributes: BTreeMap::new(),
                available: true,
            }),
            score,
            reasons: Vec::new(),
        };
        [0.9, 0.8, 0.4, 0.2].into_iter().enumerate().map(of).collect()
    }

    fn order(opinions: &[Option<f32>], weight: f32) -> Vec<String> {
        let mut list = list();
        fuse(&mut list, opinions, weight, Some("It suits"));
        assert!(list.windows(2).all(|pair| pair[0].score >= pair[1].score));
        let total = |ranked: &RankedItem| ranked.reasons.iter().map(|reason| reason.weight).sum::<f32>();
        assert!(list.iter().all(|ranked| total(ranked) <= 1.0));
        list.iter().map(|ranked| ranked.item.id.to_string()).collect()
    }

    #[test]
    fn an_opinion_counts_by_its_weight_and_moves_the_head_only() {
        let against = [Some(0.0), Some(0.5), Some(1.0)];
        assert_eq!(order(&against, 1.0), ["i2", "i1", "i0", "i3"]);
        assert_eq!(order(&against, 0.0), ["i0", "i1", "i2", "i3"]);
        assert_eq!(order(&[], 1.0), ["i0", "i1", "i2", "i3"]);
        assert_eq!(order(&[Some(0.3); 9], 0.9), ["i0", "i1", "i2", "i3"], "opinions that are alike say nothing");
        assert_eq!(order(&[None; 4], 0.9), ["i0", "i1", "i2", "i3"]);
        assert_eq!(order(&[Some(f32::NAN), None, Some(0.5), None], 1.0), ["i0", "i1", "i2", "i3"]);
    }

    #[test]
    fn one_without_an_opinion_is_taken_for_the_mean() {
        assert_eq!(order(&[Some(0.0), None, Some(1.0), Some(0.2)], 1.0), ["i2", "i1", "i3", "i0"]);
    }
}
