//! From content to collaborative space: the factors of items that nobody has touched yet, from their genres, tags, creators and words.
//!
//! A ridge regression of the factors `V` (items × k) that iALS learned on the terms `T` of the same items: `W` minimises `|T W - V|² + λ|W|²`, and the
//! factors of a new item with the terms `t` are `tW` ("Learning Attribute-to-Feature Mappings for Cold-Start Recommendations", Gantner et al., ICDM 2010,
//! with the least-squares map). `(TᵀT + λI) W = TᵀV` is solved by conjugate gradients, all `k` right-hand sides at once.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::engine::ItemIndex;
use crate::engine::catalogue::Catalogue;

/// Steps of the conjugate gradients: far more than the shrinking of the residual needs at the λ in use.
const STEPS: usize = 40;
/// They end when each residual has shrunk to this share.
const ENOUGH: f64 = 1e-4;

/// Fewer rows are not worth another thread's waking.
const FEW: usize = 2000;

/// Sparse rows: places and values.
pub type Rows = Vec<Vec<(u32, f32)>>;

/// The map: `k` numbers a term.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TermFactors {
    /// `k`.
    dimensions: usize,
    /// By row: the name of the term.
    names: Vec<String>,
    /// `factors[row * k..][..k]`.
    factors: Vec<f32>,
    rows: HashMap<String, u32>,
}

impl TermFactors {
    /// Puts a map together from names and as many rows of `dimensions` numbers.
    #[must_use]
    pub fn new(dimensions: usize, names: Vec<String>, factors: Vec<f32>) -> Self {
        let rows = names.iter().enumerate().map(|(row, name)| (name.clone(), row as u32)).collect();
        Self { dimensions, names, factors, rows }
    }

    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    #[must_use]
    pub fn factors(&self) -> &[f32] {
        &self.factors
    }

    /// The factors of an item of the catalogue by its terms; `None` when the map knows none of them.
    #[must_use]
    pub fn of(&self, catalogue: &Catalogue, item: ItemIndex) -> Option<Vec<f32>> {
        if self.names.is_empty() {
            return None;
        }
        let content = catalogue.content();
        let known = |(term, weight)| Some((*self.rows.get(content.name(term))?, weight));
        let terms: Vec<(u32, f32)> = content.unit_terms(item).into_iter().filter_map(known).collect();
        (!terms.is_empty()).then(|| combined(&terms, &self.factors, self.dimensions))
    }

    /// The first thing that is wrong with its shape, for an artifact that was read.
    #[must_use]
    pub fn fault(&self, dimensions: usize) -> Option<&'static str> {
        let rules = [
            (self.names.is_empty() || self.dimensions == dimensions, "terms and items differ in dimensions"),
            (self.factors.len() == self.names.len() * self.dimensions, "terms and their factors differ in number"),
            (self.factors.iter().all(|value| value.is_finite()), "a factor of a term is not a number"),
        ];
        rules.into_iter().find_map(|(holds, reason)| (!holds).then_some(reason))
    }
}

/// Solves for `W` (terms × `k`, row by row).
///
/// * `terms`: by item, its terms below `count` with weights.
/// * `factors`: items × `k`, row by row.
/// * `lambda`: the ridge penalty.
#[must_use]
pub fn fit(terms: &Rows, count: usize, factors: &[f32], k: usize, lambda: f32) -> Vec<f32> {
    let mut bearers: Rows = vec![Vec::new(); count];
    for (item, row) in terms.iter().enumerate() {
        for &(term, weight) in row {
            bearers[term as usize].push((item as u32, weight));
        }
    }
    let apply = |w: &[f32]| -> Vec<f32> {
        let mut out = times(&bearers, &times(terms, w, k), k);
        add(&mut out, lambda, w);
        out
    };
    let mut solution = vec![0.0f32; count * k];
    let mut residual = times(&bearers, factors, k);
    let mut direction = residual.clone();
    let mut size = column_products(&residual, &residual, k);
    let wanted: Vec<f64> = size.iter().map(|size| size * ENOUGH * ENOUGH).collect();
    for _ in 0..STEPS {
        if size.iter().zip(&wanted).all(|(size, wanted)| size <= wanted) {
            break;
        }
        let applied = apply(&direction);
        let curvature = column_products(&direction, &applied, k);
        let ratio = |above: f64, below: f64| if below > 0.0 { (above / below) as f32 } else { 0.0 };
        let step: Vec<f32> = size.iter().zip(&curvature).map(|(&size, &curve)| ratio(size, curve)).collect();
        let back: Vec<f32> = step.iter().map(|step| -step).collect();
        for (into, step, rows) in [(&mut solution, &step, &direction), (&mut residual, &back, &applied)] {
            let rows = into.par_chunks_mut(k).zip(rows.par_chunks(k)).with_min_len(FEW);
            rows.for_each(|(into, row)| add_each(into, step, row));
        }
        let next = column_products(&residual, &residual, k);
        let keep: Vec<f32> = next.iter().zip(&size).map(|(&next, &size)| ratio(next, size)).collect();
        direction.par_chunks_mut(k).zip(residual.par_chunks(k)).with_min_len(FEW).for_each(|(into, row)| {
            for d in 0..k {
                into[d] = row[d] + keep[d] * into[d];
            }
        });
        size = next;
    }
    solution
}

