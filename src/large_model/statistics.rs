//! What was measured of a provider since the process started: latencies, failures, tokens, cost.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// Latencies are kept of so many requests.
const WINDOW: usize = 1_000;

/// Tokens that an answer says it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// Numbers at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Snapshot {
    pub requests: u64,
    pub failures: u64,
    /// Of the last thousand requests, in milliseconds; `None` before the first.
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub usage: Usage,
    pub cost: f64,
    pub cost_today: f64,
}

#[derive(Debug, Default)]
pub struct Statistics {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    totals: Snapshot,
    /// Days since 1970.
    day: i64,
    latencies: VecDeque<f64>,
}

impl Statistics {
    /// One request to the provider is over.
    pub fn record(&self, took: Duration, failed: bool) {
        let mut inner = self.lock();
        inner.totals.requests += 1;
        inner.totals.failures += u64::from(failed);
        if inner.latencies.len() == WINDOW {
            inner.latencies.pop_front();
        }
        inner.latencies.push_back(took.as_secs_f64() * 1e3);
    }

    /// Tokens were used, which cost so much; `day` counts days since 1970.
    pub fn spend(&self, usage: Usage, cost: f64, day: i64) {
        let mut inner = self.lock();
        inner.turn(day);
        inner.totals.usage.input_tokens += usage.input_tokens;
        inner.totals.usage.output_tokens += usage.output_tokens;
        inner.totals.cost += cost;
        inner.totals.cost_today += cost;
    }

    pub fn cost_today(&self, day: i64) -> f64 {
        let mut inner = self.lock();
        inner.turn(day);
        inner.totals.cost_today
    }

    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        let mut sorted: Vec<f64> = inner.latencies.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)));
        Snapshot { p50_ms: at(0.5).copied(), p95_ms: at(0.95).copied(), ..inner.totals }
    }

    /// A panic cannot leave the numbers in disorder.
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn turn(&mut self, day: i64) {
        if day != self.day {
            (self.day, self.totals.cost_today) = (day, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_with_nothing_spent() {
        let statistics = Statistics::default();
        assert_eq!(statistics.snapshot().p50_ms, None);
        statistics.spend(Usage { input_tokens: 10, output_tokens: 1 }, 0.5, 100);
        statistics.spend(Usage { input_tokens: 10, output_tokens: 1 }, 0.5, 100);
        assert!((statistics.cost_today(100) - 1.0).abs() < 1e-9);
        assert!(statistics.cost_today(101).abs() < 1e-9);
        (1..=100).for_each(|ms| statistics.record(Duration::from_millis(ms), ms > 90));
        let snapshot = statistics.snapshot();
        assert_eq!((snapshot.requests, snapshot.failures, snapshot.usage.input_tokens), (100, 10, 20));
        assert_eq!((snapshot.p50_ms, snapshot.p95_ms), (Some(51.0), Some(96.0)));
        assert!((snapshot.cost - 1.0).abs() < 1e-9);
    }
}
