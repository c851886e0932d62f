//! One list: which candidates can be among its best, their relevance, and the pick among them.

use std::cell::OnceCell;

use crate::domain::{Domain, Query, RankedItem};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::blend::{PersonBlend, squash};
use super::catalogue::Catalogue;
use super::explain::{self, Asked};
use super::lanes;
use super::pipeline::with_scorer;
use super::rerank::diversity;
use super::scorers::als_person::PersonFactors;
use super::scorers::{ByScorer, CONTENT, IALS, ITEM_TO_ITEM, POPULARITY, Prepared, Profile, SCORERS};
use super::taste_match::{self, ListTastes};
use super::top_k::{at_least, kth_largest, top_k};
use super::view::{DomainItems, View};

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
    /// By scorer: it speaks as one of those that are summed up in [`super::known_taste::Said`], and is not in `by`.
    joint: ByScorer<bool>,
    /// What these sums are multiplied with before the blend: one over the length of the history of stand-ins.
    joint_share: f32,
}

impl<'a> Said<'a> {
    /// With `jointly`, item-to-item scorers speak as one where nothing but tastes is known, which gives the same sums as each for itself.
    pub(super) fn new(
        catalogue: &'a Catalogue,
        model: Option<&'a BoundModel>,
        profile: &Profile,
        jointly: bool,
        wanted: impl Fn(usize) -> bool,
    ) -> Self {
        let prepare = |scorer| with_scorer(model, scorer, |scorer| scorer.prepare(catalogue, profile)).flatten();
        let mut joint = [false; SCORERS.len()];
        let mut stand_ins = 0;
        if let Some(model) = model.filter(|_| jointly && profile.history.is_empty()) {
            let columns =
                || profile.tastes.iter().flat_map(|taste| &taste.stand_ins).filter_map(|&item| model.column(item));
            stand_ins = columns().count();
            let first = columns().min();
            for (place, name) in ITEM_TO_ITEM.iter().enumerate() {
                let covers = first.is_some_and(|first| (first as usize) < model.item_to_item(place).weights.len());
                if let Some(scorer) = SCORERS.iter().position(|scorer| scorer == name).filter(|&scorer| wanted(scorer))
                {
                    joint[scorer] = covers;
                }
            }
        }
        let by = std::array::from_fn(|scorer| if wanted(scorer) && !joint[scorer] { prepare(scorer) } else { None });
        Self { by, joint, joint_share: 1.0 / (stand_ins.max(1) as f32).sqrt() }
    }

    /// Whether the scorers that speak have weight in the blend: else each counts by itself, and none can speak for others.
    pub(super) fn is_weighed(&self, ranker: &Ranker) -> bool {
        ranker.blend.heard(&self.spoken()) > 0.0
    }

    /// By scorer: whether it has something to say.
    pub(super) fn spoken(&self) -> ByScorer<Option<()>> {
        std::array::from_fn(|scorer| (self.by[scorer].is_some() || self.joint[scorer]).then_some(()))
    }
}

/// One list in the making. Positions are those of `items`.
pub(super) struct List<'a> {
    pub catalogue: &'a Catalogue,
    pub model: Option<&'a BoundModel>,
    pub view: &'a View,
    pub items: &'a DomainItems,
    pub profile: &'a Profile,
    pub said: &'a Said<'a>,
    pub ranker: &'a Ranker,
    /// What each scorer's raw score is multiplied with.
    pub coefficients: ByScorer<f32>,
    pub tastes: ListTastes<'a>,
    /// What the stand-ins of each taste say by item-to-item scorers, by position.
    pub joint: Vec<&'a [f32]>,
}

static NOTHING: DomainItems = DomainItems::empty();

impl<'a> List<'a> {
    pub(super) fn new(
        catalogue: &'a Catalogue,
        model: Option<&'a BoundModel>,
        view: &'a View,
        profile: &'a Profile,
        said: &'a Said<'a>,
        ranker: &'a Ranker,
        domain: &Domain,
    ) -> Self {
        let number = catalogue.domain_number(domain);
        let mut joint = Vec::new();
        if let (Some(model), Some(number), true) = (model, number, said.joint.contains(&true)) {
            let speaking = profile.tastes.iter().filter(|taste| !taste.stand_ins.is_empty());
            let of_taste = speaking.filter_map(|taste| taste.said(catalogue, model, view, number));
            joint.extend(of_taste);
        }
        Self {
            catalogue,
            model,
            view,
            items: number.and_then(|number| view.domain(number)).unwrap_or(&NOTHING),
            profile,
            said,
            ranker,
            coefficients: ranker.coefficients(&said.spoken()),
            tastes: ListTastes::new(&profile.tastes, domain, number),
            joint,
        }
    }

