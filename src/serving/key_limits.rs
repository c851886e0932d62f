//! How often a key may be used: requests a minute, which each service counts for itself, and requests a day, which all count together.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use jiff::Timestamp;

use crate::store::{DayUse, KeyRecord};

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

/// The limits of one key, and what is used of them.
pub struct Limits {
    rate: Option<Rate>,
    quota: Option<(u32, Mutex<Counted>)>,
}

struct Rate {
    a_minute: NonZeroU32,
    clock: DefaultClock,
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
}

/// Requests of one day.
#[derive(Debug, Default)]
struct Counted {
    day: i64,
    /// What the store had when it was read last.
    stored: u64,
    /// What the store was told since, and may have added.
    told: u64,
    /// What the store is to be told.
    pending: u64,
}

impl Counted {
    fn on(&mut self, day: i64) -> &mut Self {
        if self.day < day {
            *self = Self { day, ..Self::default() };
        }
        self
    }

    fn used(&self) -> u64 {
        self.stored + self.told + self.pending
    }
}

/// How a limit stands, for the headers `RateLimit` and `RateLimit-Policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// `minute` or `day`.
    pub name: &'static str,
    /// So many requests in so many seconds.
    pub quota: u32,
    pub window: u64,
    pub remaining: u64,
    /// After so many seconds all of the quota is there again.
    pub reset: u64,
}

/// The answer to one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Admission {
    pub standings: Vec<Standing>,
    /// The limit that is reached, and after how many seconds trying again helps.
    pub refused: Option<(&'static str, u64)>,
}

impl Limits {
    pub(super) fn of(key: &KeyRecord) -> Self {
        let rate = key.rate.and_then(NonZeroU32::new).map(|a_minute| {
            let quota = Quota::per_minute(a_minute);
            let clock = DefaultClock::default();
            let limiter = RateLimiter::direct_with_clock(quota, clock.clone()).with_middleware();
            Rate { a_minute, clock, limiter }
        });
        let quota = key.quota.map(|quota| (quota, Mutex::default()));
        let limits = Self { rate, quota };
        limits.learn(key.used);
        limits
    }

    /// Whether these are the limits that the key has.
    pub(super) fn are_of(&self, key: &KeyRecord) -> bool {
        self.rate.as_ref().map(|rate| rate.a_minute.get()) == key.rate
            && self.quota.as_ref().map(|(quota, _)| *quota) == key.quota
    }

    /// Counts a request, unless a limit is reached: then it counts for nothing.
    #[must_use]
    pub fn admit(&self, now: Timestamp) -> Admission {
        let mut admission = Admission::default();
        let seconds = now.as_second();
        let reset = DAY - seconds.rem_euclid(DAY.cast_signed()).unsigned_abs();
        let mut day = self.quota.as_ref().map(|(quota, counted)| {
            let counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            (*quota, counted)
        });
        if let Some((quota, counted)) = &mut day
            && counted.on(seconds.div_euclid(DAY.cast_signed())).used() >= u64::from(*quota)
        {
            admission.refused = Some(("day", reset));
        }
        if let Some(rate) = self.rate.as_ref().filter(|_| admission.refused.is_none()) {
            let (standing, wait) = rate.count();
            admission.standings.push(standing);
            admission.refused = wait.map(|seconds| ("minute", seconds));
        }
        if let Some((quota, counted)) = &mut day {
            if admission.refused.is_none() {
                counted.pending += 1;
            }
            let remaining = u64::from(*quota).saturating_sub(counted.used());
            admission.standings.push(Standing { name: "day", quota: *quota, window: DAY, remaining, reset });
        }
        admission
    }

    /// What the store is to be told; whoever asks tells it, or gives it back by [`Limits::untold`].
    pub(super) fn to_tell(&self) -> Option<DayUse> {
        let mut counted = self.quota.as_ref()?.1.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = std::mem::take(&mut counted.pending);
        counted.told += requests;
        (requests > 0).then_some(DayUse { day: counted.day, requests })
    }

