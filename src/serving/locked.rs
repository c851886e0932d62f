//! The catalogue behind its lock. Whoever waits for the lock waits in a thread beside those that talk to clients, for while one ranking goes on and somebody wants
//! to write, all others wait; what those threads need to know of the catalogue stands beside the lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use tokio::task::{JoinError, spawn_blocking};

use crate::domain::ItemId;
use crate::engine::catalogue::vectors::embedded;
use crate::engine::catalogue::{Catalogue, ReadItem};

/// So many changes are made before others get their turn.
pub(super) const AT_ONCE: usize = 64;
/// So many texts are turned into vectors at a time.
const TEXTS: usize = 1_000;

pub(super) struct Locked {
    catalogue: RwLock<Catalogue>,
    /// As the last writer left them.
    changes: AtomicU64,
    items: AtomicUsize,
}

/// One change to the catalogue.
#[allow(clippy::large_enum_variant)] // nearly all are of the larger one
pub(super) enum Change {
    Stored(ReadItem),
    Deleted(ItemId),
}

impl Locked {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        let (changes, items) = (catalogue.changes().into(), catalogue.len().into());
        Self { catalogue: RwLock::new(catalogue), changes, items }
    }

    /// How many changes there were, as [`Catalogue::changes`]. Whoever has written and is done finds it counted; while somebody writes it may be one or the other.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// How many items there are.
    pub(super) fn items(&self) -> usize {
        self.items.load(Ordering::Acquire)
    }

    // A panic under the lock cannot leave more than one item half indexed; going on beats refusing everybody.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Catalogue> {
        self.catalogue.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` with the catalogue for itself.
    pub(super) fn writing<T>(&self, work: impl FnOnce(&mut Catalogue) -> T) -> T {
        /// Also after a panic what changed is counted.
        struct Counted<'a>(RwLockWriteGuard<'a, Catalogue>, &'a Locked);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                // Before others see the catalogue: no answer that was made of it may be looked for under an older count.
                self.1.changes.store(self.0.changes(), Ordering::Release);
                self.1.items.store(self.0.len(), Ordering::Release);
            }
        }
        work(&mut Counted(self.write(), self).0)
    }

    /// Makes changes, `at_once` of them at a time, so that nobody is held up for long.
    pub(super) fn change(&self, changes: impl IntoIterator<Item = Change>, at_once: usize) {
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            // Items are read as they are taken here, and nobody waits for that.
            let few: Vec<Change> = changes.by_ref().take(at_once).collect();
            let took = self.writing(|catalogue| {
                let started = Instant::now();
                for change in few {
                    match change {
                        Change::Stored(item) => {
                            catalogue.upsert_read(item);
                        }
                        Change::Deleted(id) => {
                            catalogue.remove(&id);
                        }
                    }
                }
                started.elapsed()
            });
            if changes.peek().is_some() {
                // The lock does not see to it that those who waited come in before whoever takes it again at once.
                std::thread::sleep(took);
            }
        }
    }

    /// Makes the vectors of texts that are not made yet, those of the items from this place on, `TEXTS` at most. Gives the place to go on from; `None`: there are no more.
    pub(super) fn embed(&self, from: usize) -> Option<usize> {
        let (lacking, next) = self.read().lacking(from, TEXTS);
        let made = lacking.into_iter().map(|(index, item)| {
            let vector = embedded(&item);
            (index, item, vector)
        });
        let made = made.collect();
        let lacked = {
            let catalogue = self.read();
            catalogue.keep_vectors(made);
            catalogue.has_lacked()
        };
        if next.is_none() && lacked {
            self.writing(Catalogue::end_lack);
        }
        next
    }
}

/// Does `work` with the catalogue in a thread where it may wait for the lock.
pub(super) async fn beside<T: Send + 'static>(
    locked: &Arc<Locked>,
    work: impl FnOnce(&Locked) -> T + Send + 'static,
) -> T {
    let locked = Arc::clone(locked);
    finished(spawn_blocking(move || work(&locked)).await)
}

pub(super) fn finished<T>(work: Result<T, JoinError>) -> T {
    work.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::domain::Item;

    fn item(id: usize, title: &str) -> Item {
        let item = serde_json::json!({"id": format!("item-{id}"), "domain": "movie", "title": title, "genres": ["drama"], "tags": [],
            "creators": [], "attributes": {}, "available": true});
        serde_json::from_value(item).unwrap()
    }

    fn stored(ids: std::ops::Range<usize>, title: &str) -> Vec<Change> {
        ids.map(|id| Change::Stored(ReadItem::new(item(id, title)))).collect()
    }

    #[test]
    fn how_many_changes_there_were_is_known_without_the_lock() {
        let locked = Arc::new(Locked::new(Catalogue::default()));
        locked.change(stored(0..3, "rain"), AT_ONCE);
        let reading = locked.read();
        let writing = std::thread::spawn({
            let locked = Arc::clone(&locked);
            move || locked.change([Change::Deleted(ItemId::new("item-0").unwrap())], AT_ONCE)
        });
        let (tell, told) = mpsc::channel();
        std::thread::spawn({
            let locked = Arc::clone(&locked);
            move || tell.send((locked.changes(), locked.items()))
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok((3, 3)), "while somebody reads and somebody waits");
        drop(reading);
        writing.join().unwrap();
        assert_eq!((locked.changes(), locked.items()), (4, 2));
        let panicking = Arc::clone(&locked);
        let panicked = std::thread::spawn(move || {
            panicking.writing(|catalogue| {
                catalogue.upsert(item(9, "rain"));
                panic!("a bug");
            })
        });
        assert!(panicked.join().is_err());
        assert_eq!((locked.changes(), locked.items()), (5, 3), "what was changed is counted");
    }

    #[test]
    fn readers_come_in_between_the_parts_of_many_changes() {
        let locked = Arc::new(Locked::new(Catalogue::default()));
        let writing = std::thread::spawn({
            let locked = Arc::clone(&locked);
            move || locked.change(stored(0..50 * AT_ONCE, "rain"), AT_ONCE)
        });
        let mut seen = Vec::new();
        while !writing.is_finished() {
            seen.push(locked.read().len());
        }
        writing.join().unwrap();
        assert!(seen.iter().all(|items| items % AT_ONCE == 0));
        assert!(seen.iter().any(|&items| items > 0 && items < 50 * AT_ONCE), "{seen:?}");
    }

    #[test]
    fn vectors_are_made_beside_and_who_went_without_is_heard_again() {
        let locked = Locked::new(Catalogue::default());
        locked.writing(Catalogue::embed_beside);
        locked.change(stored(0..TEXTS + 1, "summer rain"), usize::MAX);
        let vectors = || {
            let catalogue = locked.read();
            catalogue.domains().flat_map(|(_, items)| items).filter(|&&item| catalogue.vector(item).is_some()).count()
        };
        assert_eq!((locked.embed(0), locked.changes()), (Some(TEXTS), TEXTS as u64 + 1));
        assert_eq!(vectors(), TEXTS);
        assert_eq!((locked.embed(TEXTS), locked.changes()), (None, TEXTS as u64 + 2), "one was missed");
        assert_eq!((locked.embed(0), locked.changes(), vectors()), (None, TEXTS as u64 + 2, TEXTS + 1));
    }
}
