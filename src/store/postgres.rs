//! The store on Postgres: for production, and for several replicas on one database.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions as _, Connection as _, FromRow, PgConnection, Postgres, Row as _, Transaction};

use super::behaviour::NewRow;
use super::history::{Lists, Row, StoredHistory, of_lists};
use super::people::Vault;
use super::sealing::{Pseudonym, Sealer};
use super::shared::{IS_SEALED, Lock, TENANTS, failpoint, needs_master_key, tenants};
use super::{CatalogueStore as _, Options, Result, Store, StoreError};
use crate::domain::{Tenant, UserId};

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("migrations/postgres");
    migrations.set_locking(false);
    migrations
});

/// How long a migration waits for its connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may take to say that it is still good, before it is handed out and when it comes back: there it may be at work on a query that nobody
/// waits for any more.
const TEST_TIMEOUT: Duration = Duration::from_millis(100);
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the end waits for queries under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was used this recently is not tested again: the test costs as much as the query.
const FRESH: Duration = Duration::from_secs(1);
/// `MEDL`: keeps our advisory locks apart from those of others in the same database.
const LOCK_SPACE: i32 = 0x4d45_444c;
/// How much of a COPY is sent at once, in bytes.
const COPY_BUFFER: usize = 1 << 20;

pub struct PostgresStore {
    pub(super) pool: PgPool,
    pub(super) tenant: Tenant,
    pub(super) vault: Vault,
}

/// The lists of one among several people.
struct ByUser {
    user_id: String,
    lists: Lists,
}

impl FromRow<'_, PgRow> for ByUser {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let lists = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
        Ok(Self { user_id: row.try_get(0)?, lists })
    }
}

/// When a connection was last found dead. One whose other end has gone without a word looks well for as long as TCP hopes, a quarter of an hour; and
/// where one has gone, those that have been idle since before then have gone too.
#[derive(Default)]
struct FoundDead(Mutex<Option<Instant>>);

