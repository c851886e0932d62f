//! 95 % intervals by bootstrap over people: how far a mean, or a difference of two models, would move with other people.
//!
//! People are drawn with replacement, and all cases of a person come with them (cluster bootstrap: Davison & Hinkley 1997, section 3.8; cases of one
//! person are not independent). The interval is the 2.5th to the 97.5th percentile of the resampled means (Efron & Tibshirani 1993, chapter 13).

use std::collections::HashMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How many times people are drawn anew.
pub const RESAMPLES: u64 = 1_000;
const LOW: f64 = 0.025;
const HIGH: f64 = 0.975;

/// A mean over cases with its 95 % interval. Of one person alone the interval is a point: nothing can be told of others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// A value for each case that has one, by the place of the case, in rising order.
pub type Column = Vec<(u32, f64)>;

/// The paired differences `a` − `b`, on the cases that both have.
#[must_use]
pub fn differences(a: &[(u32, f64)], b: &[(u32, f64)]) -> Column {
    let mut others = b.iter().peekable();
    let mut paired = Column::new();
    for (case, value) in a {
        while others.next_if(|(other, _)| other < case).is_some() {}
        if let Some((_, other)) = others.next_if(|(other, _)| other == case) {
            paired.push((*case, value - other));
        }
    }
    paired
}

/// Draws of people. The same people are drawn for every column, so that columns stay comparable.
#[derive(Debug)]
pub struct Bootstrap {
    /// The person of each case, counted from 0.
    person_of: Vec<u32>,
    people: u32,
    seed: u64,
}

/// The cases of one person in one column.
struct Share {
    person: u32,
    cases: f64,
    sum: f64,
}

impl Bootstrap {
    /// `users` names the person of each case.
    #[must_use]
    pub fn new(users: impl IntoIterator<Item = u32>, seed: u64) -> Self {
        let mut people = HashMap::new();
        let person_of = users
            .into_iter()
            .map(|user| {
                let next = people.len() as u32;
                *people.entry(user).or_insert(next)
            })
            .collect();
        Self { person_of, people: people.len() as u32, seed }
    }

    /// The mean of each column over its cases, with its interval; `None` for a column without cases. Deterministic for a seed, whatever the number
    /// of threads: each resample has a random stream of its own, and sums are taken in one order.
    #[must_use]
    pub fn estimates(&self, columns: &[Column]) -> Vec<Option<Estimate>> {
        let shares: Vec<Vec<Share>> = columns.par_iter().map(|column| self.shares(column)).collect();
        let resampled: Vec<Vec<Option<f64>>> =
            (0..RESAMPLES).into_par_iter().map(|resample| self.resample(&shares, resample)).collect();
        let estimate = |(place, shares): (usize, &Vec<Share>)| {
            let mean = weighted_mean(shares, |_| 1.0)?;
            // A resample may hold nobody who is in a small column: it says nothing of that column.
            let mut means: Vec<f64> = resampled.iter().filter_map(|means| means[place]).collect();
            means.sort_unstable_by(f64::total_cmp);
            Some(Estimate {
                mean,
                low: quantile(&means, LOW).unwrap_or(mean),
                high: quantile(&means, HIGH).unwrap_or(mean),
            })
        };
        shares.iter().enumerate().map(estimate).collect()
    }

    /// The mean and interval of a single column.
    #[must_use]
    pub fn estimate(&self, column: Column) -> Option<Estimate> {
        self.estimates(&[column]).into_iter().next().flatten()
    }

    fn shares(&self, column: &[(u32, f64)]) -> Vec<Share> {
        let mut of_cases: Vec<(u32, f64)> =
            column.iter().map(|(case, value)| (self.person_of[*case as usize], *value)).collect();
        // Stable: the values of a person stay in the order of the cases.
        of_cases.sort_by_key(|(person, _)| *person);
        of_cases
            .chunk_by(|a, b| a.0 == b.0)
            .map(|cases| Share {
                person: cases[0].0,
                cases: cases.len() as f64,
                sum: cases.iter().map(|(_, value)| value).sum(),
            })
            .collect()
    }

    /// The means of all columns over one draw of people.
    fn resample(&self, columns: &[Vec<Share>], resample: u64) -> Vec<Option<f64>> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(resample);
        let mut times = vec![0u32; self.people as usize];
        for _ in 0..self.people {
            times[random.random_range(0..self.people) as usize] += 1;
        }
        let weight = |share: &Share| f64::from(times[share.person as usize]);
        columns.iter().map(|shares| weighted_mean(shares, weight)).collect()
    }
}

