//! One list: which candidates can be among its best, their relevance, and the pick among them.

use crate::domain::{Query, RankedItem};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::blend::{PersonBlend, squash};
use super::catalogue::Catalogue;
use super::explain::{self, Asked};
use super::pipeline::with_scorer;
use super::rerank::diversity;
use super::scorers::{ByScorer, CONTENT, IALS, POPULARITY, Prepared, Profile, SCORERS};
use super::taste_match::{self, ListTastes};
use super::top_k::{kth_largest, top_k};

/// Bounds are taken so much wider than they are, for sums of floating point numbers that come in another order.
const SLACK: f32 = 1e-5;

/// How one candidate's relevance came about: what the scorers and the tastes said, both within 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    pub scorers: f32,
    pub tastes: f32,
}

impl Parts {
    pub(super) fn total(&self) -> f32 {
        (self.scorers + self.tastes).clamp(0.0, 1.0)
    }
}

/// The scorers that a request wants for one list, and how their scores become one.
pub(super) struct Ranker {
    blend: PersonBlend,
    /// One scorer alone; `None` for the hybrid.
    alone: Option<usize>,
}

impl Ranker {
    pub(super) fn named(name: Option<&str>, blend: PersonBlend) -> Self {
        let alone = name.and_then(|name| SCORERS.iter().position(|scorer| *scorer == name));
        Self { blend: alone.map_or(blend, |scorer| blend.alone(scorer)), alone }
    }

    /// Popularity and content are always asked, for when all others abstain.
    pub(super) fn wants(&self, scorer: usize) -> bool {
        self.blend.weights[scorer] > 0.0 || scorer == POPULARITY || (self.alone.is_none() && scorer == CONTENT)
    }

    pub(super) fn coefficients<T>(&self, spoken: &ByScorer<Option<T>>) -> ByScorer<f32> {
        match self.alone {
            // Alone, a scorer that has nothing to say leaves the word to popularity.
            Some(scorer) if spoken[scorer].is_none() => self.blend.alone(POPULARITY).coefficients(spoken),
            _ => self.blend.coefficients(spoken),
        }
    }

    /// Tastes count by themselves beside the hybrid and content.
    fn hears_tastes(&self) -> bool {
        self.alone.is_none_or(|scorer| scorer == CONTENT)
    }
}

/// What the scorers say of one person, in all lists; `None` by scorer: it abstains, or nobody asked.
pub(super) struct Said<'a> {
    pub by: ByScorer<Option<Prepared<'a>>>,
}

impl<'a> Said<'a> {
    pub(super) fn new(
        catalogue: &'a Catalogue,
        model: Option<&'a BoundModel>,
        profile: &Profile,
        wanted: impl Fn(usize) -> bool,
    ) -> Self {
        let prepare = |scorer| with_scorer(model, scorer, |scorer| scorer.prepare(catalogue, profile)).flatten();
        Self { by: std::array::from_fn(|scorer| if wanted(scorer) { prepare(scorer) } else { None }) }
    }
}

/// One list in the making.
pub(super) struct List<'a> {
    pub catalogue: &'a Catalogue,
    pub model: Option<&'a BoundModel>,
    pub said: &'a Said<'a>,
    pub ranker: &'a Ranker,
    /// What each scorer's raw score is multiplied with.
    pub coefficients: ByScorer<f32>,
    pub tastes: ListTastes<'a>,
}

