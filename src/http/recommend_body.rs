//! The body of `POST /api/recommend`, read into a [`Query`]. Its fields depend on the configured domains, so it is read by hand.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::events::check_interaction;
use super::fields::{Amount, List, Moment, Object, Prose, Share, Text, Whole};
use super::filter::FilterSeed;
use super::json;
use super::problem::{ApiError, FieldError, not_one_of};
use crate::config::Config;
use crate::domain::{Domain, Filters, Interaction, InteractionKind, ItemId, Query, Rerank, Taste, UserId};

/// How many tastes a domain may have, and how long each may be.
pub const MAX_TASTES: usize = 100;
pub const MAX_TASTE_CHARS: usize = 256;
pub const MAX_QUERY_CHARS: usize = 1_000;
pub const MAX_HISTORY: usize = 1_000;
pub const MAX_EXCLUDE: usize = 10_000;
pub const MAX_DOMAINS: usize = 20;
pub const MAX_DEADLINE_MS: u64 = 600_000;

/// The fields that do not depend on the domains.
const FIELDS: [&str; 15] = [
    "user_id",
    "history",
    "query",
    "domains",
    "limit",
    "filter",
    "exclude",
    "include_seen",
    "model",
    "diversity",
    "explain",
    "rerank",
    "story",
    "deadline_ms",
    "min_watermark",
];

#[derive(Default)]
struct RecommendBody {
    tastes: Vec<(Domain, Vec<String>)>,
    user_id: Option<UserId>,
    history: Option<List<Object<HistoryEntry>, MAX_HISTORY>>,
    query: Option<Prose<MAX_QUERY_CHARS>>,
    domains: Option<List<Text<1, 128>, MAX_DOMAINS>>,
    limit: Option<Whole<1, 200>>,
    filter: Option<Filters>,
    exclude: Option<List<ItemId, MAX_EXCLUDE>>,
    include_seen: Option<bool>,
    model: Option<Text<1, 128>>,
    diversity: Option<Share>,
    explain: Option<bool>,
    rerank: Option<Text<1, 128>>,
    story: Option<bool>,
    deadline_ms: Option<Whole<1, MAX_DEADLINE_MS>>,
    min_watermark: Option<Text<1, 64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryEntry {
    item_id: ItemId,
    #[serde(rename = "type")]
    kind: Option<Text<1, 32>>,
    value: Option<Amount>,
    at: Option<Moment>,
}

/// Reads a request: `text` is its body (an empty one counts as `{}`), `models` the names that it may ask for. The second is whether it wants a story.
///
/// # Errors
/// The first field that is wrong, or, once all have the right shape, all that make no sense.
pub fn read(text: &str, config: &Config, models: &[&str], now: Timestamp) -> Result<(Query, bool), ApiError> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let body = json::read(text, || BodySeed { domains: &config.domains })?;
    let story = body.story.unwrap_or(false);
    Ok((body.into_query(config, models, now)?, story))
}

impl RecommendBody {
    fn into_query(self, config: &Config, models: &[&str], now: Timestamp) -> Result<Query, ApiError> {
        let mut errors = Vec::new();
        let mut session = Vec::new();
        for (index, Object(entry)) in self.history.unwrap_or_default().0.into_iter().enumerate() {
            match entry.interaction(config, now) {
                Ok(interaction) => session.push(interaction),
                Err(error) => {
                    errors.push(FieldError::new(format!("/history/{index}/{}", error.pointer), error.detail));
                }
            }
        }
        let mut domains: Vec<Domain> = Vec::new();
        match self.domains {
            None => domains.clone_from(&config.domains),
            Some(List(names)) if names.is_empty() => errors.push(FieldError::new("/domains", "names no domain")),
            Some(List(names)) => {
                for (index, Text(name)) in names.iter().enumerate() {
                    match domain(name, &config.domains) {
                        Ok(domain) if !domains.contains(&domain) => domains.push(domain),
                        Ok(_) => {}
                        Err(detail) => errors.push(FieldError::new(format!("/domains/{index}"), detail)),
                    }
                }
            }
        }
        let model = self.model.map(|name| name.0);
        if let Some(name) = model.as_deref().filter(|name| !models.contains(name)) {
            errors.push(FieldError::new("/model", not_one_of(name, models)));
        }
        let providers = config.large_model.names();
        let rerank = match self.rerank.map_or_else(|| config.recommend.rerank.clone(), |name| name.0) {
            name if name == "none" => Rerank::None,
            name if name == "llm" || providers.contains(&name.as_str()) => Rerank::By(name),
            other => {
                let known: Vec<&str> = ["none", "llm"].into_iter().chain(providers).collect();
                errors.push(FieldError::new("/rerank", not_one_of(&other, &known)));
                Rerank::None
            }
        };
        let min_watermark = self.min_watermark.and_then(|Text(text)| {
            let number = read_watermark(&text);
            if number.is_none() {
                errors.push(FieldError::new("/min_watermark", "is not a watermark of an ingest answer, such as w-17"));
            }
            number
        });
        if !errors.is_empty() {
            return Err(ApiError::Invalid(errors));
        }
        let mut tastes: Vec<Taste> = Vec::new();
        for (domain, texts) in self.tastes {
            for (index, text) in texts.into_iter().enumerate() {
                tastes.push(Taste { pointer: format!("/{domain}/{index}"), domain: Some(domain.clone()), text });
            }
        }
        if let Some(Prose(text)) = self.query {
            tastes.push(Taste { domain: None, text, pointer: "/query".to_owned() });
        }
        Ok(Query {
            tastes,
            user_id: self.user_id,
            session,
            domains,
            limit: self.limit.map_or(config.recommend.limit, |limit| usize::try_from(limit.0).unwrap_or(200)),
            filters: self.filter.unwrap_or_default(),
            exclude: self.exclude.unwrap_or_default().0,
            include_seen: self.include_seen.unwrap_or(false),
            model: model.or_else(|| Some(config.recommend.model.clone())),
            diversity: self.diversity.map_or(config.recommend.diversity, |share| share.0),
            explain: self.explain.unwrap_or(false),
            rerank,
            deadline: self.deadline_ms.map(|deadline| Duration::from_millis(deadline.0)),
            min_watermark,
        })
    }
}