fn weighted_mean(shares: &[Share], weight: impl Fn(&Share) -> f64) -> Option<f64> {
    let (mut sum, mut cases) = (0.0, 0.0);
    for share in shares {
        let weight = weight(share);
        sum += weight * share.sum;
        cases += weight * share.cases;
    }
    (cases > 0.0).then(|| sum / cases)
}

/// The quantile of values in rising order, between two of them by straight line; `None` of nothing.
pub(super) fn quantile(rising: &[f64], share: f64) -> Option<f64> {
    let place = share * rising.len().checked_sub(1)? as f64;
    let (below, above) = (rising[place.floor() as usize], rising[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> Column {
        values.iter().enumerate().map(|(case, value)| (case as u32, *value)).collect()
    }

    #[test]
    fn nothing_has_no_estimate_and_one_person_no_width() {
        assert_eq!(Bootstrap::new([], 7).estimates(&[vec![]]), [None]);
        assert_eq!(Bootstrap::new([1, 2], 7).estimate(vec![]), None);
        let one = Bootstrap::new([9, 9, 9], 7).estimate(column(&[0.0, 1.0, 0.5]));
        assert_eq!(one, Some(Estimate { mean: 0.5, low: 0.5, high: 0.5 }));
    }

    #[test]
    fn two_people_give_the_extremes() {
        // One person in four draws is (0, 0), one (1, 1): both percentiles are beyond a quarter.
        let two = Bootstrap::new([0, 1], 7).estimate(column(&[0.0, 1.0]));
        assert_eq!(two, Some(Estimate { mean: 0.5, low: 0.0, high: 1.0 }));
    }

    #[test]
    fn the_interval_is_that_of_the_normal_approximation() {
        // 400 people, half 0 and half 1: standard error 0.5 / 20.
        let values: Vec<f64> = (0..400).map(|case| f64::from(case % 2)).collect();
        let estimate = Bootstrap::new(0..400, 7).estimate(column(&values)).unwrap();
        assert_eq!(estimate.mean, 0.5);
        assert!((estimate.low - (0.5 - 1.96 * 0.025)).abs() < 0.006, "{estimate:?}");
        assert!((estimate.high - (0.5 + 1.96 * 0.025)).abs() < 0.006, "{estimate:?}");
    }

    #[test]
    fn cases_of_one_person_are_drawn_together() {
        // Each value comes four times. As one person's, it tells no more than once: the interval is twice as wide as with 400 people.
        let values: Vec<f64> = (0..400).map(|case| f64::from(case / 4 % 2)).collect();
        let width = |estimate: Estimate| estimate.high - estimate.low;
        let apart = width(Bootstrap::new(0..400, 7).estimate(column(&values)).unwrap());
        let together = width(Bootstrap::new((0..400).map(|case| case / 4), 7).estimate(column(&values)).unwrap());
        assert!((together / apart - 2.0).abs() < 0.2, "{together} {apart}");
    }

    #[test]
    fn a_paired_difference_is_narrower_than_its_parts() {
        let a: Vec<f64> = (0..100).map(|case| f64::from(case % 10) / 10.0).collect();
        let b: Vec<f64> = a.iter().map(|value| value - 0.05).collect();
        let paired = differences(&column(&a), &column(&b));
        let estimate = Bootstrap::new(0..100, 7).estimate(paired).unwrap();
        assert!((estimate.low - 0.05).abs() < 1e-9 && (estimate.high - 0.05).abs() < 1e-9, "{estimate:?}");
    }

    #[test]
    fn differences_take_the_cases_of_both() {
        let a = vec![(0, 1.0), (2, 0.5), (3, 0.25), (9, 1.0)];
        let b = vec![(1, 1.0), (2, 0.25), (3, 0.5)];
        assert_eq!(differences(&a, &b), [(2, 0.25), (3, -0.25)]);
        assert_eq!(differences(&a, &[]), []);
    }

    #[test]
    fn the_number_of_threads_changes_nothing_and_the_seed_does() {
        let values: Vec<f64> = (0..500).map(|case| f64::from(case * 37 % 101) / 101.0).collect();
        let with = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Bootstrap::new((0..500).map(|case| case / 3), seed).estimate(column(&values)).unwrap())
        };
        assert_eq!(with(1, 7), with(5, 7));
        assert_ne!(with(1, 7), with(1, 8));
    }

    #[test]
    fn quantiles_lie_on_straight_lines() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!((quantile(&[1.0], 0.975), quantile(&[], 0.5)), (Some(1.0), None));
    }
}
