//! What `medley evaluate` measured of models and providers.

use jiff::Timestamp;

use super::shared::{from_json, micros, timestamp, to_json};
use super::{Evaluation, Result};

type Row = (String, String, i64);

fn evaluation((id, report, created_at): Row) -> Result<Evaluation> {
    Ok(Evaluation { id, report: from_json(&report, "evaluation")?, created_at: timestamp(created_at)? })
}

for_both_databases! {
impl EvaluationStore {
    async fn record_evaluation(&self, id: &str, report: &serde_json::Value, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO evaluations (tenant, id, report, created_at) VALUES ($1, $2, $3, $4)")
            .bind(self.tenant.as_str())
            .bind(id)
            .bind(to_json(report)?)
            .bind(micros(now))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn evaluations(&self, limit: u32) -> Result<Vec<Evaluation>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, report, created_at FROM evaluations WHERE tenant = $1 ORDER BY created_at DESC, id DESC LIMIT $2",
        )
        .bind(self.tenant.as_str())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(evaluation).collect()
    }

    async fn evaluation(&self, id: &str) -> Result<Option<Evaluation>> {
        let row: Option<Row> =
            sqlx::query_as("SELECT id, report, created_at FROM evaluations WHERE tenant = $1 AND id = $2")
                .bind(self.tenant.as_str())
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
        row.map(evaluation).transpose()
    }

    async fn newest_evaluation(&self) -> Result<Option<String>> {
        Ok(sqlx::query_scalar("SELECT id FROM evaluations WHERE tenant = $1 ORDER BY created_at DESC, id DESC LIMIT 1")
            .bind(self.tenant.as_str())
            .fetch_optional(&self.pool)
            .await?)
    }
}
}
