//! The second stage: what each scorer says of people held out, and the blend that is learned from it ([`super::stacking`]).

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::domain::Domain;
use crate::engine::ItemIndex;
use crate::engine::artifact::{BoundModel, Metrics};
use crate::engine::blend::{Blend, Features, HistorySlice};
use crate::engine::pipeline;
use crate::engine::scorers::{ByScorer, Profile, SCORERS};
use crate::evaluation::metrics::{ndcg, recall};

use super::fitting::{Columns, NEVER, bind, fit_scorers};
use super::hold_out::{Case, hold_out};
use super::load::Loaded;
use super::new_items;
use super::stacking::{self, Stacked};
use super::text_share::TextShare;
use super::{TrainingError, TrainingSettings, manifest};

/// Metrics are measured at this length.
pub(super) const K: usize = 20;
/// The blend is fitted on the union of each scorer's best so many candidates and what is hidden: what none of them ranks there does not come
/// to the top of a blend.
const POOL: usize = 60;

/// The ranks of so many hidden items at most are found by counting.
const COUNTED: usize = 24;

/// So many items are scored for the blend at most, all cases taken together: in a catalogue of a million, fewer cases.
const MOST_SCORES: usize = 2_000_000_000;

/// What the scorers say to a case: of the candidates that can come to the top, their raw scores, and where what was hidden is among them.
pub(super) struct Scored {
    pub user: usize,
    pub domain: u16,
    pub items: usize,
    pub elsewhere: bool,
    pub whole: bool,
    pub features: Features,
    pub relevant: Vec<bool>,
    pub count: usize,
    /// nDCG and recall of each scorer alone, over all candidates; 0 for one that abstains.
    pub alone: ByScorer<(f64, f64)>,
}

impl Scored {
    /// The slices its weights lie between, and the share of the second.
    pub(super) fn between(&self) -> (HistorySlice, HistorySlice, f32) {
        HistorySlice::between(self.items, self.elsewhere)
    }

    /// The slice it is counted to.
    pub(super) fn slice(&self) -> HistorySlice {
        HistorySlice::of(self.items, self.elsewhere)
    }

    /// nDCG and recall of a ranking of its candidates by these sums.
    pub(super) fn quality(&self, sums: &[f32]) -> (f64, f64) {
        let hits = if self.count > COUNTED {
            best(sums, K).iter().map(|&place| self.relevant[place as usize]).collect()
        } else {
            self.hits(sums)
        };
        (ndcg(&hits, |hit| *hit, self.count, K), recall(&hits, |hit| *hit, self.count, K))
    }

    /// By rank, up to `K`: whether what is there was hidden. As [`best`] tells it, by counting what is ahead of each, which is faster
    /// than sorting as long as they are few.
    fn hits(&self, sums: &[f32]) -> Vec<bool> {
        let mut hits = vec![false; K];
        for place in (0..sums.len()).filter(|&place| self.relevant[place]) {
            let own = sums[place];
            let ahead = |sums: &[f32], tied: bool| {
                sums.iter().map(|sum| u32::from(*sum > own) + u32::from(tied && *sum == own)).sum::<u32>()
            };
            let rank = ahead(&sums[..place], true) + ahead(&sums[place + 1..], false);
            if let Some(hit) = hits.get_mut(rank as usize) {
                *hit = true;
            }
        }
        hits
    }
}