    pub(super) fn untold(&self, used: DayUse) {
        let Some((_, counted)) = &self.quota else { return };
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.day == used.day {
            counted.told = counted.told.saturating_sub(used.requests);
            counted.pending += used.requests;
        }
    }

    /// Takes over what the store has counted, this service's part included.
    pub(super) fn learn(&self, used: DayUse) {
        let Some((_, counted)) = &self.quota else { return };
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.on(used.day).day == used.day {
            counted.stored = used.requests;
            counted.told = 0;
        }
    }
}

impl Rate {
    /// Counts a request: how the limit stands, and how many seconds to wait where it is reached.
    fn count(&self) -> (Standing, Option<u64>) {
        let a_minute = self.a_minute.get();
        let (remaining, wait) = match self.limiter.check() {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(until) => {
                let wait = until.wait_time_from(self.clock.now());
                (0, Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)))
            }
        };
        let missing = u64::from(a_minute.saturating_sub(remaining));
        let reset = (missing * MINUTE).div_ceil(u64::from(a_minute));
        (Standing { name: "minute", quota: a_minute, window: MINUTE, remaining: remaining.into(), reset }, wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rate: Option<u32>, quota: Option<u32>) -> Limits {
        let now = Timestamp::UNIX_EPOCH;
        let made = crate::serving::keys::NewKey::generate("test".to_owned(), &[], now, None);
        Limits::of(&KeyRecord { rate, quota, ..made.record })
    }

    fn at(day: i64, second: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400 + second).unwrap()
    }

    #[test]
    fn a_rate_is_a_minutes_worth_at_once_and_then_waits() {
        let limits = limits(Some(3), None);
        let now = at(20_000, 0);
        for remaining in [2, 1, 0] {
            let Admission { standings, refused } = limits.admit(now);
            let reset = (3 - remaining) * 20;
            let standing = Standing { name: "minute", quota: 3, window: 60, remaining, reset };
            assert_eq!((standings, refused), (vec![standing], None));
        }
        let refused = limits.admit(now).refused.unwrap();
        assert!(refused.0 == "minute" && (19..=20).contains(&refused.1), "{refused:?}");
    }

    #[test]
    fn a_quota_is_a_days_and_what_others_counted_counts() {
        let limits = limits(None, Some(5));
        let now = at(20_000, 86_000);
        let day = |remaining| Standing { name: "day", quota: 5, window: 86_400, remaining, reset: 400 };
        assert_eq!(limits.admit(now).standings, [day(4)]);
        assert_eq!(limits.admit(now).standings, [day(3)]);
        let told = limits.to_tell().unwrap();
        assert_eq!(told, DayUse { day: 20_000, requests: 2 });
        limits.untold(told);
        assert_eq!(limits.admit(now).standings, [day(2)], "what could not be told counts all the same");
        let told = limits.to_tell().unwrap();
        assert_eq!((told.requests, limits.to_tell()), (3, None));
        // Another service has counted one.
        limits.learn(DayUse { requests: 4, ..told });
        assert_eq!(limits.admit(now), Admission { standings: vec![day(0)], refused: None });
        assert_eq!(limits.admit(now), Admission { standings: vec![day(0)], refused: Some(("day", 400)) });
        assert_eq!(limits.admit(at(20_001, 0)).standings[0].remaining, 4, "another day");
        limits.learn(DayUse { requests: 5, ..told });
        assert_eq!(limits.admit(at(20_001, 0)).standings[0].remaining, 3, "yesterday's news");
    }

    #[test]
    fn what_the_quota_refuses_costs_nothing_of_the_rate() {
        let limits = limits(Some(2), Some(1));
        let now = at(20_000, 0);
        assert_eq!(limits.admit(now).refused, None);
        for _ in 0..5 {
            assert_eq!(limits.admit(now).refused, Some(("day", 86_400)));
        }
        assert_eq!(limits.admit(at(20_001, 0)).refused, None);
    }
}
