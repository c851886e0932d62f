//! A taste that was understood, with all that it contributes to a list: which items meet it, which stand for it, and what those say of each item.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::ItemIndex;
use super::artifact::BoundModel;
use super::catalogue::Catalogue;
use super::neighbours;
use super::reader::TITLES;
use super::scorers::{ITEM_TO_ITEM, SCORERS};
use super::top_k::top_k;
use super::view::View;
use super::wanted::{self, Met, Resolved, Wanted};

/// A taste is carried into other domains by this many of the best-known items that meet it.
const STAND_INS: usize = 20;

/// So many items meet a title that was named: the most alike.
const ALIKE: usize = 100;

/// What is known of one taste in one state of the catalogue, for one model.
#[derive(Debug)]
pub struct KnownTaste {
    pub resolved: Resolved,
    /// By number of the domain, by position: how much an item meets it, 0 to 1; empty where no item of the domain does.
    met: Vec<Vec<f32>>,
    /// Items that stand for it, the best-known first; none without a model.
    pub stand_ins: Vec<ItemIndex>,
    /// The mean of the stand-ins' factors of iALS; empty when none has any.
    pub factors: Vec<f32>,
    /// By number of the domain, by position: what the stand-ins say of an item, all item-to-item scorers together: `Σₛ wₛ/scaleₛ Σᵢ Wₛ[i, ·]`, with the
    /// weights and scales of somebody of whom nothing but tastes is known.
    said: OnceLock<Vec<Vec<f32>>>,
}

impl KnownTaste {
    #[must_use]
    pub fn new(catalogue: &Catalogue, model: Option<&BoundModel>, view: &View, resolved: Resolved) -> Self {
        let matched = match &resolved.wanted {
            Wanted::Titles(titles) => Met::of(alike(catalogue, model, titles)),
            wanted => wanted::matches(catalogue, wanted),
        };
        let mut met: Vec<Vec<f32>> = view.sizes().map(|_| Vec::new()).collect();
        for &(item, how_much) in matched.items() {
            let (Some(domain), Some(position)) = (catalogue.domain_number_of(item), view.position(item)) else {
                continue;
            };
            let size = view.domain(domain).map_or(0, |domain| domain.items.len());
            let by_position = &mut met[usize::from(domain)];
            by_position.resize(size, 0.0);
            by_position[position] = how_much;
        }
        // Named titles stand for themselves, in the history.
        let model_of_stand_ins = model.filter(|_| !matches!(resolved.wanted, Wanted::Titles(_)));
        let stand_ins =
            model_of_stand_ins.map_or_else(Vec::new, |model| stand_ins(catalogue, model, &resolved, &matched));
        let factors = model.map_or_else(Vec::new, |model| mean_factors(model, &stand_ins));
        Self { resolved, met, stand_ins, factors, said: OnceLock::new() }
    }

    /// How much each item of a domain meets it, by position; empty where none does.
    #[must_use]
    pub fn met(&self, domain: u16) -> &[f32] {
        self.met.get(usize::from(domain)).map_or(&[], Vec::as_slice)
    }

    /// What the stand-ins say of the items of a domain.
    #[must_use]
    pub fn said(&self, catalogue: &Catalogue, model: &BoundModel, view: &View, domain: u16) -> Option<&[f32]> {
        let said = self.said.get_or_init(|| said(catalogue, model, view, &self.stand_ins));
        said.get(usize::from(domain)).map(Vec::as_slice)
    }

    /// About how many bytes it takes, once all is there, in a catalogue of so many `items`.
    #[must_use]
    pub fn bytes(&self, items: usize) -> usize {
        let met: usize = self.met.iter().map(Vec::len).sum();
        // What is said comes later, and where there are stand-ins only.
        let said = if self.stand_ins.is_empty() { 0 } else { items };
        4 * (met + said + self.factors.len() + self.stand_ins.len()) + 500
    }
}

/// The items most like named titles, each in the domain of its title, and how much: the most alike by 1. Who names a title wants what is like it, which the
/// blend for somebody who has done one thing does not say: that stays close to what most people choose.
fn alike(catalogue: &Catalogue, model: Option<&BoundModel>, titles: &[ItemIndex]) -> Vec<(ItemIndex, f32)> {
    let mut alike: BTreeMap<ItemIndex, f32> = BTreeMap::new();
    // Each costs a pass over its domain, and a common title may be that of a thousand items.
    for &title in titles.iter().take(TITLES) {
        let Some(item) = catalogue.get(title) else { continue };
        let nearest = neighbours::nearest(catalogue, model, title, &item.domain, ALIKE);
        let most = nearest.first().map_or(0.0, |&(_, likeness)| likeness);
        for (other, likeness) in nearest {
            let met = alike.entry(other).or_default();
            *met = met.max(likeness / most);
        }
    }
    alike.into_iter().collect()
}

fn stand_ins(catalogue: &Catalogue, model: &BoundModel, taste: &Resolved, met: &Met<'_>) -> Vec<ItemIndex> {
    let popularity = model.popularity();
    let number = taste.domain.as_ref().and_then(|domain| catalogue.domain_number(domain));
    // Those of its domain if there are any, else those of the others.
    let own = number.filter(|&number| met.items().iter().any(|&(item, _)| catalogue.is_of(item, number)));
    let (mut items, mut scores) = (Vec::new(), Vec::new());
    for &(item, met) in met.items().iter().filter(|(item, _)| own.is_none_or(|number| catalogue.is_of(*item, number))) {
        let score = met * popularity.of(item);
        if score > 0.0 {
            items.push(item);
            scores.push(score);
        }
    }
    top_k(catalogue, &items, &scores, STAND_INS).into_iter().map(|at| items[at]).collect()
}

fn mean_factors(model: &BoundModel, stand_ins: &[ItemIndex]) -> Vec<f32> {
    let als = model.als();
    let columns: Vec<u32> = stand_ins.iter().filter_map(|&item| als.column(item)).collect();
    if columns.is_empty() {
        return Vec::new();
    }
    let mut mean = vec![0.0f32; als.factors.dimensions];
    for &column in &columns {
        for (mean, factor) in mean.iter_mut().zip(als.factors.column(column)) {
            *mean += factor / columns.len() as f32;
        }
    }
    mean
}

fn said(catalogue: &Catalogue, model: &BoundModel, view: &View, stand_ins: &[ItemIndex]) -> Vec<Vec<f32>> {
    let mut by_domain: Vec<Vec<f32>> = view.sizes().map(|size| vec![0.0; size]).collect();
    let mut shares: Vec<[f32; SCORERS.len()]> = vec![[0.0; SCORERS.len()]; by_domain.len()];
    for (domain, _) in catalogue.domains() {
        if let Some(number) = catalogue.domain_number(domain) {
            shares[usize::from(number)] = model.blend().of(domain, 0, true).factors();
        }
    }
    for (place, name) in ITEM_TO_ITEM.iter().enumerate() {
        let Some(scorer) = SCORERS.iter().position(|scorer| scorer == name) else { continue };
        let weights = model.item_to_item(place).weights;
        for &item in stand_ins {
            let Some(column) = model.column(item).map(|column| column as usize).filter(|&c| c < weights.len()) else {
                continue;
            };
            for (target, weight) in weights.row(column) {
                let Some(item) = model.place(target) else { continue };
                let (Some(domain), Some(position)) = (catalogue.domain_number_of(item), view.position(item)) else {
                    continue;
                };
                let domain = usize::from(domain);
                by_domain[domain][position] += shares[domain][scorer] * weight;
            }
        }
    }
    by_domain
}
