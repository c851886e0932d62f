//! An answer of the engine.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::{Domain, Item, ItemId};

/// Why an item was ranked where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// People who share this person's items also take this one; evidence: those items.
    BecauseYouLiked,
    /// It resembles items of the history in genre, tags, creators or text; evidence: those items.
    SimilarTo,
    /// It meets a taste that was asked for; no items as evidence, the text names the taste.
    MatchesTaste,
    /// It is popular now.
    Popular,
    /// A provider of a second opinion finds that it suits; the text says of which kind.
    LargeModel,
}

/// A true reason: computed from the score that ranked the item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    pub code: ReasonCode,
    pub text: String,
    pub evidence: Vec<ItemId>,
    /// The share of the score that this reason contributed, 0 to 1.
    pub weight: f32,
}

/// One place in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedItem {
    pub item: Arc<Item>,
    /// 0 to 1, falling with rank, comparable across domains.
    pub score: f32,
    /// Filled only when asked for, strongest first.
    pub reasons: Vec<Reason>,
}

/// A taste that matches nothing, and the nearest thing that would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    pub pointer: String,
    pub value: String,
    pub suggestion: Option<String>,
}

/// What an answer had to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Degradation {
    /// Nothing is trained yet: content and popularity answered.
    NoModel,
    /// The store did not hand over the stored behaviour in time.
    HistoryUnavailable,
    /// The store has not reached the wanted watermark in time.
    WatermarkNotReached,
    /// The caller asked for a large model and none is configured.
    LlmNotConfigured,
    /// The large model cannot be reached, fails, or answers what cannot be used.
    LlmUnavailable,
    /// The large model did not answer in the time granted.
    LlmTimedOut,
    /// The large model's budget of the day is spent.
    LlmOverBudget,
    /// The time granted was too short for a step, which was skipped.
    DeadlineExceeded,
}

/// The model that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRef {
    pub name: String,
    pub version: Option<String>,
    pub trained_at: Option<Timestamp>,
}

/// Ranked lists, one per domain asked for, in that order.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommendation {
    pub model: ModelRef,
    pub lists: Vec<(Domain, Vec<RankedItem>)>,
    pub unmatched: Vec<Unmatched>,
    pub degraded: Vec<Degradation>,
}
