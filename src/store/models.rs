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

for_both_databases! {
impl ModelStore {
    async fn record_model(&self, version: &str, manifest: &serde_json::Value, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO models (tenant, version, manifest, created_at) VALUES ($1, $2, $3, $4)")
            .bind(self.tenant.as_str())
            .bind(version)
            .bind(to_json(manifest)?)
            .bind(micros(now))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
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
        // Two statements, because the index that allows one active model looks at every row as it changes.
        sqlx::query("UPDATE models SET active = FALSE WHERE tenant = $1 AND active AND version <> $2")
            .bind(self.tenant.as_str())
            .bind(version)
            .execute(&mut *tx)
            .await?;
        let found = sqlx::query("UPDATE models SET active = TRUE, activated_at = $3 WHERE tenant = $1 AND version = $2")
            .bind(self.tenant.as_str())
            .bind(version)
            .bind(micros(now))
            .execute(&mut *tx)
            .await?
            .rows_affected();
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
