//! Long work: at most one running job of a kind, across all replicas; an index of the database holds it.

use jiff::Timestamp;

use super::shared::{Lock, from_json, micros, timestamp, to_json, unreadable};
use super::{Job, JobState, Result, StoreError};

type Row = (String, String, String, String, f64, String, Option<String>, i64, i64);

#[allow(clippy::cast_possible_truncation)] // a progress of 0 to 1 loses nothing that matters
fn job((id, kind, state, phase, progress, log, result, created_at, updated_at): Row) -> Result<Job> {
    let states = [JobState::Running, JobState::Succeeded, JobState::Failed];
    Ok(Job {
        id,
        kind,
        state: states.into_iter().find(|known| known.as_str() == state).ok_or_else(|| unreadable("state of a job"))?,
        phase,
        progress: progress as f32,
        log: from_json(&log, "log")?,
        result: result.map(|result| from_json(&result, "result")).transpose()?,
        created_at: timestamp(created_at)?,
        updated_at: timestamp(updated_at)?,
    })
}

for_both_databases! {
impl JobStore {
    async fn start_job(&self, job: &Job, stale_before: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::Jobs).await?;
        let running: Option<(String, i64)> = sqlx::query_as(
            "SELECT id, updated_at FROM jobs WHERE tenant = $1 AND kind = $2 AND state = 'running'",
        )
        .bind(self.tenant.as_str())
        .bind(job.kind.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        if let Some((id, updated_at)) = running {
            if updated_at > micros(stale_before) {
                return Err(StoreError::Conflict(format!("job {id} is running")));
            }
            sqlx::query("UPDATE jobs SET state = 'failed', phase = 'abandoned', updated_at = $3 WHERE tenant = $1 AND id = $2")
                .bind(self.tenant.as_str())
                .bind(id)
                .bind(micros(job.updated_at))
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query(
            "INSERT INTO jobs (tenant, id, kind, state, phase, progress, log, result, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(self.tenant.as_str())
        .bind(job.id.as_str())
        .bind(job.kind.as_str())
        .bind(job.state.as_str())
        .bind(job.phase.as_str())
        .bind(f64::from(job.progress))
        .bind(to_json(&job.log)?)
        .bind(job.result.as_ref().map(to_json).transpose()?)
        .bind(micros(job.created_at))
        .bind(micros(job.updated_at))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn update_job(&self, job: &Job) -> Result<bool> {
        let mut tx = self.begin().await?;
        let updated = sqlx::query(
            "UPDATE jobs SET state = $3, phase = $4, progress = $5, log = $6, result = $7, updated_at = $8
             WHERE tenant = $1 AND id = $2 AND state = 'running'",
        )
        .bind(self.tenant.as_str())
        .bind(job.id.as_str())
        .bind(job.state.as_str())
        .bind(job.phase.as_str())
        .bind(f64::from(job.progress))
        .bind(to_json(&job.log)?)
        .bind(job.result.as_ref().map(to_json).transpose()?)
        .bind(micros(job.updated_at))
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(updated > 0)
    }

    async fn job(&self, id: &str) -> Result<Option<Job>> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, kind, state, phase, progress, log, result, created_at, updated_at
             FROM jobs WHERE tenant = $1 AND id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(job).transpose()
    }
}
}
