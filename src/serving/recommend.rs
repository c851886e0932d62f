//! Recommend and similar: the history from the store, the ranking from the engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::{Behaviour, Degradation, Domain, ItemId, Query, RankedItem, Recommendation, Rerank, UserId};
use crate::engine::artifact::BoundModel;
use crate::engine::pipeline;
use crate::store::StoredHistory;

use super::answers::{Question, State};
use super::rerank::Plan;
use super::{Service, ServiceError};

/// A watermark so much higher than the log's is not waited for: it is none of this store's.
const FAR: i64 = 1_000_000_000;
/// Between two looks at the watermark: first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What is to be ranked, and on what.
struct Ranking {
    query: Query,
    stored: StoredHistory,
    /// `None`: it depends on whom the history is told.
    asked: Option<Question>,
    is_whole: bool,
    model: Option<Arc<BoundModel>>,
}

/// What came of it, and who is to be asked about it.
struct Ranked {
    answer: Recommendation,
    plan: Option<Plan>,
    degraded: Vec<Degradation>,
}

impl Service {
    /// Whatever fails, this answers: what an answer had to do without is named in its `degraded`.
    ///
    /// # Errors
    /// [`ServiceError::Overloaded`] when it would have to rank and there is no room; [`ServiceError::Interrupted`] when the process ends.
    pub async fn recommend(self: &Arc<Self>, query: &Query) -> Result<Recommendation, ServiceError> {
        let started = Instant::now();
        let mut degraded = Vec::new();
        // One for all of this request: what was asked on behalf of one says nothing of another, and nor does its answer.
        let model = self.models.current();
        // To what is stored in the same bytes, the answer is known without reading them; unless somebody is to be told of them.
        let look_up = |stored: &StoredHistory, is_whole: bool| {
            let question = || self.answers.question(query, query.limit, stored, is_whole);
            let asked = (query.rerank == Rerank::None).then(question);
            let state = State::of(self.catalogue.locked.changes(), model.as_deref());
            let kept = asked.as_ref().and_then(|asked| self.answers.get(asked, &state));
            (asked, kept)
        };
        // Who names nobody may need no place at all.
        let known = if query.user_id.is_none() { look_up(&StoredHistory::Empty, true).1 } else { None };
        // Before a place is kept: whoever waits for a provider keeps nobody from ranking.
        let is_whole = known.is_some() || self.ask_meanings(model.as_ref(), query, started, &mut degraded).await?;
        let mut place = None;
        let stored = match &query.user_id {
            Some(user) => {
                // Before the store is asked: it is not loaded for an answer that would not be given.
                place = Some(self.rankings.enter()?);
                self.stored_history(user, query, &mut degraded).await
            }
            None => StoredHistory::Empty,
        };
        let (asked, kept) = match known {
            Some(_) => (None, known),
            None => look_up(&stored, is_whole),
        };
        let (mut answer, plan) = match kept {
            Some(kept) => (kept, None),
            None => {
                let place = place.map_or_else(|| self.rankings.enter(), Ok)?;
                let ranking = Ranking { query: query.clone(), stored, asked, is_whole, model };
                let service = Arc::clone(self);
                let ranked = self.rankings.run(place, move || service.rank(ranking)).await?;
                degraded.extend(ranked.degraded);
                (ranked.answer, ranked.plan)
            }
        };
        if let Some(plan) = plan {
            self.rerank(&plan, query, started, &mut answer).await;
            answer.lists.iter_mut().for_each(|(_, list)| list.truncate(query.limit));
        }
        if self.catalogue.is_from_disk() {
            degraded.push(Degradation::CatalogueSnapshot);
        }
        answer.degraded.extend(degraded);
        answer.degraded.sort_unstable();
        answer.degraded.dedup();
        Ok(answer)
    }

