//! One person's behaviour: from what the database gives to what the engine takes.

use super::Result;
use super::sealing::{Pseudonym, Sealer};
use super::shared::{id, timestamp, unreadable};
use crate::domain::{Behaviour, InteractionKind, UserId};

/// One person's behaviour as the database gives it. The same bytes say the same: what has been answered to them is found again without reading them or, where they are
/// sealed, opening them.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum StoredHistory {
    /// Nothing.
    #[default]
    Empty,
    /// All of it as one text, from SQLite.
    Text(String),
    /// From Postgres.
    Lists(Lists),
    /// The sealed key of the person, and their sealed events.
    Sealed(Vec<u8>, String),
}

/// Items and kinds, values, times in microseconds since 1970, and places in the log, one of each for each event. Lists in one row, as a row for each event costs two to three times
/// as much; items and kinds with tabs between them (they hold no control characters), as arrays of text cost half as much again.
pub type Lists = (String, String, Vec<Option<f64>>, Vec<i64>, Vec<i64>);

impl StoredHistory {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Gives the bytes to `with`, part by part.
    pub fn each_part(&self, mut with: impl FnMut(&[u8])) {
        match self {
            Self::Empty => {}
            Self::Text(text) => with(text.as_bytes()),
            Self::Lists((items, kinds, values, ats, sequences)) => {
                with(items.as_bytes());
                with(kinds.as_bytes());
                let numbers = values.iter().zip(ats).zip(sequences).flat_map(|((value, at), sequence)| {
                    // No value is this number that is none.
                    [value.map_or([0xff; 8], f64::to_le_bytes), at.to_le_bytes(), sequence.to_le_bytes()]
                });
                with(&numbers.flatten().collect::<Vec<u8>>());
            }
            Self::Sealed(key, events) => {
                with(key);
                with(events.as_bytes());
            }
        }
    }
}

/// What a history says, summed up. `sealer`: that of the tenant, where behaviour is encrypted.
pub(super) fn opened(sealer: Option<&Sealer>, user: &UserId, stored: &StoredHistory) -> Result<Vec<Behaviour>> {
    summed(match stored {
        StoredHistory::Empty => Vec::new(),
        StoredHistory::Text(text) => of_text(text)?,
        StoredHistory::Lists(lists) => of_lists(lists)?,
        StoredHistory::Sealed(key, events) => {
            let sealer = sealer.ok_or_else(|| unreadable("history without its key"))?;
            unsealed(sealer, sealer.pseudonym(user).0, key, events)?.1
        }
    })
}

/// What history needs of one stored event.
pub(super) struct Row {
    pub item_id: String,
    pub kind: InteractionKind,
    pub value: Option<f64>,
    pub at: i64,
    pub sequence: i64,
}

/// What SQLite's text has values in, where they are whole then. A power of two: to multiply with it and divide by it again changes nothing.
pub(super) const VALUE_PARTS: f64 = 1024.0;

/// Reads SQLite's text.
pub(super) fn of_text(text: &str) -> Result<Vec<Row>> {
    type Written<'a> = (String, &'a str, Option<f64>, Option<&'a str>, i64, i64);
    let events: Vec<Written<'_>> = serde_json::from_str(text).map_err(|_| unreadable("history"))?;
    let row = |(item_id, kind, parts, quoted, at, sequence): Written<'_>| {
        let value = match (parts, quoted) {
            (Some(parts), _) => Some(parts / VALUE_PARTS),
            (None, Some("NULL") | None) => None,
            (None, Some(number)) => Some(number.parse().map_err(|_| unreadable("value"))?),
        };
        Ok(Row { item_id, kind: kind_of(kind)?, value, at, sequence })
    };
    events.into_iter().map(row).collect()
}

/// Reads Postgres' lists.
pub(super) fn of_lists((items, kinds, values, ats, sequences): &Lists) -> Result<Vec<Row>> {
    let (items, kinds) = (items.split('\t'), kinds.split('\t'));
    let numbers = values.iter().zip(ats).zip(sequences);
    items
        .zip(kinds)
        .zip(numbers)
        .map(|((item_id, kind), ((&value, &at), &sequence))| {
            Ok(Row { item_id: item_id.to_owned(), kind: kind_of(kind)?, value, at, sequence })
        })
        .collect()
}

/// Opens the events of one person, which the database gives as one text: a row for each event costs more than opening it.
pub(super) fn unsealed(sealer: &Sealer, pseudonym: String, sealed: &[u8], texts: &str) -> Result<(UserId, Vec<Row>)> {
    let person = sealer.person(&Pseudonym(pseudonym), sealed)?;
    let read = |text: &str| {
        let (text, sequence) = text.split_once(':').ok_or_else(|| unreadable("event"))?;
        let (item_id, kind, value, at) = person.open_behaviour(text)?;
        Ok(Row { item_id, kind, value, at, sequence: sequence.parse().map_err(|_| unreadable("event"))? })
    };
    let rows = texts.split(' ').map(read).collect::<Result<_>>()?;
    Ok((person.user_id, rows))
}

pub(super) fn kind_of(text: &str) -> Result<InteractionKind> {
    text.parse().map_err(|_| unreadable("type of interaction"))
}

/// Sums up the events of one person, in any order, by item and kind. It is done here and not by the databases, because
/// they add floating-point numbers in different ways, and both must give the same answer to the last bit.
pub(super) fn summed(mut rows: Vec<Row>) -> Result<Vec<Behaviour>> {
    rows.sort_unstable_by(|a, b| a.item_id.cmp(&b.item_id).then(a.kind.cmp(&b.kind)).then(a.sequence.cmp(&b.sequence)));
    let mut summed: Vec<Behaviour> = Vec::with_capacity(rows.len());
    for row in rows {
        let amount = row.value.unwrap_or(1.0);
        let last_at = timestamp(row.at)?;
        match summed.last_mut().filter(|last| last.kind == row.kind && last.item_id.as_str() == row.item_id) {
            Some(entry) => {
                entry.count = entry.count.saturating_add(1);
                entry.total += amount;
                // Of two events at the same time, the later one in the log is the newest.
                if last_at >= entry.last_at {
                    entry.last_at = last_at;
                    entry.last_value = row.value;
                }
            }
            None => summed.push(Behaviour {
                item_id: id(row.item_id)?,
                kind: row.kind,
                count: 1,
                total: amount,
                last_value: row.value,
                last_at,
            }),
        }
    }
    Ok(summed)
}
