//! Tastes: what a caller wrote, matched against what the catalogue knows.
//!
//! In this order: an item id; a genre of the taste's domain, in any known spelling or language; a title of that domain; a tag, or a genre of another
//! domain; a title of another domain; a creator. Then free text: "something like <title>", the words of a title, the labels and words within the text.
//! A likely misspelling is corrected and used, and also stands in `unmatched` with the correction as its suggestion; so does what nothing matches. What a
//! phrase means that words explain in part or not at all is guessed by a table of word vectors ([`super::text_vectors`]), or, where a provider has been asked
//! about it, by its vectors ([`super::meanings`]).

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::prelude::*;

use crate::domain::{Domain, ItemId, Taste, Unmatched};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::catalogue::{Catalogue, title_key};
use super::known_taste::KnownTaste;
use super::meanings::Meaning;
use super::scorers::content::Term;
use super::scorers::item_terms::{GENRE, TITLE, creator_term, label_term, word_term};
use super::spelling::Names;
use super::text;
use super::text_vectors;
use super::view::View;
use super::vocabulary::{self, Piece};

/// A search for a misspelling reads all labels and titles, so that only the first few of a request get one.
const MISSPELLINGS: usize = 32;
/// A text that is part of titles stands for at most this many items; so many of those whose title it is say what is like it.
pub(super) const TITLES: usize = 8;

/// A text that the catalogue's words do not reach stands for this many items of each domain, the nearest of which it is met by so much.
const NEAREST: usize = 40;
const NEARNESS: f32 = 0.6;

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
}

/// One taste that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// For which domain it was given; `None` for all.
    pub domain: Option<Domain>,
    /// As the caller wrote it.
    pub text: String,
    pub wanted: Wanted,
}

/// What one taste, as it was written, came to.
#[derive(Debug)]
pub struct Understood {
    pub known: Vec<Arc<KnownTaste>>,
    /// Of a taste that nothing matches, or only after a correction: what may have been meant.
    unmatched: Option<Option<String>>,
    /// Some or all of it may be a misspelling, which was searched for.
    search: bool,
    /// What it means was asked of a provider that had not answered.
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
            let awaits = search && model.is_some_and(|model| model.texts.get(&taste.text) == Meaning::Awaited);
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

/// Whether a text says so much that its meaning can be guessed: two words, or two characters that are words by themselves.
fn is_phrase(text: &str) -> bool {
    text.split_whitespace().count() > 1 || text.chars().filter(|&c| text::is_unspaced(c)).count() > 1
}

/// Reads tastes given for one domain, or for all.
struct Reader<'a> {
    catalogue: &'a Catalogue,
    model: Option<&'a BoundModel>,
    domain: Option<&'a Domain>,
}

/// What a free text asks for, and whether each of its words that says something was understood.
struct FreeText {
    wanted: Vec<Wanted>,
    complete: bool,
}