impl FoundDead {
    fn at(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_suspicious(&self, idle_for: Duration) -> bool {
        self.at().is_some_and(|at| at.elapsed() < idle_for)
    }

    async fn test(&self, connection: &mut PgConnection, patience: Duration) -> sqlx::Result<()> {
        let tested = tokio::time::timeout(patience, connection.ping()).await;
        tested.unwrap_or_else(|_| {
            *self.at() = Some(Instant::now());
            Err(sqlx::Error::PoolTimedOut)
        })
    }
}

impl PostgresStore {
    /// Prepares a pool that connects when it is asked.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the URL is not valid.
    pub fn open(options: &Options) -> Result<Self> {
        // What sqlx asks for by default, PgBouncer does not know; it matters to numbers that are sent as text, and none are.
        let connect = PgConnectOptions::from_str(&options.url)?.application_name("medley").extra_float_digits(None);
        let found_dead = Arc::new(FoundDead::default());
        let (taking, returning) = (Arc::clone(&found_dead), found_dead);
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let found_dead = Arc::clone(&taking);
                Box::pin(async move {
                    if found_dead.is_suspicious(meta.idle_for) {
                        return Ok(false);
                    }
                    if meta.idle_for > FRESH {
                        found_dead.test(connection, TEST_TIMEOUT).await?;
                    }
                    Ok(true)
                })
            })
            .after_release(move |connection, _| {
                let found_dead = Arc::clone(&returning);
                Box::pin(async move { found_dead.test(connection, RELEASE_TIMEOUT).await.map(|()| true) })
            })
            .connect_lazy_with(connect);
        Ok(Self { pool, tenant: Tenant::default(), vault: Vault::new(options.master_key.clone()) })
    }

    /// A writing transaction. READ COMMITTED, whatever the default of the database: after waiting for a lock, a
    /// statement must see what the one before it committed.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        Ok(self.pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?)
    }

    /// Nothing to hold: the database works elsewhere.
    #[allow(clippy::unused_async, clippy::unused_self)] // has the shape of the other store's
    pub(super) async fn turn(&self) {}

    /// Waits until nobody else holds this lock; it is held until the transaction has ended, which is after its changes
    /// have become visible. That is how revisions of the catalogue become visible in order.
    pub(super) async fn lock(&self, tx: &mut Transaction<'static, Postgres>, lock: Lock) -> Result<()> {
        sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
            .bind(LOCK_SPACE)
            .bind(lock as i32)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    /// Nobody else writes events until the transaction has ended. It gives up early where something long is at work on the table: whoever waits for this lock keeps
    /// all writers waiting behind it.
    #[allow(clippy::unused_self)] // has the shape of the other store's
    pub(super) async fn lock_events(&self, tx: &mut Transaction<'static, Postgres>) -> Result<()> {
        sqlx::query("SET LOCAL lock_timeout = '2s'").execute(&mut **tx).await?;
        sqlx::query("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE").execute(&mut **tx).await?;
        Ok(())
    }

    /// The keys of these people, those made that are not there yet. Nobody is erased or merged before the transaction has ended: who does
    /// either has [`Lock::People`], and this shares it with all other writers.
    pub(super) async fn hold_people(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        sealer: &Sealer,
        wanted: &BTreeMap<Pseudonym, &UserId>,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        const READ: &str = "SELECT user_id, sealed FROM people WHERE tenant = $1 AND user_id = ANY($2)";
        sqlx::query("SELECT pg_advisory_xact_lock_shared($1, $2)")
            .bind(LOCK_SPACE)
            .bind(Lock::People as i32)
            .execute(&mut **tx)
            .await?;
        let names: Vec<&str> = wanted.keys().map(|pseudonym| pseudonym.0.as_str()).collect();
        let known: Vec<(String, Vec<u8>)> =
            sqlx::query_as(READ).bind(self.tenant.as_str()).bind(&names).fetch_all(&mut **tx).await?;
        if known.len() == wanted.len() {
            return Ok(known);
        }
        let found: HashSet<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        let mut missing = wanted.clone();
        missing.retain(|pseudonym, _| !found.contains(pseudonym.0.as_str()));
        let keys = missing.values().map(|user| sealer.new_person(user)).collect::<Result<Vec<_>>>()?;
        sqlx::query(
            "INSERT INTO people (tenant, user_id, sealed) SELECT $1, * FROM unnest($2::text[], $3::bytea[]) ON CONFLICT DO NOTHING",
        )
        .bind(self.tenant.as_str())
        .bind(missing.keys().map(|pseudonym| pseudonym.0.as_str()).collect::<Vec<_>>())
        .bind(keys)
        .execute(&mut **tx)
        .await?;
        // Others may have made some of them at the same time.
        Ok(sqlx::query_as(READ).bind(self.tenant.as_str()).bind(&names).fetch_all(&mut **tx).await?)
    }

    /// Refuses when behaviour is encrypted since this process has looked, which did so without the master key: what it wrote would stay in clear, and whom it
    /// erased would be there under a pseudonym.
    pub(super) async fn still_clear(&self, connection: &mut PgConnection) -> Result<()> {
        let is_sealed: bool = sqlx::query_scalar(IS_SEALED).bind(self.tenant.as_str()).fetch_one(connection).await?;
        if is_sealed { Err(needs_master_key()) } else { Ok(()) }
    }

    /// Inserts in clear what is not there yet: how many events that were, and the place of the last. One statement, which is a transaction of its own: one
    /// journey to the database. Where behaviour is encrypted it inserts nothing. Whoever makes the key has the table to themselves ([`Self::lock_events`]), and a
    /// statement sees what was committed before it got its turn (in READ COMMITTED, the default of Postgres).
    pub(super) async fn insert(&self, rows: &[NewRow<'_>]) -> Result<(u64, Option<i64>)> {
        failpoint("events-before-commit");
        let mut connection = self.pool.acquire().await?;
        let inserted = insert(&self.tenant, &mut connection, rows, true).await?;
        failpoint("events-after-commit");
        if inserted.0 == 0 {
            self.still_clear(&mut connection).await?;
        }
        Ok(inserted)
    }

    /// The same in a transaction, whatever is encrypted.
    pub(super) async fn insert_in(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        rows: &[NewRow<'_>],
    ) -> Result<(u64, Option<i64>)> {
        insert(&self.tenant, tx, rows, false).await
    }

    /// COPY into a staging table, which cannot skip duplicates, then a merge that does.
    pub(super) async fn load(&self, rows: &[NewRow<'_>]) -> Result<(u64, Option<i64>)> {
        let mut tx = self.begin().await?;
        let inserted = self.load_in(&mut tx, rows).await?;
        // From here on nobody else can encrypt it before the end.
        self.still_clear(&mut tx).await?;
        tx.commit().await?;
        Ok(inserted)
    }

    /// The same, in a transaction.
    pub(super) async fn load_in(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        rows: &[NewRow<'_>],
    ) -> Result<(u64, Option<i64>)> {
        sqlx::query(
            "CREATE TEMPORARY TABLE staging (user_id text, item_id text, kind text, value float8, at bigint,
                event_id text, recommendation_id text, position bigint) ON COMMIT DROP",
        )
        .execute(&mut **tx)
        .await?;
        let mut copy = tx.copy_in_raw("COPY staging FROM STDIN").await?;
        let mut buffer = String::with_capacity(COPY_BUFFER + 4096);
        for row in rows {
            copy_line(&mut buffer, row);
            if buffer.len() >= COPY_BUFFER {
                copy.send(buffer.as_bytes()).await?;
                buffer.clear();
            }
        }
        copy.send(buffer.as_bytes()).await?;
        copy.finish().await?;
        // A temporary table is read in the order in which it was written: of two with one id, the first wins.
        let (accepted, newest): (i64, Option<i64>) = sqlx::query_as(
            "WITH inserted AS (
                INSERT INTO events (tenant, user_id, item_id, kind, value, at, event_id, recommendation_id, position)
                SELECT $1, * FROM staging
                ON CONFLICT (tenant, event_id) WHERE event_id IS NOT NULL DO NOTHING RETURNING sequence)
             SELECT count(*), max(sequence) FROM inserted",
        )
        .bind(self.tenant.as_str())
        .fetch_one(&mut **tx)
        .await?;
        Ok((accepted.unsigned_abs(), newest))
    }

    /// What one person did, impressions left out.
    pub(super) async fn interactions(&self, user: &UserId) -> Result<StoredHistory> {
        let lists: Option<Lists> = sqlx::query_as(
            "SELECT string_agg(item_id, E'\\t'), string_agg(kind, E'\\t'), array_agg(value), array_agg(at), array_agg(sequence)
             FROM events WHERE tenant = $1 AND user_id = $2 AND kind <> 'impression' HAVING count(*) > 0",
        )
        .bind(self.tenant.as_str())
        .bind(user.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(lists.map_or(StoredHistory::Empty, StoredHistory::Lists))
    }

    /// The same for the `limit` people who come after `after`, ordered by user id.
    pub(super) async fn interactions_by_user(&self, after: &str, limit: u32) -> Result<Vec<(String, Vec<Row>)>> {
        let mut tx = self.reading_in_order().await?;
        let people: Vec<ByUser> = sqlx::query_as(
            "SELECT user_id,
                string_agg(item_id, E'\\t'), string_agg(kind, E'\\t'), array_agg(value), array_agg(at), array_agg(sequence)
             FROM events WHERE tenant = $1 AND user_id > $2 AND kind <> 'impression'
             GROUP BY user_id ORDER BY user_id LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        tx.rollback().await?;
        people.into_iter().map(|person| Ok((person.user_id, of_lists(&person.lists)?))).collect()
    }

    /// A connection on which people are read in the order of the index, which is the one that is asked for. Before the first ANALYZE, Postgres
    /// would rather sort everybody's behaviour anew for every page.
    pub(super) async fn reading_in_order(&self) -> Result<Transaction<'static, Postgres>> {
        let mut tx = self.begin().await?;
        sqlx::query("SET LOCAL enable_sort = off").execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Nothing to do: what is deleted stays in dead rows until the server's own vacuum, and in its log of writes until that is recycled. Sealed
    /// behaviour is of no use to anybody there.
    #[allow(clippy::unused_async, clippy::unused_self)] // has the shape of the other store's
    pub(super) async fn overwrite_erased(&self) {}
}

/// Inserts events that are not there yet; with `in_clear`, none where behaviour is encrypted.
async fn insert(
    tenant: &Tenant,
    connection: &mut PgConnection,
    rows: &[NewRow<'_>],
    in_clear: bool,
) -> Result<(u64, Option<i64>)> {
    let (accepted, newest): (i64, Option<i64>) = sqlx::query_as(
        "WITH inserted AS (
            INSERT INTO events (tenant, user_id, item_id, kind, value, at, event_id, recommendation_id, position)
            SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::float8[], $6::bigint[], $7::text[],
                                     $8::text[], $9::bigint[])
            WHERE NOT ($10 AND EXISTS (SELECT 1 FROM tenant_keys WHERE tenant = $1))
            ON CONFLICT (tenant, event_id) WHERE event_id IS NOT NULL DO NOTHING RETURNING sequence)
         SELECT count(*), max(sequence) FROM inserted",
    )
    .bind(tenant.as_str())
    .bind(rows.iter().map(|row| &*row.user_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| &*row.item_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.kind).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.value).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event_id.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.recommendation_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.position.map(i64::from)).collect::<Vec<_>>())
    .bind(in_clear)
    .fetch_one(connection)
    .await?;
    Ok((accepted.unsigned_abs(), newest))
}

/// One line in the text format of COPY: tabs between the columns, `\N` for NULL, `\` before what has a meaning.
fn copy_line(out: &mut String, row: &NewRow<'_>) {
    use std::fmt::Write as _;
    // Writing to a string does not fail.
    fn text(out: &mut String, text: &str) {
        for c in text.chars() {
            // Ids hold no tabs and no ends of lines: they hold no control characters.
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('\t');
    }
    fn number(out: &mut String, number: Option<impl std::fmt::Debug>) {
        let _ = match number {
            Some(number) => write!(out, "{number:?}\t"),
            None => write!(out, "\\N\t"),
        };
    }
    fn id(out: &mut String, id: Option<&str>) {
        match id {
            Some(id) => text(out, id),
            None => out.push_str("\\N\t"),
        }
    }
    text(out, &row.user_id);
    text(out, &row.item_id);
    text(out, row.kind);
    number(out, row.value);
    number(out, Some(row.at));
    id(out, row.event_id.as_deref());
    id(out, row.recommendation_id);
    number(out, row.position);
    out.pop();
    out.push('\n');
}

#[async_trait]
impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    fn of_tenant(&self, tenant: &Tenant) -> Arc<dyn Store> {
        Arc::new(Self { pool: self.pool.clone(), tenant: tenant.clone(), vault: self.vault.of_another() })
    }

    async fn tenants(&self) -> Result<Vec<Tenant>> {
        tenants(sqlx::query_scalar(TENANTS).fetch_all(&self.pool).await?)
    }

    async fn migrate(&self) -> Result<()> {
        // One transaction around all, whose lock ends with it: that of sqlx is one of the session, which PgBouncer in transaction mode would leave with
        // whoever gets its connection next. On a connection of its own, as it may take longer than anybody waits for one of the pool.
        let options = self.pool.connect_options();
        let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, options.connect())
            .await
            .map_err(|_| StoreError::Unavailable("no connection could be made in time".to_owned()))??;
        let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
            .bind(LOCK_SPACE)
            .bind(Lock::Schema as i32)
            .execute(&mut *tx)
            .await?;
        // `run_direct`: `run` cannot be called in a future that is sent between threads.
        MIGRATIONS.run_direct(None, &mut *tx, false).await?;
        tx.commit().await?;
        connection.close().await?;
        self.renew_search().await
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    async fn compact(&self) -> Result<Vec<&'static str>> {
        const FILE: &str = "SELECT pg_relation_filenode($1::regclass)::bigint";
        let mut left = Vec::new();
        // The planner's statistics are samples of values, of the ids of people as well: they are made and written anew too.
        for (table, statement) in [
            ("events", "VACUUM FULL ANALYZE events"),
            ("people", "VACUUM FULL ANALYZE people"),
            ("pg_catalog.pg_statistic", "VACUUM FULL pg_catalog.pg_statistic"),
        ] {
            let before: Option<i64> = sqlx::query_scalar(FILE).bind(table).fetch_one(&self.pool).await?;
            sqlx::query(statement).execute(&self.pool).await?;
            let after: Option<i64> = sqlx::query_scalar(FILE).bind(table).fetch_one(&self.pool).await?;
            // Postgres passes over what the role may not do, with a warning. A table that was written anew is in another file.
            if before == after {
                left.push(statement);
            }
        }
        Ok(left)
    }

    async fn close(&self) {
        // What hangs would keep the process from ending.
        if tokio::time::timeout(CLOSE_TIMEOUT, self.pool.close()).await.is_err() {
            tracing::warn!("some connections to the database were not given back");
        }
    }
}
