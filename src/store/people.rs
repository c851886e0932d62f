//! The keys of encryption at rest: the tenant's, and everybody's own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::behaviour::{Insertion, NewRow, WATERMARK};
use super::history::{Row, StoredHistory, unsealed};
use super::sealing::{MasterKey, Person, Pseudonym, Sealer};
use super::shared::{needs_master_key, unreadable};
use super::{Result, Store as _, StoreError};
use crate::domain::{Event, UserId};

/// So many events are encrypted at once.
const PAGE: u32 = 5_000;

/// The master key that a store was opened with, and what it opened.
pub(super) struct Vault {
    master: Option<Arc<MasterKey>>,
    /// Set with the first use; `None` in it: behaviour is not encrypted.
    sealer: OnceCell<Option<Sealer>>,
}

impl Vault {
    pub(super) fn new(master: Option<Arc<MasterKey>>) -> Self {
        Self { master, sealer: OnceCell::new() }
    }

    /// What seals behaviour, if that is known already and it is sealed.
    pub(super) fn open(&self) -> Option<&Sealer> {
        self.sealer.get()?.as_ref()
    }

    /// That of another tenant, under the same master key.
    pub(super) fn of_another(&self) -> Self {
        Self::new(self.master.clone())
    }
}

/// What the other parts of the store ask for.
#[async_trait]
pub(super) trait People {
    /// What seals behaviour, where it is encrypted.
    async fn sealer(&self) -> Result<Option<&Sealer>>;
    /// Inserts events, each sealed under the key of its person: how many were new, and the place of the last.
    async fn insert_sealed(&self, sealer: &Sealer, events: &[Event], how: Insertion) -> Result<(u64, Option<i64>)>;
    /// What one person did, impressions left out.
    async fn sealed_interactions(&self, sealer: &Sealer, user: &UserId) -> Result<StoredHistory>;
    /// The same for the `limit` people whose pseudonyms come after this one, in the order of their pseudonyms.
    async fn sealed_interactions_by_user(
        &self,
        sealer: &Sealer,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(UserId, Vec<Row>)>>;
}

/// These people by their pseudonyms, each once.
pub(super) fn pseudonyms<'a>(
    sealer: &Sealer,
    users: impl Iterator<Item = &'a UserId>,
) -> BTreeMap<Pseudonym, &'a UserId> {
    let users: HashSet<&UserId> = users.collect();
    users.into_iter().map(|user| (sealer.pseudonym(user), user)).collect()
}

/// Opens people as they stand in the database.
pub(super) fn opened(sealer: &Sealer, stored: Vec<(String, Vec<u8>)>) -> Result<HashMap<UserId, Person>> {
    let open = |(pseudonym, sealed): (String, Vec<u8>)| {
        let person = sealer.person(&Pseudonym(pseudonym), &sealed)?;
        Ok((person.user_id.clone(), person))
    };
    stored.into_iter().map(open).collect()
}

/// The key of some tenant.
const ANY_KEY: &str = "SELECT tenant, sealed FROM tenant_keys LIMIT 1";

/// A tenant's new key, sealed, provided that the master key opens that of another, if there is one: all have the same, or none could be changed any more.
fn new_key(master: &MasterKey, tenant: &str, other: Option<(String, Vec<u8>)>) -> Result<Vec<u8>> {
    if let Some((other, sealed)) = other {
        master.sealer(&other, &sealed)?;
    }
    master.new_tenant(tenant)
}

/// Seals an event under the key of its person, who is among these.
fn row<'a>(sealer: &Sealer, people: &HashMap<UserId, Person>, event: &Event) -> Result<NewRow<'a>> {
    let person = people.get(&event.user_id).ok_or_else(|| unreadable("person"))?;
    NewRow::sealed(sealer, person, event)
}

