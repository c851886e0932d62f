//! What OpenAPI says of the bodies that are read by hand, with the limits that the readers hold them to.

use serde_json::{Map, Value, json};

use super::fields::MAX_VALUE;
use super::{events, filter, item_body as item, items, recommend_body as recommend};
use crate::domain::{Domain, InteractionKind};

/// No control characters.
const ONE_LINE: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";
/// The same, and not blank: something among it is no white space.
const NOT_BLANK: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*\
    [^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]\
    [^\\u0000-\\u001f\\u007f-\\u009f]*$";
/// No control characters but tab and the ends of lines.
const LINES: &str = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$";
const DAY: &str = "^(?!0000)[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$";

/// The schema of an id.
pub fn id() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 128, "pattern": ONE_LINE})
}

/// Text on one line, not blank.
pub fn text(max: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": max, "pattern": NOT_BLANK})
}

fn prose(max: usize) -> Value {
    json!({"type": "string", "maxLength": max, "pattern": LINES})
}

fn list(items: Value, max: usize) -> Value {
    json!({"type": "array", "items": items, "maxItems": max})
}

/// The same, or null.
fn or_null(mut schema: Value) -> Value {
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
    }
    schema
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn described(mut schema: Value, description: &str) -> Value {
    schema["description"] = json!(description);
    schema
}

/// All schemas that are not derived from a type, by name.
pub fn all(domains: &[Domain], providers: &[&str]) -> Vec<(&'static str, Value)> {
    vec![
        ("RecommendRequest", recommend_request(domains, providers)),
        ("HistoryEntry", history_entry()),
        ("Filter", filter(domains)),
        ("DomainFilter", object(&[], filter_fields())),
        ("SetFilter", set_filter()),
        ("RecommendAnswer", recommend_answer(domains)),
        ("SimilarAnswer", similar_answer(domains)),
        ("RankedItem", ranked_item()),
        ("Reason", reason()),
        ("Story", story()),
        ("ItemBody", item_body(domains, false)),
        ("ItemRow", item_body(domains, true)),
        ("ItemBatch", list(reference("ItemRow"), items::MAX_ROWS)),
        ("ItemPatch", item_patch(domains)),
        ("EventBatch", object(&["events"], json!({"events": list(reference("EventRow"), events::MAX_EVENTS)}))),
        ("EventRow", event_row()),
        ("MergeBody", object(&["from"], json!({"from": id()}))),
    ]
}

pub fn domain(domains: &[Domain]) -> Value {
    json!({"type": "string", "enum": domains})
}

fn kinds() -> Value {
    json!({"type": "string", "enum": InteractionKind::ALL})
}

fn amount() -> Value {
    described(
        json!({"type": "number", "minimum": -MAX_VALUE, "maximum": MAX_VALUE}),
        "How often (view, play, watch, skip; 1 by default), hours (playtime) or the rating. Required for playtime and \
         rating; not negative but on a scale of ratings that has negative ones.",
    )
}

fn moment() -> Value {
    described(
        json!({"type": "string", "format": "date-time"}),
        "Now, when absent. From 1900-01-01 on, and at most a day ahead.",
    )
}

/// Field names to schemas, the tastes of each domain first.
fn by_domain(domains: &[Domain], schema: impl Fn(&Domain) -> Value, rest: Value) -> Map<String, Value> {
    let mut fields: Map<String, Value> =
        domains.iter().map(|domain| (domain.as_str().to_owned(), schema(domain))).collect();
    if let Value::Object(rest) = rest {
        fields.extend(rest);
    }
    fields
}

