//! The project's own format: columns, or JSON fields, named like those of the API.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::Value;

use crate::domain::{Domain, EventId, InteractionKind, Item, RecommendationId};

use super::EventRow;
use super::check;
use super::row::{Ids, Row, number, short};

/// What an item may have; in a delimited file lists are separated by `|`, and `attributes.NAME` is a column.
pub const ITEM_FIELDS: [&str; 10] =
    ["id", "domain", "title", "genres", "tags", "description", "creators", "released", "available", "attributes"];
/// What an event may have.
pub const EVENT_FIELDS: [&str; 8] =
    ["event_id", "user_id", "item_id", "type", "value", "at", "recommendation_id", "position"];

/// # Errors
/// Says what is wrong with the row.
pub fn item(row: &Row<'_>, ids: &Ids, domains: &[Domain]) -> Result<Item, String> {
    only_known(row, &ITEM_FIELDS)?;
    let domain = row.word("domain").ok_or("domain is missing")?;
    let domain = domains.iter().find(|known| known.as_str() == domain).ok_or_else(|| {
        let known: Vec<&str> = domains.iter().map(Domain::as_str).collect();
        format!("domain `{}` is not one of {}", short(&domain), known.join(", "))
    })?;
    Ok(Item {
        id: ids.item(&row.required("id")?)?,
        domain: domain.clone(),
        title: row.required("title")?.into_owned(),
        genres: list(row, "genres")?,
        tags: list(row, "tags")?,
        description: row.text("description").map(std::borrow::Cow::into_owned),
        creators: list(row, "creators")?,
        released: row.word("released").map(|text| released(&text)).transpose()?,
        attributes: attributes(row)?,
        available: row.word("available").map_or(Ok(true), |text| yes_or_no("available", &text))?,
    })
}

/// # Errors
/// Says what is wrong with the row.
pub fn event(row: &Row<'_>, ids: &Ids, rating_scale: [f64; 2]) -> Result<EventRow, String> {
    only_known(row, &EVENT_FIELDS)?;
    let user_id = ids.user(&row.required("user_id")?)?;
    let item_id = ids.item(&row.required("item_id")?)?;
    let kind: InteractionKind = {
        let text = row.word("type").ok_or("type is missing")?;
        short(&text).parse().map_err(|error: crate::domain::UnknownKind| error.to_string())?
    };
    let value = row.word("value").map(|text| number("value", &text)).transpose()?;
    let value = check::value(kind, value, rating_scale)?;
    let at = row.word("at").map(|text| {
        text.parse::<jiff::Timestamp>().map_err(|_| format!("at `{}` is not an RFC 3339 time", short(&text)))
    });
    let name = |field: &str, error: &dyn std::fmt::Display| format!("{field} {error}");
    let event_id = row.text("event_id").map(|id| EventId::new(id).map_err(|error| name("event_id", &error)));
    let answer = row
        .text("recommendation_id")
        .map(|id| RecommendationId::new(id).map_err(|error| name("recommendation_id", &error)));
    let position = row.word("position").map(|text| match text.parse::<u32>() {
        Ok(position) if position > 0 => Ok(position),
        _ => Err(format!("position `{}` is not a number from 1", short(&text))),
    });
    Ok(EventRow {
        event_id: event_id.transpose()?,
        at: at.transpose()?,
        recommendation_id: answer.transpose()?,
        position: position.transpose()?,
        ..EventRow::new(user_id, item_id, kind, value)
    })
}

/// A JSON object has no field that is unknown or of a wrong shape, as in the API. The columns of a delimited file were
/// looked at before its first row.
fn only_known(row: &Row<'_>, fields: &[&str]) -> Result<(), String> {
    let Row::Object(object) = row else { return Ok(()) };
    for (name, value) in *object {
        let fits = match name.as_str() {
            name if !fields.contains(&name) => return Err(format!("the field `{}` is not known", short(name))),
            "attributes" => matches!(value, Value::Object(_) | Value::Null),
            "genres" | "tags" | "creators" => !matches!(value, Value::Object(_)),
            _ => !matches!(value, Value::Object(_) | Value::Array(_)),
        };
        if !fits {
            return Err(format!("{name} `{}` is of the wrong type", short(&value.to_string())));
        }
    }
    Ok(())
}

fn list(row: &Row<'_>, name: &str) -> Result<Vec<String>, String> {
    match row {
        Row::Object(object) => object.get(name).map_or(Ok(Vec::new()), |value| strings(name, value)),
        Row::Cells { .. } => Ok(row.text(name).map(|text| parts(&text)).unwrap_or_default()),
    }
}

fn strings(name: &str, value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(parts(text)),
        Value::Bool(_) | Value::Number(_) => Ok(vec![value.to_string()]),
        Value::Array(values) => {
            let texts = values.iter().map(|value| match value {
                Value::String(text) => Ok(text.clone()),
                Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
                other => Err(format!("{name} holds `{}`, which is no text", short(&other.to_string()))),
            });
            texts.collect()
        }
        Value::Object(_) => Err(format!("{name} `{}` is of the wrong type", short(&value.to_string()))),
    }
}

fn parts(text: &str) -> Vec<String> {
    text.split('|').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn attributes(row: &Row<'_>) -> Result<BTreeMap<String, Vec<String>>, String> {
    match row {
        Row::Object(object) => match object.get("attributes") {
            Some(Value::Object(attributes)) => {
                attributes.iter().map(|(name, value)| Ok((name.clone(), strings(name, value)?))).collect()
            }
            _ => Ok(BTreeMap::new()),
        },
        Row::Cells { names, .. } => Ok(names
            .iter()
            .filter_map(|column| Some((column.strip_prefix("attributes.")?, row.text(column)?)))
            .map(|(name, text)| (name.to_owned(), parts(&text)))
            .collect()),
    }
}

/// A day, or a month or year, which counts as its first day.
fn released(text: &str) -> Result<Date, String> {
    let whole = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    let wrong = || format!("released `{}` is not a day such as 1999-03-31, 1999-03 or 1999", short(text));
    let plain = whole.len() == 10 && whole.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if plain { whole.parse().map_err(|_| wrong()) } else { Err(wrong()) }
}

fn yes_or_no(name: &str, text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err(format!("{name} `{}` is neither true nor false", short(text))),
    }
}
