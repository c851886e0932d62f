//! What one person did with one item, summed up by kind.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Interaction, InteractionKind, ItemId};

/// All interactions of one kind between one person and one item, summed up. This is what the
/// store hands to the engine: a person's history is one `Behaviour` per item and kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    pub item_id: ItemId,
    pub kind: InteractionKind,
    /// How many interactions there were.
    pub count: u32,
    /// The sum of their values, an absent value counting as 1.
    pub total: f64,
    /// The value of the newest one: a rating is what was said last.
    pub last_value: Option<f64>,
    pub last_at: Timestamp,
}

impl Behaviour {
    /// Adds the interactions of a session, which are not stored, to a stored history. The result
    /// is ordered by item and kind, as `stored` is.
    #[must_use]
    pub fn merged(stored: Vec<Self>, session: &[Interaction]) -> Vec<Self> {
        if session.is_empty() && stored.is_sorted_by(|a, b| (&a.item_id, a.kind) < (&b.item_id, b.kind)) {
            return stored;
        }
        let mut by_key: BTreeMap<(ItemId, InteractionKind), Self> =
            stored.into_iter().map(|entry| ((entry.item_id.clone(), entry.kind), entry)).collect();
        for interaction in session {
            let amount = interaction.value.unwrap_or(1.0);
            by_key
                .entry((interaction.item_id.clone(), interaction.kind))
                .and_modify(|entry| {
                    entry.count += 1;
                    entry.total += amount;
                    if interaction.at >= entry.last_at {
                        entry.last_at = interaction.at;
                        entry.last_value = interaction.value;
                    }
                })
                .or_insert_with(|| Self {
                    item_id: interaction.item_id.clone(),
                    kind: interaction.kind,
                    count: 1,
                    total: amount,
                    last_value: interaction.value,
                    last_at: interaction.at,
                });
        }
        by_key.into_values().collect()
    }
}
