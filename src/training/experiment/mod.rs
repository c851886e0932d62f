//! Experiments: train on one part of the behaviour, ask for the other, and report how well each model foresaw it.
//!
//! What is measured is what is served: each case is one call of [`pipeline::recommend`], over the full catalogue.

mod fusion;
mod opinions;
mod sampled;
mod split_files;
mod split_store;

use std::time::Instant;

use rayon::prelude::*;

use jiff::Timestamp;

use crate::domain::{Behaviour, Domain, Item, Query, Rerank};
use crate::engine::artifact::BoundModel;
use crate::engine::pipeline::{self, MODEL_NAMES};
use crate::evaluation::{Case, ItemFacts, Outcome, Report, Run, Source, report};
use crate::store::Store;

use super::fitting::{NEVER, bind};
use super::load::Loaded;
use super::{TrainingError, TrainingSettings, fit, fit_alone};

pub use fusion::{FusionRow, FusionSlice, measure as measure_fusion};
pub use opinions::{Asked, OpinionReport, Opinions, judge, short_lists};
pub use sampled::Sampled;
pub use split_files::{InteractionFile, split_files};
pub use split_store::{SplitKind, split_store};

/// The models that need all others: the blend of them, and those for which learning it finds something out.
const TOGETHER: [&str; 3] = ["hybrid", "ease", "ials"];

/// What an experiment compares, and how.
#[derive(Debug, Clone)]
pub struct ExperimentSettings {
    pub training: TrainingSettings,
    /// Names of [`MODEL_NAMES`]; empty: all.
    pub models: Vec<String>,
    /// Length of the lists.
    pub k: usize,
    /// At most this many cases, spread over all.
    pub max_cases: usize,
    /// Rank each true item among so many sampled ones as well, as some papers do.
    pub sampled: Option<usize>,
}

/// Behaviour in two parts: what models are trained on, and what they are to foresee.
pub struct Split {
    loaded: Loaded,
    cases: Vec<SplitCase>,
    source: Source,
    /// By item: whether it is ranked; `None`: all are.
    candidates: Option<Vec<bool>>,
    /// By item: when it was first touched in the training part.
    first_seen: Vec<Option<i64>>,
    notes: Vec<String>,
}

/// One person asked for in one domain.
struct SplitCase {
    user: String,
    domain: u16,
    history: Vec<Behaviour>,
    /// Places of items.
    relevant: Vec<u32>,
    /// The history reaches up to here; `None` where there is no order in time.
    asked_at: Option<Timestamp>,
    /// Whether all of the history is in the training part as well.
    first: bool,
}

impl Split {
    /// Refuses a split whose training part knows the future: an interaction of a domain with an order in time at or after the cut-off.
    ///
    /// # Errors
    /// [`TrainingError::Leak`].
    fn check(&self) -> Result<(), TrainingError> {
        let Some(cutoff) = self.source.cutoff else { return Ok(()) };
        let knows_more = |case: &SplitCase| {
            case.asked_at.is_some_and(|moment| case.history.iter().any(|entry| entry.last_at >= moment))
        };
        if self.cases.iter().any(knows_more) {
            // Whose it is is not for a terminal.
            return Err(TrainingError::Leak("a history reaches beyond the moment that it is asked at".into()));
        }
        if self.loaded.times.iter().any(|&time| time > cutoff.as_second()) {
            return Err(TrainingError::Leak(format!("the training part reaches beyond {cutoff}")));
        }
        Ok(())
    }

    /// Adds vectors of the items' texts, as a training does.
    pub async fn add_vectors(
        &mut self,
        store: &dyn Store,
        settings: &TrainingSettings,
        progress: &(dyn Fn(&str, f32) + Send + Sync),
    ) {
        self.loaded.add_vectors(store, settings, progress).await;
    }

    /// The two parts as lines of `user item strength` and `user item`, tab-separated, for other programs; what counts against an item is left out.
    ///
    /// # Errors
    /// Whatever writing says.
    pub fn write(&self, train: &mut dyn std::io::Write, test: &mut dyn std::io::Write) -> std::io::Result<()> {
        let id = |item: u32| &self.loaded.items[item as usize].id;
        for user in 0..self.loaded.data.users() {
            let (items, strengths) = self.loaded.data.row(user);
            for (&item, &strength) in items.iter().zip(strengths).filter(|(_, strength)| **strength > 0.0) {
                writeln!(train, "{}\t{}\t{strength}", self.loaded.users[user], id(item))?;
            }
        }
        for case in self.cases.iter().filter(|case| !case.history.is_empty() && case.first) {
            for &item in &case.relevant {
                writeln!(test, "{}\t{}", case.user, id(item))?;
            }
        }
        Ok(())
    }
}