for_both_databases! {
impl People {
    async fn sealer(&self) -> Result<Option<&Sealer>> {
        let unlock = || async {
            let stored: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM tenant_keys WHERE tenant = $1")
                .bind(self.tenant.as_str())
                .fetch_optional(&self.pool)
                .await?;
            match (&self.vault.master, stored) {
                (None, None) => {
                    // That of another tenant is enough: all of them are.
                    let is_sealed: bool =
                        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tenant_keys)").fetch_one(&self.pool).await?;
                    if is_sealed { Err(needs_master_key()) } else { Ok(None) }
                }
                (None, Some(_)) => Err(needs_master_key()),
                (Some(master), Some(stored)) => master.sealer(self.tenant.as_str(), &stored).map(Some),
                (Some(master), None) => {
                    let mut tx = self.begin().await?;
                    // Another replica may be at it: whoever is second finds the key of the first.
                    self.lock_events(&mut tx).await?;
                    let stored: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM tenant_keys WHERE tenant = $1")
                        .bind(self.tenant.as_str())
                        .fetch_optional(&mut *tx)
                        .await?;
                    let watermark: i64 = sqlx::query_scalar(WATERMARK).bind(self.tenant.as_str()).fetch_one(&mut *tx).await?;
                    let sealed = match stored {
                        Some(stored) => stored,
                        None if watermark > 0 => return Err(StoreError::Failed(
                            "a master key is set, and the behaviour is not encrypted so far: `medley encryption start` does it".to_owned(),
                        )),
                        None => {
                            let other: Option<(String, Vec<u8>)> = sqlx::query_as(ANY_KEY).fetch_optional(&mut *tx).await?;
                            new_key(master, self.tenant.as_str(), other)?
                        }
                    };
                    let sealer = master.sealer(self.tenant.as_str(), &sealed)?;
                    sqlx::query("INSERT INTO tenant_keys (tenant, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                        .bind(self.tenant.as_str())
                        .bind(sealed)
                        .execute(&mut *tx)
                        .await?;
                    tx.commit().await?;
                    Ok(Some(sealer))
                }
            }
        };
        self.vault.sealer.get_or_try_init(unlock).await.map(Option::as_ref)
    }

    async fn insert_sealed(&self, sealer: &Sealer, events: &[Event], how: Insertion) -> Result<(u64, Option<i64>)> {
        let mut tx = self.begin().await?;
        let wanted = pseudonyms(sealer, events.iter().map(|event| &event.user_id));
        let people = opened(sealer, self.hold_people(&mut tx, sealer, &wanted).await?)?;
        let rows = events.iter().map(|event| row(sealer, &people, event)).collect::<Result<Vec<_>>>()?;
        // After the people: whoever erases has them, and then writes to the table.
        if how == Insertion::Alone {
            self.lock_events(&mut tx).await?;
        }
        let inserted = match how {
            Insertion::Bulk => self.load_in(&mut tx, &rows).await?,
            Insertion::Beside | Insertion::Alone => self.insert_in(&mut tx, &rows).await?,
        };
        tx.commit().await?;
        Ok(inserted)
    }

    async fn sealed_interactions(&self, sealer: &Sealer, user: &UserId) -> Result<StoredHistory> {
        let Pseudonym(pseudonym) = sealer.pseudonym(user);
        let found: Option<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT (SELECT sealed FROM people WHERE tenant = $1 AND user_id = $2), string_agg(item_id || ':' || sequence, ' ')
             FROM events WHERE tenant = $1 AND user_id = $2 AND kind = 'sealed' HAVING count(*) > 0",
        )
        .bind(self.tenant.as_str())
        .bind(&pseudonym)
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.map_or(StoredHistory::Empty, |(sealed, texts)| StoredHistory::Sealed(sealed, texts)))
    }

    async fn sealed_interactions_by_user(
        &self,
        sealer: &Sealer,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(UserId, Vec<Row>)>> {
        let mut connection = self.reading_in_order().await?;
        let people: Vec<(String, Vec<u8>, String)> = sqlx::query_as(
            "SELECT user_id, (SELECT sealed FROM people WHERE people.tenant = $1 AND people.user_id = events.user_id),
                string_agg(item_id || ':' || sequence, ' ')
             FROM events WHERE tenant = $1 AND user_id > $2 AND kind = 'sealed' GROUP BY user_id ORDER BY user_id LIMIT $3",
        )
        .bind(self.tenant.as_str())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut *connection)
        .await?;
        let read = |(pseudonym, sealed, texts): (String, Vec<u8>, String)| unsealed(sealer, pseudonym, &sealed, &texts);
        people.into_iter().map(read).collect()
    }
}
}

