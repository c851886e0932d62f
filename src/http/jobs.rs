//! Jobs: long work, and how far it is.

use axum::Json;
use jiff::Timestamp;
use serde::Serialize;

use super::auth::Served;
use super::extract::{NoParameters, PathId, PlainId};
use super::problem::ApiError;
use crate::serving::{Job, ServiceError};

/// A piece of long work.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Job)]
pub struct JobAnswer {
    id: String,
    /// What it does: `train`.
    kind: String,
    /// `running`, `succeeded` or `failed`.
    state: &'static str,
    /// Which part of the work it is at.
    phase: String,
    /// 0 to 1, over all phases.
    #[schema(minimum = 0, maximum = 1)]
    progress: f32,
    /// The last lines of its log.
    log: Vec<String>,
    /// What came of it; null while it runs.
    #[schema(value_type = Option<Object>)]
    result: Option<serde_json::Value>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Job> for JobAnswer {
    fn from(job: Job) -> Self {
        let Job { id, kind, state, phase, progress, log, result, created_at, updated_at, trainers: _ } = job;
        Self { id, kind, state: state.as_str(), phase, progress, log, result, created_at, updated_at }
    }
}

/// Tells how far a job is.
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "models",
    params(("id" = String, Path, description = "The job")),
    responses((status = 200, description = "The job", body = JobAnswer), (status = 404, description = "No such job")))]
pub async fn get(
    Served(service): Served,
    PathId(PlainId(id)): PathId<PlainId>,
    _: NoParameters,
) -> Result<Json<JobAnswer>, ApiError> {
    let job = service.store.job(&id).await.map_err(ServiceError::Store)?;
    job.map(|job| Json(job.into())).ok_or(ApiError::NotFound { what: "job", id })
}
