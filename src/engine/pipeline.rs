//! READ FIRST. The pipeline: resolve tastes -> fold in -> retrieve -> score -> blend -> re-rank -> explain.

use crate::domain::{Behaviour, Degradation, Domain, ModelRef, Query, RankedItem, Recommendation};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::blend::{Blend, Features, PersonBlend, squash, weighted};
use super::catalogue::Catalogue;
use super::explain::{self, Asked};
use super::fold_in;
use super::rerank::diversity;
use super::retrieve::{self, Hidden};
use super::scorers::content::Content;
use super::scorers::{ByScorer, CONTENT, IALS, ITEM_TO_ITEM, POPULARITY, Profile, SCORERS, Scorer};
use super::settings::InteractionSettings;
use super::taste_match::{self, ListTastes};
use super::tastes;
use super::top_k::top_k;

pub use super::neighbours::similar;

/// Names that `model` in a request may have, the hybrid first.
pub const MODEL_NAMES: [&str; SCORERS.len() + 1] = [
    "hybrid",
    "ease",
    "ials",
    "graph_filter",
    "item_knn_cosine",
    "item_knn_tf_idf",
    "item_knn_bm25",
    "content",
    "popularity",
];

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
    let rankers: Vec<Ranker> = query
        .domains
        .iter()
        .map(|domain| Ranker::named(query.model.as_deref(), person_blend(catalogue, model, &profile, domain)))
        .collect();
    let wanted = std::array::from_fn(|scorer| rankers.iter().any(|ranker| ranker.wants(scorer)));
    let mut features = features(catalogue, model, &profile, &candidates, &wanted);
    for (range, _) in ranges.iter().zip(&rankers).filter(|(_, ranker)| ranker.alone.is_none()) {
        leave_new_items_to_ials(&mut features, model, &candidates, range.clone());
    }
    let lists = query.domains.iter().zip(ranges).zip(&rankers).map(|((domain, range), ranker)| {
        let tastes = ListTastes::new(catalogue, &profile.tastes, &matched, domain);
        let list = List { catalogue, items: &candidates[range.clone()], tastes };
        let coefficients = ranker.coefficients(&features);
        let parts = ranker.parts(&list, &coefficients, weighted(&features, &coefficients, range.clone()));
        let asked = query.explain.then_some(Asked { catalogue, model, profile: &profile, tastes: &list.tastes });
        let said = Said { features: &features, coefficients, start: range.start };
        (domain.clone(), list.ranked(&parts, query.limit, query.diversity, asked.as_ref(), &said))
    });
    let lists = lists.collect();

    let mut degraded = Vec::new();
    if model.is_none() {
        degraded.push(Degradation::NoModel);
    }
    let model = ModelRef {
        name: query.model.as_deref().unwrap_or(MODEL_NAMES[0]).to_owned(),
        version: model.map(|bound| bound.model.manifest.version.clone()),
        trained_at: model.map(|bound| bound.model.manifest.trained_at),
    };
    Recommendation { model, lists, unmatched, degraded }
}

/// The raw scores that the blend is fitted on and served with, of the scorers that are wanted.
#[must_use]
pub fn features(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    profile: &Profile,
    items: &[ItemIndex],
    wanted: &ByScorer<bool>,
) -> Features {
    let run = |scorer: &dyn Scorer| {
        let mut out = vec![0.0; items.len()];
        scorer.score(catalogue, profile, items, &mut out).then_some(out)
    };
    std::array::from_fn(|scorer| {
        if !wanted[scorer] {
            return None;
        }
        with_scorer(model, scorer, run).flatten()
    })
}

/// Of an item that nobody has touched only the terms are known, and iALS reads them better than plain likeness does (docs/accuracy.md, "New items"):
/// there content keeps silent in the hybrid.
fn leave_new_items_to_ials(
    features: &mut Features,
    model: Option<&BoundModel>,
    items: &[ItemIndex],
    range: std::ops::Range<usize>,
) {
    let Some(model) = model.filter(|_| features[IALS].is_some()) else { return };
    let Some(content) = &mut features[CONTENT] else { return };
    for at in range.filter(|&at| !model.knows(items[at])) {
        content[at] = 0.0;
    }
}

/// Calls `with` the scorer at this place of [`SCORERS`]; `None` when it is part of a model and there is none.
pub(super) fn with_scorer<T>(
    model: Option<&BoundModel>,
    scorer: usize,
    with: impl FnOnce(&dyn Scorer) -> T,
) -> Option<T> {
    let name = SCORERS[scorer];
    match name {
        "content" => Some(with(&Content)),
        "popularity" => model.map(|model| with(&model.popularity())),
        "ials" => model.map(|model| with(&model.als())),
        _ => {
            let place = ITEM_TO_ITEM.iter().position(|other| *other == name)?;
            model.map(|model| with(&model.item_to_item(place)))
        }
    }
}

