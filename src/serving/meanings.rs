//! Free texts that the catalogue's words do not explain: the provider of the model's vectors says what they mean, within the time that is left.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::{Degradation, Query};
use crate::engine::artifact::BoundModel;
use crate::engine::tastes;

use super::rerank::degradation;
use super::{Service, ServiceError};

impl Service {
    /// Asks about the texts of a query that nothing is known of yet, all at once. Gives whether all is known that can be known; if not, `degraded` says why.
    ///
    /// # Errors
    /// Those of [`Self::recommend`]: which texts these are takes a place as a ranking does, but not the wait for the provider.
    pub(super) async fn ask_meanings(
        &self,
        model: Option<&Arc<BoundModel>>,
        query: &Query,
        started: Instant,
        degraded: &mut Vec<Degradation>,
    ) -> Result<bool, ServiceError> {
        if !self.config.large_model.free_text || query.tastes.is_empty() {
            return Ok(true);
        }
        let Some(model) = model else { return Ok(true) };
        let Some(meanings) = &model.model.meanings else { return Ok(true) };
        let provider = self.providers.get(&meanings.source.provider);
        let Some(provider) = provider.filter(|provider| provider.source() == meanings.source) else { return Ok(true) };
        let look = {
            let (locked, model, tastes) = (Arc::clone(&self.catalogue.locked), Arc::clone(model), query.tastes.clone());
            move || tastes::unexplained(&locked.read(), &model, &tastes)
        };
        let texts: Vec<String> = self.rankings.run(self.rankings.enter()?, look).await?.into_iter().collect();
        if texts.is_empty() {
            return Ok(true);
        }
        texts.iter().for_each(|text| model.texts.expect(text));
        let vectors = match provider.vectors_of(texts.clone(), self.patience(query, started)).await {
            Ok(vectors) => vectors,
            Err(error) => {
                degraded.push(degradation(&error));
                return Ok(false);
            }
        };
        let mut all = true;
        for (text, vector) in texts.iter().zip(vectors) {
            match meanings.of_text(&vector) {
                Some(vector) => model.texts.learn(text, vector),
                None => all = false,
            }
        }
        if !all {
            tracing::warn!(provider = provider.name, "its vectors have another length than those of the model");
            degraded.push(Degradation::LlmUnavailable);
        }
        Ok(all)
    }
}
