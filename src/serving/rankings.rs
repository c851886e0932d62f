//! Room for rankings: how many may be under way, and where they run. Ranking is work for a processor: more at once than there are processors makes no answer
//! faster, and every one of them later.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServiceError;

/// Rankings under way for each processor, where the settings do not say: one that ranks, and others that wait for a history or for their turn. More only wait
/// longer; `benches/overload` measures it.
const PLACES_PER_PROCESSOR: usize = 16;

/// Shared by all tenants of a process.
pub(super) struct Rankings {
    /// One for each ranking under way.
    places: Arc<Semaphore>,
    /// One for each ranking that has a processor.
    processors: Arc<Semaphore>,
}

/// A place, given back when it is dropped.
pub(super) struct Place(OwnedSemaphorePermit);

impl Rankings {
    /// With room for so many; 0: as many as suit the processors.
    pub(super) fn new(places: usize) -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        let places = if places == 0 { PLACES_PER_PROCESSOR * processors } else { places };
        Self { places: Arc::new(Semaphore::new(places)), processors: Arc::new(Semaphore::new(processors)) }
    }

    /// A place, to be held while a history is read and handed to [`Self::run`]. Nobody waits for one: whoever is refused knows at once, and the wait of those who
    /// are not is bounded by the number of places.
    ///
    /// # Errors
    /// [`ServiceError::Overloaded`].
    pub(super) fn enter(&self) -> Result<Place, ServiceError> {
        Arc::clone(&self.places).try_acquire_owned().map(Place).map_err(|_| ServiceError::Overloaded)
    }

    /// Does `work` in a thread beside those that talk to clients, once there is a processor for it; first come, first served. So the service reads on and
    /// refuses quickly while all processors rank.
    ///
    /// # Errors
    /// [`ServiceError::Interrupted`] when the process ends.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let interrupted = |error: String| ServiceError::Interrupted(error);
        let processor = Arc::clone(&self.processors).acquire_owned().await;
        let processor = processor.map_err(|error| interrupted(error.to_string()))?;
        // A caller who goes away gives up the answer, not the processor: that is free when the work is done.
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place.0, processor);
            work()
        });
        match done.await {
            Ok(result) => Ok(result),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(interrupted(error.to_string())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn who_finds_no_place_is_told_at_once_and_a_place_lasts_as_long_as_the_work() {
        let rankings = Arc::new(Rankings::new(2));
        let (first, second) = (rankings.enter().unwrap(), rankings.enter().unwrap());
        assert!(matches!(rankings.enter(), Err(ServiceError::Overloaded)));
        drop(second);
        assert!(rankings.enter().is_ok());

        let (finish, finished) = mpsc::channel::<()>();
        let running = tokio::spawn({
            let rankings = Arc::clone(&rankings);
            async move { rankings.run(first, move || finished.recv()).await }
        });
        tokio::task::yield_now().await;
        let second = rankings.enter().unwrap();
        // Its caller goes away: the work goes on, and so it keeps its place.
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        assert!(rankings.enter().is_err());
        finish.send(()).unwrap();
        assert_eq!(rankings.run(second, || 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_is_the_callers() {
        let rankings = Arc::new(Rankings::new(1));
        let place = rankings.enter().unwrap();
        let panicking = tokio::spawn({
            let rankings = Arc::clone(&rankings);
            async move { rankings.run(place, || panic!("a bug")).await }
        });
        assert!(panicking.await.unwrap_err().is_panic());
        assert!(rankings.enter().is_ok(), "the place is free again");
    }
}