impl Reader<'_> {
    fn is_own(&self, item: ItemIndex) -> bool {
        self.domain.is_none_or(|domain| self.catalogue.get(item).is_some_and(|item| item.domain == *domain))
    }

    /// What a text asks for as it stands, and whether some or all of it may be a misspelling.
    fn understand(&self, text: &str) -> (Vec<Wanted>, bool) {
        let wanted = self.exact(text);
        if !wanted.is_empty() {
            return (wanted, false);
        }
        let FreeText { wanted, complete } = self.free_text(text);
        let search = wanted.is_empty() || !complete;
        (wanted, search)
    }

    /// What a text asks for that may be misspelt, `wanted` as it stands; and, if that is not all, what may have been meant.
    fn corrected(
        &self,
        names: &Names<'_>,
        text: &str,
        mut wanted: Vec<Wanted>,
    ) -> (Vec<Wanted>, Option<Option<String>>) {
        let nearest = names.label(self.domain, &text::squeeze(text)).or_else(|| names.title(&title_key(text)));
        let sure = nearest.as_ref().filter(|nearest| nearest.certain);
        let mut corrected = sure.map_or_else(Vec::new, |nearest| self.exact(&nearest.name));
        if corrected.is_empty() && !wanted.is_empty() {
            wanted.extend(self.meaning(text));
            return (wanted, None);
        }
        if corrected.is_empty() {
            corrected.extend(self.meaning(text));
        }
        (corrected, Some(nearest.map(|nearest| nearest.name)))
    }

    /// What comes near a phrase by its meaning.
    fn meaning(&self, text: &str) -> Option<Wanted> {
        is_phrase(text).then(|| self.meant(text).or_else(|| self.guessed(text)))?
    }

    /// The items that a provider's vectors find for the text, where it has been asked about it.
    fn meant(&self, text: &str) -> Option<Wanted> {
        let model = self.model?;
        let (meanings, Meaning::Known(vector)) = (model.model.meanings.as_ref()?, model.texts.get(text)) else {
            return None;
        };
        Some(self.nearest(|item| Some(meanings.cosine(model.column(item)?, &vector))))
    }

    /// The items that the table of word vectors finds for it.
    fn guessed(&self, text: &str) -> Option<Wanted> {
        let vector = text_vectors::knows_a_word(text).then(|| text_vectors::embed(text))??;
        Some(self.nearest(|item| Some(text_vectors::cosine(self.catalogue.vector(item)?, &vector))))
    }

    /// Of each domain the few items that come nearest: the nearest is met by more than half, for meaning is a guess, and the first that is too far by nothing.
    fn nearest(&self, cosine: impl Fn(ItemIndex) -> Option<f32> + Sync) -> Wanted {
        let mut near = Vec::new();
        for (_, items) in self.catalogue.domains() {
            let cosines = items.par_iter().filter_map(|&item| Some((cosine(item)?, item)));
            let mut nearest: Vec<(f32, ItemIndex)> = cosines.filter(|(cosine, _)| *cosine > 0.0).collect();
            let id = |item: ItemIndex| self.catalogue.id(item);
            nearest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| id(a.1).cmp(id(b.1))));
            // Where there are not so many, one that has nothing to do with the text.
            let least = nearest.get(NEAREST).map_or(0.0, |first_too_far| first_too_far.0);
            nearest.truncate(NEAREST);
            let Some(&(most, _)) = nearest.first() else { continue };
            let met = |cosine: f32| NEARNESS * (cosine - least) / (most - least).max(f32::MIN_POSITIVE);
            near.extend(nearest.into_iter().map(|(cosine, item)| (item, met(cosine))));
        }
        Wanted::Near(near)
    }

    /// The text as a whole is the id of an item, a label, a title or a creator.
    fn exact(&self, text: &str) -> Vec<Wanted> {
        let content = self.catalogue.content();
        let id = ItemId::new(text).ok().and_then(|id| self.catalogue.index_of(&id));
        if let Some(index) = id.filter(|&index| self.catalogue.get(index).is_some()) {
            return vec![Wanted::Titles(vec![index])];
        }
        let key = text::squeeze(text);
        if key.is_empty() {
            return Vec::new();
        }
        let label = content.term(&label_term(&vocabulary::concept(text)));
        let titles = self.titled(&title_key(text));
        // "Alien" is a film before it is a theme, and "horror" a genre before it is some film's title.
        let genre = label.is_some_and(|label| {
            content.items_of(label).iter().any(|&(item, field)| field >= GENRE && self.is_own(item))
        });
        let named = titles.first().is_some_and(|&title| self.is_own(title));
        match label {
            Some(label) if genre || !named => return vec![Wanted::Any(vec![label])],
            _ if !titles.is_empty() => return vec![Wanted::Titles(titles)],
            _ => {}
        }
        content.term(&creator_term(&key)).map(|creator| Wanted::Any(vec![creator])).into_iter().collect()
    }

    /// The items of this title: those of the own domain if there are any, else those of the others.
    fn titled(&self, key: &str) -> Vec<ItemIndex> {
        self.own_first(self.catalogue.titled(key).to_vec())
    }

    fn own_first(&self, mut items: Vec<ItemIndex>) -> Vec<ItemIndex> {
        if items.iter().any(|&item| self.is_own(item)) {
            items.retain(|&item| self.is_own(item));
        }
        items.sort_unstable_by_key(|&item| self.catalogue.id(item));
        items
    }

    fn free_text(&self, text: &str) -> FreeText {
        let content = self.catalogue.content();
        let (named, rest) = self.named_within(text);
        let rest = rest.as_deref().unwrap_or(text);
        let (mut labels, mut words, mut complete) = (Vec::new(), Vec::new(), true);
        for piece in vocabulary::pieces(rest, |concept| content.term(&label_term(concept)).is_some()) {
            match piece {
                Piece::Label(concept) => labels.extend(content.term(&label_term(&concept))),
                Piece::Word(word) => {
                    let names = text::terms(&word);
                    let known = names.iter().filter_map(|name| content.term(&word_term(name)));
                    let before = words.len();
                    words.extend(known);
                    complete &= words.len() > before || names.is_empty();
                }
            }
        }
        let mut wanted: Vec<Wanted> = named.into_iter().collect();
        if wanted.is_empty() && labels.is_empty() && words.len() <= 1 {
            // One word may be a surname as well.
            let surnames = self.surnames(rest);
            complete |= !surnames.is_empty();
            let any: Vec<Term> = words.into_iter().chain(surnames).collect();
            wanted.extend((!any.is_empty()).then_some(Wanted::Any(any)));
            return FreeText { wanted, complete };
        }
        if wanted.is_empty() && !words.is_empty() {
            let titles = self.titled_with(rest);
            if !titles.is_empty() {
                return FreeText { wanted: vec![Wanted::Alike(titles)], complete };
            }
        }
        labels.extend(words);
        let mut seen = BTreeSet::new();
        labels.retain(|term| seen.insert(*term));
        wanted.extend((!labels.is_empty()).then_some(Wanted::Terms(labels)));
        FreeText { wanted, complete }
    }

    /// "something like Zelda but short": what stands behind "like" is most likely a title; gives it and the rest of the text.
    fn named_within(&self, text: &str) -> (Option<Wanted>, Option<String>) {
        let folded = text::fold(text);
        for marker in ["similar to ", "like ", "类似", "像"] {
            let Some((before, after)) = folded.split_once(marker) else { continue };
            let ends = [" but ", " and ", " with ", " only ", ",", "，", "的", "但", "一样"];
            let cut = ends.iter().filter_map(|end| after.find(end)).min().unwrap_or(after.len());
            let (name, rest) = after.split_at(cut);
            let rest = format!("{before} {rest}");
            let titles = self.titled(&title_key(name));
            if !titles.is_empty() {
                return (Some(Wanted::Titles(titles)), Some(rest));
            }
            let content = self.catalogue.content();
            if content.term(&label_term(&vocabulary::concept(name))).is_some() {
                continue;
            }
            let titles = self.titled_with(name);
            if !titles.is_empty() {
                return (Some(Wanted::Alike(titles)), Some(rest));
            }
        }
        (None, None)
    }

    /// The items whose title has all words of this text, those with the shortest titles.
    fn titled_with(&self, text: &str) -> Vec<ItemIndex> {
        let content = self.catalogue.content();
        let words: Option<Vec<Term>> = text::terms(text).iter().map(|term| content.term(&word_term(term))).collect();
        let words = words.unwrap_or_default();
        let Some(&rarest) = words.iter().min_by_key(|&&word| content.items_of(word).len()) else { return Vec::new() };
        let items = content.items_of(rarest).iter().map(|&(item, _)| item);
        let has_all = |item: &ItemIndex| words.iter().all(|&word| content.has(*item, word) >= TITLE);
        let mut titles = self.own_first(items.filter(has_all).collect());
        titles.sort_by_key(|&item| self.catalogue.get(item).map_or(0, |item| item.title.len()));
        titles.truncate(TITLES);
        titles
    }

    /// Creators whose name ends with this word.
    fn surnames(&self, text: &str) -> Vec<Term> {
        let key = text::squeeze(text);
        if key.chars().count() < 4 {
            return Vec::new();
        }
        let creators =
            self.catalogue.content().terms().filter_map(|(name, term)| Some((name.strip_prefix("creator ")?, term)));
        let mut found: Vec<(&str, Term)> = creators.filter(|(name, _)| name.ends_with(&key)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, term)| term).collect()
    }
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
        Wanted::Titles(_) => return Met(Cow::Borrowed(&[])),
        Wanted::Any(terms) => {
            for &(item, field) in terms.iter().flat_map(|&term| content.items_of(term)) {
                let met = &mut out[item.0 as usize];
                *met = met.max(field);
            }
        }
        Wanted::Terms(terms) => {
            let total: f32 = terms.iter().map(|&term| content.idf(term)).sum();
            for &term in terms {
                let share = content.idf(term) / total.max(f32::MIN_POSITIVE);
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

#[cfg(test)]
mod tests {
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
