//! Items in JSON: the bodies that write them, and the answer that shows one.

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::Date;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::fields::{Day, List, Named, Prose, Text, clearable, not_null};
use super::filter::Label;
use super::problem::FieldError;
use super::recommend_body::domain;
use crate::domain::{Domain, Item, ItemId, ItemPatch, tidy_labels};

pub const MAX_TITLE_CHARS: usize = 500;
pub const MAX_LABELS: usize = 200;
pub const MAX_DESCRIPTION_CHARS: usize = 20_000;
pub const MAX_ATTRIBUTES: usize = 50;
pub const MAX_ATTRIBUTE_NAME_CHARS: usize = 64;

type Labels = List<Label, MAX_LABELS>;

/// A whole item, as `PUT` and a row of a batch have it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemBody {
    pub id: Option<ItemId>,
    domain: Text<1, 128>,
    title: Text<1, MAX_TITLE_CHARS>,
    #[serde(default)]
    genres: Option<Labels>,
    #[serde(default)]
    tags: Option<Labels>,
    #[serde(default)]
    description: Option<Prose<MAX_DESCRIPTION_CHARS>>,
    #[serde(default)]
    creators: Option<Labels>,
    #[serde(default)]
    released: Option<Day>,
    #[serde(default)]
    attributes: Option<Attributes<Values>>,
    #[serde(default)]
    available: Option<bool>,
}

impl ItemBody {
    /// The item under this id; the pointer of the error is relative to the body.
    pub fn into_item(self, id: ItemId, domains: &[Domain]) -> Result<Item, FieldError> {
        let labels = |list: Option<Labels>| tidy_labels(list.unwrap_or_default().into_strings());
        Ok(Item {
            id,
            domain: domain(&self.domain.0, domains).map_err(|detail| FieldError::new("/domain", detail))?,
            title: self.title.0,
            genres: labels(self.genres),
            tags: labels(self.tags),
            description: self.description.map(|text| text.0),
            creators: labels(self.creators),
            released: self.released.map(|day| day.0),
            attributes: self
                .attributes
                .map(|read| read.0.into_iter().map(|(name, values)| (name, values.0)).collect())
                .unwrap_or_default(),
            available: self.available.unwrap_or(true),
        })
    }
}

/// A JSON merge patch (RFC 7396) of an item.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatchBody {
    id: Option<ItemId>,
    #[serde(deserialize_with = "not_null")]
    domain: Option<Text<1, 128>>,
    #[serde(deserialize_with = "not_null")]
    title: Option<Text<1, MAX_TITLE_CHARS>>,
    #[serde(deserialize_with = "clearable")]
    genres: Option<Option<Labels>>,
    #[serde(deserialize_with = "clearable")]
    tags: Option<Option<Labels>>,
    #[serde(deserialize_with = "clearable")]
    description: Option<Option<Prose<MAX_DESCRIPTION_CHARS>>>,
    #[serde(deserialize_with = "clearable")]
    creators: Option<Option<Labels>>,
    #[serde(deserialize_with = "clearable")]
    released: Option<Option<Day>>,
    #[serde(deserialize_with = "clearable")]
    attributes: Option<Option<Attributes<Option<Values>>>>,
    #[serde(deserialize_with = "not_null")]
    available: Option<bool>,
}

impl PatchBody {
    /// The changes to the item of this id.
    pub fn into_patch(self, id: &ItemId, domains: &[Domain]) -> Result<ItemPatch, FieldError> {
        same_id(self.id.as_ref(), id)?;
        let labels =
            |list: Option<Option<Labels>>| list.map(|list| tidy_labels(list.unwrap_or_default().into_strings()));
        let in_domain = |Text(name): Text<1, 128>| domain(&name, domains);
        Ok(ItemPatch {
            domain: self.domain.map(in_domain).transpose().map_err(|detail| FieldError::new("/domain", detail))?,
            title: self.title.map(|text| text.0),
            genres: labels(self.genres),
            tags: labels(self.tags),
            description: self.description.map(|text| text.map(|text| text.0)),
            creators: labels(self.creators),
            released: self.released.map(|day| day.map(|day| day.0)),
            attributes: self.attributes.map(|given| {
                given.map(|read| read.0.into_iter().map(|(name, to)| (name, to.map(|values| values.0))).collect())
            }),
            available: self.available,
        })
    }
}