/// Trains on the one part and asks each model for the other.
///
/// # Errors
/// [`TrainingError`]: there is nothing to train on or to ask for, or the split leaks.
pub fn run(
    split: &Split,
    settings: &ExperimentSettings,
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> Result<(Report, Vec<Sampled>), TrainingError> {
    split.check()?;
    if split.cases.is_empty() {
        return Err(TrainingError::NothingToTrainOn("nobody has interactions to foresee".into()));
    }
    let training = &settings.training;
    let started = Instant::now();
    let names = settings.models.iter().map(String::as_str);
    let names: Vec<&str> = if settings.models.is_empty() { MODEL_NAMES.to_vec() } else { names.collect() };
    let model = if training.tune.is_none() && names.iter().all(|name| !TOGETHER.contains(name)) {
        progress("fit", 0.0);
        fit_alone(&split.loaded, training, &names)?
    } else {
        fit(&split.loaded, training, NEVER, &|phase: &str, part: f32| progress(phase, 0.7 * part))?
    };
    let model = bind(&split.loaded, model);
    let fit_seconds = started.elapsed().as_secs_f64();
    let cases = chosen(split, settings);
    let runs: Vec<Run> = names
        .iter()
        .enumerate()
        .map(|(number, name)| {
            progress(&format!("ask {name}"), 0.7 + 0.25 * number as f32 / names.len() as f32);
            let outcomes = cases.par_iter().enumerate().map(|(at, case)| ask(split, &model, settings, name, at, case));
            Run { name: (*name).to_owned(), outcomes: outcomes.collect(), fit_seconds }
        })
        .collect();
    let sampled = settings.sampled.map_or_else(Vec::new, |negatives| {
        progress("rank among sampled items", 0.95);
        names.iter().map(|name| sampled::measure(split, &model, settings, name, &cases, negatives)).collect()
    });
    progress("report", 0.97);
    Ok((summed_up(split, settings, &cases, &runs), sampled))
}

/// At most `max_cases`, spread over all.
fn chosen<'a>(split: &'a Split, settings: &ExperimentSettings) -> Vec<&'a SplitCase> {
    let step = split.cases.len().div_ceil(settings.max_cases.max(1)).max(1);
    split.cases.iter().step_by(step).collect()
}

fn ask(
    split: &Split,
    model: &BoundModel,
    settings: &ExperimentSettings,
    name: &str,
    at: usize,
    case: &SplitCase,
) -> Outcome {
    let started = Instant::now();
    let ranked = ranking(split, model, settings, name, case, settings.k);
    Outcome { case: at as u32, ranked, seconds: started.elapsed().as_secs_f64() }
}

/// Places of the `limit` best items for a case.
fn ranking(
    split: &Split,
    model: &BoundModel,
    settings: &ExperimentSettings,
    name: &str,
    case: &SplitCase,
    limit: usize,
) -> Vec<u32> {
    let asked = if split.candidates.is_some() { split.loaded.items.len() } else { limit };
    let query = query(settings.training.domains[usize::from(case.domain)].clone(), asked, name);
    let interactions = &settings.training.interactions;
    let answer = pipeline::recommend(&split.loaded.catalogue, Some(model), interactions, &query, &case.history);
    let place = |id| split.loaded.items.binary_search_by(|item| item.id.cmp(id)).ok();
    let ranked = answer.lists.iter().flat_map(|(_, list)| list);
    let ranked = ranked.filter_map(|ranked| place(&ranked.item.id));
    let is_candidate = |place: &usize| split.candidates.as_ref().is_none_or(|candidates| candidates[*place]);
    ranked.filter(is_candidate).map(|place| place as u32).take(limit).collect()
}

fn query(domain: Domain, limit: usize, model: &str) -> Query {
    Query {
        tastes: Vec::new(),
        user_id: None,
        session: Vec::new(),
        domains: vec![domain],
        limit,
        filters: crate::domain::Filters::default(),
        exclude: Vec::new(),
        include_seen: false,
        model: Some(model.to_owned()),
        diversity: 0.0,
        explain: false,
        rerank: Rerank::None,
        deadline: None,
        min_watermark: None,
    }
}