    /// The list of the best of what is `allowed`, by position.
    pub(super) fn ranked(&self, allowed: &[bool], query: &Query) -> Vec<RankedItem> {
        let (limit, diversity) = (query.limit, query.diversity);
        // With diversity, the re-ranker chooses from somewhat more than it returns.
        let pool = self.best(allowed, if diversity > 0.0 { limit * 3 + 50 } else { limit });
        let content = self.catalogue.content();
        let tastes = self.tastes.len();
        let met: Vec<f32> = pool
            .iter()
            .flat_map(|&(position, _)| (0..tastes).map(move |taste| self.tastes.met(taste, position)))
            .collect();
        let relevance = |at: usize, worth: &[f32]| {
            let (_, parts) = &pool[at];
            if parts.tastes <= 0.0 {
                return parts.total();
            }
            let met = worth.iter().zip(&met[at * tastes..]).map(|(worth, met)| worth * met);
            (parts.scorers + self.tastes.share * taste_match::combined(met)).clamp(0.0, 1.0)
        };
        let item = |at: usize| self.items.items[pool[at].0];
        let nearest =
            |at: usize, picks: &[(usize, f32)]| content.nearest(item(at), picks.iter().map(|&(pick, _)| item(pick)));
        let met = |at: usize, taste: usize| met[at * tastes + taste];
        let picked = diversity::select(pool.len(), limit, diversity, tastes, relevance, met, nearest);
        let asked = || Asked::new(self.catalogue, self.model, self.profile, &self.tastes);
        let asked = query.explain.then(asked);
        let separate = OnceCell::new();
        let ranked = picked.into_iter().filter_map(|(at, score)| {
            let (position, parts) = &pool[at];
            let index = self.items.items[*position];
            let reasons = asked.as_ref().map_or_else(Vec::new, |asked| {
                explain::reasons(asked, index, *position, parts, &self.shares(*position, &separate))
            });
            Some(RankedItem { item: self.catalogue.shared(index)?, score, reasons })
        });
        ranked.collect()
    }

    /// The `k` most relevant of what is allowed, best first, by position. Exact: what iALS, which costs most, is not asked about could not have come in
    /// whatever it had said (Cauchy-Schwarz: the product of the lengths).
    fn best(&self, allowed: &[bool], k: usize) -> Vec<(usize, Parts)> {
        let share = if self.ranker.hears_tastes() { self.tastes.share } else { 0.0 };
        let heard = self.coefficients.iter().any(|coefficient| *coefficient > 0.0);
        let scorers = if heard { 1.0 - share } else { 0.0 };
        let mut tastes = if share > 0.0 { self.tastes.scores(allowed.len()) } else { vec![0.0; allowed.len()] };
        for (tastes, allowed) in tastes.iter_mut().zip(allowed) {
            *tastes = if *allowed { share * *tastes } else { f32::NEG_INFINITY };
        }
        let mut sums = self.sums();
        let ials = self.ials();
        let reach = ials.map_or(0.0, |(factor, person)| factor * person.length());
        let bounds = lanes::totals(&sums, reach, &self.items.lengths, scorers, &tastes);
        let parts = |sum: f32, tastes: f32| Parts { scorers: scorers * squash(sum), tastes };
        // The most promising first. What cannot reach the worst of them is never scored in full.
        let (mut found, mut totals) = (Vec::with_capacity(4 * k), Vec::with_capacity(4 * k));
        let mut score = |position: usize, found: &mut Vec<usize>| {
            if let Some((factor, person)) = ials {
                sums[position] += factor * self.share_of_ials(position) * self.predicted(person, position);
            }
            found.push(position);
            totals.push(parts(sums[position], tastes[position]).total());
            totals[totals.len() - 1]
        };
        let promising = kth_largest(&bounds, k).max(f32::MIN);
        let mut worst = f32::INFINITY;
        at_least(&bounds, promising, |position| worst = worst.min(score(position, &mut found)));
        if ials.is_some() {
            // Sums of floating point numbers that come in another order are not quite the same.
            at_least(&bounds, worst - SLACK, |position| {
                if bounds[position] < promising {
                    score(position, &mut found);
                }
            });
        }
        let items: Vec<ItemIndex> = found.iter().map(|&position| self.items.items[position]).collect();
        let best = top_k(self.catalogue, &items, &totals, k);
        best.into_iter().map(|at| (found[at], parts(sums[found[at]], tastes[found[at]]))).collect()
    }

