//! The blend: one score from the scorers' scores, by how much is known of the person in the domain.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Domain;

/// The scorers that are blended, in the order of all arrays here.
pub const SCORERS: [&str; 3] = ["popularity", "content", "ease"];

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
}

/// The numbers of one domain and slice. Each scorer's raw score is first brought to 0..1 with its scale (see
/// [`SliceBlend::normalised`]), which means the same in each domain; the blend is then the weighted sum, so it also lies in 0..1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SliceBlend {
    /// One by scorer: not negative, summing to 1.
    pub weights: [f32; 3],
    /// The raw score that counts as strong, by scorer: what the tenth best item of somebody held out had, at the median.
    pub scales: [f32; 3],
}

impl SliceBlend {
    /// `raw` brought to 0..1: 0 for no opinion or one against, 1/2 for a score as strong as the scale. It rises everywhere, so that it makes
    /// no ties at the top.
    #[must_use]
    pub fn normalised(&self, scorer: usize, raw: f32) -> f32 {
        let strength = raw.max(0.0) / self.scales[scorer].max(1e-9);
        strength / (1.0 + strength)
    }
}

/// The blend of a model: fitted on people held out in training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    pub slices: BTreeMap<Domain, BTreeMap<HistorySlice, SliceBlend>>,
}

impl Blend {
    /// The numbers of a domain and slice; what was never fitted has careful defaults.
    #[must_use]
    pub fn of(&self, domain: &Domain, slice: HistorySlice) -> SliceBlend {
        let fitted = self.slices.get(domain).and_then(|slices| slices.get(&slice));
        fitted.copied().unwrap_or_else(|| SliceBlend::unfitted(slice))
    }
}

impl SliceBlend {
    /// The numbers of a slice on which nobody was held out: the less is known, the more popularity counts.
    #[must_use]
    pub fn unfitted(slice: HistorySlice) -> Self {
        let weights = match slice {
            HistorySlice::Stranger => [1.0, 0.0, 0.0],
            HistorySlice::Elsewhere => [0.3, 0.3, 0.4],
            HistorySlice::Few => [0.2, 0.3, 0.5],
            HistorySlice::Some => [0.1, 0.2, 0.7],
            HistorySlice::Many => [0.05, 0.1, 0.85],
        };
        Self { weights, scales: [0.5, 0.3, 0.1] }
    }
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
    fn normalising_keeps_the_order_and_the_range() {
        let blend = SliceBlend::unfitted(HistorySlice::Few);
        let scores = [-1.0, 0.0, 0.05, 0.1, 10.0, 11.0].map(|raw| blend.normalised(2, raw));
        assert!(scores.windows(2).all(|pair| pair[0] <= pair[1]) && scores[5] < 1.0 && scores[4] < scores[5]);
        assert!((scores[3] - 0.5).abs() < 1e-6);
        for slice in HistorySlice::ALL {
            assert!((SliceBlend::unfitted(slice).weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }
}
