//! What HTTP, the command line and a dashboard share: recommend, similar, ingest, the live model. Knows no HTTP.

mod answers;
mod asking;
mod ingest;
mod key_limits;
pub mod keys;
mod live_catalogue;
mod live_model;
mod locked;
mod meanings;
mod rankings;
mod recommend;
mod rerank;
mod snapshot;
mod tenants;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::breaker::Breaker;
use crate::config::Config;
use crate::engine::rerank::fusion::FusionWeights;
use crate::large_model::Providers;
use crate::store::Store;

/// The names that a request's `model` may have.
pub use crate::engine::pipeline::MODEL_NAMES;
// What callers get to see of the store, so that they need not know it.
pub use crate::store::{
    Appended, Erasure, Evaluation, ItemPage, ItemSearch, Job, JobState, ModelRecord, NewAct, StoreError, StoredEvent,
    Subject, Upserted,
};

pub use tenants::Tenants;

use answers::Answers;
use asking::in_time;
use live_catalogue::LiveCatalogue;
use live_model::LiveModels;
use locked::beside;
use rankings::Rankings;

/// So many of the newest evaluations are looked at.
const EVALUATIONS: u32 = 50;

/// So many searches go through a SQLite file at once: each works on a processor of the service until it has seen all items, and histories wait for its connection.
const SEARCHES: usize = 2;

/// What a caller asked for and cannot have.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    /// The artifact of that version cannot be used; the model in force stays.
    #[error("version `{version}` cannot be used: {reason}")]
    BrokenModel { version: String, reason: String },
    /// As many rankings are under way as there is room for.
    #[error("too many at once")]
    Overloaded,
    /// The artifact of that version is not to be seen from here: it was deleted, or has not arrived yet. The model in force stays.
    #[error("the files of version `{version}` are not there")]
    MissingModel { version: String },
    /// A provider's settings cannot be used.
    #[error("{0}")]
    Provider(String),
    /// A piece of work ended without a result; it may or may not have been done.
    #[error("the work was cut off: {0}")]
    Interrupted(String),
}

/// One model that a request can name.
#[derive(Debug, Clone)]
pub struct ModelEntry {
    /// One of [`MODEL_NAMES`].
    pub name: &'static str,
    pub record: ModelRecord,
}

/// Whether the service can take traffic.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// It can answer a recommendation: the catalogue has been read, from the store or from the disk. Stays so while the store is away, until the service is about to
    /// stop.
    pub ready: bool,
    pub store_answers: bool,
    pub items: usize,
    pub model_version: Option<String>,
}

/// The running service of one tenant: the store, the live catalogue and the live model.
pub struct Service {
    pub config: Arc<Config>,
    pub store: Arc<dyn Store>,
    catalogue: LiveCatalogue,
    models: LiveModels,
    /// To people as well: by what they have done, not by who they are.
    answers: Answers,
    /// For the histories that recommendations ask for.
    histories: Breaker,
    /// For what other requests read and write.
    reads: Breaker,
    writes: Breaker,
    rankings: Arc<Rankings>,
    /// One for each search through all items that is under way.
    searches: Arc<Semaphore>,
    pub providers: Arc<Providers>,
    /// By provider: what its opinion counts, as the newest evaluation measured it.
    measured: ArcSwap<BTreeMap<String, Arc<FusionWeights>>>,
    /// The evaluation that was read last.
    evaluation: Mutex<Option<String>>,
    /// It is about to stop.
    leaving: AtomicBool,
}

impl Service {
    /// Loads catalogue and active model, and starts the task that follows changes made by other processes.
    /// A store that does not answer is no error: the service starts without, and the task goes on trying.
    ///
    /// # Errors
    /// [`ServiceError::Store`] when the store refuses for good.
    pub async fn start(config: Arc<Config>, store: Arc<dyn Store>) -> Result<Arc<Self>, ServiceError> {
        let rankings = Arc::new(Rankings::new(config.server.max_rankings));
        Self::start_with(config, store, rankings).await
    }

    /// The same for another tenant's store, in the room that this service has.
    ///
    /// # Errors
    /// [`ServiceError::Store`] when the store refuses for good.
    async fn start_beside(&self, store: Arc<dyn Store>) -> Result<Arc<Self>, ServiceError> {
        Self::start_with(Arc::clone(&self.config), store, Arc::clone(&self.rankings)).await
    }

    async fn start_with(
        config: Arc<Config>,
        store: Arc<dyn Store>,
        rankings: Arc<Rankings>,
    ) -> Result<Arc<Self>, ServiceError> {
        let models_dir: PathBuf = config.models_dir(store.tenant());
        let snapshot = config.snapshot(store.tenant());
        let service = Arc::new(Self {
            catalogue: LiveCatalogue::new(&config.domains, snapshot.clone()),
            models: LiveModels::new(models_dir),
            answers: Answers::new(config.recommend.kept_answers_mib << 20),
            histories: Breaker::default(),
            reads: Breaker::default(),
            writes: Breaker::default(),
            rankings,
            searches: Arc::new(Semaphore::new(if store.kind() == "sqlite" {
                SEARCHES
            } else {
                Semaphore::MAX_PERMITS
            })),
            measured: ArcSwap::default(),
            evaluation: Mutex::default(),
            leaving: AtomicBool::new(false),
            providers: Arc::new(Providers::new(&config.large_model).map_err(ServiceError::Provider)?),
            config,
            store,
        });
        match service.refresh().await {
            Err(ServiceError::Store(StoreError::Unavailable(reason))) => {
                tracing::warn!(%reason, "the store does not answer; starting without, and trying on");
                service.start_from_disk().await;
            }
            other => other?,
        }
        // A small catalogue has all vectors of its texts before anybody asks.
        beside(&service.catalogue.locked, |locked| locked.embed(0)).await;
        let interval = service.config.database.refresh_interval();
        tokio::spawn(embed(Arc::downgrade(&service), interval));
        tokio::spawn(follow(Arc::downgrade(&service), interval));
        tokio::spawn(snapshot::follow(Arc::downgrade(&service), snapshot, interval));
        Ok(service)
    }

