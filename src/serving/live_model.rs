//! The model that answers now, and the one before it.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use tokio::sync::{Mutex, MutexGuard};

use crate::engine::artifact::{ArtifactError, BoundModel, Manifest, Model};
use crate::store::{ModelRecord, Store};

use super::ServiceError;
use super::asking::in_time;
use super::live_catalogue::LiveCatalogue;
use super::locked::{Locked, beside};

/// The versions that have an artifact in this folder, newest first.
fn versions(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let manifests = entries.filter_map(|entry| Manifest::read(&entry.path()).ok());
    let mut versions: Vec<(Timestamp, String)> =
        manifests.map(|manifest| (manifest.trained_at, manifest.version)).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, version)| version).collect()
}

/// Swapping a model is swapping a pointer: a request keeps the model it began with.
pub(super) struct LiveModels {
    models_dir: PathBuf,
    current: ArcSwapOption<BoundModel>,
    /// Kept in memory, so that going back to it needs no loading; without its view, which may be as large as itself.
    previous: ArcSwapOption<BoundModel>,
    /// Held by whoever switches; the versions that could not be used, so that each is complained of once.
    switching: Mutex<HashMap<String, Refusal>>,
}

/// A model that can be used. While there is one, nobody else switches.
pub(super) struct Opened<'a> {
    model: Checked,
    _switching: MutexGuard<'a, HashMap<String, Refusal>>,
}

enum Checked {
    Read(Box<Model>),
    /// It was in force before.
    Bound(Arc<BoundModel>),
}

impl Checked {
    async fn bind(self, catalogue: &LiveCatalogue) -> Arc<BoundModel> {
        match self {
            Self::Read(model) => {
                let bind = move |locked: &Locked| Arc::new(locked.writing(|catalogue| model.bind(catalogue)));
                beside(&catalogue.locked, bind).await
            }
            Self::Bound(model) => model,
        }
    }
}

/// A version that could not be used so far.
struct Refusal {
    /// When it is tried again.
    again_at: Instant,
    /// How long after that.
    pause: Duration,
}

/// A broken artifact is read again after as long at most: it may be one that another machine is still copying.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);

impl LiveModels {
    pub(super) fn new(models_dir: PathBuf) -> Self {
        Self {
            models_dir,
            current: ArcSwapOption::empty(),
            previous: ArcSwapOption::empty(),
            switching: Mutex::default(),
        }
    }

    pub(super) fn current(&self) -> Option<Arc<BoundModel>> {
        self.current.load_full()
    }

    fn runs(&self, version: &str) -> bool {
        self.current.load().as_ref().is_some_and(|live| live.model.manifest.version == version)
    }

