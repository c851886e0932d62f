//! Content: items that resemble the history in genres, tags, creators and text.
//!
//! Items and people are vectors over terms; the years of a release are terms as well (what is of a time is alike in much that no genre names). The score is the cosine `Σₜ qₜ·idfₜ·wₜ / (|q·idf|·|w|)` of the person's vector `q` (the sum of the vectors
//! of their items times their strengths) and the item's field weights `w`; `idfₜ = ln(1 + N / dfₜ)` (Salton & Buckley 1988).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::engine::ItemIndex;
use crate::engine::catalogue::Catalogue;
use crate::engine::lanes;

use super::item_terms::{CREATED_BY, ItemTerms};
use super::{Contribution, Contributions, Prepared, Profile, Scorer, largest_first};

/// A term's number.
pub type Term = u32;

/// An item's terms, rising, with field weights.
pub type TermVector = Arc<[(Term, f32)]>;

/// All field weights are multiples of one over this.
pub const PARTS: f32 = 32.0;
/// Terms that more than one in so many items have are common.
const COMMON: usize = 12;
/// In a catalogue of fewer items it does not matter.
const LARGE: usize = 1_000;
/// A person's vector keeps this many of its strongest terms: what a long history says only once does not move a ranking.
const TERMS_OF_A_PERSON: usize = 120;

