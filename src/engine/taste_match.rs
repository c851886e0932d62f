//! Taste match: how much an item meets the tastes that speak for one list.

use std::sync::Arc;

use crate::domain::Domain;

use super::known_taste::KnownTaste;
use super::lanes;
use super::wanted::{Resolved, Wanted};

/// The share of a score that the tastes of the list's own domain have, those of a free text across domains, and those of other domains.
const OWN_TASTES: f32 = 0.7;
const FREE_TEXT: f32 = 0.6;
const FOREIGN_TASTES: f32 = 0.25;
/// What meeting one taste fully gives: the rest is for meeting more.
const ONE_TASTE: f32 = 0.97;

/// The tastes that speak for one list, and their share in its scores.
pub(super) struct ListTastes<'a> {
    /// A taste, and how much each position of the domain meets it.
    tastes: Vec<(&'a Resolved, &'a [f32])>,
    pub(super) share: f32,
}

impl<'a> ListTastes<'a> {
    /// Those given for this domain or for all; if only those of other domains are met by any item of the domain, those. Tastes that no item of the domain meets
    /// have their share as well, and nothing to give: else a list without a single match would score above one with some. `number` is that of the domain.
    pub(super) fn new(tastes: &'a [Arc<KnownTaste>], domain: &Domain, number: Option<u16>) -> Self {
        let Some(number) = number else { return Self { tastes: Vec::new(), share: 0.0 } };
        let is_own = |taste: &KnownTaste| taste.resolved.domain.as_ref().is_none_or(|of| of == domain);
        let is_asked = |taste: &&Arc<KnownTaste>| !matches!(taste.resolved.wanted, Wanted::Without(_));
        let asked = |own: bool| tastes.iter().filter(is_asked).filter(move |taste| is_own(taste) == own);
        let heard = |own: bool| asked(own).filter(|taste| !taste.met(number).is_empty());
        let own = heard(true).next().is_some() || heard(false).next().is_none();
        let share = if own && asked(true).any(|taste| taste.resolved.domain.is_some()) {
            OWN_TASTES
        } else if own && asked(true).next().is_some() {
            FREE_TEXT
        } else if asked(false).next().is_some() {
            FOREIGN_TASTES
        } else {
            0.0
        };
        Self { tastes: heard(own).map(|taste| (&taste.resolved, taste.met(number))).collect(), share }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.tastes.len()
    }

    /// How much the item at a position meets one of them.
    pub(super) fn met(&self, taste: usize, position: usize) -> f32 {
        self.tastes[taste].1[position]
    }

    /// How much each of `size` positions meets all of them together, 0 to 1.
    pub(super) fn scores(&self, size: usize) -> Vec<f32> {
        let rows: Vec<&[f32]> = self.tastes.iter().map(|(_, met)| *met).collect();
        lanes::at_least_one(size, ONE_TASTE, &rows)
    }

    /// The tastes that the item at a position meets, and how much.
    pub(super) fn of(&self, position: usize) -> impl Iterator<Item = (&'a Resolved, f32)> {
        self.tastes.iter().map(move |&(taste, met)| (taste, met[position])).filter(|&(_, met)| met > 0.0)
    }
}

/// Meeting one taste is good, meeting more is better: `1 - Π (1 - 0.97 mᵢ)` of the matches `mᵢ`, 0 to 1.
pub(super) fn combined(met: impl Iterator<Item = f32>) -> f32 {
    1.0 - met.map(|met| 1.0 - ONE_TASTE * met).product::<f32>()
}