    /// Opens the version that the store calls active, if it is not the one in force. One that is broken, or whose files are not to be seen here yet, is refused, the
    /// model in force stays, and it is tried again later; with none in force the newest version that is whole takes its place.
    pub(super) async fn open_active(
        &self,
        store: &dyn Store,
        patience: Duration,
    ) -> Result<Option<Opened<'_>>, ServiceError> {
        if let Some(previous) = self.previous.load().as_ref() {
            // Here and not where it was switched from: a request that had begun with it would make another.
            previous.drop_view();
        }
        let Some(active) = in_time(patience, store.active_model()).await? else { return Ok(None) };
        if self.runs(&active) {
            return Ok(None);
        }
        let mut refused = self.switching.lock().await;
        // Whoever had it may have switched to another.
        let Some(active) = in_time(patience, store.active_model()).await? else { return Ok(None) };
        let mut candidates = vec![active];
        if self.current.load().is_none() {
            candidates.extend(in_time(patience, store.models()).await?.into_iter().map(|record| record.version));
        }
        for version in candidates {
            if self.runs(&version) {
                return Ok(None);
            }
            let before = refused.get(&version);
            if before.is_some_and(|before| Instant::now() < before.again_at) {
                continue;
            }
            match self.open(&version).await {
                Ok(model) => {
                    refused.remove(&version);
                    return Ok(Some(Opened { model, _switching: refused }));
                }
                Err(error) => {
                    match before {
                        None => {
                            tracing::error!(%error, "a model is refused; the one in force stays; trying again later")
                        }
                        Some(_) => tracing::debug!(%error, "a model is refused again"),
                    }
                    // What is not there costs nothing to look for at every turn; all of a broken artifact is read each time.
                    let is_missing = matches!(&error, ServiceError::MissingModel { .. });
                    let pause = before.map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
                    let pause = if is_missing { Duration::ZERO } else { pause };
                    refused.insert(version, Refusal { again_at: Instant::now() + pause, pause });
                }
            }
        }
        Ok(None)
    }

    /// Switches to a model that was opened.
    pub(super) async fn take(&self, opened: Opened<'_>, catalogue: &LiveCatalogue) {
        self.switch_to(opened.model.bind(catalogue).await);
    }

    /// Takes the version of this name, or else the newest, of those on the disk that are whole: for a start without the store.
    pub(super) async fn start_from(&self, catalogue: &LiveCatalogue, wanted: Option<String>) {
        let folder = self.models_dir.clone();
        let on_disk = tokio::task::spawn_blocking(move || versions(&folder)).await.unwrap_or_default();
        for version in wanted.into_iter().chain(on_disk) {
            match self.open(&version).await {
                Ok(model) => return self.switch_to(model.bind(catalogue).await),
                Err(error) => tracing::warn!(%error, "a model on the disk cannot be used"),
            }
        }
    }

    pub(super) async fn activate(
        &self,
        store: &dyn Store,
        catalogue: &LiveCatalogue,
        version: &str,
        patience: Duration,
    ) -> Result<ModelRecord, ServiceError> {
        let mut refused = self.switching.lock().await;
        let unknown = || ServiceError::NotFound { what: "model version", id: version.to_owned() };
        if !in_time(patience, store.models()).await?.iter().any(|record| record.version == version) {
            return Err(unknown());
        }
        let model = if self.runs(version) { None } else { Some(self.open(version).await?) };
        // What comes of it later than that is seen at the next look at the store, as if another process had done it.
        if !in_time(patience, store.activate_model(version, Timestamp::now())).await? {
            return Err(unknown());
        }
        refused.remove(version);
        if let Some(model) = model {
            self.switch_to(model.bind(catalogue).await);
        }
        in_time(patience, store.models())
            .await?
            .into_iter()
            .find(|record| record.version == version)
            .ok_or_else(unknown)
    }

    /// The model of this version, checked: from memory if it is the previous one, else from its artifact.
    async fn open(&self, version: &str) -> Result<Checked, ServiceError> {
        if let Some(previous) = self.previous.load_full()
            && previous.model.manifest.version == version
        {
            return Ok(Checked::Bound(previous));
        }
        let broken = |reason: String| ServiceError::BrokenModel { version: version.to_owned(), reason };
        // A version names a folder: nothing that could lead elsewhere is followed.
        if Path::new(version).components().count() != 1 || version.starts_with('.') {
            return Err(broken("not the name of a version".to_owned()));
        }
        let dir = self.models_dir.join(version);
        let opened = tokio::task::spawn_blocking(move || Model::open(&dir)).await;
        let model = opened.map_err(|error| broken(error.to_string()))?.map_err(|error| match error {
            ArtifactError::Io(error) if error.kind() == ErrorKind::NotFound => {
                ServiceError::MissingModel { version: version.to_owned() }
            }
            error => broken(error.to_string()),
        })?;
        if model.manifest.version != version {
            return Err(broken(format!("its manifest is of version `{}`", model.manifest.version)));
        }
        Ok(Checked::Read(Box::new(model)))
    }

    fn switch_to(&self, model: Arc<BoundModel>) {
        tracing::info!(version = %model.model.manifest.version, "this model answers from now on");
        let before = self.current.swap(Some(model));
        self.previous.store(before);
    }
}
