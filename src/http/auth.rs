//! Who may: the guard in front of a route.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;

use super::problem::ApiError;
use super::router::App;
use crate::serving::keys::{Access, Scope};

/// Scopes of which one is needed, and their names for whoever has none of them.
#[derive(Debug, Clone, Copy)]
pub struct Needs(pub &'static [Scope], pub &'static str);

/// Asking, and reading items.
pub const READ: Needs = Needs(&[Scope::Recommend, Scope::Catalogue], "recommend, catalogue, admin");
pub const RECOMMEND: Needs = Needs(&[Scope::Recommend], "recommend, admin");
pub const EVENTS: Needs = Needs(&[Scope::Events], "events, admin");
pub const CATALOGUE: Needs = Needs(&[Scope::Catalogue], "catalogue, admin");
pub const ADMIN: Needs = Needs(&[Scope::Admin], "admin");

/// Lets a request pass whose key grants one of the scopes.
pub async fn guard(
    State((app, needs)): State<(App, Needs)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    match app.keys.check(token, needs.0, Timestamp::now()) {
        Access::Granted => Ok(next.run(request).await),
        Access::OutOfScope => Err(ApiError::Forbidden(needs.1)),
        Access::Missing => Err(ApiError::Unauthorized("A key is needed")),
        Access::Refused => Err(ApiError::Unauthorized("The key is not in force")),
        Access::Unknown => Err(ApiError::Unavailable),
    }
}