/// How many items of a domain are in the history, and whether anything else is known: items of other domains, or tastes.
#[must_use]
pub fn known_of(catalogue: &Catalogue, profile: &Profile, domain: &Domain) -> (usize, bool) {
    let of_domain = |(index, _): &&(ItemIndex, f32)| catalogue.get(*index).is_some_and(|item| item.domain == *domain);
    let items = profile.history.iter().filter(of_domain).count();
    (items, profile.history.len() > items || !profile.pseudo_history.is_empty())
}

pub(super) fn person_blend(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    profile: &Profile,
    domain: &Domain,
) -> PersonBlend {
    let (items, elsewhere) = known_of(catalogue, profile, domain);
    let unfitted = Blend::default();
    model.map_or(&unfitted, BoundModel::blend).of(domain, items, elsewhere)
}

/// The scorers that a request wants for one list, and how their scores become one.
struct Ranker {
    blend: PersonBlend,
    /// One scorer alone; `None` for the hybrid.
    alone: Option<usize>,
}

impl Ranker {
    fn named(name: Option<&str>, blend: PersonBlend) -> Self {
        let alone = name.and_then(|name| SCORERS.iter().position(|scorer| *scorer == name));
        Self { blend: alone.map_or(blend, |scorer| blend.alone(scorer)), alone }
    }

    /// Popularity and content are always asked, for when all others abstain.
    fn wants(&self, scorer: usize) -> bool {
        self.blend.weights[scorer] > 0.0 || scorer == POPULARITY || (self.alone.is_none() && scorer == CONTENT)
    }

    fn coefficients(&self, features: &Features) -> ByScorer<f32> {
        match self.alone {
            // Alone, a scorer that has nothing to say leaves the word to popularity.
            Some(scorer) if features[scorer].is_none() => self.blend.alone(POPULARITY).coefficients(features),
            _ => self.blend.coefficients(features),
        }
    }

    /// Tastes count by themselves beside the hybrid and content.
    fn parts(&self, list: &List<'_>, coefficients: &ByScorer<f32>, sums: Vec<f32>) -> Vec<Parts> {
        let hears_tastes = self.alone.is_none_or(|scorer| scorer == CONTENT);
        let share = if hears_tastes { list.tastes.share } else { 0.0 };
        let heard = coefficients.iter().any(|coefficient| *coefficient > 0.0);
        let part = |(sum, &item): (f32, &ItemIndex)| {
            let tastes = if share > 0.0 { share * list.tastes.score(item) } else { 0.0 };
            Parts { scorers: if heard { (1.0 - share) * squash(sum) } else { 0.0 }, tastes }
        };
        sums.into_iter().zip(list.items).map(part).collect()
    }
}

/// What the scorers said of the candidates of a list, which begin at `start` of the features.
pub(super) struct Said<'a> {
    features: &'a Features,
    coefficients: ByScorer<f32>,
    start: usize,
}

impl Said<'_> {
    /// By scorer: the share of all that spoke for a candidate of the list.
    fn shares(&self, at: usize) -> ByScorer<f32> {
        let parts: ByScorer<f32> = std::array::from_fn(|scorer| {
            self.features[scorer].as_ref().map_or(0.0, |scores| self.coefficients[scorer] * scores[self.start + at])
        });
        let total: f32 = parts.iter().filter(|part| **part > 0.0).sum();
        parts.map(|part| if total > 0.0 { part.max(0.0) / total } else { 0.0 })
    }
}

/// The candidates of one list.
struct List<'a> {
    catalogue: &'a Catalogue,
    items: &'a [ItemIndex],
    tastes: ListTastes<'a>,
}

impl List<'_> {
    fn ranked(
        &self,
        parts: &[Parts],
        limit: usize,
        diversity: f32,
        asked: Option<&Asked<'_>>,
        said: &Said<'_>,
    ) -> Vec<RankedItem> {
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
            (parts.scorers + self.tastes.share * taste_match::combined(met)).clamp(0.0, 1.0)
        };
        let met = |at: usize, taste: usize| self.tastes.met(taste, self.items[pool[at]]);
        let similar = |a: usize, b: usize| content.similarity(self.items[pool[a]], self.items[pool[b]]);
        let picked = diversity::select(pool.len(), limit, diversity, self.tastes.len(), relevance, met, similar);
        let ranked = picked.into_iter().filter_map(|(at, score)| {
            let index = self.items[pool[at]];
            let explained =
                |asked: &Asked<'_>| explain::reasons(asked, index, &parts[pool[at]], &said.shares(pool[at]));
            let reasons = asked.map_or_else(Vec::new, explained);
            Some(RankedItem { item: self.catalogue.get(index)?.clone(), score, reasons })
        });
        ranked.collect()
    }
}
