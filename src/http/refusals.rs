//! The pace of refusals. A refusal costs little, but many of them leave no processor for those who are let in; and who waits for one sends nothing on that
//! connection meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Refusals that go out at once, as long as there are no more of them a second.
const A_SECOND: u32 = 1_000;
/// So many may come together.
const TOGETHER: u32 = 100;
/// What a refusal waits at most. Whoever asks over more connections than it takes to fill this is refused faster than the pace.
const LONGEST: Duration = Duration::from_millis(200);

/// When the next refusal goes out.
pub struct Refusals {
    /// When the one after the last is due, if the pace is kept.
    next: Mutex<Instant>,
}

impl Refusals {
    pub fn new() -> Self {
        Self { next: Mutex::new(Instant::now()) }
    }

    /// Waits until it is the turn of this refusal.
    pub async fn turn(&self) {
        let now = Instant::now();
        let wait = self.wait(now);
        if !wait.is_zero() {
            tokio::time::sleep_until((now + wait).into()).await;
        }
    }

    /// How long a refusal of this moment waits.
    fn wait(&self, now: Instant) -> Duration {
        let apart = Duration::from_secs(1) / A_SECOND;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = next.saturating_duration_since(now + apart * TOGETHER);
        if wait > LONGEST {
            return LONGEST;
        }
        *next = (*next).max(now) + apart;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_go_out_at_a_pace_once_there_are_many() {
        let (refusals, start) = (Refusals::new(), Instant::now());
        let apart = Duration::from_secs(1) / A_SECOND;
        let together: Vec<Duration> = (0..=TOGETHER).map(|_| refusals.wait(start)).collect();
        assert!(together.iter().all(Duration::is_zero), "few are not kept waiting");
        let further: Vec<Duration> = (1..=3).map(|_| refusals.wait(start)).collect();
        assert_eq!(further, [apart, apart * 2, apart * 3]);
        for _ in 0..10 * A_SECOND {
            assert!(refusals.wait(start) <= LONGEST);
        }
        assert_eq!(refusals.wait(start), LONGEST, "nobody waits longer");
        let later = start + Duration::from_secs(1);
        assert_eq!(refusals.wait(later), Duration::ZERO, "what was not kept is not owed");
    }

    #[test]
    fn a_steady_stream_within_the_pace_never_waits() {
        let (refusals, start) = (Refusals::new(), Instant::now());
        let apart = Duration::from_secs(1) / A_SECOND;
        assert!((0..20_000).all(|number| refusals.wait(start + apart * number).is_zero()));
        let hurried = (0..20_000).map(|number| refusals.wait(start + Duration::from_secs(20) + apart / 2 * number));
        assert_eq!(hurried.max(), Some(LONGEST));
    }
}
