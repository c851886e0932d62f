//! JSON text into checked values; where that fails, which field is wrong and why.

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::{Path, Segment, Track};

use super::problem::{ApiError, FieldError, nearest};

/// Reads `text` with the seed that `seed` makes (it is made again to find out what is wrong).
///
/// # Errors
/// [`ApiError::NotJson`] or [`ApiError::Invalid`] with the JSON pointer of the first field that is wrong.
pub fn read<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: impl Fn() -> S) -> Result<S::Value, ApiError> {
    let mut json = serde_json::Deserializer::from_str(text);
    match seed().deserialize(&mut json).and_then(|value| json.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(error) => Err(diagnose(text, seed(), &error)),
    }
}

/// The slow way, taken only when something is wrong: is it JSON at all, and if so, where is it not what was asked for?
fn diagnose<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S, first: &serde_json::Error) -> ApiError {
    let mut track = Track::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let outcome = seed.deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let error = outcome.err();
    let error = error.as_ref().unwrap_or(first);
    let path = track.path();
    if let Err(syntax) = serde_json::from_str::<WellFormed>(text)
        && !is_out_of_range(&syntax)
    {
        return ApiError::NotJson(FieldError::new(pointer(&path), syntax.to_string()));
    }
    ApiError::Invalid(vec![field_error(&path, error)])
}

/// A number that no machine number can hold is well-formed JSON; `serde_json` calls it a syntax error.
fn is_out_of_range(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("number out of range")
}

fn field_error(path: &Path, error: &serde_json::Error) -> FieldError {
    let message = error.to_string();
    // What serde_json adds is of use only for text that is not JSON.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let place = pointer(path);
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return FieldError::new(format!("{place}/{name}"), "is required");
    }
    if message.starts_with("unknown field `") {
        let (parent, field) = split_last(path);
        // Names are ours; the field is the caller's and may hold anything, also backticks.
        let expected = message.rsplit_once(", expected ").map_or("", |(_, names)| names);
        let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let detail = match nearest(&field, names.iter().copied()) {
            Some(name) => format!("is not a known field; did you mean `{name}`?"),
            None if names.is_empty() => "is not a known field; there is none".to_owned(),
            None => format!("is not a known field; known are {}", names.join(", ")),
        };
        return FieldError::new(format!("{parent}/{}", escaped(&field)), detail);
    }
    if let Some(name) = message.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
        return FieldError::new(format!("{place}/{}", escaped(name)), "is given twice");
    }
    FieldError::new(place, if is_out_of_range(error) { "is too large a number".to_owned() } else { shortened(message) })
}

/// As much of a message as helps: it may quote what the caller sent, and ends with what was expected.
fn shortened(message: &str) -> String {
    const ENDS: usize = 200;
    let (head, tail) = (message.char_indices().nth(ENDS), message.char_indices().nth_back(ENDS));
    match (head, tail) {
        (Some((head, _)), Some((tail, _))) if head < tail => format!("{}…{}", &message[..head], &message[tail..]),
        _ => message.to_owned(),
    }
}

fn escaped(key: &str) -> String {
    let short: String = key.chars().take(128).collect();
    short.replace('~', "~0").replace('/', "~1")
}

fn append(pointer: &mut String, segment: &Segment) {
    pointer.push('/');
    match segment {
        Segment::Seq { index } => pointer.push_str(&index.to_string()),
        Segment::Map { key } => pointer.push_str(&escaped(key)),
        Segment::Enum { variant } => pointer.push_str(&escaped(variant)),
        Segment::Unknown => pointer.push('?'),
    }
}

/// The path as a JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter().filter(|segment| !matches!(segment, Segment::Unknown)) {
        append(&mut pointer, segment);
    }
    pointer
}

fn split_last(path: &Path) -> (String, String) {
    let segments: Vec<&Segment> = path.iter().collect();
    let Some((last, before)) = segments.split_last() else { return Default::default() };
    let mut parent = String::new();
    for segment in before {
        append(&mut parent, segment);
    }
    let field = if let Segment::Map { key } = last { key.clone() } else { String::new() };
    (parent, field)
}

/// Reads JSON of any shape and keeps nothing, within the parser's limit of depth.
struct WellFormed;

impl<'de> serde::Deserialize<'de> for WellFormed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for WellFormed {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_unit<E: de::Error>(self) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Body {
        name: String,
        #[serde(default)]
        numbers: Vec<f64>,
        #[serde(default)]
        inner: Option<Box<Body>>,
    }

    fn errors(text: &str) -> (bool, String, String) {
        match read(text, || PhantomData::<super::super::fields::Object<Body>>).expect_err("it is wrong") {
            ApiError::NotJson(error) => (false, error.pointer, error.detail),
            ApiError::Invalid(mut errors) => {
                let error = errors.remove(0);
                (true, error.pointer, error.detail)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_field_is_named() {
        let cases = [
            (r#"{"name": 5}"#, true, "/name", "invalid type"),
            (r#"{}"#, true, "/name", "is required"),
            (r#"{"name": "a", "inner": {}}"#, true, "/inner/name", "is required"),
            (r#"{"nome": "a"}"#, true, "/nome", "did you mean `name`?"),
            (
                r#"{"name": "a", "zz`, expected `q`/": 1}"#,
                true,
                "/zz`, expected `q`~1",
                "known are name, numbers, inner",
            ),
            (r#"{"name": "a", "inner": {"nme": 1}}"#, true, "/inner/nme", "did you mean `name`?"),
            (r#"{"name": "a", "name": "b"}"#, true, "/name", "twice"),
            (r#"{"name": "a", "numbers": [1, 1e999]}"#, true, "/numbers/1", "too large"),
            (r#"{"name": "a", "numbers": [1, "x"]}"#, true, "/numbers/1", "invalid type"),
            (r#"{"name": "\ud800"}"#, false, "/name", "hex escape"),
            (r#"{"nome": "a""#, false, "", "EOF"),
            ("[1]", true, "", "invalid type"),
            ("", false, "", "EOF"),
            (r#"{"name": "a"} x"#, false, "", "trailing"),
        ];
        let (.., detail) = errors(&format!(r#"{{"name": "a", "numbers": "{}"}}"#, "x".repeat(1_000_000)));
        assert!(detail.starts_with("invalid type") && detail.ends_with("expected a sequence"), "{detail}");
        assert!(detail.len() < 500, "{detail}");
        for (text, well_formed, pointer, detail) in cases {
            let found = errors(text);
            assert_eq!(found.0, well_formed, "{text}: {found:?}");
            assert!(found.1.starts_with(pointer), "{text}: {found:?}");
            assert!(found.2.contains(detail), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_is_too_deep_is_not_read() {
        let text = "[".repeat(10_000) + &"]".repeat(10_000);
        let (well_formed, _, detail) = errors(&text);
        assert!(!well_formed && detail.contains("recursion limit"), "{detail}");
    }
}