fn summed_up(split: &Split, settings: &ExperimentSettings, cases: &[&SplitCase], runs: &[Run]) -> Report {
    let loaded = &split.loaded;
    let place = |id| loaded.items.binary_search_by(|item| item.id.cmp(id)).ok().map(|place| place as u32);
    let mut users: std::collections::HashMap<&str, u32> = std::collections::HashMap::new();
    let evaluated: Vec<Case> = cases
        .iter()
        .map(|case| {
            let next = users.len() as u32;
            let mut history: Vec<u32> = case.history.iter().filter_map(|entry| place(&entry.item_id)).collect();
            history.retain(|&item| loaded.domain_of[item as usize] == case.domain);
            history.dedup();
            Case {
                user: *users.entry(case.user.as_str()).or_insert(next),
                domain: case.domain,
                history,
                relevant: case.relevant.clone(),
            }
        })
        .collect();
    let facts = ItemFacts {
        genres: genres(&loaded.items),
        popularity: loaded.data.supporters(),
        first_seen: split.first_seen.clone(),
        domain: loaded.domain_of.clone(),
    };
    let domains: Vec<String> = settings.training.domains.iter().map(ToString::to_string).collect();
    let (seed, notes) = (settings.training.seed, split.notes.clone());
    report(split.source.clone(), &domains, &evaluated, &facts, runs, settings.k, MODEL_NAMES[0], seed, notes)
}

/// The genres of each item by number, each once: a genre that an item names twice is no second one.
fn genres(items: &[Item]) -> Vec<Vec<u32>> {
    let mut numbers: std::collections::HashMap<&str, u32> = std::collections::HashMap::new();
    let numbered = items.iter().map(|item| {
        let mut genres = Vec::with_capacity(item.genres.len());
        for genre in &item.genres {
            let next = numbers.len() as u32;
            genres.push(*numbers.entry(genre).or_insert(next));
        }
        genres.sort_unstable();
        genres.dedup();
        genres
    });
    numbered.collect()
}

#[cfg(test)]
mod tests {
    use crate::domain::{InteractionKind, ItemId};
    use crate::engine::catalogue::Catalogue;
    use crate::engine::dataset::Dataset;

    use super::*;

    #[test]
    fn a_split_that_knows_the_future_is_refused_and_names_nobody() {
        let moment = |second: i64| Timestamp::from_second(second).unwrap();
        let check = |trained_at: i64, last_at: i64| {
            let entry = Behaviour {
                item_id: ItemId::new("film").unwrap(),
                kind: InteractionKind::Watch,
                count: 1,
                total: 1.0,
                last_value: None,
                last_at: moment(last_at),
            };
            let loaded = Loaded {
                items: Vec::new(),
                domain_of: Vec::new(),
                catalogue: Catalogue::new(&[]),
                users: Vec::new(),
                data: Dataset::new(0),
                times: vec![trained_at],
                fingerprint: String::new(),
                vectors: None,
                vector_report: None,
            };
            let source = Source {
                kind: "temporal".into(),
                description: String::new(),
                train_interactions: 1,
                test_interactions: 1,
                users: 1,
                items: 1,
                cutoff: Some(moment(100)),
            };
            let case = SplitCase {
                user: "somebody".into(),
                domain: 0,
                history: vec![entry],
                relevant: Vec::new(),
                asked_at: Some(moment(150)),
                first: false,
            };
            let cases = vec![case];
            Split { loaded, cases, source, candidates: None, first_seen: Vec::new(), notes: Vec::new() }.check()
        };
        assert!(check(100, 149).is_ok());
        for (trained_at, last_at) in [(101, 149), (100, 150)] {
            let error = check(trained_at, last_at).unwrap_err();
            let said = error.to_string();
            assert!(matches!(error, TrainingError::Leak(_)) && !said.contains("somebody"), "{said}");
        }
    }

    #[test]
    fn a_genre_that_an_item_names_twice_counts_once() {
        let item = |genres: &[&str]| -> Item {
            serde_json::from_value(serde_json::json!({"id": "a", "domain": "movie", "title": "A", "genres": genres,
                "tags": [], "creators": [], "attributes": {}, "available": true}))
            .unwrap()
        };
        let items = [item(&["Drama", "Crime", "Drama"]), item(&["Crime", "Crime"]), item(&["War", "Drama"]), item(&[])];
        assert_eq!(genres(&items), [vec![0, 1], vec![1], vec![0, 2], vec![]]);
    }
}
