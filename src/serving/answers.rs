//! Answers that are kept: the same tastes are asked for again and again, and who comes back has often done nothing since. Both give the same lists as long as
//! catalogue and model are the same.

mod memory;

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::Arc;

use moka::sync::Cache;

use crate::domain::{Filters, Interaction, Query, Recommendation, Rerank};
use crate::engine::artifact::BoundModel;
use crate::store::StoredHistory;

/// What an answer depends on besides the query: it holds as long as this is the same. The settings are those of the process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State {
    changes: u64,
    version: Option<String>,
}

impl State {
    /// Of a catalogue with so many [changes](crate::engine::catalogue::Catalogue::changes).
    pub(super) fn of(changes: u64, model: Option<&BoundModel>) -> Self {
        Self { changes, version: model.map(|bound| bound.model.manifest.version.clone()) }
    }
}

/// What the ranker is asked: all that its answer depends on in one state. It does not say who asks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub query: Query,
    /// What stands for the history: 128 bits of a hash with a key of this process.
    history: [u64; 2],
    /// Whether all is known of what its texts mean, and of the history; if not, the next answer may be a better one.
    pub is_whole: bool,
}

struct Kept {
    question: Question,
    state: State,
    answer: Recommendation,
}

/// Answers, the most asked for as far as the memory goes.
pub(super) struct Answers {
    /// By hash of the question; which one it was stands in the entry, and is compared.
    kept: Option<Cache<u64, Arc<Kept>>>,
    hashers: [RandomState; 2],
}

impl Answers {
    /// Keeps about so many bytes; 0: nothing.
    pub(super) fn new(bytes: u64) -> Self {
        let cache = || Cache::builder().max_capacity(bytes).weigher(|_, kept: &Arc<Kept>| memory::taken(kept)).build();
        Self { kept: (bytes > 0).then(cache), hashers: [RandomState::new(), RandomState::new()] }
    }

    /// What `query` comes to for somebody of whom this is stored, with lists of `limit`.
    pub(super) fn question(&self, query: &Query, limit: usize, stored: &StoredHistory, is_whole: bool) -> Question {
        let nobodys = Query {
            limit,
            user_id: None,
            session: Vec::new(),
            rerank: Rerank::None,
            deadline: None,
            min_watermark: None,
            ..query.clone()
        };
        let is_known = !stored.is_empty() || !query.session.is_empty();
        let history = if self.kept.is_some() && is_known {
            self.hashers.each_ref().map(|hasher| digest(hasher, stored, &query.session))
        } else {
            [0; 2]
        };
        Question { query: nobodys, history, is_whole }
    }

    /// The answer that was given to this question in this state.
    pub(super) fn get(&self, question: &Question, state: &State) -> Option<Recommendation> {
        let cache = self.kept.as_ref().filter(|_| may_be_kept(question))?;
        let kept = cache.get(&self.key(question)).filter(|kept| kept.state == *state && kept.question == *question)?;
        Some(kept.answer.clone())
    }

    /// Keeps an answer, if the same may be asked again.
    pub(super) fn keep(&self, question: Question, state: State, answer: &Recommendation) {
        if let Some(cache) = self.kept.as_ref().filter(|_| may_be_kept(&question)) {
            cache.insert(self.key(&question), Arc::new(Kept { question, state, answer: answer.clone() }));
            // Else what is too much stays until dozens more have come.
            cache.run_pending_tasks();
        }
    }

    fn key(&self, question: &Question) -> u64 {
        let query = &question.query;
        let lists = (&query.domains, query.limit, query.diversity.to_bits(), &query.model, query.explain);
        let lists = (lists, query.include_seen);
        self.hashers[0].hash_one((&query.tastes, &query.filters, lists, question.history))
    }
}

fn digest(hasher: &RandomState, stored: &StoredHistory, session: &[Interaction]) -> u64 {
    let mut hash = hasher.build_hasher();
    stored.each_part(|part| {
        hash.write_usize(part.len());
        hash.write(part);
    });
    for Interaction { item_id, kind, value, at } in session {
        (item_id, kind, value.map(f64::to_bits), at).hash(&mut hash);
    }
    hash.finish()
}

