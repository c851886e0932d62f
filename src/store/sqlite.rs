//! The store on SQLite: one file, one writer, many readers.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::behaviour::NewRow;
use super::error::is_busy;
use super::history::{Row, StoredHistory, of_text};
use super::people::Vault;
use super::sealing::{Pseudonym, Sealer};
use super::shared::{IS_SEALED, Lock, TENANTS, failpoint, needs_master_key, tenants};
use super::{CatalogueStore as _, Options, Result, Store, StoreError};
use crate::domain::{Tenant, UserId};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a writer waits for another one: writes are short, except for a bulk load.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long all writers wait for readers after an erasure. A backup may read for minutes.
const READERS_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a start waits for the start of another process, which may be migrating a large database.
const START_TIMEOUT: Duration = Duration::from_secs(600);
/// Pages of SQLite's usual size, 4 KiB.
const PAGES_PER_MIB: u32 = 256;
/// Events in one statement: nine values each at most, under SQLite's limit of 32,766.
const CHUNK: usize = 500;

/// A history as one text: a row for each event costs both sides more than writing and reading that. Numbers in SQLite's JSON have 15 digits, which are not always the same
/// number again. So a value comes in whole 1,024ths ([`VALUE_PARTS`](super::history::VALUE_PARTS)) if it has such, as ratings and counts do, and else as SQL quotes it, exactly, which takes longer.
macro_rules! history {
    () => {
        "json_group_array(json_array(item_id, kind,
            iif(CAST(value * 1024 AS INTEGER) = value * 1024, CAST(value * 1024 AS INTEGER), NULL),
            iif(CAST(value * 1024 AS INTEGER) = value * 1024, NULL, quote(value)), at, sequence))"
    };
}

/// Histories that are read at once, for each processor. SQLite works on the processors of the service: more at once only take them from each other, which on one processor
/// costs about a quarter of all answers (`benches/overload/run`).
const HISTORIES_PER_PROCESSOR: usize = 2;

/// Readers and the writer have pools of their own, so that writers who wait for each other never keep a
/// recommendation from reading.
pub struct SqliteStore {
    pub(super) pool: SqlitePool,
    writer: SqlitePool,
    /// One for each history that is being read.
    histories: Arc<Semaphore>,
    pub(super) tenant: Tenant,
    pub(super) vault: Vault,
}

impl SqliteStore {
    /// Opens the file; creates it and its folder when they do not exist. Does not migrate.
    ///
    /// # Errors
    /// [`StoreError::Failed`] for an URL that names no file, [`StoreError::Unavailable`] when it cannot be opened.
    pub async fn open(options: &Options) -> Result<Self> {
        let (url, max_size_mib) = max_size(&options.url)?;
        let connect = SqliteConnectOptions::from_str(&url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous())
            .foreign_keys(true)
            .busy_timeout(WRITE_TIMEOUT);
        if options.url.contains(":memory:") || options.url.contains("mode=memory") {
            return Err(StoreError::Failed("SQLite needs a file; a database in memory is not kept".to_owned()));
        }
        create_file(connect.get_filename())
            .await
            .map_err(|error| StoreError::Unavailable(format!("the SQLite file cannot be created: {}", error.kind())))?;

        // Connections to a file do not go stale: they need no test and no end.
        let pool = || SqlitePoolOptions::new().test_before_acquire(false).idle_timeout(None).max_lifetime(None);
        let writer = pool().max_connections(1).acquire_timeout(WRITE_TIMEOUT.max(options.acquire_timeout));
        let writing = connect
            .clone()
            .pragma("cache_size", "-65536")
            .pragma("journal_size_limit", "67108864")
            // What is deleted is overwritten: an erased person is not left in the free places of the file.
            .pragma("secure_delete", "on");
        let writing = match max_size_mib {
            Some(mib) => writing.pragma("max_page_count", (mib * PAGES_PER_MIB).to_string()),
            None => writing,
        };
        let started = Instant::now();
        let writer = loop {
            // Only the very first connection turns the file to WAL; SQLite does not wait for others while it does.
            match writer.clone().connect_with(writing.clone()).await {
                Err(error) if is_busy(&error) && started.elapsed() < WRITE_TIMEOUT => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => break other?,
            }
        };
        let pool = pool()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .connect_lazy_with(connect.pragma("query_only", "on"));
        let histories = HISTORIES_PER_PROCESSOR * available_parallelism().map_or(1, NonZero::get);
        Ok(Self {
            pool,
            writer,
            histories: Arc::new(Semaphore::new(histories)),
            tenant: Tenant::default(),
            vault: Vault::new(options.master_key.clone()),
        })
    }

