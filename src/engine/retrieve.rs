//! Retrieve: which items an answer may hold. What is left out here cannot come back: filters, exclusions and availability are guarantees.

use crate::domain::{Behaviour, Domain, InteractionKind, Query};

use super::ItemIndex;
use super::catalogue::Catalogue;
use super::tastes::{TasteProfile, Wanted};

/// The items that may not be returned whatever their score.
pub(super) struct Hidden(Vec<bool>);

impl Hidden {
    /// What is excluded, and unless the query wants it, what was consumed or named. To have been shown an item is not to have consumed it; to
    /// dislike or skip it is.
    pub(super) fn new(catalogue: &Catalogue, query: &Query, history: &[Behaviour], tastes: &TasteProfile) -> Self {
        let mut hidden = vec![false; catalogue.places()];
        let mut hide = |index: ItemIndex| hidden[index.0 as usize] = true;
        for id in &query.exclude {
            catalogue.index_of(id).map(&mut hide);
        }
        if !query.include_seen {
            for entry in history.iter().filter(|entry| entry.kind != InteractionKind::Impression) {
                catalogue.index_of(&entry.item_id).map(&mut hide);
            }
            for taste in &tastes.resolved {
                if let Wanted::Titles(titles) = &taste.wanted {
                    titles.iter().copied().for_each(&mut hide);
                }
            }
        }
        Self(hidden)
    }
}

/// All items of a domain that may be returned.
pub(super) fn candidates<'a>(
    catalogue: &'a Catalogue,
    query: &'a Query,
    hidden: &'a Hidden,
    domain: &Domain,
) -> impl Iterator<Item = ItemIndex> + 'a {
    let unfiltered = query.filters.is_empty();
    catalogue.of_domain(domain).iter().copied().filter(move |&index| {
        !hidden.0[index.0 as usize]
            && catalogue.is_available(index)
            && (unfiltered || catalogue.get(index).is_some_and(|item| query.filters.admits(item)))
    })
}
