//! Recommend and similar: the history from the store, the ranking from the engine.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::{Behaviour, Degradation, Domain, ItemId, Query, RankedItem, Recommendation, Rerank, UserId};
use crate::engine::pipeline;
use crate::store::StoredHistory;

use super::answers::{Question, State};
use super::rankings::Place;
use super::{Service, ServiceError};

impl Service {
    /// Whatever fails, this answers: what an answer had to do without is named in its `degraded`.
    ///
    /// # Errors
    /// [`ServiceError::Overloaded`] when it would have to rank and there is no room; [`ServiceError::Interrupted`] when the process ends.
    pub async fn recommend(self: &Arc<Self>, query: &Query) -> Result<Recommendation, ServiceError> {
        let started = Instant::now();
        let mut degraded = Vec::new();
        let mut place = None;
        let stored = match &query.user_id {
            Some(user) => {
                // Before the store is asked: it is not loaded for an answer that would not be given.
                place = Some(self.rankings.enter()?);
                self.stored_history(user, query, &mut degraded).await
            }
            None => StoredHistory::Empty,
        };
        let is_whole = self.ask_meanings(query, started, &mut degraded).await;
        // Read for whoever is to be told of it; to what is stored in the same bytes, the answer is known without.
        let mut history = None;
        let plan = match query.rerank {
            Rerank::None => None,
            Rerank::By(_) => {
                let (read, _) = history.insert(self.history(query, &stored));
                self.plan_rerank(&self.catalogue.read(), query, read, &mut degraded)
            }
        };
        let limit = plan.as_ref().map_or(query.limit, |_| query.limit.max(self.providers.short_list));
        let mut asked = self.answers.question(query, limit, &stored, is_whole);
        let kept = self.answers.get(&asked, &State::of(&self.catalogue.read(), self.models.current().as_deref()));
        let mut answer = match kept {
            Some(kept) => kept,
            None => {
                let (history, is_read) = history.unwrap_or_else(|| self.history(query, &stored));
                asked.is_whole &= is_read;
                if !is_read {
                    degraded.push(Degradation::HistoryUnavailable);
                }
                let place = place.map_or_else(|| self.rankings.enter(), Ok)?;
                self.rank(place, asked, history).await?
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

    async fn rank(
        self: &Arc<Self>,
        place: Place,
        asked: Question,
        history: Vec<Behaviour>,
    ) -> Result<Recommendation, ServiceError> {
        let service = Arc::clone(self);
        let rank = move || {
            let (model, catalogue) = (service.models.current(), service.catalogue.read());
            let interactions = &service.config.interactions;
            let answer = pipeline::recommend(&catalogue, model.as_deref(), interactions, &asked.query, &history);
            service.answers.keep(asked, State::of(&catalogue, model.as_deref()), &answer);
            answer
        };
        self.rankings.run(place, rank).await
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
        loop {
            if self.store.watermark().await? >= wanted {
                return Ok(true);
            }
            if Instant::now() >= give_up {
                return Ok(false);
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
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
            pipeline::similar(&service.catalogue.read(), model.as_deref(), &item, &domains, limit)
                .ok_or_else(|| ServiceError::NotFound { what: "item", id: item.to_string() })
        };
        self.rankings.run(self.rankings.enter()?, rank).await?
    }
}