    /// iALS, where it counts: its coefficient and the person.
    fn ials(&self) -> Option<(f32, &PersonFactors<'_>)> {
        match &self.said.by[IALS] {
            Some(Prepared::Factors(person)) if self.coefficients[IALS] != 0.0 => {
                Some((self.coefficients[IALS], person))
            }
            _ => None,
        }
    }

    fn predicted(&self, person: &PersonFactors<'_>, position: usize) -> f32 {
        let factors = self.model.and_then(|model| self.view.factors(model, self.items, position));
        factors.map_or(0.0, |factors| person.predicts(factors))
    }

    /// By position: the sums of the scorers' raw scores times their coefficients, without that of iALS.
    fn sums(&self) -> Vec<f32> {
        let mut sums = vec![0.0f32; self.items.items.len()];
        if !self.joint.is_empty() {
            lanes::add_rows(&mut sums, &self.joint);
            let factor = self.said.joint_share / self.ranker.blend.heard(&self.said.spoken());
            sums.iter_mut().for_each(|sum| *sum *= factor);
        }
        let mut by_column: Vec<f32> = Vec::new();
        for (scorer, said) in self.said.by.iter().enumerate() {
            let factor = self.coefficients[scorer];
            let Some(said) = said.as_ref().filter(|_| scorer != IALS && factor != 0.0) else { continue };
            match said {
                Prepared::Popularity(_) => lanes::add_scaled(&mut sums, factor, &self.items.popularity),
                Prepared::Columns(scores, _) => {
                    by_column.resize(by_column.len().max(scores.len()), 0.0);
                    lanes::add_scaled(&mut by_column, factor, scores);
                }
                Prepared::Content(_) if self.learned_of_new_items() => {}
                _ => {
                    let each = sums.iter_mut().zip(&self.items.items);
                    each.for_each(|(sum, &item)| *sum += factor * said.of(item));
                }
            }
        }
        if let Some(said) = self.said.by[CONTENT].as_ref().filter(|_| self.learned_of_new_items()) {
            let (of_known, of_new) = (self.coefficients[CONTENT], self.content_of_new_items());
            for (position, (sum, &item)) in sums.iter_mut().zip(&self.items.items).enumerate() {
                let factor = if self.is_new(position) { of_new } else { of_known };
                if factor != 0.0 {
                    *sum += factor * said.of(item);
                }
            }
        }
        // All that are by column in one go.
        if !by_column.is_empty() {
            for (sum, &column) in sums.iter_mut().zip(&self.items.columns) {
                *sum += by_column.get(column as usize).copied().unwrap_or(0.0);
            }
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

    /// What counts of iALS for an item; at most 1.
    fn share_of_ials(&self, position: usize) -> f32 {
        let share = self.ranker.blend.new_items.ials;
        if share < 1.0 && self.learned_of_new_items() && self.is_new(position) { share } else { 1.0 }
    }

    /// What the raw score of a scorer is multiplied with for an item.
    fn coefficient(&self, scorer: usize, position: usize) -> f32 {
        match scorer {
            CONTENT if self.learned_of_new_items() && self.is_new(position) => self.content_of_new_items(),
            IALS => self.coefficients[IALS] * self.share_of_ials(position),
            _ => self.coefficients[scorer],
        }
    }

    fn is_new(&self, position: usize) -> bool {
        self.items.new.get(position).copied().unwrap_or(false)
    }

    /// By scorer: the share of all that spoke for an item. `separate`: the scorers that spoke as one, each for itself.
    fn shares(&self, position: usize, separate: &OnceCell<Said<'a>>) -> ByScorer<f32> {
        let separate = separate.get_or_init(|| {
            Said::new(self.catalogue, self.model, self.profile, false, |scorer| self.said.joint[scorer])
        });
        let item = self.items.items[position];
        let parts: ByScorer<f32> = std::array::from_fn(|scorer| {
            let said = self.said.by[scorer].as_ref().or(separate.by[scorer].as_ref());
            said.map_or(0.0, |said| self.coefficient(scorer, position) * said.of(item))
        });
        let total: f32 = parts.iter().filter(|part| **part > 0.0).sum();
        parts.map(|part| if total > 0.0 { part.max(0.0) / total } else { 0.0 })
    }
}

#[cfg(test)]
mod tests;
