//! EASE^R (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019).
//!
//! The item-item weights `B` minimise `|X - XB|² + λ|B|²` with a zero diagonal, which has the closed form of the paper's
//! equation 8: with `P = (XᵀX + λI)⁻¹`, `B = I - P · diag(1 / diag P)`. A person's scores are their row of strengths times `B`, so
//! that folding somebody in is ordinary scoring.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::{Mat, Par};
use rayon::prelude::*;

use crate::engine::ItemIndex;
use crate::engine::artifact::Binding;
use crate::engine::catalogue::Catalogue;
use crate::engine::dataset::Dataset;

use super::{Contribution, Profile, Scorer};

/// Why EASE could not be fitted.
#[derive(Debug, thiserror::Error)]
pub enum EaseError {
    #[error("the Gram matrix is not positive definite at column {0}: raise ease_lambda")]
    NotPositiveDefinite(usize),
    #[error("the weights are not finite")]
    NotFinite,
}

/// The item-item weights, in compressed sparse rows: `targets[offsets[i]..offsets[i + 1]]` are the columns (rising) to which item `i` of a
/// history adds `weights` beside them. Covers the first `offsets.len() - 1` columns of the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EaseWeights {
    pub offsets: Vec<u64>,
    pub targets: Vec<u32>,
    pub weights: Vec<f32>,
}

/// Fits EASE on the first `size` columns of `data`.
///
/// * `lambda`: the ridge penalty. Strengths are divided by the mean positive strength of their user first, so that it means the
///   same for plays as for ratings, and somebody who plays everything a thousand times has no more say than others.
/// * `keep`: how many of the largest weights (in size) stay in each row; 0 keeps all.
///
/// Memory: three dense matrices of `size²` f32.
///
/// # Errors
/// [`EaseError`].
pub fn fit(data: &Dataset, size: usize, lambda: f32, keep: usize) -> Result<EaseWeights, EaseError> {
    if size == 0 {
        return Ok(EaseWeights { offsets: vec![0], ..EaseWeights::default() });
    }
    let mut gram = gram(data, size);
    for i in 0..size {
        gram[(i, i)] += lambda.max(f32::MIN_POSITIVE);
    }
    let par = Par::rayon(0);
    let scratch = llt::factor::cholesky_in_place_scratch::<f32>(size, par, faer::Spec::default())
        .or(llt::inverse::inverse_scratch::<f32>(size, par));
    let mut buffer = MemBuffer::new(scratch);
    llt::factor::cholesky_in_place(
        gram.as_mut(),
        llt::factor::LltRegularization::default(),
        par,
        MemStack::new(&mut buffer),
        faer::Spec::default(),
    )
    .map_err(|llt::factor::LltError::NonPositivePivot { index }| EaseError::NotPositiveDefinite(index))?;
    let mut inverse = Mat::<f32>::zeros(size, size);
    llt::inverse::inverse(inverse.as_mut(), gram.as_ref(), par, MemStack::new(&mut buffer));
    drop((gram, buffer));

    let diagonal: Vec<f32> = (0..size).map(|i| inverse[(i, i)]).collect();
    // Only the lower triangle of the inverse is filled: P is symmetric.
    let at = |i: usize, j: usize| if i >= j { inverse[(i, j)] } else { inverse[(j, i)] };
    let rows: Vec<Vec<(u32, f32)>> = (0..size)
        .into_par_iter()
        .map(|i| {
            let row = (0..size).filter(|&j| j != i).map(|j| (j as u32, -at(i, j) / diagonal[j])).collect();
            largest(row, keep)
        })
        .collect();
    let mut weights = EaseWeights { offsets: vec![0], ..EaseWeights::default() };
    for row in rows {
        for (target, weight) in row {
            if !weight.is_finite() {
                return Err(EaseError::NotFinite);
            }
            weights.targets.push(target);
            weights.weights.push(weight);
        }
        weights.offsets.push(weights.targets.len() as u64);
    }
    Ok(weights)
}