impl List<'_> {
    /// The list of the best of `candidates`.
    pub(super) fn ranked(&self, candidates: &[ItemIndex], query: &Query, profile: &Profile) -> Vec<RankedItem> {
        let (limit, diversity) = (query.limit, query.diversity);
        // With diversity, the re-ranker chooses from somewhat more than it returns.
        let pool = self.best(candidates, if diversity > 0.0 { limit * 3 + 50 } else { limit });
        let content = self.catalogue.content();
        let relevance = |at: usize, worth: &[f32]| {
            let (item, parts) = &pool[at];
            if parts.tastes <= 0.0 || worth.iter().all(|&worth| worth >= 1.0) {
                return parts.total();
            }
            let met = worth.iter().enumerate().map(|(taste, worth)| worth * self.tastes.met(taste, *item));
            (parts.scorers + self.tastes.share * taste_match::combined(met)).clamp(0.0, 1.0)
        };
        let met = |at: usize, taste: usize| self.tastes.met(taste, pool[at].0);
        let mut marks = Vec::new();
        let nearest = |at: usize, picks: &[(usize, f32)]| {
            content.nearest(pool[at].0, picks.iter().map(|&(pick, _)| pool[pick].0), &mut marks)
        };
        let picked = diversity::select(pool.len(), limit, diversity, self.tastes.len(), relevance, met, nearest);
        let asked = query.explain.then_some(Asked {
            catalogue: self.catalogue,
            model: self.model,
            profile,
            tastes: &self.tastes,
        });
        let ranked = picked.into_iter().filter_map(|(at, score)| {
            let (index, parts) = &pool[at];
            let reasons = asked
                .as_ref()
                .map_or_else(Vec::new, |asked| explain::reasons(asked, *index, parts, &self.shares(*index)));
            Some(RankedItem { item: self.catalogue.shared(*index)?, score, reasons })
        });
        ranked.collect()
    }

    /// The `k` most relevant candidates, best first. Exact: what is left out early could not have come in, whatever the rest of its score had been.
    fn best(&self, candidates: &[ItemIndex], k: usize) -> Vec<(ItemIndex, Parts)> {
        let share = if self.ranker.hears_tastes() { self.tastes.share } else { 0.0 };
        let (items, tastes) = self.near_enough(candidates, share, k);
        let heard = self.coefficients.iter().any(|coefficient| *coefficient > 0.0);
        let parts =
            |sum: f32, tastes: f32| Parts { scorers: if heard { (1.0 - share) * squash(sum) } else { 0.0 }, tastes };
        let mut sums = self.sums(&items);
        let mut totals: Vec<f32>;
        match &self.said.by[IALS] {
            Some(Prepared::Factors(person)) if self.coefficients[IALS] != 0.0 => {
                let factors: Vec<f32> =
                    items.iter().map(|item| self.coefficients[IALS] * self.share_of_ials(*item)).collect();
                let at_most = |at: usize| {
                    let most = sums[at] + factors[at] * person.at_most(items[at]);
                    parts(most, tastes[at]).total() + SLACK
                };
                let bounds: Vec<f32> = (0..items.len()).map(at_most).collect();
                totals = vec![f32::NEG_INFINITY; items.len()];
                // The most promising first: what cannot reach the worst of them is never scored.
                let first = top_k(self.catalogue, &items, &bounds, k);
                let mut worst = f32::INFINITY;
                for &at in &first {
                    sums[at] += factors[at] * person.of(items[at]);
                    totals[at] = parts(sums[at], tastes[at]).total();
                    worst = worst.min(totals[at]);
                }
                for at in 0..items.len() {
                    if bounds[at] >= worst && totals[at] == f32::NEG_INFINITY {
                        sums[at] += factors[at] * person.of(items[at]);
                        totals[at] = parts(sums[at], tastes[at]).total();
                    }
                }
            }
            _ => totals = sums.iter().zip(&tastes).map(|(&sum, &tastes)| parts(sum, tastes).total()).collect(),
        }
        let best = top_k(self.catalogue, &items, &totals, k);
        best.into_iter().map(|at| (items[at], parts(sums[at], tastes[at]))).collect()
    }

    /// The candidates that meet the tastes well enough to be among the `k` best, and the part of their relevance that comes of it.
    fn near_enough(&self, candidates: &[ItemIndex], share: f32, k: usize) -> (Vec<ItemIndex>, Vec<f32>) {
        if share <= 0.0 {
            return (candidates.to_vec(), vec![0.0; candidates.len()]);
        }
        let places = self.tastes.scores(self.catalogue.places());
        let parts: Vec<f32> = candidates.iter().map(|item| share * places[item.0 as usize]).collect();
        // The scorers add at least nothing, and at most the rest.
        let least = kth_largest(&parts, k) - (1.0 - share) - SLACK;
        candidates.iter().zip(parts).filter(|(_, part)| *part >= least).map(|(&item, part)| (item, part)).unzip()
    }

    /// The sums of the scorers' raw scores times their coefficients, without that of iALS, which costs most.
    fn sums(&self, items: &[ItemIndex]) -> Vec<f32> {
        let mut sums = vec![0.0f32; items.len()];
        for (scorer, said) in self.said.by.iter().enumerate() {
            let Some(said) = said.as_ref().filter(|_| scorer != IALS && self.coefficients[scorer] != 0.0) else {
                continue;
            };
            if scorer == CONTENT && self.learned_of_new_items() {
                let known = items.iter().zip(&mut sums).filter(|(item, _)| !self.is_new(**item));
                known.for_each(|(&item, sum)| *sum += self.coefficients[scorer] * said.of(item));
            } else {
                said.add(items, self.coefficients[scorer], &mut sums);
            }
        }
        let of_new = self.content_of_new_items();
        if let Some(said) = self.said.by[CONTENT].as_ref().filter(|_| of_new != 0.0) {
            let new = items.iter().zip(&mut sums).filter(|(item, _)| self.is_new(**item));
            new.for_each(|(&item, sum)| *sum += of_new * said.of(item));
        }
        sums
    }

    /// Of an item that nobody has touched only the terms are known: in the hybrid it is scored by iALS and content, in a mix that training learned
    /// ([`NewItems`](super::blend::NewItems)).
    fn learned_of_new_items(&self) -> bool {
        self.ranker.alone.is_none() && self.said.by[IALS].is_some()
    }

    /// What the raw score of content is multiplied with for a new item, where that was learned.
    fn content_of_new_items(&self) -> f32 {
        let learned = self.learned_of_new_items();
        if learned { self.coefficients[IALS] * self.ranker.blend.new_items.content } else { 0.0 }
    }

    /// What counts of iALS for an item.
    fn share_of_ials(&self, item: ItemIndex) -> f32 {
        let share = self.ranker.blend.new_items.ials;
        if share < 1.0 && self.learned_of_new_items() && self.is_new(item) { share } else { 1.0 }
    }

    /// What the raw score of a scorer is multiplied with for an item.
    fn coefficient(&self, scorer: usize, item: ItemIndex) -> f32 {
        match scorer {
            CONTENT if self.learned_of_new_items() && self.is_new(item) => self.content_of_new_items(),
            IALS => self.coefficients[IALS] * self.share_of_ials(item),
            _ => self.coefficients[scorer],
        }
    }

    fn is_new(&self, item: ItemIndex) -> bool {
        self.model.is_some_and(|model| !model.knows(item))
    }

    /// By scorer: the share of all that spoke for an item.
    fn shares(&self, item: ItemIndex) -> ByScorer<f32> {
        let parts: ByScorer<f32> = std::array::from_fn(|scorer| {
            self.said.by[scorer].as_ref().map_or(0.0, |said| self.coefficient(scorer, item) * said.of(item))
        });
        let total: f32 = parts.iter().filter(|part| **part > 0.0).sum();
        parts.map(|part| if total > 0.0 { part.max(0.0) / total } else { 0.0 })
    }
}

#[cfg(test)]
mod tests;
