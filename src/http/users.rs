//! People: what is held about them, and their right to take it along or have it erased.

use axum::{Extension, Json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::audit::Actor;
use super::auth::Served;
use super::cursor;
use super::extract::{self, NoBody, NoParameters, Parameters, PathId};
use super::problem::ApiError;
use crate::domain::{Event, EventId, InteractionKind, ItemId, RecommendationId, UserId};

/// One stored event.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Event)]
pub struct EventAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    event_id: Option<EventId>,
    #[schema(value_type = String)]
    user_id: UserId,
    #[schema(value_type = String)]
    item_id: ItemId,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: InteractionKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    value: Option<f64>,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    recommendation_id: Option<RecommendationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    position: Option<u32>,
}

impl From<Event> for EventAnswer {
    fn from(event: Event) -> Self {
        let Event { event_id, user_id, item_id, kind, value, at, recommendation_id, position } = event;
        Self { event_id, user_id, item_id, kind, value, at, recommendation_id, position }
    }
}

/// A page of events, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EventList {
    data: Vec<EventAnswer>,
    /// Give it as `cursor` to go on; null at the end.
    next_cursor: Option<String>,
}

/// Lists the behaviour of a person, newest first. Somebody unknown has none.
#[utoipa::path(get, path = "/api/users/{id}/events", tag = "users",
    params(
        ("id" = String, Path, description = "The person"),
        ("cursor" = Option<String>, Query, description = "Where to go on: `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "Events per page, 50 by default"),
    ),
    responses((status = 200, description = "A page of events", body = EventList)))]
pub async fn events(
    Served(service): Served,
    PathId(user): PathId<UserId>,
    mut parameters: Parameters,
) -> Result<Json<EventList>, ApiError> {
    let before = parameters.cursor(cursor::event)?;
    let limit = parameters.limit(50, 1_000)?;
    parameters.finish()?;
    // One more than asked for, to know whether there is a next page.
    let mut events = service.user_events(&user, before, limit + 1).await?;
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let next_cursor = events.last().filter(|_| more).map(|last| cursor::before_event(last.event.at, last.sequence));
    Ok(Json(EventList { data: events.into_iter().map(|stored| stored.event.into()).collect(), next_cursor }))
}

/// All that is held about a person.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Export {
    #[schema(value_type = String)]
    user_id: UserId,
    /// Newest first.
    events: Vec<EventAnswer>,
    #[schema(value_type = String, format = DateTime)]
    exported_at: Timestamp,
}

/// Hands over all that is held about a person, as one document.
#[utoipa::path(get, path = "/api/users/{id}/export", tag = "users",
    params(("id" = String, Path, description = "The person")),
    responses((status = 200, description = "All that is held", body = Export)))]
pub async fn export(
    Served(service): Served,
    PathId(user): PathId<UserId>,
    _: NoParameters,
) -> Result<Json<Export>, ApiError> {
    // Where behaviour is encrypted, every page costs the reading of all of it.
    const PAGE: u32 = 100_000;
    let mut events: Vec<EventAnswer> = Vec::new();
    let mut before = None;
    loop {
        let page = service.user_events(&user, before, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        before = page.last().map(|last| (last.event.at, last.sequence));
        events.extend(page.into_iter().map(|stored| EventAnswer::from(stored.event)));
        if is_last {
            return Ok(Json(Export { user_id: user, events, exported_at: Timestamp::now() }));
        }
    }
}

/// Proof that a person was erased.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Receipt {
    receipt_id: String,
    #[schema(value_type = String)]
    user_id: UserId,
    erased: Erased,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// How much was erased.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Erased {
    events: u64,
}

/// Erases all that is held about a person. The next answer for this id is a stranger's.
#[utoipa::path(delete, path = "/api/users/{id}", tag = "users",
    params(("id" = String, Path, description = "The person")),
    responses((status = 200, description = "The receipt", body = Receipt)))]
pub async fn erase(
    Served(service): Served,
    PathId(user): PathId<UserId>,
    _: NoParameters,
    _: NoBody,
) -> Result<Json<Receipt>, ApiError> {
    let erasure = service.erase_user(&user).await?;
    let receipt_id = format!("era_{}", Uuid::now_v7());
    tracing::info!(receipt_id, events = erasure.events, "a person was erased");
    Ok(Json(Receipt { receipt_id, user_id: user, erased: Erased { events: erasure.events }, at: Timestamp::now() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeBody {
    from: UserId,
}

/// What a merge did.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Merged {
    #[schema(value_type = String)]
    user_id: UserId,
    #[schema(value_type = String)]
    from: UserId,
    /// How many events moved.
    moved: u64,
}

/// Gives all behaviour of `from` (an anonymous visitor, say) to this person. Doing it again moves nothing.
#[utoipa::path(post, path = "/api/users/{id}/merge", tag = "users",
    params(("id" = String, Path, description = "The person who takes over")),
    request_body(content = ref("#/components/schemas/MergeBody"), content_type = "application/json"),
    responses((status = 200, description = "What moved", body = Merged)))]
pub async fn merge(
    Served(service): Served,
    // After the path: one that names nobody is refused, and was not recorded.
    PathId(user): PathId<UserId>,
    Extension(actor): Extension<Actor>,
    _: NoParameters,
    extract::Json(body): extract::Json<MergeBody>,
) -> Result<Json<Merged>, ApiError> {
    if body.from == user {
        return Err(ApiError::field("/from", "is the person who takes over"));
    }
    // Whoever looks for what became of them finds it under their own id.
    actor.record(&service, "user.merge_from", &body.from).await?;
    let moved = service.merge_users(&body.from, &user).await?;
    Ok(Json(Merged { user_id: user, from: body.from, moved }))
}