/// The sum of rows of `k` numbers, by their weights.
#[must_use]
pub fn combined(weights: &[(u32, f32)], rows: &[f32], k: usize) -> Vec<f32> {
    let mut sum = vec![0.0; k];
    for &(row, weight) in weights {
        add(&mut sum, weight, &rows[row as usize * k..][..k]);
    }
    sum
}

/// A sparse matrix by its rows, times a dense one of `k` columns.
fn times(rows: &Rows, dense: &[f32], k: usize) -> Vec<f32> {
    let mut out = vec![0.0f32; rows.len() * k];
    out.par_chunks_mut(k).zip(rows).with_min_len(FEW).for_each(|(into, row)| {
        for &(place, weight) in row {
            add(into, weight, &dense[place as usize * k..][..k]);
        }
    });
    out
}

/// By column: the scalar product of two dense matrices of `k` columns, in the order of rows so that it is always the same.
fn column_products(a: &[f32], b: &[f32], k: usize) -> Vec<f64> {
    let mut sums = vec![0.0f64; k];
    for (a, b) in a.chunks_exact(k).zip(b.chunks_exact(k)) {
        for d in 0..k {
            sums[d] += f64::from(a[d]) * f64::from(b[d]);
        }
    }
    sums
}

fn add(into: &mut [f32], weight: f32, row: &[f32]) {
    for (into, value) in into.iter_mut().zip(row) {
        *into += weight * value;
    }
}

fn add_each(into: &mut [f32], weights: &[f32], row: &[f32]) {
    for ((into, weight), value) in into.iter_mut().zip(weights).zip(row) {
        *into += weight * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_equations_hold() {
        let terms: Rows =
            (0..30u32).map(|item| vec![(item % 7, 0.8), (7 + item % 3, 0.6), (10, 0.1 * item as f32)]).collect();
        let (count, k, lambda) = (11, 3, 0.5);
        let factors: Vec<f32> = (0..90).map(|n| ((n * 37 % 19) as f32 - 9.0) / 10.0).collect();
        let solved = fit(&terms, count, &factors, k, lambda);
        let fitted = times(&terms, &solved, k);
        for term in 0..count as u32 {
            for d in 0..k {
                let sum = |values: &[f32]| -> f32 {
                    let of = |(item, row): (usize, &Vec<(u32, f32)>)| {
                        row.iter()
                            .filter(|entry| entry.0 == term)
                            .map(|entry| entry.1 * values[item * k + d])
                            .sum::<f32>()
                    };
                    terms.iter().enumerate().map(of).sum()
                };
                let left = sum(&fitted) + lambda * solved[term as usize * k + d];
                assert!((left - sum(&factors)).abs() < 1e-2, "{term} {d}: {left} is not {}", sum(&factors));
            }
        }
    }

    #[test]
    fn without_terms_there_is_nothing() {
        assert!(fit(&Vec::new(), 0, &[], 2, 1.0).is_empty());
        assert_eq!(TermFactors::default().fault(64), None);
        let broken = TermFactors::new(2, vec!["word a".into()], vec![1.0]);
        assert!(broken.fault(2).is_some());
    }
}
