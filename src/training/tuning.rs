//! Tuning: a search for the hyper-parameters of each model by successive halving (Jamieson & Talwalkar, AISTATS 2016).
//!
//! Each model is tuned by itself on the people held out, by its own nDCG@20. Where what is hidden is a matter of chance and people are few, it is the mean over
//! several hold-outs, as what is best for some hundred cases is not what is best. A round fits all candidates on a part of the people; the better third goes
//! on to three times as many, until the last are fitted on everybody. The first candidate is always the settings as they are, so that what is found is
//! never worse on validation than what was there. The same seed tries the same candidates; only a time budget that runs out can make a difference, and
//! what was left untried is then said.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::engine::artifact::Metrics;
use crate::engine::blend::Blend;
use crate::engine::dataset::Dataset;
use crate::engine::pipeline;
use crate::engine::scorers::SCORERS;
use crate::engine::settings::EngineSettings;

use super::blending::{K, best, question};
use super::fitting::{Columns, NEVER, bind, fit_only};
use super::hold_out::{Case, HeldOut, hold_out};
use super::load::Loaded;
use super::{TrainingError, TrainingSettings, manifest};
use crate::evaluation::metrics::ndcg;

/// Candidates of the first round, by model.
const CANDIDATES: usize = 15;
/// The shares of people that the rounds are fitted on; a third of the candidates goes on each time.
const ROUNDS: [f64; 3] = [1.0 / 9.0, 1.0 / 3.0, 1.0];
/// A round is fitted on no fewer people: what is best for few is not what is best for many.
const PEOPLE: usize = 10_000;
/// Cases of one hold-out that a candidate is judged on, at most.
const CASES: usize = 1_000;
/// There are so many hold-outs at most, and no more than it takes to have [`CASES`] twice.
const HOLD_OUTS: usize = 4;

/// One candidate that was fitted and judged.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    pub model: &'static str,
    /// The share of people it was fitted on.
    pub people: f64,
    pub settings: EngineSettings,
    pub ndcg: f64,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Tuned {
    pub engine: EngineSettings,
    pub trials: Vec<Trial>,
    /// Models whose search was cut short by the budget.
    pub unfinished: Vec<&'static str>,
}

