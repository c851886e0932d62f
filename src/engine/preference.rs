//! Preference: what a person did with an item, as one signed number.

use jiff::Timestamp;

use crate::domain::{Behaviour, ItemId};

use super::settings::InteractionSettings;

/// One signed strength for each item of a history, ordered by item id. Positive: for the item; negative: against it.
/// Decay is reckoned back from `reference`.
#[must_use]
pub fn preferences(
    _history: &[Behaviour],
    _settings: &InteractionSettings,
    _reference: Timestamp,
) -> Vec<(ItemId, f32)> {
    todo!()
}
