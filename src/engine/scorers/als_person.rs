//! iALS for one person: folding in, predictions, and what they are made of.

use std::borrow::Cow;

use faer::Mat;

use crate::engine::ItemIndex;
use crate::engine::artifact::Binding;
use crate::engine::catalogue::Catalogue;
use crate::engine::dataset::mean_positive;
use crate::engine::lanes::dot;

use super::als_row::{Entry, factored_with_unit, scaled, shrinkage, solve, solve_factored};
use super::implicit_als::{AlsFactors, AlsSettings, confidence, penalty};
use super::{Contribution, Contributions, Prepared, Profile, Scorer, largest_first};

/// iALS over the items of a catalogue.
#[derive(Debug, Clone, Copy)]
pub struct ImplicitAls<'a> {
    pub factors: &'a AlsFactors,
    pub settings: &'a AlsSettings,
    pub binding: &'a Binding,
    /// By column: the length of its factors ([`AlsFactors::lengths`]).
    pub lengths: &'a [f32],
}

impl<'m> ImplicitAls<'m> {
    /// What a person is folded in from.
    fn known<'p>(&self, profile: &'p Profile) -> Known<'p>
    where
        'm: 'p,
    {
        let of = |&(item, strength): &(ItemIndex, f32)| {
            Some((self.column(item).filter(|_| strength != 0.0)?, strength, item))
        };
        let history: Vec<(u32, f32, ItemIndex)> = profile.history.iter().filter_map(of).collect();
        let mut strengths: Vec<f32> = history.iter().map(|&(_, strength, _)| strength).collect();
        let tastes = || profile.tastes.iter().filter(|taste| !taste.factors.is_empty());
        let stand_ins: usize = tastes().map(|taste| taste.stand_ins.len()).sum();
        strengths.resize(history.len() + stand_ins, profile.stand_in_strength);
        let (mean, exponent) = (mean_positive(&strengths), self.settings.strength_exponent);
        let mut known = Known { count: strengths.len(), ..Known::default() };
        for (column, strength, source) in history {
            let target = f32::from(u8::from(strength > 0.0));
            known.push(self.factors.column(column), confidence(strength, mean, exponent), target, Some(source));
        }
        // A taste is one entry: as sure as all of its stand-ins, with the mean of their factors.
        let each = confidence(profile.stand_in_strength, mean, exponent);
        for taste in tastes() {
            known.push(&taste.factors, taste.stand_ins.len() as f32 * each, 1.0, None);
        }
        known
    }

    fn person(&self, profile: &Profile) -> Option<Vec<f32>> {
        let known = self.known(profile);
        if known.entries.is_empty() {
            return None;
        }
        let penalty = penalty(known.count, self.factors.trained, self.settings);
        let rows = |row: u32| known.rows[row as usize];
        Some(solve(&known.entries, &self.factors.eigenvalues, self.settings.unobserved_weight, penalty, rows))
    }

    /// The column of an item that has factors of its own.
    #[must_use]
    pub fn column(&self, item: ItemIndex) -> Option<u32> {
        self.binding.column(item).filter(|&column| (column as usize) < self.factors.len())
    }

    /// The factors of an item: its own, or those that its terms foretell.
    fn item(&self, catalogue: &Catalogue, item: ItemIndex) -> Option<Cow<'m, [f32]>> {
        match self.column(item) {
            Some(column) => Some(Cow::Borrowed(self.factors.column(column))),
            None => self.factors.terms.of(catalogue, item).map(Cow::Owned),
        }
    }
}

/// The rows that a person is folded in from: those of the history, then one for each taste.
#[derive(Default)]
struct Known<'a> {
    /// Each with its place in `rows`.
    entries: Vec<Entry>,
    rows: Vec<&'a [f32]>,
    /// `None` for a taste.
    sources: Vec<Option<ItemIndex>>,
    /// How many interactions it all stands for.
    count: usize,
}

impl<'a> Known<'a> {
    fn push(&mut self, row: &'a [f32], confidence: f32, target: f32, source: Option<ItemIndex>) {
        self.entries.push((self.rows.len() as u32, confidence, target));
        self.rows.push(row);
        self.sources.push(source);
    }
}

/// A person folded in: what iALS predicts of any item.
pub struct PersonFactors<'m> {
    als: ImplicitAls<'m>,
    catalogue: &'m Catalogue,
    person: Vec<f32>,
    length: f32,
}

impl PersonFactors<'_> {
    #[must_use]
    pub fn of(&self, item: ItemIndex) -> f32 {
        self.als.item(self.catalogue, item).map_or(0.0, |factors| dot(&self.person, &factors))
    }

    /// The prediction for an item of these factors.
    #[must_use]
    pub fn predicts(&self, factors: &[f32]) -> f32 {
        dot(&self.person, factors)
    }

    /// The Euclidean length of the factors: times that of an item's, what its score is at most (Cauchy-Schwarz).
    #[must_use]
    pub fn length(&self) -> f32 {
        self.length
    }
}

impl<'m> Scorer<'m> for ImplicitAls<'m> {
    fn prepare(&self, catalogue: &'m Catalogue, profile: &Profile) -> Option<Prepared<'m>> {
        let person = self.person(profile)?;
        let length = dot(&person, &person).sqrt();
        // A number that is none would say nothing of any item: the other scorers answer then.
        length.is_finite().then_some(())?;
        Some(Prepared::Factors(PersonFactors { als: *self, catalogue, person, length }))
    }

    /// The prediction is linear in the targets of the history (Hu et al. 2008, section 5): with `y = (AᵀA + I)⁻¹ D^-½h`, item `j` of the history
    /// adds `c_j^½ t_j (A_j · y)`.
    fn contributions<'a>(&self, catalogue: &'a Catalogue, profile: &'a Profile) -> Contributions<'a>
    where
        'm: 'a,
    {
        let als = *self;
        let known = self.known(profile);
        let penalty = penalty(known.count, self.factors.trained, self.settings);
        let shrink = shrinkage(&self.factors.eigenvalues, self.settings.unobserved_weight, penalty);
        let scaled = scaled(&known.entries, &shrink, |row| known.rows[row as usize]);
        let system = factored_with_unit(scaled.as_ref(), scaled.transpose());
        Box::new(move |item| {
            let (Some(wanted), Some(system)) = (als.item(catalogue, item), &system) else { return Vec::new() };
            let mut y = Mat::from_fn(shrink.len(), 1, |d, _| shrink[d] * wanted[d]);
            solve_factored(system.as_ref(), &mut y);
            let amounts = scaled.transpose() * y;
            let part = |(place, &source): (usize, &Option<ItemIndex>)| {
                let (_, confidence, target) = known.entries[place];
                Contribution { source, amount: confidence.sqrt() * target * amounts[(place, 0)] }
            };
            largest_first(known.sources.iter().enumerate().map(part).collect())
        })
    }
}
