//! The outermost layer: a request id for every request, one log line and one count for every answer.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{limits, metrics, problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request, for handlers.
#[derive(Clone)]
pub struct RequestId(pub HeaderValue);

/// Wraps everything. What is logged says nothing about people: no bodies, no ids, no query strings.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let id = request_id(&request);
    let span = tracing::info_span!("request", request_id = id.to_str().unwrap_or_default());
    request.extensions_mut().insert(RequestId(id.clone()));
    let response = next.run(request).instrument(span.clone()).await;
    let _entered = span.enter();
    let mut response = problem::finish(response, id.to_str().unwrap_or_default());
    let (status, took) = (response.status(), started.elapsed());
    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    metrics::answered(method, route, status.as_u16(), took);
    #[allow(clippy::cast_precision_loss)]
    let ms = took.as_micros() as f64 / 1e3;
    // What is refused under load is counted above: a line for each would cost more than the refusal.
    if limits::is_refusal(status) || matches!(route, "/livez" | "/readyz" | "/metrics") {
        tracing::debug!(method, route, status = status.as_u16(), ms, "answered");
    } else {
        tracing::info!(method, route, status = status.as_u16(), ms, "answered");
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's id if it is sane (at most 128 visible ASCII characters), else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let is_sane = |id: &&HeaderValue| (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    request.headers().get(REQUEST_ID).filter(is_sane).cloned().unwrap_or_else(|| {
        let id = Uuid::now_v7().to_string();
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
    })
}

/// The method, unless it is one that somebody made up: label values must not be the caller's choice.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
