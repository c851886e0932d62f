//! An event as a file has it, and the name it gets, so that importing the file again changes nothing.

use std::collections::HashMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::domain::{Event, EventId, InteractionKind, ItemId, RecommendationId, UserId};

use super::Format;

/// An event of a file: it may have neither name nor time.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    pub event_id: Option<EventId>,
    pub user_id: UserId,
    pub item_id: ItemId,
    pub kind: InteractionKind,
    pub value: Option<f64>,
    pub at: Option<Timestamp>,
    pub recommendation_id: Option<RecommendationId>,
    pub position: Option<u32>,
}

impl EventRow {
    #[must_use]
    pub fn new(user_id: UserId, item_id: ItemId, kind: InteractionKind, value: Option<f64>) -> Self {
        Self { event_id: None, user_id, item_id, kind, value, at: None, recommendation_id: None, position: None }
    }
}

/// Gives rows without a name one that is made of their content.
///
/// A row with a time that stands in a file twice is one event, told twice. A row without a time is a count or a plain
/// mention; equal ones are different events and are told apart by their order.
pub struct Namer {
    format: Format,
    /// When rows without a time happened.
    default_at: Timestamp,
    /// How often a row without a time has been seen, by the first bytes of its digest. Two rows of different content that
    /// share these bytes merely count on from one another.
    seen: HashMap<u64, u32>,
}

impl Namer {
    #[must_use]
    pub fn new(format: Format, default_at: Timestamp) -> Self {
        Self { format, default_at, seen: HashMap::new() }
    }

    /// The event with name and time.
    ///
    /// # Errors
    /// Does not happen: the name is a valid id.
    pub fn name(&mut self, row: EventRow) -> Result<Event, String> {
        let event_id = match row.event_id {
            Some(id) => id,
            None => EventId::new(self.digest(&row)).map_err(|error| format!("event_id {error}"))?,
        };
        Ok(Event {
            event_id: Some(event_id),
            user_id: row.user_id,
            item_id: row.item_id,
            kind: row.kind,
            value: row.value,
            at: row.at.unwrap_or(self.default_at),
            recommendation_id: row.recommendation_id,
            position: row.position,
        })
    }

    fn digest(&mut self, row: &EventRow) -> String {
        let mut content = Sha256::new();
        // Ids hold no control characters, so that a separator cannot be part of one.
        for part in [self.format.as_str(), row.user_id.as_str(), row.item_id.as_str(), row.kind.as_str()] {
            content.update(part.as_bytes());
            content.update([0]);
        }
        content.update(row.value.map_or([0xff; 8], f64::to_be_bytes));
        if let Some(at) = row.at {
            content.update(at.as_microsecond().to_be_bytes());
        } else {
            let digest = content.clone().finalize();
            let start = digest.iter().take(8).fold(0_u64, |sum, &byte| (sum << 8) | u64::from(byte));
            let count = self.seen.entry(start).or_default();
            *count += 1;
            content.update(count.to_be_bytes());
        }
        content.finalize().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(user: &str, at: Option<i64>) -> EventRow {
        let mut row = EventRow::new(
            UserId::new(user).unwrap(),
            ItemId::new("steam:dota-2").unwrap(),
            InteractionKind::Playtime,
            Some(1.7),
        );
        row.at = at.map(|second| Timestamp::from_second(second).unwrap());
        row
    }

    #[test]
    fn names_follow_content_and_tell_untimed_repetitions_apart() {
        let names = |rows: &[EventRow]| {
            let mut namer = Namer::new(Format::Steam, Timestamp::UNIX_EPOCH);
            rows.iter().map(|row| namer.name(row.clone()).unwrap().event_id.unwrap()).collect::<Vec<_>>()
        };
        let rows = [row("1", None), row("1", None), row("2", None), row("1", Some(5)), row("1", Some(5))];
        let first = names(&rows);
        assert_eq!(first, names(&rows), "the same file gives the same names");
        assert_ne!(first[0], first[1], "without a time: two events");
        assert_ne!(first[0], first[2]);
        assert_ne!(first[0], first[3]);
        assert_eq!(first[3], first[4], "with a time: one event");
    }
}