thread_local! {
    /// A number for each term, all 0 between one use and the next.
    static MARKS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// The items of a term.
#[derive(Debug, Default)]
struct Postings {
    /// By index, with field weights.
    items: Vec<(ItemIndex, f32)>,
    /// Of a term that many items have: the field weight of every place in thirty-seconds. To go through a row of these costs less than to go from item to item.
    row: Vec<u8>,
}

impl Postings {
    /// Puts an item in, or gives it another weight, in a catalogue of this size.
    fn put(&mut self, index: ItemIndex, weight: f32, size: usize) {
        let Self { items, row } = self;
        match items.last() {
            // Most items come last.
            Some(&(last, _)) if last >= index => match items.binary_search_by_key(&index, |&(item, _)| item) {
                Ok(at) => items[at].1 = weight,
                Err(at) => items.insert(at, (index, weight)),
            },
            _ => items.push((index, weight)),
        }
        if !row.is_empty() {
            if items.len() * COMMON * 2 < size {
                // The catalogue has outgrown it.
                *row = Vec::new();
            } else {
                put(row, index, weight);
            }
        } else if items.len() * COMMON > size {
            items.iter().for_each(|&(item, weight)| put(row, item, weight));
        }
    }

    fn take_out(&mut self, index: ItemIndex) {
        if let Ok(at) = self.items.binary_search_by_key(&index, |&(item, _)| item) {
            self.items.remove(at);
        }
        if let Some(part) = self.row.get_mut(index.0 as usize) {
            *part = 0;
        }
    }
}

/// The terms of all items, with the items of each term. A change costs the terms of the one item that changes.
#[derive(Debug, Default)]
pub struct ContentIndex {
    numbers: HashMap<Arc<str>, Term, RandomState>,
    names: Vec<Arc<str>>,
    /// Creators by their names backwards: those whose name ends with a word stand together.
    creators: BTreeMap<String, Term>,
    postings: Vec<Postings>,
    /// By item: its terms, and the length of that vector.
    vectors: Vec<(TermVector, f32)>,
    /// These lengths side by side: all of them are read for everybody who has a history.
    lengths: Vec<f32>,
    items: usize,
}

impl ContentIndex {
    /// An item's terms as numbers, rising, with field weights.
    pub fn numbered(&mut self, terms: &ItemTerms) -> TermVector {
        let mut vector: Vec<(Term, f32)> = terms.iter().map(|(name, weight)| (self.number(name), weight)).collect();
        // Of a term that stands in several fields the largest weight counts.
        vector.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        vector.dedup_by_key(|&mut (term, _)| term);
        vector.into()
    }

    /// Makes room for so many items of a term as are about to come.
    pub fn expect(&mut self, term: Term, items: usize) {
        self.postings[term as usize].items.reserve_exact(items);
    }

    /// Puts an item in, by its terms as [`Self::numbered`] gives them; it must not be in.
    pub fn insert(&mut self, index: ItemIndex, vector: TermVector) {
        self.set(index, vector);
        self.items += 1;
    }

    /// Gives an item that is in other terms.
    pub fn replace(&mut self, index: ItemIndex, vector: TermVector) {
        self.set(index, vector);
    }

    /// Takes an item out that is in.
    pub fn remove(&mut self, index: ItemIndex) {
        self.set(index, TermVector::default());
        self.items = self.items.saturating_sub(1);
    }

    /// Touches the terms only whose weight is another: the list of a common one is long, and to move its end for each of many changes takes minutes.
    fn set(&mut self, index: ItemIndex, vector: TermVector) {
        let place = index.0 as usize;
        if self.vectors.len() <= place {
            self.vectors.resize_with(place + 1, Default::default);
            self.lengths.resize(place + 1, 0.0);
        }
        let (before, _) = std::mem::take(&mut self.vectors[place]);
        for &(term, _) in before.iter().filter(|&&(term, _)| weight_of(&vector, term).is_none()) {
            self.postings[term as usize].take_out(index);
        }
        let size = self.items.max(LARGE);
        for &(term, weight) in vector.iter().filter(|&&(term, weight)| weight_of(&before, term) != Some(weight)) {
            self.postings[term as usize].put(index, weight, size);
        }
        let length = vector.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        self.vectors[place] = (vector, length);
        self.lengths[place] = length;
    }

    /// The number of a term; gives it one if it has none yet.
    pub fn number(&mut self, name: &str) -> Term {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let (number, name) = (self.names.len() as Term, Arc::<str>::from(name));
        if let Some(creator) = name.strip_prefix(CREATED_BY) {
            self.creators.insert(backwards(creator), number);
        }
        self.names.push(Arc::clone(&name));
        self.postings.push(Postings::default());
        self.numbers.insert(name, number);
        number
    }

    /// The number of a term that at least one item has.
    #[must_use]
    pub fn term(&self, name: &str) -> Option<Term> {
        self.numbers.get(name).copied().filter(|&term| !self.items_of(term).is_empty())
    }

    /// The creators whose squeezed name ends with this.
    pub fn creators_ending_with(&self, name: &str) -> impl Iterator<Item = Term> {
        let end = backwards(name);
        let from = self.creators.range(end.clone()..);
        let all = from.take_while(move |(creator, _)| creator.starts_with(&end)).map(|(_, &term)| term);
        all.filter(|&term| !self.items_of(term).is_empty())
    }

    /// The items of a term with its field weights (1 as a genre, less in other fields), by index.
    #[must_use]
    pub fn items_of(&self, term: Term) -> &[(ItemIndex, f32)] {
        self.postings.get(term as usize).map_or(&[], |postings| &postings.items)
    }

    /// How much an item has a term: 1 as a genre, less in other fields, 0 when it lacks it.
    #[must_use]
    pub fn has(&self, item: ItemIndex, term: Term) -> f32 {
        weight_of(self.vector(item).0, term).unwrap_or(0.0)
    }

    /// All terms that at least one item has, by name.
    pub fn terms(&self) -> impl Iterator<Item = (&str, Term)> {
        self.names
            .iter()
            .enumerate()
            .map(|(term, name)| (&**name, term as Term))
            .filter(|&(_, term)| !self.items_of(term).is_empty())
    }

    /// The names of all terms, by number.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// An item's terms, rising, with field weights; to be kept.
    #[must_use]
    pub fn shared(&self, item: ItemIndex) -> TermVector {
        self.vectors.get(item.0 as usize).map_or_else(Arc::default, |(vector, _)| Arc::clone(vector))
    }

    /// The name of a term.
    #[must_use]
    pub fn name(&self, term: Term) -> &str {
        self.names.get(term as usize).map_or("", |name| name)
    }

    /// How rare a term is: `ln(1 + N / df)`.
    #[must_use]
    pub fn idf(&self, term: Term) -> f32 {
        (self.items as f32 / self.items_of(term).len().max(1) as f32).ln_1p()
    }

    fn vector(&self, item: ItemIndex) -> (&[(Term, f32)], f32) {
        self.vectors.get(item.0 as usize).map_or((&[], 0.0), |(vector, length)| (vector, *length))
    }

    /// The terms of an item with field weights times idf, of length 1; empty for an item without terms. Terms that over a third of the
    /// items bear are left out: they tell nothing apart and cost most.
    #[must_use]
    pub fn unit_terms(&self, item: ItemIndex) -> Vec<(Term, f32)> {
        let common = self.items / 3;
        let (vector, _) = self.vector(item);
        let telling = vector.iter().filter(|&&(term, _)| self.items_of(term).len() <= common.max(1));
        let mut terms: Vec<(Term, f32)> = telling.map(|&(term, weight)| (term, weight * self.idf(term))).collect();
        let length = terms.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        terms.iter_mut().for_each(|(_, weight)| *weight /= length);
        terms
    }

    /// How alike an item is to the one of `others` that it is most like, 0 to 1: by the cosine of their field weights.
    pub fn nearest(&self, item: ItemIndex, others: impl Iterator<Item = ItemIndex>) -> f32 {
        let (vector, length) = self.vector(item);
        MARKS.with_borrow_mut(|marks| {
            if marks.len() < self.names.len() {
                marks.resize(self.names.len(), 0.0);
            }
            for &(term, weight) in vector {
                marks[term as usize] = weight;
            }
            let alike = |other: ItemIndex| {
                let (other, other_length) = self.vector(other);
                let sum: f32 = other.iter().map(|&(term, weight)| marks[term as usize] * weight).sum();
                if sum > 0.0 { (sum / (length * other_length)).clamp(0.0, 1.0) } else { 0.0 }
            };
            let nearest = others.map(alike).fold(0.0, f32::max);
            for &(term, _) in vector {
                marks[term as usize] = 0.0;
            }
            nearest
        })
    }

    /// How alike each item is to one, by place, in the measure of [`Self::nearest`].
    #[must_use]
    pub fn similarities(&self, item: ItemIndex) -> Vec<f32> {
        let (vector, length) = self.vector(item);
        let mut out = vec![0.0f32; self.vectors.len()];
        for &(term, weight) in vector {
            for &(other, field) in self.items_of(term) {
                out[other.0 as usize] += weight * field;
            }
        }
        for (value, (_, other)) in out.iter_mut().zip(&self.vectors) {
            *value = if *value > 0.0 { (*value / (length * other)).clamp(0.0, 1.0) } else { 0.0 };
        }
        out
    }

    /// A person's vector with the idf in it, `q·idf²` ready to be multiplied with field weights, and the length of `q·idf`.
    fn person(&self, history: &[(ItemIndex, f32)]) -> Option<(Vec<(Term, f32)>, f32)> {
        let (mut sums, mut named) = (vec![0.0f32; self.names.len()], Vec::new());
        for &(item, strength) in history {
            let (vector, length) = self.vector(item);
            let share = strength / length;
            for &(term, weight) in vector {
                let sum = &mut sums[term as usize];
                if *sum == 0.0 {
                    named.push(term);
                }
                *sum += share * weight;
            }
        }
        // A sum that came back to 0 on its way is named twice.
        named.sort_unstable();
        named.dedup();
        let mut terms: Vec<(Term, f32)> =
            named.into_iter().map(|term| (term, sums[term as usize] * self.idf(term))).collect();
        // Ties by name, not by number: numbers depend on the order in which items came.
        let stronger = |a: &(Term, f32), b: &(Term, f32)| {
            b.1.abs().total_cmp(&a.1.abs()).then_with(|| self.names[a.0 as usize].cmp(&self.names[b.0 as usize]))
        };
        if terms.len() > TERMS_OF_A_PERSON {
            terms.select_nth_unstable_by(TERMS_OF_A_PERSON, stronger);
            terms.truncate(TERMS_OF_A_PERSON);
        }
        terms.sort_unstable_by(stronger);
        let length = terms.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        (length > 0.0).then_some((terms, length))
    }
}

/// The weight of a term in a vector that rises.
fn weight_of(vector: &[(Term, f32)], term: Term) -> Option<f32> {
    vector.binary_search_by_key(&term, |&(own, _)| own).ok().map(|at| vector[at].1)
}

fn backwards(name: &str) -> String {
    name.chars().rev().collect()
}

fn put(row: &mut Vec<u8>, item: ItemIndex, weight: f32) {
    let place = item.0 as usize;
    if row.len() <= place {
        row.resize(place + 1, 0);
    }
    row[place] = (weight * PARTS) as u8;
}

/// The content scorer.
#[derive(Debug, Clone, Copy)]
pub struct Content;

/// What a person's terms say of each place of the catalogue.
pub struct PersonTerms<'m> {
    index: &'m ContentIndex,
    /// By place: `Σₜ qₜ·idfₜ²·wₜ`.
    sums: Vec<f32>,
    /// `|q·idf|`.
    length: f32,
}