    /// Takes catalogue and model from the disk, as far as they are there.
    async fn start_from_disk(&self) {
        match self.catalogue.start_from_disk().await {
            Ok(Some(head)) => {
                tracing::warn!(items = head.items, "answering from the catalogue on the disk until the store does");
                self.models.start_from(&self.catalogue, head.model).await;
            }
            Ok(None) => tracing::warn!("there is no catalogue on the disk: not ready before the store answers"),
            Err(error) => tracing::error!(%error, "the catalogue on the disk cannot be used"),
        }
    }

    /// Takes over what other processes have changed: items, and the active model.
    ///
    /// # Errors
    /// [`ServiceError::Store`].
    pub async fn refresh(&self) -> Result<(), ServiceError> {
        let patience = self.config.database.timeout();
        // Both at once, for a start: items take their places before a model takes its.
        let catalogue = self.catalogue.refresh(self.store.as_ref(), patience);
        let (refreshed, opened) = tokio::join!(catalogue, self.models.open_active(self.store.as_ref(), patience));
        refreshed?;
        if let Some(opened) = opened? {
            self.models.take(opened, &self.catalogue).await;
        }
        self.refresh_evaluations().await
    }

    /// Takes over what evaluations have measured of providers, the newest of each.
    async fn refresh_evaluations(&self) -> Result<(), ServiceError> {
        let patience = self.config.database.timeout();
        let newest = in_time(patience, self.store.newest_evaluation()).await?;
        if *self.evaluation.lock().unwrap_or_else(PoisonError::into_inner) == newest {
            return Ok(());
        }
        let mut measured = BTreeMap::new();
        for evaluation in in_time(patience, self.store.evaluations(EVALUATIONS)).await? {
            let weights = evaluation.report.get("fusion").cloned().unwrap_or_default();
            let weights: BTreeMap<String, FusionWeights> = serde_json::from_value(weights).unwrap_or_default();
            for (provider, weights) in weights {
                measured.entry(provider).or_insert_with(|| Arc::new(weights));
            }
        }
        self.measured.store(Arc::new(measured));
        *self.evaluation.lock().unwrap_or_else(PoisonError::into_inner) = newest;
        Ok(())
    }

    /// The names that a request's `model` may have.
    #[must_use]
    pub fn model_names(&self) -> &'static [&'static str] {
        &crate::engine::pipeline::MODEL_NAMES
    }

    /// Every model that can be asked for, of every version kept; newest version first.
    ///
    /// # Errors
    /// [`ServiceError::Store`].
    pub async fn models(&self) -> Result<Vec<ModelEntry>, ServiceError> {
        let records = self.read(self.store.models()).await?;
        let entries = records
            .into_iter()
            .flat_map(|record| self.model_names().iter().map(move |name| ModelEntry { name, record: record.clone() }));
        Ok(entries.collect())
    }

    /// Switches to a version; the one in force answers until the new one is loaded and checked.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], [`ServiceError::BrokenModel`] (the model in force stays), [`ServiceError::Store`].
    pub async fn activate(self: &Arc<Self>, version: &str) -> Result<ModelRecord, ServiceError> {
        let (service, version) = (Arc::clone(self), version.to_owned());
        uncancelled(async move {
            let patience = service.config.database.timeout();
            service.models.activate(service.store.as_ref(), &service.catalogue, &version, patience).await
        })
        .await
    }

    /// From now on it says that it cannot take traffic, so that none is sent any more; what comes is answered.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether the service can take traffic, and on what.
    pub async fn readiness(&self) -> Readiness {
        let patience = self.config.database.acquire_timeout();
        let store_answers = matches!(tokio::time::timeout(patience, self.store.ping()).await, Ok(Ok(())));
        Readiness {
            ready: self.catalogue.is_loaded() && !self.leaving.load(Ordering::Relaxed),
            store_answers,
            items: self.catalogue.locked.items(),
            model_version: self.models.current().map(|live| live.model.manifest.version.clone()),
        }
    }
}

/// Runs `work` to its end even when the caller goes away in the middle: what is acknowledged, and what is written and then
/// applied in memory, must not depend on a client keeping its connection.
async fn uncancelled<T: Send + 'static>(
    work: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(ServiceError::Interrupted(error.to_string())))
}

/// Makes the vectors of the items' texts as items come, as long as the service lives.
async fn embed(service: Weak<Service>, interval: Duration) {
    let (mut place, mut seen) = (Some(0), 0);
    loop {
        let Some(locked) = service.upgrade().map(|service| Arc::clone(&service.catalogue.locked)) else { return };
        let changes = locked.changes();
        let from = place.or((changes != seen).then_some(0));
        if let Some(from) = from {
            if from == 0 {
                seen = changes;
            }
            place = beside(&locked, move |locked| locked.embed(from)).await;
        } else {
            drop(locked);
            tokio::time::sleep(interval).await;
        }
    }
}

async fn follow(service: Weak<Service>, interval: Duration) {
    let mut away = false;
    loop {
        tokio::time::sleep(interval).await;
        let Some(service) = service.upgrade() else { return };
        let outcome = service.refresh().await;
        if let Err(error) = &outcome
            && !away
        {
            tracing::warn!(%error, "cannot follow changes in the store; answering from memory, and trying on");
        } else if outcome.is_ok() && away {
            tracing::info!("the store answers again");
        }
        away = outcome.is_err();
    }
}
