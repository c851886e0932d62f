//! Large-model providers and stored evaluations: there are none yet, and the lists say so.

use axum::Json;
use serde::Serialize;

use super::extract::{Parameters, PathId, PlainId};
use super::problem::ApiError;

/// A list without entries.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EmptyList {
    #[schema(value_type = Vec<Object>, max_items = 0)]
    data: [(); 0],
    /// Always null.
    #[schema(value_type = Option<String>)]
    next_cursor: (),
}

/// Lists the large-model providers that are configured: none can be, so far.
#[utoipa::path(get, path = "/api/providers", tag = "models",
    responses((status = 200, description = "The providers", body = EmptyList)))]
pub async fn providers(parameters: Parameters) -> Result<Json<EmptyList>, ApiError> {
    parameters.finish()?;
    Ok(Json(EmptyList { data: [], next_cursor: () }))
}

/// Lists stored comparisons of models: none is stored, so far; `medley evaluate` prints them.
#[utoipa::path(get, path = "/api/evaluations", tag = "models",
    responses((status = 200, description = "The evaluations", body = EmptyList)))]
pub async fn evaluations(parameters: Parameters) -> Result<Json<EmptyList>, ApiError> {
    parameters.finish()?;
    Ok(Json(EmptyList { data: [], next_cursor: () }))
}

/// Shows one stored comparison: none is stored, so far.
#[utoipa::path(get, path = "/api/evaluations/{id}", tag = "models",
    params(("id" = String, Path, description = "The evaluation")),
    responses((status = 404, description = "No such evaluation")))]
pub async fn evaluation(PathId(PlainId(id)): PathId<PlainId>) -> ApiError {
    ApiError::NotFound { what: "evaluation", id }
}
