//! Behaviour: the log of events, and what it says about one person.

use std::borrow::Cow;

use jiff::Timestamp;
use sqlx::Row as _;

use super::history::{kind_of, opened as opened_history, summed};
use super::people::{People as _, opened, pseudonyms};
use super::sealing::{Person, Pseudonym, Sealer, sealed_kind};
use super::shared::{Lock, id, micros, timestamp, unreadable};
use super::{Appended, BehaviourStore, Erasure, Result, StoredEvent, StoredHistory, UserHistory};
use crate::domain::{Behaviour, Event, UserId};

/// The place of the newest event in the log, also when it was erased since: an acknowledged watermark stays reached.
/// Places are given out before commit, so on Postgres a smaller one may still become visible; but an event that was
/// acknowledged is visible, and a watermark promises no more than that. (`sequence > 0` makes SQLite go along the log.)
pub(super) const WATERMARK: &str = "SELECT coalesce(max(place), 0) FROM (
    SELECT (SELECT sequence FROM events WHERE tenant = $1 AND sequence > 0 ORDER BY sequence DESC LIMIT 1) AS place
    UNION ALL SELECT sequence FROM erased WHERE tenant = $1) AS places";

/// An event as it is written.
pub(super) struct NewRow<'a> {
    pub user_id: Cow<'a, str>,
    pub item_id: Cow<'a, str>,
    pub kind: &'static str,
    pub value: Option<f64>,
    pub at: i64,
    pub event_id: Option<Cow<'a, str>>,
    pub recommendation_id: Option<&'a str>,
    pub position: Option<u32>,
}

impl<'a> NewRow<'a> {
    fn plain(event: &'a Event) -> Self {
        Self {
            user_id: event.user_id.as_str().into(),
            item_id: event.item_id.as_str().into(),
            kind: event.kind.as_str(),
            value: event.value,
            at: micros(event.at),
            event_id: event.event_id.as_ref().map(|id| id.as_str().into()),
            recommendation_id: event.recommendation_id.as_ref().map(|id| id.as_str()),
            position: event.position,
        }
    }

    /// Pseudonyms, and one sealed text that holds everything; the time as well, so it is the same for all.
    pub(super) fn sealed(sealer: &Sealer, person: &Person, event: &Event) -> Result<Self> {
        Ok(Self {
            user_id: person.pseudonym.0.clone().into(),
            item_id: person.seal(event)?.into(),
            kind: sealed_kind(event.kind),
            value: None,
            at: 0,
            event_id: sealer.event_id(event).map(Cow::from),
            recommendation_id: None,
            position: None,
        })
    }
}

/// Reads a row of the log; `person`: whose key it is sealed under.
pub(super) fn logged<'r, R: sqlx::Row>(row: &'r R, person: Option<&Person>) -> Result<StoredEvent>
where
    &'static str: sqlx::ColumnIndex<R>,
    String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    f64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let sequence = row.try_get("sequence")?;
    let item_id: String = row.try_get("item_id")?;
    if let Some(person) = person {
        return Ok(StoredEvent { sequence, event: person.open(&item_id)? });
    }
    let optional = |column: &'static str| row.try_get::<Option<String>, _>(column);
    let position: Option<i64> = row.try_get("position")?;
    let event = Event {
        event_id: optional("event_id")?.map(id).transpose()?,
        user_id: id(row.try_get("user_id")?)?,
        item_id: id(item_id)?,
        kind: kind_of(&row.try_get::<String, _>("kind")?)?,
        value: row.try_get("value")?,
        at: timestamp(row.try_get("at")?)?,
        recommendation_id: optional("recommendation_id")?.map(id).transpose()?,
        position: position.map(u32::try_from).transpose().map_err(|_| unreadable("position"))?,
    };
    Ok(StoredEvent { sequence, event })
}

/// What stands for a person in the database.
fn stored_id(sealer: Option<&Sealer>, user: &UserId) -> String {
    sealer.map_or_else(|| user.as_str().to_owned(), |sealer| sealer.pseudonym(user).0)
}

/// All events of one person, with their key.
const SEALED_EVENTS: &str = "SELECT sequence, item_id,
        (SELECT sealed FROM people WHERE tenant = $1 AND user_id = $2) AS sealed
    FROM events WHERE tenant = $1 AND user_id = $2";

