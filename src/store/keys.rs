//! API keys: their hashes, scopes, limits and ends. The one table that is read for all tenants at once: a key tells whose request it is.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::shared::{from_json, micros, timestamp, to_json, unreadable};
use super::{Result, StoreError};
use crate::domain::Tenant;

/// An API key: never the secret, only its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Names one key across all tenants.
    pub id: String,
    /// Whose requests it makes.
    pub tenant: Tenant,
    pub name: String,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// The secret before this one.
    pub previous: Option<PreviousSecret>,
    /// Among `recommend`, `events`, `catalogue`, `admin`.
    pub scopes: Vec<String>,
    /// At most so many requests a minute on each service.
    pub rate: Option<u32>,
    /// At most so many requests a day (UTC) on all services together.
    pub quota: Option<u32>,
    /// What counts against the quota.
    pub used: DayUse,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A secret that was replaced, and is good for a while yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    pub secret_hash: Vec<u8>,
    pub until: Timestamp,
}

/// Requests that were made on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayUse {
    /// Days since 1970 (UTC).
    pub day: i64,
    pub requests: u64,
}

/// Keys of all tenants, whichever tenant the store is of.
#[async_trait]
pub trait KeyStore: Send + Sync {
    async fn create_key(&self, key: &KeyRecord) -> Result<()>;
    async fn keys(&self) -> Result<Vec<KeyRecord>>;
    /// Gives a key another secret; the one it has now is good until `old_until`, and the one before that no longer. Whether there
    /// was one in force to rotate: with another secret, a key that has expired would be refused as before.
    async fn rotate_key(&self, id: &str, secret_hash: &[u8], old_until: Timestamp, now: Timestamp) -> Result<bool>;
    /// Whether there was one to revoke.
    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<bool>;
    /// Adds requests to those of the same day.
    async fn count_requests(&self, id: &str, used: DayUse) -> Result<()>;
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant: String,
    id: String,
    name: String,
    secret_hash: Vec<u8>,
    previous_hash: Option<Vec<u8>>,
    previous_until: Option<i64>,
    scopes: String,
    rate: Option<i64>,
    quota: Option<i64>,
    used_day: i64,
    used: i64,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl TryFrom<Row> for KeyRecord {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self> {
        let previous = match row.previous_hash.zip(row.previous_until) {
            Some((secret_hash, until)) => Some(PreviousSecret { secret_hash, until: timestamp(until)? }),
            None => None,
        };
        Ok(Self {
            id: row.id,
            tenant: row.tenant.parse().map_err(|_| unreadable("tenant"))?,
            name: row.name,
            secret_hash: row.secret_hash,
            previous,
            scopes: from_json(&row.scopes, "key")?,
            rate: row.rate.map(u32::try_from).transpose().map_err(|_| unreadable("limit"))?,
            quota: row.quota.map(u32::try_from).transpose().map_err(|_| unreadable("limit"))?,
            used: DayUse { day: row.used_day, requests: row.used.unsigned_abs() },
            created_at: timestamp(row.created_at)?,
            expires_at: row.expires_at.map(timestamp).transpose()?,
            revoked_at: row.revoked_at.map(timestamp).transpose()?,
        })
    }
}

for_both_databases! {
impl KeyStore {
    async fn create_key(&self, key: &KeyRecord) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO api_keys (tenant, id, name, secret_hash, previous_hash, previous_until, scopes, rate, quota, used_day, used,
                created_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(key.tenant.as_str())
        .bind(key.id.as_str())
        .bind(key.name.as_str())
        .bind(key.secret_hash.as_slice())
        .bind(key.previous.as_ref().map(|previous| previous.secret_hash.as_slice()))
        .bind(key.previous.as_ref().map(|previous| micros(previous.until)))
        .bind(to_json(&key.scopes)?)
        .bind(key.rate.map(i64::from))
        .bind(key.quota.map(i64::from))
        .bind(key.used.day)
        .bind(key.used.requests.cast_signed())
        .bind(micros(key.created_at))
        .bind(key.expires_at.map(micros))
        .bind(key.revoked_at.map(micros))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn keys(&self) -> Result<Vec<KeyRecord>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT tenant, id, name, secret_hash, previous_hash, previous_until, scopes, rate, quota, used_day, used,
                created_at, expires_at, revoked_at
             FROM api_keys ORDER BY created_at, id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(KeyRecord::try_from).collect()
    }

    async fn rotate_key(&self, id: &str, secret_hash: &[u8], old_until: Timestamp, now: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        let rotated = sqlx::query(
            "UPDATE api_keys SET previous_hash = secret_hash, previous_until = $3, secret_hash = $2
             WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $4)",
        )
        .bind(id)
        .bind(secret_hash)
        .bind(micros(old_until))
        .bind(micros(now))
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(rotated > 0)
    }

    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        let revoked = sqlx::query("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id)
            .bind(micros(now))
            .execute(&mut *tx)
            .await?
            .rows_affected();
        tx.commit().await?;
        Ok(revoked > 0)
    }

    async fn count_requests(&self, id: &str, used: DayUse) -> Result<()> {
        let mut tx = self.begin().await?;
        // What belongs to a day that is over no longer counts.
        sqlx::query(
            "UPDATE api_keys SET used = CASE WHEN used_day = $2 THEN used + $3 ELSE $3 END, used_day = $2
             WHERE id = $1 AND used_day <= $2",
        )
        .bind(id)
        .bind(used.day)
        .bind(used.requests.cast_signed())
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
}
