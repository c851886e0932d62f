//! READ FIRST. The pipeline: resolve tastes -> fold in -> retrieve -> score -> blend -> re-rank -> explain.

use crate::domain::{Behaviour, Degradation, Domain, ModelRef, Query, RankedItem, Recommendation, Rerank};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::blend::{HistorySlice, SliceBlend};
use super::catalogue::Catalogue;
use super::explain::{self, Asked};
use super::fold_in;
use super::rerank::diversity;
use super::retrieve::{self, Hidden};
use super::scorers::content::Content;
use super::scorers::{Profile, Scorer};
use super::settings::InteractionSettings;
use super::taste_match::{self, ListTastes};
use super::tastes;
use super::top_k::top_k;

pub use super::neighbours::similar;

/// Names that `model` in a request may have, the hybrid first.
pub const MODEL_NAMES: [&str; 4] = ["hybrid", "ease", "content", "popularity"];

/// Places of the scorers in [`Features`] and [`SliceBlend`].
const POPULARITY: usize = 0;
const CONTENT: usize = 1;
const EASE: usize = 2;

/// Raw scores of popularity, content and EASE, by candidate; `None` where a scorer abstains.
pub type Features = [Option<Vec<f32>>; 3];

/// How one candidate's relevance came about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    /// The weighted, normalised scores of popularity, content and EASE.
    pub scorers: [f32; 3],
    pub tastes: f32,
}

impl Parts {
    fn blended(&self) -> f32 {
        self.scorers.iter().sum()
    }

    pub(super) fn total(&self) -> f32 {
        (self.blended() + self.tastes).clamp(0.0, 1.0)
    }
}

/// Ranks. `history` is the person's behaviour, session included ([`Behaviour::merged`]). The same arguments give the same answer:
/// decay is reckoned from the newest behaviour of the history, not from a clock; ties are broken by item id.
///
/// With `diversity` above 0 the score of an item is its marginal value ([`diversity::select`]), else its relevance.
#[must_use]
pub fn recommend(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    interactions: &InteractionSettings,
    query: &Query,
    history: &[Behaviour],
) -> Recommendation {
    let (tastes, unmatched) = tastes::resolve(catalogue, &query.tastes);
    let matched: Vec<Vec<f32>> =
        tastes.resolved.iter().map(|taste| tastes::matches(catalogue, &taste.wanted)).collect();
    let profile = fold_in::profile(catalogue, model, interactions, history, tastes, &matched);
    let hidden = Hidden::new(catalogue, query, history, &profile.tastes);

    // All lists in one go: a history is folded in once.
    let mut candidates = Vec::new();
    let mut ranges = Vec::new();
    for domain in &query.domains {
        let start = candidates.len();
        candidates.extend(retrieve::candidates(catalogue, query, &hidden, domain));
        ranges.push(start..candidates.len());
    }
    let features = features(catalogue, model, &profile, &candidates);
    let lists = query.domains.iter().zip(ranges).map(|(domain, range)| {
        let tastes = ListTastes::new(catalogue, &profile.tastes, &matched, domain);
        let list = List { catalogue, items: &candidates[range.clone()], tastes };
        let blend = slice_blend(catalogue, model, &profile, domain);
        let ranker = Ranker::named(query.model.as_deref(), &features, &blend);
        let parts: Vec<Parts> = range.map(|at| ranker.parts(at, candidates[at], &list.tastes)).collect();
        let asked = query.explain.then_some(Asked { catalogue, model, profile: &profile, tastes: &list.tastes });
        (domain.clone(), list.ranked(&parts, query.limit, query.diversity, asked.as_ref()))
    });
    let lists = lists.collect();

    let mut degraded = Vec::new();
    if model.is_none() {
        degraded.push(Degradation::NoModel);
    }
    if query.rerank == Rerank::Llm {
        degraded.push(Degradation::LlmNotConfigured);
    }
    let model = ModelRef {
        name: query.model.as_deref().unwrap_or(MODEL_NAMES[0]).to_owned(),
        version: model.map(|bound| bound.model.manifest.version.clone()),
        trained_at: model.map(|bound| bound.model.manifest.trained_at),
    };
    Recommendation { model, lists, unmatched, degraded }
}

/// The raw scores that the blend is fitted on and served with.
#[must_use]
pub fn features(catalogue: &Catalogue, model: Option<&BoundModel>, profile: &Profile, items: &[ItemIndex]) -> Features {
    let run = |scorer: &dyn Scorer| {
        let mut out = vec![0.0; items.len()];
        scorer.score(catalogue, profile, items, &mut out).then_some(out)
    };
    [model.and_then(|model| run(&model.popularity())), run(&Content), model.and_then(|model| run(&model.ease()))]
}