/// The blend, the metrics of the hybrid and of each scorer alone on people held out, and how much the items' texts count in EASE.
pub(super) fn fit(
    loaded: &Loaded,
    columns: &Columns,
    settings: &TrainingSettings,
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> Result<(Blend, Metrics, f32), TrainingError> {
    let mut text_share = None;
    let rounds = settings.validation_rounds.max(1);
    let (mut scored, mut new_items, mut asked) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds {
        progress("hold out", 0.05);
        let held_out = hold_out(loaded, settings, round);
        // The share of people is a matter of chance: nearly enough is enough.
        if held_out.cases.is_empty() || 10 * asked >= 9 * settings.validation_max_users {
            break;
        }
        asked += held_out.cases.iter().filter(|case| case.whole).count();
        let draft = manifest(loaded, settings, NEVER, Blend::default(), Metrics::new());
        let report = |phase: &str, part: f32| {
            let part = (round as f32 + part) / rounds as f32;
            progress(&format!("{phase} for validation"), 0.05 + 0.4 * part);
        };
        let data = (&held_out.data, held_out.times.as_slice());
        let share = text_share.map_or(TextShare::Chosen(&held_out.cases), TextShare::Known);
        let (model, share) = fit_scorers(loaded, columns, settings, data, draft, share, &report)?;
        text_share = Some(share);
        let model = bind(loaded, model);
        let step = (held_out.cases.len() * loaded.items.len()).div_ceil(MOST_SCORES).max(1);
        let cases: Vec<&Case> = held_out.cases.iter().step_by(step).collect();
        scored.par_extend(cases.par_iter().map(|case| score(loaded, &model, case)));
        if round == 0 {
            new_items = new_items::learn(loaded, columns, &model, settings);
        }
    }
    if scored.is_empty() {
        return Ok((Blend::default(), Metrics::new(), 0.0));
    }
    progress("fit blend", 0.5);
    let stacked = stacking::fit(&scored, settings);
    let blend = stacked.blend(&settings.domains, &new_items);
    Ok((blend, measure(&scored, &stacked, &settings.domains), text_share.unwrap_or_default()))
}

/// What a case asks: the person as the scorers see them, and the items to rank. What the person knows and what is not hidden is not asked for, whatever
/// part of the history the case shows.
pub(super) fn question(loaded: &Loaded, case: &Case) -> (Profile, Vec<ItemIndex>) {
    let history = case.history.iter().map(|&(item, strength)| (ItemIndex(item), strength)).collect();
    let known = loaded.data.row(case.user).0;
    let candidates = (0..loaded.items.len() as u32)
        .filter(|&item| loaded.domain_of[item as usize] == case.domain)
        .filter(|item| known.binary_search(item).is_err() || case.hidden.contains(item))
        .map(ItemIndex)
        .collect();
    (Profile { history, ..Profile::default() }, candidates)
}

fn score(loaded: &Loaded, model: &BoundModel, case: &Case) -> Scored {
    let (profile, candidates) = question(loaded, case);
    let all = [true; SCORERS.len()];
    let features = pipeline::features(&loaded.catalogue, Some(model), &profile, &candidates, &all);
    let relevant = candidates.iter().map(|item| case.hidden.contains(&item.0)).collect();
    let mut whole = Scored {
        user: case.user,
        domain: case.domain,
        items: case.items,
        elsewhere: case.elsewhere,
        whole: case.whole,
        features,
        relevant,
        count: case.hidden.len(),
        alone: [(0.0, 0.0); SCORERS.len()],
    };
    whole.alone =
        std::array::from_fn(|n| whole.features[n].as_ref().map_or((0.0, 0.0), |scores| whole.quality(scores)));
    pooled(whole)
}

/// The same case over the candidates that can come to the top of a blend.
fn pooled(case: Scored) -> Scored {
    let mut chosen: Vec<u32> = (0..case.relevant.len() as u32).filter(|&at| case.relevant[at as usize]).collect();
    for scores in case.features.iter().flatten() {
        chosen.extend(best(scores, POOL));
    }
    chosen.sort_unstable();
    chosen.dedup();
    let of = |scores: &Vec<f32>| chosen.iter().map(|&at| scores[at as usize]).collect();
    Scored {
        features: std::array::from_fn(|scorer| case.features[scorer].as_ref().map(of)),
        relevant: chosen.iter().map(|&at| case.relevant[at as usize]).collect(),
        ..case
    }
}

/// The places of the `k` largest, largest first; ties by place.
pub(super) fn best(scores: &[f32], k: usize) -> Vec<u32> {
    let better = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
    let mut places: Vec<u32> = (0..scores.len() as u32).collect();
    if places.len() > k {
        places.select_nth_unstable_by(k, better);
        places.truncate(k);
    }
    places.sort_unstable_by(better);
    places
}

/// nDCG@20 and recall@20 of the hybrid (each person judged by weights that were fitted without them) and of each scorer alone, over everybody
/// held out as they are, in all and by domain.
fn measure(scored: &[Scored], stacked: &Stacked, domains: &[Domain]) -> Metrics {
    let mut metrics = Metrics::new();
    for (number, name) in std::iter::once("hybrid").chain(SCORERS).enumerate() {
        let value = |(at, case): (usize, &Scored)| {
            let (ndcg, recall) = if number == 0 { stacked.cross_fitted[at] } else { case.alone[number - 1] };
            (case.domain, ndcg, recall)
        };
        let rows: Vec<_> = scored.iter().enumerate().filter(|(_, case)| case.whole).map(value).collect();
        let of = metrics.entry(name.to_owned()).or_default();
        add_means(of, "", &rows);
        for (place, domain) in domains.iter().enumerate() {
            let own: Vec<_> = rows.iter().copied().filter(|row| usize::from(row.0) == place).collect();
            add_means(of, &format!("{domain}/"), &own);
        }
    }
    metrics
}

fn add_means(metrics: &mut BTreeMap<String, f64>, prefix: &str, rows: &[(u16, f64, f64)]) {
    if rows.is_empty() {
        return;
    }
    let count = rows.len() as f64;
    metrics.insert(format!("{prefix}ndcg@20"), rows.iter().map(|row| row.1).sum::<f64>() / count);
    metrics.insert(format!("{prefix}recall@20"), rows.iter().map(|row| row.2).sum::<f64>() / count);
    metrics.insert(format!("{prefix}cases"), count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_what_is_ahead_agrees_with_sorting() {
        let mut state = 7u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for _ in 0..500 {
            let length = 1 + random(60) as usize;
            let sums: Vec<f32> = (0..length).map(|_| random(12) as f32 / 4.0 - 1.0).collect();
            let relevant: Vec<bool> = (0..length).map(|_| random(5) == 0).collect();
            let case = Scored {
                user: 0,
                domain: 0,
                items: 0,
                elsewhere: false,
                whole: true,
                features: Features::default(),
                count: relevant.iter().filter(|relevant| **relevant).count(),
                relevant,
                alone: [(0.0, 0.0); SCORERS.len()],
            };
            let mut sorted: Vec<bool> = best(&sums, K).iter().map(|&at| case.relevant[at as usize]).collect();
            sorted.resize(K, false);
            assert_eq!(case.hits(&sums), sorted, "{sums:?} {:?}", case.relevant);
        }
    }
}