impl PersonTerms<'_> {
    /// The cosine of the person and an item.
    #[must_use]
    pub fn of(&self, item: ItemIndex) -> f32 {
        match self.sums.get(item.0 as usize) {
            Some(&sum) if sum != 0.0 => sum / (self.index.lengths[item.0 as usize] * self.length),
            _ => 0.0,
        }
    }
}

impl<'m> Scorer<'m> for Content {
    fn prepare(&self, catalogue: &'m Catalogue, profile: &Profile) -> Option<Prepared<'m>> {
        let index = catalogue.content();
        let (terms, length) = index.person(&profile.history)?;
        let mut sums = vec![0.0f32; index.vectors.len()];
        for (term, weight) in terms {
            let Postings { items, row } = &index.postings[term as usize];
            if row.is_empty() {
                items.iter().for_each(|&(item, field)| sums[item.0 as usize] += weight * field);
            } else {
                lanes::add_parts(&mut sums, weight / PARTS, row);
            }
        }
        Some(Prepared::Content(PersonTerms { index, sums, length }))
    }

    fn contributions<'a>(&self, catalogue: &'a Catalogue, profile: &'a Profile) -> Contributions<'a>
    where
        'm: 'a,
    {
        let index = catalogue.content();
        let Some((terms, person_length)) = index.person(&profile.history) else { return Box::new(|_| Vec::new()) };
        let terms: Vec<(Term, f32)> = terms.into_iter().map(|(term, _)| (term, index.idf(term))).collect();
        Box::new(move |item| {
            let (vector, length) = index.vector(item);
            let shared = terms.iter().filter_map(|&(term, idf)| {
                let place = vector.binary_search_by_key(&term, |&(term, _)| term).ok()?;
                Some((term, vector[place].1 * idf / (length * person_length)))
            });
            let shared: Vec<(Term, f32)> = shared.collect();
            let of_source = |&(source, strength): &(ItemIndex, f32)| {
                let (other, other_length) = index.vector(source);
                let of = |term: Term| weight_of(other, term).unwrap_or(0.0);
                let sum: f32 = shared.iter().map(|&(term, weight)| weight * of(term)).sum();
                let amount = if other_length > 0.0 { strength * sum / other_length } else { 0.0 };
                Contribution { source: Some(source), amount }
            };
            largest_first(profile.history.iter().map(of_source).collect())
        })
    }
}

#[cfg(test)]
mod tests;
