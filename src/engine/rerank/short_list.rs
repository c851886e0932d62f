//! What a second opinion is told of a person, and which weights hold for them.

use std::collections::BTreeSet;

use crate::domain::{Behaviour, Domain, Item, ItemId, Query, Taste};
use crate::engine::blend::HistorySlice;
use crate::engine::catalogue::Catalogue;
use crate::engine::preference::{newest, preferences};
use crate::engine::settings::InteractionSettings;

/// So many items that are liked most, and so many disliked.
const LIKED: usize = 12;
const DISLIKED: usize = 4;

/// What is known of a person, strongest first.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// As the caller wrote them, after the name of their domain.
    pub tastes: Vec<String>,
    pub liked: Vec<Item>,
    pub disliked: Vec<Item>,
}

impl Known {
    /// Tastes as they were written, and the items that the history speaks most for and against.
    #[must_use]
    pub fn of(catalogue: &Catalogue, query: &Query, history: &[Behaviour], interactions: &InteractionSettings) -> Self {
        let mut strengths = preferences(history, interactions, newest(history));
        strengths.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let item = |id: &ItemId| catalogue.get(catalogue.index_of(id)?).cloned();
        let taste = |taste: &Taste| match &taste.domain {
            Some(domain) => format!("{domain}: {}", taste.text),
            None => taste.text.clone(),
        };
        let liked = strengths.iter().filter(|(_, strength)| *strength > 0.0);
        let disliked = strengths.iter().rev().filter(|(_, strength)| *strength < 0.0);
        Self {
            tastes: query.tastes.iter().map(taste).collect(),
            liked: liked.filter_map(|(id, _)| item(id)).take(LIKED).collect(),
            disliked: disliked.filter_map(|(id, _)| item(id)).take(DISLIKED).collect(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tastes.is_empty() && self.liked.is_empty() && self.disliked.is_empty()
    }
}

/// How much is known of a person where a domain is ranked.
#[must_use]
pub fn slice(catalogue: &Catalogue, query: &Query, history: &[Behaviour], domain: &Domain) -> HistorySlice {
    let known: BTreeSet<&ItemId> = history.iter().map(|entry| &entry.item_id).collect();
    let is_own = |id: &&&ItemId| {
        let item = catalogue.index_of(id).and_then(|index| catalogue.get(index));
        item.is_some_and(|item| item.domain == *domain)
    };
    let own = known.iter().filter(is_own).count();
    HistorySlice::of(own, known.len() > own || !query.tastes.is_empty())
}
