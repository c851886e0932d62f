//! Spelling: the label or title that a likely misspelling means.

use std::collections::BTreeMap;

use strsim::osa_distance;

use crate::domain::Domain;

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
}

impl<'a> Names<'a> {
    #[must_use]
    pub fn new(catalogue: &'a Catalogue) -> Self {
        let content = catalogue.content();
        let known =
            vocabulary::known_names().filter_map(|(name, concept)| Some((name, content.term(&label_term(concept))?)));
        let own = content.terms().filter_map(|(name, term)| Some((name.strip_prefix("label ")?, term)));
        Self { catalogue, labels: known.chain(own).collect(), titles: catalogue.title_keys().collect() }
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
        let mut near: Vec<(usize, &str)> =
            self.titles.iter().filter_map(|title| Some((slips.between(key, title)?, *title))).collect();
        near.sort_unstable();
        let &(distance, title) = near.first()?;
        let certain = near.get(1).is_none_or(|&(second, _)| second > distance);
        let index = self.catalogue.titled(title).iter().min_by_key(|&&index| self.catalogue.id(index))?;
        Some(Correction { name: self.catalogue.get(*index)?.title.clone(), certain })
    }

    /// A label as an item has it.
    fn spelled(&self, term: Term) -> Option<String> {
        let content = self.catalogue.content();
        let concept = content.name(term).strip_prefix("label ")?;
        let items = content.items_of(term).iter();
        let index = items.map(|&(index, _)| index).min_by_key(|&index| self.catalogue.id(index))?;
        let item = self.catalogue.get(index)?;
        item.genres.iter().chain(&item.tags).find(|label| vocabulary::concept(label) == concept).cloned()
    }
}

/// How many slips a text of some length may have: one in 4 to 6 letters, two in more. A transposition is one slip.
struct Slips {
    letters: usize,
    allowed: usize,
}

impl Slips {
    const LONGEST: usize = 64;

    fn of(key: &str) -> Option<Self> {
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
    }
}
