//! The keys of encryption at rest: the tenant's, and everybody's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::behaviour::NewRow;
use super::sealing::{MasterKey, Person, Pseudonym, Sealer};
use super::shared::TENANT;
use super::{BehaviourStore as _, EncryptionStore, Result, StoreError};
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
}

/// What the other parts of the store ask for.
#[async_trait]
pub(super) trait People {
    /// What seals behaviour, where it is encrypted.
    async fn sealer(&self) -> Result<Option<&Sealer>>;
    /// Inserts events, each sealed under the key of its person: how many were new, and the place of the last.
    async fn insert_sealed(&self, sealer: &Sealer, events: &[Event], bulk: bool) -> Result<(u64, Option<i64>)>;
}

/// The people of these events, by pseudonym: in order, so that two batches never wait for each other.
pub(super) fn pseudonyms<'a>(
    sealer: &Sealer,
    users: impl Iterator<Item = &'a UserId>,
) -> BTreeMap<Pseudonym, &'a UserId> {
    users.map(|user| (sealer.pseudonym(user), user)).collect()
}

/// Opens people as they stand in the database, by pseudonym.
pub(super) fn opened(sealer: &Sealer, stored: Vec<(String, Vec<u8>)>) -> Result<BTreeMap<String, Person>> {
    let open = |(pseudonym, sealed): (String, Vec<u8>)| {
        let pseudonym = Pseudonym(pseudonym);
        Ok((pseudonym.0.clone(), sealer.person(&pseudonym, &sealed)?))
    };
    stored.into_iter().map(open).collect()
}

/// The person's key is held by the transaction that asked for it: it can be gone only when somebody erased them at this very moment.
fn erased_meanwhile() -> StoreError {
    StoreError::Unavailable("a person was erased at the same moment".to_owned())
}

for_both_databases! {
impl People {
    async fn sealer(&self) -> Result<Option<&Sealer>> {
        let unlock = || async {
            let stored: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM tenant_keys WHERE tenant = $1")
                .bind(TENANT)
                .fetch_optional(&self.pool)
                .await?;
            match (&self.vault.master, stored) {
                (None, None) => Ok(None),
                (None, Some(_)) => Err(StoreError::Failed(
                    "its behaviour is encrypted: the master key is needed (section `encryption` of the settings)".to_owned(),
                )),
                (Some(master), Some(stored)) => master.sealer(TENANT, &stored).map(Some),
                (Some(master), None) => {
                    if self.watermark().await? > 0 {
                        return Err(StoreError::Failed(
                            "a master key is set, and the behaviour is not encrypted so far: `medley encrypt` does it".to_owned(),
                        ));
                    }
                    let mut tx = self.begin().await?;
                    sqlx::query("INSERT INTO tenant_keys (tenant, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                        .bind(TENANT)
                        .bind(master.new_tenant(TENANT)?)
                        .execute(&mut *tx)
                        .await?;
                    // Another replica may have been first.
                    let stored: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM tenant_keys WHERE tenant = $1")
                        .bind(TENANT)
                        .fetch_one(&mut *tx)
                        .await?;
                    tx.commit().await?;
                    master.sealer(TENANT, &stored).map(Some)
                }
            }
        };
        self.vault.sealer.get_or_try_init(unlock).await.map(Option::as_ref)
    }

    async fn insert_sealed(&self, sealer: &Sealer, events: &[Event], bulk: bool) -> Result<(u64, Option<i64>)> {
        let mut tx = self.begin().await?;
        let wanted = pseudonyms(sealer, events.iter().map(|event| &event.user_id));
        let people = opened(sealer, self.hold_people(&mut tx, sealer, &wanted).await?)?;
        let seal = |event: &Event| {
            let person = people.get(&sealer.pseudonym(&event.user_id).0).ok_or_else(erased_meanwhile)?;
            NewRow::sealed(sealer, person, event)
        };
        let rows = events.iter().map(seal).collect::<Result<Vec<_>>>()?;
        let inserted = if bulk { Self::load_in(&mut tx, &rows).await? } else { Self::insert_in(&mut tx, &rows).await? };
        tx.commit().await?;
        Ok(inserted)
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
        let sealed = master.new_tenant(TENANT)?;
        let created = sqlx::query("INSERT INTO tenant_keys (tenant, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(TENANT)
            .bind(&sealed)
            .execute(&mut *tx)
            .await?;
        if created.rows_affected() == 0 {
            return Err(StoreError::Conflict("the behaviour is encrypted already".to_owned()));
        }
        let sealer = master.sealer(TENANT, &sealed)?;
        let (mut count, mut place) = (0, 0i64);
        loop {
            let page = sqlx::query(
                "SELECT user_id, sequence, item_id, kind, value, at, event_id, recommendation_id, position FROM events
                 WHERE tenant = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
            )
            .bind(TENANT)
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
                let person = people.get(&sealer.pseudonym(&stored.event.user_id).0).ok_or_else(erased_meanwhile)?;
                let row = NewRow::sealed(&sealer, person, &stored.event)?;
                sqlx::query(
                    "UPDATE events SET user_id = $3, item_id = $4, kind = $5, value = NULL, at = $6, event_id = $7,
                     recommendation_id = NULL, position = NULL WHERE tenant = $1 AND sequence = $2",
                )
                .bind(TENANT)
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
        self.compact().await?;
        Ok(count)
    }

    async fn change_master_key(&self, new: &MasterKey) -> Result<()> {
        let old = self.vault.master.as_ref().ok_or_else(|| {
            StoreError::Failed("there is no master key (section `encryption` of the settings)".to_owned())
        })?;
        let mut tx = self.begin().await?;
        let stored: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM tenant_keys WHERE tenant = $1")
            .bind(TENANT)
            .fetch_optional(&mut *tx)
            .await?;
        let stored = stored.ok_or_else(|| StoreError::Failed("the behaviour is not encrypted".to_owned()))?;
        let changed = sqlx::query("UPDATE tenant_keys SET sealed = $2 WHERE tenant = $1 AND sealed = $3")
            .bind(TENANT)
            .bind(old.resealed(TENANT, &stored, new)?)
            .bind(&stored)
            .execute(&mut *tx)
            .await?;
        if changed.rows_affected() == 0 {
            return Err(StoreError::Conflict("the master key was changed at the same moment".to_owned()));
        }
        Ok(tx.commit().await?)
    }
}
}
