//! Problem documents (RFC 9457). This file alone picks status codes.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::serving::{ServiceError, StoreError};

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer into the body ("/music/2"; "" is the body as a whole), or `/path/{name}` or `/query/{name}`
    /// for a part of the URL.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

/// So many characters of a pointer are told.
const LONGEST_POINTER: usize = 512;

impl FieldError {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let mut pointer: String = pointer.into();
        // Names of fields are the caller's, and may be megabytes long.
        if let Some((end, _)) = pointer.char_indices().nth(LONGEST_POINTER) {
            pointer.truncate(end);
            pointer.push('…');
        }
        Self { pointer, detail: detail.into() }
    }

    /// Both in one text.
    pub fn text(&self) -> String {
        if self.pointer.is_empty() { self.detail.clone() } else { format!("{}: {}", self.pointer, self.detail) }
    }
}

/// Why a request is not answered as asked.
#[derive(Debug)]
pub enum ApiError {
    /// The body is not JSON.
    NotJson(FieldError),
    /// Well-formed, and not what the route takes.
    Invalid(Vec<FieldError>),
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body did not arrive in time, or broke off.
    BodyIncomplete,
    /// No key, or not one that is known.
    Unauthorized(&'static str),
    /// Without a key, and this header says that it comes from a page of elsewhere.
    Elsewhere(HeaderName),
    /// The key has none of these scopes.
    Forbidden(&'static str),
    NoRoute,
    MethodNotAllowed,
    NotFound {
        what: &'static str,
        id: String,
    },
    /// Somebody else is at it.
    Conflict(String),
    /// The model cannot be switched to.
    BrokenModel(String),
    /// More requests at once than the service works on; `true`: on a route that has no 5xx.
    Overloaded(bool),
    /// The key has made as many requests as it may a `minute` or a `day`; after so many seconds it may make another.
    LimitReached {
        limit: &'static str,
        seconds: u64,
    },
    /// It took longer than a request may.
    Timeout,
    /// The store does not answer.
    Unavailable,
    /// The store has no room for what was to be written.
    Full,
    /// A bug, or a store that refuses: the log knows more.
    Internal,
}

/// The document that tells of it; its request id is filled in where the answer leaves the house.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// What kind of problem this is, as a URI reference; the same for each `code`.
    #[serde(rename = "type")]
    kind: String,
    /// The name of the status.
    title: &'static str,
    status: u16,
    /// What went wrong this time, for people.
    detail: String,
    /// What went wrong, for programs.
    code: &'static str,
    /// Each part of the request that is wrong.
    errors: Vec<FieldError>,
    request_id: String,
}

/// How many wrong fields one document names.
const MAX_ERRORS: usize = 100;

impl ApiError {
    /// One field that is wrong.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, detail)])
    }

    /// The first field that is wrong, for whoever judges a row of a batch.
    pub fn into_field(self) -> FieldError {
        match self {
            Self::Invalid(mut errors) if !errors.is_empty() => errors.swap_remove(0),
            Self::NotJson(error) => FieldError::new(error.pointer, format!("is not JSON: {}", error.detail)),
            other => FieldError::new("", other.detail()),
        }
    }

    /// The status, the code for programs and, where trying again helps, after how many seconds.
    fn status(&self) -> (StatusCode, &'static str, Option<u64>) {
        match self {
            Self::NotJson(_) => (StatusCode::BAD_REQUEST, "not_json", None),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized", None),
            Self::Forbidden(_) | Self::Elsewhere(_) => (StatusCode::FORBIDDEN, "forbidden", None),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no_route", None),
            Self::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found", None),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", None),
            Self::BodyIncomplete => (StatusCode::REQUEST_TIMEOUT, "body_incomplete", None),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", None),
            Self::BrokenModel(_) => (StatusCode::CONFLICT, "broken_model", None),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", None),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", None),
            Self::Overloaded(true) => (StatusCode::TOO_MANY_REQUESTS, "overloaded", Some(1)),
            Self::Overloaded(false) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", Some(1)),
            Self::LimitReached { seconds, .. } => (StatusCode::TOO_MANY_REQUESTS, "limit_reached", Some(*seconds)),
            Self::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout", Some(5)),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", Some(1)),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, "storage_full", Some(10)),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NotJson(error) => format!("The body is not JSON: {}.", error.detail),
            Self::Invalid(errors) => match errors.as_slice() {
                // What a library says of it is no verb.
                [error] if error.pointer.is_empty() && error.detail.starts_with("invalid ") => {
                    sentence(format!("The body: {}", error.detail))
                }
                [error] if error.pointer.is_empty() => sentence(format!("The body {}", error.detail)),
                [error] => sentence(error.text()),
                _ => format!("{} things are wrong.", errors.len()),
            },
            Self::TooLarge(limit) => format!("The body is larger than {limit} bytes."),
            Self::BodyIncomplete => "The body broke off or did not arrive in time.".to_owned(),
            Self::Unauthorized(why) => format!("{why}: send `Authorization: Bearer <key>`."),
            Self::Forbidden(needed) => format!("The key lacks the scope; one of these is needed: {needed}."),
            Self::Elsewhere(header) => {
                format!(
                    "While there is no API key only this machine is served, and the header `{header}` names another; `medley keys create` makes a key."
                )
            }
            Self::NoRoute => "There is no such route; /docs lists them.".to_owned(),
            Self::MethodNotAllowed => "This route does not have that method; `Allow` lists those it has.".to_owned(),
            Self::NotFound { what, id } => format!("There is no {what} `{id}`."),
            Self::Conflict(reason) => format!("{reason}."),
            Self::BrokenModel(reason) => format!("The model in force stays: {reason}."),
            Self::Overloaded(_) => "Too many requests at once; try again in a moment.".to_owned(),
            Self::LimitReached { limit, seconds } => {
                format!("The key has made all the requests it may make a {limit}; try again in {seconds} seconds.")
            }
            Self::Timeout => "It took longer than a request may.".to_owned(),
            Self::Unavailable => "The store does not answer; what was sent may be sent again.".to_owned(),
            Self::Full => {
                "Nothing was written: the store has no room left. Reading and recommendations go on.".to_owned()
            }
            Self::Internal => {
                "Something is wrong with the service; its log knows more under this request id.".to_owned()
            }
        }
    }
}