/// `XᵀX` of the first `size` columns, lower triangle, rows scaled by their mean positive strength.
fn gram(data: &Dataset, size: usize) -> Mat<f32> {
    let mut gram = Mat::<f32>::zeros(size, size);
    // Item by item: the users of an item, so that each thread fills columns of its own.
    let mut users_of: Vec<Vec<(u32, f32)>> = vec![Vec::new(); size];
    let mut scales = Vec::with_capacity(data.users());
    for user in 0..data.users() {
        let (items, strengths) = data.row(user);
        let positive = strengths.iter().filter(|&&strength| strength > 0.0);
        let (sum, count) = positive.fold((0.0, 0.0), |(sum, count), &strength| (sum + strength, count + 1.0));
        let scale = if sum > 0.0 { count / sum } else { 0.0 };
        scales.push(scale);
        for (&item, &strength) in items.iter().zip(strengths) {
            if (item as usize) < size {
                users_of[item as usize].push((user as u32, strength * scale));
            }
        }
    }
    gram.par_col_iter_mut().enumerate().for_each(|(column, mut into)| {
        for &(user, strength) in &users_of[column] {
            let (items, strengths) = data.row(user as usize);
            let from = items.partition_point(|&item| (item as usize) < column);
            let scaled = strength * scales[user as usize];
            for (&item, &other) in items[from..].iter().zip(&strengths[from..]) {
                if item as usize >= size {
                    break;
                }
                into[item as usize] += scaled * other;
            }
        }
    });
    gram
}

/// The `keep` largest by size, in the order of their columns; all when `keep` is 0.
fn largest(mut row: Vec<(u32, f32)>, keep: usize) -> Vec<(u32, f32)> {
    if keep > 0 && row.len() > keep {
        row.select_nth_unstable_by(keep, |a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        row.truncate(keep);
        row.sort_unstable_by_key(|&(target, _)| target);
    }
    row
}

impl EaseWeights {
    /// How many items it covers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The targets and weights of one row.
    #[must_use]
    pub fn row(&self, item: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[item] as usize..self.offsets[item + 1] as usize;
        (&self.targets[range.clone()], &self.weights[range])
    }

    /// The weight from one item to another; 0 where none is kept.
    #[must_use]
    pub fn weight(&self, from: usize, to: u32) -> f32 {
        let (targets, weights) = self.row(from);
        targets.binary_search(&to).map_or(0.0, |place| weights[place])
    }

    /// The scores of all columns for a history of columns and strengths, divided by the Euclidean length of the history, so that those
    /// of long and short histories are comparable. `None` when it knows nothing of the history.
    #[must_use]
    pub fn scores(&self, history: &[(u32, f32)]) -> Option<Vec<f32>> {
        let known: Vec<(usize, f32)> = history
            .iter()
            .filter(|(item, _)| (*item as usize) < self.len())
            .map(|&(item, s)| (item as usize, s))
            .collect();
        let length = norm(known.iter().map(|&(_, strength)| strength));
        if length <= 0.0 {
            return None;
        }
        let mut scores = vec![0.0; self.len()];
        for (item, strength) in known {
            let scaled = strength / length;
            let (targets, weights) = self.row(item);
            for (&target, &weight) in targets.iter().zip(weights) {
                scores[target as usize] += scaled * weight;
            }
        }
        Some(scores)
    }
}

fn norm(strengths: impl Iterator<Item = f32>) -> f32 {
    strengths.map(|strength| strength * strength).sum::<f32>().sqrt()
}

/// EASE over the items of a catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Ease<'a> {
    pub weights: &'a EaseWeights,
    pub binding: &'a Binding,
}

