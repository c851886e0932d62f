//! The catalogue in memory, in step with the store.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::domain::{Domain, Item, ItemId};
use crate::engine::catalogue::Catalogue;
use crate::store::{ItemChange, Store, StoreError};

use super::asking::in_time;

/// How many changes one look at the store brings.
const CHANGES_AT_ONCE: u32 = 2_000;

/// Readers take the inner lock for the time of one ranking; who writes to the store takes `writing` around the write and
/// its application in memory, so that memory never goes back behind the store.
pub(super) struct LiveCatalogue {
    catalogue: RwLock<Catalogue>,
    writing: Mutex<Progress>,
    loaded: AtomicBool,
    /// It came from the disk, and the store has not been read to its end yet.
    from_disk: AtomicBool,
}

/// How far the catalogue in memory is in step with the store.
#[derive(Default)]
pub(super) struct Progress {
    /// The last revision of the store that is in memory.
    revision: i64,
    /// Items that came from the disk and were not seen in the store so far.
    unseen: HashSet<ItemId>,
}

impl LiveCatalogue {
    pub(super) fn new(domains: &[Domain]) -> Self {
        Self {
            catalogue: RwLock::new(Catalogue::new(domains)),
            writing: Mutex::default(),
            loaded: AtomicBool::new(false),
            from_disk: AtomicBool::new(false),
        }
    }

    // A panic under the lock cannot leave more than one item half indexed; going on beats refusing everybody.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Catalogue> {
        self.catalogue.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held around a write to the store and its application here.
    pub(super) async fn writing(&self) -> MutexGuard<'_, Progress> {
        self.writing.lock().await
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Relaxed)
    }

    /// Whether it is that of the disk: as it was when it was written, and nobody knows what has changed since.
    pub(super) fn is_from_disk(&self) -> bool {
        self.from_disk.load(Ordering::Relaxed)
    }

    /// All items.
    pub(super) fn items(&self) -> Vec<Arc<Item>> {
        let catalogue = self.read();
        let indices = catalogue.domains().flat_map(|(_, items)| items);
        indices.filter_map(|&index| catalogue.shared(index)).collect()
    }

    /// Takes these items for the catalogue until the store says otherwise. What was read of it before it fell silent stays.
    pub(super) async fn start_from(&self, items: Vec<Item>) {
        let mut progress = self.writing.lock().await;
        let mut catalogue = self.write();
        for item in items {
            if catalogue.index_of(&item.id).is_none() {
                progress.unseen.insert(item.id.clone());
                catalogue.upsert(item);
            }
        }
        self.from_disk.store(true, Ordering::Relaxed);
        self.loaded.store(true, Ordering::Relaxed);
    }

    /// Brings in what has changed in the store since the last time. The store has `patience` for each page: nobody else can write meanwhile.
    pub(super) async fn refresh(&self, store: &dyn Store, patience: Duration) -> Result<(), StoreError> {
        let mut progress = self.writing.lock().await;
        loop {
            let changes = in_time(patience, store.item_changes(progress.revision, CHANGES_AT_ONCE)).await?;
            let more = changes.len() == CHANGES_AT_ONCE as usize;
            if !changes.is_empty() {
                let mut catalogue = self.write();
                for (at, change) in changes {
                    let (ItemChange::Stored(Item { id, .. }) | ItemChange::Deleted(id)) = &change;
                    progress.unseen.remove(id);
                    match change {
                        ItemChange::Stored(item) => {
                            catalogue.upsert(item);
                        }
                        ItemChange::Deleted(id) => {
                            catalogue.remove(&id);
                        }
                    }
                    progress.revision = at;
                }
            }
            if !more {
                if self.is_from_disk() {
                    let mut catalogue = self.write();
                    progress.unseen.drain().for_each(|id| {
                        catalogue.remove(&id);
                    });
                    self.from_disk.store(false, Ordering::Relaxed);
                }
                self.loaded.store(true, Ordering::Relaxed);
                return Ok(());
            }
        }
    }
}
