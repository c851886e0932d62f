//! Implicit ALS (Hu, Koren & Volinsky, ICDM 2008) as tuned in "Revisiting the Performance of iALS on Item Recommendation Benchmarks"
//! (Rendle et al., RecSys 2022).
//!
//! Factors `W` of people and `H` of items minimise `Σ_S c(t - w·h)² + α₀ Σ (w·h)² + λ(Σᵤ #ᵤ|wᵤ|² + Σᵢ #ᵢ|hᵢ|²)` with
//! `#ᵤ = (|Sᵤ| + α₀·items)^ν` (the paper's equations 3 and 8); `t` is 1 for what was liked and 0 for what was not.
//!
//! An epoch brings each row nearer to its solution by a few steps of conjugate gradients from where the last epoch left it (Takács, Pilászy & Tikk,
//! "Applications of the conjugate gradient method for implicit feedback collaborative filtering", RecSys 2011), in coordinates where those few are
//! nearly exact; folding a person in is one exact solve ([`super::als_row`]).

use faer::{Accum, ColRef, Mat, MatRef, Par, Side};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::engine::dataset::{Dataset, mean_positive};
use crate::engine::lanes::dot;

use super::als_row::{Entry, approach, shrinkage, solve};
use super::term_factors::{self, Rows, TermFactors};

/// The hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlsSettings {
    /// `k`: numbers for each item.
    pub dimensions: usize,
    pub epochs: usize,
    /// λ.
    pub regularization: f32,
    /// α₀: how much it counts that something was not taken to.
    pub unobserved_weight: f32,
    /// ν: 0 regularises all rows alike, 1 in step with how often they occur.
    pub frequency_exponent: f32,
    /// The confidence of an interaction is its strength, brought to a mean of 1 within a person, to this power; 0: all count 1.
    pub strength_exponent: f32,
    /// The ridge penalty of the map from terms to factors, which items get that nobody touched; 0: they get none.
    pub content_ridge: f32,
}

impl Default for AlsSettings {
    fn default() -> Self {
        Self {
            dimensions: 64,
            epochs: 12,
            regularization: 0.01,
            unobserved_weight: 0.05,
            frequency_exponent: 1.0,
            strength_exponent: 0.5,
            content_ridge: 1.0,
        }
    }
}

/// Why the factors could not be fitted.
#[derive(Debug, thiserror::Error)]
#[error("the factors of iALS are not finite: raise its regularization")]
pub struct AlsError;

/// Factors of items in the eigenbasis of their Gram matrix: `factors[i * k..][..k]` are those of column `i`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlsFactors {
    /// `k`; 0 when nothing was fitted.
    pub dimensions: usize,
    pub factors: Vec<f32>,
    /// Λ: `k` eigenvalues of the Gram matrix.
    pub eigenvalues: Vec<f32>,
    /// How many columns, the first ones, were learned from behaviour; the rest from their terms.
    pub trained: usize,
    /// For items that came after training.
    pub terms: TermFactors,
}

/// At most so many items teach what a term means.
const TEACHERS: usize = 100_000;

/// Turns the factors of both sides (a column each) into the eigenbasis of the first side's Gram matrix, and gives its eigenvalues.
fn turn(factors: &mut Mat<f32>, other: &mut Mat<f32>) -> Result<Vec<f32>, AlsError> {
    let k = factors.nrows();
    let multiply = |into: &mut Mat<f32>, left: MatRef<'_, f32>, right: MatRef<'_, f32>| {
        // Another thread's waking costs as much as a few million multiplications.
        let is_small = left.nrows() * left.ncols() * right.ncols() < 50_000_000;
        let par = if is_small { Par::Seq } else { Par::rayon(0) };
        faer::linalg::matmul::matmul(into.as_mut(), Accum::Replace, left, right, 1.0, par);
    };
    let mut gram = Mat::<f32>::zeros(k, k);
    multiply(&mut gram, factors.as_ref(), factors.transpose());
    let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| AlsError)?;
    for side in [factors, other] {
        let mut turned = Mat::<f32>::zeros(k, side.ncols());
        multiply(&mut turned, eigen.U().transpose(), side.as_ref());
        *side = turned;
    }
    Ok((0..k).map(|d| eigen.S().column_vector()[d].max(0.0)).collect())
}

