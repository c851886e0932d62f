//! One row of iALS, solved exactly.
//!
//! In the eigenbasis of the other side's Gram matrix, `HᵀH = QΛQᵀ`, all that rows have in common is diagonal: `D = α₀Λ + λ#`. With
//! `A = C^½ (HQ)_S D^-½`, a row with no more interactions than dimensions is `D^-½ Aᵀ (AAᵀ + I)⁻¹ C^½t`, the dual form, which costs `|S|²k` and not `k³`;
//! a longer one is `D^-½ (AᵀA + I)⁻¹ AᵀC^½t`.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::{Accum, Mat, MatRef, Par};

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

/// Solves `(LR + I)x = b` in place, `LR` symmetric.
pub(super) fn solve_with_unit(left: MatRef<'_, f32>, right: MatRef<'_, f32>, b: &mut Mat<f32>) {
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
    let stack = MemStack::new(&mut buffer);
    // I plus a positive semi-definite matrix is positive definite; what is not finite is found when all is done.
    let factored = llt::factor::cholesky_in_place(
        system.as_mut(),
        llt::factor::LltRegularization::default(),
        Par::Seq,
        stack,
        faer::Spec::default(),
    );
    if factored.is_ok() {
        llt::solve::solve_in_place(
            system.as_ref(),
            b.as_mut(),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(StackReq::EMPTY)),
        );
    } else {
        b.fill(f32::NAN);
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn primal_and_dual_solve_the_normal_equations() {
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
        }
    }
}
