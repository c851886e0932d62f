//! Training: load, split, fit, evaluate, publish.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::Domain;
use crate::engine::artifact::Manifest;
use crate::engine::settings::{EngineSettings, InteractionSettings};
use crate::store::{Job, Store, StoreError};

/// Why no model came of it.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is nothing to train on: {0}")]
    NothingToTrainOn(String),
    #[error(transparent)]
    Artifact(#[from] crate::engine::artifact::ArtifactError),
    #[error("the training was cut off: {0}")]
    Interrupted(String),
}

/// All that training needs to know.
#[derive(Debug, Clone)]
pub struct TrainingSettings {
    pub domains: Vec<Domain>,
    pub interactions: InteractionSettings,
    pub engine: EngineSettings,
    pub seed: u64,
    pub validation_share: f64,
    pub validation_max_users: usize,
    pub keep_versions: usize,
    pub models_dir: std::path::PathBuf,
}

/// Where training tells how far it is: a phase such as `load`, `fit_ease`, `fit_blend`, `publish`; 0 to 1 over all phases.
pub type Progress = Arc<dyn Fn(&str, f32) + Send + Sync>;

/// Trains on what the store holds, publishes the artifact, records it in the store and makes it the active model.
/// The heavy part runs off the async threads. `now` becomes the manifest's `trained_at`.
///
/// # Errors
/// [`TrainingError`].
pub async fn train(
    _store: Arc<dyn Store>,
    _settings: TrainingSettings,
    _now: Timestamp,
    _progress: Progress,
) -> Result<Manifest, TrainingError> {
    todo!()
}

/// Starts [`train`] as a job (one at a time across all replicas) in a task of its own, which keeps the job's record up to date.
///
/// # Errors
/// [`StoreError::Conflict`] when a job is running.
pub async fn start_job(_store: Arc<dyn Store>, _settings: TrainingSettings) -> Result<Job, StoreError> {
    todo!()
}
