//! The live catalogue: items in memory, with what is needed to find them by content and by taste.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;

use crate::domain::{Domain, Item, ItemId};

use super::ItemIndex;
use super::scorers::content::{ContentIndex, TermVector};
use super::scorers::item_terms::ItemTerms;
use super::text;

pub mod indexed;
pub mod vectors;

use vectors::{TextVector, embedded, embedded_text};

/// All items a process knows, kept up to date one item at a time: a change costs the terms of that item, not a rebuild.
#[derive(Debug, Default)]
pub struct Catalogue {
    ids: Vec<ItemId>,
    /// Shared with the answers that name them.
    items: Vec<Option<Arc<Item>>>,
    /// By place: whether there is an item that may be returned. Beside the items, for a request asks this of each of them.
    available: Vec<bool>,
    /// By place: the number of the item's domain, its place in `domains`.
    domain_numbers: Vec<u16>,
    domains: Vec<Domain>,
    /// By place: the vector of the item's text, where it is made.
    vectors: Vec<OnceLock<TextVector>>,
    /// Whether somebody makes these vectors beside: see [`Catalogue::embed_beside`].
    embeds_beside: bool,
    /// Whether somebody has asked for a vector that was not made yet.
    lacked: AtomicBool,
    places: HashMap<ItemId, ItemIndex, RandomState>,
    by_domain: BTreeMap<Domain, Vec<ItemIndex>>,
    titles: HashMap<String, Vec<ItemIndex>, RandomState>,
    content: ContentIndex,
    count: usize,
    changes: u64,
}

/// An item with what it is found by: what takes longest of storing it, and needs no catalogue, so that many can be read at a time.
#[derive(Debug)]
pub struct ReadItem {
    item: Item,
    terms: ItemTerms,
    titles: Vec<String>,
    /// If it is made already.
    vector: Option<TextVector>,
}

impl ReadItem {
    #[must_use]
    pub fn new(item: Item) -> Self {
        Self { terms: ItemTerms::of(&item), titles: title_keys(&item), vector: None, item }
    }

    /// The same with the vector of its text, which takes as long again.
    #[must_use]
    pub fn with_vector(item: Item) -> Self {
        Self { vector: Some(embedded(&item)), ..Self::new(item) }
    }

    #[must_use]
    pub fn id(&self) -> &ItemId {
        &self.item.id
    }
}

impl Catalogue {
    const NO_DOMAIN: u16 = u16::MAX;

    /// An empty catalogue over the configured domains.
    #[must_use]
    pub fn new(domains: &[Domain]) -> Self {
        Self { by_domain: domains.iter().map(|domain| (domain.clone(), Vec::new())).collect(), ..Self::default() }
    }

    /// Stores an item; replaces the one of the same id, which keeps its index.
    pub fn upsert(&mut self, item: Item) -> ItemIndex {
        let same = self.index_of(&item.id).filter(|&index| self.get(index) == Some(&item));
        same.unwrap_or_else(|| self.upsert_read(ReadItem::new(item)))
    }

    /// The same for one that was read before.
    pub fn upsert_read(&mut self, read: ReadItem) -> ItemIndex {
        let ReadItem { item, terms, titles, vector } = read;
        self.put_in(item, titles, vector, |content| content.numbered(&terms))
    }

    fn put_in(
        &mut self,
        item: Item,
        titles: Vec<String>,
        vector: Option<TextVector>,
        terms: impl FnOnce(&mut ContentIndex) -> TermVector,
    ) -> ItemIndex {
        let index = self.reserve(&item.id);
        let place = index.0 as usize;
        if self.items[place].as_deref() == Some(&item) {
            return index;
        }
        self.changes += 1;
        let before = self.items[place].take();
        let known = before.as_deref().map(title_keys).unwrap_or_default();
        if known != titles {
            self.leave_titles(index, &known);
            for key in titles {
                put(self.titles.entry(key).or_default(), index);
            }
        }
        // Only what is another is moved: these lists are long.
        if before.as_ref().is_none_or(|before| before.domain != item.domain) {
            if let Some(before) = &before {
                self.leave_domain(index, &before.domain);
            }
            self.domain_numbers[place] = self.number(&item.domain);
            put(self.by_domain.entry(item.domain.clone()).or_default(), index);
        }
        let terms = terms(&mut self.content);
        if before.is_some() {
            self.content.replace(index, terms);
        } else {
            self.content.insert(index, terms);
            self.count += 1;
        }
        self.available[place] = item.available;
        if let Some(vector) = vector {
            self.vectors[place] = OnceLock::from(vector);
        } else if before.is_none_or(|before| embedded_text(&before) != embedded_text(&item)) {
            self.vectors[place] = OnceLock::new();
        }
        self.items[place] = Some(Arc::new(item));
        index
    }

