//! Items: read, write, list, and find what is near.

use std::marker::PhantomData;

use axum::Json;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::auth::Served;
use super::cursor;
use super::extract::{self, NoBody, NoParameters, Parameters, PathId, Text};
use super::fields::{List, Object};
use super::item_body::{ItemAnswer, ItemBody, PatchBody, same_id};
use super::json;
use super::problem::{ApiError, FieldError};
use super::recommend::Neighbours;
use crate::domain::{Domain, Item, ItemId};
use crate::serving::{ItemSearch, Upserted};

/// How many items one batch may have.
pub const MAX_ROWS: usize = 10_000;

/// A page of items, ordered by id; those that are found by their title come before the others.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ItemList {
    data: Vec<ItemAnswer>,
    /// Give it as `cursor` to go on; null at the end.
    next_cursor: Option<String>,
}

/// Lists items, and finds those in which all words of `q` occur, at the beginning of words, without regard to case and accents. Those with all of
/// them in the title come first.
#[utoipa::path(get, path = "/api/items", tag = "items",
    params(
        ("domain" = Option<String>, Query, description = "Only items of this domain"),
        ("q" = Option<String>, Query, description = "What words in title, creators, genres, tags or description begin with; all of these must occur"),
        ("cursor" = Option<String>, Query, description = "Where to go on: `next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "Items per page, 50 by default"),
    ),
    responses((status = 200, description = "A page of items", body = ItemList)))]
pub async fn list(Served(service): Served, mut parameters: Parameters) -> Result<Json<ItemList>, ApiError> {
    let mut domains = parameters.domains(&service.config.domains)?;
    if domains.len() > 1 {
        return Err(ApiError::field("/query/domain", "is given more than once"));
    }
    let search = ItemSearch {
        domain: domains.pop(),
        text: parameters.text("q", 256)?,
        after: parameters.cursor(cursor::item)?,
        limit: parameters.limit(50, 200)?,
    };
    parameters.finish()?;
    let page = service.search_items(&search).await?;
    Ok(Json(ItemList {
        data: page.items.into_iter().map(ItemAnswer::from).collect(),
        next_cursor: page.next.as_ref().map(cursor::after_item),
    }))
}

/// Shows an item.
#[utoipa::path(get, path = "/api/items/{id}", tag = "items",
    params(("id" = String, Path, description = "The item")),
    responses((status = 200, description = "The item", body = ItemAnswer), (status = 404, description = "No such item")))]
pub async fn get(
    Served(service): Served,
    PathId(id): PathId<ItemId>,
    _: NoParameters,
) -> Result<Json<ItemAnswer>, ApiError> {
    Ok(Json(service.item(&id).await?.into()))
}

/// Stores an item as a whole. The very next answer knows it.
#[utoipa::path(put, path = "/api/items/{id}", tag = "items",
    params(("id" = String, Path, description = "The item")),
    request_body(content = ref("#/components/schemas/ItemBody"), content_type = "application/json"),
    responses(
        (status = 200, description = "It was there, and is now as sent", body = ItemAnswer),
        (status = 201, description = "It is new", body = ItemAnswer, headers(("location" = String, description = "The item"))),
    ))]
pub async fn put(
    Served(service): Served,
    PathId(id): PathId<ItemId>,
    _: NoParameters,
    extract::Json(body): extract::Json<ItemBody>,
) -> Result<Response, ApiError> {
    same_id(body.id.as_ref(), &id).map_err(|error| ApiError::Invalid(vec![error]))?;
    let item = body.into_item(id, &service.config.domains).map_err(|error| ApiError::Invalid(vec![error]))?;
    let outcomes = service.upsert_items(vec![item.clone()]).await?;
    let location = location(&item.id);
    let body = Json(ItemAnswer::from(item));
    if outcomes.first() == Some(&Upserted::Created) {
        Ok((StatusCode::CREATED, [(LOCATION, location)], body).into_response())
    } else {
        Ok(body.into_response())
    }
}

fn location(id: &ItemId) -> HeaderValue {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let segment: String = id
        .as_str()
        .bytes()
        .map(|byte| if safe(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    HeaderValue::try_from(format!("/api/items/{segment}")).unwrap_or(HeaderValue::from_static("/api/items"))
}

/// Changes some fields of an item: a JSON merge patch (RFC 7396). `null` clears a field that an item can be without; in `attributes` it removes one.
#[utoipa::path(patch, path = "/api/items/{id}", tag = "items",
    params(("id" = String, Path, description = "The item")),
    request_body(content = ref("#/components/schemas/ItemPatch"), content_type = "application/json"),
    responses((status = 200, description = "The item as it is now", body = ItemAnswer), (status = 404, description = "No such item")))]
pub async fn patch(
    Served(service): Served,
    PathId(id): PathId<ItemId>,
    _: NoParameters,
    extract::Json(body): extract::Json<PatchBody>,
) -> Result<Json<ItemAnswer>, ApiError> {
    let patch = body.into_patch(&id, &service.config.domains).map_err(|error| ApiError::Invalid(vec![error]))?;
    Ok(Json(service.patch_item(&id, patch).await?.into()))
}

/// Deletes an item. The very next answer is without it; the behaviour around it stays.
#[utoipa::path(delete, path = "/api/items/{id}", tag = "items",
    params(("id" = String, Path, description = "The item")),
    responses((status = 204, description = "It is gone"), (status = 404, description = "No such item")))]
