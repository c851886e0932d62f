//! Who may: the guard in front of a route.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::audit;
use super::elsewhere;
use super::problem::ApiError;
use super::router::App;
use crate::domain::Tenant;
use crate::serving::Service;
use crate::serving::keys::{Admission, Caller, Refusal, Scope, Standing};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Scopes of which one is needed, and their names for whoever has none of them.
#[derive(Debug, Clone, Copy)]
pub struct Needs(pub &'static [Scope], pub &'static str);

/// Asking, and reading items.
pub const READ: Needs = Needs(&[Scope::Recommend, Scope::Catalogue], "recommend, catalogue, admin");
pub const RECOMMEND: Needs = Needs(&[Scope::Recommend], "recommend, admin");
pub const EVENTS: Needs = Needs(&[Scope::Events], "events, admin");
pub const CATALOGUE: Needs = Needs(&[Scope::Catalogue], "catalogue, admin");
pub const ADMIN: Needs = Needs(&[Scope::Admin], "admin");

/// The service of the tenant that the caller's key belongs to. The guard puts it there; without the guard there is none.
#[derive(Clone)]
pub struct Served(pub Arc<Service>);

impl<S: Send + Sync> FromRequestParts<S> for Served {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or(ApiError::Internal)
    }
}

/// Who makes a request, provided that their key grants one of the scopes.
fn caller(app: &App, headers: &HeaderMap, needs: Needs, now: Timestamp) -> Result<Caller, ApiError> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    app.keys.check(token, needs.0, now).map_err(|refusal| match refusal {
        Refusal::OutOfScope => ApiError::Forbidden(needs.1),
        Refusal::Missing => ApiError::Unauthorized("A key is needed"),
        Refusal::NotInForce => ApiError::Unauthorized("The key is not in force"),
        Refusal::Unknown => ApiError::Unavailable,
    })
}

/// What is told of the process as a whole is told to everybody as long as there is one tenant, and to the default tenant's admin alone where there
/// are several: it says how busy the others are.
pub fn of_the_process(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    if app.tenants.is_single() || caller(app, headers, ADMIN, Timestamp::now())?.tenant().is_default() {
        return Ok(());
    }
    Err(ApiError::Forbidden("admin of the default tenant"))
}

/// Lets a request pass whose key grants one of the scopes and has not reached a limit. What admins do is recorded before.
pub async fn guard(
    app: &App,
    needs: Needs,
    request: Request,
    admitted: impl AsyncFnOnce(Request) -> Result<Response, ApiError>,
) -> Result<Response, ApiError> {
    let now = Timestamp::now();
    let caller = caller(app, request.headers(), needs, now)?;
    if let Caller::Anyone = caller
        && let Some(header) = elsewhere::told_by(request.headers())
    {
        return Err(ApiError::Elsewhere(header));
    }
    let service = service_of(app, &caller.tenant()).await.ok_or(ApiError::Unavailable)?;
    let Admission { standings, refused } = caller.admit(now);
    let answer = async {
        if let Some((limit, seconds)) = refused {
            return Err(ApiError::LimitReached { limit, seconds });
        }
        let (mut parts, body) = request.into_parts();
        audit::record(&mut parts, &service, &caller, now).await?;
        parts.extensions.insert(Served(service));
        admitted(Request::from_parts(parts, body)).await
    };
    let mut response = answer.await.unwrap_or_else(IntoResponse::into_response);
    if !standings.is_empty() {
        tell(response.headers_mut(), &standings);
    }
    Ok(response)
}

/// The service of a tenant. That of a new one starts after its key was read.
async fn service_of(app: &App, tenant: &Tenant) -> Option<Arc<Service>> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let started = Instant::now();
    loop {
        let service = app.tenants.service(tenant);
        if service.is_some() || started.elapsed() > PATIENCE {
            return service;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The limits of the key and how they stand, as in <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>.
fn tell(headers: &mut HeaderMap, standings: &[Standing]) {
    let list = |written: &dyn Fn(&Standing) -> String| standings.iter().map(written).collect::<Vec<_>>().join(", ");
    let policy = list(&|Standing { name, quota, window, .. }| format!("\"{name}\";q={quota};w={window}"));
    let state = list(&|Standing { name, remaining, reset, .. }| format!("\"{name}\";r={remaining};t={reset}"));
    for (name, text) in [(POLICY, policy), (STATE, state)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}
