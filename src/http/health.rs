//! Is it alive, and may it take traffic?

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::router::App;

/// The process lives.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Alive {
    /// Always `alive`.
    status: &'static str,
}

/// Answers as long as the process lives.
#[utoipa::path(get, path = "/livez", tag = "service",
    responses((status = 200, description = "The process lives", body = Alive)))]
pub async fn livez() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Whether the service may take traffic, and what it stands on.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Ready {
    /// It can answer recommendations. Stays so while the store is away: answers degrade and say so.
    ready: bool,
    /// Whether the store answers.
    store: bool,
    /// How many items it knows; null where several tenants are served, as this route is open to all of them.
    #[schema(value_type = Option<usize>)]
    items: Option<usize>,
    /// The version that answers; null when nothing is trained, and where several tenants are served.
    model_version: Option<String>,
}

/// Tells whether the service may take traffic.
#[utoipa::path(get, path = "/readyz", tag = "service",
    responses(
        (status = 200, description = "It may take traffic", body = Ready),
        (status = 503, description = "Not yet", body = Ready, content_type = "application/json"),
    ))]
pub async fn readyz(State(app): State<App>) -> Response {
    let readiness = app.tenants.default_service().readiness().await;
    let is_single = app.tenants.is_single();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Ready {
        ready: readiness.ready,
        store: readiness.store_answers,
        items: is_single.then_some(readiness.items),
        model_version: readiness.model_version.filter(|_| is_single),
    };
    (status, Json(body)).into_response()
}
