//! Where catalogue, behaviour, models, jobs and keys are kept: one interface, Postgres and SQLite behind it.
//!
//! All of the project's SQL is in this folder. The traits are small, one for each noun; [`Store`] is all
//! of them. A deployment picks the database by its URL: [`open`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

pub use audit::{Act, AuditStore, NewAct, Subject};
pub use history::StoredHistory;
pub use keys::{DayUse, KeyRecord, KeyStore, PreviousSecret};
pub use sealing::MasterKey;
pub use training::{TrainingLock, TrainingStore};

use people::People;

use crate::domain::{Behaviour, Domain, Event, Item, ItemId, ItemPatch, Tenant, UserId, VectorSource};

#[macro_use]
mod shared;
mod audit;
mod behaviour;
mod catalogue;
mod error;
mod evaluations;
mod history;
mod jobs;
mod keys;
mod models;
mod people;
pub mod postgres;
mod sealing;
mod searching;
pub mod sqlite;
mod training;
mod vectors;

/// What went wrong in the store, as far as a caller can act on it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Cannot be reached, or has no connection free in time: try again later.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// There is no room for what was to be written. What was there can be read; it passes when there is room again.
    #[error("the database has no room left")]
    Full,
    /// Somebody else got there first: a job is already running.
    #[error("{0}")]
    Conflict(String),
    /// The database refused for a reason that trying again does not change.
    #[error("the database refused: {0}")]
    Failed(String),
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// How to open a store. The URL may hold a password: `Debug` leaves it out.
#[derive(Clone)]
pub struct Options {
    /// `postgres://…` or `sqlite://path`; `?max_size_mib=N` behind the latter is a limit on the size of the file.
    pub url: String,
    pub max_connections: u32,
    /// How long one caller waits for a free connection.
    pub acquire_timeout: Duration,
    /// Encrypts behaviour at rest ([`EncryptionStore`]).
    pub master_key: Option<Arc<MasterKey>>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .finish_non_exhaustive()
    }
}

/// What became of one upserted item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upserted {
    Created,
    Updated,
    /// It was stored already, just like this.
    Unchanged,
}

/// A page of items.
#[derive(Debug, Clone, Default)]
pub struct ItemPage {
    pub items: Vec<Item>,
    /// Where to go on; `None` at the end.
    pub next: Option<(bool, ItemId)>,
}

/// Which items to list. Ordered by id; those that have all words of the text in their title come before the others.
#[derive(Debug, Clone, Default)]
pub struct ItemSearch {
    pub domain: Option<Domain>,
    /// What words in title, creators, genres, tags or description begin with; all of these must occur (without regard to case and accents; in any script).
    pub text: Option<String>,
    /// Start after this item: whether it has all words of the text in its title, and its id.
    pub after: Option<(bool, ItemId)>,
    pub limit: u32,
}

/// One change of the catalogue, for whoever keeps a copy in memory.
#[derive(Debug, Clone)]
pub enum ItemChange {
    Stored(Item),
    Deleted(ItemId),
}

#[async_trait]
pub trait CatalogueStore: Send + Sync {
    /// Stores items, each as a whole; one outcome for each, in order. All or none.
    async fn upsert_items(&self, items: &[Item]) -> Result<Vec<Upserted>>;
    async fn item(&self, id: &ItemId) -> Result<Option<Item>>;
    /// Changes some fields of an item, and leaves what others have changed meanwhile; the item as it is now, or `None` when there is none.
    async fn patch_item(&self, id: &ItemId, patch: &ItemPatch) -> Result<Option<Item>>;
    /// Whether there was one to delete. Its behaviour stays.
    async fn delete_item(&self, id: &ItemId) -> Result<bool>;
    async fn search_items(&self, search: &ItemSearch) -> Result<ItemPage>;
    /// Writes anew what searches look at, of the items of all tenants that an earlier version of this program has stored.
    async fn renew_search(&self) -> Result<()>;
    async fn count_items(&self) -> Result<u64>;
    /// All changes after `revision`, oldest first, at most `limit`, each with its revision. From 0 it
    /// replays the whole catalogue (an item once, as it is now). A revision becomes visible only after
    /// all smaller ones have, so a reader that continues from the last one misses nothing.
    async fn item_changes(&self, revision: i64, limit: u32) -> Result<Vec<(i64, ItemChange)>>;
    /// Whether the newest change of some item is of this revision. Revisions cannot be foreseen: a store that has one has the same past, up to there, as
    /// whoever learned of it.
    async fn has_revision(&self, revision: i64) -> Result<bool>;
}