/// The confidences and targets of a person's strengths: what was liked has the target 1, what was not 0.
fn entries(items: &[u32], strengths: &[f32], size: usize, exponent: f32) -> Vec<Entry> {
    let mean = mean_positive(strengths);
    let known = items.iter().zip(strengths).filter(|&(&item, &strength)| (item as usize) < size && strength != 0.0);
    known
        .map(|(&item, &strength)| (item, confidence(strength, mean, exponent), f32::from(u8::from(strength > 0.0))))
        .collect()
}

pub(super) fn confidence(strength: f32, mean: f32, exponent: f32) -> f32 {
    (strength.abs() / mean).powf(exponent).clamp(0.05, 20.0)
}

/// Fits the factors of the first `size` columns of `data`, from a random start by `seed`.
///
/// Memory: `k` numbers for each person and item, twice.
///
/// # Errors
/// [`AlsError`] when the factors run out of all bounds.
pub fn fit(data: &Dataset, size: usize, settings: &AlsSettings, seed: u64) -> Result<AlsFactors, AlsError> {
    let k = settings.dimensions.min(size);
    if k == 0 {
        return Ok(AlsFactors::default());
    }
    let people: Vec<Vec<Entry>> = (0..data.users())
        .map(|user| {
            let (items, strengths) = data.row(user);
            entries(items, strengths, size, settings.strength_exponent)
        })
        .collect();
    let mut of_item: Vec<Vec<Entry>> = vec![Vec::new(); size];
    for (user, row) in people.iter().enumerate() {
        for &(item, confidence, target) in row {
            of_item[item as usize].push((user as u32, confidence, target));
        }
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let spread = 0.1 / (k as f32).sqrt();
    // A sum of uniform numbers is close enough to the normal ones of the paper.
    let mut normal = || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
    let mut items = Mat::from_fn(k, size, |_, _| spread * normal());
    let mut users = Mat::zeros(k, people.len());
    for _ in 0..settings.epochs {
        let eigenvalues = turn(&mut items, &mut users)?;
        half_epoch(&people, &items, &eigenvalues, settings, &mut users);
        let eigenvalues = turn(&mut users, &mut items)?;
        half_epoch(&of_item, &users, &eigenvalues, settings, &mut items);
    }
    let eigenvalues = turn(&mut items, &mut users)?;
    let factors: Vec<f32> = items.col_iter().flat_map(|column| column.iter().copied().collect::<Vec<f32>>()).collect();
    if factors.iter().chain(&eigenvalues).all(|value| value.is_finite()) {
        Ok(AlsFactors { dimensions: k, factors, eigenvalues, trained: size, terms: TermFactors::default() })
    } else {
        Err(AlsError)
    }
}

/// Brings all rows of one side nearer to their solutions while the other, in its eigenbasis, stands still.
fn half_epoch(rows: &[Vec<Entry>], other: &Mat<f32>, eigenvalues: &[f32], settings: &AlsSettings, own: &mut Mat<f32>) {
    let column = |place: u32| other.col(place as usize).try_as_col_major().map_or(&[] as &[f32], ColRef::as_slice);
    own.par_col_iter_mut().zip(rows).for_each(|(into, row)| {
        let penalty = penalty(row.len(), other.ncols(), settings);
        let shrink = shrinkage(eigenvalues, settings.unobserved_weight, penalty);
        if let Some(into) = into.try_as_col_major_mut() {
            approach(row, &shrink, column, into.as_slice_mut());
        }
    });
}

/// `λ#` of a row with so many interactions out of so many.
pub(super) fn penalty(interactions: usize, of: usize, settings: &AlsSettings) -> f32 {
    let frequency = interactions as f32 + settings.unobserved_weight * of as f32;
    settings.regularization * frequency.powf(settings.frequency_exponent)
}

/// The terms of some items, rising.
fn used(terms: &[Vec<(u32, f32)>]) -> Vec<u32> {
    let mut used: Vec<u32> = terms.iter().flatten().map(|&(term, _)| term).collect();
    used.sort_unstable();
    used.dedup();
    used
}

/// What an item bears of the terms in use, each by its place among them.
fn among(row: &[(u32, f32)], used: &[u32]) -> Vec<(u32, f32)> {
    row.iter().filter_map(|&(term, weight)| Some((used.binary_search(&term).ok()? as u32, weight))).collect()
}

impl AlsFactors {
    /// How many items it covers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.factors.len().checked_div(self.dimensions).unwrap_or(0)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The factors of one column.
    #[must_use]
    pub fn column(&self, item: u32) -> &[f32] {
        &self.factors[item as usize * self.dimensions..][..self.dimensions]
    }

    /// By column: the Euclidean length of its factors.
    #[must_use]
    pub fn lengths(&self) -> Vec<f32> {
        self.factors.chunks_exact(self.dimensions.max(1)).map(|factors| dot(factors, factors).sqrt()).collect()
    }

    /// Learns what terms say of an item's factors from the items with behaviour, and gives factors to the others.
    ///
    /// * `terms`: of all columns of the model, those learned from behaviour first.
    /// * `name`: of a term.
    pub fn learn_terms<'a>(&mut self, terms: &Rows, name: impl Fn(u32) -> &'a str, lambda: f32) {
        let (k, teachers) = (self.dimensions, self.trained.min(TEACHERS).min(terms.len()));
        if k == 0 || lambda <= 0.0 {
            return;
        }
        let mut used = used(&terms[..teachers]);
        // An artifact parts names by line breaks.
        used.retain(|&term| !name(term).contains('\n'));
        let known = |row: &Vec<(u32, f32)>| among(row, &used);
        let rows: Rows = terms[..teachers].iter().map(known).collect();
        let factors = term_factors::fit(&rows, used.len(), &self.factors[..teachers * k], k, lambda);
        for row in &terms[self.trained.min(terms.len())..] {
            self.factors.extend(term_factors::combined(&known(row), &factors, k));
        }
        let names = used.into_iter().map(|term| name(term).to_owned()).collect();
        self.terms = TermFactors::new(k, names, factors);
    }

    /// Gives columns these factors, where there are any.
    pub fn replace(&mut self, factors: &[Vec<f32>]) {
        let own = self.factors.chunks_exact_mut(self.dimensions.max(1));
        for (own, factors) in own.zip(factors).filter(|(_, factors)| !factors.is_empty()) {
            own.copy_from_slice(factors);
        }
    }

    /// By column: the factors that the terms of `hidden` items foretell when only the others teach; empty for those.
    #[must_use]
    pub fn foretold(&self, terms: &Rows, hidden: &[bool], lambda: f32) -> Vec<Vec<f32>> {
        let k = self.dimensions;
        let (rows, factors): (Rows, Vec<&[f32]>) = (0..self.trained.min(terms.len()))
            .filter(|&column| !hidden[column])
            .take(TEACHERS)
            .map(|column| (terms[column].clone(), self.column(column as u32)))
            .unzip();
        let used = used(&rows);
        let rows: Rows = rows.iter().map(|row| among(row, &used)).collect();
        let map = term_factors::fit(&rows, used.len(), &factors.concat(), k, lambda);
        let of = |(row, hidden): (&Vec<(u32, f32)>, &bool)| {
            if *hidden { term_factors::combined(&among(row, &used), &map, k) } else { Vec::new() }
        };
        terms.iter().zip(hidden).map(of).collect()
    }

    /// Folds a person in: the factors of a history of columns and strengths. `None` when it knows nothing of the history.
    #[must_use]
    pub fn fold_in(&self, history: &[(u32, f32)], settings: &AlsSettings) -> Option<Vec<f32>> {
        let (items, strengths): (Vec<u32>, Vec<f32>) = history.iter().copied().unzip();
        let entries = entries(&items, &strengths, self.len(), settings.strength_exponent);
        if entries.is_empty() {
            return None;
        }
        let penalty = penalty(entries.len(), self.trained, settings);
        Some(solve(&entries, &self.eigenvalues, settings.unobserved_weight, penalty, |item| self.column(item)))
    }

    /// The predicted preference of a person for one column.
    #[must_use]
    pub fn predict(&self, person: &[f32], item: u32) -> f32 {
        dot(person, self.column(item))
    }

    /// The first thing that is wrong with its shape, for an artifact that was read.
    #[must_use]
    pub fn fault(&self, items: usize) -> Option<&'static str> {
        let rules = [
            (self.eigenvalues.len() == self.dimensions, "dimensions and eigenvalues differ"),
            (self.factors.len() == self.len() * self.dimensions, "factors and dimensions differ"),
            (self.len() <= items && self.trained <= self.len(), "more items are covered than there are"),
            (self.factors.iter().chain(&self.eigenvalues).all(|value| value.is_finite()), "a factor is not a number"),
        ];
        rules
            .into_iter()
            .find_map(|(holds, reason)| (!holds).then_some(reason))
            .or_else(|| self.terms.fault(self.dimensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: AlsSettings = AlsSettings {
        dimensions: 4,
        epochs: 12,
        regularization: 0.05,
        unobserved_weight: 0.1,
        frequency_exponent: 0.5,
        strength_exponent: 0.0,
        content_ridge: 0.5,
    };

    fn data() -> Dataset {
        let mut data = Dataset::new(6);
        for _ in 0..6 {
            data.push(&mut [(0, 1.0), (1, 1.0), (2, 1.0)]);
            data.push(&mut [(3, 1.0), (4, 1.0), (5, -1.0)]);
        }
        data.push(&mut [(0, 1.0), (4, 1.0)]);
        data
    }

    #[test]
    fn groups_are_found_and_what_was_disliked_is_not_predicted() {
        let factors = fit(&data(), 6, &SETTINGS, 3).unwrap();
        let person = factors.fold_in(&[(0, 1.0), (1, 1.0)], &SETTINGS).unwrap();
        assert!(factors.predict(&person, 2) > factors.predict(&person, 3) + 0.2);
        let other = factors.fold_in(&[(3, 1.0)], &SETTINGS).unwrap();
        assert!(factors.predict(&other, 4) > 0.3 && factors.predict(&other, 5) < 0.1);
        assert_eq!(factors, fit(&data(), 6, &SETTINGS, 3).unwrap(), "the same seed gives the same factors");
        assert_eq!(factors.fold_in(&[], &SETTINGS), None);
    }

    #[test]
    fn an_item_that_nobody_touched_takes_after_those_with_its_terms() {
        let mut factors = fit(&data(), 5, &SETTINGS, 3).unwrap();
        let terms: Rows = [0, 0, 0, 1, 1, 0, 1].map(|term| vec![(term, 1.0f32)]).to_vec();
        factors.learn_terms(&terms, |term| ["word a", "word b"][term as usize], 0.5);
        assert_eq!((factors.trained, factors.len(), factors.terms.names().len()), (5, 7, 2));
        let person = factors.fold_in(&[(0, 1.0), (1, 1.0)], &SETTINGS).unwrap();
        assert!(factors.predict(&person, 5) > factors.predict(&person, 6) + 0.2);
    }

    #[test]
    fn an_epoch_lowers_the_loss() {
        let loss = |epochs: usize| {
            let factors = fit(&data(), 6, &AlsSettings { epochs, ..SETTINGS }, 3).unwrap();
            let mut sum = 0.0;
            for user in 0..data().users() {
                let data = data();
                let (items, strengths) = data.row(user);
                let history: Vec<(u32, f32)> = items.iter().copied().zip(strengths.iter().copied()).collect();
                let person = factors.fold_in(&history, &SETTINGS).unwrap();
                sum += history
                    .iter()
                    .map(|&(i, s)| (f32::from(u8::from(s > 0.0)) - factors.predict(&person, i)).powi(2))
                    .sum::<f32>();
            }
            sum
        };
        assert!(loss(8) < loss(1));
    }
}
