//! Large-model providers, and stored comparisons of models and providers.

use axum::Json;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::auth::Served;
use super::extract::{NoParameters, PathId, PlainId};
use super::problem::ApiError;
use crate::serving::{Evaluation, ServiceError};

/// A provider, and what was measured of it since this process started.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Provider {
    /// Give it as `rerank` to a request.
    name: String,
    /// `chat`, `embeddings` or `rerank`.
    kind: &'static str,
    model: String,
    /// Whether `rerank: "llm"` asks it.
    default: bool,
    /// False while it is left alone after failures in a row.
    healthy: bool,
    /// `closed` (asked) or `open` (left alone for a while).
    circuit: &'static str,
    requests: u64,
    failures: u64,
    #[schema(value_type = Option<f64>)]
    p50_ms: Option<f64>,
    #[schema(value_type = Option<f64>)]
    p95_ms: Option<f64>,
    input_tokens: u64,
    output_tokens: u64,
    /// In the currency of the configured prices.
    cost: f64,
    cost_today: f64,
    /// 0: none.
    budget_per_day: f64,
}

/// The providers, the one in the process first, then by name.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProviderList {
    data: Vec<Provider>,
    /// Always null: the list is short.
    #[schema(value_type = Option<String>)]
    next_cursor: (),
}

/// Lists the large-model providers: those configured, and the table of word vectors in the process.
#[utoipa::path(get, path = "/api/providers", tag = "models",
    responses((status = 200, description = "The providers", body = ProviderList)))]
pub async fn providers(Served(service): Served, _: NoParameters) -> Result<Json<ProviderList>, ApiError> {
    let default = service.providers.get("llm").map(|provider| provider.name.as_str());
    let data = service.providers.all.iter().map(|provider| {
        let (numbers, resting) = (provider.statistics(), provider.is_resting());
        Provider {
            name: provider.name.clone(),
            kind: provider.kind.as_str(),
            model: provider.model.clone(),
            default: default == Some(provider.name.as_str()),
            healthy: !resting,
            circuit: if resting { "open" } else { "closed" },
            requests: numbers.requests,
            failures: numbers.failures,
            p50_ms: numbers.p50_ms,
            p95_ms: numbers.p95_ms,
            input_tokens: numbers.usage.input_tokens,
            output_tokens: numbers.usage.output_tokens,
            cost: numbers.cost,
            cost_today: numbers.cost_today,
            budget_per_day: provider.budget_per_day(),
        }
    });
    Ok(Json(ProviderList { data: data.collect(), next_cursor: () }))
}

/// A stored comparison.
#[derive(Serialize, utoipa::ToSchema)]
pub struct StoredEvaluation {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// What was compared, how, and what came out.
    #[schema(value_type = Object)]
    report: Value,
}

impl From<Evaluation> for StoredEvaluation {
    fn from(Evaluation { id, report, created_at }: Evaluation) -> Self {
        Self { id, created_at, report }
    }
}

/// Stored comparisons, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EvaluationList {
    data: Vec<StoredEvaluation>,
    /// Always null: the hundred newest are listed.
    #[schema(value_type = Option<String>)]
    next_cursor: (),
}

/// Lists the newest stored comparisons of models and providers.
#[utoipa::path(get, path = "/api/evaluations", tag = "models",
    responses((status = 200, description = "The evaluations", body = EvaluationList)))]
pub async fn evaluations(Served(service): Served, _: NoParameters) -> Result<Json<EvaluationList>, ApiError> {
    let evaluations = service.store.evaluations(100).await.map_err(ServiceError::Store)?;
    Ok(Json(EvaluationList { data: evaluations.into_iter().map(Into::into).collect(), next_cursor: () }))
}

/// Shows one stored comparison.
#[utoipa::path(get, path = "/api/evaluations/{id}", tag = "models",
    params(("id" = String, Path, description = "The evaluation")),
    responses((status = 200, description = "The evaluation", body = StoredEvaluation),
        (status = 404, description = "No such evaluation")))]
pub async fn evaluation(
    Served(service): Served,
    PathId(PlainId(id)): PathId<PlainId>,
    _: NoParameters,
) -> Result<Json<StoredEvaluation>, ApiError> {
    let found = service.store.evaluation(&id).await.map_err(ServiceError::Store)?;
    found.map(|found| Json(found.into())).ok_or(ApiError::NotFound { what: "evaluation", id })
}
