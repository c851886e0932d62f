//! Limits on requests under way: how many, how long, how much memory their bodies take; and what a bug may take down.

use std::any::Any;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::ApiError;
use super::router::App;
use crate::config;

/// How many times the limit is read, and dropped, of a body that is too large: a client that is still sending would
/// otherwise see a broken connection and not the answer.
const READ_ON: usize = 8;
/// What is set aside for a body before any of it has come, in bytes.
const FIRST: usize = 64 << 10;

/// Room for requests. Who is slow to send has no part of it: a request is let in once all of it is there.
pub struct Room {
    /// Recommendations at once.
    recommendations: Semaphore,
    /// Everything else at once. Apart, so that no number of callers that wait for the database keep a recommendation from being made without it.
    others: Semaphore,
    /// Memory for bodies on their way in and under work, in KiB.
    bodies: Semaphore,
}

impl Room {
    pub fn new(settings: &config::Server) -> Self {
        let places = || Semaphore::new(settings.max_concurrency);
        Self { recommendations: places(), others: places(), bodies: Semaphore::new(settings.max_bodies_mib * 1024) }
    }
}

/// Gives up on what takes too long. A body has its own time beforehand, so that what is done with it has as much whoever sends it.
pub async fn in_time(
    app: &App,
    answering: impl Future<Output = Result<Response, ApiError>>,
) -> Result<Response, ApiError> {
    let server = &app.config.server;
    tokio::time::timeout(server.body_timeout() + server.request_timeout(), answering)
        .await
        .map_err(|_| ApiError::Timeout)?
}

/// Reads the body, and then refuses at once what the service has no room for.
pub async fn admit(app: &App, request: Request, next: Next) -> Result<Response, ApiError> {
    // No answer of the recommend route is a 5xx while the process lives.
    let is_recommend = request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str() == "/api/recommend");
    let overloaded = || ApiError::Overloaded(is_recommend);
    let places = if is_recommend { &app.room.recommendations } else { &app.room.others };
    let (parts, body) = request.into_parts();
    let server = &app.config.server;
    let reading = read(&parts.headers, body, server.max_body_bytes, &app.room.bodies);
    let (bytes, _memory) = match tokio::time::timeout(server.body_timeout(), reading).await {
        Ok(Ok(read)) => read,
        Ok(Err(Unread::TooLarge)) => return Err(ApiError::TooLarge(server.max_body_bytes)),
        Ok(Err(Unread::NoMemory)) => return Err(overloaded()),
        Ok(Err(Unread::BrokenOff)) | Err(_) => return Err(ApiError::BodyIncomplete),
    };
    let _place = places.try_acquire().map_err(|_| overloaded())?;
    Ok(next.run(Request::from_parts(parts, Body::from(bytes))).await)
}

enum Unread {
    TooLarge,
    NoMemory,
    BrokenOff,
}

/// A whole body, with its share of `memory`, which is taken as the body comes in.
async fn read<'a>(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    memory: &'a Semaphore,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'a>>), Unread> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit.saturating_mul(READ_ON)) {
        return Err(Unread::TooLarge);
    }
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(limit).min(FIRST));
    let mut share: Option<SemaphorePermit<'a>> = None;
    let mut total = 0_usize;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Unread::BrokenOff)?;
        total = total.saturating_add(chunk.len());
        if total > limit {
            (bytes, share) = (Vec::new(), None);
            if total > limit.saturating_mul(READ_ON) {
                break;
            }
            continue;
        }
        let held = share.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more = u32::try_from(total.div_ceil(1024).saturating_sub(held)).map_err(|_| Unread::NoMemory)?;
        if more > 0 {
            let more = memory.try_acquire_many(more).map_err(|_| Unread::NoMemory)?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
        }
        bytes.extend_from_slice(&chunk);
    }
    if total > limit { Err(Unread::TooLarge) } else { Ok((bytes, share)) }
}

/// Whether a status says that there is no room, or not so much for this key.
pub fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// A panic in a handler is a bug: it ends one request, not the service.
#[allow(clippy::needless_pass_by_value)] // The layer hands it over by value.
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(message, "a handler panicked");
    ApiError::Internal.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(parts: &[&[u8]], limit: usize, memory: &Semaphore) -> Result<(usize, usize), Unread> {
        let parts: Vec<Result<Vec<u8>, std::io::Error>> = parts.iter().map(|part| Ok(part.to_vec())).collect();
        let body = Body::from_stream(futures_util::stream::iter(parts));
        let (bytes, share) = read(&HeaderMap::new(), body, limit, memory).await?;
        Ok((bytes.len(), share.map_or(0, |share| share.num_permits())))
    }

    #[tokio::test]
    async fn a_body_takes_its_share_of_the_memory_and_gives_it_back() {
        let memory = Semaphore::new(4);
        assert!(matches!(read_all(&[], 5000, &memory).await, Ok((0, 0))));
        assert!(matches!(read_all(&[&[1; 10], &[1; 10], &[1; 1500]], 5000, &memory).await, Ok((1520, 2))));
        assert!(matches!(read_all(&[&[1; 5000]], 5000, &memory).await, Err(Unread::NoMemory)));
        assert!(matches!(read_all(&[&[1; 3000], &[1; 3000]], 5000, &memory).await, Err(Unread::TooLarge)));
        assert_eq!(memory.available_permits(), 4);
        let held = memory.try_acquire_many(3).unwrap();
        assert!(matches!(read_all(&[&[1; 1000], &[1; 1000]], 5000, &memory).await, Err(Unread::NoMemory)));
        drop(held);
        assert!(matches!(read_all(&[&[1; 1000], &[1; 1000]], 5000, &memory).await, Ok((2000, 2))));
    }
}
