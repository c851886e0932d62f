//! The catalogue in memory, in step with the store.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use rayon::prelude::*;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::{JoinError, spawn_blocking};

use crate::domain::{Domain, Item, ItemId};
use crate::engine::catalogue::{Catalogue, ReadItem};
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
        let new = {
            let catalogue = self.read();
            items.into_iter().filter(|item| catalogue.index_of(&item.id).is_none()).collect()
        };
        let read = finished(spawn_blocking(move || read(new)).await);
        let mut catalogue = self.write();
        for item in read {
            progress.unseen.insert(item.id().clone());
            catalogue.upsert_read(item);
        }
        drop(catalogue);
        self.from_disk.store(true, Ordering::Relaxed);
        self.loaded.store(true, Ordering::Relaxed);
    }

    /// What this process has written itself comes back from the store as well.
    fn leave_out_known(&self, items: &mut Vec<Item>, progress: &mut Progress) {
        let catalogue = self.read();
        items.retain(|item| {
            let is_known = catalogue.index_of(&item.id).and_then(|index| catalogue.get(index)) == Some(item);
            if is_known {
                progress.unseen.remove(&item.id);
            }
            !is_known
        });
    }

    fn take_in(&self, page: Page, progress: &mut Progress) {
        let mut catalogue = self.write();
        for item in page.stored {
            progress.unseen.remove(item.id());
            catalogue.upsert_read(item);
        }
        for id in &page.deleted {
            progress.unseen.remove(id);
            catalogue.remove(id);
        }
        progress.revision = page.last;
    }

    /// Brings in what has changed in the store since the last time. The store has `patience` for each page: nobody else can write meanwhile.
    pub(super) async fn refresh(&self, store: &dyn Store, patience: Duration) -> Result<(), StoreError> {
        let mut progress = self.writing.lock().await;
        let page = async |after: i64| in_time(patience, store.item_changes(after, CHANGES_AT_ONCE)).await;
        let mut changes = page(progress.revision).await?;
        // While the items of one page are read, those of the page before are taken in and the next page comes.
        let mut before = None;
        while let Some(&(last, _)) = changes.last() {
            let is_full = changes.len() == CHANGES_AT_ONCE as usize;
            let (mut stored, mut deleted) = (Vec::new(), Vec::new());
            for (_, change) in changes {
                match change {
                    ItemChange::Stored(item) => stored.push(item),
                    ItemChange::Deleted(id) => deleted.push(id),
                }
            }
            self.leave_out_known(&mut stored, &mut progress);
            let reading = spawn_blocking(move || read(stored));
            if let Some(page) = before.take() {
                self.take_in(page, &mut progress);
            }
            let next = async { if is_full { page(last).await } else { Ok(Vec::new()) } };
            let (stored, next) = tokio::join!(reading, next);
            let read = Page { stored: finished(stored), deleted, last };
            changes = match next {
                Ok(changes) => changes,
                Err(error) => {
                    self.take_in(read, &mut progress);
                    return Err(error);
                }
            };
            before = Some(read);
        }
        if let Some(page) = before {
            self.take_in(page, &mut progress);
        }
        if self.is_from_disk() {
            let mut catalogue = self.write();
            progress.unseen.drain().for_each(|id| {
                catalogue.remove(&id);
            });
            self.from_disk.store(false, Ordering::Relaxed);
        }
        self.loaded.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Changes of the store, their items read.
struct Page {
    stored: Vec<ReadItem>,
    deleted: Vec<ItemId>,
    /// The last revision.
    last: i64,
}

/// Apart from the catalogue: nobody waits for that.
fn read(items: Vec<Item>) -> Vec<ReadItem> {
    items.into_par_iter().map(ReadItem::new).collect()
}

fn finished<T>(work: Result<T, JoinError>) -> T {
    work.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
