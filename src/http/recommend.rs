//! `POST /api/recommend`: from the body to a query, from the recommendation to the answer.

use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_LANGUAGE, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use uuid::Uuid;

use super::auth::Served;
use super::extract::{NoParameters, Text};
use super::problem::ApiError;
use super::recommend_body;
use crate::domain::{Domain, ItemId, Language, ModelRef, RankedItem, Reason, Recommendation, Story, UserId, Wording};
use crate::serving::ServiceError;

/// Ranks items of each domain for a person, from tastes, stored behaviour, this session, or nothing at all.
#[utoipa::path(
    post,
    path = "/api/recommend",
    tag = "recommend",
    params(("Accept-Language" = Option<String>, Header, description = "The language of generated words; by default, as far as it can be told, that of the tastes")),
    request_body(content = ref("#/components/schemas/RecommendRequest"), content_type = "application/json"),
    responses((status = 200, description = "Ranked lists, one for each domain asked for", body = ref("#/components/schemas/RecommendAnswer"))),
)]
pub async fn recommend(
    Served(service): Served,
    headers: HeaderMap,
    _: NoParameters,
    Text(body): Text,
) -> Result<Answer, ApiError> {
    let started = Instant::now();
    let (query, story) = recommend_body::read(&body, &service.config, service.model_names(), Timestamp::now())?;
    let mut recommendation = service.recommend(&query).await.map_err(|error| match error {
        // No answer of this route is a 5xx while the process lives.
        ServiceError::Overloaded => ApiError::Overloaded(true),
        error => error.into(),
    })?;
    let language = headers.get(ACCEPT_LANGUAGE).and_then(|value| Language::accepted(value.to_str().ok()?));
    let wording = Wording { story, language };
    let story = service.put_into_words(&query, &wording, started, &mut recommendation).await;
    let took = started.elapsed();
    super::metrics::recommended(&recommendation, took);
    let total_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
    let explain = query.explain;
    Ok(Answer { id: Uuid::now_v7(), user_id: query.user_id, recommendation, explain, story, total_ms })
}

/// The answer: one field a domain, which is why it is written by hand.
pub struct Answer {
    id: Uuid,
    user_id: Option<UserId>,
    recommendation: Recommendation,
    /// Whether reasons were asked for: then each place has them, be they none.
    explain: bool,
    story: Option<Story>,
    total_ms: f64,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        // Room for all of it from the start: a place takes some 200 bytes.
        let places: usize = self.recommendation.lists.iter().map(|(_, list)| list.len()).sum();
        let mut body = Vec::with_capacity(1_000 + 250 * places);
        match serde_json::to_writer(&mut body, &self) {
            Ok(()) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written");
                ApiError::Internal.into_response()
            }
        }
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, user_id, recommendation, explain, story, total_ms } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("recommendation_id", &format!("rec_{id}"))?;
        if let Some(user_id) = user_id {
            map.serialize_entry("user_id", user_id)?;
        }
        map.serialize_entry("model", &Model::from(&recommendation.model))?;
        for (domain, list) in &recommendation.lists {
            map.serialize_entry(domain, &Places { list, explain: *explain })?;
        }
        if let Some(Story { text, items, language }) = story {
            let note = Note { generated: true, text, item_ids: items, language: *language };
            map.serialize_entry("story", &note)?;
        }
        map.serialize_entry("unmatched", &recommendation.unmatched)?;
        map.serialize_entry("degraded", &recommendation.degraded)?;
        map.serialize_entry("timing_ms", &Timing { total: *total_ms })?;
        map.end()
    }
}

/// A programme note, marked as what it is.
#[derive(serde::Serialize)]
struct Note<'a> {
    generated: bool,
    text: &'a str,
    item_ids: &'a [ItemId],
    language: Language,
}

#[derive(serde::Serialize)]
struct Timing {
    total: f64,
}

#[derive(serde::Serialize)]
struct Model<'a> {
    name: &'a str,
    version: Option<&'a str>,
    trained_at: Option<Timestamp>,
}

impl<'a> From<&'a ModelRef> for Model<'a> {
    fn from(model: &'a ModelRef) -> Self {
        Self { name: &model.name, version: model.version.as_deref(), trained_at: model.trained_at }
    }
}

/// One place of a list.
#[derive(serde::Serialize)]
struct Place<'a> {
    item_id: &'a str,
    title: &'a str,
    genres: &'a [String],
    score: f32,
    rank: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<&'a [Reason]>,
}

/// A list, from rank 1 on.
struct Places<'a> {
    list: &'a [RankedItem],
    explain: bool,
}

impl Serialize for Places<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.list.iter().zip(1..).map(|(ranked, rank)| Place {
            item_id: ranked.item.id.as_str(),
            title: &ranked.item.title,
            genres: &ranked.item.genres,
            score: ranked.score,
            rank,
            reasons: self.explain.then_some(ranked.reasons.as_slice()),
        }))
    }
}

/// The neighbours of an item, of all domains asked for in one list, nearest first.
#[derive(serde::Serialize)]
pub struct Neighbours {
    data: Vec<Neighbour>,
    /// Always null: the list has an end.
    next_cursor: Option<String>,
}

#[derive(serde::Serialize)]
struct Neighbour {
    domain: Domain,
    item_id: ItemId,
    title: String,
    genres: Vec<String>,
    score: f32,
    rank: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Reason>,
}

impl Neighbours {
    /// The `limit` nearest of all lists; scores are comparable across domains.
    pub fn new(lists: Vec<(Domain, Vec<RankedItem>)>, limit: usize) -> Self {
        let mut all: Vec<RankedItem> = lists.into_iter().flat_map(|(_, list)| list).collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.item.id.cmp(&b.item.id)));
        let ranked =
            all.into_iter().take(limit).zip(1..).map(|(RankedItem { item, score, reasons }, rank)| Neighbour {
                domain: item.domain.clone(),
                item_id: item.id.clone(),
                title: item.title.clone(),
                genres: item.genres.clone(),
                score,
                rank,
                reasons,
            });
        Self { data: ranked.collect(), next_cursor: None }
    }
}
