//! Models: what can be asked for, training another, switching.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::auth::Served;
use super::extract::{NoBody, NoParameters, PathId, PlainId};
use super::jobs::JobAnswer;
use super::problem::ApiError;
use crate::config::Config;
use crate::domain::Tenant;
use crate::large_model::{Embedder, Providers};
use crate::serving::{ModelEntry, ModelRecord, ServiceError, Tenants};
use crate::training::{self, JobWatch, TrainingSettings};

/// A model that a request can name, in one trained version.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Model {
    /// Give it as `model` to a request.
    name: &'static str,
    /// How it works.
    kind: &'static str,
    /// Give it to `activate`.
    version: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    trained_at: Option<Timestamp>,
    /// SHA-256 of the behaviour and items it was trained on.
    data_fingerprint: Option<String>,
    /// What it scored on people held out in training.
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    metrics: Value,
    /// The size of the artifact, which holds all models of the version.
    bytes: Option<u64>,
    /// Whether requests are answered by this version.
    active: bool,
}

impl From<ModelEntry> for Model {
    fn from(ModelEntry { name, record }: ModelEntry) -> Self {
        let ModelRecord { version, manifest, active, .. } = record;
        let text = |field: &str| manifest.get(field).and_then(Value::as_str).map(str::to_owned);
        Self {
            name,
            kind: match name {
                "hybrid" => "blend",
                "ease" => "collaborative",
                other => other,
            },
            trained_at: text("trained_at").and_then(|text| text.parse().ok()),
            data_fingerprint: text("data_fingerprint"),
            metrics: manifest
                .get("metrics")
                .and_then(|by_name| by_name.get(name))
                .filter(|metrics| metrics.is_object())
                .cloned()
                .unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            bytes: manifest.get("bytes").and_then(Value::as_u64),
            version,
            active,
        }
    }
}

/// All models of all versions kept; newest version first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ModelList {
    data: Vec<Model>,
    /// Always null: the list is short.
    next_cursor: Option<String>,
}

/// Lists every model that a request can name, of every version kept.
#[utoipa::path(get, path = "/api/models", tag = "models",
    responses((status = 200, description = "The models", body = ModelList)))]
pub async fn list(Served(service): Served, _: NoParameters) -> Result<Json<ModelList>, ApiError> {
    let data = service.models().await?.into_iter().map(Model::from).collect();
    Ok(Json(ModelList { data, next_cursor: None }))
}

/// Starts training on what the store holds. One training runs at a time, across all replicas; the model that comes of it is
/// made the active one.
#[utoipa::path(post, path = "/api/models/train", tag = "models",
    responses(
        (status = 202, description = "The job has started", body = JobAnswer, headers(("location" = String, description = "The job"))),
        (status = 409, description = "A training is running"),
    ))]
pub async fn train(Served(service): Served, _: NoParameters, _: NoBody) -> Result<Response, ApiError> {
    // Through the providers of the service, so that budgets count for both.
    let settings = settings_with(&service.config, service.store.tenant(), Some(Arc::clone(&service.providers)));
    let job = training::start_job(Arc::clone(&service.store), settings).await.map_err(ServiceError::Store)?;
    let location = HeaderValue::try_from(format!("/api/jobs/{}", job.id)).map_err(|_| ApiError::Internal)?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(JobAnswer::from(job))).into_response())
}

/// Goes on with trainings whose process is gone, of all tenants served, as long as the service lives.
pub(super) async fn look_after_jobs(tenants: Weak<Tenants>, interval: Duration) {
    let mut watches: BTreeMap<Tenant, JobWatch> = BTreeMap::new();
    loop {
        tokio::time::sleep(interval).await;
        let Some(tenants) = tenants.upgrade() else { return };
        for service in tenants.services() {
            let tenant = service.store.tenant();
            let watch = watches.entry(tenant.clone()).or_default();
            let patience = service.config.training.take_over_after();
            let settings = || settings_with(&service.config, tenant, Some(Arc::clone(&service.providers)));
            if let Err(error) = watch.look(&service.store, patience, settings).await {
                tracing::debug!(%error, %tenant, "cannot look after the jobs of others");
            }
        }
    }
}

/// What training is told by the settings, for a tenant.
#[must_use]
pub fn training_settings(config: &Config, tenant: &Tenant) -> TrainingSettings {
    let providers = Providers::new(&config.large_model).inspect_err(|error| tracing::warn!(error, "no providers"));
    settings_with(config, tenant, providers.ok().map(Arc::new))
}

fn settings_with(config: &Config, tenant: &Tenant, providers: Option<Arc<Providers>>) -> TrainingSettings {
    let embedder = providers.and_then(|providers| Embedder::new(&config.large_model, providers));
    TrainingSettings {
        domains: config.domains.clone(),
        interactions: config.interactions.clone(),
        engine: config.engine.clone(),
        seed: config.training.seed,
        validation_share: config.training.validation_share,
        validation_max_users: config.training.validation_max_users,
        validation_rounds: config.training.validation_rounds,
        blend_samples: config.training.blend_samples,
        keep_versions: config.training.keep_versions,
        models_dir: config.models_dir(tenant),
        embedder,
        tune: None,
        max_memory_mib: config.training.max_memory_mib,
    }
}

/// A version that was switched to.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Activated {
    version: String,
    active: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    activated_at: Option<Timestamp>,
}

/// Switches to a version, or back to it. Requests under way end with the model they began with; none fails. A version whose
/// artifact is broken is refused, and the one in force stays.
#[utoipa::path(post, path = "/api/models/{version}/activate", tag = "models",
    params(("version" = String, Path, description = "A version of `GET /api/models`")),
    responses(
        (status = 200, description = "It answers from now on", body = Activated),
        (status = 404, description = "No such version"),
        (status = 409, description = "The artifact of that version is broken"),
    ))]
pub async fn activate(
    Served(service): Served,
    PathId(PlainId(version)): PathId<PlainId>,
    _: NoParameters,
    _: NoBody,
) -> Result<Json<Activated>, ApiError> {
    let ModelRecord { version, active, activated_at, .. } = service.activate(&version).await?;
    Ok(Json(Activated { version, active, activated_at }))
}
