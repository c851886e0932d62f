//! The `filter` of a recommend request: conditions for all domains, per domain, or both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::fields::{Day, LastDay, List, Named, Object, Text};
use super::recommend_body::{Key, set_once};
use crate::domain::{Domain, Filter, Filters, ItemId, SetFilter, tidy_labels};

/// How many labels one condition may have.
pub const MAX_LABELS: usize = 100;
/// How many attributes one filter may name.
pub const MAX_ATTRIBUTES: usize = 20;
/// How many items `items` may name.
pub const MAX_ITEMS: usize = 10_000;

const MAX_LABEL_CHARS: usize = 200;

pub type Label = Text<1, MAX_LABEL_CHARS>;

const FIELDS: [&str; 4] = ["genres", "released", "attributes", "items"];

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SetBody {
    any: List<Label, MAX_LABELS>,
    all: List<Label, MAX_LABELS>,
    none: List<Label, MAX_LABELS>,
}

impl From<Object<SetBody>> for SetFilter {
    fn from(Object(body): Object<SetBody>) -> Self {
        // As the labels of items are on their way in: one with a blank at its end would meet none of them.
        let [any, all, none] = [body.any, body.all, body.none].map(|labels| tidy_labels(labels.into_strings()));
        Self { any, all, none }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Span {
    from: Option<Day>,
    to: Option<LastDay>,
}

/// The attributes of a filter.
type Attributes = Named<Object<SetBody>, MAX_LABEL_CHARS, MAX_ATTRIBUTES>;

/// Reads a filter; with domains, fields of their names hold further filters.
pub struct FilterSeed<'a> {
    pub domains: &'a [Domain],
}

impl<'de> DeserializeSeed<'de> for FilterSeed<'_> {
    type Value = Filters;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Filters, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FilterSeed<'_> {
    type Value = Filters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Filters, A::Error> {
        let (mut genres, mut released, mut attributes, mut items) = (None, None, None, None);
        let mut by_domain = BTreeMap::new();
        while let Some(key) = map.next_key_seed(Key { fields: &FIELDS, domains: self.domains })? {
            match key {
                Ok("genres") => set_once(&mut genres, "genres", map.next_value::<Object<SetBody>>()?)?,
                Ok("released") => set_once(&mut released, "released", map.next_value::<Object<Span>>()?)?,
                Ok("attributes") => set_once(&mut attributes, "attributes", map.next_value::<Attributes>()?)?,
                Ok(_) => set_once(&mut items, "items", map.next_value::<List<ItemId, MAX_ITEMS>>()?)?,
                Err(domain) => {
                    let inner = map.next_value_seed(FilterSeed { domains: &[] })?;
                    if by_domain.insert(domain.clone(), inner.common).is_some() {
                        return Err(de::Error::custom(format_args!("duplicate field `{domain}`")));
                    }
                }
            }
        }
        let span = released.unwrap_or_default().0;
        let common = Filter {
            genres: genres.map(SetFilter::from).unwrap_or_default(),
            released_from: span.from.map(|day| day.0),
            released_to: span.to.map(|day| day.0),
            attributes: attributes
                .map(|Named(read)| read.into_iter().map(|(name, set)| (name, set.into())).collect())
                .unwrap_or_default(),
            items: items.map(|list| list.0.into_iter().collect::<BTreeSet<_>>()),
        };
        Ok(Filters { common, by_domain })
    }
}