fn recommend_request(domains: &[Domain], providers: &[&str]) -> Value {
    let models = crate::serving::MODEL_NAMES;
    let tastes = |domain: &Domain| {
        let what =
            format!("Tastes in {domain}: genres, tags, titles, creators, item ids or free text in any language.");
        described(list(prose(recommend::MAX_TASTE_CHARS), recommend::MAX_TASTES), &what)
    };
    let rerankers: Vec<&str> = ["none", "llm"].into_iter().chain(providers.iter().copied()).collect();
    let rest = json!({
        "user_id": described(id(), "Whose stored behaviour counts, the newest event included."),
        "history": described(list(reference("HistoryEntry"), recommend::MAX_HISTORY), "Interactions of this session, used like stored ones."),
        "query": described(prose(recommend::MAX_QUERY_CHARS), "Free text across all domains."),
        "domains": {"type": "array", "items": domain(domains), "minItems": 1, "maxItems": recommend::MAX_DOMAINS,
            "description": "Which lists to return; all by default."},
        "limit": {"type": "integer", "minimum": 1, "maximum": 200, "description": "Items per list."},
        "filter": described(reference("Filter"), "What items must hold to, without exception."),
        "exclude": described(list(id(), recommend::MAX_EXCLUDE), "Items never to return."),
        "include_seen": {"type": "boolean", "default": false, "description": "Whether to return what the person has consumed."},
        "model": {"type": "string", "enum": models, "description": "The active hybrid by default."},
        "diversity": {"type": "number", "minimum": 0, "maximum": 1, "description": "0 is pure relevance, 1 pure variety."},
        "explain": {"type": "boolean", "default": false, "description": "Adds `reasons` to each item; in the caller's language where the settings name a large model for words."},
        "rerank": {"type": "string", "enum": rerankers, "description": "The large model that re-orders the head of each list; `llm` is the one that the settings name."},
        "story": {"type": "boolean", "default": false, "description": "Asks for a short programme note over the lists, written by the large model that the settings name."},
        "deadline_ms": {"type": "integer", "minimum": 1, "maximum": recommend::MAX_DEADLINE_MS,
            "description": "The time granted; what cannot finish in it is skipped and named in `degraded`."},
        "min_watermark": {"type": "string", "maxLength": 20, "pattern": "^w-[0-9]{1,18}$",
            "description": "The `watermark` of an ingest answer: the recommendation knows at least what was stored by then."},
    });
    let mut schema = object(&[], Value::Object(by_domain(domains, tastes, rest)));
    schema["description"] =
        json!("All fields are optional; `{}`, or no body at all, is answered by what is popular now.");
    let example: Map<String, Value> =
        domains.iter().take(3).map(|domain| (domain.as_str().to_owned(), json!(["rock", "action"]))).collect();
    schema["examples"] = json!([example, {"user_id": "u42", "limit": 5, "explain": true}]);
    schema
}

fn history_entry() -> Value {
    let kind = or_null(described(kinds(), "`like` when absent."));
    object(
        &["item_id"],
        json!({"item_id": id(), "type": with_null(kind), "value": or_null(amount()), "at": or_null(moment())}),
    )
}

/// An `enum` that admits null must list it.
fn with_null(mut schema: Value) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    schema
}

fn set_filter() -> Value {
    let labels = || list(text(200), filter::MAX_LABELS);
    object(&[], json!({"any": labels(), "all": labels(), "none": labels()}))
}

fn filter_fields() -> Value {
    let day = |of_others: &str| {
        let description = format!("A day; of a month or a year alone, the {of_others}.");
        json!({"type": ["string", "null"], "pattern": DAY, "description": description})
    };
    json!({
        "genres": reference("SetFilter"),
        "released": object(&[], json!({"from": day("first"), "to": day("last")})),
        "attributes": {"type": "object", "additionalProperties": reference("SetFilter"), "propertyNames": text(200),
            "maxProperties": filter::MAX_ATTRIBUTES},
        "items": described(list(id(), filter::MAX_ITEMS), "Only these items are ranked."),
    })
}

fn filter(domains: &[Domain]) -> Value {
    let fields = by_domain(domains, |_| reference("DomainFilter"), filter_fields());
    described(object(&[], Value::Object(fields)), "Conditions for all domains, for one, or both.")
}

fn ranked_list() -> Value {
    list(reference("RankedItem"), 200)
}

fn recommend_answer(domains: &[Domain]) -> Value {
    let rest = json!({
        "recommendation_id": {"type": "string"},
        "user_id": described(id(), "As in the request; absent when it had none."),
        "model": {"type": "object", "required": ["name", "version", "trained_at"], "properties": {
            "name": {"type": "string"}, "version": {"type": ["string", "null"]},
            "trained_at": {"type": ["string", "null"], "format": "date-time"}}},
        "unmatched": {"type": "array", "items": {"type": "object", "required": ["pointer", "value", "suggestion"], "properties": {
            "pointer": {"type": "string"}, "value": {"type": "string"}, "suggestion": {"type": ["string", "null"]}}}},
        "degraded": {"type": "array", "items": {"type": "string", "enum":
            ["no_model", "catalogue_snapshot", "history_unavailable", "watermark_not_reached", "llm_not_configured", "llm_unavailable", "llm_timed_out",
             "llm_over_budget", "plain_words", "no_story", "deadline_exceeded"]}},
        "story": described(reference("Story"), "With `story` only, and only where one was written that holds to the answer; else `no_story` is in `degraded`."),
        "timing_ms": {"type": "object", "required": ["total"], "properties": {"total": {"type": "number", "minimum": 0}}},
    });
    json!({"type": "object", "additionalProperties": false,
        "required": ["recommendation_id", "model", "unmatched", "degraded", "timing_ms"],
        "description": "A domain that was not asked for is absent; one that has nothing to offer is empty.",
        "properties": by_domain(domains, |_| ranked_list(), rest)})
}

