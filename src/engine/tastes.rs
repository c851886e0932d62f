//! Tastes: what a caller wrote, matched against what the catalogue knows.
//!
//! In this order: an item id; a genre of the taste's domain, in any known spelling or language; a title of that domain; a tag, or a genre of another
//! domain; a title of another domain; a creator; several of these in one text. Then free text ([`super::reader`]): its conditions ([`super::conditions`]),
//! "something like <title>", the words of a title, the labels, creators and words within the text.
//! A likely misspelling is corrected and used, and also stands in `unmatched` with the correction as its suggestion; so does what nothing matches. What a
//! phrase means that words explain in part or not at all is guessed by a table of word vectors ([`super::text_vectors`]), or, where a provider has been asked
//! about it, by its vectors ([`super::meanings`]).

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::{Taste, Unmatched};

use super::artifact::BoundModel;
use super::catalogue::Catalogue;
use super::known_taste::KnownTaste;
use super::meanings::Meaning;
use super::reader::{Reader, is_phrase};
use super::spelling::Names;
use super::view::View;
use super::wanted::Resolved;

/// A search for a misspelling reads all labels and titles, so that only the first few of a request get one.
const MISSPELLINGS: usize = 32;

/// What one taste, as it was written, came to.
#[derive(Debug)]
pub struct Understood {
    pub known: Vec<Arc<KnownTaste>>,
    /// Of a taste that nothing matches, or only after a correction: what may have been meant.
    unmatched: Option<Option<String>>,
    /// Some or all of it may be a misspelling, which was searched for.
    search: bool,
    /// What it means may be asked of a provider, which has not answered.
    awaits: bool,
}

/// Matches the tastes of a request: those understood, and those that nothing matches, or only after a correction. What each came to is kept in the view, so that
/// it is searched for once, until the catalogue changes; what is kept counts among the searches of a request like what is searched for now, so that asking again
/// gives the same.
#[must_use]
pub fn resolve(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    view: &View,
    tastes: &[Taste],
) -> (Vec<Arc<KnownTaste>>, Vec<Unmatched>) {
    let mut all: Vec<Arc<KnownTaste>> = Vec::with_capacity(tastes.len());
    let mut unmatched = Vec::new();
    let names = OnceCell::new();
    let mut searches = 0;
    for taste in tastes {
        let kept = view.taste(taste).filter(|kept| !kept.awaits || !is_known(model, &taste.text));
        searches += usize::from(kept.as_ref().is_some_and(|kept| kept.search));
        let kept = kept.filter(|kept| !kept.search || searches <= MISSPELLINGS);
        let understood = kept.unwrap_or_else(|| {
            let reader = Reader { catalogue, model, domain: taste.domain.as_ref() };
            let (wanted, search) = reader.understand(&taste.text);
            searches += usize::from(search);
            let is_whole = !search || searches <= MISSPELLINGS;
            let (wanted, unmatched) = match search {
                true if is_whole => reader.corrected(names.get_or_init(|| Names::new(catalogue)), &taste.text, wanted),
                true if wanted.is_empty() => (wanted, Some(None)),
                _ => (wanted, None),
            };
            let of = |wanted| Resolved { domain: taste.domain.clone(), text: taste.text.clone(), wanted };
            let known = wanted.into_iter().map(|wanted| Arc::new(KnownTaste::new(catalogue, model, view, of(wanted))));
            // Also where the provider was asked for another model, or what it said has been forgotten.
            let is_asked = model.is_some_and(|model| model.model.meanings.is_some());
            let awaits = search && is_asked && is_phrase(&taste.text) && !is_known(model, &taste.text);
            let understood = Arc::new(Understood { known: known.collect(), unmatched, search, awaits });
            if is_whole {
                view.keep(taste, &understood);
            }
            understood
        });
        all.extend(understood.known.iter().map(Arc::clone));
        unmatched.extend(understood.unmatched.as_ref().map(|suggestion| Unmatched {
            pointer: taste.pointer.clone(),
            value: taste.text.clone(),
            suggestion: suggestion.clone(),
        }));
    }
    (all, unmatched)
}

/// The texts of these tastes that the catalogue's words do not explain, and of which nothing else is known either.
#[must_use]
pub fn unexplained(catalogue: &Catalogue, model: &BoundModel, tastes: &[Taste]) -> BTreeSet<String> {
    // Where there is none yet, making one is not worth the wait: this is asked before the ranking, on the caller's thread.
    let view = model.kept_view(catalogue);
    let is_unexplained = |taste: &&Taste| match view.as_ref().and_then(|view| view.taste(taste)) {
        Some(kept) => kept.awaits,
        None => {
            let reader = Reader { catalogue, model: Some(model), domain: taste.domain.as_ref() };
            is_phrase(&taste.text) && reader.understand(&taste.text).1
        }
    };
    let texts = tastes.iter().filter(|taste| !is_known(Some(model), &taste.text)).filter(is_unexplained);
    texts.map(|taste| taste.text.clone()).collect()
}

fn is_known(model: Option<&BoundModel>, text: &str) -> bool {
    model.is_some_and(|model| matches!(model.texts.get(text), Meaning::Known(_)))
}

#[cfg(test)]
mod tests {
    use crate::domain::Domain;

    use super::*;

    #[test]
    fn asking_again_searches_for_no_more_misspellings() {
        let film = serde_json::json!({"id": "a", "domain": "movie", "title": "Casablanca", "genres": [], "tags": [],
            "creators": [], "attributes": {}, "available": true});
        let mut catalogue = Catalogue::new(&[Domain::new("movie").unwrap()]);
        catalogue.upsert(serde_json::from_value(film).unwrap());
        let view = View::new(&catalogue, None);
        let misspelt = |end| Taste { domain: None, text: format!("casablan{end}"), pointer: String::new() };
        let tastes: Vec<Taste> = (10..53).map(misspelt).collect();
        let first = resolve(&catalogue, None, &view, &tastes).1;
        assert_eq!(first.iter().filter(|taste| taste.suggestion.is_some()).count(), MISSPELLINGS);
        assert_eq!(resolve(&catalogue, None, &view, &tastes).1, first);
        assert!(resolve(&catalogue, None, &view, &tastes[42..]).1[0].suggestion.is_some(), "the first of its request");
        assert_eq!(resolve(&catalogue, None, &view, &tastes).1, first, "also when more of them are kept");
    }
}
