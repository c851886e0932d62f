//! Catalogue and behaviour on their way in, and people on their way out.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::{Event, Item, ItemId, ItemPatch, UserId};
use crate::engine::catalogue::ReadItem;
use crate::store::{Appended, Erasure, ItemPage, ItemSearch, StoredEvent, Upserted};

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
            service.apply(items);
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
            service.apply(vec![item.clone()]);
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
            service.catalogue.write().remove(&id);
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
        Ok(self.read(self.store.search_items(search)).await?)
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

    /// Puts stored items into memory; a few at a time, so that a large batch does not hold up the readers.
    fn apply(&self, items: Vec<Item>) {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let read: Vec<ReadItem> = items.by_ref().take(64).map(ReadItem::new).collect();
            let mut catalogue = self.catalogue.write();
            for item in read {
                catalogue.upsert_read(item);
            }
        }
    }
}

fn no_item(id: &ItemId) -> ServiceError {
    ServiceError::NotFound { what: "item", id: id.to_string() }
}
