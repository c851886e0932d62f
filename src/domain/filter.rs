//! What an answer must hold to: a filter is a guarantee, not a preference.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::{Domain, Item, ItemId};

/// Conditions on a list of labels, compared without case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SetFilter {
    /// At least one of these, when not empty.
    pub any: Vec<String>,
    /// Each of these.
    pub all: Vec<String>,
    /// None of these.
    pub none: Vec<String>,
}

impl SetFilter {
    /// Whether `labels` meet the conditions.
    #[must_use]
    pub fn admits(&self, labels: &[String]) -> bool {
        let has = |wanted: &String| labels.iter().any(|label| same_label(label, wanted));
        (self.any.is_empty() || self.any.iter().any(has)) && self.all.iter().all(has) && !self.none.iter().any(has)
    }
}

fn same_label(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

/// Conditions on the items of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    pub genres: SetFilter,
    /// First day of release that is admitted; an item without a date is not.
    pub released_from: Option<Date>,
    /// Last day of release that is admitted; an item without a date is not.
    pub released_to: Option<Date>,
    pub attributes: BTreeMap<String, SetFilter>,
    /// Only these items, when given.
    pub items: Option<BTreeSet<ItemId>>,
}

impl Filter {
    /// Whether `item` may be in the answer.
    #[must_use]
    pub fn admits(&self, item: &Item) -> bool {
        let none: &[String] = &[];
        self.items.as_ref().is_none_or(|items| items.contains(&item.id))
            && self.genres.admits(&item.genres)
            && self.released_from.is_none_or(|from| item.released.is_some_and(|day| day >= from))
            && self.released_to.is_none_or(|to| item.released.is_some_and(|day| day <= to))
            && self
                .attributes
                .iter()
                .all(|(name, wanted)| wanted.admits(item.attributes.get(name).map_or(none, Vec::as_slice)))
    }

    /// Whether it admits everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One filter for all domains, and further ones by domain; an item must pass both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filters {
    pub common: Filter,
    pub by_domain: BTreeMap<Domain, Filter>,
}

impl Filters {
    /// Whether `item` may be in the answer.
    #[must_use]
    pub fn admits(&self, item: &Item) -> bool {
        self.common.admits(item) && self.by_domain.get(&item.domain).is_none_or(|filter| filter.admits(item))
    }

    /// Whether it admits everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.common.is_empty() && self.by_domain.values().all(Filter::is_empty)
    }
}
