//! What handlers take from a request: a JSON body of any Content-Type, ids of the path, parameters of the query.

use std::marker::PhantomData;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::fields::{Object, check_text};
use super::json;
use super::problem::{ApiError, nearest};
use super::router::App;
use crate::domain::{Domain, IdError, ItemId};

/// The body as text: whatever its Content-Type, or with none.
pub struct Text(pub String);

impl FromRequest<App> for Text {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        // It is there already, and not too large: `limits` has read it.
        let bytes = to_bytes(request.into_body(), app.config.server.max_body_bytes).await;
        let bytes = bytes.map_err(|_| ApiError::BodyIncomplete)?;
        let text = String::from_utf8(bytes.into()).map_err(|error| {
            let detail = format!("byte {} is not UTF-8", error.utf8_error().valid_up_to());
            ApiError::NotJson(super::FieldError::new("", detail))
        })?;
        // Some clients begin with a byte order mark.
        Ok(Self(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
    }
}

/// A JSON object with the fields of `T`.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let Text(text) = Text::from_request(request, app).await?;
        json::read(&text, || PhantomData::<Object<T>>).map(|object| Self(object.0))
    }
}

/// No body, or an object that says nothing: what somebody hopes to set by one must not be passed over in silence.
pub struct NoBody;

impl FromRequest<App> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}

        let Text(text) = Text::from_request(request, app).await?;
        if !text.trim().is_empty() {
            json::read(&text, || PhantomData::<Object<Nothing>>)?;
        }
        Ok(Self)
    }
}

/// The one id in the path of a route.
pub struct PathId<T>(pub T);

impl<T, S> FromRequestParts<S> for PathId<T>
where
    T: TryFrom<String, Error = IdError>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let parameters = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::field("/path", "is not UTF-8"))?;
        let (name, text) = parameters.iter().next().ok_or(ApiError::NoRoute)?;
        T::try_from(text.to_owned())
            .map(Self)
            .map_err(|error| ApiError::field(format!("/path/{name}"), error.to_string()))
    }
}

/// An id of the service's own making: of a job, say.
pub struct PlainId(pub String);

impl TryFrom<String> for PlainId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        // The rules are those of all ids.
        ItemId::new(text).map(|id| Self(id.into()))
    }
}

/// No parameters in the query string: for each route that takes none.
pub struct NoParameters;

impl<S: Send + Sync> FromRequestParts<S> for NoParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Parameters::from_request_parts(parts, state).await?.finish().map(|()| Self)
    }
}

/// The parameters of the query string; a handler takes each by name, then calls [`Parameters::finish`].
pub struct Parameters {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| ApiError::field("/query", "cannot be read"))?;
        Ok(Self { given, known: Vec::new() })
    }
}

impl Parameters {
    /// All values given under this name.
    fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (values, rest) = std::mem::take(&mut self.given).into_iter().partition(|(given, _)| given == name);
        self.given = rest;
        values.into_iter().map(|(_, value): (String, String)| value).collect()
    }

    /// One text of 1 to `max` characters.
    pub fn text(&mut self, name: &'static str, max: usize) -> Result<Option<String>, ApiError> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(wrong(name, "is given more than once"));
        }
        let Some(text) = values.pop() else { return Ok(None) };
        check_text(&text, 1, max, false).map_err(|detail| wrong(name, &detail))?;
        Ok(Some(text))
    }

    /// `limit`: from 1 to `max`.
    pub fn limit(&mut self, default: u32, max: u32) -> Result<u32, ApiError> {
        let Some(text) = self.text("limit", 32)? else { return Ok(default) };
        text.parse()
            .ok()
            .filter(|limit| (1..=max).contains(limit))
            .ok_or_else(|| wrong("limit", &format!("is not a whole number from 1 to {max}")))
    }

    /// `cursor`, as `read` understands it.
    pub fn cursor<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text("cursor", 1_200)? else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| wrong("cursor", "is not a cursor of this list"))
    }

    /// `domain`, as often as it is given, each among `known`.
    pub fn domains(&mut self, known: &[Domain]) -> Result<Vec<Domain>, ApiError> {
        let values = self.all("domain");
        let mut domains = Vec::new();
        for value in values {
            let domain = super::recommend_body::domain(&value, known).map_err(|detail| wrong("domain", &detail))?;
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        Ok(domains)
    }

    /// Refuses what no one has asked for.
    pub fn finish(self) -> Result<(), ApiError> {
        let Some((name, _)) = self.given.first() else { return Ok(()) };
        let shown: String = name.chars().take(64).collect();
        let detail = match nearest(&shown, self.known.iter().copied()) {
            Some(near) => format!("is not a known parameter; did you mean `{near}`?"),
            None if self.known.is_empty() => "is not a known parameter; this route has none".to_owned(),
            None => format!("is not a known parameter; known are {}", self.known.join(", ")),
        };
        Err(wrong(&shown, &detail))
    }
}

fn wrong(name: &str, detail: &str) -> ApiError {
    ApiError::field(format!("/query/{name}"), detail)
}
