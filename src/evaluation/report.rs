//! The report: every model on the same cases, with intervals, slices, and paired differences.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::beyond::{self, mean};
use super::intervals::{Bootstrap, Column, Estimate, differences, quantile};
use super::metrics;
use super::outcome::{Case, ItemFacts, Outcome};
use super::slices::{Slice, slices, whole};

/// A metric over the hits of a list: whether each place holds something relevant, how many relevant items there are, and k.
type Metric = fn(&[bool], fn(&bool) -> bool, usize, usize) -> f64;
/// What is measured of each model; of slices and of differences only the first [`COMPARED`].
pub(super) const METRICS: [(&str, Metric); 5] = [
    ("ndcg", metrics::ndcg),
    ("recall", metrics::recall),
    ("mrr", metrics::reciprocal_rank),
    ("hit_rate", metrics::hit_rate),
    ("precision", metrics::precision),
];
pub(super) const COMPARED: usize = 2;

/// One model's answers to all cases. A case without an answer counts as answered with an empty list.
#[derive(Debug, Clone)]
pub struct Run {
    pub name: String,
    pub outcomes: Vec<Outcome>,
    pub fit_seconds: f64,
}

/// Where the cases come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `temporal`, `random` or `published`.
    pub kind: String,
    pub description: String,
    pub train_interactions: u64,
    pub test_interactions: u64,
    /// People in training.
    pub users: u64,
    pub items: u64,
    /// When training ends, for a temporal split.
    pub cutoff: Option<jiff::Timestamp>,
}

/// The comparison of models, as printed by `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub models: Vec<ModelReport>,
    pub comparisons: Vec<Comparison>,
    pub source: Source,
    pub k: usize,
    pub notes: Vec<String>,
}

/// What was measured of one model. Metrics are means over the cases that have something relevant; where there is none they are absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    pub name: String,
    pub users: usize,
    pub metrics: BTreeMap<String, Estimate>,
    pub beyond: BTreeMap<String, f64>,
    pub slices: BTreeMap<String, SliceReport>,
    pub fit_seconds: f64,
    /// Time of one answer; absent when nothing was answered.
    pub microseconds: Option<Microseconds>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceReport {
    pub users: usize,
    pub cases: usize,
    pub metrics: BTreeMap<String, Estimate>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Microseconds {
    pub p50: f64,
    pub p95: f64,
}

/// The paired difference `model` − `baseline`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub model: String,
    pub baseline: String,
    pub metric: String,
    pub difference: Estimate,
}

/// Measures all runs on the same cases. `domains` names the domains of cases and items; `baseline_of` is the run whose paired difference to every
/// other one is told (none when it is not among the runs); `seed` draws the people of the intervals.
#[must_use]
#[allow(clippy::too_many_arguments, reason = "all of it is what a report is made of; called once")]
pub fn report(
    source: Source,
    domains: &[String],
    cases: &[Case],
    facts: &ItemFacts,
    runs: &[Run],
    k: usize,
    baseline_of: &str,
    seed: u64,
    mut notes: Vec<String>,
) -> Report {
    let all = whole(cases);
    if all.cases.len() < cases.len() {
        let without = cases.len() - all.cases.len();
        notes.push(format!("Cases with nothing relevant, which are in no metric: {without} of {}.", cases.len()));
    }
    let cutoff = source.cutoff.map(jiff::Timestamp::as_second);
    let slices = slices(cases, domains, facts, cutoff);
    let bench = Bench { cases, facts, k, all, slices, bootstrap: Bootstrap::new(cases.iter().map(|c| c.user), seed) };

    let mut models = Vec::new();
    let mut compared = Vec::new();
    for run in runs {
        let lists = bench.lists(run, &mut notes);
        let columns = bench.columns(&bench.all, &lists, METRICS.len());
        models.push(bench.model(run, &lists, &columns, source.users));
        compared.push(columns.into_iter().take(COMPARED).collect::<Vec<Column>>());
    }
    let comparisons = bench.comparisons(runs, &compared, baseline_of);
    Report { models, comparisons, source, k, notes }
}

/// What is the same for all runs.
struct Bench<'a> {
    cases: &'a [Case],
    facts: &'a ItemFacts,
    k: usize,
    all: Slice<'a>,
    slices: Vec<Slice<'a>>,
    bootstrap: Bootstrap,
}

