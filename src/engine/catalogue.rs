//! The live catalogue: items in memory, with what the content scorer needs to find them by taste.

use crate::domain::{Domain, Item, ItemId};

use super::ItemIndex;

/// All items a process knows, kept up to date one item at a time: a change costs the terms of that item, not a rebuild.
#[derive(Debug, Default)]
pub struct Catalogue {}

impl Catalogue {
    /// An empty catalogue over the configured domains.
    #[must_use]
    pub fn new(_domains: &[Domain]) -> Self {
        todo!()
    }
    /// Stores an item; replaces the one of the same id, which keeps its index.
    pub fn upsert(&mut self, _item: Item) -> ItemIndex {
        todo!()
    }
    /// Forgets an item; its index stays reserved for its id. Whether there was one.
    pub fn remove(&mut self, _id: &ItemId) -> bool {
        todo!()
    }
    /// The index of this id; gives one if it has none yet (a model may know items that the catalogue does not).
    pub fn reserve(&mut self, _id: &ItemId) -> ItemIndex {
        todo!()
    }
    #[must_use]
    pub fn index_of(&self, _id: &ItemId) -> Option<ItemIndex> {
        todo!()
    }
    #[must_use]
    pub fn get(&self, _index: ItemIndex) -> Option<&Item> {
        todo!()
    }
    /// How many items there are (reserved places do not count).
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
