//! What a model is told of the person and of the candidates. Titles and descriptions are data: they travel as JSON strings, cut to a length, and the
//! model answers by their numbers.

use std::fmt::Write as _;

use crate::domain::Item;
use crate::engine::rerank::short_list::Known;

/// The longest text of one candidate, in characters.
const CANDIDATE: usize = 400;
/// The longest text of the person.
const PERSON: usize = 2_000;

/// One person and the candidates that are to be scored for them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShortList {
    pub person: String,
    pub candidates: Vec<String>,
}

impl ShortList {
    #[must_use]
    pub fn new<'a>(known: &Known, candidates: impl IntoIterator<Item = &'a Item>) -> Self {
        Self { person: person_text(known), candidates: candidates.into_iter().map(item_text).collect() }
    }
}

fn person_text(known: &Known) -> String {
    let named = |item: &Item| match item.genres.as_slice() {
        [] => item.title.clone(),
        genres => format!("{} ({})", item.title, genres.join(", ")),
    };
    let mut text = String::new();
    let mut line = |name: &str, entries: Vec<String>| {
        if !entries.is_empty() {
            let _ = writeln!(text, "{name}: {}", entries.join("; "));
        }
    };
    line("Wants", known.tastes.clone());
    line("Liked", known.liked.iter().map(named).collect());
    line("Disliked", known.disliked.iter().map(named).collect());
    cut(&text, PERSON)
}

/// An item as one line: title, year, creators, genres, tags, description.
fn item_text(item: &Item) -> String {
    let mut text = item.title.clone();
    if let Some(released) = item.released {
        let _ = write!(text, " ({})", released.year());
    }
    for (name, entries) in [("by", &item.creators), ("genres", &item.genres), ("tags", &item.tags)] {
        if !entries.is_empty() {
            let _ = write!(text, "; {name}: {}", entries.join(", "));
        }
    }
    if let Some(description) = &item.description {
        let _ = write!(text, "; {description}");
    }
    cut(&text, CANDIDATE)
}

/// Without control characters, and not longer than `most` characters.
fn cut(text: &str, most: usize) -> String {
    text.trim().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).take(most).collect()
}
