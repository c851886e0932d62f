//! Neighbours: the items most like one item, also across domains.

use crate::domain::{Domain, ItemId, RankedItem};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::blend::{PersonBlend, squash, weighted};
use super::catalogue::Catalogue;
use super::pipeline::{features, person_blend};
use super::scorers::{CONTENT, EASE, Profile};
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
    let lists = domains.iter().map(|domain| {
        let nearest = nearest(catalogue, model, index, domain, limit).into_iter();
        let list = nearest.filter_map(|(other, score)| {
            Some(RankedItem { item: catalogue.shared(other)?, score, reasons: Vec::new() })
        });
        (domain.clone(), list.collect())
    });
    Some(lists.collect())
}

/// The neighbours of an item in a domain that are available, nearest first, with their likeness, above 0 and up to 1.
pub(super) fn nearest(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    index: ItemIndex,
    domain: &Domain,
    limit: usize,
) -> Vec<(ItemIndex, f32)> {
    let profile = Profile { history: vec![(index, 1.0)], ..Profile::default() };
    let is_other = |&other: &ItemIndex| other != index && catalogue.is_available(other);
    let items: Vec<ItemIndex> = catalogue.of_domain(domain).iter().copied().filter(is_other).collect();
    let wanted = std::array::from_fn(|scorer| scorer == CONTENT || scorer == EASE);
    let features = features(catalogue, model, &profile, &items, &wanted);
    let weights = wanted.map(|wanted| if wanted { 0.5 } else { 0.0 });
    let blend = PersonBlend { weights, level: 1.0, ..person_blend(catalogue, model, &profile, domain) };
    let sums = weighted(&features, &blend.coefficients(&features), 0..items.len());
    let scores: Vec<f32> = sums.iter().map(|&sum| if sum > 0.0 { squash(sum) } else { 0.0 }).collect();
    let best = top_k(catalogue, &items, &scores, limit).into_iter().filter(|&at| scores[at] > 0.0);
    best.map(|at| (items[at], scores[at].min(1.0))).collect()
}
