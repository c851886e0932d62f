//! What an answer must hold to: a filter is a guarantee, not a preference.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use foldhash::fast::RandomState;
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
    /// Whether `item` may be in the answer. Who asks of many items asks [`Self::of_domain`].
    #[must_use]
    pub fn admits(&self, item: &Item) -> bool {
        self.of_domain(&item.domain).admits(item)
    }

    /// What the items of a domain must pass.
    #[must_use]
    pub fn of_domain(&self, domain: &Domain) -> DomainFilter<'_> {
        let filters = std::iter::once(&self.common).chain(self.by_domain.get(domain));
        DomainFilter { filters: filters.map(FoldedFilter::new).collect(), reading: Reading::default() }
    }

    /// Whether it admits everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.common.is_empty() && self.by_domain.values().all(Filter::is_empty)
    }
}

/// The filters of one domain, their labels folded once for all the items that they are asked of.
#[derive(Debug)]
pub struct DomainFilter<'a> {
    filters: Vec<FoldedFilter<'a>>,
    reading: Reading,
}

impl DomainFilter<'_> {
    /// Whether an item of the domain may be in the answer.
    #[must_use]
    pub fn admits(&mut self, item: &Item) -> bool {
        let Self { filters, reading } = self;
        filters.iter().all(|filter| filter.admits(item, reading))
    }
}

/// Memory for the labels of an item, the same for all items.
#[derive(Debug, Default)]
struct Reading {
    folded: String,
    /// Which labels of [`FoldedSet::all`] it has.
    met: Vec<usize>,
}

#[derive(Debug)]
struct FoldedFilter<'a> {
    filter: &'a Filter,
    genres: FoldedSet,
    attributes: Vec<(&'a str, FoldedSet)>,
}

impl<'a> FoldedFilter<'a> {
    fn new(filter: &'a Filter) -> Self {
        let attributes = filter.attributes.iter().map(|(name, set)| (name.as_str(), FoldedSet::new(set)));
        Self { filter, genres: FoldedSet::new(&filter.genres), attributes: attributes.collect() }
    }

    fn admits(&self, item: &Item, reading: &mut Reading) -> bool {
        let Filter { genres: _, released_from, released_to, attributes: _, items } = self.filter;
        let none: &[String] = &[];
        items.as_ref().is_none_or(|items| items.contains(&item.id))
            && released_from.is_none_or(|from| item.released.is_some_and(|day| day >= from))
            && released_to.is_none_or(|to| item.released.is_some_and(|day| day <= to))
            && self.genres.admits(&item.genres, reading)
            && self
                .attributes
                .iter()
                .all(|(name, wanted)| wanted.admits(item.attributes.get(*name).map_or(none, Vec::as_slice), reading))
    }
}

/// A [`SetFilter`] whose labels are folded, each there once.
#[derive(Debug)]
struct FoldedSet {
    any: HashSet<String, RandomState>,
    /// Each with a number of its own.
    all: HashMap<String, usize, RandomState>,
    none: HashSet<String, RandomState>,
}

impl FoldedSet {
    fn new(set: &SetFilter) -> Self {
        let folded = |labels: &[String]| labels.iter().map(|label| label.to_lowercase()).collect();
        let all = set.all.iter().enumerate().map(|(number, label)| (label.to_lowercase(), number));
        Self { any: folded(&set.any), all: all.collect(), none: folded(&set.none) }
    }

    /// Whether `labels` meet the conditions.
    fn admits(&self, labels: &[String], reading: &mut Reading) -> bool {
        let Self { any, all, none } = self;
        if any.is_empty() && all.is_empty() && none.is_empty() {
            return true;
        }
        let mut has_any = any.is_empty();
        let Reading { folded, met } = reading;
        met.clear();
        for label in labels {
            fold_into(folded, label);
            if none.contains(folded) {
                return false;
            }
            has_any = has_any || any.contains(folded);
            met.extend(all.get(folded));
        }
        met.sort_unstable();
        met.dedup();
        has_any && met.len() == all.len()
    }
}

