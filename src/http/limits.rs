//! Limits on requests under way: how many, how long; and what a bug may take down.

use std::any::Any;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ApiError;
use super::router::App;

/// Refuses at once what the service has no room for, and gives up on what takes too long.
pub async fn limit(State(app): State<App>, request: Request, next: Next) -> Result<Response, ApiError> {
    let Ok(_permit) = app.room.try_acquire() else {
        // No answer of the recommend route is a 5xx while the process lives.
        let is_recommend =
            request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str() == "/api/recommend");
        return Err(ApiError::Overloaded(is_recommend));
    };
    let patience = app.config.server.request_timeout();
    tokio::time::timeout(patience, next.run(request)).await.map_err(|_| ApiError::Timeout)
}

/// A panic in a handler is a bug: it ends one request, not the service.
#[allow(clippy::needless_pass_by_value)] // The layer hands it over by value.
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(message, "a handler panicked");
    ApiError::Internal.into_response()
}
