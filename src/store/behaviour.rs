//! Behaviour: the log of events, and what it says about one person.

use jiff::Timestamp;

use super::shared::{TENANT, id, micros, timestamp, unreadable};
use super::{Appended, BehaviourStore, Erasure, Result, StoredEvent, UserHistory};
use crate::domain::{Behaviour, Event, InteractionKind, UserId};

/// The place of the newest event in the log, also when it was erased since: an acknowledged watermark stays reached.
/// Places are given out before commit, so on Postgres a smaller one may still become visible; but an event that was
/// acknowledged is visible, and a watermark promises no more than that. (`sequence > 0` makes SQLite go along the log.)
const WATERMARK: &str = "SELECT coalesce(max(place), 0) FROM (
    SELECT (SELECT sequence FROM events WHERE tenant = $1 AND sequence > 0 ORDER BY sequence DESC LIMIT 1) AS place
    UNION ALL SELECT sequence FROM erased WHERE tenant = $1) AS places";

/// What history needs of one stored event.
pub(super) struct Row {
    pub item_id: String,
    pub kind: InteractionKind,
    pub value: Option<f64>,
    pub at: i64,
    pub sequence: i64,
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

type EventRow = (i64, String, String, Option<f64>, i64, Option<String>, Option<String>, Option<i64>);

/// The same behind a user id.
type LogRow = (String, i64, String, String, Option<f64>, i64, Option<String>, Option<String>, Option<i64>);

fn stored_event(user_id: &UserId, row: EventRow) -> Result<StoredEvent> {
    let (sequence, item_id, kind, value, at, event_id, recommendation_id, position) = row;
    let event = Event {
        event_id: event_id.map(id).transpose()?,
        user_id: user_id.clone(),
        item_id: id(item_id)?,
        kind: kind_of(&kind)?,
        value,
        at: timestamp(at)?,
        recommendation_id: recommendation_id.map(id).transpose()?,
        position: position.map(u32::try_from).transpose().map_err(|_| unreadable("position"))?,
    };
    Ok(StoredEvent { sequence, event })
}

/// The answer for a batch of `given` events, of which some were inserted, the last at the place `newest`.
async fn appended(store: &impl BehaviourStore, given: usize, inserted: (u64, Option<i64>)) -> Result<Appended> {
    let (accepted, newest) = inserted;
    // With nothing new, all of them were there before: the newest place in the log includes them.
    let watermark = match newest {
        Some(newest) => newest,
        None => store.watermark().await?,
    };
    Ok(Appended { accepted, duplicates: (given as u64).saturating_sub(accepted), watermark })
}

for_both_databases! {
impl BehaviourStore {
    async fn append_events(&self, events: &[Event]) -> Result<Appended> {
        let inserted = self.insert(events).await?;
        appended(self, events.len(), inserted).await
    }

    async fn load_events(&self, events: &[Event]) -> Result<Appended> {
        let inserted = self.load(events).await?;
        appended(self, events.len(), inserted).await
    }

    async fn history(&self, user: &UserId) -> Result<Vec<Behaviour>> {
        summed(self.interactions(user).await?)
    }

    async fn histories(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserHistory>> {
        // No id is empty, so all come after the empty text.
        let people = self.interactions_by_user(after.map_or("", UserId::as_str), limit).await?;
        people.into_iter().map(|(user, rows)| Ok((id(user)?, summed(rows)?))).collect()
    }

    async fn watermark(&self) -> Result<i64> {
        Ok(sqlx::query_scalar(WATERMARK).bind(TENANT).fetch_one(&self.pool).await?)
    }

    async fn user_events(
        &self,
        user: &UserId,
        before: Option<(Timestamp, i64)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>> {
        let (at, sequence) = before.map_or((i64::MAX, i64::MAX), |(at, sequence)| (micros(at), sequence));
        let rows: Vec<EventRow> = sqlx::query_as(
            "SELECT sequence, item_id, kind, value, at, event_id, recommendation_id, position FROM events
             WHERE tenant = $1 AND user_id = $2 AND (at, sequence) < ($3, $4)
             ORDER BY at DESC, sequence DESC LIMIT $5",
        )
        .bind(TENANT)
        .bind(user.as_str())
        .bind(at)
        .bind(sequence)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|row| stored_event(user, row)).collect()
    }

    async fn events(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>> {
        let rows: Vec<LogRow> = sqlx::query_as(
            "SELECT user_id, sequence, item_id, kind, value, at, event_id, recommendation_id, position FROM events
             WHERE tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        )
        .bind(TENANT)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(user, a, b, c, d, e, f, g, h)| stored_event(&id(user)?, (a, b, c, d, e, f, g, h)))
            .collect()
    }

    async fn erase_user(&self, user: &UserId) -> Result<Erasure> {
        let mut tx = self.begin().await?;
        let erased: Vec<i64> =
            sqlx::query_scalar("DELETE FROM events WHERE tenant = $1 AND user_id = $2 RETURNING sequence")
                .bind(TENANT)
                .bind(user.as_str())
                .fetch_all(&mut *tx)
                .await?;
        if let Some(newest) = erased.iter().max() {
            sqlx::query(
                "INSERT INTO erased (tenant, sequence) VALUES ($1, $2) ON CONFLICT (tenant)
                 DO UPDATE SET sequence = excluded.sequence WHERE erased.sequence < excluded.sequence",
            )
            .bind(TENANT)
            .bind(*newest)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(Erasure { events: erased.len() as u64 })
    }

    async fn merge_users(&self, from: &UserId, into: &UserId) -> Result<u64> {
        if from == into {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        let moved = sqlx::query("UPDATE events SET user_id = $3 WHERE tenant = $1 AND user_id = $2")
            .bind(TENANT)
            .bind(from.as_str())
            .bind(into.as_str())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        tx.commit().await?;
        Ok(moved)
    }

    async fn count_events(&self) -> Result<u64> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE tenant = $1")
            .bind(TENANT)
            .fetch_one(&self.pool)
            .await?;
        Ok(count.unsigned_abs())
    }
}
}
