//! Neighbours: the items most like one item, also across domains.

use crate::domain::{Domain, ItemId, RankedItem};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::blend::SliceBlend;
use super::catalogue::Catalogue;
use super::pipeline::{blended, features, slice_blend};
use super::scorers::Profile;
use super::top_k::top_k;

/// The nearest neighbours of an item, in `domains`, by content and EASE in equal parts; never the item itself. `None` when the catalogue
/// does not have the item.
#[must_use]
pub fn similar(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    item: &ItemId,
    domains: &[Domain],
    limit: usize,
) -> Option<Vec<(Domain, Vec<RankedItem>)>> {
    let index = catalogue.index_of(item).filter(|&index| catalogue.get(index).is_some())?;
    let profile = Profile { history: vec![(index, 1.0)], ..Profile::default() };
    let lists = domains.iter().map(|domain| {
        let items: Vec<ItemIndex> = catalogue
            .of_domain(domain)
            .iter()
            .copied()
            .filter(|&other| other != index && catalogue.is_available(other))
            .collect();
        let mut features = features(catalogue, model, &profile, &items);
        features[0] = None;
        let blend = SliceBlend { weights: [0.0, 0.5, 0.5], ..slice_blend(catalogue, model, &profile, domain) };
        let scores: Vec<f32> = (0..items.len()).map(|at| blended(&features, at, &blend).iter().sum()).collect();
        let best = top_k(catalogue, &items, &scores, limit).into_iter().filter(|&at| scores[at] > 0.0);
        let list = best.filter_map(|at| {
            Some(RankedItem {
                item: catalogue.get(items[at])?.clone(),
                score: scores[at].min(1.0),
                reasons: Vec::new(),
            })
        });
        (domain.clone(), list.collect())
    });
    Some(lists.collect())
}
