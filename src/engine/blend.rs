//! The blend: one score from the scorers' scores, by how much is known of the person in the domain.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Domain;

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

/// The numbers of one domain and slice. Each scorer's raw score is first brought to 0..=1 with `scale` (see
/// [`SliceBlend::normalised`]), which means the same in each domain; the blend is then the weighted sum, so it also lies in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SliceBlend {
    /// Popularity, content, EASE: not negative, summing to 1.
    pub weights: [f32; 3],
    /// The raw score that counts as strong (a high quantile of top scores on held-out people), by scorer.
    pub scales: [f32; 3],
}

impl SliceBlend {
    /// `raw` brought to 0..=1, rising with `raw`, without ever reaching a flat ceiling (no ties at the top).
    #[must_use]
    pub fn normalised(&self, scorer: usize, raw: f32) -> f32 {
        let strength = raw / self.scales[scorer].max(f32::MIN_POSITIVE);
        // x / (1 + |x|) rises everywhere; moved so that no opinion (0) is 0 and what is against goes below.
        if strength >= 0.0 { strength / (1.0 + strength) } else { 0.0 }
    }
}

/// The blend of a model: fitted on people held out in training; a slice that had too few of them has the pooled weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    pub slices: BTreeMap<Domain, BTreeMap<HistorySlice, SliceBlend>>,
}
