//! The engine's settings, as they stand in the configuration.

use serde::Deserialize;

use crate::domain::InteractionKind;

use super::scorers::implicit_als::AlsSettings;

/// What one kind of interaction says.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct KindWeight {
    /// Positive: for the item; negative: against it.
    pub weight: f32,
    /// After this many days it says half as much.
    pub half_life_days: f32,
}

/// What each kind of interaction says.
#[derive(Debug, Clone, PartialEq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct InteractionSettings {
    pub view: KindWeight,
    pub play: KindWeight,
    pub watch: KindWeight,
    pub like: KindWeight,
    pub dislike: KindWeight,
    pub rating: KindWeight,
    pub playtime: KindWeight,
    pub skip: KindWeight,
    pub purchase: KindWeight,
    /// Lowest and highest rating.
    pub rating_scale: [f64; 2],
}

impl InteractionSettings {
    /// The weight of a kind; `None` for impressions, which say nothing.
    #[must_use]
    pub fn of(&self, kind: InteractionKind) -> Option<KindWeight> {
        match kind {
            InteractionKind::View => Some(self.view),
            InteractionKind::Play => Some(self.play),
            InteractionKind::Watch => Some(self.watch),
            InteractionKind::Like => Some(self.like),
            InteractionKind::Dislike => Some(self.dislike),
            InteractionKind::Rating => Some(self.rating),
            InteractionKind::Playtime => Some(self.playtime),
            InteractionKind::Skip => Some(self.skip),
            InteractionKind::Purchase => Some(self.purchase),
            InteractionKind::Impression => None,
        }
    }
}

/// Hyper-parameters of the scorers; see `config/default.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSettings {
    pub popularity_half_life_days: f32,
    pub ease_lambda: f32,
    pub ease_dropout: f32,
    pub ease_max_items: usize,
    pub ease_min_users: usize,
    pub ease_keep_per_item: usize,
    pub ease_side_weight: f32,
    pub ease_strength_exponent: f32,
    pub graph_rank: usize,
    pub graph_alpha: f32,
    pub item_knn_neighbours: usize,
    pub ials: AlsSettings,
}