/// Whether the same is likely to be asked again. What is kept is the ranker's answer, before a large model has had a say in it.
fn may_be_kept(question: &Question) -> bool {
    let query = &question.query;
    let names_items = |filters: &Filters| {
        filters.common.items.is_some() || filters.by_domain.values().any(|filter| filter.items.is_some())
    };
    question.is_whole && query.exclude.is_empty() && !names_items(&query.filters)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use jiff::Timestamp;

    use crate::domain::{Domain, InteractionKind, ItemId, ModelRef, Taste, UserId};

    pub(super) fn named(model: &str) -> Recommendation {
        let model = ModelRef { name: model.to_owned(), version: None, trained_at: None };
        Recommendation { model, lists: Vec::new(), unmatched: Vec::new(), degraded: Vec::new() }
    }

    pub(super) fn query(taste: &str) -> Query {
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

    fn stored(text: &str) -> StoredHistory {
        StoredHistory::Text(text.to_owned())
    }

    /// Asks in a state, and ranks where nothing is kept: gives how many had to be ranked until then.
    struct Asking {
        answers: Answers,
        ranked: Cell<usize>,
    }

    impl Asking {
        fn new() -> Self {
            Self { answers: Answers::new(1 << 20), ranked: Cell::new(0) }
        }

        fn ask(&self, query: &Query, stored: &StoredHistory, changes: u64, version: &str) -> String {
            let state = State { changes, version: Some(version.to_owned()) };
            let question = self.answers.question(query, query.limit, stored, true);
            let answer = self.answers.get(&question, &state).unwrap_or_else(|| {
                self.ranked.set(self.ranked.get() + 1);
                let answer = named(&self.ranked.get().to_string());
                self.answers.keep(question, state, &answer);
                answer
            });
            answer.model.name
        }
    }

    #[test]
    fn an_answer_is_given_again_only_to_the_same_question_in_the_same_state() {
        let asking = Asking::new();
        let name = |query: &Query, changes, version| asking.ask(query, &StoredHistory::Empty, changes, version);
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
    fn two_who_ask_in_turn_do_not_take_each_others_answers_away() {
        let asking = Asking::new();
        let others = [
            query("rock"),
            Query { diversity: 0.2, ..query("rock") },
            Query { explain: true, ..query("rock") },
            Query { include_seen: true, ..query("rock") },
        ];
        let ask = || others.each_ref().map(|query| asking.ask(query, &StoredHistory::Empty, 1, "a"));
        assert_eq!(ask(), ask());
    }

    #[test]
    fn whoever_has_done_the_same_is_given_the_same_and_anything_done_since_counts() {
        use InteractionKind::{Like, Rating};
        let asking = Asking::new();
        let of = |user: &str| Query { user_id: Some(UserId::new(user).unwrap()), ..query("rock") };
        let name = |query: &Query, stored: &StoredHistory| asking.ask(query, stored, 1, "a");
        let ann = stored("ann's");
        assert_eq!([name(&of("ann"), &ann), name(&of("ann"), &ann)], ["1", "1"]);
        assert_eq!(name(&of("bob"), &ann), "1", "it does not matter who did it");
        assert_eq!(name(&of("ann"), &StoredHistory::Empty), "2", "the history did not come, or was erased");
        assert_eq!(name(&query("rock"), &StoredHistory::Empty), "2", "as for somebody unknown");
        let lists =
            |value, at| StoredHistory::Lists(("a".to_owned(), "like".to_owned(), vec![value], vec![at], vec![1]));
        let otherwise = [
            stored("ann's, and more"),
            lists(None, 7),
            lists(Some(0.0), 7),
            lists(None, 8),
            StoredHistory::Sealed(vec![1], "ann's".to_owned()),
            StoredHistory::Sealed(vec![2], "ann's".to_owned()),
        ];
        let others: Vec<String> = otherwise.iter().map(|stored| name(&of("ann"), stored)).collect();
        assert_eq!(others, ["3", "4", "5", "6", "7", "8"]);

        // What was done in this session as well.
        let now = |item: &str, kind, value, second| Interaction {
            item_id: ItemId::new(item).unwrap(),
            kind,
            value,
            at: Timestamp::from_second(second).unwrap(),
        };
        let sessions = [
            now("b", Like, None, 7),
            now("c", Like, None, 7),
            now("b", Rating, None, 7),
            now("b", Like, Some(1.0), 7),
            now("b", Like, None, 8),
        ];
        let in_session = |session: &Interaction| Query { session: vec![session.clone()], ..of("ann") };
        let others: Vec<String> = sessions.iter().map(|session| name(&in_session(session), &ann)).collect();
        assert_eq!(others, ["9", "10", "11", "12", "13"]);
        assert_eq!(name(&in_session(&sessions[0]), &ann), "9");
    }

    #[test]
    fn lists_of_items_in_the_question_are_not_kept_and_nobody_is_named() {
        let mut listed = [query("rock"), query("rock")];
        listed[0].exclude = vec![ItemId::new("a").unwrap()];
        listed[1].filters.common.items = Some([ItemId::new("a").unwrap()].into());
        let answers = Answers::new(1 << 20);
        let is_kept =
            |query: &Query, is_whole| may_be_kept(&answers.question(query, 10, &StoredHistory::Empty, is_whole));
        assert!(listed.iter().all(|query| !is_kept(query, true)));
        assert!(is_kept(&query("rock"), true));
        assert!(!is_kept(&query("rock"), false), "what a text means is still to come");
        let person = Query { user_id: Some(UserId::new("canary").unwrap()), ..query("rock") };
        let question = answers.question(&person, 10, &stored("secret"), true);
        let kept = format!("{question:?}");
        assert!(!kept.contains("canary") && !kept.contains("secret"), "{kept}");
    }

    #[test]
    fn long_filters_are_not_kept_beyond_the_memory_granted() {
        let (granted, label) = (1 << 20, 50_000);
        let answers = Answers::new(granted);
        for number in 0..40 {
            let mut query = query("rock");
            query.filters.common.genres.none = vec![format!("{number:0label$}")];
            let question = answers.question(&query, 10, &StoredHistory::Empty, true);
            answers.keep(question, State { changes: 1, version: None }, &named("hybrid"));
        }
        let kept = answers.kept.as_ref().unwrap().iter().count() as u64;
        assert!(kept > 0 && kept * label as u64 <= granted, "{kept}");
    }
}