/// What became of a batch of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub accepted: u64,
    pub duplicates: u64,
    /// Behaviour up to here includes this batch.
    pub watermark: i64,
}

/// An event as it was stored: its place in the log, and itself.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    pub sequence: i64,
    pub event: Event,
}

/// What was erased about one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub events: u64,
}

/// All behaviour of one person, for training.
pub type UserHistory = (UserId, Vec<Behaviour>);

#[async_trait]
pub trait BehaviourStore: Send + Sync {
    /// Stores events durably before it returns; an `event_id` that is known (in the store, or earlier in
    /// the batch) counts as a duplicate and changes nothing. All or none.
    async fn append_events(&self, events: &[Event]) -> Result<Appended>;
    /// Bulk load of the same events by the fastest way the database has (COPY into a staging table and a merge on
    /// Postgres, multi-row inserts on SQLite). Same meaning as `append_events`.
    async fn load_events(&self, events: &[Event]) -> Result<Appended>;
    /// What one person did, as the database holds it; impressions are left out.
    async fn read_history(&self, user: &UserId) -> Result<StoredHistory>;
    /// What that says: one entry for each item and kind, ordered by item id and kind. The history must be one that this store has read.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when it cannot be understood, or was sealed under another key.
    fn open_history(&self, user: &UserId, stored: &StoredHistory) -> Result<Vec<Behaviour>>;
    /// Both at once.
    async fn history(&self, user: &UserId) -> Result<Vec<Behaviour>> {
        self.open_history(user, &self.read_history(user).await?)
    }
    /// The place of the newest event in the log; 0 when there is none.
    async fn watermark(&self) -> Result<i64>;
    /// Newest first (by time, then place in the log). `before`: the last event of the page before.
    async fn user_events(
        &self,
        user: &UserId,
        before: Option<(Timestamp, i64)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>>;
    /// All events after this place in the log, oldest first, at most `limit`.
    async fn events(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>>;
    /// Deletes all behaviour of one person.
    async fn erase_user(&self, user: &UserId) -> Result<Erasure>;
    /// Gives all behaviour of `from` to `into`; the number of events that moved.
    async fn merge_users(&self, from: &UserId, into: &UserId) -> Result<u64>;
    /// The histories of all people after `after`, at most `limit` people: in the byte order of user ids or, where behaviour is encrypted, of
    /// the pseudonyms that stand for them.
    async fn histories(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserHistory>>;
    async fn count_events(&self) -> Result<u64>;
}

/// Encryption of behaviour at rest. A store that was opened with a master key encrypts from its first event on; which event belongs to
/// which other, whether it is an impression, and how many there are, stays in sight.
#[async_trait]
pub trait EncryptionStore: Send + Sync {
    /// Whether behaviour is encrypted; makes the tenant's key where there is a master key and no behaviour yet.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the master key is missing, is another one, or when behaviour is there that is not encrypted.
    async fn unlock(&self) -> Result<bool>;
    /// Encrypts all behaviour of a tenant that is not encrypted yet, all or nothing, and clears what it was from the files; the number of
    /// events. No service may run on it meanwhile.
    async fn encrypt(&self) -> Result<u64>;
    /// From now on, this master key opens the store, all tenants of it; one that it opens already stays as it is. A process that has opened it before goes on.
    async fn change_master_key(&self, new: &MasterKey) -> Result<()>;
}

/// A trained model as the store knows it; its numbers lie in an artifact beside the store.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRecord {
    pub version: String,
    /// The manifest of the artifact, as JSON.
    pub manifest: serde_json::Value,
    pub created_at: Timestamp,
    pub active: bool,
    /// When it was last made the active one.
    pub activated_at: Option<Timestamp>,
}

#[async_trait]
pub trait ModelStore: Send + Sync {
    /// Records what the trainer of this epoch made, and makes it the active model, in one; false, and nothing has changed, when there was another
    /// trainer since. Doing so again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is a version of this name by somebody else.
    async fn publish_model(
        &self,
        version: &str,
        manifest: &serde_json::Value,
        epoch: i64,
        now: Timestamp,
    ) -> Result<bool>;
    /// Newest first.
    async fn models(&self) -> Result<Vec<ModelRecord>>;
    /// Makes this version the only active one; false when there is none of this name.
    async fn activate_model(&self, version: &str, now: Timestamp) -> Result<bool>;
    /// The version that is active.
    async fn active_model(&self) -> Result<Option<String>>;
    /// Forgets a version, unless it is the active one ([`StoreError::Conflict`]).
    async fn delete_model(&self, version: &str) -> Result<()>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    Running,
    Succeeded,
    Failed,
}

impl JobState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A piece of long work.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: String,
    /// `train`.
    pub kind: String,
    pub state: JobState,
    pub phase: String,
    /// 0 to 1.
    pub progress: f32,
    /// The last lines of its log.
    pub log: Vec<String>,
    pub result: Option<serde_json::Value>,
    /// How many trainers have worked on it: each after the first took it over from one that was gone.
    pub trainers: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Jobs belong to the trainer of an epoch ([`TrainingStore`]); one that is not the newest changes none.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Records a new job of the trainer of this epoch; false when there was another trainer since.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of its kind is recorded as running.
    async fn start_job(&self, job: &Job, epoch: i64) -> Result<bool>;
    /// Gives the running job of this kind, if there is one, to the trainer of this epoch, provided that it is the newest.
    async fn adopt_job(&self, kind: &str, epoch: i64, now: Timestamp) -> Result<Option<Job>>;
    /// Stores its state as given; false when it has ended, or is another trainer's.
    async fn update_job(&self, job: &Job, epoch: i64) -> Result<bool>;
    async fn running_job(&self, kind: &str) -> Result<Option<Job>>;
    async fn job(&self, id: &str) -> Result<Option<Job>>;
}

/// A comparison of models and providers.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    pub id: String,
    pub report: serde_json::Value,
    pub created_at: Timestamp,
}