fn similar_answer(domains: &[Domain]) -> Value {
    let mut neighbour = ranked_item();
    neighbour["properties"]["domain"] = domain(domains);
    neighbour["required"] = json!(["item_id", "domain", "title", "genres", "score", "rank"]);
    object(&["data", "next_cursor"], json!({"data": list(neighbour, 200), "next_cursor": {"type": "null"}}))
}

fn ranked_item() -> Value {
    object(
        &["item_id", "title", "genres", "score", "rank"],
        json!({
            "item_id": id(), "title": {"type": "string"}, "genres": {"type": "array", "items": {"type": "string"}},
            "score": {"type": "number", "minimum": 0, "maximum": 1, "description": "Falls with rank; comparable across domains."},
            "rank": {"type": "integer", "minimum": 1},
            "reasons": described(json!({"type": "array", "items": reference("Reason")}), "With `explain` only, and then always, strongest first; empty where nothing speaks for the item in particular."),
        }),
    )
}

fn reason() -> Value {
    object(
        &["code", "text", "evidence", "weight"],
        json!({
            "code": {"type": "string", "enum": ["because_you_liked", "similar_to", "matches_taste", "popular", "large_model"]},
            "text": {"type": "string"}, "evidence": {"type": "array", "items": id()},
            "weight": {"type": "number", "description": "The share of the score that this contributed."},
        }),
    )
}

fn story() -> Value {
    object(
        &["generated", "text", "item_ids", "language"],
        json!({
            "generated": {"const": true, "description": "A large model wrote it."},
            "text": {"type": "string"},
            "item_ids": described(json!({"type": "array", "items": id(), "minItems": 1}), "What it mentions: items of this answer."),
            "language": {"type": "string", "description": "A tag such as `de`."},
        }),
    )
}

fn attribute_values() -> Value {
    json!({"oneOf": [text(200), list(text(200), item::MAX_LABELS)]})
}

fn attributes(values: Value) -> Value {
    json!({"type": ["object", "null"], "additionalProperties": values, "maxProperties": item::MAX_ATTRIBUTES,
        "propertyNames": text(item::MAX_ATTRIBUTE_NAME_CHARS)})
}

fn item_fields(domains: &[Domain], values: Value) -> Value {
    let labels = || {
        let labels = or_null(list(text(200), item::MAX_LABELS));
        described(labels, "Kept without the blanks around each, and each once.")
    };
    json!({
        "id": id(), "domain": domain(domains), "title": text(item::MAX_TITLE_CHARS),
        "genres": labels(), "tags": labels(), "description": or_null(prose(item::MAX_DESCRIPTION_CHARS)), "creators": labels(),
        "released": {"type": ["string", "null"], "pattern": DAY, "description": "A day; of a month or a year alone, the first."},
        "attributes": described(attributes(values), "Free facets to filter by, each a value or several."),
        "available": described(json!({"type": ["boolean", "null"]}), "Whether it may be recommended; in a new item true when absent."),
    })
}

fn item_body(domains: &[Domain], in_batch: bool) -> Value {
    let required: &[&str] = if in_batch { &["id", "domain", "title"] } else { &["domain", "title"] };
    let mut schema = object(required, item_fields(domains, attribute_values()));
    if !in_batch {
        schema["properties"]["id"] = described(or_null(id()), "If given, the id of the path.");
    }
    schema["examples"] = json!([{"id": "m-603", "domain": domains.first(), "title": "The Matrix", "genres": ["Science Fiction"],
        "released": "1999-03-31", "attributes": {"language": "en"}}]);
    schema
}

fn item_patch(domains: &[Domain]) -> Value {
    let values = json!({"oneOf": [text(200), list(text(200), item::MAX_LABELS), {"type": "null"}]});
    let mut schema = object(&[], item_fields(domains, values));
    let properties = &mut schema["properties"];
    properties["id"] = or_null(properties["id"].clone());
    // What no item is without.
    properties["available"]["type"] = json!("boolean");
    schema
}

fn event_row() -> Value {
    let mut schema = object(
        &["user_id", "item_id", "type"],
        json!({
            "event_id": described(or_null(id()), "Sending the same one again changes nothing."),
            "user_id": id(), "item_id": id(), "type": kinds(), "value": or_null(amount()), "at": or_null(moment()),
            "recommendation_id": described(or_null(id()), "The answer that led to it."),
            "position": {"type": ["integer", "null"], "minimum": 1, "maximum": events::MAX_POSITION,
                "description": "The rank it had in that answer."},
        }),
    );
    schema["examples"] =
        json!([{"event_id": "e-1", "user_id": "u42", "item_id": "m-603", "type": "rating", "value": 4.5}]);
    schema
}
