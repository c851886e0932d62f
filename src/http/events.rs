//! `POST /api/events`: behaviour on its way in, judged row by row.

use std::marker::PhantomData;

use axum::Json;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Served;
use super::extract::{self, NoParameters};
use super::fields::{Amount, List, Moment, Object, Text, Whole};
use super::json;
use super::problem::{ApiError, FieldError};
use super::recommend_body::{kind, write_watermark};
use crate::domain::{Event, EventId, InteractionKind, ItemId, RecommendationId, UserId};

/// How many events one batch may have.
pub const MAX_EVENTS: usize = 10_000;
pub const MAX_POSITION: u64 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    /// Rows are read one by one, so that a bad one does not spoil the rest.
    #[serde(borrow)]
    events: List<&'a RawValue, MAX_EVENTS>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    event_id: Option<EventId>,
    user_id: UserId,
    item_id: ItemId,
    #[serde(rename = "type")]
    kind: Text<1, 32>,
    value: Option<Amount>,
    at: Option<Moment>,
    recommendation_id: Option<RecommendationId>,
    position: Option<Whole<1, MAX_POSITION>>,
}

/// What became of a batch of events.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EventsAnswer {
    /// How many are new; they are durable.
    accepted: u64,
    /// How many were known by their `event_id`.
    duplicates: u64,
    rejected: Vec<Rejected>,
    /// Give it as `min_watermark` to a request that must know these events.
    watermark: String,
}

/// A row that was not stored.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Rejected {
    /// The place of the row in the batch, from 0.
    index: usize,
    detail: String,
}

/// Stores behaviour. When the answer arrives it is durable and counts in the next recommendation. Rows are judged one by one:
/// bad ones are named and the rest is stored; when every row is bad, nothing is stored and the answer is a 422. An event with
/// an `event_id` that is known changes nothing, so a retry is safe. Behaviour may arrive before its item does.
#[utoipa::path(post, path = "/api/events", tag = "events",
    request_body(content = ref("#/components/schemas/EventBatch"), content_type = "application/json"),
    responses((status = 200, description = "What became of the batch", body = EventsAnswer)))]
pub async fn append(
    Served(service): Served,
    _: NoParameters,
    extract::Text(text): extract::Text,
) -> Result<Json<EventsAnswer>, ApiError> {
    let (mut events, mut rejected, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    let rows = rows(&text, service.config.interactions.rating_scale, Timestamp::now())?;
    for (index, row) in rows.into_iter().enumerate() {
        match row {
            Ok(event) => events.push(event),
            Err(error) => {
                rejected.push(Rejected { index, detail: error.text() });
                errors.push(FieldError::new(format!("/events/{index}{}", error.pointer), error.detail));
            }
        }
    }
    super::metrics::events("rejected", rejected.len() as u64);
    if events.is_empty() && !errors.is_empty() {
        return Err(ApiError::Invalid(errors));
    }
    let appended = service.append_events(events).await?;
    super::metrics::events("accepted", appended.accepted);
    super::metrics::events("duplicate", appended.duplicates);
    Ok(Json(EventsAnswer {
        accepted: appended.accepted,
        duplicates: appended.duplicates,
        rejected,
        watermark: write_watermark(appended.watermark),
    }))
}

/// The rows of a batch, judged one by one.
pub fn rows(text: &str, scale: [f64; 2], now: Timestamp) -> Result<Vec<Result<Event, FieldError>>, ApiError> {
    let Object(batch) = json::read(text, || PhantomData::<Object<Batch<'_>>>)?;
    Ok(batch.events.0.into_iter().map(|row| event(row.get(), scale, now)).collect())
}

fn event(row: &str, scale: [f64; 2], now: Timestamp) -> Result<Event, FieldError> {
    let Object(row) = json::read(row, || PhantomData::<Object<Row>>).map_err(ApiError::into_field)?;
    let in_row = |error: FieldError| FieldError::new(format!("/{}", error.pointer), error.detail);
    let kind = kind(&row.kind.0).map_err(in_row)?;
    let (value, at) = (row.value.map(|value| value.0), row.at.map_or(now, |at| at.0));
    check_interaction(kind, value, at, scale, now).map_err(in_row)?;
    Ok(Event {
        event_id: row.event_id,
        user_id: row.user_id,
        item_id: row.item_id,
        kind,
        value,
        at,
        recommendation_id: row.recommendation_id,
        position: row.position.and_then(|place| u32::try_from(place.0).ok()),
    })
}

/// What no single field shows: the pointer of the error is the name of the field.
pub fn check_interaction(
    kind: InteractionKind,
    value: Option<f64>,
    at: Timestamp,
    [lowest, highest]: [f64; 2],
    now: Timestamp,
) -> Result<(), FieldError> {
    let wrong = |detail: String| Err(FieldError::new("value", detail));
    match (kind, value) {
        (InteractionKind::Rating, Some(value)) if value < lowest.min(0.0) || value > highest => {
            return wrong(format!("{value} is not on the scale of ratings, up to {highest}"));
        }
        (InteractionKind::Rating, Some(_)) => {}
        (_, Some(value)) if value < 0.0 => return wrong(format!("{value} is negative")),
        (kind, None) if kind.needs_value() => return wrong(format!("is required for type {kind}")),
        _ => {}
    }
    if at.duration_since(now) > SignedDuration::from_hours(24) {
        return Err(FieldError::new("at", "lies more than a day ahead"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_judged_by_itself() {
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let judge = |row: &str| event(row, [0.5, 5.0], now);
        let stored = judge(r#"{"user_id": "u", "item_id": "i", "type": "play", "event_id": null}"#).unwrap();
        assert_eq!((stored.at, stored.value, stored.event_id), (now, None, None));
        for (row, pointer) in [
            (r#"{"user_id": "u", "item_id": "i", "type": "plai"}"#, "/type"),
            (r#"{"user_id": "u", "item_id": "i"}"#, "/type"),
            (r#"{"user_id": "u", "type": "play"}"#, "/item_id"),
            (r#"{"user_id": "", "item_id": "i", "type": "play"}"#, "/user_id"),
            (r#"{"user_id": "u", "item_id": "i", "type": "play", "rating": 3}"#, "/rating"),
            (r#"{"user_id": "u", "item_id": "i", "type": "rating"}"#, "/value"),
            (r#"{"user_id": "u", "item_id": "i", "type": "rating", "value": 11}"#, "/value"),
            (r#"{"user_id": "u", "item_id": "i", "type": "play", "value": -1}"#, "/value"),
            (r#"{"user_id": "u", "item_id": "i", "type": "play", "value": 1e999}"#, "/value"),
            (r#"{"user_id": "u", "item_id": "i", "type": "play", "at": "2026-05-03T12:00:00Z"}"#, "/at"),
            (r#"{"user_id": "u", "item_id": "i", "type": "play", "at": "noon"}"#, "/at"),
            (r#"{"user_id": "u", "item_id": "i", "type": "play", "position": 0}"#, "/position"),
            (r#"["e", "u", "i", "play"]"#, ""),
            ("7", ""),
        ] {
            assert_eq!(judge(row).unwrap_err().pointer, pointer, "{row}");
        }
    }
}