for_both_databases! {
impl EncryptionStore {
    async fn unlock(&self) -> Result<bool> {
        Ok(self.sealer().await?.is_some())
    }

    async fn encrypt(&self) -> Result<u64> {
        let master = self.vault.master.as_ref().ok_or_else(|| {
            StoreError::Failed("there is no master key (section `encryption` of the settings)".to_owned())
        })?;
        let mut tx = self.begin().await?;
        self.lock_events(&mut tx).await?;
        let other: Option<(String, Vec<u8>)> = sqlx::query_as(ANY_KEY).fetch_optional(&mut *tx).await?;
        let sealed = new_key(master, self.tenant.as_str(), other)?;
        let created = sqlx::query("INSERT INTO tenant_keys (tenant, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(self.tenant.as_str())
            .bind(&sealed)
            .execute(&mut *tx)
            .await?;
        if created.rows_affected() == 0 {
            return Err(StoreError::Conflict("the behaviour is encrypted already".to_owned()));
        }
        let sealer = master.sealer(self.tenant.as_str(), &sealed)?;
        let (mut count, mut place) = (0, 0i64);
        loop {
            let page = sqlx::query(
                "SELECT user_id, sequence, item_id, kind, value, at, event_id, recommendation_id, position FROM events
                 WHERE tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
            )
            .bind(self.tenant.as_str())
            .bind(place)
            .bind(i64::from(PAGE))
            .fetch_all(&mut *tx)
            .await?;
            let events = page.iter().map(|row| super::behaviour::logged(row, None)).collect::<Result<Vec<_>>>()?;
            let Some(last) = events.last() else { break };
            place = last.sequence;
            let wanted = pseudonyms(&sealer, events.iter().map(|stored| &stored.event.user_id));
            let people = opened(&sealer, self.hold_people(&mut tx, &sealer, &wanted).await?)?;
            for stored in &events {
                let row = row(&sealer, &people, &stored.event)?;
                sqlx::query(
                    "UPDATE events SET user_id = $3, item_id = $4, kind = $5, value = NULL, at = $6, event_id = $7,
                     recommendation_id = NULL, position = NULL WHERE tenant = $1 AND sequence = $2",
                )
                .bind(self.tenant.as_str())
                .bind(stored.sequence)
                .bind(&*row.user_id)
                .bind(&*row.item_id)
                .bind(row.kind)
                .bind(row.at)
                .bind(row.event_id.as_deref())
                .execute(&mut *tx)
                .await?;
                count += 1;
            }
        }
        tx.commit().await?;
        // What the rows held before is still in the files, in places that are free now.
        let left = self.compact().await?;
        if !left.is_empty() {
            tracing::warn!(
                statements = left.join("; "),
                "what was in clear may be in the database's files until whoever owns the database has executed these"
            );
        }
        Ok(count)
    }

    async fn change_master_key(&self, new: &MasterKey) -> Result<()> {
        let old = self.vault.master.as_ref().ok_or_else(|| {
            StoreError::Failed("there is no master key (section `encryption` of the settings)".to_owned())
        })?;
        let mut tx = self.begin().await?;
        // All tenants have the one master key, also those that get theirs at this moment.
        self.lock_events(&mut tx).await?;
        let tenants: Vec<(String, Vec<u8>)> =
            sqlx::query_as("SELECT tenant, sealed FROM tenant_keys").fetch_all(&mut *tx).await?;
        if tenants.is_empty() {
            return Err(StoreError::Failed("the behaviour is not encrypted".to_owned()));
        }
        for (tenant, sealed) in tenants {
            let resealed = match old.resealed(&tenant, &sealed, new) {
                Err(_) if new.sealer(&tenant, &sealed).is_ok() => continue,
                resealed => resealed?,
            };
            let changed = sqlx::query("UPDATE tenant_keys SET sealed = $2 WHERE tenant = $1 AND sealed = $3")
                .bind(tenant.as_str())
                .bind(resealed)
                .bind(&sealed)
                .execute(&mut *tx)
                .await?;
            if changed.rows_affected() == 0 {
                return Err(StoreError::Conflict("the master key was changed at the same moment".to_owned()));
            }
        }
        Ok(tx.commit().await?)
    }
}
}
