//! Long work: at most one running job of a kind, across all replicas; an index of the database holds it.

use jiff::Timestamp;

use super::shared::{Lock, from_json, micros, timestamp, to_json, unreadable};
use super::{Job, JobState, Result, StoreError};

type Row = (String, String, String, String, f64, String, Option<String>, i64, i64, i64);

#[allow(clippy::cast_possible_truncation)] // a progress of 0 to 1 loses nothing that matters
fn job((id, kind, state, phase, progress, log, result, trainers, created_at, updated_at): Row) -> Result<Job> {
    let states = [JobState::Running, JobState::Succeeded, JobState::Failed];
    Ok(Job {
        id,
        kind,
        state: states.into_iter().find(|known| known.as_str() == state).ok_or_else(|| unreadable("state of a job"))?,
        phase,
        progress: progress as f32,
        log: from_json(&log, "log")?,
        result: result.map(|result| from_json(&result, "result")).transpose()?,
        trainers: u32::try_from(trainers).map_err(|_| unreadable("number of trainers"))?,
        created_at: timestamp(created_at)?,
        updated_at: timestamp(updated_at)?,
    })
}

for_both_databases! {
impl JobStore {
    async fn start_job(&self, job: &Job, epoch: i64) -> Result<bool> {
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::Jobs).await?;
        let running: Option<String> =
            sqlx::query_scalar("SELECT id FROM jobs WHERE tenant = $1 AND kind = $2 AND state = 'running'")
                .bind(self.tenant.as_str())
                .bind(job.kind.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        if let Some(id) = running {
            return Err(StoreError::Conflict(format!("job {id} is running")));
        }
        let started = sqlx::query(
            "INSERT INTO jobs (tenant, id, kind, state, phase, progress, log, result, trainers, created_at, updated_at, epoch)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, epoch FROM trainers WHERE tenant = $1 AND epoch = $12",
        )
        .bind(self.tenant.as_str())
        .bind(job.id.as_str())
        .bind(job.kind.as_str())
        .bind(job.state.as_str())
        .bind(job.phase.as_str())
        .bind(f64::from(job.progress))
        .bind(to_json(&job.log)?)
        .bind(job.result.as_ref().map(to_json).transpose()?)
        .bind(i64::from(job.trainers))
        .bind(micros(job.created_at))
        .bind(micros(job.updated_at))
        .bind(epoch)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(started > 0)
    }

    async fn adopt_job(&self, kind: &str, epoch: i64, now: Timestamp) -> Result<Option<Job>> {
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::Jobs).await?;
        let row: Option<Row> = sqlx::query_as(
            "UPDATE jobs SET epoch = $3, trainers = trainers + 1, updated_at = $4
             WHERE tenant = $1 AND kind = $2 AND state = 'running'
                AND EXISTS (SELECT 1 FROM trainers WHERE tenant = $1 AND epoch = $3)
             RETURNING id, kind, state, phase, progress, log, result, trainers, created_at, updated_at",
        )
        .bind(self.tenant.as_str())
        .bind(kind)
        .bind(epoch)
        .bind(micros(now))
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        row.map(job).transpose()
    }

    async fn update_job(&self, job: &Job, epoch: i64) -> Result<bool> {
        let mut tx = self.begin().await?;
        let updated = sqlx::query(
            "UPDATE jobs SET state = $3, phase = $4, progress = $5, log = $6, result = $7, updated_at = $8
             WHERE tenant = $1 AND id = $2 AND state = 'running' AND epoch = $9
                AND EXISTS (SELECT 1 FROM trainers WHERE tenant = $1 AND epoch = $9)",
        )
        .bind(self.tenant.as_str())
        .bind(job.id.as_str())
        .bind(job.state.as_str())
        .bind(job.phase.as_str())
        .bind(f64::from(job.progress))
        .bind(to_json(&job.log)?)
        .bind(job.result.as_ref().map(to_json).transpose()?)
        .bind(micros(job.updated_at))
        .bind(epoch)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(updated > 0)
    }

    async fn running_job(&self, kind: &str) -> Result<Option<Job>> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, kind, state, phase, progress, log, result, trainers, created_at, updated_at
             FROM jobs WHERE tenant = $1 AND kind = $2 AND state = 'running'",
        )
        .bind(self.tenant.as_str())
        .bind(kind)
        .fetch_optional(&self.pool)
        .await?;
        row.map(job).transpose()
    }

    async fn job(&self, id: &str) -> Result<Option<Job>> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, kind, state, phase, progress, log, result, trainers, created_at, updated_at
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