/// With a full stop, unless it asks something.
fn sentence(text: String) -> String {
    if text.ends_with(['?', '.']) { text } else { text + "." }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound { what, id } => Self::NotFound { what, id },
            ServiceError::Overloaded => Self::Overloaded(false),
            ServiceError::BrokenModel { .. } | ServiceError::MissingModel { .. } => {
                Self::BrokenModel(error.to_string())
            }
            ServiceError::Store(StoreError::Conflict(reason)) => Self::Conflict(reason),
            ServiceError::Store(StoreError::Unavailable(reason)) => {
                tracing::warn!(%reason, "the store does not answer");
                Self::Unavailable
            }
            ServiceError::Store(StoreError::Full) => {
                tracing::error!("the store has no room left: writes are refused until it has");
                Self::Full
            }
            ServiceError::Store(StoreError::Failed(reason)) => {
                tracing::error!(%reason, "the store refused");
                Self::Internal
            }
            ServiceError::Provider(reason) | ServiceError::Interrupted(reason) => {
                tracing::error!(%reason, "a piece of work was cut off");
                Self::Internal
            }
        }
    }
}

impl IntoResponse for ApiError {
    /// Without a body yet: [`finish`] writes it, where the request id is known.
    fn into_response(self) -> Response {
        let (status, code, retry_after) = self.status();
        let detail = self.detail();
        let mut errors = match self {
            Self::Invalid(errors) => errors,
            Self::NotJson(error) => vec![error],
            _ => Vec::new(),
        };
        errors.truncate(MAX_ERRORS);
        let problem = Problem {
            kind: format!("/docs#{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail,
            code,
            errors,
            request_id: String::new(),
        };
        let mut response = status.into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"medley\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(problem);
        response
    }
}

/// Writes the problem document of a response that has one.
pub fn finish(mut response: Response, request_id: &str) -> Response {
    let Some(mut problem) = response.extensions_mut().remove::<Problem>() else { return response };
    request_id.clone_into(&mut problem.request_id);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    response
}

/// The member of `names` that `text`, of any length, was probably meant to be.
pub fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if text.chars().nth(LONGEST).is_some() {
        return None;
    }
    let text = text.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&text, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "is not `a`, `b` or …": what a closed set says to a word that is not in it.
pub fn not_one_of(text: &str, names: &[&str]) -> String {
    let shown: String = text.chars().take(64).collect();
    let mut detail = format!("`{}` is not one of {}", shown.escape_debug(), names.join(", "));
    if let Some(name) = nearest(&shown, names.iter().copied()) {
        let _ = write!(detail, "; did you mean `{name}`?");
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("musik", ["music", "movie"]), Some("music"));
        assert_eq!(nearest("Limits", ["limit", "filter"]), Some("limit"));
        assert_eq!(nearest("zebra", ["music", "movie"]), None);
        let long = "q".repeat(65);
        assert_eq!(nearest(&long, [long.as_str()]), None, "long names are not compared letter by letter");
        assert!(FieldError::new(format!("/{}", "q".repeat(8 << 20)), "is not a known field").pointer.len() < 1_000);
    }

    #[test]
    fn a_store_error_tells_nothing_of_the_store() {
        let error = ServiceError::Store(StoreError::Failed("syntax error at SELECT secret".to_owned()));
        let error = ApiError::from(error);
        assert!(!error.detail().contains("SELECT"));
        assert_eq!(error.status().0, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
