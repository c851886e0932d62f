//! The large model at the output: it re-orders the head of each list within the time that is left, or leaves it as it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::domain::{Behaviour, Degradation, Query, Recommendation, Rerank};
use crate::engine::blend::HistorySlice;
use crate::engine::catalogue::Catalogue;
use crate::engine::rerank::fusion::{FusionWeights, fuse};
use crate::engine::rerank::short_list::{Known, slice};
use crate::large_model::{Provider, ProviderError, Scores, ShortList};

use super::Service;

/// What is kept back of a caller's deadline for writing the answer.
const MARGIN: Duration = Duration::from_millis(3);

/// A provider that is to be asked, and what it may say.
pub(super) struct Plan {
    provider: Arc<Provider>,
    weights: Arc<FusionWeights>,
    person: Known,
    /// By list.
    slices: Vec<HistorySlice>,
}

impl Service {
    /// Whom to ask; `None` when nobody is to be asked, or there is nothing to tell of the person.
    pub(super) fn plan_rerank(
        &self,
        catalogue: &Catalogue,
        query: &Query,
        history: &[Behaviour],
        degraded: &mut Vec<Degradation>,
    ) -> Option<Plan> {
        let Rerank::By(name) = &query.rerank else { return None };
        let Some(provider) = self.providers.get(name) else {
            degraded.push(Degradation::LlmNotConfigured);
            return None;
        };
        let weights = self.fusion_weights(&provider.name);
        let slices: Vec<HistorySlice> =
            query.domains.iter().map(|domain| slice(catalogue, query, history, domain)).collect();
        let counts = slices.iter().any(|&slice| weights.of(slice) > 0.0);
        if !counts || query.tastes.is_empty() && history.is_empty() {
            return None;
        }
        if provider.is_resting() {
            // Nothing is prepared for one that would not be asked: an answer costs no more than without it.
            degraded.push(Degradation::LlmUnavailable);
            return None;
        }
        let person = Known::of(catalogue, query, history, &self.config.interactions);
        if person.is_empty() {
            return None;
        }
        Some(Plan { provider: Arc::clone(provider), weights, person, slices })
    }

    /// What this provider's opinion counts: as the newest evaluation measured it, else as the settings say.
    fn fusion_weights(&self, provider: &str) -> Arc<FusionWeights> {
        let measured = self.measured.load();
        let measured = measured.get(provider).cloned();
        measured.unwrap_or_else(|| Arc::new(FusionWeights::constant(self.providers.weight)))
    }

    /// Asks for all lists at once and re-orders those that were answered.
    pub(super) async fn rerank(&self, plan: &Plan, query: &Query, started: Instant, answer: &mut Recommendation) {
        let patience = self.patience(query, started);
        let asked = answer.lists.iter().zip(&plan.slices).map(|((_, list), &slice)| {
            let head = list.iter().take(self.providers.short_list).map(|ranked| &*ranked.item);
            let short_list = ShortList::new(&plan.person, head);
            async move {
                let is_heard = plan.weights.of(slice) > 0.0 && short_list.candidates.len() > 1;
                if is_heard { plan.provider.score(&short_list, patience).await } else { Ok(Arc::<Scores>::default()) }
            }
        });
        let opinions = join_all(asked).await;
        for (((_, list), opinions), &slice) in answer.lists.iter_mut().zip(opinions).zip(&plan.slices) {
            match opinions {
                Ok(opinions) => {
                    fuse(list, &opinions, plan.weights.of(slice), query.explain.then(|| plan.provider.reason()))
                }
                Err(error) => answer.degraded.push(degradation(&error)),
            }
        }
    }

    /// What is left of the time that the caller grants, or else of what any request may take.
    pub(super) fn patience(&self, query: &Query, started: Instant) -> Duration {
        let most = self.config.server.request_timeout() * 9 / 10;
        query.deadline.map_or(most, |deadline| deadline.min(most)).saturating_sub(started.elapsed() + MARGIN)
    }
}

/// What an answer goes without, and why.
pub(super) fn degradation(error: &ProviderError) -> Degradation {
    match error {
        ProviderError::TimedOut => Degradation::LlmTimedOut,
        ProviderError::OverBudget => Degradation::LlmOverBudget,
        ProviderError::Resting
        | ProviderError::Later(_)
        | ProviderError::Failed { .. }
        | ProviderError::Unusable(_) => Degradation::LlmUnavailable,
    }
}
