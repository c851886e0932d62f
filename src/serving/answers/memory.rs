//! How much memory a kept answer takes: question and answer with all that they own, for a question may be a thousand times as long as its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Kept, Question, State};
use crate::domain::{
    Degradation, Domain, Filter, Filters, Interaction, ItemId, ModelRef, Query, RankedItem, Reason, Recommendation,
    Rerank, SetFilter, Taste, Unmatched, UserId,
};

/// How many bytes an entry takes, rather too many than too few.
pub(super) fn taken(kept: &Arc<Kept>) -> u32 {
    u32::try_from(1_000 + size_of::<Kept>() + kept.owned()).unwrap_or(u32::MAX)
}

/// What can own memory beside its own.
trait Owner {
    /// How many bytes.
    fn owned(&self) -> usize;
}

/// What an allocator takes for so many bytes.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { 16 + bytes + bytes / 4 }
}

impl Owner for str {
    fn owned(&self) -> usize {
        allocated(self.len())
    }
}

impl Owner for String {
    fn owned(&self) -> usize {
        allocated(self.capacity())
    }
}

impl<T: Owner> Owner for Vec<T> {
    fn owned(&self) -> usize {
        allocated(self.capacity() * size_of::<T>()) + self.iter().map(T::owned).sum::<usize>()
    }
}

impl<T: Owner> Owner for Option<T> {
    fn owned(&self) -> usize {
        self.as_ref().map_or(0, T::owned)
    }
}

impl<A: Owner, B: Owner> Owner for (A, B) {
    fn owned(&self) -> usize {
        self.0.owned() + self.1.owned()
    }
}

/// The nodes of a tree have room for 11 entries each, and all but one hold at least 5.
fn nodes<T>(entries: usize) -> usize {
    entries.div_ceil(5) * allocated(11 * size_of::<T>() + 128)
}

impl<T: Owner> Owner for BTreeSet<T> {
    fn owned(&self) -> usize {
        nodes::<T>(self.len()) + self.iter().map(T::owned).sum::<usize>()
    }
}

impl<K: Owner, V: Owner> Owner for BTreeMap<K, V> {
    fn owned(&self) -> usize {
        nodes::<(K, V)>(self.len()) + self.iter().map(|(key, value)| key.owned() + value.owned()).sum::<usize>()
    }
}

impl Owner for Rerank {
    fn owned(&self) -> usize {
        match self {
            Self::None => 0,
            Self::By(name) => name.owned(),
        }
    }
}

impl Owner for Degradation {
    fn owned(&self) -> usize {
        0
    }
}

macro_rules! ids {
    ($($name:ident)*) => {
        $(impl Owner for $name {
            fn owned(&self) -> usize {
                self.as_str().owned()
            }
        })*
    };
}

ids! { Domain ItemId UserId }

/// All fields of each type; those that own nothing come last. One that is left out does not compile, so that none is forgotten.
macro_rules! owners {
    ($($name:ident { $($part:ident),*; $($plain:ident),* })*) => {
        $(impl Owner for $name {
            fn owned(&self) -> usize {
                let Self { $($part,)* $($plain: _,)* } = self;
                0 $(+ $part.owned())*
            }
        })*
    };
}

owners! {
    Kept { question, state, answer; }
    State { version; changes }
    Question { query; history, is_whole }
    Query {
        tastes, user_id, session, domains, filters, exclude, model, rerank;
        limit, include_seen, diversity, explain, deadline, min_watermark
    }
    Taste { domain, text, pointer; }
    Interaction { item_id; kind, value, at }
    Filters { common, by_domain; }
    Filter { genres, attributes, items; released_from, released_to }
    SetFilter { any, all, none; }
    Recommendation { model, lists, unmatched, degraded; }
    ModelRef { name, version; trained_at }
    // The item is the catalogue's.
    RankedItem { reasons; item, score }
    Reason { text, names, evidence; code, weight }
    Unmatched { pointer, value, suggestion; }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{named, query};
    use super::*;
    use crate::domain::{Item, ReasonCode};

    #[test]
    fn whatever_an_entry_holds_is_weighed() {
        const LONG: usize = 50_000;
        let long = || "x".repeat(LONG);
        let unmatched = || Unmatched { pointer: String::new(), value: String::new(), suggestion: None };
        let reason = || Reason {
            code: ReasonCode::Popular,
            text: String::new(),
            names: Vec::new(),
            evidence: Vec::new(),
            weight: 1.0,
        };
        let item: Item = serde_json::from_value(serde_json::json!({"id": "a", "domain": "music", "title": "A",
            "genres": [], "tags": [], "creators": [], "attributes": {}, "available": true}))
        .unwrap();
        let item = Arc::new(item);
        let listed = |reason| {
            let ranked = RankedItem { item: Arc::clone(&item), score: 1.0, reasons: vec![reason] };
            Recommendation { lists: vec![(item.domain.clone(), vec![ranked])], ..named("hybrid") }
        };
        let filters = |common| Filters { common, by_domain: BTreeMap::new() };
        let labels = || SetFilter { none: vec![long()], ..SetFilter::default() };
        let of_attribute = |name, set| Filter { attributes: [(name, set)].into(), ..Filter::default() };
        let of_genres = |genres| Filter { genres, ..Filter::default() };
        let asked = [
            filters(of_genres(SetFilter { any: vec![long()], ..SetFilter::default() })),
            filters(of_genres(SetFilter { all: vec![long()], ..SetFilter::default() })),
            filters(of_genres(labels())),
            filters(of_attribute("language".to_owned(), labels())),
            filters(of_attribute(long(), SetFilter::default())),
            Filters { by_domain: [(item.domain.clone(), of_genres(labels()))].into(), ..Filters::default() },
            filters(Filter {
                items: Some((0..LONG / 100).map(|n| ItemId::new(format!("{n:0100}")).unwrap()).collect()),
                ..Filter::default()
            }),
        ];
        let asked = asked.map(|filters| Query { filters, ..query("rock") });
        let others = [
            query(&long()),
            Query { model: Some(long()), ..query("rock") },
            Query { rerank: Rerank::By(long()), ..query("rock") },
            Query { exclude: vec![item.id.clone(); LONG / 24], ..query("rock") },
        ];
        let answers = [
            Recommendation { unmatched: vec![Unmatched { pointer: long(), ..unmatched() }], ..named("hybrid") },
            Recommendation { unmatched: vec![Unmatched { value: long(), ..unmatched() }], ..named("hybrid") },
            Recommendation {
                unmatched: vec![Unmatched { suggestion: Some(long()), ..unmatched() }],
                ..named("hybrid")
            },
            Recommendation { model: ModelRef { version: Some(long()), ..named("hybrid").model }, ..named("hybrid") },
            listed(Reason { text: long(), ..reason() }),
            listed(Reason { names: vec![long()], ..reason() }),
            listed(Reason { evidence: vec![item.id.clone(); LONG / 24], ..reason() }),
        ];
        let with_query = asked.into_iter().chain(others).map(|query| (query, named("hybrid")));
        let with_answer = answers.into_iter().map(|answer| (query("rock"), answer));
        for (query, answer) in with_query.chain(with_answer) {
            let shown = format!("{query:?} {answer:?}").replace(&long(), "…");
            let question = Question { query, history: [0; 2], is_whole: true };
            let kept = Kept { question, state: State { changes: 1, version: None }, answer };
            assert!(taken(&Arc::new(kept)) as usize >= LONG, "{shown}");
        }
    }
}
