//! The vectors of the items' texts, for what the catalogue's own words do not reach: each made when it is first asked for, or all of them beside, without anybody waiting.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Catalogue;
use crate::domain::Item;
use crate::engine::ItemIndex;
use crate::engine::text_vectors::{self, Vector};

/// The vector of an item's text; `None`: its words are unknown.
pub type TextVector = Option<Box<Vector>>;

impl Catalogue {
    /// From now on [`Self::vector`] gives what is made already and nobody waits for the rest, which somebody makes beside: with [`Self::lacking`], [`embedded`] and
    /// [`Self::keep_vectors`]. To make all of them takes a large catalogue half a minute. Without this, each is made when it is first asked for.
    pub fn embed_beside(&mut self) {
        self.embeds_beside = true;
    }

    /// The vector of the item at this place (see [`embedded`]); `None`: it has none, or it is not made yet.
    #[must_use]
    pub fn vector(&self, index: ItemIndex) -> Option<&Vector> {
        let (item, made) = (self.get(index)?, &self.vectors[index.0 as usize]);
        if !self.embeds_beside {
            return made.get_or_init(|| embedded(item)).as_deref();
        }
        if made.get().is_none() {
            self.lacked.store(true, Ordering::Relaxed);
        }
        made.get()?.as_deref()
    }

    /// The next items from this place on whose vectors are not made, `most` of them at most, and the place to go on from; `None` where it ends.
    #[must_use]
    pub fn lacking(&self, from: usize, most: usize) -> (Vec<(ItemIndex, Arc<Item>)>, Option<usize>) {
        let mut items = Vec::new();
        for place in from..self.items.len() {
            if items.len() == most {
                return (items, Some(place));
            }
            if let Some(item) = self.items[place].as_ref().filter(|_| self.vectors[place].get().is_none()) {
                items.push((ItemIndex(place as u32), Arc::clone(item)));
            }
        }
        (items, None)
    }

    /// Keeps the vectors that were made of these items, as far as they are the same still.
    pub fn keep_vectors(&self, made: Vec<(ItemIndex, Arc<Item>, TextVector)>) {
        for (index, of, vector) in made {
            let place = index.0 as usize;
            if self.items[place].as_ref().is_some_and(|item| Arc::ptr_eq(item, &of)) {
                // One that somebody else has made is the same.
                let _ = self.vectors[place].set(vector);
            }
        }
    }

    /// Whether somebody has gone without a vector that was not made yet.
    #[must_use]
    pub fn has_lacked(&self) -> bool {
        self.lacked.load(Ordering::Relaxed)
    }

    /// After vectors were made: if somebody went without one, the catalogue counts as changed, so that what came of it is not given again.
    pub fn end_lack(&mut self) {
        self.changes += u64::from(std::mem::take(self.lacked.get_mut()));
    }
}

/// The vector of the title, genres and tags of an item; of its title and description, where it has neither of the others.
#[must_use]
pub fn embedded(item: &Item) -> TextVector {
    text_vectors::embed(&embedded_text(item)).map(Box::new)
}

pub(super) fn embedded_text(item: &Item) -> String {
    if item.genres.is_empty() && item.tags.is_empty() {
        return [&*item.title, &*item.description.as_deref().map_or_else(String::new, beginning)].join(". ");
    }
    [&*item.title, &*item.genres.join(", "), &*item.tags.join(", ")].join(". ")
}

/// As much of a description as says what an item is about.
fn beginning(description: &str) -> String {
    description.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ReadItem;
    use super::super::tests::item;
    use super::*;

    #[test]
    fn vectors_are_made_at_once_or_beside() {
        let mut catalogue = Catalogue::default();
        let index = catalogue.upsert(item("Summer rain", "music", "jazz"));
        let vector = *catalogue.vector(index).unwrap();
        catalogue.embed_beside();
        catalogue.upsert(Item { available: false, ..item("Summer rain", "music", "jazz") });
        assert_eq!(catalogue.vector(index), Some(&vector), "its text is the same");
        catalogue.upsert(item("Winter snow", "music", "jazz"));
        let before = catalogue.changes();
        let (lacking, None) = catalogue.lacking(0, 9) else { panic!("one place is all") };
        assert_eq!((lacking.len(), catalogue.vector(index)), (1, None));
        let made =
            |of: &[(ItemIndex, Arc<Item>)]| of.iter().map(|(at, of)| (*at, Arc::clone(of), embedded(of))).collect();
        catalogue.upsert(item("Winter sun", "music", "jazz"));
        catalogue.keep_vectors(made(&lacking));
        assert_eq!(catalogue.vector(index), None, "that was of another text");
        let (lacking, _) = catalogue.lacking(0, 9);
        catalogue.keep_vectors(made(&lacking));
        assert!(catalogue.vector(index).is_some() && catalogue.lacking(0, 9) == (Vec::new(), None));
        catalogue.end_lack();
        assert_eq!(catalogue.changes(), before + 2, "somebody went without");
        catalogue.end_lack();
        assert_eq!(catalogue.changes(), before + 2);
        catalogue.upsert_read(ReadItem::with_vector(item("Summer rain", "music", "jazz")));
        assert_eq!(catalogue.vector(index), Some(&vector));
    }
}
