//! The graph filter GF-CF (Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021).
//!
//! With `R̃ = D_U^-½ R D_I^-½`, a person's signal is smoothed over the item graph by one linear and one ideal low-pass filter (the paper's algorithm 1):
//! `s = r (R̃ᵀR̃ + α D_I^-½ V Vᵀ D_I^½)`, where `V` are the eigenvectors of `R̃ᵀR̃` with the largest eigenvalues. Both are one
//! item-item matrix, of which the largest weights are kept.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::engine::dataset::Dataset;

use super::item_weights::{ItemWeights, gram_rows, largest};

/// Steps of subspace iteration: the low-pass filter needs the space of the eigenvectors, not each of them to the last digit.
const STEPS: usize = 6;

/// Fits the filter on the first `size` columns of `data`; what is not positive is left out.
///
/// * `rank`: how many eigenvectors the ideal low-pass filter keeps; 0 leaves that filter out.
/// * `alpha`: how much the ideal low-pass filter counts (α of the paper).
/// * `keep`: how many of the largest weights stay in each row; 0 keeps all.
///
/// Memory: two dense matrices of `size²` f32, one of which stays, and four of `size · rank`.
#[must_use]
pub fn fit(data: &Dataset, size: usize, rank: usize, alpha: f32, keep: usize, seed: u64) -> ItemWeights {
    let (normalised, degree) = normalise(data, size);
    let rank = rank.min(size / 2);
    let mut graph = Mat::<f32>::zeros(size, size);
    let rows = gram_rows(&normalised, size, |_, row| row.values.to_vec());
    graph.par_col_iter_mut().zip(rows).for_each(|(column, row)| {
        column.iter_mut().zip(row).for_each(|(place, value)| *place = value);
    });
    if rank > 0 && alpha > 0.0 {
        let vectors = eigenvectors(&graph, rank, seed);
        let scaled = |power: f32| Mat::from_fn(size, rank, |i, k| vectors[(i, k)] * degree[i].max(1e-6).powf(power));
        matmul(graph.as_mut(), Accum::Add, scaled(-0.5).as_ref(), scaled(0.5).transpose(), alpha, Par::rayon(0));
    }
    let rows: Vec<Vec<(u32, f32)>> = (0..size)
        .into_par_iter()
        .map(|i| (0..size).filter(|&j| j != i && degree[j] > 0.0).map(|j| (j as u32, graph[(i, j)])).collect())
        .map(|mut row: Vec<(u32, f32)>| {
            row.retain(|&(_, weight)| weight != 0.0);
            largest(row, keep)
        })
        .collect();
    ItemWeights::from_rows(rows, keep)
}

/// `R̃`, and the degree of each item.
fn normalise(data: &Dataset, size: usize) -> (Dataset, Vec<f32>) {
    let mut degree = vec![0.0f32; size];
    for (&item, &strength) in data.items.iter().zip(&data.strengths) {
        if strength > 0.0 && (item as usize) < size {
            degree[item as usize] += 1.0;
        }
    }
    let mut out = Dataset::new(size);
    for user in 0..data.users() {
        let (items, strengths) = data.row(user);
        let liked = items.iter().zip(strengths).filter(|&(&item, &strength)| strength > 0.0 && (item as usize) < size);
        let mut row: Vec<(u32, f32)> = liked.map(|(&item, _)| (item, 1.0)).collect();
        let own = (row.len() as f32).sqrt();
        for (item, value) in &mut row {
            *value = 1.0 / (own * degree[*item as usize].sqrt());
        }
        out.push(&mut row);
    }
    (out, degree)
}

/// The `rank` leading eigenvectors of a symmetric matrix, by subspace iteration from a random start.
fn eigenvectors(matrix: &Mat<f32>, rank: usize, seed: u64) -> Mat<f32> {
    let size = matrix.nrows();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut basis = Mat::from_fn(size, rank, |_, _| random.random::<f32>() - 0.5);
    for _ in 0..STEPS {
        let mut next = Mat::<f32>::zeros(size, rank);
        matmul(next.as_mut(), Accum::Replace, matrix.as_ref(), basis.as_ref(), 1.0, Par::rayon(0));
        basis = next.qr().compute_thin_Q();
    }
    basis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Dataset {
        let mut data = Dataset::new(5);
        for _ in 0..6 {
            data.push(&mut [(0, 1.0), (1, 1.0), (2, 1.0)]);
            data.push(&mut [(3, 1.0), (4, 1.0)]);
        }
        data.push(&mut [(0, 1.0), (4, 1.0)]);
        data
    }

    #[test]
    fn the_linear_filter_by_hand() {
        let weights = fit(&data(), 5, 0, 0.0, 0, 1);
        // Item 0 has seven people, item 1 six, and six people of three items share them.
        let expected = 6.0 / (3.0 * 7f32.sqrt() * 6f32.sqrt());
        assert!((weights.weight(0, 1) - expected).abs() < 1e-6);
        assert_eq!(weights.weight(1, 3), 0.0);
    }

    #[test]
    fn the_low_pass_filter_keeps_groups_together() {
        let weights = fit(&data(), 5, 2, 0.5, 0, 1);
        assert!(weights.weight(0, 1) > weights.weight(0, 3) && weights.weight(3, 4) > weights.weight(3, 1));
        assert_eq!(weights, fit(&data(), 5, 2, 0.5, 0, 1), "the same seed gives the same weights");
    }

    #[test]
    fn subspace_iteration_finds_the_leading_space() {
        let matrix = Mat::from_fn(8, 8, |i, j| if i == j { 10.0 / (1.0 + i as f32 * i as f32) } else { 0.0 });
        let vectors = eigenvectors(&matrix, 2, 3);
        for axis in 0..2 {
            let captured: f32 = (0..2).map(|k| vectors[(axis, k)].powi(2)).sum();
            assert!(captured > 0.99, "axis {axis}: {captured}");
        }
    }
}