pub async fn delete(
    Served(service): Served,
    PathId(id): PathId<ItemId>,
    _: NoParameters,
    _: NoBody,
) -> Result<StatusCode, ApiError> {
    service.delete_item(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The nearest neighbours of an item, also across domains.
#[utoipa::path(get, path = "/api/items/{id}/similar", tag = "items",
    params(
        ("id" = String, Path, description = "The item"),
        ("domain" = Option<Vec<String>>, Query, description = "Only these domains; may be given more than once"),
        ("limit" = Option<u32>, Query, description = "How many items, 10 by default"),
    ),
    responses((status = 200, description = "Neighbours of all domains in one list, nearest first", body = ref("#/components/schemas/SimilarAnswer")), (status = 404, description = "No such item")))]
pub async fn similar(
    Served(service): Served,
    PathId(id): PathId<ItemId>,
    mut parameters: Parameters,
) -> Result<Json<Neighbours>, ApiError> {
    let mut domains = parameters.domains(&service.config.domains)?;
    let limit = parameters.limit(10, 200)?;
    parameters.finish()?;
    if domains.is_empty() {
        domains.clone_from(&service.config.domains);
    }
    let lists = service.similar(id, domains, limit as usize).await?;
    Ok(Json(Neighbours::new(lists, limit as usize)))
}

/// What became of the rows of a batch.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub struct BatchAnswer {
    results: Vec<RowResult>,
    created: u64,
    updated: u64,
    unchanged: u64,
    rejected: u64,
}

/// What became of one row.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RowResult {
    /// The place of the row in the batch, from 0.
    index: usize,
    /// Absent when the row had none that can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    item_id: Option<ItemId>,
    status: RowStatus,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
}

#[derive(Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowStatus {
    Created,
    Updated,
    Unchanged,
    Rejected,
}

/// Stores many items: a JSON array, or NDJSON with one item a line. Rows are judged one by one; bad ones are named and the
/// rest is stored. When every row is bad, nothing is stored and the answer is a 422.
#[utoipa::path(post, path = "/api/items", tag = "items",
    request_body(content = ref("#/components/schemas/ItemBatch"), content_type = "application/json"),
    responses((status = 200, description = "What became of each row", body = BatchAnswer)))]
pub async fn batch(Served(service): Served, _: NoParameters, Text(text): Text) -> Result<Json<BatchAnswer>, ApiError> {
    let mut answer = BatchAnswer::default();
    let (mut items, mut places, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (index, row) in rows(&text)?.into_iter().enumerate() {
        match item(row, &service.config.domains) {
            Ok(item) => {
                places.push(index);
                items.push(item);
            }
            Err(error) => {
                let detail = Some(error.text());
                answer.results.push(RowResult { index, item_id: None, status: RowStatus::Rejected, detail });
                errors.push(FieldError::new(format!("/{index}{}", error.pointer), error.detail));
            }
        }
    }
    if items.is_empty() && !errors.is_empty() {
        return Err(ApiError::Invalid(errors));
    }
    answer.rejected = errors.len() as u64;
    let ids: Vec<ItemId> = items.iter().map(|item| item.id.clone()).collect();
    let outcomes = if items.is_empty() { Vec::new() } else { service.upsert_items(items).await? };
    for ((outcome, item_id), index) in outcomes.into_iter().zip(ids).zip(places) {
        let (status, count) = match outcome {
            Upserted::Created => (RowStatus::Created, &mut answer.created),
            Upserted::Updated => (RowStatus::Updated, &mut answer.updated),
            Upserted::Unchanged => (RowStatus::Unchanged, &mut answer.unchanged),
        };
        *count += 1;
        answer.results.push(RowResult { index, item_id: Some(item_id), status, detail: None });
    }
    answer.results.sort_by_key(|row| row.index);
    Ok(Json(answer))
}

/// The rows of an array, or the lines of NDJSON that are not empty, each still to be judged.
pub fn rows(text: &str) -> Result<Vec<&str>, ApiError> {
    if text.trim_start().starts_with('{') {
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.len() > MAX_ROWS {
            return Err(ApiError::field("", format!("has more than {MAX_ROWS} entries")));
        }
        return Ok(lines);
    }
    let rows = json::read(text, || PhantomData::<List<&RawValue, MAX_ROWS>>)?;
    Ok(rows.0.into_iter().map(RawValue::get).collect())
}

/// One row of a batch.
pub fn item(row: &str, domains: &[Domain]) -> Result<Item, FieldError> {
    let Object(mut body) = json::read(row, || PhantomData::<Object<ItemBody>>).map_err(ApiError::into_field)?;
    let id = body.id.take().ok_or_else(|| FieldError::new("/id", "is required"))?;
    body.into_item(id, domains)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_an_array_or_lines() {
        assert_eq!(rows("[{}, 1]").unwrap(), ["{}", "1"]);
        assert_eq!(rows("\n{\"a\": 1}\r\n\n{broken\n").unwrap(), ["{\"a\": 1}", "{broken"]);
        assert_eq!(rows("[]").unwrap(), Vec::<&str>::new());
        assert!(matches!(rows(""), Err(ApiError::NotJson(_))));
        assert!(matches!(rows("[1"), Err(ApiError::NotJson(_))));
        assert!(matches!(rows("\"text\""), Err(ApiError::Invalid(_))));
    }

    #[test]
    fn a_location_can_be_followed() {
        assert_eq!(location(&ItemId::new("a/b 科").unwrap()), "/api/items/a%2Fb%20%E7%A7%91");
    }
}