impl HistoryEntry {
    /// The pointer of the error is the name of the field.
    fn interaction(self, config: &Config, now: Timestamp) -> Result<Interaction, FieldError> {
        let kind = self.kind.map_or(Ok(InteractionKind::Like), |Text(name)| kind(&name))?;
        let (value, at) = (self.value.map(|value| value.0), self.at.map_or(now, |at| at.0));
        check_interaction(kind, value, at, config.interactions.rating_scale, now)?;
        Ok(Interaction { item_id: self.item_id, kind, value, at })
    }
}

/// The kind of interaction of this name.
pub fn kind(name: &str) -> Result<InteractionKind, FieldError> {
    name.parse()
        .map_err(|_| FieldError::new("type", not_one_of(name, &InteractionKind::ALL.map(InteractionKind::as_str))))
}

/// The domain of this name, if it is one of `known`.
pub fn domain(name: &str, known: &[Domain]) -> Result<Domain, String> {
    let names: Vec<&str> = known.iter().map(Domain::as_str).collect();
    known.iter().find(|domain| domain.as_str() == name).cloned().ok_or_else(|| not_one_of(name, &names))
}

/// How a watermark is written in answers.
pub fn write_watermark(watermark: i64) -> String {
    format!("w-{watermark}")
}

fn read_watermark(text: &str) -> Option<i64> {
    text.strip_prefix("w-")?.parse().ok().filter(|number| *number >= 0)
}

/// Reads a field name: one of `fields` (`Ok`) or a domain (`Err`).
pub struct Key<'a> {
    pub fields: &'static [&'static str],
    pub domains: &'a [Domain],
}

impl<'de, 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = Result<&'static str, &'a Domain>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Result<&'static str, &'a Domain>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        if let Some(field) = self.fields.iter().find(|field| **field == name) {
            return Ok(Ok(field));
        }
        if let Some(domain) = self.domains.iter().find(|domain| domain.as_str() == name) {
            return Ok(Err(domain));
        }
        // Worded as serde words it for fields known when it is compiled: `json` reads the names from it.
        let domains = self.domains.iter().map(Domain::as_str);
        let known: Vec<String> = domains.chain(self.fields.iter().copied()).map(|known| format!("`{known}`")).collect();
        Err(E::custom(format_args!("unknown field `{name}`, expected one of {}", known.join(", "))))
    }
}

/// Puts a field in its place, unless it was given before.
pub fn set_once<T, E: de::Error>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    if slot.replace(value).is_some() { Err(E::duplicate_field(name)) } else { Ok(()) }
}

struct BodySeed<'a> {
    domains: &'a [Domain],
}

impl<'de> DeserializeSeed<'de> for BodySeed<'_> {
    type Value = RecommendBody;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RecommendBody, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BodySeed<'_> {
    type Value = RecommendBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RecommendBody, A::Error> {
        let mut body = RecommendBody::default();
        while let Some(key) = map.next_key_seed(Key { fields: &FIELDS, domains: self.domains })? {
            let field = match key {
                Ok(field) => field,
                Err(domain) => {
                    let tastes: List<Prose<MAX_TASTE_CHARS>, MAX_TASTES> = map.next_value()?;
                    if body.tastes.iter().any(|(given, _)| given == domain) {
                        return Err(de::Error::custom(format_args!("duplicate field `{domain}`")));
                    }
                    body.tastes.push((domain.clone(), tastes.0.into_iter().map(|text| text.0).collect()));
                    continue;
                }
            };
            match field {
                "user_id" => set_once(&mut body.user_id, field, map.next_value()?)?,
                "history" => set_once(&mut body.history, field, map.next_value()?)?,
                "query" => set_once(&mut body.query, field, map.next_value()?)?,
                "domains" => set_once(&mut body.domains, field, map.next_value()?)?,
                "limit" => set_once(&mut body.limit, field, map.next_value()?)?,
                "filter" => {
                    set_once(&mut body.filter, field, map.next_value_seed(FilterSeed { domains: self.domains })?)?;
                }
                "exclude" => set_once(&mut body.exclude, field, map.next_value()?)?,
                "include_seen" => set_once(&mut body.include_seen, field, map.next_value()?)?,
                "model" => set_once(&mut body.model, field, map.next_value()?)?,
                "diversity" => set_once(&mut body.diversity, field, map.next_value()?)?,
                "explain" => set_once(&mut body.explain, field, map.next_value()?)?,
                "rerank" => set_once(&mut body.rerank, field, map.next_value()?)?,
                "story" => set_once(&mut body.story, field, map.next_value()?)?,
                "deadline_ms" => set_once(&mut body.deadline_ms, field, map.next_value()?)?,
                _ => set_once(&mut body.min_watermark, field, map.next_value()?)?,
            }
        }
        Ok(body)
    }
}
