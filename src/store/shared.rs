//! What both databases share: the macro that compiles one body for both, the tenant, and how values are written.

use jiff::Timestamp;

use super::{Result, StoreError};

/// Whose rows these are. Every table carries a tenant and every query filters by it; there is one so far.
pub(super) const TENANT: &str = "default";

/// Implements one of the store's traits for both databases from one body. The SQL in the body is what both accept
/// (`$1` placeholders, `ON CONFLICT`, `RETURNING`); what differs is behind three names that both stores have: `pool`
/// for reading, `begin()` for a writing transaction, and `lock()`.
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