#[async_trait]
pub trait EvaluationStore: Send + Sync {
    async fn record_evaluation(&self, id: &str, report: &serde_json::Value, now: Timestamp) -> Result<()>;
    /// Newest first, at most `limit`.
    async fn evaluations(&self, limit: u32) -> Result<Vec<Evaluation>>;
    async fn evaluation(&self, id: &str) -> Result<Option<Evaluation>>;
    /// The id of the newest one.
    async fn newest_evaluation(&self) -> Result<Option<String>>;
}

/// SHA-256 of a text.
pub type TextHash = [u8; 32];
/// A text and its vector.
pub type TextVector = (TextHash, Vec<f32>);

#[async_trait]
pub trait VectorStore: Send + Sync {
    /// The vectors of this source, ordered by length and hash, at most `limit` after this one.
    async fn text_vectors(
        &self,
        source: &VectorSource,
        after: Option<&TextVector>,
        limit: u32,
    ) -> Result<Vec<TextVector>>;
    /// Keeps vectors of this source; one of a text and length that it has stays as it is. All or none.
    async fn keep_text_vectors(&self, source: &VectorSource, vectors: &[TextVector]) -> Result<()>;
}

#[async_trait]
pub trait Store:
    CatalogueStore
    + BehaviourStore
    + EncryptionStore
    + ModelStore
    + JobStore
    + TrainingStore
    + KeyStore
    + EvaluationStore
    + VectorStore
    + AuditStore
{
    /// `postgres` or `sqlite`.
    fn kind(&self) -> &'static str;
    /// Whose catalogue, behaviour, models, jobs and evaluations this store reads and writes; no query leaves it.
    fn tenant(&self) -> &Tenant;
    /// The store of another tenant in the same database, on the same connections.
    fn of_tenant(&self, tenant: &Tenant) -> Arc<dyn Store>;
    /// All tenants that have an item, an event or a key, in the order of their names.
    async fn tenants(&self) -> Result<Vec<Tenant>>;
    /// Brings the schema up to date, under a lock, so that several processes may try at once.
    async fn migrate(&self) -> Result<()>;
    /// Whether it answers.
    async fn ping(&self) -> Result<()>;
    /// Writes behaviour anew, so that no free place of its files holds what was deleted or changed; nobody writes meanwhile. Gives the statements that are left
    /// to whoever owns the database, as this role may not execute them: until then, what was deleted may be there.
    async fn compact(&self) -> Result<Vec<&'static str>>;
    /// Closes all connections; what was written is kept.
    async fn close(&self);
}

/// Opens the store that `options.url` names, as that of the default tenant; creates a SQLite file that does not exist. Does not migrate. A
/// Postgres that is down is no error here: its pool connects when it is asked.
///
/// # Errors
/// [`StoreError::Failed`] for an URL of neither kind, [`StoreError::Unavailable`] when a SQLite file cannot be opened.
pub async fn open(options: &Options) -> Result<Arc<dyn Store>> {
    match options.url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Arc::new(sqlite::SqliteStore::open(options).await?)),
        Some("postgres" | "postgresql") => Ok(Arc::new(postgres::PostgresStore::open(options)?)),
        _ => Err(StoreError::Failed("its URL begins with neither `postgres:` nor `sqlite:`".to_owned())),
    }
}