/// Puts what `str::to_lowercase` makes of a label into `folded`. Of all letters only Σ becomes what its neighbours make of it; the others need no memory of their
/// own.
fn fold_into(folded: &mut String, label: &str) {
    folded.clear();
    if label.is_ascii() {
        folded.push_str(label);
        folded.make_ascii_lowercase();
    } else if label.contains('Σ') {
        folded.push_str(&label.to_lowercase());
    } else {
        folded.extend(label.chars().flat_map(char::to_lowercase));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &str = "|rock|ROCK|RoCk|roc|Hip-Hop|HIP-hop|ß|ẞ|ss|SS|İ|i\u{307}|i|I|ı|Σ|σ|ς|ΟΔΟΣ|οδος|οδοσ|ΟΔΟΣ Α|aΣ|AΣ|aς|\
        動作|动作|アニメ|Ａ|ａ|ǅ|Ǆ|\u{212a}|k";

    /// The conditions as they are written down, label by label.
    fn plainly(set: &SetFilter, labels: &[String]) -> bool {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase();
        let has = |wanted: &String| labels.iter().any(|label| same(label, wanted));
        (set.any.is_empty() || set.any.iter().any(has)) && set.all.iter().all(has) && !set.none.iter().any(has)
    }

    #[test]
    fn labels_are_compared_without_case_in_every_script() {
        let labels: Vec<String> = LABELS.split('|').map(str::to_owned).collect();
        let mut reading = Reading::default();
        let mut alike = 0;
        for (at, a) in labels.iter().enumerate() {
            for (other, b) in labels.iter().enumerate() {
                let third = labels[(at * 7 + other * 3) % labels.len()].clone();
                for wanted in [vec![b.clone()], vec![b.clone(), third.clone()], vec![b.to_uppercase(), b.clone()]] {
                    let sets = [
                        SetFilter { any: wanted.clone(), ..SetFilter::default() },
                        SetFilter { all: wanted.clone(), ..SetFilter::default() },
                        SetFilter { none: wanted.clone(), ..SetFilter::default() },
                        SetFilter { any: wanted.clone(), all: vec![a.to_lowercase()], none: vec![third.clone()] },
                    ];
                    for set in sets {
                        for own in [&[][..], std::slice::from_ref(a), &[third.clone(), a.clone(), a.to_uppercase()]] {
                            let admits = FoldedSet::new(&set).admits(own, &mut reading);
                            assert_eq!(admits, plainly(&set, own), "{set:?} of {own:?}");
                            alike += usize::from(admits);
                        }
                    }
                }
            }
        }
        assert!(alike > 1_000, "{alike}");
    }

    #[test]
    fn a_label_is_folded_as_the_standard_library_folds_it() {
        let mut folded = String::new();
        for letter in char::MIN..=char::MAX {
            let label = format!("A{letter}");
            fold_into(&mut folded, &label);
            assert_eq!(folded, label.to_lowercase(), "{letter:?}");
        }
        for label in LABELS.split('|') {
            fold_into(&mut folded, label);
            assert_eq!(folded, label.to_lowercase(), "{label:?}");
        }
    }

    #[test]
    fn every_wanted_label_must_be_there_and_having_one_twice_is_not_having_two() {
        let admits = |all: &[&str], own: &[&str]| {
            let owned = |labels: &[&str]| labels.iter().map(|&label| label.to_owned()).collect::<Vec<_>>();
            let set = FoldedSet::new(&SetFilter { all: owned(all), ..SetFilter::default() });
            set.admits(&owned(own), &mut Reading::default())
        };
        assert!(admits(&["Rock", "rock"], &["ROCK"]));
        assert!(admits(&["Rock", "Pop"], &["pop", "jazz", "rock"]));
        assert!(!admits(&["Rock", "Pop"], &["rock", "Rock"]));
    }
}
