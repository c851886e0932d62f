//! Asking the store on behalf of a request: within a time, and not at all for a moment after it has failed several times in a row.

use std::time::{Duration, Instant};

use crate::breaker::Breaker;
use crate::store::StoreError;

use super::Service;

impl Service {
    /// What the store reads, if it answers in time.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Unavailable`] also when it took too long, or is being left alone.
    pub(super) async fn read<T>(&self, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        guarded(&self.reads, self.config.database.timeout(), reading).await
    }

    /// The same for what the store writes. After an error, what was to be written may be there or not.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub(super) async fn write<T>(&self, writing: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        guarded(&self.writes, self.config.database.timeout(), writing).await
    }
}

/// An answer within the time, or [`StoreError::Unavailable`].
pub(super) async fn in_time<T>(
    patience: Duration,
    question: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable(format!("no answer within {} ms", patience.as_millis()));
    tokio::time::timeout(patience, question).await.unwrap_or_else(|_| Err(late()))
}

async fn guarded<T>(
    breaker: &Breaker,
    patience: Duration,
    question: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    if !breaker.allows(Instant::now()) {
        return Err(StoreError::Unavailable("left alone for a moment, after failures in a row".to_owned()));
    }
    let answer = in_time(patience, question).await;
    // A store that refuses, or has no room, does answer.
    match &answer {
        Err(StoreError::Unavailable(_)) => breaker.failed(Instant::now()),
        _ => breaker.succeeded(),
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_store_that_hangs_is_soon_left_alone_and_one_that_is_full_is_not() {
        let (breaker, asked) = (Breaker::default(), Cell::new(0));
        let patience = Duration::from_millis(10);
        for _ in 0..20 {
            asked.set(asked.get() + 1);
            let full = guarded(&breaker, patience, ready(Err::<(), _>(StoreError::Full))).await;
            assert!(matches!(full, Err(StoreError::Full)));
        }
        asked.set(0);
        for _ in 0..20 {
            let hangs = async {
                asked.set(asked.get() + 1);
                pending::<Result<(), StoreError>>().await
            };
            let answer = guarded(&breaker, patience, hangs).await;
            assert!(matches!(answer, Err(StoreError::Unavailable(_))));
        }
        assert!((5..8).contains(&asked.get()), "{}", asked.get());
    }
}
