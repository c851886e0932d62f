//! Catalogue and behaviour on their way in, and people on their way out.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::{Event, Item, ItemId, ItemPatch, UserId};
use crate::engine::catalogue::ReadItem;
use crate::store::{Appended, Erasure, ItemPage, ItemSearch, StoreError, StoredEvent, Upserted};

use super::locked::{AT_ONCE, Change, beside};
use super::{Service, ServiceError, uncancelled};

impl Service {
    /// Stores items, each as a whole; the very next answer knows them. All or none.
    ///
    /// # Errors
    /// [`ServiceError::Store`].
    pub async fn upsert_items(self: &Arc<Self>, items: Vec<Item>) -> Result<Vec<Upserted>, ServiceError> {
        let service = Arc::clone(self);
        uncancelled(async move {
            let _writing = service.catalogue.writing().await;
            let outcomes = service.write(service.store.upsert_items(&items)).await?;
            service.apply(items).await;
            Ok(outcomes)
        })
        .await
    }

    /// Changes some fields of an item; the item as it is now.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], [`ServiceError::Store`].
    pub async fn patch_item(self: &Arc<Self>, id: &ItemId, patch: ItemPatch) -> Result<Item, ServiceError> {
        let (service, id) = (Arc::clone(self), id.clone());
        uncancelled(async move {
            let _writing = service.catalogue.writing().await;
            let patched = service.write(service.store.patch_item(&id, &patch)).await?;
            let item = patched.ok_or_else(|| no_item(&id))?;
            service.apply(vec![item.clone()]).await;
            Ok(item)
        })
        .await
    }

    /// Deletes an item; the very next answer is without it. Its behaviour stays.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], [`ServiceError::Store`].
    pub async fn delete_item(self: &Arc<Self>, id: &ItemId) -> Result<(), ServiceError> {
        let (service, id) = (Arc::clone(self), id.clone());
        uncancelled(async move {
            let _writing = service.catalogue.writing().await;
            let deleted = service.write(service.store.delete_item(&id)).await?;
            let gone = [Change::Deleted(id.clone())];
            beside(&service.catalogue.locked, |locked| locked.change(gone, AT_ONCE)).await;
            if deleted { Ok(()) } else { Err(no_item(&id)) }
        })
        .await
    }

    /// One item, from the store.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], [`ServiceError::Store`].
    pub async fn item(&self, id: &ItemId) -> Result<Item, ServiceError> {
        self.read(self.store.item(id)).await?.ok_or_else(|| no_item(id))
    }

    /// A page of items.
    ///
    /// # Errors
    /// [`ServiceError::Store`].
    pub async fn search_items(&self, search: &ItemSearch) -> Result<ItemPage, ServiceError> {
        let (turns, store, search) = (Arc::clone(&self.searches), Arc::clone(&self.store), search.clone());
        let searching = async {
            // A list without words is an index's.
            let turn = if search.text.is_some() { turns.acquire_owned().await.ok() } else { None };
            // In a task of its own: SQLite searches on when nobody waits any more, and so long it is this one's turn.
            let found = tokio::spawn(async move {
                let _turn = turn;
                store.search_items(&search).await
            });
            found.await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
        };
        Ok(self.read(searching).await?)
    }

    /// Stores events; when it returns they are durable and count in the next answer.
    ///
    /// # Errors
    /// [`ServiceError::Store`]: nothing of the batch may be taken as stored; sending it again with the same event ids is safe.
    pub async fn append_events(self: &Arc<Self>, events: Vec<Event>) -> Result<Appended, ServiceError> {
        let service = Arc::clone(self);
        uncancelled(async move { Ok(service.write(service.store.append_events(&events)).await?) }).await
    }

    /// A page of one person's events, newest first.
    ///
    /// # Errors
    /// [`ServiceError::Store`].
    pub async fn user_events(
        &self,
        user: &UserId,
        before: Option<(Timestamp, i64)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        Ok(self.read(self.store.user_events(user, before, limit)).await?)
    }

    /// Erases all behaviour of one person.
    ///
    /// # Errors
    /// [`ServiceError::Store`].
    pub async fn erase_user(self: &Arc<Self>, user: &UserId) -> Result<Erasure, ServiceError> {
        let (service, user) = (Arc::clone(self), user.clone());
        uncancelled(async move { Ok(service.store.erase_user(&user).await?) }).await
    }

    /// Gives all behaviour of `from` to `into`; the number of events that moved.
    ///
    /// # Errors
    /// [`ServiceError::Store`].
    pub async fn merge_users(self: &Arc<Self>, from: &UserId, into: &UserId) -> Result<u64, ServiceError> {
        let (service, from, into) = (Arc::clone(self), from.clone(), into.clone());
        uncancelled(async move { Ok(service.store.merge_users(&from, &into).await?) }).await
    }

    /// Puts stored items into memory, with all that the very next answer may ask of them.
    async fn apply(&self, items: Vec<Item>) {
        let changes = items.into_iter().map(|item| Change::Stored(ReadItem::with_vector(item)));
        beside(&self.catalogue.locked, |locked| locked.change(changes, AT_ONCE)).await;
    }
}

fn no_item(id: &ItemId) -> ServiceError {
    ServiceError::NotFound { what: "item", id: id.to_string() }
}
