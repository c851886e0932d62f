//! Which models were trained, and which one is active. At most one is: an index of the database holds it.

use jiff::Timestamp;

use super::shared::{Lock, from_json, micros, timestamp, to_json};
use super::{ModelRecord, Result, StoreError};

type Row = (String, String, i64, bool, Option<i64>);

fn record((version, manifest, created_at, active, activated_at): Row) -> Result<ModelRecord> {
    Ok(ModelRecord {
        version,
        manifest: from_json(&manifest, "manifest")?,
        created_at: timestamp(created_at)?,
        active,
        activated_at: activated_at.map(timestamp).transpose()?,
    })
}

/// Makes this version the only active one: 1, or 0 when there is none of this name.
macro_rules! activate {
    ($store:expr, $tx:expr, $version:expr, $now:expr) => {{
        // Two statements, because the index that allows one active model looks at every row as it changes.
        sqlx::query("UPDATE models SET active = FALSE WHERE tenant = $1 AND active AND version <> $2")
            .bind($store.tenant.as_str())
            .bind($version)
            .execute(&mut **$tx)
            .await?;
        sqlx::query("UPDATE models SET active = TRUE, activated_at = $3 WHERE tenant = $1 AND version = $2")
            .bind($store.tenant.as_str())
            .bind($version)
            .bind(micros($now))
            .execute(&mut **$tx)
            .await?
            .rows_affected()
    }};
}

for_both_databases! {
impl ModelStore {
    async fn publish_model(
        &self,
        version: &str,
        manifest: &serde_json::Value,
        epoch: i64,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::Models).await?;
        // Changes nothing, and holds the row until the end: a trainer who comes now waits for it.
        let is_newest = sqlx::query("UPDATE trainers SET epoch = epoch WHERE tenant = $1 AND epoch = $2")
            .bind(self.tenant.as_str())
            .bind(epoch)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if is_newest == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        let recorded = sqlx::query(
            "INSERT INTO models (tenant, version, manifest, epoch, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant, version) DO UPDATE SET manifest = excluded.manifest WHERE models.epoch = excluded.epoch",
        )
        .bind(self.tenant.as_str())
        .bind(version)
        .bind(to_json(manifest)?)
        .bind(epoch)
        .bind(micros(now))
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if recorded == 0 {
            return Err(StoreError::Conflict(format!("there is a model {version}")));
        }
        activate!(self, &mut tx, version, now);
        tx.commit().await?;
        Ok(true)
    }

    async fn models(&self) -> Result<Vec<ModelRecord>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT version, manifest, created_at, active, activated_at
             FROM models WHERE tenant = $1 ORDER BY created_at DESC, version DESC",
        )
        .bind(self.tenant.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(record).collect()
    }

    async fn activate_model(&self, version: &str, now: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::Models).await?;
        let found = activate!(self, &mut tx, version, now);
        if found == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn active_model(&self) -> Result<Option<String>> {
        Ok(sqlx::query_scalar("SELECT version FROM models WHERE tenant = $1 AND active")
            .bind(self.tenant.as_str())
            .fetch_optional(&self.pool)
            .await?)
    }

    async fn delete_model(&self, version: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::Models).await?;
        let active: Option<bool> = sqlx::query_scalar("SELECT active FROM models WHERE tenant = $1 AND version = $2")
            .bind(self.tenant.as_str())
            .bind(version)
            .fetch_optional(&mut *tx)
            .await?;
        if active == Some(true) {
            return Err(StoreError::Conflict(format!("model {version} is the active one")));
        }
        sqlx::query("DELETE FROM models WHERE tenant = $1 AND version = $2")
            .bind(self.tenant.as_str())
            .bind(version)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}
}