impl Bench<'_> {
    /// The list for each case, at most k long.
    fn lists<'r>(&self, run: &'r Run, notes: &mut Vec<String>) -> Vec<&'r [u32]> {
        let mut lists = vec![None; self.cases.len()];
        let mut ignored = 0;
        for outcome in &run.outcomes {
            match lists.get_mut(outcome.case as usize) {
                Some(list @ None) => *list = Some(&outcome.ranked[..outcome.ranked.len().min(self.k)]),
                _ => ignored += 1,
            }
        }
        let missing = lists.iter().filter(|list| list.is_none()).count();
        if missing > 0 {
            notes.push(format!("{}: cases without an answer, counted as empty lists: {missing}.", run.name));
        }
        if ignored > 0 {
            notes.push(format!("{}: answers to no case, or to one already answered, ignored: {ignored}.", run.name));
        }
        lists.into_iter().map(Option::unwrap_or_default).collect()
    }

    fn model(&self, run: &Run, lists: &[&[u32]], columns: &[Column], users: u64) -> ModelReport {
        let mut all_columns = columns.to_vec();
        for slice in &self.slices {
            all_columns.extend(self.columns(slice, lists, COMPARED));
        }
        let estimates = self.bootstrap.estimates(&all_columns);
        let (of_all, of_slices) = estimates.split_at(columns.len());
        let slices = self.slices.iter().zip(of_slices.chunks(COMPARED)).map(|(slice, estimates)| {
            let metrics = self.named(estimates);
            (slice.name.clone(), SliceReport { users: self.users(slice), cases: slice.cases.len(), metrics })
        });
        ModelReport {
            name: run.name.clone(),
            users: self.users(&self.all),
            metrics: self.named(of_all),
            beyond: self.beyond(lists, users),
            slices: slices.collect(),
            fit_seconds: run.fit_seconds,
            microseconds: microseconds(&run.outcomes),
        }
    }

    /// The first metrics of each case of a slice, a column a metric.
    fn columns(&self, slice: &Slice, lists: &[&[u32]], count: usize) -> Vec<Column> {
        let measure = |(case, relevant): &(u32, std::borrow::Cow<[u32]>)| {
            let hits = hits(lists[*case as usize], relevant);
            METRICS.map(|(_, metric)| metric(&hits, |hit| *hit, relevant.len(), self.k))
        };
        let measured: Vec<[f64; METRICS.len()]> = slice.cases.par_iter().map(measure).collect();
        let column = |metric: usize| {
            slice.cases.iter().zip(&measured).map(|((case, _), values)| (*case, values[metric])).collect()
        };
        (0..count).map(column).collect()
    }

    fn beyond(&self, lists: &[&[u32]], users: u64) -> BTreeMap<String, f64> {
        let exposure = self.exposure(lists);
        let of_cases = |measure: &(dyn Fn(&Case, &[u32]) -> Option<f64> + Sync)| {
            let values: Vec<Option<f64>> =
                self.cases.par_iter().zip(lists).map(|(case, list)| measure(case, list)).collect();
            mean(values.into_iter().flatten())
        };
        // Like with like: a list of movies is held against the movies of the history.
        let own = |case: &Case| -> Vec<u32> {
            case.history.iter().copied().filter(|item| self.facts.is_in(*item, case.domain)).collect()
        };
        let values = [
            ("coverage", beyond::coverage(&exposure)),
            ("gini", beyond::gini(&exposure)),
            ("novelty", of_cases(&|_, list| beyond::novelty(list, self.facts, users))),
            ("diversity", of_cases(&|_, list| beyond::diversity(list, self.facts))),
            ("calibration", of_cases(&|case, list| beyond::calibration(&own(case), list, self.facts))),
        ];
        values.into_iter().filter_map(|(name, value)| Some((self.at_k(name), value?))).collect()
    }

    /// In how many lists each item is, of all items in the domains that were asked for.
    fn exposure(&self, lists: &[&[u32]]) -> Vec<u64> {
        let asked: HashSet<u16> = self.cases.iter().map(|case| case.domain).collect();
        let mut exposure = vec![0; self.facts.domain.len()];
        for item in lists.iter().copied().flatten() {
            if let Some(count) = exposure.get_mut(*item as usize) {
                *count += 1;
            }
        }
        let of_domains = exposure.into_iter().zip(&self.facts.domain).filter(|(_, domain)| asked.contains(domain));
        of_domains.map(|(count, _)| count).collect()
    }

    fn comparisons(&self, runs: &[Run], columns: &[Vec<Column>], of: &str) -> Vec<Comparison> {
        let Some(model) = runs.iter().position(|run| run.name == of) else {
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (place, run) in runs.iter().enumerate().filter(|(place, _)| *place != model) {
            for (metric, (name, _)) in METRICS.iter().enumerate().take(COMPARED) {
                pairs.push((run, name, differences(&columns[model][metric], &columns[place][metric])));
            }
        }
        let (names, paired): (Vec<_>, Vec<_>) =
            pairs.into_iter().map(|(run, name, column)| ((run, name), column)).unzip();
        let estimates = self.bootstrap.estimates(&paired);
        let comparison = |((run, name), difference): ((&Run, &&str), Option<Estimate>)| {
            let (model, baseline, metric) = (of.to_owned(), run.name.clone(), self.at_k(name));
            Some(Comparison { model, baseline, metric, difference: difference? })
        };
        names.into_iter().zip(estimates).filter_map(comparison).collect()
    }

    fn users(&self, slice: &Slice) -> usize {
        slice.cases.iter().map(|(case, _)| self.cases[*case as usize].user).collect::<HashSet<u32>>().len()
    }

    fn named(&self, estimates: &[Option<Estimate>]) -> BTreeMap<String, Estimate> {
        METRICS
            .iter()
            .zip(estimates)
            .filter_map(|((name, _), estimate)| Some((self.at_k(name), (*estimate)?)))
            .collect()
    }

    fn at_k(&self, name: &str) -> String {
        format!("{name}@{}", self.k)
    }
}

/// Whether each place holds something relevant; an item that is listed twice counts the first time.
fn hits(ranked: &[u32], relevant: &[u32]) -> Vec<bool> {
    let hit = |(place, item): (usize, &u32)| relevant.contains(item) && !ranked[..place].contains(item);
    ranked.iter().enumerate().map(hit).collect()
}

fn microseconds(outcomes: &[Outcome]) -> Option<Microseconds> {
    let mut rising: Vec<f64> = outcomes.iter().map(|outcome| outcome.seconds * 1e6).collect();
    rising.sort_unstable_by(f64::total_cmp);
    Some(Microseconds { p50: quantile(&rising, 0.5)?, p95: quantile(&rising, 0.95)? })
}

#[cfg(test)]
pub(super) mod tests;
