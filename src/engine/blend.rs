//! The blend: one score from the scorers' scores, by how much is known of the person in the domain.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Domain;

use super::scorers::{ByScorer, CONTENT, EASE, POPULARITY, SCORERS};

/// Raw scores by scorer and candidate; `None` where a scorer abstains.
pub type Features = ByScorer<Option<Vec<f32>>>;

/// How much is known of a person in the domain that is being ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistorySlice {
    /// Nothing anywhere.
    Stranger,
    /// Nothing in this domain, something in others (behaviour or tastes).
    Elsewhere,
    /// 1 to 5 items of this domain.
    Few,
    /// 6 to 20.
    Some,
    /// More than 20.
    Many,
}

/// The length of history that the weights of a slice are made for. Between two of them, weights are interpolated, so that one more item never turns
/// a list over.
const CENTRES: [(HistorySlice, f32); 3] =
    [(HistorySlice::Few, 3.0), (HistorySlice::Some, 12.0), (HistorySlice::Many, 40.0)];

impl HistorySlice {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Stranger, Self::Elsewhere, Self::Few, Self::Some, Self::Many];

    /// The slice of somebody with so many items of this domain in their history.
    #[must_use]
    pub fn of(items_in_domain: usize, known_elsewhere: bool) -> Self {
        match items_in_domain {
            0 if known_elsewhere => Self::Elsewhere,
            0 => Self::Stranger,
            1..=5 => Self::Few,
            6..=20 => Self::Some,
            _ => Self::Many,
        }
    }

    /// The two slices that a history of this length lies between, and the share of the second, 0 to 1 (linear in the logarithm of the length).
    #[must_use]
    pub fn between(items_in_domain: usize, known_elsewhere: bool) -> (Self, Self, f32) {
        let mut below = (Self::of(0, known_elsewhere), 0.0f32);
        for above in CENTRES {
            if (items_in_domain as f32) < above.1 {
                let place = |items: f32| items.ln_1p();
                let share = (place(items_in_domain as f32) - place(below.1)) / (place(above.1) - place(below.1));
                return (below.0, above.0, share);
            }
            below = above;
        }
        (below.0, below.0, 0.0)
    }
}

/// The weights of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SliceWeights {
    /// One by scorer: not negative, summing to 1.
    pub weights: ByScorer<f32>,
    /// The weighted sum that counts as strong: what the tenth best item of somebody held out had, at the median.
    pub level: f32,
}

/// How items that nobody has touched are scored in the hybrid: by the factors of iALS that their terms foretell, and by likeness of content. Both raw scores are multiplied with
/// the coefficient of iALS and these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NewItems {
    pub ials: f32,
    pub content: f32,
}

impl Default for NewItems {
    fn default() -> Self {
        Self { ials: 1.0, content: 0.0 }
    }
}

/// The blend of one domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainBlend {
    /// The raw score that counts as strong, by scorer, with the same meaning as [`SliceWeights::level`].
    pub scales: ByScorer<f32>,
    pub slices: BTreeMap<HistorySlice, SliceWeights>,
    #[serde(default)]
    pub new_items: NewItems,
}

/// The blend of a model: fitted on people held out in training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    pub domains: BTreeMap<Domain, DomainBlend>,
}

/// The numbers for one person and domain. Each scorer's raw score is divided by its scale, the blend is their weighted sum divided by its
/// level, and [`squash`] brings it to 0..1, which so means the same in each domain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PersonBlend {
    pub weights: ByScorer<f32>,
    pub scales: ByScorer<f32>,
    pub level: f32,
    pub new_items: NewItems,
}

impl Blend {
    /// The numbers for somebody with so many items of this domain in their history; what was never fitted has careful defaults.
    #[must_use]
    pub fn of(&self, domain: &Domain, items_in_domain: usize, known_elsewhere: bool) -> PersonBlend {
        let fitted = self.domains.get(domain);
        let (below, above, share) = HistorySlice::between(items_in_domain, known_elsewhere);
        let slice = |slice| {
            let fitted = fitted.and_then(|fitted| fitted.slices.get(&slice));
            fitted.copied().unwrap_or_else(|| SliceWeights::unfitted(slice))
        };
        let (below, above) = (slice(below), slice(above));
        PersonBlend {
            weights: std::array::from_fn(|n| below.weights[n] * (1.0 - share) + above.weights[n] * share),
            scales: fitted.map_or(DomainBlend::UNFITTED_SCALES, |fitted| fitted.scales),
            level: below.level.powf(1.0 - share) * above.level.powf(share),
            new_items: fitted.map_or_else(NewItems::default, |fitted| fitted.new_items),
        }
    }
}

impl DomainBlend {
    /// Scales of the usual size, for a domain in which nobody was held out.
    pub const UNFITTED_SCALES: ByScorer<f32> = [0.5, 0.3, 0.1, 0.2, 0.1, 0.3, 0.3, 30.0];
}

