//! A catalogue as it can be written down and taken in again: with what its items are found by, so that no text is read anew.

use std::sync::Arc;

use super::{Catalogue, title_keys};
use crate::domain::Item;
use crate::engine::ItemIndex;
use crate::engine::scorers::content::{PARTS, Term, TermVector};

/// How this program reads texts: what another has read of them is not what it would find. To be changed whenever [`ReadItem::new`](super::ReadItem::new) gives something else for any item; a
/// test tells.
pub const READING: u32 = 2;

/// Items as they are written down, with what each is found by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IndexedItems {
    /// With what the title is compared by.
    pub items: Vec<(Item, Vec<String>)>,
    /// Where the terms of each end.
    pub ends: Vec<u32>,
    /// The terms of all, each by its place among the names that are written down beside; those of one item rise.
    pub terms: Vec<Term>,
    /// Their field weights in thirty-seconds.
    pub parts: Vec<u8>,
}

impl IndexedItems {
    /// Whether it holds together, with so many names.
    #[must_use]
    pub fn is_whole(&self, names: usize) -> bool {
        let Self { items, ends, terms, parts } = self;
        let ends_fit = ends.is_sorted() && ends.last().map_or(0, |&end| end as usize) == terms.len();
        let lengths_fit = items.len() == ends.len() && terms.len() == parts.len();
        ends_fit && lengths_fit && terms.iter().all(|&term| (term as usize) < names)
    }
}

/// A catalogue at one moment, to be written down.
#[derive(Debug)]
pub struct Indexed {
    /// The names of its terms, by number. None holds a line break.
    pub names: Vec<Arc<str>>,
    items: Vec<(Arc<Item>, TermVector)>,
}

impl Indexed {
    /// How many items it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// By term: how many items have it.
    #[must_use]
    pub fn frequencies(&self) -> Vec<u32> {
        let mut frequencies = vec![0; self.names.len()];
        for (term, _) in self.items.iter().flat_map(|(_, terms)| &**terms) {
            frequencies[*term as usize] += 1;
        }
        frequencies
    }

    /// Its items, so many at a time at most, and no more once their texts have so many bytes.
    pub fn parts(&self, size: usize, bytes: usize) -> impl Iterator<Item = IndexedItems> {
        let (mut left, mut length) = (size, 0);
        let chunks = self.items.chunk_by(move |(item, _), _| {
            (left, length) = (left - 1, length + text_length(item));
            let goes_on = left > 0 && length < bytes;
            if !goes_on {
                (left, length) = (size, 0);
            }
            goes_on
        });
        chunks.map(|chunk| {
            let mut part = IndexedItems::default();
            for (item, terms) in chunk {
                part.items.push(((**item).clone(), title_keys(item)));
                part.terms.extend(terms.iter().map(|(term, _)| term));
                part.parts.extend(terms.iter().map(|(_, weight)| (weight * PARTS) as u8));
                part.ends.push(part.terms.len() as u32);
            }
            part
        })
    }
}

/// About how many bytes an item takes: its texts are nearly all of it.
fn text_length(item: &Item) -> usize {
    let attributes = item.attributes.iter().flat_map(|(name, values)| std::iter::once(name).chain(values));
    let labels = item.genres.iter().chain(&item.tags).chain(&item.creators).chain(attributes);
    std::iter::once(&item.title).chain(&item.description).chain(labels).map(String::len).sum()
}

/// The numbers that a catalogue has for the terms of items that were written down.
#[derive(Debug)]
pub struct Numbers(Vec<Term>);

impl Catalogue {
    /// All of it; takes one look at each item and copies none.
    #[must_use]
    pub fn indexed(&self) -> Indexed {
        let indices = self.by_domain.values().flatten();
        let items = indices.filter_map(|&index| Some((self.shared(index)?, self.content.shared(index)))).collect();
        Indexed { names: self.content.names().to_vec(), items }
    }