    fn number(&mut self, domain: &Domain) -> u16 {
        self.domain_number(domain).unwrap_or_else(|| {
            self.domains.push(domain.clone());
            (self.domains.len() - 1) as u16
        })
    }

    /// Forgets an item; its index stays reserved for its id. Whether there was one.
    pub fn remove(&mut self, id: &ItemId) -> bool {
        self.index_of(id).is_some_and(|index| self.take(index))
    }

    fn take(&mut self, index: ItemIndex) -> bool {
        let Some(item) = self.items[index.0 as usize].take() else { return false };
        self.changes += 1;
        self.available[index.0 as usize] = false;
        self.domain_numbers[index.0 as usize] = Self::NO_DOMAIN;
        self.leave_domain(index, &item.domain);
        self.leave_titles(index, &title_keys(&item));
        self.content.remove(index);
        self.count -= 1;
        true
    }

    fn leave_domain(&mut self, index: ItemIndex, domain: &Domain) {
        if let Some(list) = self.by_domain.get_mut(domain) {
            take_out(list, index);
        }
    }

    fn leave_titles(&mut self, index: ItemIndex, keys: &[String]) {
        for key in keys {
            if let Some(list) = self.titles.get_mut(key) {
                take_out(list, index);
                if list.is_empty() {
                    self.titles.remove(key);
                }
            }
        }
    }

    /// The index of this id; gives one if it has none yet (a model may know items that the catalogue does not).
    pub fn reserve(&mut self, id: &ItemId) -> ItemIndex {
        if let Some(&index) = self.places.get(id) {
            return index;
        }
        let index = ItemIndex(self.ids.len() as u32);
        self.ids.push(id.clone());
        self.items.push(None);
        self.available.push(false);
        self.domain_numbers.push(Self::NO_DOMAIN);
        self.vectors.push(OnceLock::new());
        self.places.insert(id.clone(), index);
        index
    }

    #[must_use]
    pub fn index_of(&self, id: &ItemId) -> Option<ItemIndex> {
        self.places.get(id).copied()
    }