impl SliceWeights {
    /// The weights of a slice on which nobody was held out: the less is known, the more popularity counts.
    #[must_use]
    pub fn unfitted(slice: HistorySlice) -> Self {
        let [popularity, content, ease] = match slice {
            HistorySlice::Stranger => [1.0, 0.0, 0.0],
            HistorySlice::Elsewhere => [0.3, 0.3, 0.4],
            HistorySlice::Few => [0.2, 0.3, 0.5],
            HistorySlice::Some => [0.1, 0.2, 0.7],
            HistorySlice::Many => [0.05, 0.1, 0.85],
        };
        let mut weights = [0.0; SCORERS.len()];
        (weights[POPULARITY], weights[CONTENT], weights[EASE]) = (popularity, content, ease);
        Self { weights, level: 1.0 }
    }
}

impl PersonBlend {
    /// What each scorer's raw score is multiplied with when all of them speak.
    #[must_use]
    pub fn factors(&self) -> ByScorer<f32> {
        std::array::from_fn(|n| self.weights[n] / (self.scales[n] * self.level).max(1e-9))
    }

    /// The weights of those that have spoken, all together.
    #[must_use]
    pub fn heard<T>(&self, spoken: &ByScorer<Option<T>>) -> f32 {
        (0..SCORERS.len()).filter(|&n| spoken[n].is_some()).map(|n| self.weights[n]).sum()
    }

    /// One scorer alone.
    #[must_use]
    pub fn alone(self, scorer: usize) -> Self {
        let weights = std::array::from_fn(|other| f32::from(u8::from(other == scorer)));
        Self { weights, level: 1.0, ..self }
    }

    /// What each scorer's raw score is multiplied with; the weights of scorers that abstain (those that have not `spoken`) go to the others.
    #[must_use]
    pub fn coefficients<T>(&self, spoken: &ByScorer<Option<T>>) -> ByScorer<f32> {
        let (heard, factors) = (self.heard(spoken), self.factors());
        std::array::from_fn(|n| match &spoken[n] {
            None => 0.0,
            Some(_) if heard > 0.0 => factors[n] / heard,
            // Only scorers without weight have something to say: better that than nothing.
            Some(_) => 1.0 / self.scales[n].max(1e-9),
        })
    }
}

/// The sums of the scorers' raw scores times their coefficients, by candidate.
#[must_use]
pub fn weighted(features: &Features, coefficients: &ByScorer<f32>, candidates: std::ops::Range<usize>) -> Vec<f32> {
    let mut sums = vec![0.0f32; candidates.len()];
    for (scores, &coefficient) in features.iter().zip(coefficients) {
        if let Some(scores) = scores.as_ref().filter(|_| coefficient != 0.0) {
            for (sum, score) in sums.iter_mut().zip(&scores[candidates.clone()]) {
                *sum += coefficient * score;
            }
        }
    }
    sums
}

/// What a sum of 0 is brought to by [`squash`].
pub(super) const NOTHING: f32 = 0.02;

/// Brings a sum to 0..1: 1/2 for one as strong as its level, little for no opinion, less for one against. It rises everywhere, so that it makes no ties.
#[must_use]
pub fn squash(sum: f32) -> f32 {
    if sum >= 0.0 { NOTHING + (1.0 - 2.0 * NOTHING) * sum / (1.0 + sum) } else { NOTHING / (1.0 - sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_cut_where_they_say() {
        let cut = [(0, false), (0, true), (1, false), (5, true), (6, false), (20, false), (21, false)];
        let slices = cut.map(|(items, elsewhere)| HistorySlice::of(items, elsewhere));
        use HistorySlice::{Elsewhere, Few, Many, Some, Stranger};
        assert_eq!(slices, [Stranger, Elsewhere, Few, Few, Some, Some, Many]);
    }

    #[test]
    fn weights_move_from_slice_to_slice() {
        use HistorySlice::{Elsewhere, Few, Many, Some, Stranger};
        assert_eq!(HistorySlice::between(0, true), (Elsewhere, Few, 0.0));
        assert_eq!(HistorySlice::between(1, false), (Stranger, Few, 0.5));
        assert_eq!(HistorySlice::between(3, false), (Few, Some, 0.0));
        assert_eq!(HistorySlice::between(900, false), (Many, Many, 0.0));
        let blend = Blend::default();
        let domain = Domain::new("movie").unwrap();
        let mut before = blend.of(&domain, 0, true);
        for items in 1..100 {
            let now = blend.of(&domain, items, true);
            assert!((now.weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            assert!(now.weights[EASE] >= before.weights[EASE] && now.weights[EASE] - before.weights[EASE] < 0.1);
            before = now;
        }
    }

    #[test]
    fn squashing_keeps_the_order_and_the_range() {
        let sums = [-1e9, -1.0, -0.1, 0.0, 0.05, 1.0, 10.0, 11.0];
        let scores = sums.map(squash);
        assert!(scores.windows(2).all(|pair| pair[0] < pair[1]), "{scores:?}");
        assert!(scores[0] >= 0.0 && scores[7] < 1.0 && (scores[5] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn who_abstains_leaves_the_word_to_others() {
        let mut features: Features = Default::default();
        features[POPULARITY] = Some(vec![0.5, 1.0]);
        let blend = Blend::default().of(&Domain::new("movie").unwrap(), 12, false);
        let coefficients = blend.coefficients(&features);
        assert_eq!(weighted(&features, &coefficients, 0..2), [1.0, 2.0]);
        let ease = blend.alone(EASE).coefficients(&features);
        assert_eq!(weighted(&features, &ease, 1..2), [2.0]);
    }
}