    /// Reads the history and ranks, unless the answer is known: all that takes a processor, or the catalogue's lock.
    fn rank(&self, ranking: Ranking) -> Ranked {
        let Ranking { query, stored, asked, is_whole, model } = ranking;
        let (history, is_read) = self.history(&query, &stored);
        let mut degraded = Vec::new();
        if !is_read {
            degraded.push(Degradation::HistoryUnavailable);
        }
        let catalogue = self.catalogue.locked.read();
        let plan = self.plan_rerank(&catalogue, &query, &history, &mut degraded);
        let limit = plan.as_ref().map_or(query.limit, |_| query.limit.max(self.providers.short_list));
        let mut asked = asked.unwrap_or_else(|| self.answers.question(&query, limit, &stored, is_whole));
        asked.is_whole &= is_read;
        let state = State::of(catalogue.changes(), model.as_deref());
        let answer = self.answers.get(&asked, &state).unwrap_or_else(|| {
            let interactions = &self.config.interactions;
            let answer = pipeline::recommend(&catalogue, model.as_deref(), interactions, &asked.query, &history);
            self.answers.keep(asked, state, &answer);
            answer
        });
        Ranked { answer, plan, degraded }
    }

    /// What the store holds of this person, within the time that the configuration and the caller grant. While the store keeps failing it is
    /// asked about once a second only, and everybody else is answered at once.
    async fn stored_history(&self, user: &UserId, query: &Query, degraded: &mut Vec<Degradation>) -> StoredHistory {
        let configured = self.config.database.history_timeout();
        if !self.histories.allows(Instant::now()) {
            degraded.push(Degradation::HistoryUnavailable);
            return StoredHistory::Empty;
        }
        let patience = query.deadline.map_or(configured, |deadline| deadline.min(configured));
        let until = Instant::now() + patience;
        let loading = async {
            if let Some(wanted) = query.min_watermark
                && !self.reached(wanted, until).await?
            {
                degraded.push(Degradation::WatermarkNotReached);
            }
            self.store.read_history(user).await
        };
        let outcome = tokio::time::timeout(patience, loading).await;
        match outcome {
            Ok(Ok(history)) => {
                self.histories.succeeded();
                return history;
            }
            Ok(Err(error)) => {
                self.histories.failed(Instant::now());
                tracing::warn!(%error, "answering without the stored history");
            }
            // The caller was in a hurry: that says nothing of the store.
            Err(_) if patience < configured => degraded.push(Degradation::DeadlineExceeded),
            Err(_) => {
                self.histories.failed(Instant::now());
                tracing::warn!(?patience, "answering without the stored history: the store took too long");
            }
        }
        degraded.push(Degradation::HistoryUnavailable);
        StoredHistory::Empty
    }

    /// What is known of this person, session included, and whether what is stored could be read.
    fn history(&self, query: &Query, stored: &StoredHistory) -> (Vec<Behaviour>, bool) {
        let opened = query.user_id.as_ref().map_or(Ok(Vec::new()), |user| self.store.open_history(user, stored));
        let is_read = opened.is_ok();
        let behaviour = opened.unwrap_or_else(|error| {
            tracing::error!(%error, "answering without the stored history");
            Vec::new()
        });
        (Behaviour::merged(behaviour, &query.session), is_read)
    }

