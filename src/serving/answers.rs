//! Answers that are kept: the same tastes are asked for again and again, and give the same lists as long as catalogue and model are the same.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use moka::sync::Cache;

use crate::domain::{Filters, Query, Recommendation};
use crate::engine::artifact::BoundModel;
use crate::engine::catalogue::Catalogue;

/// What an answer depends on besides the query: it holds as long as this is the same. The settings are those of the process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State {
    changes: u64,
    version: Option<String>,
}

impl State {
    pub(super) fn of(catalogue: &Catalogue, model: Option<&BoundModel>) -> Self {
        Self { changes: catalogue.changes(), version: model.map(|bound| bound.model.manifest.version.clone()) }
    }
}

struct Kept {
    query: Query,
    state: State,
    answer: Recommendation,
}

/// Answers to queries that name no person, the most asked for as far as the memory goes.
pub(super) struct Answers {
    /// By hash of the query; which query it was stands in the entry, and is compared.
    kept: Option<Cache<u64, Arc<Kept>>>,
    hasher: RandomState,
}

impl Answers {
    /// Keeps about so many bytes; 0: nothing.
    pub(super) fn new(bytes: u64) -> Self {
        let cache = || Cache::builder().max_capacity(bytes).weigher(|_, kept: &Arc<Kept>| size(kept)).build();
        Self { kept: (bytes > 0).then(cache), hasher: RandomState::new() }
    }

    /// The answer that was given to this query in this state.
    pub(super) fn get(&self, query: &Query, state: &State) -> Option<Recommendation> {
        let cache = self.kept.as_ref().filter(|_| may_be_kept(query))?;
        let kept = cache.get(&self.key(query)).filter(|kept| kept.state == *state && kept.query == *query)?;
        Some(kept.answer.clone())
    }

    /// Keeps an answer, if somebody else may be given it.
    pub(super) fn keep(&self, query: Query, state: State, answer: &Recommendation) {
        if let Some(cache) = self.kept.as_ref().filter(|_| may_be_kept(&query)) {
            cache.insert(self.key(&query), Arc::new(Kept { query, state, answer: answer.clone() }));
        }
    }

    fn key(&self, query: &Query) -> u64 {
        let lists = (&query.domains, query.limit, query.diversity.to_bits(), &query.model, query.explain);
        self.hasher.hash_one((&query.tastes, &query.filters, lists))
    }
}

/// Whether somebody else is likely to ask the same. What belongs to a person or a session is never kept. What is kept is the ranker's answer, before a large
/// model has had a say in it.
fn may_be_kept(query: &Query) -> bool {
    let names_items = |filters: &Filters| {
        filters.common.items.is_some() || filters.by_domain.values().any(|filter| filter.items.is_some())
    };
    query.user_id.is_none() && query.session.is_empty() && query.exclude.is_empty() && !names_items(&query.filters)
}

/// About how many bytes an entry takes; items are shared with the catalogue.
fn size(kept: &Arc<Kept>) -> u32 {
    let ranked = kept.answer.lists.iter().flat_map(|(_, list)| list);
    let reasons = ranked.clone().flat_map(|ranked| &ranked.reasons).map(|reason| 100 + reason.text.len());
    let tastes = kept.query.tastes.iter().map(|taste| 100 + taste.text.len() + taste.pointer.len());
    let bytes = 1_000 + 40 * ranked.count() + reasons.sum::<usize>() + tastes.sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::domain::{Domain, ItemId, ModelRef, Rerank, Taste, UserId};

    fn query(taste: &str) -> Query {
        let domain = Domain::new("music").unwrap();
        Query {
            tastes: vec![Taste {
                domain: Some(domain.clone()),
                text: taste.to_owned(),
                pointer: "/music/0".to_owned(),
            }],
            user_id: None,
            session: Vec::new(),
            domains: vec![domain],
            limit: 10,
            filters: Filters::default(),
            exclude: Vec::new(),
            include_seen: false,
            model: None,
            diversity: 0.1,
            explain: false,
            rerank: Rerank::None,
            deadline: None,
            min_watermark: None,
        }
    }

    #[test]
    fn an_answer_is_given_again_only_to_the_same_question_in_the_same_state() {
        let (answers, ranked) = (Answers::new(1 << 20), Cell::new(0));
        let state = |changes, version: &str| State { changes, version: Some(version.to_owned()) };
        let ask = |query: &Query, state: State| {
            answers.get(query, &state).unwrap_or_else(|| {
                ranked.set(ranked.get() + 1);
                let name = ranked.get().to_string();
                let model = ModelRef { name, version: None, trained_at: None };
                let answer = Recommendation { model, lists: Vec::new(), unmatched: Vec::new(), degraded: Vec::new() };
                answers.keep(query.clone(), state, &answer);
                answer
            })
        };
        let name = |query: &Query, changes, version| ask(query, state(changes, version)).model.name;
        let rock = query("rock");
        assert_eq!([name(&rock, 1, "a"), name(&rock, 1, "a")], ["1", "1"]);
        assert_eq!(name(&rock, 2, "a"), "2", "an item has changed");
        assert_eq!(name(&rock, 2, "b"), "3", "another model answers");
        assert_eq!(name(&rock, 2, "b"), "3");
        let others = [
            query("pop"),
            Query { limit: 11, ..query("rock") },
            Query { diversity: 0.2, ..query("rock") },
            Query { explain: true, ..query("rock") },
            Query { model: Some("ease".to_owned()), ..query("rock") },
            Query { include_seen: true, ..query("rock") },
        ];
        let first: Vec<String> = others.iter().map(|query| name(query, 2, "b")).collect();
        assert_eq!(first, ["4", "5", "6", "7", "8", "9"]);
    }

    #[test]
    fn what_is_personal_is_never_kept() {
        let mut personal = [query("rock"), query("rock"), query("rock")];
        personal[0].user_id = Some(UserId::new("u").unwrap());
        personal[1].exclude = vec![ItemId::new("a").unwrap()];
        personal[2].filters.common.items = Some([ItemId::new("a").unwrap()].into());
        assert!(personal.iter().all(|query| !may_be_kept(query)));
        assert!(may_be_kept(&query("rock")));
    }
}