    /// The item at this place; `None` when the place is only reserved.
    #[must_use]
    pub fn get(&self, index: ItemIndex) -> Option<&Item> {
        self.items.get(index.0 as usize).and_then(Option::as_deref)
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared(&self, index: ItemIndex) -> Option<Arc<Item>> {
        self.items.get(index.0 as usize).cloned().flatten()
    }

    /// The number of a domain that an item has had; the same as long as the catalogue lives.
    #[must_use]
    pub fn domain_number(&self, domain: &Domain) -> Option<u16> {
        self.domains.iter().position(|known| known == domain).map(|number| number as u16)
    }

    /// The number of the domain of the item at this place.
    #[must_use]
    pub fn domain_number_of(&self, index: ItemIndex) -> Option<u16> {
        self.domain_numbers.get(index.0 as usize).copied().filter(|&number| number != Self::NO_DOMAIN)
    }

    /// Whether the item at this place is of the domain of this number.
    #[must_use]
    pub fn is_of(&self, index: ItemIndex, domain: u16) -> bool {
        self.domain_numbers.get(index.0 as usize) == Some(&domain)
    }

    /// How many changes there have been: it tells whether an answer made from this catalogue would be made again.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether there is an item at this place that may be returned.
    #[must_use]
    pub fn is_available(&self, index: ItemIndex) -> bool {
        self.available.get(index.0 as usize).copied().unwrap_or(false)
    }

    #[must_use]
    pub fn id(&self, index: ItemIndex) -> &ItemId {
        &self.ids[index.0 as usize]
    }

    /// The items of each domain, by index.
    pub fn domains(&self) -> impl Iterator<Item = (&Domain, &[ItemIndex])> {
        self.by_domain.iter().map(|(domain, items)| (domain, items.as_slice()))
    }

    /// All items of a domain, by index.
    #[must_use]
    pub fn of_domain(&self, domain: &Domain) -> &[ItemIndex] {
        self.by_domain.get(domain).map_or(&[], Vec::as_slice)
    }

    /// The items of this title (see [`title_key`]), by index.
    #[must_use]
    pub fn titled(&self, key: &str) -> &[ItemIndex] {
        self.titles.get(key).map_or(&[], Vec::as_slice)
    }

    /// All title keys.
    pub fn title_keys(&self) -> impl Iterator<Item = &str> {
        self.titles.keys().map(String::as_str)
    }

    #[must_use]
    pub fn content(&self) -> &ContentIndex {
        &self.content
    }

    /// How many places there are, reserved ones counted.
    #[must_use]
    pub fn places(&self) -> usize {
        self.ids.len()
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn put(list: &mut Vec<ItemIndex>, index: ItemIndex) {
    let at = list.partition_point(|&other| other < index);
    list.insert(at, index);
}

fn take_out(list: &mut Vec<ItemIndex>, index: ItemIndex) {
    if let Ok(at) = list.binary_search(&index) {
        list.remove(at);
    }
}

/// What a title is compared by: letters and digits, without a leading article and without a year in brackets at its end.
#[must_use]
pub fn title_key(title: &str) -> String {
    let folded = text::fold(title);
    let without_year = text::without_year(&folded);
    // MovieLens and libraries write the article behind: "Matrix, The".
    let is_article = |word: &str| ["the", "a", "an"].contains(&word);
    let without_article = match without_year.rsplit_once(", ") {
        Some((rest, last)) if is_article(last) => rest,
        _ => without_year.split_once(' ').filter(|(first, _)| is_article(first)).map_or(without_year, |(_, rest)| rest),
    };
    text::squeeze(without_article)
}

fn title_keys(item: &Item) -> Vec<String> {
    let originals = item.attributes.get("original_title").into_iter().flatten();
    let mut keys: Vec<String> = std::iter::once(&item.title).chain(originals).map(|title| title_key(title)).collect();
    keys.retain(|key| !key.is_empty());
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn item(title: &str, domain: &str, genre: &str) -> Item {
        serde_json::from_value(
            serde_json::json!({"id": "a", "domain": domain, "title": title, "genres": [genre], "tags": [],
            "creators": [], "attributes": {}, "available": true}),
        )
        .unwrap()
    }

    #[test]
    fn an_item_that_changes_is_found_by_what_it_is_now_only() {
        let mut catalogue = Catalogue::default();
        let index = catalogue.upsert(item("Alien", "movie", "horror"));
        catalogue.upsert(Item { available: false, ..item("Alien", "movie", "horror") });
        assert!(!catalogue.is_available(index) && catalogue.titled("alien") == [index]);
        let [movie, game] = ["movie", "game"].map(|domain| Domain::new(domain).unwrap());
        assert_eq!((catalogue.of_domain(&movie), catalogue.len(), catalogue.changes()), (&[index][..], 1, 2));
        catalogue.upsert(item("Aliens", "game", "action"));
        assert!(catalogue.titled("alien").is_empty() && catalogue.of_domain(&movie).is_empty());
        assert_eq!((catalogue.titled("aliens"), catalogue.of_domain(&game)), (&[index][..], &[index][..]));
        assert!(
            catalogue.content().term("label horror").is_none() && catalogue.content().term("label action").is_some()
        );
        assert_eq!((catalogue.len(), catalogue.changes()), (1, 3));
        catalogue.remove(&ItemId::new("a").unwrap());
        assert!(catalogue.titled("aliens").is_empty() && catalogue.of_domain(&game).is_empty() && catalogue.is_empty());
    }

    #[test]
    fn titles_meet_without_article_year_case_and_accents() {
        for (a, b) in [
            ("The Matrix", "matrix"),
            ("Amélie (2001)", "amelie"),
            ("WALL·E", "Wall-E"),
            ("Matrix, The (1999)", "The Matrix"),
            ("臥虎藏龍", "卧虎藏龙"),
            ("千と千尋の神隠し", "千と千尋の神隠し"),
        ] {
            assert_eq!(title_key(a), title_key(b));
        }
        assert_eq!(title_key("1984"), "1984");
        assert_eq!(title_key("(2010)"), "2010");
    }
}
