//! One row of iALS, solved exactly or approached by conjugate gradients.
//!
//! In the eigenbasis of the other side's Gram matrix, `HᵀH = QΛQᵀ`, all that rows have in common is diagonal: `D = α₀Λ + λ#`. With
//! `A = C^½ (HQ)_S D^-½`, a row with no more interactions than dimensions is `D^-½ Aᵀ (AAᵀ + I)⁻¹ C^½t`, the dual form, which costs `|S|²k` and not `k³`;
//! a longer one is `D^-½ (AᵀA + I)⁻¹ AᵀC^½t`.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::{Accum, Mat, MatRef, Par};
use pulp::{Simd, WithSimd};

/// One interaction as the solver sees it: the other side's row, confidence and target.
pub(super) type Entry = (u32, f32, f32);

/// `D^-½`, by dimension.
pub(super) fn shrinkage(eigenvalues: &[f32], unobserved_weight: f32, penalty: f32) -> Vec<f32> {
    eigenvalues.iter().map(|value| 1.0 / (unobserved_weight * value + penalty).max(1e-12).sqrt()).collect()
}

/// `Aᵀ`: a column of `k` numbers for each entry. `column(i)` gives the other side's factors in the eigenbasis.
pub(super) fn scaled<'a>(entries: &[Entry], shrink: &[f32], column: impl Fn(u32) -> &'a [f32]) -> Mat<f32> {
    let mut scaled = Mat::<f32>::zeros(shrink.len(), entries.len());
    for (into, &(other, confidence, _)) in scaled.col_iter_mut().zip(entries) {
        let root = confidence.sqrt();
        for ((into, value), shrink) in into.iter_mut().zip(column(other)).zip(shrink) {
            *into = root * value * shrink;
        }
    }
    scaled
}

/// The factors of one row; `penalty` is its `λ#`.
pub(super) fn solve<'a>(
    entries: &[Entry],
    eigenvalues: &[f32],
    unobserved_weight: f32,
    penalty: f32,
    column: impl Fn(u32) -> &'a [f32],
) -> Vec<f32> {
    let (k, n) = (eigenvalues.len(), entries.len());
    if n == 0 {
        return vec![0.0; k];
    }
    let shrink = shrinkage(eigenvalues, unobserved_weight, penalty);
    let scaled = scaled(entries, &shrink, column);
    let targets = Mat::from_fn(n, 1, |place, _| entries[place].1.sqrt() * entries[place].2);
    let out = if n <= k {
        let mut right = targets;
        solve_with_unit(scaled.transpose(), scaled.as_ref(), &mut right);
        scaled.as_ref() * right
    } else {
        let mut right = scaled.as_ref() * targets;
        solve_with_unit(scaled.as_ref(), scaled.transpose(), &mut right);
        right
    };
    shrink.iter().enumerate().map(|(d, shrink)| shrink * out[(d, 0)]).collect()
}

/// Steps of conjugate gradients in each epoch.
const STEPS: usize = 3;

/// Takes a few steps of conjugate gradients from `x` towards the factors of one row: `(AᵀA + I)y = AᵀC^½t` for `y = D^½x`. What rows have in common
/// being diagonal, `D` is a perfect preconditioner but for the row's own entries, and a step costs `4|S|k`.
pub(super) fn approach<'a>(entries: &[Entry], shrink: &[f32], column: impl Fn(u32) -> &'a [f32] + Copy, x: &mut [f32]) {
    if entries.is_empty() {
        x.fill(0.0);
        return;
    }
    pulp::Arch::new().dispatch(Descent { entries, shrink, column, x });
}

/// The work of [`approach`], compiled for each width of vector instructions.
struct Descent<'a, C> {
    entries: &'a [Entry],
    shrink: &'a [f32],
    column: C,
    x: &'a mut [f32],
}

impl<'c, C: Fn(u32) -> &'c [f32]> WithSimd for Descent<'_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { entries, shrink, column, x } = self;
        let k = x.len();
        let mut scratch = vec![0.0f32; 4 * k];
        let (residual, scratch) = scratch.split_at_mut(k);
        let (direction, scratch) = scratch.split_at_mut(k);
        let (image, scaled) = scratch.split_at_mut(k);
        for &(other, confidence, target) in entries {
            let other = column(other);
            add_with(simd, residual, confidence * (target - dot_with(simd, other, x)), other);
        }
        for d in 0..k {
            // From here on `x` is `y`.
            x[d] /= shrink[d];
            residual[d] = residual[d] * shrink[d] - x[d];
        }
        direction.copy_from_slice(residual);
        let mut left = dot_with(simd, residual, residual);
        for _ in 0..STEPS.min(entries.len() + 1) {
            if left < 1e-12 {
                break;
            }
            for d in 0..k {
                scaled[d] = direction[d] * shrink[d];
            }
            image.fill(0.0);
            for &(other, confidence, _) in entries {
                let other = column(other);
                add_with(simd, image, confidence * dot_with(simd, other, scaled), other);
            }
            for d in 0..k {
                image[d] = image[d] * shrink[d] + direction[d];
            }
            let step = left / dot_with(simd, direction, image);
            add_with(simd, x, step, direction);
            add_with(simd, residual, -step, image);
            let now = dot_with(simd, residual, residual);
            for d in 0..k {
                direction[d] = residual[d] + now / left * direction[d];
            }
            left = now;
        }
        for d in 0..k {
            x[d] *= shrink[d];
        }
    }
}

