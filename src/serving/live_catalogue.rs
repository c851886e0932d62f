//! The catalogue in memory, in step with the store.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rayon::prelude::*;
use tokio::sync::{Mutex, MutexGuard, mpsc};
use tokio::task::spawn_blocking;

use crate::domain::{Domain, Item, ItemId};
use crate::engine::catalogue::indexed::Indexed;
use crate::engine::catalogue::{Catalogue, ReadItem};
use crate::store::{ItemChange, Store, StoreError};

use super::asking::in_time;
use super::locked::{AT_ONCE, Change, Locked, beside, finished};
use super::snapshot::{Head, Part, Snapshot};

/// How many changes one look at the store brings.
const CHANGES_AT_ONCE: u32 = 2_000;

/// Readers take the lock for the time of one ranking; who writes to the store takes `writing` around the write and
/// its application in memory, so that memory never goes back behind the store.
pub(super) struct LiveCatalogue {
    pub(super) locked: Arc<Locked>,
    /// Where it lies on the disk.
    snapshot: PathBuf,
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
    /// The snapshot that came from the disk.
    began_with: Option<Head>,
}

impl LiveCatalogue {
    pub(super) fn new(domains: &[Domain], snapshot: PathBuf) -> Self {
        let mut catalogue = Catalogue::new(domains);
        // `Service` sees to it.
        catalogue.embed_beside();
        Self {
            locked: Arc::new(Locked::new(catalogue)),
            snapshot,
            writing: Mutex::default(),
            loaded: AtomicBool::new(false),
            from_disk: AtomicBool::new(false),
        }
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

    /// The last revision of the store that is in memory.
    pub(super) async fn revision(&self) -> i64 {
        self.writing.lock().await.revision
    }

    /// All of it, with a revision of the store up to which it has all changes.
    pub(super) async fn indexed(&self) -> (i64, Indexed) {
        // Nobody writes meanwhile: it may have more than the changes up to this revision, but not less.
        let progress = self.writing.lock().await;
        let indexed = beside(&self.locked, |locked| locked.read().indexed()).await;
        (progress.revision, indexed)
    }

    /// The revision and the model of the snapshot that it began with, if that is as this program would write it.
    pub(super) async fn began_with(&self) -> Option<(i64, Option<String>)> {
        let progress = self.writing.lock().await;
        progress.began_with.as_ref().filter(|head| head.is_current()).map(|head| (head.revision, head.model.clone()))
    }

    /// Takes the catalogue on the disk until the store says otherwise. What was read of the store before it fell silent stays. Gives the version of the model that
    /// went with it; `None`: there is no catalogue on the disk.
    ///
    /// # Errors
    /// What is there cannot be used.
    pub(super) async fn start_from_disk(&self) -> io::Result<Option<Head>> {
        let mut progress = self.writing.lock().await;
        let Some(snapshot) = self.snapshot().await? else { return Ok(None) };
        let head = snapshot.head.clone();
        let new = self.take_in_snapshot(snapshot).await?;
        progress.unseen.extend(new);
        progress.began_with = Some(head.clone());
        self.from_disk.store(true, Ordering::Relaxed);
        self.loaded.store(true, Ordering::Relaxed);
        Ok(Some(head))
    }

    /// Before the first look at the store: takes the catalogue on the disk if it is that of the store at some time, so that only what has changed since is to be read.
    async fn start_from_past(
        &self,
        store: &dyn Store,
        patience: Duration,
        progress: &mut Progress,
    ) -> Result<(), StoreError> {
        let taken = match self.snapshot().await {
            Ok(Some(snapshot)) if in_time(patience, store.has_revision(snapshot.head.revision)).await? => {
                let head = snapshot.head.clone();
                self.take_in_snapshot(snapshot).await.map(|_| Some(head))
            }
            other => other.map(|_| None),
        };
        match taken {
            Ok(Some(head)) => (progress.revision, progress.began_with) = (head.revision, Some(head)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the catalogue on the disk cannot be used; all of it is read from the store");
            }
        }
        Ok(())
    }

    async fn snapshot(&self) -> io::Result<Option<Snapshot>> {
        let path = self.snapshot.clone();
        finished(spawn_blocking(move || Snapshot::open(&path)).await)
    }

    /// Takes in the items of a snapshot that are not there yet, those of one block while the next is read; gives their ids. If it is broken, none of them
    /// stays.
    async fn take_in_snapshot(&self, snapshot: Snapshot) -> io::Result<Vec<ItemId>> {
        let (sender, mut parts) = mpsc::channel(4);
        let expected = snapshot.head.items;
        let reading = spawn_blocking(move || {
            // If the start was given up, nobody takes them any more.
            snapshot.read(|part| drop(sender.blocking_send(part)))
        });
        let taking = beside(&self.locked, move |locked| {
            let (mut numbers, mut new) = (None, Vec::with_capacity(expected));
            while let Some(part) = parts.blocking_recv() {
                locked.writing(|catalogue| match (part, &numbers) {
                    (Part::Names(names, frequencies), _) => {
                        numbers = Some(catalogue.expect(expected, names.split_terminator('\n').zip(frequencies)));
                    }
                    (Part::Indexed(items), Some(numbers)) => new.extend(catalogue.take_in(numbers, items)),
                    // Terms come before items.
                    (Part::Indexed(_), None) => {}
                    (Part::Read(items), _) => {
                        for item in items {
                            if catalogue.index_of(item.id()).is_none() {
                                new.push(catalogue.upsert_read(item));
                            }
                        }
                    }
                });
            }
            let catalogue = locked.read();
            new.into_iter().map(|index| catalogue.id(index).clone()).collect::<Vec<_>>()
        });
        let new = taking.await;
        let outcome = finished(reading.await);
        if outcome.is_err() {
            self.change(new.into_iter().map(Change::Deleted).collect()).await;
            return outcome.map(|()| Vec::new());
        }
        Ok(new)
    }

    /// Makes changes that were read before.
    async fn change(&self, changes: Vec<Change>) {
        // Before it is there nobody asks.
        let at_once = if self.is_loaded() { AT_ONCE } else { usize::MAX };
        beside(&self.locked, move |locked| locked.change(changes, at_once)).await;
    }

    async fn take_in(&self, page: Page, progress: &mut Progress) {
        let Page { stored, deleted, last } = page;
        for id in stored.iter().map(ReadItem::id).chain(&deleted) {
            progress.unseen.remove(id);
        }
        let changes = stored.into_iter().map(Change::Stored).chain(deleted.into_iter().map(Change::Deleted));
        self.change(changes.collect()).await;
        progress.revision = last;
    }

    /// Brings in what has changed in the store since the last time. The store has `patience` for each page: nobody else can write meanwhile.
    pub(super) async fn refresh(&self, store: &dyn Store, patience: Duration) -> Result<(), StoreError> {
        let mut progress = self.writing.lock().await;
        if !self.is_loaded() && progress.revision == 0 {
            self.start_from_past(store, patience, &mut progress).await?;
        }
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
            let changing = before.as_ref().map(Page::ids).unwrap_or_default();
            let reading = beside(&self.locked, move |locked| read(locked, stored, &changing));
            let taking = async {
                if let Some(page) = before.take() {
                    self.take_in(page, &mut progress).await;
                }
            };
            let next = async { if is_full { page(last).await } else { Ok(Vec::new()) } };
            let ((stored, known), (), next) = tokio::join!(reading, taking, next);
            for id in &known {
                progress.unseen.remove(id);
            }
            let read = Page { stored, deleted, last };
            changes = match next {
                Ok(changes) => changes,
                Err(error) => {
                    self.take_in(read, &mut progress).await;
                    return Err(error);
                }
            };
            before = Some(read);
        }
        if let Some(page) = before {
            self.take_in(page, &mut progress).await;
        }
        if self.is_from_disk() {
            self.change(progress.unseen.drain().map(Change::Deleted).collect()).await;
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

impl Page {
    fn ids(&self) -> HashSet<ItemId> {
        self.stored.iter().map(ReadItem::id).chain(&self.deleted).cloned().collect()
    }
}

/// Reads items; but those that the catalogue has as they are, for what this process has written itself comes back from the store as well, it only names. Of what is being changed
/// this is not known.
fn read(locked: &Locked, mut items: Vec<Item>, changing: &HashSet<ItemId>) -> (Vec<ReadItem>, Vec<ItemId>) {
    let mut known = Vec::new();
    {
        let catalogue = locked.read();
        items.retain(|item| {
            let is_known = !changing.contains(&item.id)
                && catalogue.index_of(&item.id).and_then(|index| catalogue.get(index)) == Some(item);
            known.extend(is_known.then(|| item.id.clone()));
            !is_known
        });
    }
    // Apart from the catalogue: nobody waits for that.
    (items.into_par_iter().map(ReadItem::new).collect(), known)
}
