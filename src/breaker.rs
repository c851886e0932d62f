//! A circuit breaker: after several failures in a row a dependency is left alone for a while, so that nobody waits for what will not come.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Failures in a row after which it opens.
const LIMIT: u32 = 5;
/// How long it stays open; then one caller tries, and the others go on doing without until that one has succeeded.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
    /// Each try that fails doubles the pause until the next, up to this.
    longest: Duration,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    /// Since it opened somebody tries, and has not failed yet.
    is_tried: bool,
}

impl State {
    /// Until the next try.
    fn pause(&self, longest: Duration) -> Duration {
        (PAUSE * 2u32.pow(self.failures.saturating_sub(LIMIT).min(16))).min(longest)
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(PAUSE)
    }
}

impl Breaker {
    /// One that tries after a second, and after longer ones, up to `longest`, as long as nothing comes of it.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self { state: Mutex::default(), longest }
    }

    /// Whether the dependency may be asked at this moment.
    pub fn allows(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                // This caller tries; the next one only when it has not come back by then.
                state.open_until = Some(now + state.pause(self.longest));
                state.is_tried = true;
                true
            }
            None => true,
        }
    }

    /// Whether it is open at this moment.
    pub fn is_open(&self, now: Instant) -> bool {
        self.state().open_until.is_some_and(|until| now < until)
    }

    /// Whether it has opened and not closed again since: whoever it allows is trying.
    pub fn has_opened(&self) -> bool {
        self.state().open_until.is_some()
    }

    /// Stays open until then: the dependency itself has asked for it.
    pub fn rest(&self, until: Instant) {
        let mut state = self.state();
        (state.failures, state.is_tried) = (LIMIT, false);
        state.open_until = state.open_until.max(Some(until));
    }

    pub fn succeeded(&self) {
        *self.state() = State::default();
    }

    pub fn failed(&self, now: Instant) {
        let mut state = self.state();
        // Many may have asked before it opened. That they fail as well is one absence, and no reason to stay away for longer.
        if state.open_until.is_some() && !std::mem::take(&mut state.is_tried) {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= LIMIT {
            state.open_until = state.open_until.max(Some(now + state.pause(self.longest)));
        }
    }

    /// A panic cannot leave it in disorder.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try_after_a_pause() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        (1..LIMIT).for_each(|_| breaker.failed(start));
        breaker.succeeded();
        (1..LIMIT).for_each(|_| breaker.failed(start));
        assert!(breaker.allows(start), "the failures were not in a row");
        breaker.failed(start);
        assert!(!breaker.allows(start + PAUSE / 2));
        assert!(breaker.allows(start + PAUSE), "one tries");
        assert!(!breaker.allows(start + PAUSE), "the others wait for its outcome");
        breaker.failed(start + PAUSE);
        assert!(!breaker.allows(start + PAUSE * 3 / 2));
        assert!(breaker.allows(start + PAUSE * 2));
        assert!(breaker.has_opened());
        breaker.succeeded();
        assert!(breaker.allows(start + PAUSE * 2) && breaker.allows(start + PAUSE * 2) && !breaker.has_opened());
    }

    #[test]
    fn pauses_grow_as_far_as_they_may() {
        let (breaker, mut now) = (Breaker::new(PAUSE * 3), Instant::now());
        (0..LIMIT).for_each(|_| breaker.failed(now));
        for pause in [1, 2, 3, 3] {
            assert!(breaker.is_open(now + PAUSE * pause - PAUSE / 10), "{pause}");
            now += PAUSE * pause;
            assert!(breaker.allows(now), "{pause}");
            breaker.failed(now);
        }
        breaker.succeeded();
        (0..LIMIT).for_each(|_| breaker.failed(now));
        assert!(breaker.allows(now + PAUSE), "all is forgotten");
    }

    #[test]
    fn failures_that_come_together_are_one() {
        let (breaker, now) = (Breaker::new(PAUSE * 60), Instant::now());
        (0..50).for_each(|_| breaker.failed(now));
        assert!(breaker.allows(now + PAUSE), "the first pause");
        (0..50).for_each(|_| breaker.failed(now + PAUSE));
        assert!(breaker.is_open(now + PAUSE * 3 - PAUSE / 10) && breaker.allows(now + PAUSE * 3), "the second");
    }

    #[test]
    fn it_rests_for_as_long_as_it_is_asked_to() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        breaker.rest(start + PAUSE * 60);
        breaker.failed(start);
        assert!(!breaker.allows(start + PAUSE * 59) && breaker.is_open(start + PAUSE * 59));
        assert!(breaker.allows(start + PAUSE * 60));
    }
}