/// How a batch is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Insertion {
    /// While others insert as well.
    Beside,
    /// The same events in two batches, in another order, wait for each other: the database ends one of them, and that one has the table to itself then.
    Alone,
    /// By the fastest way the database has.
    Bulk,
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
        let inserted = match self.sealer().await? {
            None => {
                let rows: Vec<NewRow<'_>> = events.iter().map(NewRow::plain).collect();
                match self.insert(&rows).await {
                    Err(error) if error.is_deadlock() => {
                        let mut tx = self.begin().await?;
                        self.lock_events(&mut tx).await?;
                        self.still_clear(&mut tx).await?;
                        let inserted = self.insert_in(&mut tx, &rows).await?;
                        tx.commit().await?;
                        inserted
                    }
                    inserted => inserted?,
                }
            }
            Some(sealer) => match self.insert_sealed(sealer, events, Insertion::Beside).await {
                Err(error) if error.is_deadlock() => self.insert_sealed(sealer, events, Insertion::Alone).await?,
                inserted => inserted?,
            },
        };
        appended(self, events.len(), inserted).await
    }

    async fn load_events(&self, events: &[Event]) -> Result<Appended> {
        let inserted = match self.sealer().await? {
            None => self.load(&events.iter().map(NewRow::plain).collect::<Vec<_>>()).await?,
            Some(sealer) => self.insert_sealed(sealer, events, Insertion::Bulk).await?,
        };
        appended(self, events.len(), inserted).await
    }

    async fn read_history(&self, user: &UserId) -> Result<StoredHistory> {
        let _turn = self.turn().await;
        match self.sealer().await? {
            None => self.interactions(user).await,
            Some(sealer) => self.sealed_interactions(sealer, user).await,
        }
    }

    fn open_history(&self, user: &UserId, stored: &StoredHistory) -> Result<Vec<Behaviour>> {
        opened_history(self.vault.open(), user, stored)
    }

    async fn histories(&self, after: Option<&UserId>, limit: u32) -> Result<Vec<UserHistory>> {
        let sealer = self.sealer().await?;
        // No id is empty, so all come after the empty text.
        let after = after.map_or_else(String::new, |user| stored_id(sealer, user));
        if let Some(sealer) = sealer {
            let people = self.sealed_interactions_by_user(sealer, &after, limit).await?;
            return people.into_iter().map(|(user, rows)| Ok((user, summed(rows)?))).collect();
        }
        let people = self.interactions_by_user(&after, limit).await?;
        people.into_iter().map(|(user, rows)| Ok((id(user)?, summed(rows)?))).collect()
    }

    async fn watermark(&self) -> Result<i64> {
        Ok(sqlx::query_scalar(WATERMARK).bind(self.tenant.as_str()).fetch_one(&self.pool).await?)
    }

    async fn user_events(
        &self,
        user: &UserId,
        before: Option<(Timestamp, i64)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>> {
        let newest = (i64::MAX, i64::MAX);
        let (at, sequence) = before.map_or(newest, |(at, sequence)| (micros(at), sequence));
        let Some(sealer) = self.sealer().await? else {
            let rows = sqlx::query(
                "SELECT user_id, sequence, item_id, kind, value, at, event_id, recommendation_id, position FROM events
                 WHERE tenant = $1 AND user_id = $2 AND (at, sequence) < ($3, $4)
                 ORDER BY at DESC, sequence DESC LIMIT $5",
            )
            .bind(self.tenant.as_str())
            .bind(user.as_str())
            .bind(at)
            .bind(sequence)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            if rows.is_empty() {
                self.still_clear(&mut *self.pool.acquire().await?).await?;
            }
            return rows.iter().map(|row| logged(row, None)).collect();
        };
        // The times are sealed: all of this person's events are read to put them in order.
        let rows = sqlx::query(SEALED_EVENTS).bind(self.tenant.as_str()).bind(sealer.pseudonym(user).0).fetch_all(&self.pool).await?;
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let person = sealer.person(&sealer.pseudonym(user), &first.try_get::<Vec<u8>, _>("sealed")?)?;
        let mut events = rows.iter().map(|row| logged(row, Some(&person))).collect::<Result<Vec<_>>>()?;
        let place = |stored: &StoredEvent| (micros(stored.event.at), stored.sequence);
        events.retain(|stored| place(stored) < (at, sequence));
        events.sort_unstable_by_key(|stored| std::cmp::Reverse(place(stored)));
        events.truncate(limit as usize);
        Ok(events)
    }

    async fn events(&self, after: i64, limit: u32) -> Result<Vec<StoredEvent>> {
        let sealer = self.sealer().await?;
        let rows = sqlx::query(
            "SELECT events.user_id, sequence, item_id, kind, value, at, event_id, recommendation_id, position, people.sealed
             FROM events LEFT JOIN people ON people.tenant = events.tenant AND people.user_id = events.user_id
             WHERE events.tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push(match sealer {
                None => logged(row, None)?,
                Some(sealer) => {
                    let pseudonym = Pseudonym(row.try_get("user_id")?);
                    logged(row, Some(&sealer.person(&pseudonym, &row.try_get::<Vec<u8>, _>("sealed")?)?))?
                }
            });
        }
        Ok(events)
    }

    async fn erase_user(&self, user: &UserId) -> Result<Erasure> {
        let sealer = self.sealer().await?;
        let user = stored_id(sealer, user);
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::People).await?;
        if sealer.is_none() {
            self.still_clear(&mut tx).await?;
        }
        sqlx::query("DELETE FROM people WHERE tenant = $1 AND user_id = $2")
            .bind(self.tenant.as_str())
            .bind(&user)
            .execute(&mut *tx)
            .await?;
        let erased: Vec<i64> =
            sqlx::query_scalar("DELETE FROM events WHERE tenant = $1 AND user_id = $2 RETURNING sequence")
                .bind(self.tenant.as_str())
                .bind(&user)
                .fetch_all(&mut *tx)
                .await?;
        if let Some(newest) = erased.iter().max() {
            sqlx::query(
                "INSERT INTO erased (tenant, sequence) VALUES ($1, $2) ON CONFLICT (tenant)
                 DO UPDATE SET sequence = excluded.sequence WHERE erased.sequence < excluded.sequence",
            )
            .bind(self.tenant.as_str())
            .bind(*newest)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        self.overwrite_erased().await;
        Ok(Erasure { events: erased.len() as u64 })
    }

    async fn merge_users(&self, from: &UserId, into: &UserId) -> Result<u64> {
        if from == into {
            return Ok(0);
        }
        let sealer = self.sealer().await?;
        let mut tx = self.begin().await?;
        self.lock(&mut tx, Lock::People).await?;
        if let Some(sealer) = sealer {
            let wanted = pseudonyms(sealer, [from, into].into_iter());
            let people = opened(sealer, self.hold_people(&mut tx, sealer, &wanted).await?)?;
            let person = |user| people.get(user).ok_or_else(|| unreadable("person"));
            let (old, new) = (person(from)?, person(into)?);
            sqlx::query("DELETE FROM people WHERE tenant = $1 AND user_id = $2")
                .bind(self.tenant.as_str())
                .bind(&old.pseudonym.0)
                .execute(&mut *tx)
                .await?;
            let rows = sqlx::query("SELECT sequence, item_id FROM events WHERE tenant = $1 AND user_id = $2")
                .bind(self.tenant.as_str())
                .bind(&old.pseudonym.0)
                .fetch_all(&mut *tx)
                .await?;
            for row in &rows {
                let stored = logged(row, Some(old))?;
                let event = Event { user_id: into.clone(), ..stored.event };
                sqlx::query("UPDATE events SET user_id = $3, item_id = $4 WHERE tenant = $1 AND sequence = $2")
                    .bind(self.tenant.as_str())
                    .bind(stored.sequence)
                    .bind(&new.pseudonym.0)
                    .bind(new.seal(&event)?)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            return Ok(rows.len() as u64);
        }
        self.still_clear(&mut tx).await?;
        let moved = sqlx::query("UPDATE events SET user_id = $3 WHERE tenant = $1 AND user_id = $2")
            .bind(self.tenant.as_str())
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
            .bind(self.tenant.as_str())
            .fetch_one(&self.pool)
            .await?;
        Ok(count.unsigned_abs())
    }
}
}
