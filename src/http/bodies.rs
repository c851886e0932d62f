//! The readers of bodies by themselves, for programs that make up input: the fuzz targets in `fuzz/`.

use jiff::Timestamp;

use super::fields::Object;
use super::item_body::PatchBody;
use super::problem::ApiError;
use super::{events, items, json, recommend_body};
use crate::config::Config;
use crate::domain::{Event, Item, ItemId, ItemPatch, Query};
use crate::serving::MODEL_NAMES;

/// Reads the body of `POST /api/recommend`.
///
/// # Errors
/// What is wrong with it.
pub fn recommend(text: &str, config: &Config, now: Timestamp) -> Result<Query, ApiError> {
    recommend_body::read(text, config, &MODEL_NAMES, now).map(|(query, _)| query)
}

/// Reads the body of `POST /api/events`: the events of the rows that are good.
///
/// # Errors
/// It is no batch.
pub fn events(text: &str, config: &Config, now: Timestamp) -> Result<Vec<Event>, ApiError> {
    let rows = events::rows(text, config.interactions.rating_scale, now)?;
    Ok(rows.into_iter().filter_map(Result::ok).collect())
}

/// Reads the body of `POST /api/items`, JSON or NDJSON: the items of the rows that are good.
///
/// # Errors
/// It is no batch.
pub fn items(text: &str, config: &Config) -> Result<Vec<Item>, ApiError> {
    let rows = items::rows(text)?.into_iter();
    Ok(rows.filter_map(|row| items::item(row, &config.domains).ok()).collect())
}

/// Reads the body of `PATCH /api/items/{id}`.
///
/// # Errors
/// What is wrong with it.
pub fn patch(text: &str, id: &ItemId, config: &Config) -> Result<ItemPatch, ApiError> {
    let Object(body) = json::read(text, || std::marker::PhantomData::<Object<PatchBody>>)?;
    body.into_patch(id, &config.domains).map_err(|error| ApiError::Invalid(vec![error]))
}
