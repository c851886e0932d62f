//! A trainer: keeps the right to train while it works, and publishes only as long as no other came after it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::artifact::{Manifest, Model};
use crate::store::{Store, StoreError, TrainingLock};

use super::job::Reported;
use super::{TrainingError, TrainingSettings};

/// How often a trainer makes sure of its right and tells how far it is.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// So often a store that is away is asked again at the end of a training, a beat apart: an hour's work is not to be lost to a short absence.
pub(super) const TRIES: usize = 30;

/// Does the work as long as the right to train is held; the job that it is done for, if there is one, is kept up to date.
///
/// # Errors
/// [`TrainingError::Superseded`] as soon as the right is lost; what the work gives.
pub(super) async fn keeping<T>(
    lock: &mut dyn TrainingLock,
    work: impl Future<Output = Result<T, TrainingError>>,
    mut job: Option<&mut Reported>,
) -> Result<T, TrainingError> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = tokio::time::sleep(BEAT) => {}
        }
        match lock.keep().await {
            Ok(true) => {}
            Ok(false) => return Err(TrainingError::Superseded),
            Err(error) => tracing::warn!(%error, "it cannot be told whether this still is the trainer; trying on"),
        }
        if let Some(job) = &mut job {
            job.report(lock.epoch()).await;
        }
    }
}

/// Writes the artifact, then records it and makes it the active model, unless another trainer has come; then the artifact is deleted again.
pub(super) async fn publish(
    store: &Arc<dyn Store>,
    settings: &TrainingSettings,
    model: Model,
    epoch: i64,
    now: Timestamp,
) -> Result<Manifest, TrainingError> {
    let interrupted = |error: &dyn std::fmt::Display| TrainingError::Interrupted(error.to_string());
    let models_dir = settings.models_dir.clone();
    let manifest = tokio::task::spawn_blocking(move || model.publish(&models_dir))
        .await
        .map_err(|error| interrupted(&error))??;
    let json = serde_json::to_value(&manifest).map_err(|error| interrupted(&error))?;
    let mut tries = 0;
    loop {
        tries += 1;
        match store.publish_model(&manifest.version, &json, epoch, now).await {
            Ok(true) => return Ok(manifest),
            Ok(false) => {
                let artifact = settings.models_dir.join(&manifest.version);
                if let Err(error) = std::fs::remove_dir_all(&artifact) {
                    tracing::warn!(%error, version = %manifest.version, "its artifact could not be deleted");
                }
                return Err(TrainingError::Superseded);
            }
            Err(StoreError::Unavailable(reason)) if tries < TRIES => {
                tracing::warn!(reason, "the model could not be recorded; trying again");
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(BEAT).await;
    }
}
