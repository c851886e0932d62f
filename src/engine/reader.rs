//! Reader: what one taste asks for, found in what the catalogue knows. [`super::tastes`] says in which order.

use std::collections::BTreeSet;

use rayon::prelude::*;

use crate::domain::{Domain, ItemId};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::catalogue::{Catalogue, title_key};
use super::conditions::{self, Conditions};
use super::meanings::Meaning;
use super::scorers::content::Term;
use super::scorers::item_terms::{GENRE, TITLE, creator_term, label_term, word_term};
use super::spelling::Names;
use super::text;
use super::text_vectors;
use super::vocabulary::{self, Piece};
use super::wanted::{Period, Wanted};

/// A text that is part of titles stands for at most this many items; so many of those whose title it is say what is like it.
pub(super) const TITLES: usize = 8;

/// A text that the catalogue's words do not reach stands for this many items of each domain, the nearest of which it is met by so much.
const NEAREST: usize = 40;
const NEARNESS: f32 = 0.6;

/// Whether a text says so much that its meaning can be guessed: two words, or two characters that are words by themselves.
pub(super) fn is_phrase(text: &str) -> bool {
    text.split_whitespace().count() > 1 || text.chars().filter(|&c| text::is_unspaced(c)).count() > 1
}

/// Reads tastes given for one domain, or for all.
pub(super) struct Reader<'a> {
    pub catalogue: &'a Catalogue,
    pub model: Option<&'a BoundModel>,
    pub domain: Option<&'a Domain>,
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
    pub(super) fn understand(&self, text: &str) -> (Vec<Wanted>, bool) {
        let wanted = self.exact(text);
        if !wanted.is_empty() {
            return (wanted, false);
        }
        let listed = self.listed(text);
        if !listed.is_empty() {
            return (listed, false);
        }
        let FreeText { mut wanted, mut complete } = self.conditional(text);
        // Another name of a label that the catalogue lacks says what that label's own words say.
        if wanted.is_empty()
            && let Some(name) = vocabulary::own_name(text)
        {
            FreeText { wanted, complete } = self.free_text(name);
        }
        let search = wanted.is_empty() || !complete;
        (wanted, search)
    }

    /// Several tastes in one text, where each is something as a whole: "rock, jazz, metal".
    fn listed(&self, text: &str) -> Vec<Wanted> {
        let parts = || text.split([',', ';', '，', '；', '、']).map(str::trim).filter(|part| !part.is_empty());
        if parts().count() < 2 {
            return Vec::new();
        }
        let named = |part: &str| match self.exact(part) {
            found if found.is_empty() => vocabulary::own_name(part).map_or(found, |name| self.free_text(name).wanted),
            found => found,
        };
        let each: Option<Vec<Vec<Wanted>>> =
            parts().map(|part| Some(named(part)).filter(|found| !found.is_empty())).collect();
        each.unwrap_or_default().concat()
    }

    /// A free text, its conditions first.
    fn conditional(&self, text: &str) -> FreeText {
        let Conditions { rest, years, decades, without } =
            conditions::read(text, |name, is_first| self.unwanted(name, is_first));
        if years.is_none() && without.is_empty() {
            return self.free_text(text);
        }
        // "Music of the sixties" asks for no label "music".
        let is_all = text::terms(&rest).is_empty();
        let exact = if is_all { Vec::new() } else { self.exact(&rest) };
        let mut free = if is_all || !exact.is_empty() {
            FreeText { wanted: exact, complete: true }
        } else {
            self.free_text(&rest)
        };
        let content = self.catalogue.content();
        let labels =
            decades.iter().filter_map(|decade| content.term(&label_term(&vocabulary::concept(decade)))).collect();
        if let Some(period) = years.map(|years| Period { years, labels }).filter(|period| self.has_any_of(period)) {
            let all = free.wanted.drain(..);
            let (titles, others): (Vec<Wanted>, Vec<Wanted>) =
                all.partition(|wanted| matches!(wanted, Wanted::Titles(_)));
            if others.is_empty() {
                free.wanted.push(Wanted::Released(period.clone(), None));
            }
            free.wanted.extend(others.into_iter().map(|of| Wanted::Released(period.clone(), Some(Box::new(of)))));
            free.wanted.extend(titles);
        } else if is_all && without.is_empty() {
            // Nothing is of that time: what the words say is all that is left.
            return self.free_text(text);
        }
        if !without.is_empty() {
            free.wanted.push(Wanted::Without(without));
        }
        free
    }

    fn has_any_of(&self, period: &Period) -> bool {
        let own = self.catalogue.domains().filter(|(domain, _)| self.domain.is_none_or(|of| of == *domain));
        own.flat_map(|(_, items)| items).any(|&item| period.has(self.catalogue, item))
    }

    /// What is known by the name of something that is not wanted. One word may be any word of an item, unless nothing stands before the negation: that is how
    /// titles begin.
    fn unwanted(&self, name: &str, is_first: bool) -> Vec<Term> {
        let content = self.catalogue.content();
        let is_own = |term: &Term| content.items_of(*term).iter().any(|&(item, _)| self.is_own(item));
        let label = |concept: &str| content.term(&label_term(concept)).filter(is_own);
        let labels = vocabulary::pieces(name, |concept| label(concept).is_some(), |_, _| false).into_iter();
        let found: Vec<Term> = labels
            .filter_map(|piece| match piece {
                Piece::Label(concept) => label(&concept),
                Piece::Creator(_) | Piece::Word(_) => None,
            })
            .collect();
        if !found.is_empty() {
            return found;
        }
        let creators = self.creators(&text::squeeze(name));
        if !creators.is_empty() || is_first {
            return creators;
        }
        let words = text::terms(name);
        let [word] = &words[..] else { return Vec::new() };
        content.term(&word_term(word)).filter(is_own).into_iter().collect()
    }

    /// What a text asks for that may be misspelt, `wanted` as it stands; and, if that is not all, what may have been meant.
    pub(super) fn corrected(
        &self,
        names: &Names<'_>,
        text: &str,
        mut wanted: Vec<Wanted>,
    ) -> (Vec<Wanted>, Option<Option<String>>) {
        let key = text::squeeze(text);
        let nearest =
            names.label(self.domain, &key).or_else(|| names.title(&title_key(text))).or_else(|| names.creator(&key));
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
            Some(label) if genre || !named => {
                // What only other domains bear as a label may be a word of what is asked for.
                let is_foreign = !content.items_of(label).iter().any(|&(item, _)| self.is_own(item));
                let words = text::terms(text).into_iter().filter(|_| is_foreign);
                let words = words.filter_map(|word| content.term(&word_term(&word)));
                return vec![Wanted::Any(std::iter::once(label).chain(words).collect())];
            }
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
        let is_label = |concept: &str| content.term(&label_term(concept)).is_some();
        let is_creator = |words: &[String], is_sure: bool| self.is_creator(words, is_sure);
        let (mut labels, mut words, mut creators, mut complete) = (Vec::new(), Vec::new(), Vec::new(), true);
        for piece in vocabulary::pieces(rest, is_label, is_creator) {
            match piece {
                Piece::Label(concept) => labels.extend(content.term(&label_term(&concept))),
                Piece::Creator(name) => creators.extend(self.creators(&name)),
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
        if !creators.is_empty() {
            if labels.is_empty() && words.is_empty() {
                wanted.push(Wanted::Any(creators));
                return FreeText { wanted, complete };
            }
            labels.splice(0..0, creators);
        }
        if wanted.is_empty() && labels.is_empty() && words.len() <= 1 {
            // One word may be a surname as well.
            let surnames = self.creators(&text::squeeze(rest));
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

    /// Whether words within a text are the name of a creator. Of one word only, something says so, or it is known as nothing else.
    fn is_creator(&self, words: &[String], is_sure: bool) -> bool {
        let content = self.catalogue.content();
        match words {
            [word] => {
                let is_word = text::terms(word).iter().any(|word| content.term(&word_term(word)).is_some());
                (is_sure || !is_word) && !self.creators(word).is_empty()
            }
            _ => content.term(&creator_term(&words.concat())).is_some(),
        }
    }

    /// The creators of this name, squeezed; else those whose name ends with it.
    fn creators(&self, name: &str) -> Vec<Term> {
        let content = self.catalogue.content();
        if let Some(creator) = content.term(&creator_term(name)) {
            return vec![creator];
        }
        if name.chars().count() < 4 {
            return Vec::new();
        }
        content.creators_ending_with(name).collect()
    }
}
