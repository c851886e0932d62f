//! Taste match: how much an item meets the tastes that speak for one list.

use crate::domain::Domain;

use super::ItemIndex;
use super::catalogue::Catalogue;
use super::tastes::{Met, Resolved, TasteProfile};

/// The share of a score that the tastes of the list's own domain have, those of a free text across domains, and those of other domains.
const OWN_TASTES: f32 = 0.7;
const FREE_TEXT: f32 = 0.6;
const FOREIGN_TASTES: f32 = 0.25;
/// What meeting one taste fully gives: the rest is for meeting more.
const ONE_TASTE: f32 = 0.6;

/// The tastes that speak for one list, and their share in its scores.
pub(super) struct ListTastes<'a> {
    /// A taste, and the items that meet it.
    tastes: Vec<(&'a Resolved, &'a Met<'a>)>,
    pub(super) share: f32,
}

impl<'a> ListTastes<'a> {
    /// Those given for this domain or for all; if none of them is met by any item of the domain, those of other domains.
    pub(super) fn new(
        catalogue: &Catalogue,
        tastes: &'a TasteProfile,
        matched: &'a [Met<'a>],
        domain: &Domain,
    ) -> Self {
        let number = catalogue.domain_number(domain);
        let is_met = |met: &Met<'_>| {
            number.is_some_and(|number| met.items().iter().any(|&(item, _)| catalogue.is_of(item, number)))
        };
        let met: Vec<(&Resolved, &Met<'_>)> =
            tastes.resolved.iter().zip(matched).filter(|(_, met)| is_met(met)).collect();
        let is_own = |taste: &Resolved| taste.domain.as_ref().is_none_or(|of| of == domain);
        let own: Vec<_> = met.iter().copied().filter(|(taste, _)| is_own(taste)).collect();
        let share = if own.iter().any(|(taste, _)| taste.domain.is_some()) {
            OWN_TASTES
        } else if !own.is_empty() {
            FREE_TEXT
        } else if !met.is_empty() {
            FOREIGN_TASTES
        } else {
            0.0
        };
        Self { tastes: if own.is_empty() { met } else { own }, share }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.tastes.len()
    }

    /// How much an item meets one of them.
    pub(super) fn met(&self, taste: usize, item: ItemIndex) -> f32 {
        self.tastes[taste].1.of(item)
    }

    /// How much each place of the catalogue meets all of them together, 0 to 1.
    pub(super) fn scores(&self, places: usize) -> Vec<f32> {
        let mut unmet = vec![1.0f32; places];
        for (_, met) in &self.tastes {
            for &(item, met) in met.items() {
                unmet[item.0 as usize] *= 1.0 - ONE_TASTE * met;
            }
        }
        unmet.iter_mut().for_each(|unmet| *unmet = 1.0 - *unmet);
        unmet
    }

    /// The tastes that an item meets, as the caller wrote them.
    pub(super) fn texts(&self, item: ItemIndex) -> Vec<&'a str> {
        let mut texts: Vec<&str> = Vec::new();
        for (taste, met) in &self.tastes {
            if met.of(item) > 0.0 && !texts.contains(&taste.text.as_str()) {
                texts.push(&taste.text);
            }
        }
        texts
    }
}

/// Meeting one taste is good, meeting more is better: `1 - Π (1 - 0.6 mᵢ)` of the matches `mᵢ`, 0 to 1.
pub(super) fn combined(met: impl Iterator<Item = f32>) -> f32 {
    1.0 - met.map(|met| 1.0 - ONE_TASTE * met).product::<f32>()
}
