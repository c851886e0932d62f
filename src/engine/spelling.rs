//! Spelling: the label, title or creator that a likely misspelling means.

use std::collections::BTreeMap;

use strsim::osa_distance;

use crate::domain::{Domain, Item};

use super::ItemIndex;
use super::catalogue::Catalogue;
use super::scorers::content::Term;
use super::scorers::item_terms::label_term;
use super::{text, vocabulary};

/// What a misspelling most likely means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// As the catalogue writes it.
    pub name: String,
    /// Nothing else is as near: it can be used, not only suggested.
    pub certain: bool,
}

/// The names of a catalogue, ready to be compared; made once for a request that needs it.
pub struct Names<'a> {
    catalogue: &'a Catalogue,
    /// A name of a label, and its term.
    labels: Vec<(&'a str, Term)>,
    titles: Vec<&'a str>,
    creators: Vec<(&'a str, Term)>,
}

impl<'a> Names<'a> {
    #[must_use]
    pub fn new(catalogue: &'a Catalogue) -> Self {
        let content = catalogue.content();
        let known =
            vocabulary::known_names().filter_map(|(name, concept)| Some((name, content.term(&label_term(concept))?)));
        let named =
            |kind: &'static str| content.terms().filter_map(move |(name, term)| Some((name.strip_prefix(kind)?, term)));
        let labels = known.chain(named("label ")).collect();
        Self { catalogue, labels, titles: catalogue.title_keys().collect(), creators: named("creator ").collect() }
    }

    /// The label nearest to a squeezed text; of several as near, one that the domain has, and the most frequent one.
    #[must_use]
    pub fn label(&self, domain: Option<&Domain>, key: &str) -> Option<Correction> {
        let slips = Slips::of(key)?;
        // By term: the smallest distance of its names.
        let mut near: BTreeMap<Term, usize> = BTreeMap::new();
        for &(name, term) in &self.labels {
            if let Some(distance) = slips.between(key, name) {
                near.entry(term).and_modify(|known| *known = distance.min(*known)).or_insert(distance);
            }
        }
        let content = self.catalogue.content();
        let rank = |term: Term, distance: usize| {
            let here = domain.is_none_or(|domain| {
                content
                    .items_of(term)
                    .iter()
                    .any(|&(item, _)| self.catalogue.get(item).is_some_and(|i| i.domain == *domain))
            });
            (distance, !here)
        };
        let mut ranked: Vec<_> = near.into_iter().map(|(term, distance)| (rank(term, distance), term)).collect();
        ranked.sort_by_cached_key(|&(rank, term)| {
            (rank, std::cmp::Reverse(content.items_of(term).len()), content.name(term).to_owned())
        });
        let &(best, term) = ranked.first()?;
        let certain = ranked.get(1).is_none_or(|&(second, _)| second > best);
        Some(Correction { name: self.spelled(term)?, certain })
    }

    /// The title nearest to a title key.
    #[must_use]
    pub fn title(&self, key: &str) -> Option<Correction> {
        let slips = Slips::of(key)?;
        let near = self.titles.iter().filter_map(|title| Some((slips.between(key, title)?, *title)));
        let (title, certain) = nearest(near.filter(|(_, title)| self.shown(self.catalogue.titled(title)).is_some()))?;
        Some(Correction { name: self.shown(self.catalogue.titled(title))?.title.clone(), certain })
    }

    /// The creator nearest to a squeezed text.
    #[must_use]
    pub fn creator(&self, key: &str) -> Option<Correction> {
        let slips = Slips::of(key)?;
        let near = self.creators.iter().filter_map(|&(name, term)| Some((slips.between(key, name)?, (name, term))));
        let ((name, term), certain) = nearest(near)?;
        let items: Vec<ItemIndex> = self.catalogue.content().items_of(term).iter().map(|&(item, _)| item).collect();
        let mut creators = self.shown(&items)?.creators.iter();
        Some(Correction { name: creators.find(|creator| text::squeeze(creator) == name)?.clone(), certain })
    }

    /// The first by id of those items that may be shown: nothing of what is hidden is told.
    fn shown(&self, items: &[ItemIndex]) -> Option<&'a Item> {
        let available = items.iter().filter(|&&item| self.catalogue.is_available(item));
        available.min_by_key(|&&item| self.catalogue.id(item)).and_then(|&item| self.catalogue.get(item))
    }

    /// A label as an item has it.
    fn spelled(&self, term: Term) -> Option<String> {
        let content = self.catalogue.content();
        let concept = content.name(term).strip_prefix("label ")?;
        let items: Vec<ItemIndex> = content.items_of(term).iter().map(|&(item, _)| item).collect();
        let item = self.shown(&items)?;
        item.genres.iter().chain(&item.tags).find(|label| vocabulary::concept(label) == concept).cloned()
    }
}

/// The one of the smallest distance, and whether no other has the same.
fn nearest<T: Ord>(near: impl Iterator<Item = (usize, T)>) -> Option<(T, bool)> {
    let mut near: Vec<(usize, T)> = near.collect();
    near.sort_unstable();
    let mut near = near.into_iter();
    let (distance, nearest) = near.next()?;
    Some((nearest, near.next().is_none_or(|(second, _)| second > distance)))
}

/// How many slips a text of some length may have: one in 4 to 6 letters, two in more. A transposition is one slip.
struct Slips {
    letters: usize,
    allowed: usize,
}

impl Slips {
    const LONGEST: usize = 64;

    fn of(key: &str) -> Option<Self> {
        // Another year or number is another one.
        if key.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let letters = key.chars().count();
        let allowed = match letters {
            4..=6 => 1,
            7..=Self::LONGEST => 2,
            _ => return None,
        };
        // Of Chinese, two letters are a word: another one is another word.
        Some(Self { letters, allowed: if key.chars().any(text::is_unspaced) { 1 } else { allowed } })
    }

    /// The distance (optimal string alignment), if it is within the slips allowed. The first letter is hardly ever wrong: it must be the same, or
    /// have changed places with the second.
    fn between(&self, key: &str, name: &str) -> Option<usize> {
        if name.len() > 4 * (self.letters + self.allowed) || name.chars().count().abs_diff(self.letters) > self.allowed
        {
            return None;
        }
        let (mut ours, mut theirs) = (key.chars(), name.chars());
        let (ours, theirs) = ((ours.next(), ours.next()), (theirs.next(), theirs.next()));
        if ours.0 != theirs.0 && (ours.0, ours.1) != (theirs.1, theirs.0) {
            return None;
        }
        Some(osa_distance(key, name)).filter(|&distance| distance <= self.allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(key: &str, name: &str) -> Option<usize> {
        Slips::of(key)?.between(key, name)
    }

    #[test]
    fn slips_are_few_and_not_in_the_first_letter() {
        assert_eq!(distance("rokc", "rock"), Some(1));
        assert_eq!(distance("orck", "rock"), Some(1));
        assert_eq!(distance("electornic", "electronic"), Some(1));
        assert_eq!(distance("stratagie", "strategy"), None, "three");
        assert_eq!(distance("trance", "france"), None);
        assert_eq!(distance("jaz", "jazz"), None, "too short to tell");
        assert_eq!(distance("rokk", "pop"), None);
        assert_eq!(distance("1999", "1989"), None, "another year");
    }
}