/// A model's name, and how a candidate for it is drawn.
type Space = (&'static str, fn(&mut EngineSettings, &mut ChaCha8Rng));

/// The models that are tuned, the cheapest first, so that a short budget still tunes something.
const SPACES: [Space; 8] = [
    ("item_knn_cosine", |engine, random| engine.item_knn_neighbours = pick(random, &[20, 50, 100, 200, 400])),
    ("ials", |engine, random| {
        engine.ials.dimensions = pick(random, &[64, 128, 192, 256]);
        engine.ials.unobserved_weight = log_uniform(random, 0.02, 0.6);
        engine.ials.frequency_exponent = pick(random, &[0.5, 0.75, 1.0]);
        engine.ials.strength_exponent = pick(random, &[0.0, 0.25, 0.5, 1.0]);
        // The exponent raises a row's interactions, some hundreds with those unobserved: the penalty is drawn as it would be with exponent 1.
        let rescaled = 400f32.powf(1.0 - engine.ials.frequency_exponent);
        engine.ials.regularization = log_uniform(random, 3e-3, 3e-2) * rescaled;
    }),
    ("ials", |engine, random| {
        engine.ials.unobserved_weight *= log_uniform(random, 0.5, 2.0);
        engine.ials.regularization *= log_uniform(random, 0.6, 1.6);
    }),
    ("graph_filter", |engine, random| {
        engine.graph_rank = pick(random, &[16, 32, 64, 128, 256]);
        engine.graph_alpha = pick(random, &[0.0, 0.1, 0.2, 0.3, 0.5, 0.8]);
    }),
    ("popularity", |engine, random| {
        engine.popularity_half_life_days = pick(random, &[7.0, 30.0, 90.0, 180.0, 365.0, 1_000.0, 10_000.0]);
    }),
    // The penalty that is best depends on how large the strengths are.
    ("ease", |engine, random| {
        engine.ease_lambda = log_uniform(random, 20.0, 2_000.0);
        engine.ease_dropout = pick(random, &[0.0, 0.2, 0.4, 0.6]);
        engine.ease_strength_exponent = pick(random, &[0.0, 0.25, 0.5, 0.75, 1.0]);
    }),
    ("ease", |engine, random| engine.ease_lambda *= log_uniform(random, 0.4, 2.5)),
    ("ease", |engine, random| engine.ease_side_weight = pick(random, &[0.0, 1.0, 3.0, 10.0, 30.0])),
];

/// Searches until `budget` is spent, from the settings as they are.
///
/// # Errors
/// [`TrainingError`] of a fit.
pub(super) fn tune(
    loaded: &Loaded,
    settings: &TrainingSettings,
    budget: Duration,
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> Result<Tuned, TrainingError> {
    let started = Instant::now();
    let hold_outs = hold_outs(loaded, settings);
    let columns = Columns::choose(loaded, settings);
    let smallest = PEOPLE as f64 / loaded.data.users().max(1) as f64;
    let mut rounds: Vec<f64> = ROUNDS.iter().map(|share| share.max(smallest).min(1.0)).collect();
    rounds.dedup();
    let mut tuned = Tuned { engine: settings.engine.clone(), trials: Vec::new(), unfinished: Vec::new() };
    for (number, (model, draw)) in SPACES.into_iter().enumerate() {
        let mut random = ChaCha8Rng::seed_from_u64(settings.seed ^ (number as u64 + 1));
        let mut candidates = vec![tuned.engine.clone()];
        for _ in 1..CANDIDATES {
            let mut candidate = tuned.engine.clone();
            draw(&mut candidate, &mut random);
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        for (round, &people) in rounds.iter().enumerate() {
            let mut judged = Vec::new();
            for (place, engine) in candidates.iter().enumerate() {
                // The settings as they are come first, so that each round has something to hold others against.
                if started.elapsed() > budget && place > 0 {
                    tuned.unfinished.push(model);
                    break;
                }
                let done = (round as f32 + place as f32 / candidates.len() as f32) / rounds.len() as f32;
                progress(&format!("tune {model}"), (number as f32 + done) / SPACES.len() as f32);
                let candidate = TrainingSettings { engine: engine.clone(), ..settings.clone() };
                let ndcg = judge(loaded, &columns, &candidate, &hold_outs, model, people)?;
                tuned.trials.push(Trial { model, people, settings: engine.clone(), ndcg });
                judged.push((engine.clone(), ndcg));
            }
            let keep = (candidates.len() / 3).max(1);
            candidates = survivors(judged, keep);
            if tuned.unfinished.contains(&model) {
                break;
            }
        }
        // Only a search that came to its end, on everybody, decides.
        if !tuned.unfinished.contains(&model) {
            tuned.engine = candidates.swap_remove(0);
        }
    }
    Ok(tuned)
}

/// The best, best first, and in any case the first of all, which are the settings as they are; of equals the one that was tried first.
fn survivors(mut judged: Vec<(EngineSettings, f64)>, keep: usize) -> Vec<EngineSettings> {
    let first = judged[0].0.clone();
    judged.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut kept: Vec<EngineSettings> = judged.into_iter().take(keep).map(|(engine, _)| engine).collect();
    if !kept.contains(&first) {
        kept.push(first);
    }
    kept
}

/// One hold-out; several by chance where people are few and their interactions bear one time, as there is no other newest part to hide.
fn hold_outs(loaded: &Loaded, settings: &TrainingSettings) -> Vec<HeldOut> {
    let mut all = vec![hold_out(loaded, settings, 0)];
    let by_chance = loaded.times.windows(2).all(|pair| pair[0] == pair[1]);
    let mut cases = judged(&all[0]).count();
    while by_chance && cases > 0 && cases < 2 * CASES && all.len() < HOLD_OUTS {
        let next = hold_out(loaded, settings, all.len());
        cases += judged(&next).count();
        all.push(next);
    }
    all
}

/// The cases that candidates are judged on.
fn judged(held_out: &HeldOut) -> impl Iterator<Item = &Case> {
    held_out.cases.iter().filter(|case| case.whole).take(CASES)
}

/// The mean nDCG@20 of one model, fitted on a share of the people, over those held out as they are.
fn judge(
    loaded: &Loaded,
    columns: &Columns,
    settings: &TrainingSettings,
    hold_outs: &[HeldOut],
    name: &str,
    people: f64,
) -> Result<f64, TrainingError> {
    let scorer = SCORERS.iter().position(|scorer| *scorer == name).unwrap_or(0);
    let wanted = std::array::from_fn(|other| other == scorer);
    let (mut sum, mut count) = (0.0, 0);
    for held_out in hold_outs {
        let (data, times) = share_of(&held_out.data, &held_out.times, people, settings.seed);
        let draft = manifest(loaded, settings, NEVER, Blend::default(), Metrics::new());
        let model = bind(loaded, fit_only(loaded, columns, settings, (&data, &times), draft, &[name])?);
        let quality = |case: &&Case| {
            let (profile, candidates) = question(loaded, case);
            let features = pipeline::features(&loaded.catalogue, Some(&model), &profile, &candidates, &wanted);
            features[scorer].as_ref().map_or(0.0, |scores| {
                let ranked = best(scores, K);
                ndcg(&ranked, |&at| case.hidden.contains(&candidates[at as usize].0), case.hidden.len(), K)
            })
        };
        let cases: Vec<&Case> = judged(held_out).collect();
        sum += cases.par_iter().map(quality).collect::<Vec<f64>>().iter().sum::<f64>();
        count += cases.len();
    }
    Ok(sum / count.max(1) as f64)
}

/// The rows of a share of the people, the same for the same seed.
fn share_of(data: &Dataset, times: &[i64], share: f64, seed: u64) -> (Dataset, Vec<i64>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut out, mut kept) = (Dataset::new(data.item_count), Vec::new());
    for user in 0..data.users() {
        if random.random::<f64>() >= share {
            continue;
        }
        let (items, strengths) = data.row(user);
        let mut row: Vec<(u32, f32)> = items.iter().copied().zip(strengths.iter().copied()).collect();
        out.push(&mut row);
        kept.extend_from_slice(&times[data.offsets[user]..data.offsets[user + 1]]);
    }
    (out, kept)
}

fn pick<T: Copy>(random: &mut ChaCha8Rng, values: &[T]) -> T {
    values[random.random_range(0..values.len())]
}

fn log_uniform(random: &mut ChaCha8Rng, low: f32, high: f32) -> f32 {
    (low.ln() + random.random::<f32>() * (high / low).ln()).exp()
}
