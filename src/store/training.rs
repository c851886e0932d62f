//! The right to train: one process at a time has it, for each tenant, and whoever had it before can change nothing any more.
//!
//! A lock says who has the right now. On Postgres it is an advisory lock of a transaction that stays open on a connection of its own: it ends with the
//! process, and holds through PgBouncer in transaction mode, where a lock of the session does not (decision 0019). On SQLite all processes are on one
//! machine, and it is a lock on a file, which the system lets go of when the process ends. A lock can be lost without its holder noticing; the
//! *epoch*, counted up by each new trainer and checked in the transactions that a trainer writes in, makes that harmless.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};

use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use super::{Result, StoreError};
use crate::domain::Tenant;

/// `MEDT`: keeps these advisory locks apart from the others of Medley, and from those of others in the same database.
const LOCK_SPACE: i32 = 0x4d45_4454;
/// How long a connection may take to be made, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A transaction that waits for as long as a training takes is meant to. And when the machine of a trainer is gone without a word, the server
/// notices after 20 seconds, and not after two hours.
const LONG_TRANSACTION: &str = "BEGIN;
    SET LOCAL idle_in_transaction_session_timeout = 0;
    SET LOCAL tcp_keepalives_idle = 5; SET LOCAL tcp_keepalives_interval = 5; SET LOCAL tcp_keepalives_count = 3;
    SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'";

#[async_trait]
pub trait TrainingStore: Send + Sync {
    /// Takes the right to train, as a new trainer.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody else has it.
    async fn begin_training(&self) -> Result<Box<dyn TrainingLock>>;
}

/// The right to train, until it is dropped or its process ends.
#[async_trait]
pub trait TrainingLock: Send + Sync {
    /// The number of this trainer: greater than that of all before.
    fn epoch(&self) -> i64;
    /// Whether it still has the right. Where the connection was lost, takes the lock again, provided that there was no other trainer meanwhile. To be
    /// called every few seconds: a connection that says nothing may be ended by what lies between.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it cannot be told now.
    async fn keep(&mut self) -> Result<bool>;
    /// Gives the right back; dropping does it as well, some milliseconds later.
    async fn release(self: Box<Self>);
}

fn taken() -> StoreError {
    StoreError::Conflict("a training is running".to_owned())
}

/// Counts one more trainer: its epoch.
macro_rules! next_epoch {
    ($store:expr) => {{
        let store = $store;
        let mut tx = store.begin().await?;
        let epoch: i64 = sqlx::query_scalar(
            "INSERT INTO trainers (tenant, epoch) VALUES ($1, 1)
             ON CONFLICT (tenant) DO UPDATE SET epoch = trainers.epoch + 1 RETURNING epoch",
        )
        .bind(store.tenant.as_str())
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        epoch
    }};
}

struct PostgresLock {
    pool: PgPool,
    tenant: Tenant,
    /// In a transaction that holds the lock; `None`: it was lost.
    connection: Option<PgConnection>,
    epoch: i64,
}

/// A connection in a transaction that holds the lock; `None`: somebody else does.
async fn lock_training(pool: &PgPool, tenant: &Tenant) -> Result<Option<PgConnection>> {
    let options = pool.connect_options().as_ref().clone().application_name("medley trainer");
    let locking = async {
        let mut connection = options.connect().await?;
        sqlx::raw_sql(LONG_TRANSACTION).execute(&mut connection).await?;
        let held: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1, $2)")
            .bind(LOCK_SPACE)
            .bind(lock_number(tenant.as_str()))
            .fetch_one(&mut connection)
            .await?;
        Ok::<_, StoreError>(held.then_some(connection))
    };
    tokio::time::timeout(PATIENCE, locking).await.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> StoreError {
    StoreError::Unavailable("it did not answer in time".to_owned())
}

/// Tells tenants apart. Of two that meet here, one waits for the other, which does no harm.
fn lock_number(tenant: &str) -> i32 {
    let hash = Sha256::digest(tenant);
    i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[async_trait]
impl TrainingStore for PostgresStore {
    async fn begin_training(&self) -> Result<Box<dyn TrainingLock>> {
        let connection = Some(lock_training(&self.pool, &self.tenant).await?.ok_or_else(taken)?);
        let epoch = next_epoch!(self);
        Ok(Box::new(PostgresLock { pool: self.pool.clone(), tenant: self.tenant.clone(), connection, epoch }))
    }
}

#[async_trait]
impl TrainingLock for PostgresLock {
    fn epoch(&self) -> i64 {
        self.epoch
    }

    async fn keep(&mut self) -> Result<bool> {
        if let Some(connection) = &mut self.connection {
            match tokio::time::timeout(PATIENCE, connection.ping()).await {
                Ok(Ok(())) => return Ok(true),
                // A connection that was cut off in the middle of something is of no use any more.
                _ => self.connection = None,
            }
            tracing::warn!("the connection that holds the right to train was lost");
        }
        let Some(connection) = lock_training(&self.pool, &self.tenant).await? else { return Ok(false) };
        let newest: Option<i64> = sqlx::query_scalar("SELECT epoch FROM trainers WHERE tenant = $1")
            .bind(self.tenant.as_str())
            .fetch_optional(&self.pool)
            .await?;
        if newest != Some(self.epoch) {
            return Ok(false);
        }
        self.connection = Some(connection);
        Ok(true)
    }

    async fn release(mut self: Box<Self>) {
        if let Some(connection) = &mut self.connection {
            let ending = sqlx::raw_sql("ROLLBACK").execute(&mut *connection);
            let _ = tokio::time::timeout(PATIENCE, ending).await;
        }
    }
}

struct FileLock {
    _file: File,
    epoch: i64,
}

#[async_trait]
impl TrainingStore for SqliteStore {
    async fn begin_training(&self) -> Result<Box<dyn TrainingLock>> {
        let mut path = self.pool.connect_options().get_filename().as_os_str().to_owned();
        path.push(format!("-training-{}", self.tenant));
        let file = lock_file(path.into()).await?.ok_or_else(taken)?;
        Ok(Box::new(FileLock { _file: file, epoch: next_epoch!(self) }))
    }
}

/// Opens and locks the file, which is empty and stays; `None`: somebody else has it locked.
async fn lock_file(path: PathBuf) -> Result<Option<File>> {
    let failed =
        |error: &std::io::Error| StoreError::Unavailable(format!("the lock of the trainer failed: {}", error.kind()));
    let mut open = tokio::fs::OpenOptions::new();
    open.create(true).append(true);
    #[cfg(unix)]
    open.mode(0o600);
    let file = open.open(path).await.map_err(|error| failed(&error))?.into_std().await;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(&error)),
    }
}

#[async_trait]
impl TrainingLock for FileLock {
    fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The lock of a file cannot be lost.
    async fn keep(&mut self) -> Result<bool> {
        Ok(true)
    }

    async fn release(self: Box<Self>) {}
}