/// The scalar product of two vectors of the same length.
#[inline(always)]
fn dot_with<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    // Four sums, so that no addition waits for the last.
    let mut sums = [simd.splat_f32s(0.0); 4];
    let (a_fours, b_fours) = (a.chunks_exact(4), b.chunks_exact(4));
    for (place, (&a, &b)) in a_fours.remainder().iter().zip(b_fours.remainder()).enumerate() {
        sums[place] = simd.mul_add_f32s(a, b, sums[place]);
    }
    for (a, b) in a_fours.zip(b_fours) {
        for place in 0..4 {
            sums[place] = simd.mul_add_f32s(a[place], b[place], sums[place]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]))) + rest
}

/// Adds a multiple of a vector of the same length.
#[inline(always)]
fn add_with<S: Simd>(simd: S, to: &mut [f32], factor: f32, what: &[f32]) {
    let ((to, to_rest), (what, what_rest)) = (S::as_mut_simd_f32s(to), S::as_simd_f32s(what));
    let factors = simd.splat_f32s(factor);
    for (to, &what) in to.iter_mut().zip(what) {
        *to = simd.mul_add_f32s(factors, what, *to);
    }
    for (to, what) in to_rest.iter_mut().zip(what_rest) {
        *to += factor * what;
    }
}

/// Solves `(LR + I)x = b` in place, `LR` symmetric.
fn solve_with_unit(left: MatRef<'_, f32>, right: MatRef<'_, f32>, b: &mut Mat<f32>) {
    match factored_with_unit(left, right) {
        Some(system) => solve_factored(system.as_ref(), b),
        None => b.fill(f32::NAN),
    }
}

/// The Cholesky factor of `LR + I`, `LR` symmetric; `None` when a number is not finite.
pub(super) fn factored_with_unit(left: MatRef<'_, f32>, right: MatRef<'_, f32>) -> Option<Mat<f32>> {
    let size = left.nrows();
    let mut system = Mat::<f32>::identity(size, size);
    triangular_matmul(
        system.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        left,
        BlockStructure::Rectangular,
        right,
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
    let mut buffer =
        MemBuffer::new(llt::factor::cholesky_in_place_scratch::<f32>(size, Par::Seq, faer::Spec::default()));
    // I plus a positive semi-definite matrix is positive definite; what is not finite is found when all is done.
    let factored = llt::factor::cholesky_in_place(
        system.as_mut(),
        llt::factor::LltRegularization::default(),
        Par::Seq,
        MemStack::new(&mut buffer),
        faer::Spec::default(),
    );
    factored.is_ok().then_some(system)
}

/// Solves for `b` in place, with a factor of [`factored_with_unit`].
pub(super) fn solve_factored(factor: MatRef<'_, f32>, b: &mut Mat<f32>) {
    let mut buffer = MemBuffer::new(StackReq::EMPTY);
    llt::solve::solve_in_place(factor, b.as_mut(), Par::Seq, MemStack::new(&mut buffer));
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn primal_and_dual_solve_the_normal_equations_and_gradients_come_near() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let others: Vec<Vec<f32>> = (0..9).map(|_| (0..4).map(|_| random.random::<f32>() - 0.5).collect()).collect();
        let eigenvalues = [0.1, 0.5, 1.0, 2.0];
        for n in [1, 3, 4, 9] {
            let entries: Vec<Entry> =
                (0..n).map(|i| (i, 0.5 + i as f32 / 4.0, f32::from(u8::from(i % 3 != 1)))).collect();
            let x = solve(&entries, &eigenvalues, 0.3, 0.2, |i| &others[i as usize]);
            for d in 0..4 {
                let diagonal = 0.3 * eigenvalues[d] + 0.2;
                let left: f32 = entries
                    .iter()
                    .map(|&(i, c, t)| {
                        let row = &others[i as usize];
                        c * row[d] * (row.iter().zip(&x).map(|(a, b)| a * b).sum::<f32>() - t)
                    })
                    .sum();
                assert!((left + diagonal * x[d]).abs() < 1e-4, "n = {n}, d = {d}: {left} {x:?}");
            }
            let mut near = vec![0.1; 4];
            for _ in 0..4 {
                approach(&entries, &shrinkage(&eigenvalues, 0.3, 0.2), |i| &others[i as usize], &mut near);
            }
            assert!(near.iter().zip(&x).all(|(near, exact)| (near - exact).abs() < 1e-4), "n = {n}: {near:?} {x:?}");
        }
    }
}
