//! Training: load, split, fit, evaluate, publish.

mod blending;
mod job;
mod load;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::domain::{Domain, ItemId};
use crate::engine::artifact::{ArtifactError, FORMAT, Manifest, Metrics, Model};
use crate::engine::blend::Blend;
use crate::engine::dataset::Dataset;
use crate::engine::scorers::ease::{self, EaseError};
use crate::engine::scorers::popularity;
use crate::engine::settings::{EngineSettings, InteractionSettings};
use crate::store::{Store, StoreError};

pub use job::start_job;
use load::{Loaded, load};

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
    Artifact(#[from] ArtifactError),
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
    pub models_dir: PathBuf,
}

/// Where training tells how far it is: a phase, and 0 to 1 over all phases.
pub type Progress = Arc<dyn Fn(&str, f32) + Send + Sync>;

/// Trains on what the store holds, publishes the artifact, records it in the store and makes it the active model.
/// The heavy part runs off the async threads. `now` becomes the manifest's `trained_at`.
///
/// # Errors
/// [`TrainingError`].
pub async fn train(
    store: Arc<dyn Store>,
    settings: TrainingSettings,
    now: Timestamp,
    progress: Progress,
) -> Result<Manifest, TrainingError> {
    progress("load", 0.0);
    let loaded = load(store.as_ref(), &settings).await?;
    let (fitting, report) = (settings.clone(), Arc::clone(&progress));
    let manifest = tokio::task::spawn_blocking(move || {
        let model = fit(loaded, &fitting, now, report.as_ref())?;
        report("publish", 0.97);
        Ok::<_, TrainingError>(model.publish(&fitting.models_dir)?)
    })
    .await
    .map_err(|error| TrainingError::Interrupted(error.to_string()))??;
    let json = serde_json::to_value(&manifest).map_err(|error| TrainingError::Interrupted(error.to_string()))?;
    store.record_model(&manifest.version, &json, now).await?;
    store.activate_model(&manifest.version, now).await?;
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
    loaded: Loaded,
    settings: &TrainingSettings,
    now: Timestamp,
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> Result<Model, TrainingError> {
    if loaded.items.is_empty() || loaded.data.items.is_empty() {
        let message = format!("{} items, {} interactions", loaded.items.len(), loaded.data.items.len());
        return Err(TrainingError::NothingToTrainOn(message));
    }
    let columns = Columns::choose(&loaded, settings);
    let (blend, metrics) = blending::fit(&loaded, &columns, settings, progress)?;
    progress("fit ease", 0.75);
    let data = columns.apply(&loaded.data);
    let weights = ease::fit(&data, columns.covered, settings.engine.ease_lambda, settings.engine.ease_keep_per_item)?;
    Ok(Model {
        manifest: manifest(&loaded, settings, now, blend, metrics),
        item_ids: columns.order.iter().map(|&item| loaded.items[item as usize].id.clone()).collect(),
        popularity: columns.popularity(&loaded, &loaded.popularity),
        ease: weights,
    })
}

/// The order of the model's columns: the items that EASE covers first, then the others, each group by id.
struct Columns {
    /// By column: the item's place in [`Loaded::items`].
    order: Vec<u32>,
    /// By the item's place: its column.
    column: Vec<u32>,
    /// How many columns EASE covers.
    covered: usize,
}

impl Columns {
    fn choose(loaded: &Loaded, settings: &TrainingSettings) -> Self {
        let supporters = loaded.data.supporters();
        let mut covered: Vec<u32> = (0..loaded.items.len() as u32)
            .filter(|&item| supporters[item as usize] as usize >= settings.engine.ease_min_users.max(1))
            .collect();
        covered.sort_by_key(|&item| (std::cmp::Reverse(supporters[item as usize]), item));
        covered.truncate(settings.engine.ease_max_items);
        covered.sort_unstable();
        let mut order = covered.clone();
        order.extend((0..loaded.items.len() as u32).filter(|item| covered.binary_search(item).is_err()));
        let mut column = vec![0; order.len()];
        for (place, &item) in order.iter().enumerate() {
            column[item as usize] = place as u32;
        }
        Self { order, column, covered: covered.len() }
    }

    /// The data in columns.
    fn apply(&self, data: &Dataset) -> Dataset {
        let mut out = Dataset::new(self.order.len());
        for user in 0..data.users() {
            let (items, strengths) = data.row(user);
            let mut row: Vec<(u32, f32)> =
                items.iter().zip(strengths).map(|(&item, &strength)| (self.column[item as usize], strength)).collect();
            out.push(&mut row);
        }
        out
    }

    fn popularity(&self, loaded: &Loaded, sums: &[f32]) -> Vec<f32> {
        let sums: Vec<f32> = self.order.iter().map(|&item| sums[item as usize]).collect();
        let domains: Vec<u16> = self.order.iter().map(|&item| loaded.domain_of[item as usize]).collect();
        popularity::normalised(&sums, &domains)
    }
}

fn manifest(loaded: &Loaded, settings: &TrainingSettings, now: Timestamp, blend: Blend, metrics: Metrics) -> Manifest {
    let parameters = serde_json::json!({
        "engine": settings.engine,
        "interactions": settings.interactions,
        "validation_share": settings.validation_share,
        "validation_max_users": settings.validation_max_users,
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
        blend,
        checksum: String::new(),
        bytes: 0,
    }
}

/// Deletes the oldest versions beyond `keep_versions`, never the active one nor the one before it.
async fn delete_old(store: &dyn Store, settings: &TrainingSettings) -> Result<(), TrainingError> {
    let mut models = store.models().await?;
    models.sort_by_key(|model| std::cmp::Reverse((model.activated_at, model.created_at)));
    for model in models.iter().skip(settings.keep_versions.max(2)).filter(|model| !model.active) {
        store.delete_model(&model.version).await?;
        let dir = settings.models_dir.join(&model.version);
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            tracing::warn!(%error, version = %model.version, "its artifact could not be deleted");
        }
    }
    Ok(())
}

/// An item as training needs it.
#[derive(Debug, Clone)]
struct TrainingItem {
    id: ItemId,
}
