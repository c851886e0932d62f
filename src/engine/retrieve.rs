//! Retrieve: which items an answer may hold. What is left out here cannot come back: filters, exclusions and availability are guarantees.

use crate::domain::{Behaviour, Domain, InteractionKind, Query};

use super::ItemIndex;
use super::catalogue::Catalogue;
use super::tastes::{TasteProfile, Wanted};

/// By place: whether an item may be returned as far as its id says.
pub(super) struct Allowed(Vec<bool>);

impl Allowed {
    /// What is available, not excluded, and unless the query wants it, neither consumed nor named. To have been shown an item is not to have consumed
    /// it; to dislike or skip it is.
    pub(super) fn new(catalogue: &Catalogue, query: &Query, history: &[Behaviour], tastes: &TasteProfile) -> Self {
        let mut allowed = catalogue.available().to_vec();
        let mut hide = |index: ItemIndex| allowed[index.0 as usize] = false;
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
        Self(allowed)
    }
}

/// All items of a domain that may be returned, by index.
pub(super) fn candidates(catalogue: &Catalogue, query: &Query, allowed: &Allowed, domain: &Domain) -> Vec<ItemIndex> {
    let unfiltered = query.filters.is_empty();
    let admits = |index| unfiltered || catalogue.get(index).is_some_and(|item| query.filters.admits(item));
    let all = catalogue.of_domain(domain).iter().copied();
    all.filter(|&index| allowed.0[index.0 as usize] && admits(index)).collect()
}