    /// Makes room for so many items that were written down. `names`: of their terms, with how many of the items have each.
    pub fn expect<'a>(&mut self, items: usize, names: impl IntoIterator<Item = (&'a str, u32)>) -> Numbers {
        self.places.reserve(items);
        self.titles.reserve(items);
        let number = |(name, frequency): (&str, u32)| {
            let number = self.content.number(name);
            self.content.expect(number, items.min(frequency as usize));
            number
        };
        Numbers(names.into_iter().map(number).collect())
    }

    /// Stores items that were written down and [are whole](IndexedItems::is_whole), those whose ids it has never had; gives their places.
    pub fn take_in(&mut self, numbers: &Numbers, part: IndexedItems) -> Vec<ItemIndex> {
        let (mut start, mut new) = (0, Vec::with_capacity(part.items.len()));
        for ((item, titles), end) in part.items.into_iter().zip(part.ends) {
            let own = start..end as usize;
            start = end as usize;
            if self.index_of(&item.id).is_some() {
                continue;
            }
            let terms = part.terms[own.clone()].iter().zip(&part.parts[own]);
            let mut terms: TermVector =
                terms.map(|(&term, &parts)| (numbers.0[term as usize], f32::from(parts) / PARTS)).collect();
            // Other numbers, another order.
            if let Some(terms) = Arc::get_mut(&mut terms).filter(|terms| !terms.is_sorted_by_key(|&(term, _)| term)) {
                terms.sort_unstable_by_key(|&(term, _)| term);
            }
            new.push(self.put_in(item, titles, None, |_| terms));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::super::ReadItem;
    use super::*;
    use crate::demo;

    #[test]
    fn what_was_written_down_is_found_as_what_was_read() {
        let mut read = Catalogue::default();
        demo::items().into_iter().for_each(|item| {
            read.upsert(item);
        });
        let indexed = read.indexed();
        let parts: Vec<IndexedItems> = indexed.parts(70, usize::MAX).collect();
        assert!(parts.iter().all(|part| part.is_whole(indexed.names.len())));
        assert_eq!(parts.iter().map(|part| part.items.len()).sum::<usize>(), indexed.len());
        // The terms of the other have other numbers.
        let mut taken = Catalogue::default();
        taken.upsert(parts[0].items[40].0.clone());
        let names = indexed.names.iter().map(|name| &**name).zip(indexed.frequencies());
        let numbers = taken.expect(indexed.len(), names);
        let new: usize = parts.into_iter().map(|part| taken.take_in(&numbers, part).len()).sum();
        assert_eq!(new, read.len() - 1, "one was there");
        assert_eq!(taken.len(), read.len());
        let all: Vec<ItemIndex> = read.domains().flat_map(|(_, items)| items.to_vec()).collect();
        for own in all {
            let other = taken.index_of(read.id(own)).unwrap();
            assert_eq!(read.get(own), taken.get(other));
            let terms = |of: &Catalogue, index| {
                let mut terms: Vec<(String, f32)> =
                    of.content().shared(index).iter().map(|&(t, w)| (of.content().name(t).to_owned(), w)).collect();
                terms.sort_by(|a, b| a.0.cmp(&b.0));
                terms
            };
            assert_eq!(terms(&read, own), terms(&taken, other));
            for key in title_keys(read.get(own).unwrap()) {
                assert!(taken.titled(&key).contains(&other), "{key}");
            }
        }
    }

    #[test]
    fn a_part_ends_where_its_texts_are_long_enough() {
        let mut catalogue = Catalogue::default();
        for (number, length) in [5, 1, 1, 1, 9, 1].into_iter().enumerate() {
            let item = serde_json::json!({"id": number.to_string(), "domain": "movie", "title": "x".repeat(length), "genres": [],
                "tags": [], "creators": [], "attributes": {}, "available": true});
            catalogue.upsert(serde_json::from_value(item).unwrap());
        }
        let parts = |size, bytes| -> Vec<usize> {
            catalogue.indexed().parts(size, bytes).map(|part| part.items.len()).collect()
        };
        assert_eq!(parts(9, 5), [1, 4, 1]);
        assert_eq!(parts(3, 5), [1, 3, 1, 1]);
        assert_eq!(parts(4, usize::MAX), [4, 2]);
    }

    #[test]
    fn what_does_not_hold_together_is_seen() {
        let mut catalogue = Catalogue::default();
        demo::items().into_iter().take(3).for_each(|item| {
            catalogue.upsert(item);
        });
        let (names, part) = (catalogue.indexed().names.len(), catalogue.indexed().parts(9, usize::MAX).next().unwrap());
        let broken = |harm: &dyn Fn(&mut IndexedItems)| {
            let mut part = part.clone();
            harm(&mut part);
            !part.is_whole(names)
        };
        assert!(!broken(&|_| {}) && IndexedItems::default().is_whole(0));
        assert!(broken(&|part| part.ends[2] += 1));
        assert!(broken(&|part| part.ends.swap(0, 1)));
        assert!(broken(&|part| part.terms[0] = names as u32));
        assert!(broken(&|part| part.parts.truncate(1)));
        assert!(broken(&|part| part.items.truncate(1)));
    }

    /// What is written down is only as good as the reading that it came from.
    #[test]
    fn texts_are_read_as_they_were_when_reading_was_numbered() {
        let mut sum = Sha256::new();
        for item in demo::items() {
            let read = ReadItem::new(item);
            read.terms.iter().for_each(|(name, weight)| sum.update(format!("{name}={weight}\n")));
            sum.update(read.titles.join("\n"));
        }
        let found = sum.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            (READING, found.as_str()),
            (2, "870c40b07ec5eb6e"),
            "texts are read in another way: count READING up"
        );
    }
}
