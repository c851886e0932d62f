//! The catalogue in memory, in step with the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Mutex, MutexGuard};

use crate::domain::Domain;
use crate::engine::catalogue::Catalogue;
use crate::store::{ItemChange, Store, StoreError};

/// How many changes one look at the store brings.
const CHANGES_AT_ONCE: u32 = 2_000;

/// Readers take the inner lock for the time of one ranking; who writes to the store takes `writing` around the write and
/// its application in memory, so that memory never goes back behind the store.
pub(super) struct LiveCatalogue {
    catalogue: RwLock<Catalogue>,
    /// The last revision of the store that is in memory.
    writing: Mutex<i64>,
    loaded: AtomicBool,
}

impl LiveCatalogue {
    pub(super) fn new(domains: &[Domain]) -> Self {
        Self { catalogue: RwLock::new(Catalogue::new(domains)), writing: Mutex::new(0), loaded: AtomicBool::new(false) }
    }

    // A panic under the lock cannot leave more than one item half indexed; going on beats refusing everybody.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Catalogue> {
        self.catalogue.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held around a write to the store and its application here.
    pub(super) async fn writing(&self) -> MutexGuard<'_, i64> {
        self.writing.lock().await
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Relaxed)
    }

    /// Brings in what has changed in the store since the last time.
    pub(super) async fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut revision = self.writing.lock().await;
        loop {
            let changes = store.item_changes(*revision, CHANGES_AT_ONCE).await?;
            let more = changes.len() == CHANGES_AT_ONCE as usize;
            if !changes.is_empty() {
                let mut catalogue = self.write();
                for (at, change) in changes {
                    match change {
                        ItemChange::Stored(item) => {
                            catalogue.upsert(item);
                        }
                        ItemChange::Deleted(id) => {
                            catalogue.remove(&id);
                        }
                    }
                    *revision = at;
                }
            }
            if !more {
                self.loaded.store(true, Ordering::Relaxed);
                return Ok(());
            }
        }
    }
}