    /// A writing transaction. IMMEDIATE: it waits for its turn here, and not at its first write, where SQLite would
    /// refuse if somebody else had written meanwhile.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        match self.writer.begin_with("BEGIN IMMEDIATE").await {
            // On a full disk SQLite ends a transaction by itself. The driver then cannot end it, believes that it goes on, and would refuse all others on this
            // connection, which is the only one that writes: it is replaced.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                if let Err(error) = self.writer.acquire().await?.close().await {
                    tracing::debug!(%error, "a connection was not closed in order");
                }
                Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
            }
            other => Ok(other?),
        }
    }

    /// Room for reading one history, as long as it is held.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.histories.acquire().await.ok()
    }

    /// Nothing to do: there is one writing transaction at a time.
    #[allow(clippy::unused_async, clippy::unused_self)] // has the shape of the other store's
    pub(super) async fn lock(&self, _tx: &mut Transaction<'static, Sqlite>, _lock: Lock) -> Result<()> {
        Ok(())
    }

    /// Nothing to do: there is one writing transaction at a time.
    #[allow(clippy::unused_async, clippy::unused_self)] // has the shape of the other store's
    pub(super) async fn lock_events(&self, _tx: &mut Transaction<'static, Sqlite>) -> Result<()> {
        Ok(())
    }

    /// Refuses when behaviour is encrypted since this process has looked, which did so without the master key: what it wrote would stay in clear, and whom it
    /// erased would be there under a pseudonym.
    pub(super) async fn still_clear(&self, connection: &mut SqliteConnection) -> Result<()> {
        let is_sealed: bool = sqlx::query_scalar(IS_SEALED).bind(self.tenant.as_str()).fetch_one(connection).await?;
        if is_sealed { Err(needs_master_key()) } else { Ok(()) }
    }

    /// The keys of these people, those made that are not there yet.
    pub(super) async fn hold_people(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        sealer: &Sealer,
        wanted: &BTreeMap<Pseudonym, &UserId>,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let mut people = Vec::with_capacity(wanted.len());
        for (pseudonym, user) in wanted {
            let known: Option<Vec<u8>> =
                sqlx::query_scalar("SELECT sealed FROM people WHERE tenant = $1 AND user_id = $2")
                    .bind(self.tenant.as_str())
                    .bind(&pseudonym.0)
                    .fetch_optional(&mut **tx)
                    .await?;
            let sealed = if let Some(sealed) = known {
                sealed
            } else {
                let sealed = sealer.new_person(user)?;
                sqlx::query("INSERT INTO people (tenant, user_id, sealed) VALUES ($1, $2, $3)")
                    .bind(self.tenant.as_str())
                    .bind(&pseudonym.0)
                    .bind(&sealed)
                    .execute(&mut **tx)
                    .await?;
                sealed
            };
            people.push((pseudonym.0.clone(), sealed));
        }
        Ok(people)
    }

    /// Inserts in clear what is not there yet: how many events that were, and the place of the last.
    pub(super) async fn insert(&self, rows: &[NewRow<'_>]) -> Result<(u64, Option<i64>)> {
        let mut tx = self.begin().await?;
        self.still_clear(&mut tx).await?;
        let inserted = self.insert_in(&mut tx, rows).await?;
        failpoint("events-before-commit");
        tx.commit().await?;
        failpoint("events-after-commit");
        Ok(inserted)
    }

    /// The same, in a transaction.
    pub(super) async fn insert_in(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        rows: &[NewRow<'_>],
    ) -> Result<(u64, Option<i64>)> {
        // Columns that no row of the chunk fills are left out: binding is a good part of a load, and few loads tell of recommendations.
        let has_tenant = !self.tenant.is_default();
        let statement = |chunk: &[NewRow<'_>]| {
            let has_value = chunk.iter().any(|row| row.value.is_some());
            let is_recommended = chunk.iter().any(|row| row.recommendation_id.is_some() || row.position.is_some());
            let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO events (user_id, item_id, kind, at, event_id");
            query.push(if has_tenant { ", tenant" } else { "" });
            query.push(if has_value { ", value" } else { "" });
            query.push(if is_recommended { ", recommendation_id, position) " } else { ") " });
            query.push_values(chunk, |mut values, row| {
                values
                    .push_bind(&*row.user_id)
                    .push_bind(&*row.item_id)
                    .push_bind(row.kind)
                    .push_bind(row.at)
                    .push_bind(row.event_id.as_deref());
                if has_tenant {
                    values.push_bind(self.tenant.as_str());
                }
                if has_value {
                    values.push_bind(row.value);
                }
                if is_recommended {
                    values.push_bind(row.recommendation_id).push_bind(row.position);
                }
            });
            query.push(" ON CONFLICT DO NOTHING");
            (query, chunk.len() == CHUNK)
        };
        let (mut accepted, mut newest) = (0, None);
        let mut statements = rows.chunks(CHUNK).map(statement);
        let mut next = statements.next();
        while let Some((mut query, is_full)) = next {
            // A full chunk is always the same statement and stays prepared. While SQLite executes it in its thread, the next is put together in this one.
            let executing = query.build().persistent(is_full).execute(&mut **tx);
            let (inserted, following) = tokio::join!(executing, async { statements.next() });
            let inserted = inserted?;
            failpoint("events-mid-batch");
            if inserted.rows_affected() > 0 {
                accepted += inserted.rows_affected();
                newest = Some(inserted.last_insert_rowid());
            }
            next = following;
        }
        Ok((accepted, newest))
    }

    /// Multi-row inserts are the fastest way that SQLite has.
    pub(super) async fn load(&self, rows: &[NewRow<'_>]) -> Result<(u64, Option<i64>)> {
        self.insert(rows).await
    }

    pub(super) async fn load_in(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        rows: &[NewRow<'_>],
    ) -> Result<(u64, Option<i64>)> {
        self.insert_in(tx, rows).await
    }

    /// What one person did, impressions left out.
    pub(super) async fn interactions(&self, user: &UserId) -> Result<StoredHistory> {
        let text: String = sqlx::query_scalar(concat!(
            "SELECT ",
            history!(),
            " FROM events WHERE tenant = $1 AND user_id = $2 AND kind <> 'impression'"
        ))
        .bind(self.tenant.as_str())
        .bind(user.as_str())
        .fetch_one(&self.pool)
        .await?;
        Ok(if text == "[]" { StoredHistory::Empty } else { StoredHistory::Text(text) })
    }

    /// The same for the `limit` people who come after `after`, ordered by user id. Reads the index in its order, and stops after the last of them.
    pub(super) async fn interactions_by_user(&self, after: &str, limit: u32) -> Result<Vec<(String, Vec<Row>)>> {
        let people: Vec<(String, String)> = sqlx::query_as(concat!(
            "SELECT user_id, ",
            history!(),
            " FROM events WHERE tenant = $1 AND user_id > $2 AND kind <> 'impression' GROUP BY user_id ORDER BY user_id LIMIT $3"
        ))
        .bind(self.tenant.as_str())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        people.into_iter().map(|(user, text)| Ok((user, of_text(&text)?))).collect()
    }

    /// A connection on which people are read in the order of the index: they always are.
    pub(super) async fn reading_in_order(&self) -> Result<PoolConnection<Sqlite>> {
        Ok(self.pool.acquire().await?)
    }

    /// After an erasure: moves the pages that hold nothing of the person any more from the log of writes into the file, and empties the log.
    /// Readers who are at it are waited for a moment only, as all writers wait meanwhile; the next erasure or the next checkpoint does it then.
    pub(super) async fn overwrite_erased(&self) {
        // SQLite follows it when it is prepared: each time anew.
        let waits_for = |time: Duration| {
            let mut query = QueryBuilder::<Sqlite>::new("PRAGMA busy_timeout = ");
            query.push(time.as_millis());
            query
        };
        let emptied = async {
            let mut writer = self.writer.acquire().await?;
            waits_for(READERS_TIMEOUT).build().persistent(false).execute(&mut *writer).await?;
            let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *writer).await;
            waits_for(WRITE_TIMEOUT).build().persistent(false).execute(&mut *writer).await?;
            emptied
        };
        if let Err(error) = emptied.await {
            tracing::debug!(%error, "the write-ahead log could not be emptied yet");
        }
    }
}

/// The URL without the limit on the size of the file that may stand behind it, in MiB, and that limit. SQLite refuses to grow beyond it as it would on a disk that is
/// full, so that the disk never is.
fn max_size(url: &str) -> Result<(String, Option<u32>)> {
    let Some((path, parameters)) = url.split_once('?') else { return Ok((url.to_owned(), None)) };
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        parameters.split('&').partition(|parameter| parameter.starts_with("max_size_mib="));
    let url = if theirs.is_empty() { path.to_owned() } else { format!("{path}?{}", theirs.join("&")) };
    let Some(given) = ours.last() else { return Ok((url, None)) };
    let number = given.split_once('=').and_then(|(_, number)| number.parse().ok());
    let mib = number.filter(|mib| (1..=1 << 23).contains(mib));
    let mib = mib.ok_or_else(|| StoreError::Failed("max_size_mib of its URL is not 1 to 8388608".to_owned()))?;
    Ok((url, Some(mib)))
}

/// FULL: a commit is on the disk before it is acknowledged, so that it survives a loss of power.
fn synchronous() -> SqliteSynchronous {
    // What that costs can be measured.
    if cfg!(feature = "failpoints") && std::env::var("SQLITE_SYNCHRONOUS").is_ok_and(|value| value == "NORMAL") {
        return SqliteSynchronous::Normal;
    }
    SqliteSynchronous::Full
}

/// Creates the folder and the file, the file for its owner alone: it holds what people did. SQLite gives the files that
/// it puts beside it the same mode.
async fn create_file(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        tokio::fs::create_dir_all(folder).await?;
    }
    let mut file = tokio::fs::OpenOptions::new();
    file.create(true).append(true);
    #[cfg(unix)]
    file.mode(0o600);
    file.open(path).await.map(drop)
}

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    fn of_tenant(&self, tenant: &Tenant) -> Arc<dyn Store> {
        Arc::new(Self {
            pool: self.pool.clone(),
            writer: self.writer.clone(),
            histories: Arc::clone(&self.histories),
            tenant: tenant.clone(),
            vault: self.vault.of_another(),
        })
    }

    async fn tenants(&self) -> Result<Vec<Tenant>> {
        tenants(sqlx::query_scalar(TENANTS).fetch_all(&self.pool).await?)
    }

    async fn migrate(&self) -> Result<()> {
        let started = Instant::now();
        // sqlx takes no lock of its own on SQLite: all migrations run in one transaction that excludes other writers.
        let mut tx = loop {
            match self.writer.begin_with("BEGIN IMMEDIATE").await {
                Err(error) if is_busy(&error) && started.elapsed() < START_TIMEOUT => {}
                other => break other?,
            }
        };
        // `run_direct`: `run` cannot be called in a future that is sent between threads.
        MIGRATIONS.run_direct(None, &mut *tx, false).await?;
        tx.commit().await?;
        self.renew_search().await
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    async fn compact(&self) -> Result<Vec<&'static str>> {
        sqlx::query("VACUUM").execute(&self.writer).await?;
        self.overwrite_erased().await;
        Ok(Vec::new())
    }

    async fn close(&self) {
        self.pool.close().await;
        self.writer.close().await;
    }
}
