//! Training: load, split, fit, evaluate, publish.

mod blending;
pub mod experiment;
mod fitting;
mod hold_out;
mod item_vectors;
mod job;
mod load;
mod memory;
mod new_items;
mod stacking;
mod text_share;
mod threads;
mod trainer;
mod tuning;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::domain::Domain;
use crate::engine::artifact::{ArtifactError, FORMAT, Manifest, Metrics, Model};
use crate::engine::blend::Blend;
use crate::engine::scorers::ease::EaseError;
use crate::engine::scorers::implicit_als::AlsError;
use crate::engine::settings::{EngineSettings, InteractionSettings};
use crate::large_model::Embedder;
use crate::store::{Store, StoreError};

use fitting::{Columns, NEVER, fit_only, fit_scorers};
pub use job::{JobWatch, start_job};
use load::{Loaded, load};
use text_share::TextShare;
use threads::{Beside, apart};

/// Why no model came of it.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is nothing to train on: {0}")]
    NothingToTrainOn(String),
    #[error(transparent)]
    Ease(#[from] EaseError),
    #[error(transparent)]
    Als(#[from] AlsError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("the future is in what is to be trained on: {0}")]
    Leak(String),
    #[error("the training does not fit into memory: {0}")]
    TooLarge(String),
    #[error("the split cannot be read: {0}")]
    Split(String),
    #[error("the training was cut off: {0}")]
    Interrupted(String),
    /// Nothing was published.
    #[error("another trainer has begun since")]
    Superseded,
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
    /// People are held out so many times, others each time, as long as there are not enough.
    pub validation_rounds: usize,
    /// The blend is the mean of what so many random halves of the people held out teach.
    pub blend_samples: usize,
    pub keep_versions: usize,
    pub models_dir: PathBuf,
    /// Who turns the items' texts into vectors; `None`: nobody.
    pub embedder: Option<Embedder>,
    /// Search for hyper-parameters first, for so long at most.
    pub tune: Option<Duration>,
    /// Refuse a training that takes more memory; 0: more than the machine has left.
    pub max_memory_mib: u64,
}

/// Where training tells how far it is: a phase, and 0 to 1 over all phases.
pub type Progress = Arc<dyn Fn(&str, f32) + Send + Sync>;

/// Trains on what the store holds, publishes the artifact, records it in the store and makes it the active model. The heavy part runs off the async
/// threads. `now` becomes the manifest's `trained_at`.
///
/// # Errors
/// [`TrainingError`]; a [`StoreError::Conflict`] when somebody else trains.
pub async fn train(
    store: Arc<dyn Store>,
    settings: TrainingSettings,
    now: Timestamp,
    progress: Progress,
) -> Result<Manifest, TrainingError> {
    let mut lock = store.begin_training().await?;
    let training = train_as(&store, settings, (lock.epoch(), Beside::Nothing), now, progress);
    let outcome = trainer::keeping(lock.as_mut(), training, None).await;
    lock.release().await;
    outcome
}

/// The same as the trainer of this epoch.
async fn train_as(
    store: &Arc<dyn Store>,
    settings: TrainingSettings,
    (epoch, beside): (i64, Beside),
    now: Timestamp,
    progress: Progress,
) -> Result<Manifest, TrainingError> {
    progress("load", 0.0);
    let mut loaded = load(store.as_ref(), &settings).await?;
    loaded.add_vectors(store.as_ref(), &settings, &|phase, part| progress(phase, 0.05 * part)).await;
    let (fitting, report) = (settings.clone(), Arc::clone(&progress));
    // What is fitted comes back here before it is published: whoever has lost the right to train meanwhile publishes nothing.
    let model = tokio::task::spawn_blocking(move || apart(beside, || fit(&loaded, &fitting, now, report.as_ref())))
        .await
        .map_err(|error| TrainingError::Interrupted(error.to_string()))???;
    progress("publish", 0.97);
    let manifest = trainer::publish(store, &settings, model, epoch, now).await?;
    if let Err(error) = delete_old(store.as_ref(), &settings).await {
        tracing::warn!(%error, "old versions could not be deleted");
    }
    progress("done", 1.0);
    Ok(manifest)
}

/// Fits all scorers and the blend on what was loaded. The same data, settings and `now` give the same model.
///
/// # Errors
/// [`TrainingError::NothingToTrainOn`], [`TrainingError::Ease`].
fn fit(
    loaded: &Loaded,
    settings: &TrainingSettings,
    now: Timestamp,
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> Result<Model, TrainingError> {
    check(loaded, settings)?;
    let (mut settings, mut tuning, mut done) = (settings.clone(), None, 0.0);
    if let Some(budget) = settings.tune {
        done = 0.6;
        let tuned = tuning::tune(loaded, &settings, budget, &|phase, part| progress(phase, done * part))?;
        settings.engine = tuned.engine.clone();
        tuning = Some(tuned);
    }
    let progress = |phase: &str, part: f32| progress(phase, done + (1.0 - done) * part);
    let columns = Columns::choose(loaded, &settings);
    let (blend, metrics, share) = blending::fit(loaded, &columns, &settings, &progress)?;
    let manifest = manifest(loaded, &settings, now, blend, metrics);
    let report = |phase: &str, part: f32| progress(phase, 0.6 + 0.35 * part);
    let (mut model, _) = fit_scorers(
        loaded,
        &columns,
        &settings,
        (&loaded.data, &loaded.times),
        manifest,
        TextShare::Known(share),
        &report,
    )?;
    model.meanings = columns.meanings(loaded);
    if let Some(report) = &loaded.vector_report {
        model.manifest.parameters["item_vectors"] = serde_json::json!(report);
        model.manifest.parameters["ease_text_share"] = serde_json::json!(share);
    }
    if let Some(tuned) = tuning {
        model.manifest.parameters["tuning"] =
            serde_json::json!({"trials": tuned.trials, "unfinished": tuned.unfinished});
    }
    Ok(model)
}

/// Fits these scorers and no blend, for whoever asks each of them alone. Not for EASE and iALS where those are to be as in a whole model: learning the blend finds
/// out how much texts count in the one and how the other scores new items.
fn fit_alone(loaded: &Loaded, settings: &TrainingSettings, names: &[&str]) -> Result<Model, TrainingError> {
    check(loaded, settings)?;
    let manifest = manifest(loaded, settings, NEVER, Blend::default(), Metrics::new());
    let columns = Columns::choose(loaded, settings);
    fit_only(loaded, &columns, settings, (&loaded.data, &loaded.times), manifest, names)
}

/// Whether there is something to train on, and room for it.
fn check(loaded: &Loaded, settings: &TrainingSettings) -> Result<(), TrainingError> {
    if loaded.items.is_empty() || loaded.data.items.is_empty() {
        let message = format!("{} items, {} interactions", loaded.items.len(), loaded.data.items.len());
        return Err(TrainingError::NothingToTrainOn(message));
    }
    memory::check(loaded, &Columns::choose(loaded, settings), settings)
}

fn manifest(loaded: &Loaded, settings: &TrainingSettings, now: Timestamp, blend: Blend, metrics: Metrics) -> Manifest {
    let parameters = serde_json::json!({
        "engine": settings.engine,
        "interactions": settings.interactions,
        "validation_share": settings.validation_share,
        "validation_max_users": settings.validation_max_users,
        "validation_rounds": settings.validation_rounds,
        "blend_samples": settings.blend_samples,
    });
    // Two trainings within one second, or at the same `now` with other settings, must not meet.
    let mut hash = Sha256::new();
    hash.update(loaded.fingerprint.as_bytes());
    hash.update(parameters.to_string());
    hash.update(settings.seed.to_le_bytes());
    hash.update(now.as_nanosecond().to_le_bytes());
    let suffix: String = hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Manifest {
        format: FORMAT,
        version: format!("{}-{suffix}", now.strftime("%Y%m%dT%H%M%SZ")),
        trained_at: now,
        data_fingerprint: loaded.fingerprint.clone(),
        seed: settings.seed,
        parameters,
        metrics,
        users: loaded.data.users() as u64,
        items: loaded.items.len() as u64,
        interactions: loaded.data.items.len() as u64,
        als: settings.engine.ials,
        ease_strength_exponent: settings.engine.ease_strength_exponent,
        blend,
        checksum: String::new(),
        bytes: 0,
    }
}

/// Deletes the oldest versions beyond `keep_versions`, never the active one nor the one before it; and what was left behind.
async fn delete_old(store: &dyn Store, settings: &TrainingSettings) -> Result<(), TrainingError> {
    let mut models = store.models().await?;
    trainer::delete_unknown(&settings.models_dir, &models);
    models.sort_by_key(|model| std::cmp::Reverse((model.activated_at, model.created_at)));
    for model in models.iter().skip(settings.keep_versions.max(2)).filter(|model| !model.active) {
        store.delete_model(&model.version).await?;
        trainer::delete_artifact(&settings.models_dir, &model.version);
    }
    Ok(())
}
