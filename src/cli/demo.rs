//! The demo on an empty store: the catalogue that ships in the binary, synthetic listeners, and a first model.

use std::sync::Arc;

use jiff::Timestamp;

use super::train::log_progress;
use crate::config::{Config, DemoCatalogue};
use crate::store::{Store, StoreError};
use crate::training::TrainingError;
use crate::{demo, http, training};

/// Whether the settings want the demo, should the store be empty.
#[must_use]
pub fn wanted(config: &Config) -> bool {
    match config.demo.catalogue {
        DemoCatalogue::Auto => !config.database_is_configured(),
        DemoCatalogue::Always => true,
        DemoCatalogue::Never => false,
    }
}

/// Fills an empty store with the demo, and trains on it. A store that holds the demo, but no model, as after a start that
/// was cut off, is trained on as well; any other store is left alone.
///
/// # Errors
/// The store fails. That training fails is logged only: the service can answer without a model.
pub async fn load(config: &Config, store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let items = demo::items();
    match store.count_items().await? {
        0 => {
            // The items come last: they mark the demo as complete, and the events have names, so that a second try
            // after a start that was cut off does not double them.
            let events = demo::events(&items, config.demo.listeners, config.demo.seed);
            store.load_events(&events).await?;
            store.upsert_items(&items).await?;
            tracing::info!(items = items.len(), events = events.len(), "the demo catalogue is loaded");
        }
        count if count != items.len() as u64 => return Ok(()),
        _ => {
            let known = match items.first() {
                Some(item) => store.item(&item.id).await?.is_some(),
                None => false,
            };
            if !known || store.active_model().await?.is_some() {
                return Ok(());
            }
        }
    }
    let mut settings = http::training_settings(config, store.tenant());
    // Synthetic listeners have little to teach, and somebody waits for the first answer.
    (settings.validation_rounds, settings.blend_samples) = (1, 1);
    settings.embedder = None;
    match training::train(Arc::clone(store), settings, Timestamp::now(), log_progress()).await {
        Ok(_) => {}
        // Several services that start on one empty database: one of them trains.
        Err(TrainingError::Store(StoreError::Conflict(reason))) => {
            tracing::info!(reason, "somebody else trains on the demo catalogue");
        }
        Err(error) => tracing::warn!(%error, "no model could be trained on the demo catalogue"),
    }
    Ok(())
}
