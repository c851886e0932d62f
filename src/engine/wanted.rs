//! Wanted: what one taste asks for, and which items meet it.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::domain::Domain;

use super::ItemIndex;
use super::catalogue::Catalogue;
use super::scorers::content::Term;
use super::scorers::item_terms::is_word;

/// What one taste asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Items with any of these labels, creators or words: how much an item meets it is the largest field weight.
    Any(Vec<Term>),
    /// Items of as many of these terms as possible, rare ones counting more.
    Terms(Vec<Term>),
    /// These items, which the caller named: likes, as if they stood in the history.
    Titles(Vec<ItemIndex>),
    /// These items, of which the caller gave a part of the title, and what resembles them.
    Alike(Vec<ItemIndex>),
    /// These items, which come near the text by its meaning, and how much each meets it.
    Near(Vec<(ItemIndex, f32)>),
    /// What is of a period; of what meets something else that first.
    Released(Period, Option<Box<Wanted>>),
    /// None of the items with any of these terms.
    Without(Vec<Term>),
}

/// When something was released.
#[derive(Debug, Clone, PartialEq)]
pub struct Period {
    pub years: RangeInclusive<i16>,
    /// Labels that say the same: "90s".
    pub labels: Vec<Term>,
}

impl Period {
    #[must_use]
    pub fn has(&self, catalogue: &Catalogue, item: ItemIndex) -> bool {
        let released = catalogue.get(item).and_then(|item| item.released);
        released.is_some_and(|day| self.years.contains(&day.year()))
            || self.labels.iter().any(|&label| catalogue.content().has(item, label) > 0.0)
    }
}

/// What meets the rest of a text that names a period, and is of another one, meets the whole by this share.
const OUT_OF_PERIOD: f32 = 0.3;
/// Labels and creators count so much more than mere words, which are rarer and say less.
const NAMED: f32 = 2.0;

/// One taste that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// For which domain it was given; `None` for all.
    pub domain: Option<Domain>,
    /// As the caller wrote it.
    pub text: String,
    pub wanted: Wanted,
}

/// The items that meet a taste at all, by index, and how much: above 0, up to 1.
#[derive(Debug, Clone)]
pub struct Met<'a>(Cow<'a, [(ItemIndex, f32)]>);

impl Met<'_> {
    #[must_use]
    pub fn items(&self) -> &[(ItemIndex, f32)] {
        &self.0
    }

    pub(super) fn of(items: Vec<(ItemIndex, f32)>) -> Self {
        Self(Cow::Owned(items))
    }

    fn from_places(places: &[f32]) -> Self {
        let met = places.iter().enumerate().filter(|(_, met)| **met > 0.0);
        Self(met.map(|(place, met)| (ItemIndex(place as u32), met.min(1.0))).collect())
    }
}

/// Which items meet a taste by their terms. Titles that were named are met by what is like them, which the model has a say in ([`KnownTaste::new`]): here by
/// none.
#[must_use]
pub fn matches<'a>(catalogue: &'a Catalogue, wanted: &Wanted) -> Met<'a> {
    let content = catalogue.content();
    if let Wanted::Any(terms) = wanted
        && let [term] = terms[..]
    {
        return Met(Cow::Borrowed(content.items_of(term)));
    }
    let mut out = vec![0.0f32; catalogue.places()];
    match wanted {
        Wanted::Titles(_) | Wanted::Without(_) => return Met(Cow::Borrowed(&[])),
        Wanted::Released(period, of) => {
            let met = of.as_ref().map(|of| matches(catalogue, of));
            let all = || (0..out.len()).map(|place| (ItemIndex(place as u32), 1.0));
            let items: Vec<(ItemIndex, f32)> = met.map_or_else(|| all().collect(), |met| met.items().to_vec());
            let outside = if of.is_some() { OUT_OF_PERIOD } else { 0.0 };
            for (item, met) in items {
                out[item.0 as usize] = if period.has(catalogue, item) { met } else { outside * met };
            }
        }
        Wanted::Any(terms) => {
            for &(item, field) in terms.iter().flat_map(|&term| content.items_of(term)) {
                let met = &mut out[item.0 as usize];
                *met = met.max(field);
            }
        }
        Wanted::Terms(terms) => {
            let worth = |term: Term| content.idf(term) * if is_word(content.name(term)) { 1.0 } else { NAMED };
            let total: f32 = terms.iter().map(|&term| worth(term)).sum();
            for &term in terms {
                let share = worth(term) / total.max(f32::MIN_POSITIVE);
                for &(item, field) in content.items_of(term) {
                    // Met by a description is met; the field only says how surely.
                    out[item.0 as usize] += share * (0.5 + 0.5 * field);
                }
            }
        }
        Wanted::Near(items) => items.iter().for_each(|&(item, met)| out[item.0 as usize] = met),
        Wanted::Alike(items) => {
            for &item in items {
                for (met, alike) in out.iter_mut().zip(content.similarities(item)) {
                    *met = met.max(alike);
                }
            }
        }
    }
    Met::from_places(&out)
}
