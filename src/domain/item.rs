//! An item of the catalogue: an album, a film, a game.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Domain, ItemId};

/// A work that can be recommended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub id: ItemId,
    pub domain: Domain,
    pub title: String,
    pub genres: Vec<String>,
    pub tags: Vec<String>,
    pub description: Option<String>,
    pub creators: Vec<String>,
    /// The day of release; a work of which only the year is known counts as of 1 January.
    pub released: Option<Date>,
    /// Free facets to filter by, such as `language`; each a list of values. The values of
    /// `original_title` are matched like titles.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// An item that is not available is never returned, and keeps its behaviour.
    pub available: bool,
}

/// Labels as items have them: genres, tags, creators, values of an attribute. Without the blanks around each, and each once, so that a filter meets whoever
/// bears one.
#[must_use]
pub fn tidy_labels(labels: Vec<String>) -> Vec<String> {
    let mut tidy: Vec<String> = Vec::with_capacity(labels.len());
    for label in labels {
        let trimmed = label.trim();
        if !tidy.iter().any(|known| known == trimmed) {
            tidy.push(if trimmed.len() == label.len() { label } else { trimmed.to_owned() });
        }
    }
    tidy
}

/// Changes to an attribute: the new values, or `None` to remove it.
pub type AttributeChanges = BTreeMap<String, Option<Vec<String>>>;

/// Changes to an item: what is `None` stays as it is; the inner `None` clears a field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemPatch {
    pub domain: Option<Domain>,
    pub title: Option<String>,
    pub genres: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
    pub description: Option<Option<String>>,
    pub creators: Option<Vec<String>>,
    pub released: Option<Option<Date>>,
    /// Attributes that are not named stay.
    pub attributes: Option<Option<AttributeChanges>>,
    pub available: Option<bool>,
}

impl ItemPatch {
    /// Puts the changes into `item`.
    pub fn apply(self, item: &mut Item) {
        fn set<T>(slot: &mut T, change: Option<T>) {
            if let Some(value) = change {
                *slot = value;
            }
        }
        set(&mut item.domain, self.domain);
        set(&mut item.title, self.title);
        set(&mut item.genres, self.genres);
        set(&mut item.tags, self.tags);
        set(&mut item.description, self.description);
        set(&mut item.creators, self.creators);
        set(&mut item.released, self.released);
        match self.attributes {
            None => {}
            Some(None) => item.attributes.clear(),
            Some(Some(changes)) => {
                for (name, values) in changes {
                    match values {
                        Some(values) => item.attributes.insert(name, values),
                        None => item.attributes.remove(&name),
                    };
                }
            }
        }
        set(&mut item.available, self.available);
    }
}
