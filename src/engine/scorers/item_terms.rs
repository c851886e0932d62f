//! What an item is found by: its terms, read from its text.

use crate::domain::Item;
use crate::engine::{text, vocabulary};

/// How much a term counts by the field it stands in: genres first, then creators and the time of release, the other labels and words. All are eighths, so that
/// sums of their products are exact and do not depend on the order in which items came.
pub const GENRE: f32 = 1.0;
const CREATOR: f32 = 0.875;
const TAG: f32 = 0.75;
pub const TITLE: f32 = 0.625;
const DESCRIPTION: f32 = 0.375;
const ERA: f32 = 0.875;
/// From the middle of one era to that of the next: a power of two, so that shares keep those sums exact.
const YEARS: i16 = 4;
/// What the names of terms begin with.
const LABEL: &str = "label ";
pub(super) const CREATED_BY: &str = "creator ";
const WORD: &str = "word ";

/// The name of a label's term: the same for a genre, a tag, and each of its spellings.
#[must_use]
pub fn label_term(concept: &str) -> String {
    [LABEL, concept].concat()
}

/// The name of a creator's term.
#[must_use]
pub fn creator_term(squeezed: &str) -> String {
    [CREATED_BY, squeezed].concat()
}

/// The name of a word's term.
#[must_use]
pub fn word_term(term: &str) -> String {
    [WORD, term].concat()
}

/// Whether a term is a mere word, by its name.
#[must_use]
pub fn is_word(name: &str) -> bool {
    name.starts_with(WORD)
}

/// The names of the terms of the two eras that a year lies between, with its shares of them: years that are near each other have much in common, and none begins a
/// new world.
pub(super) fn eras(year: i16) -> [(String, f32); 2] {
    let (era, years) = (year.div_euclid(YEARS), year.rem_euclid(YEARS));
    let share = f32::from(years) / f32::from(YEARS);
    [(era, 1.0 - share), (era + 1, share)].map(|(era, share)| (format!("era {}", era * YEARS), share))
}

/// What an item is found by: the names of its terms with the weights of the fields that they stand in, one for each time. Most of the work of taking an item in is
/// to read these from its text, and it needs no index.
#[derive(Debug, Default)]
pub struct ItemTerms {
    /// The names, one behind the other.
    names: String,
    /// Where each ends, and its weight.
    ends: Vec<(u32, f32)>,
}

impl ItemTerms {
    #[must_use]
    pub fn of(item: &Item) -> Self {
        let mut terms = Self::default();
        for (labels, weight) in [(&item.genres, GENRE), (&item.tags, TAG)] {
            for label in labels {
                let concept = vocabulary::concept(label);
                if !concept.is_empty() {
                    terms.add(LABEL, &concept, weight);
                }
            }
        }
        for creator in &item.creators {
            let creator = text::squeeze(creator);
            if !creator.is_empty() {
                terms.add(CREATED_BY, &creator, CREATOR);
            }
        }
        let eras = item.released.into_iter().flat_map(|day| eras(day.year()));
        for (era, share) in eras.filter(|(_, share)| *share > 0.0) {
            terms.add("", &era, ERA * share);
        }
        let titles = std::iter::once(&item.title).chain(item.attributes.get("original_title").into_iter().flatten());
        for title in titles {
            text::each_term(text::without_year(title), |term| terms.add(WORD, term, TITLE));
        }
        // A label is also found by its words ("noir" finds "film noir"), and a tag of several words by each.
        for words in item.tags.iter().chain(&item.genres).chain(&item.description) {
            text::each_term(words, |term| terms.add(WORD, term, DESCRIPTION));
        }
        terms
    }

    fn add(&mut self, kind: &str, name: &str, weight: f32) {
        self.names.push_str(kind);
        self.names.push_str(name);
        self.ends.push((self.names.len() as u32, weight));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, f32)> {
        let mut start = 0;
        self.ends
            .iter()
            .map(move |&(end, weight)| (&self.names[std::mem::replace(&mut start, end as usize)..end as usize], weight))
    }
}
