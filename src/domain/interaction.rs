//! What people do with items.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventId, ItemId, RecommendationId, UserId};

/// The kind of an interaction. The meaning of its `value` depends on the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InteractionKind {
    /// Looked at the item's page; `value`: how often (default 1).
    View,
    /// Listened or played; `value`: how often (default 1).
    Play,
    /// Watched; `value`: how often, or the share seen (default 1).
    Watch,
    /// Said that they like it; no `value`.
    Like,
    /// Said that they dislike it; no `value`.
    Dislike,
    /// Gave a rating; `value`: required, on the scale of the configuration (0 to 5 by default).
    Rating,
    /// Time spent; `value`: required, in hours.
    Playtime,
    /// Skipped it, which counts against; `value`: how often (default 1).
    Skip,
    /// Bought it; no `value`.
    Purchase,
    /// Was shown it. Not a sign of taste: it neither trains a model nor makes an item seen.
    Impression,
}

impl InteractionKind {
    pub const ALL: [Self; 10] = [
        Self::View,
        Self::Play,
        Self::Watch,
        Self::Like,
        Self::Dislike,
        Self::Rating,
        Self::Playtime,
        Self::Skip,
        Self::Purchase,
        Self::Impression,
    ];

    /// The name used in JSON, in files and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Play => "play",
            Self::Watch => "watch",
            Self::Like => "like",
            Self::Dislike => "dislike",
            Self::Rating => "rating",
            Self::Playtime => "playtime",
            Self::Skip => "skip",
            Self::Purchase => "purchase",
            Self::Impression => "impression",
        }
    }

    /// Whether an interaction of this kind means nothing without its `value`.
    #[must_use]
    pub fn needs_value(self) -> bool {
        matches!(self, Self::Rating | Self::Playtime)
    }
}

impl fmt::Display for InteractionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no kind of interaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a type of interaction; one of view, play, watch, like, dislike, rating, playtime, skip, purchase, impression is"
)]
pub struct UnknownKind(pub String);

impl FromStr for InteractionKind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// One interaction of a session, not tied to a stored person.
#[derive(Debug, Clone, PartialEq)]
pub struct Interaction {
    pub item_id: ItemId,
    pub kind: InteractionKind,
    /// Finite; see [`InteractionKind`] for what it means.
    pub value: Option<f64>,
    pub at: Timestamp,
}

/// One interaction as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Chosen by the caller for safe retries; without one, each sending is a new event.
    pub event_id: Option<EventId>,
    pub user_id: UserId,
    pub item_id: ItemId,
    pub kind: InteractionKind,
    /// Finite; see [`InteractionKind`] for what it means.
    pub value: Option<f64>,
    pub at: Timestamp,
    /// The answer that led to it, and the place in that answer (1 is first).
    pub recommendation_id: Option<RecommendationId>,
    pub position: Option<u32>,
}