/// The slice that a person is in, for one domain.
#[must_use]
pub fn slice_of(catalogue: &Catalogue, profile: &Profile, domain: &Domain) -> HistorySlice {
    let of_domain = |(index, _): &&(ItemIndex, f32)| catalogue.get(*index).is_some_and(|item| item.domain == *domain);
    let items = profile.history.iter().filter(of_domain).count();
    HistorySlice::of(items, !profile.history.is_empty() || !profile.pseudo_history.is_empty())
}

pub(super) fn slice_blend(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    profile: &Profile,
    domain: &Domain,
) -> SliceBlend {
    let slice = slice_of(catalogue, profile, domain);
    model.map_or_else(|| SliceBlend::unfitted(slice), |model| model.blend().of(domain, slice))
}

/// Weighted, normalised scores of one candidate; the weights of scorers that abstain go to the others.
#[must_use]
pub fn blended(features: &Features, at: usize, blend: &SliceBlend) -> [f32; 3] {
    let heard: f32 = (0..3).filter(|&scorer| features[scorer].is_some()).map(|scorer| blend.weights[scorer]).sum();
    std::array::from_fn(|scorer| match &features[scorer] {
        Some(scores) if heard > 0.0 => blend.weights[scorer] / heard * blend.normalised(scorer, scores[at]),
        // Only scorers without weight have something to say: better that than nothing.
        Some(scores) => blend.normalised(scorer, scores[at]) / 3.0,
        None => 0.0,
    })
}

/// The scorers that a request wants, and how their scores become one.
struct Ranker<'a> {
    features: &'a Features,
    blend: &'a SliceBlend,
    /// One scorer alone; `None` for the hybrid.
    alone: Option<usize>,
    /// Whether tastes count by themselves, beside the scorers.
    hears_tastes: bool,
}

impl<'a> Ranker<'a> {
    fn named(name: Option<&str>, features: &'a Features, blend: &'a SliceBlend) -> Self {
        let alone = match name {
            Some("popularity") => Some(POPULARITY),
            Some("content") => Some(CONTENT),
            Some("ease") => Some(EASE),
            _ => None,
        };
        let hears_tastes = alone.is_none_or(|scorer| scorer == CONTENT);
        // Alone, a scorer that has nothing to say leaves the word to popularity.
        let alone = alone.map(|scorer| if features[scorer].is_some() { scorer } else { POPULARITY });
        Self { features, blend, alone, hears_tastes }
    }

    fn parts(&self, at: usize, item: ItemIndex, tastes: &ListTastes<'_>) -> Parts {
        let mut parts = Parts::default();
        match self.alone {
            None => parts.scorers = blended(self.features, at, self.blend),
            Some(scorer) => {
                if let Some(scores) = &self.features[scorer] {
                    parts.scorers[scorer] = self.blend.normalised(scorer, scores[at]);
                }
            }
        }
        if self.hears_tastes && tastes.share > 0.0 {
            for score in &mut parts.scorers {
                *score *= 1.0 - tastes.share;
            }
            parts.tastes = tastes.share * tastes.score(item);
        }
        parts
    }
}

/// The candidates of one list.
struct List<'a> {
    catalogue: &'a Catalogue,
    items: &'a [ItemIndex],
    tastes: ListTastes<'a>,
}

impl List<'_> {
    fn ranked(&self, parts: &[Parts], limit: usize, diversity: f32, asked: Option<&Asked<'_>>) -> Vec<RankedItem> {
        // With diversity, the re-ranker chooses from somewhat more than it returns.
        let wanted = if diversity > 0.0 { limit * 3 + 50 } else { limit };
        let totals: Vec<f32> = parts.iter().map(Parts::total).collect();
        let pool = top_k(self.catalogue, self.items, &totals, wanted);
        let content = self.catalogue.content();
        let relevance = |at: usize, worth: &[f32]| {
            let (parts, item) = (&parts[pool[at]], self.items[pool[at]]);
            if parts.tastes <= 0.0 {
                return parts.total();
            }
            let met = worth.iter().enumerate().map(|(taste, worth)| worth * self.tastes.met(taste, item));
            (parts.blended() + self.tastes.share * taste_match::combined(met)).clamp(0.0, 1.0)
        };
        let met = |at: usize, taste: usize| self.tastes.met(taste, self.items[pool[at]]);
        let similar = |a: usize, b: usize| content.similarity(self.items[pool[a]], self.items[pool[b]]);
        let picked = diversity::select(pool.len(), limit, diversity, self.tastes.len(), relevance, met, similar);
        let ranked = picked.into_iter().filter_map(|(at, score)| {
            let index = self.items[pool[at]];
            let reasons = asked.map_or_else(Vec::new, |asked| explain::reasons(asked, index, &parts[pool[at]]));
            Some(RankedItem { item: self.catalogue.get(index)?.clone(), score, reasons })
        });
        ranked.collect()
    }
}
