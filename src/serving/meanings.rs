//! Free texts that the catalogue's words do not explain: the provider of the model's vectors says what they mean, within the time that is left.

use std::time::Instant;

use crate::domain::{Degradation, Query};
use crate::engine::tastes;

use super::Service;
use super::rerank::degradation;

impl Service {
    /// Asks about the texts of a query that nothing is known of yet, all at once. Gives whether all is known that can be known; if not, `degraded` says why.
    pub(super) async fn ask_meanings(&self, query: &Query, started: Instant, degraded: &mut Vec<Degradation>) -> bool {
        if !self.config.large_model.free_text || query.tastes.is_empty() {
            return true;
        }
        let Some(model) = self.models.current() else { return true };
        let Some(meanings) = &model.model.meanings else { return true };
        let provider = self.providers.get(&meanings.source.provider);
        let Some(provider) = provider.filter(|provider| provider.source() == meanings.source) else { return true };
        let texts: Vec<String> =
            tastes::unexplained(&self.catalogue.read(), &model, &query.tastes).into_iter().collect();
        if texts.is_empty() {
            return true;
        }
        texts.iter().for_each(|text| model.texts.expect(text));
        let vectors = match provider.vectors_of(texts.clone(), self.patience(query, started)).await {
            Ok(vectors) => vectors,
            Err(error) => {
                degraded.push(degradation(&error));
                return false;
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
        all
    }
}
