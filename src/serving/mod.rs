//! What HTTP, the command line and a dashboard share: recommend, similar, ingest, the live model. Knows no HTTP.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::Config;
use crate::domain::{Domain, Event, Item, ItemId, ItemPatch, Query, RankedItem, Recommendation, UserId};
use crate::engine::artifact::Manifest;
use crate::store::{Appended, Erasure, ItemPage, ItemSearch, ModelRecord, Store, StoreError, StoredEvent, Upserted};

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
}

/// One model that a request can name.
#[derive(Debug, Clone)]
pub struct ModelEntry {
    /// `hybrid`, `ease`, `content`, `popularity`.
    pub name: &'static str,
    pub record: ModelRecord,
    pub manifest: Option<Manifest>,
}

/// Whether the service can take traffic.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// It can answer a recommendation.
    pub ready: bool,
    pub store_answers: bool,
    pub items: usize,
    pub model_version: Option<String>,
}

/// The running service: the store, the live catalogue and the live model.
pub struct Service {
    pub config: Arc<Config>,
    pub store: Arc<dyn Store>,
    models_dir: PathBuf,
}

impl Service {
    /// Loads catalogue and active model, and starts the task that follows changes made by other processes.
    /// A store that does not answer is waited for only briefly; the task goes on trying.
    ///
    /// # Errors
    /// [`ServiceError::Store`] when the store refuses for good.
    pub async fn start(_config: Arc<Config>, _store: Arc<dyn Store>) -> Result<Arc<Self>, ServiceError> {
        todo!()
    }
    /// Never fails: what is missing is named in `degraded`.
    pub async fn recommend(&self, _query: &Query) -> Recommendation {
        todo!()
    }
    pub async fn similar(
        &self,
        _item: &ItemId,
        _domains: &[Domain],
        _limit: usize,
    ) -> Result<Vec<(Domain, Vec<RankedItem>)>, ServiceError> {
        todo!()
    }
    /// The names that a request's `model` may have.
    #[must_use]
    pub fn model_names(&self) -> &'static [&'static str] {
        &crate::engine::pipeline::MODEL_NAMES
    }
    pub async fn upsert_items(self: &Arc<Self>, _items: Vec<Item>) -> Result<Vec<Upserted>, ServiceError> {
        todo!()
    }
    pub async fn patch_item(self: &Arc<Self>, _id: &ItemId, _patch: ItemPatch) -> Result<Item, ServiceError> {
        todo!()
    }
    pub async fn delete_item(self: &Arc<Self>, _id: &ItemId) -> Result<(), ServiceError> {
        todo!()
    }
    pub async fn item(&self, _id: &ItemId) -> Result<Item, ServiceError> {
        todo!()
    }
    pub async fn search_items(&self, _search: &ItemSearch) -> Result<ItemPage, ServiceError> {
        todo!()
    }
    pub async fn append_events(self: &Arc<Self>, _events: Vec<Event>) -> Result<Appended, ServiceError> {
        todo!()
    }
    pub async fn user_events(
        &self,
        _user: &UserId,
        _before: Option<(Timestamp, i64)>,
        _limit: u32,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        todo!()
    }
    pub async fn erase_user(self: &Arc<Self>, _user: &UserId) -> Result<Erasure, ServiceError> {
        todo!()
    }
    pub async fn merge_users(self: &Arc<Self>, _from: &UserId, _into: &UserId) -> Result<u64, ServiceError> {
        todo!()
    }
    /// Every model that can be asked for, of every version kept; newest version first.
    pub async fn models(&self) -> Result<Vec<ModelEntry>, ServiceError> {
        todo!()
    }
    /// Switches to a version; the one in force answers until the new one is loaded and checked.
    pub async fn activate(self: &Arc<Self>, _version: &str) -> Result<ModelRecord, ServiceError> {
        todo!()
    }
    pub async fn readiness(&self) -> Readiness {
        todo!()
    }
}
