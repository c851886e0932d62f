//! One row of a file, whatever kind of file it is: cells under names, or a JSON object.

use std::borrow::Cow;

use csv::StringRecord;
use serde_json::{Map, Value};

use crate::domain::{ItemId, UserId};

/// One row, as text.
#[derive(Debug, Clone, Copy)]
pub enum Row<'a> {
    /// A line of a delimited file. A name may be missing, and so may a cell.
    Cells { names: &'a [String], cells: &'a StringRecord },
    /// A line of NDJSON, or a row of a Parquet file.
    Object(&'a Map<String, Value>),
}

impl<'a> Row<'a> {
    /// The text under `name` (compared without case); `None` when it is absent or empty. A cell is trimmed. A string of JSON is
    /// taken as it stands, as in the API: ids that differ by a space are different ids.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let text = match self {
            Row::Cells { names, cells } => {
                let place = names.iter().position(|known| known.eq_ignore_ascii_case(name))?;
                Cow::Borrowed(cells.get(place)?.trim())
            }
            Row::Object(object) => match object.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1 {
                Value::String(text) => Cow::Borrowed(text.as_str()),
                Value::Null => return None,
                other => Cow::Owned(other.to_string()),
            },
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// The same without the blanks around it, for what is no text of somebody's: a number, a time, one of a few words.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<Cow<'a, str>> {
        let word = match self.text(name)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        Some(word).filter(|word| !word.is_empty())
    }

    /// As [`Row::text`], for what a row cannot do without.
    ///
    /// # Errors
    /// Says that it is missing.
    pub fn required(&self, name: &str) -> Result<Cow<'a, str>, String> {
        self.text(name).ok_or_else(|| format!("{name} is missing"))
    }

    /// The number under `name`.
    ///
    /// # Errors
    /// Says that it is missing or is not a finite number.
    pub fn number(&self, name: &str) -> Result<f64, String> {
        number(name, &self.required(name)?)
    }

    /// The number under `name`, which counts something.
    ///
    /// # Errors
    /// Says that it is missing, is not a finite number, or is not above 0.
    pub fn amount(&self, name: &str) -> Result<f64, String> {
        let text = self.required(name)?;
        let amount = number(name, &text)?;
        if amount > 0.0 { Ok(amount) } else { Err(format!("{name} `{text}` is not above 0")) }
    }

    /// The moment under `name`, in seconds since 1970.
    ///
    /// # Errors
    /// Says that it is missing or is no such number.
    pub fn unix_time(&self, name: &str) -> Result<jiff::Timestamp, String> {
        let text = self.required(name)?;
        let seconds =
            text.trim().parse::<i64>().map_err(|_| format!("{name} `{}` is not a number of seconds", short(&text)))?;
        jiff::Timestamp::from_second(seconds).map_err(|_| format!("{name} `{}` is out of range", short(&text)))
    }
}

/// Reads a finite number.
///
/// # Errors
/// Says that it is none.
pub fn number(name: &str, text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("{name} `{}` is not a number", short(text))),
    }
}

/// A text as it may stand in a message: not longer than a line.
#[must_use]
pub fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Makes the ids of a data set unique among data sets: its item `1` becomes `movielens:1`.
#[derive(Debug, Clone)]
pub struct Ids {
    prefix: String,
}

impl Ids {
    /// `prefix` without the colon; an empty one leaves ids as they are.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}:") } }
    }

    /// # Errors
    /// Says what an id must not be.
    pub fn item(&self, id: &str) -> Result<ItemId, String> {
        ItemId::new(format!("{}{id}", self.prefix)).map_err(|error| format!("the item id `{}` {error}", short(id)))
    }

    /// # Errors
    /// Says what an id must not be.
    pub fn user(&self, id: &str) -> Result<UserId, String> {
        UserId::new(format!("{}{id}", self.prefix)).map_err(|error| format!("the user id `{}` {error}", short(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_belong_to_texts_and_not_to_words() {
        let object = serde_json::json!({"id": " ann", "type": "play ", "value": " ", "position": " 3"});
        let row = Row::Object(object.as_object().unwrap());
        assert_eq!(row.text("id").as_deref(), Some(" ann"));
        assert_eq!((row.word("type").as_deref(), row.word("position").as_deref()), (Some("play"), Some("3")));
        assert_eq!(row.word("value"), None);
        let (names, cells) = (["id".to_owned()], StringRecord::from(vec![" ann "]));
        assert_eq!(Row::Cells { names: &names, cells: &cells }.text("ID").as_deref(), Some("ann"));
    }
}
