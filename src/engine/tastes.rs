//! Tastes: what a caller wrote, matched against what the catalogue knows.
//!
//! In this order: an item id; a genre or tag in any known spelling or language; a title; a creator; the labels and words within a
//! free text; and last, for a likely misspelling, the nearest label or title, which then also stands in `unmatched` as a suggestion.

use std::collections::BTreeSet;

use strsim::damerau_levenshtein;

use crate::domain::{Domain, ItemId, Taste, Unmatched};

use super::ItemIndex;
use super::catalogue::{Catalogue, title_key};
use super::scorers::content::{GENRE, Term, creator_term, label_term, word_term};
use super::text;

/// A request may hold many tastes; a search for a misspelling reads all titles, so that only the first few get one.
const MISSPELLINGS: usize = 16;

/// What one taste asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Items of this label or creator: how much an item meets it is the field weight of the term.
    Term(Term),
    /// Items that resemble these, which the caller named.
    Titles(Vec<ItemIndex>),
    /// Items of as many of these terms as possible, rare ones counting more.
    Terms(Vec<Term>),
}

/// One taste that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// For which domain it was given; `None` for all.
    pub domain: Option<Domain>,
    /// As the caller wrote it.
    pub text: String,
    pub wanted: Wanted,
}

/// The tastes of one request.
#[derive(Debug, Clone, Default)]
pub struct TasteProfile {
    pub resolved: Vec<Resolved>,
}

/// Matches the tastes of a request: those understood, and those that nothing matches, or only after a correction.
#[must_use]
pub fn resolve(catalogue: &Catalogue, tastes: &[Taste]) -> (TasteProfile, Vec<Unmatched>) {
    let mut profile = TasteProfile::default();
    let mut unmatched = Vec::new();
    let mut corrections = 0;
    for taste in tastes {
        let mut wanted = understand(catalogue, taste.domain.as_ref(), &taste.text);
        if wanted.is_none() {
            corrections += 1;
            let nearest = if corrections <= MISSPELLINGS { nearest(catalogue, taste) } else { None };
            wanted = nearest.as_ref().and_then(|name| understand(catalogue, taste.domain.as_ref(), name));
            unmatched.push(Unmatched {
                pointer: taste.pointer.clone(),
                value: taste.text.clone(),
                suggestion: nearest,
            });
        }
        if let Some(wanted) = wanted {
            profile.resolved.push(Resolved { domain: taste.domain.clone(), text: taste.text.clone(), wanted });
        }
    }
    (profile, unmatched)
}

fn understand(catalogue: &Catalogue, domain: Option<&Domain>, taste: &str) -> Option<Wanted> {
    let content = catalogue.content();
    if let Some(index) =
        ItemId::new(taste).ok().and_then(|id| catalogue.index_of(&id)).filter(|&i| catalogue.get(i).is_some())
    {
        return Some(Wanted::Titles(vec![index]));
    }
    let key = text::squeeze(taste);
    if key.is_empty() {
        return None;
    }
    let label = content.term(&label_term(&text::concept(taste)));
    let titles = titled(catalogue, domain, &title_key(taste));
    match (label, titles) {
        // "Alien" is a film before it is a theme, and "horror" a genre before it is some film's title.
        (Some(term), Some(titles)) if !is_genre(catalogue, domain, term) && of_domain(catalogue, domain, titles[0]) => {
            return Some(Wanted::Titles(titles));
        }
        (Some(term), _) => return Some(Wanted::Term(term)),
        (None, Some(titles)) => return Some(Wanted::Titles(titles)),
        (None, None) => {}
    }
    if let Some(term) = content.term(&creator_term(&key)) {
        return Some(Wanted::Term(term));
    }
    free_text(catalogue, domain, taste)
}

fn of_domain(catalogue: &Catalogue, domain: Option<&Domain>, index: ItemIndex) -> bool {
    domain.is_none_or(|domain| catalogue.get(index).is_some_and(|item| item.domain == *domain))
}

/// Whether some item of the domain has this label as a genre.
fn is_genre(catalogue: &Catalogue, domain: Option<&Domain>, label: Term) -> bool {
    let items = catalogue.content().items_of(label).iter();
    items.filter(|(_, field)| *field >= GENRE).any(|&(index, _)| of_domain(catalogue, domain, index))
}

