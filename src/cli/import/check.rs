//! What holds for items and events of any format: the limits of the API, so that what is imported can also be sent.

use jiff::{SignedDuration, Timestamp};

use crate::domain::{InteractionKind, Item, tidy_labels};

use super::EventRow;
use super::row::short;

const MAX_TITLE_CHARS: usize = 500;
const MAX_DESCRIPTION_CHARS: usize = 20_000;
/// Genres, tags, creators, values of an attribute: how many, and how long each.
const MAX_LABELS: usize = 200;
const MAX_LABEL_CHARS: usize = 200;
const MAX_ATTRIBUTES: usize = 50;
const MAX_ATTRIBUTE_NAME_CHARS: usize = 64;
/// The largest value of an event: sums of it stay exact.
const MAX_VALUE: f64 = 1e9;
/// The largest place of an item in an answer.
const MAX_POSITION: u32 = 1_000_000;
/// The beginning of 1900.
const EARLIEST: Timestamp = Timestamp::constant(-2_208_988_800, 0);
/// How far a sender's clock may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// The item with its labels as the API would keep them.
///
/// # Errors
/// Says which limit is broken.
pub fn item(mut item: Item) -> Result<Item, String> {
    text("title", &item.title, MAX_TITLE_CHARS, false)?;
    if let Some(description) = &item.description {
        text("description", description, MAX_DESCRIPTION_CHARS, true)?;
    }
    if item.released.is_some_and(|day| day.year() < 1) {
        return Err("released lies before the year 1".to_owned());
    }
    labels("genres", &item.genres)?;
    labels("tags", &item.tags)?;
    labels("creators", &item.creators)?;
    if item.attributes.len() > MAX_ATTRIBUTES {
        return Err(format!("attributes are more than {MAX_ATTRIBUTES}"));
    }
    for (name, values) in &item.attributes {
        text("the name of an attribute", name, MAX_ATTRIBUTE_NAME_CHARS, false)?;
        labels(name, values)?;
    }
    let lists = [&mut item.genres, &mut item.tags, &mut item.creators].into_iter();
    for list in lists.chain(item.attributes.values_mut()) {
        *list = tidy_labels(std::mem::take(list));
    }
    Ok(item)
}

/// # Errors
/// Says which limit is broken.
pub fn event(row: EventRow, now: Timestamp) -> Result<EventRow, String> {
    if row.value.is_some_and(|value| value.abs() > MAX_VALUE) {
        return Err(format!("value is larger than {MAX_VALUE}"));
    }
    if row.position.is_some_and(|position| position > MAX_POSITION) {
        return Err(format!("position is larger than {MAX_POSITION}"));
    }
    if row.at.is_some_and(|at| at < EARLIEST) {
        return Err("the time lies before the year 1900".to_owned());
    }
    if row.at.is_some_and(|at| at.duration_since(now) > AHEAD) {
        return Err("the time lies more than a day ahead".to_owned());
    }
    Ok(row)
}

/// A value on the scale of ratings: 0 is on every scale, as "none of it".
///
/// # Errors
/// Says that it is not.
pub fn rating(value: f64, name: &str, [lowest, highest]: [f64; 2]) -> Result<f64, String> {
    let lowest = lowest.min(0.0);
    if (lowest..=highest).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{name} `{value}` is not within {lowest} to {highest}"))
    }
}

/// A value that a kind of interaction has, needs, or must not have.
///
/// # Errors
/// Says what is wrong with it.
pub fn value(kind: InteractionKind, value: Option<f64>, scale: [f64; 2]) -> Result<Option<f64>, String> {
    match value {
        None if kind.needs_value() => Err(format!("value is missing: a {kind} means nothing without it")),
        None => Ok(None),
        Some(value) if kind == InteractionKind::Rating => rating(value, "value", scale).map(Some),
        Some(value) if value < 0.0 => Err(format!("value `{value}` is below 0")),
        Some(value) => Ok(Some(value)),
    }
}

fn labels(name: &str, labels: &[String]) -> Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("{name} has more than {MAX_LABELS} entries"));
    }
    labels.iter().try_for_each(|label| text(name, label, MAX_LABEL_CHARS, false))
}

fn text(name: &str, text: &str, most: usize, lines: bool) -> Result<(), String> {
    // A text that may have lines may be blank as well.
    if text.is_empty() || !lines && text.trim().is_empty() {
        return Err(format!("{name} holds an empty text"));
    }
    if text.chars().count() > most {
        return Err(format!("{name} `{}` is longer than {most} characters", short(text)));
    }
    if text.chars().any(|c| c.is_control() && !(lines && matches!(c, '\n' | '\r' | '\t'))) {
        return Err(format!("{name} `{}` holds a control character", short(text).escape_debug()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Domain, ItemId, UserId};

    fn plain() -> Item {
        Item {
            id: ItemId::new("a").unwrap(),
            domain: Domain::new("movie").unwrap(),
            title: "A".to_owned(),
            genres: Vec::new(),
            tags: Vec::new(),
            description: None,
            creators: Vec::new(),
            released: None,
            attributes: std::collections::BTreeMap::new(),
            available: true,
        }
    }

    #[test]
    fn labels_are_kept_as_by_the_api() {
        let labels = |labels: &[&str]| labels.iter().map(|&label| label.to_owned()).collect::<Vec<_>>();
        let attributes = std::collections::BTreeMap::from([("language".to_owned(), labels(&["de ", "de"]))]);
        let kept = item(Item { genres: labels(&[" rock ", "jazz", "rock"]), attributes, ..plain() }).unwrap();
        assert_eq!((kept.genres, &kept.attributes["language"]), (labels(&["rock", "jazz"]), &labels(&["de"])));
        for blank in [
            Item { tags: labels(&["a", "\u{3000}"]), ..plain() },
            Item { title: " ".to_owned(), ..plain() },
            Item { creators: labels(&[""]), ..plain() },
        ] {
            assert!(item(blank).unwrap_err().ends_with("holds an empty text"));
        }
        assert!(item(Item { description: Some(" ".to_owned()), ..plain() }).is_ok());
    }

    #[test]
    fn days_and_places_are_bounded_as_in_the_api() {
        let released = |year: i16| item(Item { released: Some(jiff::civil::date(year, 1, 1)), ..plain() });
        assert!(released(1).is_ok());
        assert_eq!(released(0).unwrap_err(), "released lies before the year 1");
        let at = |position: u32| {
            let (user, of) = (UserId::new("u").unwrap(), ItemId::new("a").unwrap());
            let row = EventRow::new(user, of, InteractionKind::View, None);
            event(EventRow { position: Some(position), ..row }, Timestamp::UNIX_EPOCH)
        };
        assert!(at(1_000_000).is_ok());
        assert_eq!(at(1_000_001).unwrap_err(), "position is larger than 1000000");
    }
}
