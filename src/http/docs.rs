//! The OpenAPI document, its reader (from the binary, no CDN), and the first page.

use std::sync::{Arc, LazyLock};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{Html, IntoResponse, Response};

use super::problem::ApiError;
use super::router::App;

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub async fn openapi(State(app): State<App>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], app.openapi.clone())
}

/// The first page: where things are, and a request to copy.
#[utoipa::path(get, path = "/", tag = "service",
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html")))]
pub async fn index() -> Html<&'static str> {
    Html(include_str!("index.html"))
}

/// A reader of the OpenAPI document.
#[utoipa::path(get, path = "/docs", tag = "service",
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html")))]
pub async fn docs() -> Result<Response, ApiError> {
    asset("index.html")
}

/// The files that the reader is made of.
pub async fn docs_file(path: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let Ok(Path(path)) = path else { return Err(ApiError::NoRoute) };
    asset(&path)
}

fn asset(path: &str) -> Result<Response, ApiError> {
    static CONFIG: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> =
        LazyLock::new(|| Arc::new(utoipa_swagger_ui::Config::from("/openapi.json")));
    let file = utoipa_swagger_ui::serve(path, Arc::clone(&CONFIG)).ok().flatten().ok_or(ApiError::NoRoute)?;
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::try_from(file.content_type).map_err(|_| ApiError::Internal)?;
    headers.insert(CONTENT_TYPE, content_type);
    if file.gzpipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let mut bytes = file.bytes.into_owned();
    if path == "index.html" {
        // The page names its files relative to itself, which holds only under a path that ends with a slash.
        bytes = String::from_utf8_lossy(&bytes).replace("\"./", "\"/docs/").into_bytes();
    }
    Ok((headers, bytes).into_response())
}
