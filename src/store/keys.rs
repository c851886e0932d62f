//! API keys: their hashes, scopes and ends.

use jiff::Timestamp;

use super::shared::{TENANT, from_json, micros, timestamp, to_json};
use super::{KeyRecord, Result};

type Row = (String, String, Vec<u8>, String, i64, Option<i64>, Option<i64>);

fn record((id, name, secret_hash, scopes, created_at, expires_at, revoked_at): Row) -> Result<KeyRecord> {
    Ok(KeyRecord {
        id,
        name,
        secret_hash,
        scopes: from_json(&scopes, "key")?,
        created_at: timestamp(created_at)?,
        expires_at: expires_at.map(timestamp).transpose()?,
        revoked_at: revoked_at.map(timestamp).transpose()?,
    })
}

for_both_databases! {
impl KeyStore {
    async fn create_key(&self, key: &KeyRecord) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO api_keys (tenant, id, name, secret_hash, scopes, created_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(TENANT)
        .bind(key.id.as_str())
        .bind(key.name.as_str())
        .bind(key.secret_hash.as_slice())
        .bind(to_json(&key.scopes)?)
        .bind(micros(key.created_at))
        .bind(key.expires_at.map(micros))
        .bind(key.revoked_at.map(micros))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn keys(&self) -> Result<Vec<KeyRecord>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, name, secret_hash, scopes, created_at, expires_at, revoked_at
             FROM api_keys WHERE tenant = $1 ORDER BY created_at, id",
        )
        .bind(TENANT)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(record).collect()
    }

    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        let revoked = sqlx::query(
            "UPDATE api_keys SET revoked_at = $3 WHERE tenant = $1 AND id = $2 AND revoked_at IS NULL",
        )
        .bind(TENANT)
        .bind(id)
        .bind(micros(now))
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(revoked > 0)
    }
}
}