impl Ease<'_> {
    /// History and pseudo-history in columns; an item of both counts as history.
    fn columns(&self, profile: &Profile) -> Vec<(u32, f32, ItemIndex)> {
        let pseudo =
            profile.pseudo_history.iter().filter(|(item, _)| profile.history.iter().all(|(real, _)| real != item));
        profile
            .history
            .iter()
            .chain(pseudo)
            .filter_map(|&(item, strength)| Some((self.binding.column(item)?, strength, item)))
            .filter(|&(column, ..)| (column as usize) < self.weights.len())
            .collect()
    }
}

impl Scorer for Ease<'_> {
    fn score(&self, _: &Catalogue, profile: &Profile, items: &[ItemIndex], out: &mut [f32]) -> bool {
        let history: Vec<(u32, f32)> =
            self.columns(profile).into_iter().map(|(column, strength, _)| (column, strength)).collect();
        let Some(scores) = self.weights.scores(&history) else { return false };
        for (item, out) in items.iter().zip(out) {
            let column = self.binding.column(*item);
            *out = column.and_then(|column| scores.get(column as usize)).copied().unwrap_or(0.0);
        }
        true
    }

    fn contributions(&self, _: &Catalogue, profile: &Profile, item: ItemIndex) -> Vec<Contribution> {
        let Some(to) = self.binding.column(item) else { return Vec::new() };
        let history = self.columns(profile);
        let length = norm(history.iter().map(|&(_, strength, _)| strength));
        if length <= 0.0 {
            return Vec::new();
        }
        let mut all: Vec<Contribution> = history
            .into_iter()
            .map(|(from, strength, source)| {
                let real = profile.history.iter().any(|&(known, _)| known == source);
                Contribution {
                    source: real.then_some(source),
                    amount: strength / length * self.weights.weight(from as usize, to),
                }
            })
            .collect();
        all.sort_by(|a, b| b.amount.total_cmp(&a.amount));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Dataset {
        // Two groups of people who share their items, and one who likes both.
        let mut data = Dataset::new(5);
        for _ in 0..6 {
            data.push(&mut [(0, 1.0), (1, 1.0), (2, 1.0)]);
            data.push(&mut [(3, 1.0), (4, 1.0)]);
        }
        data.push(&mut [(0, 1.0), (4, 1.0)]);
        data
    }

    #[test]
    fn the_weights_solve_the_closed_form() {
        let (lambda, size) = (2.0, 5);
        let weights = fit(&data(), size, lambda, 0).unwrap();
        // The paper's condition: (XᵀX + λI)(I - B) has zeros off the diagonal.
        let full = gram(&data(), size);
        let g = |i: usize, j: usize| full[(i.max(j), i.min(j))] + if i == j { lambda } else { 0.0 };
        for i in 0..size {
            for j in 0..size {
                let b = |k: usize| if k == j { 0.0 } else { weights.weight(k, j as u32) };
                let value: f32 = (0..size).map(|k| g(i, k) * (f32::from(u8::from(k == j)) - b(k))).sum();
                if i != j {
                    assert!(value.abs() < 1e-3, "({i}, {j}): {value}");
                }
            }
            assert_eq!(weights.weight(i, i as u32), 0.0);
        }
    }

    #[test]
    fn a_history_scores_what_goes_with_it_and_its_length_does_not_matter() {
        let weights = fit(&data(), 5, 2.0, 0).unwrap();
        let scores = weights.scores(&[(0, 1.0), (1, 1.0)]).unwrap();
        assert!(scores[2] > scores[3] && scores[2] > scores[4]);
        let loud = weights.scores(&[(0, 3.0), (1, 3.0)]).unwrap();
        assert!(scores.iter().zip(&loud).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(weights.scores(&[]), None);
    }

    #[test]
    fn pruning_keeps_the_largest() {
        assert_eq!(largest(vec![(0, 0.1), (1, -0.9), (2, 0.5)], 2), vec![(1, -0.9), (2, 0.5)]);
        let weights = fit(&data(), 5, 2.0, 2).unwrap();
        assert!((0..5).all(|item| weights.row(item).0.len() == 2));
    }
}
