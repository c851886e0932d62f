//! READ FIRST. The pipeline: resolve tastes -> fold in -> retrieve -> score -> blend -> re-rank -> explain.

use std::sync::Arc;

use crate::domain::{Behaviour, Degradation, Domain, ModelRef, Query, Recommendation};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::blend::{Blend, Features, PersonBlend};
use super::catalogue::Catalogue;
use super::fold_in;
use super::list::{List, Ranker, Said};
use super::retrieve::{self, Hidden};
use super::scorers::content::Content;
use super::scorers::{ByScorer, ITEM_TO_ITEM, Profile, SCORERS, Scorer};
use super::settings::InteractionSettings;
use super::tastes;
use super::view::View;

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
    let view = model.map_or_else(|| Arc::new(View::new(catalogue, None)), |model| model.view(catalogue));
    let (tastes, unmatched) = tastes::resolve(catalogue, model, &view, &query.tastes);
    let profile = fold_in::profile(catalogue, interactions, history, tastes);
    let hidden = Hidden::new(catalogue, &view, query, history, &profile.tastes);

    // All lists in one go: a history is folded in once.
    let rankers: Vec<Ranker> = query
        .domains
        .iter()
        .map(|domain| Ranker::named(query.model.as_deref(), person_blend(catalogue, model, &profile, domain)))
        .collect();
    let wanted = |scorer| rankers.iter().any(|ranker| ranker.wants(scorer));
    let is_hybrid = query.model.as_deref().is_none_or(|name| name == MODEL_NAMES[0]);
    let mut said = Said::new(catalogue, model, &profile, is_hybrid, wanted);
    if !rankers.iter().all(|ranker| said.is_weighed(ranker)) {
        said = Said::new(catalogue, model, &profile, false, wanted);
    }
    let lists = query.domains.iter().zip(&rankers).map(|(domain, ranker)| {
        let list = List::new(catalogue, model, &view, &profile, &said, ranker, domain);
        (domain.clone(), list.ranked(&retrieve::allowed(catalogue, list.items, query, &hidden, domain), query))
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
    std::array::from_fn(|scorer| {
        if !wanted[scorer] {
            return None;
        }
        let said = with_scorer(model, scorer, |scorer| scorer.prepare(catalogue, profile)).flatten()?;
        let mut out = vec![0.0; items.len()];
        said.add(items, 1.0, &mut out);
        Some(out)
    })
}

/// Calls `with` the scorer at this place of [`SCORERS`]; `None` when it is part of a model and there is none.
pub(super) fn with_scorer<'m, T>(
    model: Option<&'m BoundModel>,
    scorer: usize,
    with: impl FnOnce(&dyn Scorer<'m>) -> T,
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
    let number = catalogue.domain_number(domain);
    let of_domain = |(index, _): &&(ItemIndex, f32)| number.is_some_and(|number| catalogue.is_of(*index, number));
    let items = profile.history.iter().filter(of_domain).count();
    (items, profile.history.len() > items || profile.has_stand_ins())
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
