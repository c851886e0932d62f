//! Retrieve: which items an answer may hold. What is left out here cannot come back: filters, exclusions and availability are guarantees.

use std::sync::Arc;

use crate::domain::{Behaviour, Domain, InteractionKind, Query};

use super::ItemIndex;
use super::catalogue::Catalogue;
use super::known_taste::KnownTaste;
use super::view::{DomainItems, View};
use super::wanted::Wanted;

/// The items that no list may hold, whatever their domain.
pub(super) struct Hidden(Vec<(u16, usize)>);

impl Hidden {
    /// What is excluded, what a taste does not want and, unless the query wants it, what was consumed or named. To have been shown an item is not to have consumed it; to dislike or skip
    /// it is.
    pub(super) fn new(
        catalogue: &Catalogue,
        view: &View,
        query: &Query,
        history: &[Behaviour],
        tastes: &[Arc<KnownTaste>],
    ) -> Self {
        let mut hidden = Vec::new();
        for taste in tastes {
            let Wanted::Without(terms) = &taste.resolved.wanted else { continue };
            let of = taste.resolved.domain.as_ref();
            for &(item, _) in terms.iter().flat_map(|&term| catalogue.content().items_of(term)) {
                if of.is_none_or(|domain| catalogue.get(item).is_some_and(|item| item.domain == *domain)) {
                    hidden.extend(catalogue.domain_number_of(item).zip(view.position(item)));
                }
            }
        }
        let mut hide = |index: ItemIndex| hidden.extend(catalogue.domain_number_of(index).zip(view.position(index)));
        for id in &query.exclude {
            catalogue.index_of(id).map(&mut hide);
        }
        if !query.include_seen {
            for entry in history.iter().filter(|entry| entry.kind != InteractionKind::Impression) {
                catalogue.index_of(&entry.item_id).map(&mut hide);
            }
            for taste in tastes {
                if let Wanted::Titles(titles) = &taste.resolved.wanted {
                    titles.iter().copied().for_each(&mut hide);
                }
            }
        }
        Self(hidden)
    }
}

/// By position of a domain: whether the item is available, not hidden, and passes the filters.
pub(super) fn allowed(
    catalogue: &Catalogue,
    items: &DomainItems,
    query: &Query,
    hidden: &Hidden,
    domain: &Domain,
) -> Vec<bool> {
    let mut allowed = items.available.clone();
    if let Some(number) = catalogue.domain_number(domain) {
        for &(_, position) in hidden.0.iter().filter(|(of, _)| *of == number) {
            allowed[position] = false;
        }
    }
    if !query.filters.is_empty() {
        let mut filter = query.filters.of_domain(domain);
        for (allowed, &item) in allowed.iter_mut().zip(&items.items) {
            *allowed = *allowed && catalogue.get(item).is_some_and(|item| filter.admits(item));
        }
    }
    allowed
}