    /// Waits until the store has all behaviour up to `wanted`, at most for half of the time that is left before `until`.
    async fn reached(&self, wanted: i64, until: Instant) -> Result<bool, crate::store::StoreError> {
        let give_up = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
        let mut pause = FIRST_PAUSE;
        loop {
            let reached = self.store.watermark().await?;
            if reached >= wanted {
                return Ok(true);
            }
            if Instant::now() >= give_up || wanted.saturating_sub(reached) > FAR {
                return Ok(false);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The neighbours of an item in each of `domains`.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] when the catalogue does not have the item, [`ServiceError::Overloaded`] when there is no room.
    pub async fn similar(
        self: &Arc<Self>,
        item: ItemId,
        domains: Vec<Domain>,
        limit: usize,
    ) -> Result<Vec<(Domain, Vec<RankedItem>)>, ServiceError> {
        let service = Arc::clone(self);
        let rank = move || {
            let model = service.models.current();
            pipeline::similar(&service.catalogue.locked.read(), model.as_deref(), &item, &domains, limit)
                .ok_or_else(|| ServiceError::NotFound { what: "item", id: item.to_string() })
        };
        self.rankings.run(self.rankings.enter()?, rank).await?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::config::{Config, Overrides};
    use crate::domain::{Filters, Item};
    use crate::store::{self, Options};

    fn query(limit: usize) -> Query {
        Query {
            tastes: Vec::new(),
            user_id: None,
            session: Vec::new(),
            domains: vec![Domain::new("movie").unwrap()],
            limit,
            filters: Filters::default(),
            exclude: Vec::new(),
            include_seen: false,
            model: None,
            diversity: 0.0,
            explain: false,
            rerank: Rerank::None,
            deadline: None,
            min_watermark: None,
        }
    }

    async fn start(folder: &std::path::Path) -> Arc<Service> {
        let overrides = Overrides { data_dir: Some(folder.to_owned()), ..Overrides::default() };
        let config = Arc::new(Config::load(&overrides, std::iter::empty()).unwrap());
        let options = Options {
            url: config.database_url(),
            max_connections: 2,
            acquire_timeout: Duration::from_secs(5),
            master_key: None,
        };
        let store = store::open(&options).await.unwrap();
        store.migrate().await.unwrap();
        Service::start(config, store).await.unwrap()
    }

    fn item(id: &str) -> Item {
        let item = serde_json::json!({"id": id, "domain": "movie", "title": id, "genres": [], "tags": [], "creators": [],
            "attributes": {}, "available": true});
        serde_json::from_value(item).unwrap()
    }

    /// All of it on the one thread of this test, which must never be the one that waits.
    #[tokio::test]
    async fn who_waits_for_the_catalogue_keeps_nobody_else_waiting() {
        const LONG: Duration = Duration::from_secs(20);
        let folder = tempfile::tempdir().unwrap();
        let service = start(folder.path()).await;
        service.upsert_items(vec![item("a")]).await.unwrap();
        let known = service.recommend(&query(5)).await.unwrap();
        assert_eq!(known.lists[0].1.len(), 1);

        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel::<()>();
        let reading = std::thread::spawn({
            let locked = Arc::clone(&service.catalogue.locked);
            move || {
                let _ranking = locked.read();
                begin.send(()).unwrap();
                let _ = released.recv_timeout(LONG);
            }
        });
        begun.recv().unwrap();
        let writing = tokio::spawn({
            let service = Arc::clone(&service);
            async move { service.upsert_items(vec![item("b")]).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let ranking = tokio::spawn({
            let service = Arc::clone(&service);
            async move { service.recommend(&query(7)).await }
        });
        let started = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(service.readiness().await.items, 1);
        assert_eq!(service.recommend(&query(5)).await.unwrap(), known, "it was answered before");
        assert!(started.elapsed() < LONG / 2 && !writing.is_finished() && !ranking.is_finished());

        release.send(()).unwrap();
        reading.join().unwrap();
        writing.await.unwrap().unwrap();
        ranking.await.unwrap().unwrap();
        assert_eq!(service.readiness().await.items, 2);
        assert_eq!(service.recommend(&query(5)).await.unwrap().lists[0].1.len(), 2);
    }

    #[tokio::test]
    async fn a_watermark_that_no_log_reaches_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let service = start(folder.path()).await;
        let started = Instant::now();
        let until = started + Duration::from_secs(40);
        assert!(!service.reached(i64::MAX, until).await.unwrap());
        assert!(service.reached(0, until).await.unwrap());
        assert!(started.elapsed() < Duration::from_secs(15));
    }
}