/// The items of this title: those of the taste's domain if there are any, else those of the others.
fn titled(catalogue: &Catalogue, domain: Option<&Domain>, key: &str) -> Option<Vec<ItemIndex>> {
    let mut all: Vec<ItemIndex> = catalogue.titled(key).to_vec();
    if all.iter().any(|&index| of_domain(catalogue, domain, index)) {
        all.retain(|&index| of_domain(catalogue, domain, index));
    }
    all.sort_unstable_by_key(|&index| catalogue.id(index));
    (!all.is_empty()).then_some(all)
}

fn free_text(catalogue: &Catalogue, domain: Option<&Domain>, taste: &str) -> Option<Wanted> {
    let content = catalogue.content();
    // "something like Zelda": what stands behind the word is most likely a title.
    let folded = text::fold(taste);
    for marker in ["like ", "similar to ", "similar as ", "类似", "像", "類似"] {
        if let Some((_, named)) = folded.split_once(marker) {
            let ends = [" but ", " and ", " only ", ",", "的", "但"];
            let named = ends.iter().fold(named, |named, end| named.split(end).next().unwrap_or(named));
            if let Some(titles) = titled(catalogue, domain, &title_key(named)) {
                return Some(Wanted::Titles(titles));
            }
        }
    }
    let (concepts, left) = text::concepts_within(taste);
    let mut terms: Vec<Term> = concepts.iter().filter_map(|concept| content.term(&label_term(concept))).collect();
    for word in left {
        let names = text::terms(&word);
        terms.extend(names.iter().filter_map(|name| content.term(&word_term(name))));
    }
    let mut seen = BTreeSet::new();
    terms.retain(|term| seen.insert(*term));
    (!terms.is_empty()).then_some(Wanted::Terms(terms))
}

/// The label or title that is nearest to a likely misspelling: one slip in 4 or 5 letters, two in more.
fn nearest(catalogue: &Catalogue, taste: &Taste) -> Option<String> {
    let key = text::squeeze(&taste.text);
    let length = key.chars().count();
    let slips = match length {
        0..=3 => return None,
        4..=5 => 1,
        6..=64 => 2,
        _ => return None,
    };
    let close = |name: &str| {
        let other = name.chars().count();
        if other.abs_diff(length) > slips {
            return None;
        }
        Some(damerau_levenshtein(&key, name)).filter(|&distance| distance <= slips)
    };
    let content = catalogue.content();
    let known = text::known_names().filter(|(_, concept)| content.term(&label_term(concept)).is_some());
    let own = content.terms().filter_map(|(name, _)| name.strip_prefix("label "));
    let label = known.map(|(name, _)| name).chain(own).filter_map(|name| Some((close(name)?, name))).min();
    if let Some((_, name)) = label {
        // As the catalogue writes it, not squeezed.
        return Some(spelled(catalogue, name).unwrap_or_else(|| name.to_owned()));
    }
    let title = catalogue.title_keys().filter_map(|name| Some((close(name)?, name))).min()?;
    let index = catalogue.titled(title.1).iter().min_by_key(|&&index| catalogue.id(index))?;
    catalogue.get(*index).map(|item| item.title.clone())
}

/// A label of the catalogue that means this squeezed name, as an item has it.
fn spelled(catalogue: &Catalogue, name: &str) -> Option<String> {
    let concept = text::concept(name);
    let term = catalogue.content().term(&label_term(&concept))?;
    let index =
        catalogue.content().items_of(term).iter().map(|&(index, _)| index).min_by_key(|&index| catalogue.id(index))?;
    let item = catalogue.get(index)?;
    item.genres.iter().chain(&item.tags).find(|label| text::concept(label) == concept).cloned()
}

/// How much each item meets a taste, 0 to 1, written to `out` by place; `out` must be zero and as long as the catalogue has places.
pub fn matches(catalogue: &Catalogue, wanted: &Wanted, out: &mut [f32]) {
    let content = catalogue.content();
    match wanted {
        Wanted::Term(term) => {
            for &(item, field) in content.items_of(*term) {
                out[item.0 as usize] = field;
            }
        }
        Wanted::Terms(terms) => {
            let total: f32 = terms.iter().map(|&term| content.idf(term)).sum();
            for &term in terms {
                let share = content.idf(term) / total.max(f32::MIN_POSITIVE);
                for &(item, field) in content.items_of(term) {
                    // Met by a description is met; the field only says how surely.
                    out[item.0 as usize] += share * (0.5 + 0.5 * field);
                }
            }
        }
        Wanted::Titles(titles) => {
            for place in 0..catalogue.places() {
                let index = ItemIndex(place as u32);
                if catalogue.get(index).is_some() {
                    out[place] = titles.iter().map(|&title| content.similarity(title, index)).fold(0.0, f32::max);
                }
            }
        }
    }
}
