//! What both databases share: the macro that compiles one body for both, and how values are written.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use super::{Result, StoreError};
use crate::domain::Tenant;

/// Implements one of the store's traits for both databases from one body. The SQL in the body is what both accept
/// (`$1` placeholders, `ON CONFLICT`, `RETURNING`); what differs is behind names that both stores have: `pool`
/// for reading, `begin()` for a writing transaction, and `lock()`. Every table has a column `tenant`, and every query asks for the rows of
/// `self.tenant` alone.
macro_rules! for_both_databases {
    (impl $name:ident { $($body:tt)* }) => {
        #[async_trait::async_trait]
        impl $crate::store::$name for $crate::store::postgres::PostgresStore { $($body)* }

        #[async_trait::async_trait]
        impl $crate::store::$name for $crate::store::sqlite::SqliteStore { $($body)* }
    };
}

/// What a writing transaction may have to itself until it ends. SQLite has one writer at a time as it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lock {
    Catalogue = 1,
    Models = 2,
    Jobs = 3,
    /// Who is who: to erase or merge somebody.
    People = 4,
    /// The schema, to bring it up to date.
    Schema = 5,
}

/// A place where a build with the feature `failpoints` can be told to die: with `FAILPOINT=events-before-commit=3` in its environment it lives three
/// times, and the fourth ends the process, as `kill -9` would. Nothing in any other build.
pub(super) fn failpoint(name: &str) {
    if cfg!(feature = "failpoints") {
        static DEADLY: LazyLock<Option<(String, AtomicI64)>> = LazyLock::new(|| {
            let setting = std::env::var("FAILPOINT").ok()?;
            let (name, times) = setting.split_once('=')?;
            Some((name.to_owned(), AtomicI64::new(times.parse().ok()?)))
        });
        if let Some((deadly, left)) = &*DEADLY
            && deadly == name
            && left.fetch_sub(1, Ordering::Relaxed) == 0
        {
            std::process::abort();
        }
    }
}

/// All tenants that there are: whoever has an item, an event or a key. Each step of the recursion is one look at an index.
pub(super) const TENANTS: &str = "WITH RECURSIVE named (tenant) AS (
        SELECT min(tenant) FROM (
            SELECT min(tenant) AS tenant FROM items UNION ALL SELECT min(tenant) FROM events
            UNION ALL SELECT min(tenant) FROM api_keys) AS first
        UNION ALL
        SELECT (SELECT min(tenant) FROM (
            SELECT min(items.tenant) AS tenant FROM items WHERE items.tenant > named.tenant
            UNION ALL SELECT min(events.tenant) FROM events WHERE events.tenant > named.tenant
            UNION ALL SELECT min(api_keys.tenant) FROM api_keys WHERE api_keys.tenant > named.tenant) AS next)
        FROM named WHERE named.tenant IS NOT NULL)
    SELECT tenant FROM named WHERE tenant IS NOT NULL ORDER BY tenant";

/// Whether a tenant's behaviour is encrypted.
pub(super) const IS_SEALED: &str = "SELECT EXISTS (SELECT 1 FROM tenant_keys WHERE tenant = $1)";

/// What a process without the master key does not do to a store that is encrypted.
pub(super) fn needs_master_key() -> StoreError {
    StoreError::Failed(
        "its behaviour is encrypted: the master key is needed (section `encryption` of the settings)".to_owned(),
    )
}

/// Reads their names.
pub(super) fn tenants(names: Vec<String>) -> Result<Vec<Tenant>> {
    names.iter().map(|name| name.parse().map_err(|_| unreadable("tenant"))).collect()
}

/// A time as it is stored: microseconds since 1970, which is what Postgres resolves as well.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

pub(super) fn timestamp(micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|_| unreadable("time"))
}

/// Reads a stored id back.
pub(super) fn id<T: TryFrom<String>>(text: String) -> Result<T> {
    T::try_from(text).map_err(|_| unreadable("id"))
}

/// Something in the database was not written by this program, or by one that is newer.
pub(super) fn unreadable(what: &str) -> StoreError {
    StoreError::Failed(format!("a stored {what} cannot be read"))
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|_| StoreError::Failed("a value cannot be written as JSON".to_owned()))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| unreadable(what))
}