/// An id in the body must be the one in the path.
pub fn same_id(in_body: Option<&ItemId>, in_path: &ItemId) -> Result<(), FieldError> {
    if in_body.is_some_and(|id| id != in_path) {
        return Err(FieldError::new("/id", "is not the id in the path"));
    }
    Ok(())
}

/// Free facets.
type Attributes<V> = Named<V, MAX_ATTRIBUTE_NAME_CHARS, MAX_ATTRIBUTES>;

/// The values of an attribute: a text, or a list of them.
#[derive(Debug)]
struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
                let label = Label::deserialize(de::value::StrDeserializer::new(text))?;
                Ok(tidy_labels(vec![label.0]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<String>, A::Error> {
                let labels = Labels::deserialize(de::value::SeqAccessDeserializer::new(seq))?;
                Ok(tidy_labels(labels.into_strings()))
            }
        }

        deserializer.deserialize_any(OneOrMore).map(Self)
    }
}

/// An item of the catalogue.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Item)]
pub struct ItemAnswer {
    id: String,
    domain: String,
    title: String,
    genres: Vec<String>,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
    creators: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date, nullable = false)]
    released: Option<Date>,
    attributes: BTreeMap<String, Vec<String>>,
    available: bool,
}

impl From<Item> for ItemAnswer {
    fn from(item: Item) -> Self {
        Self {
            id: item.id.into(),
            domain: item.domain.into(),
            title: item.title,
            genres: item.genres,
            tags: item.tags,
            description: item.description,
            creators: item.creators,
            released: item.released,
            attributes: item.attributes,
            available: item.available,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::super::fields::Object;
    use super::super::json;
    use super::*;

    fn item(text: &str) -> Result<Item, String> {
        let domains = [Domain::new("movie").unwrap()];
        let Object(body) =
            json::read(text, || PhantomData::<Object<ItemBody>>).map_err(|error| format!("{error:?}"))?;
        body.into_item(ItemId::new("m1").unwrap(), &domains).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn an_item_has_defaults_and_takes_one_value_or_more() {
        let item =
            item(r#"{"domain": "movie", "title": "M", "attributes": {"language": "de", "cast": ["a", "b"]}}"#).unwrap();
        assert!(item.available && item.genres.is_empty() && item.description.is_none());
        assert_eq!(item.attributes["language"], ["de"]);
        assert_eq!(item.attributes["cast"], ["a", "b"]);
    }

    #[test]
    fn labels_are_kept_without_blanks_around_them_and_each_once() {
        let item = item(
            r#"{"domain": "movie", "title": "M", "genres": [" rock ", "jazz", "rock", "Rock"], "tags": ["a  b\u3000"],
                "creators": ["A", "A"], "attributes": {"language": " de", "cast": ["b", " b"]}}"#,
        )
        .unwrap();
        assert_eq!(item.genres, ["rock", "jazz", "Rock"]);
        assert_eq!((item.tags, item.creators), (vec!["a  b".to_owned()], vec!["A".to_owned()]));
        assert_eq!(item.attributes["language"], ["de"]);
        assert_eq!(item.attributes["cast"], ["b"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, pointer) in [
            (r#"{"domain": "movy", "title": "M"}"#, "/domain"),
            (r#"{"domain": "movie"}"#, "/title"),
            (r#"{"domain": "movie", "title": ""}"#, "/title"),
            (r#"{"domain": "movie", "title": " \u3000"}"#, "/title"),
            (r#"{"domain": "movie", "title": "M", "tags": ["a", " "]}"#, "/tags/1"),
            (r#"{"domain": "movie", "title": "M", "genres": ["a", 1]}"#, "/genres/1"),
            (r#"{"domain": "movie", "title": "M", "genres": {}}"#, "/genres"),
            (
                r#"{"domain": "movie", "title": "M", "attributes": {"language": ["a", "\u0000"]}}"#,
                "/attributes/language",
            ),
            (r#"{"domain": "movie", "title": "M", "released": "soon"}"#, "/released"),
            (r#"["movie", "M"]"#, "\"\""),
        ] {
            let error = item(text).unwrap_err();
            assert!(error.contains(pointer), "{text}: {error}");
        }
    }
}
