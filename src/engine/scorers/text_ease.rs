//! Text-EASE: EASE on vectors of the items' texts instead of people, as a prior for EASE on behaviour (L3AE, "linear autoencoders meet large language
//! models", CIKM 2025).
//!
//! With the vectors as the columns of `V` (each item's as a row here) `S` minimises `|Vᵀ - VᵀS|² + ρ|S|²` with a zero diagonal. By the identity of Woodbury
//! its inverse is `(I - V M Vᵀ)/ρ` with `M = (ρI + VᵀV)⁻¹`, only as wide as a vector is long, so that off the diagonal `S_ij = δ_j (V M Vᵀ)_ij` with
//! `h_j = (V M Vᵀ)_jj` and `δ_j = 1 / (1 - h_j)`, and `S` is never held as a whole.
//!
//! EASE with that prior minimises `|X - XB|² + (λ - κ)|B|² + κ|B - S|²` with a zero diagonal: `B = I + κPS - P · diag(μ)`, `μ_j = (1 + κ(PS)_jj) / P_jj`,
//! `P = (XᵀX + λI)⁻¹`. The penalty `λ` is that of EASE without a prior, of which `κ` is a share, so that one inverse serves every share.

use faer::linalg::solvers::{DenseSolveCore as _, Llt};
use faer::traits::RealField;
use faer::{Accum, Mat, MatRef, Par, Side};

/// The penalty `ρ`, in units of the vectors' length of 1. Between 3 and 30 it makes little difference; 3 was the best of these on ml-latest-small.
const RIDGE: f32 = 3.0;

/// `S`, by its parts.
#[derive(Debug, Clone)]
pub struct TextEase {
    /// `V`: a row of length 1 an item; zeros for one without text.
    vectors: Mat<f32>,
    /// `M`.
    middle: Mat<f32>,
    /// By item: `h`, `δ`.
    own: Vec<f32>,
    scale: Vec<f32>,
}

/// What the prior adds to the weights of EASE: `PS_ij = δ_j (W_i · v_j - P_ij h_j)` with `W = P V M`.
#[derive(Debug)]
pub struct Prior<'a> {
    text: &'a TextEase,
    moved: Mat<f32>,
}

impl TextEase {
    /// `None` when the vectors are no numbers.
    #[must_use]
    pub fn new(vectors: Mat<f32>) -> Option<Self> {
        let width = vectors.ncols();
        let mut gram = vectors.transpose() * &vectors;
        for d in 0..width {
            gram[(d, d)] += RIDGE;
        }
        let middle = Llt::new(gram.as_ref(), Side::Lower).ok()?.inverse();
        let turned = &vectors * &middle;
        let own = |item: usize| -> f32 { (0..width).map(|d| turned[(item, d)] * vectors[(item, d)]).sum() };
        let own: Vec<f32> = (0..vectors.nrows()).map(own).collect();
        // h is below 1 as ρ is above 0; rounding must not bring it there.
        let scale: Vec<f32> = own.iter().map(|own| 1.0 / (1.0 - own).max(1e-3)).collect();
        scale.iter().all(|value| value.is_finite()).then_some(Self { vectors, middle, own, scale })
    }

    /// Makes ready for an inverse `P`.
    pub(super) fn prior<T: RealField + Copy + From<f32> + Into<f64>>(&self, inverse: MatRef<'_, T>) -> Prior<'_> {
        let (size, width) = (self.vectors.nrows(), self.vectors.ncols());
        let turned = &self.vectors * &self.middle;
        let turned = Mat::<T>::from_fn(size, width, |i, d| T::from(turned[(i, d)]));
        let mut moved = Mat::<T>::zeros(size, width);
        faer::linalg::matmul::matmul(
            moved.as_mut(),
            Accum::Replace,
            inverse,
            turned.as_ref(),
            T::from(1.0),
            Par::rayon(0),
        );
        let single = |i: usize, d: usize| -> f32 {
            let value: f64 = moved[(i, d)].into();
            value as f32
        };
        Prior { text: self, moved: Mat::from_fn(size, width, single) }
    }
}

impl Prior<'_> {
    /// `W_i · v_j` for these rows `i` and all `j`: a column for each row.
    pub(super) fn products(&self, rows: std::ops::Range<usize>) -> Mat<f32> {
        let moved = self.moved.as_ref().subrows(rows.start, rows.len());
        let mut out = Mat::zeros(self.text.vectors.nrows(), rows.len());
        let vectors = self.text.vectors.as_ref();
        faer::linalg::matmul::matmul(out.as_mut(), Accum::Replace, vectors, moved.transpose(), 1.0, Par::Seq);
        out
    }

    /// `(PS)_ij` from `W_i · v_j` and `P_ij`.
    pub(super) fn of(&self, product: f32, inverse: f32, j: usize) -> f32 {
        self.text.scale[j] * (product - inverse * self.text.own[j])
    }

    /// `(PS)_jj` from `P_jj`.
    pub(super) fn diagonal(&self, j: usize, inverse: f32) -> f32 {
        let product: f32 = (0..self.moved.ncols()).map(|d| self.moved[(j, d)] * self.text.vectors[(j, d)]).sum();
        self.of(product, inverse, j)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `S` by its definition: EASE with the dimensions of the vectors for people.
    pub fn dense(vectors: &Mat<f32>) -> Mat<f32> {
        let size = vectors.nrows();
        let mut gram = vectors * vectors.transpose();
        (0..size).for_each(|i| gram[(i, i)] += RIDGE);
        let inverse = Llt::new(gram.as_ref(), Side::Lower).unwrap().inverse();
        Mat::from_fn(size, size, |i, j| if i == j { 0.0 } else { -inverse[(i, j)] / inverse[(j, j)] })
    }

    pub fn vectors(size: usize) -> Mat<f32> {
        // One item without text.
        Mat::from_fn(size, 3, |i, d| if i == 1 { 0.0 } else { ((i * 31 + d * 17) % 11) as f32 / 11.0 - 0.4 })
    }

    #[test]
    fn the_parts_make_the_product_with_the_whole() {
        let (size, vectors) = (6, vectors(6));
        let whole = dense(&vectors);
        let inverse = Mat::<f32>::from_fn(size, size, |i, j| 1.0 / (1.0 + (i as f32 - j as f32).powi(2)));
        let expected = &inverse * &whole;
        let text = TextEase::new(vectors).unwrap();
        let prior = text.prior(inverse.as_ref());
        let products = prior.products(0..size);
        for i in 0..size {
            for j in 0..size {
                let found = prior.of(products[(j, i)], inverse[(i, j)], j);
                assert!((found - expected[(i, j)]).abs() < 1e-4, "({i}, {j}): {found} {}", expected[(i, j)]);
            }
            assert!((prior.diagonal(i, inverse[(i, i)]) - expected[(i, i)]).abs() < 1e-4);
        }
    }
}
