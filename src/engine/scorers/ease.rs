//! EASE^R (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019), with side information.
//!
//! The item-item weights `B` minimise `|X - XB|² + λ|B|²` with a zero diagonal, which has the closed form of the paper's
//! equation 8: with `P = (XᵀX + λI)⁻¹`, `B = I - P · diag(1 / diag P)`. A person's scores are their row of strengths times `B`, so
//! that folding somebody in is ordinary scoring.
//!
//! The penalty of an item grows with how often it occurs: `λ + p/(1-p) · (XᵀX)ⱼⱼ`, which is what training on rows with a share `p` of their
//! interactions dropped out comes to in expectation (Steck, "Autoencoders that don't overfit towards the Identity", NeurIPS 2020, section 3.1).
//!
//! What is known of the items joins as in collective EASE (Jeunen et al., "Closed-Form Models for Collaborative Filtering with Side-Information", RecSys
//! 2020): each term is one more person, who takes to the items that bear it. `XᵀX` becomes `XᵀX + β TᵀT`, where `TᵀT` holds the cosines of the items'
//! terms. It gives weights to items that nobody has touched yet.
//!
//! Where the items' texts have vectors, the penalty pulls the weights towards those that the texts alone would have: [`super::text_ease`].

use std::collections::HashMap;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::traits::RealField;
use faer::{Mat, Par};
use rayon::prelude::*;

use crate::engine::dataset::Dataset;

use super::item_weights::{ItemWeights, columns, largest};
use super::text_ease::TextEase;

/// Why EASE could not be fitted.
#[derive(Debug, thiserror::Error)]
pub enum EaseError {
    #[error("the Gram matrix is not positive definite at column {0}: raise ease_lambda")]
    NotPositiveDefinite(usize),
    #[error("the weights are not finite")]
    NotFinite,
}

/// What is known of items besides who took to them: by column, terms with weights, of length 1 or empty.
pub type Terms = Vec<Vec<(u32, f32)>>;

/// What is added to the diagonal of the Gram matrix.
#[derive(Debug, Clone, Copy)]
pub struct Penalty {
    /// λ, the same for all items.
    pub lambda: f32,
    /// p: the share of interactions dropped out, 0 to below 1.
    pub dropout: f32,
}

impl Penalty {
    /// For an item whose diagonal element is `gram`.
    fn of(self, gram: f32) -> f32 {
        self.lambda.max(f32::MIN_POSITIVE) + self.dropout / (1.0 - self.dropout) * gram
    }
}

/// EASE but for its weights: `P`, from which they are made with or without a prior.
pub struct Solved {
    inverse: Inverse,
    lambda: f32,
}

enum Inverse {
    Single(Mat<f32>),
    Double(Mat<f64>),
}

/// Solves EASE on the first `size` columns of `data`.
///
/// * `penalty`: strengths are divided by the mean positive strength of their user first, so that it means the
///   same for plays as for ratings, and somebody who plays everything a thousand times has no more say than others.
/// * `side`: terms of the columns, and how much they count (β); a weight of 0 leaves them out.
///
/// Single precision, where its residual is small; double otherwise. Memory: two dense matrices of `size²` numbers, one of which stays.
///
/// # Errors
/// [`EaseError::NotPositiveDefinite`].
pub fn solve(data: &Dataset, size: usize, penalty: Penalty, side: Option<(&Terms, f32)>) -> Result<Solved, EaseError> {
    let side = side.filter(|(_, weight)| *weight > 0.0);
    let lambda = penalty.lambda;
    if size == 0 {
        return Ok(Solved { inverse: Inverse::Single(Mat::new()), lambda });
    }
    let inverse = match inverse::<f32>(data, size, penalty, side) {
        Ok(inverse) if residual(&inverse, data, penalty, side) <= TOLERANCE => Inverse::Single(inverse),
        _ => {
            tracing::warn!(size, lambda, "single precision does not carry EASE: fitting it again in double precision");
            Inverse::Double(inverse::<f64>(data, size, penalty, side)?)
        }
    };
    Ok(Solved { inverse, lambda })
}

impl Solved {
    /// The weights.
    ///
    /// * `text`: text-EASE on the same columns, and the share of λ that pulls towards it (κ/λ, 0 to 1).
    /// * `keep`: how many of the largest weights (in size) stay in each row; 0 keeps all.
    ///
    /// # Errors
    /// [`EaseError::NotFinite`].
    pub fn weights(&self, text: Option<(&TextEase, f32)>, keep: usize) -> Result<ItemWeights, EaseError> {
        let text = text.map(|(text, share)| (text, share * self.lambda)).filter(|(_, kappa)| *kappa > 0.0);
        let rows = match &self.inverse {
            Inverse::Single(inverse) => rows(inverse, text, keep),
            Inverse::Double(inverse) => rows(inverse, text, keep),
        };
        let weights = ItemWeights::from_rows(rows, keep);
        if weights.scales.iter().all(|scale| scale.is_finite()) { Ok(weights) } else { Err(EaseError::NotFinite) }
    }
}

/// [`solve`], and the weights without a prior.
///
/// # Errors
/// [`EaseError`].
pub fn fit(
    data: &Dataset,
    size: usize,
    penalty: Penalty,
    side: Option<(&Terms, f32)>,
    keep: usize,
) -> Result<ItemWeights, EaseError> {
    solve(data, size, penalty, side)?.weights(None, keep)
}

/// The precision that EASE is fitted in.
trait Real: RealField + Copy + From<f32> + Into<f64> {}
impl Real for f32 {}
impl Real for f64 {}

/// What may be wrong at most with single precision: the relative residual of the inverse.
const TOLERANCE: f64 = 1e-2;

/// `P = (XᵀX + βTᵀT + λI)⁻¹`.
fn inverse<T: Real>(
    data: &Dataset,
    size: usize,
    penalty: Penalty,
    side: Option<(&Terms, f32)>,
) -> Result<Mat<T>, EaseError> {
    let mut gram = gram::<T>(data, size);
    let penalties = penalties(data, size, penalty);
    if let Some((terms, weight)) = side {
        add_terms(&mut gram, terms, weight);
    }
    for (i, penalty) in penalties.into_iter().enumerate() {
        gram[(i, i)] += T::from(penalty);
    }
    let par = Par::rayon(0);
    let scratch = llt::factor::cholesky_in_place_scratch::<T>(size, par, faer::Spec::default())
        .or(llt::inverse::inverse_scratch::<T>(size, par));
    let mut buffer = MemBuffer::new(scratch);
    llt::factor::cholesky_in_place(
        gram.as_mut(),
        llt::factor::LltRegularization::default(),
        par,
        MemStack::new(&mut buffer),
        faer::Spec::default(),
    )
    .map_err(|llt::factor::LltError::NonPositivePivot { index }| EaseError::NotPositiveDefinite(index))?;
    let mut inverse = Mat::<T>::zeros(size, size);
    llt::inverse::inverse(inverse.as_mut(), gram.as_ref(), par, MemStack::new(&mut buffer));
    mirror(&mut inverse);
    Ok(inverse)
}

/// Fills the upper triangle from the lower one, so that a row can be read as a column, in the order of memory. Tile by tile: a column of its own for each
/// number would be a cache miss for each number.
fn mirror<T: Copy>(matrix: &mut Mat<T>) {
    const TILE: usize = 64;
    let size = matrix.nrows();
    for columns in (0..size).step_by(TILE) {
        for rows in (0..=columns).step_by(TILE) {
            for column in columns..(columns + TILE).min(size) {
                for row in rows..(rows + TILE).min(column) {
                    matrix[(row, column)] = matrix[(column, row)];
                }
            }
        }
    }
}

/// `|G P x - x| / |x|` for one `x` of ones with changing signs; `G` is applied through the data, as its matrix has become the factor.
fn residual<T: Real>(inverse: &Mat<T>, data: &Dataset, penalty: Penalty, side: Option<(&Terms, f32)>) -> f64 {
    let size = inverse.nrows();
    let sign = |i: usize| if (i * 7919 % 13).is_multiple_of(2) { 1.0 } else { -1.0 };
    let mut solved = vec![0.0f64; size];
    for (column, of) in inverse.col_iter().enumerate() {
        let value = |(row, &value): (usize, &T)| -> f64 { sign(row) * value.into() };
        solved[column] = of.iter().enumerate().map(value).sum();
    }
    let penalties = penalties(data, size, penalty);
    let mut back: Vec<f64> = solved.iter().zip(penalties).map(|(value, penalty)| value * f64::from(penalty)).collect();
    for user in 0..data.users() {
        let (items, strengths) = data.row(user);
        let scale = f64::from(mean_scale(strengths));
        let known = || items.iter().zip(strengths).take_while(|(item, _)| (**item as usize) < size);
        let sum: f64 = known().map(|(&item, &strength)| f64::from(strength) * scale * solved[item as usize]).sum();
        known().for_each(|(&item, &strength)| back[item as usize] += f64::from(strength) * scale * sum);
    }
    if let Some((terms, weight)) = side {
        let mut sums: HashMap<u32, f64> = HashMap::new();
        for (row, solved) in terms.iter().zip(&solved) {
            row.iter().for_each(|&(term, value)| *sums.entry(term).or_default() += f64::from(value) * solved);
        }
        for (row, back) in terms.iter().zip(&mut back) {
            *back += row.iter().map(|(term, value)| f64::from(weight * value) * sums[term]).sum::<f64>();
        }
    }
    let wrong: f64 = back.iter().enumerate().map(|(i, value)| (value - sign(i)).powi(2)).sum();
    (wrong / size as f64).sqrt()
}

/// Rows whose products with the vectors of texts are made at once.
const BLOCK: usize = 64;

/// `B` row by row: the `keep` largest of each (0: all). With a prior `S` of weight κ `B = I + κPS - P · diag(μ)`, else `I - P · diag(1 / diag P)`.
fn rows<T: Real>(inverse: &Mat<T>, text: Option<(&TextEase, f32)>, keep: usize) -> Vec<Vec<(u32, f32)>> {
    let size = inverse.nrows();
    let prior = text.map(|(text, kappa)| (text.prior(inverse.as_ref()), kappa));
    let mu = |j: usize| {
        let own: f64 = inverse[(j, j)].into();
        prior.as_ref().map_or(1.0, |(prior, kappa)| 1.0 + f64::from(kappa * prior.diagonal(j, own as f32))) / own
    };
    let mu: Vec<f64> = (0..size).map(mu).collect();
    let block = |block: usize| -> Vec<Vec<(u32, f32)>> {
        let range = block * BLOCK..((block + 1) * BLOCK).min(size);
        let products = prior.as_ref().map(|(prior, kappa)| (prior, kappa, prior.products(range.clone())));
        let row = |i: usize| {
            // P is symmetric: its column is its row.
            let of_row = inverse.col(i).iter().zip(&mu).enumerate();
            let mut row: Vec<(u32, f32)> = Vec::with_capacity(size);
            row.extend(of_row.filter(|(j, _)| *j != i).map(|(j, (&inverse, mu))| {
                let (inverse, mut weight): (f64, f32) = (inverse.into(), 0.0);
                if let Some((prior, kappa, products)) = &products {
                    weight = *kappa * prior.of(products[(j, i - range.start)], inverse as f32, j);
                }
                (j as u32, weight - (inverse * mu) as f32)
            }));
            largest(row, keep)
        };
        range.clone().map(row).collect()
    };
    (0..size.div_ceil(BLOCK)).into_par_iter().flat_map_iter(block).collect()
}

/// By column: its penalty.
fn penalties(data: &Dataset, size: usize, penalty: Penalty) -> Vec<f32> {
    let mut diagonal = vec![0.0f32; size];
    for user in 0..data.users() {
        let (items, strengths) = data.row(user);
        let scale = mean_scale(strengths);
        for (&item, &strength) in items.iter().zip(strengths).take_while(|(item, _)| (**item as usize) < size) {
            diagonal[item as usize] += (strength * scale).powi(2);
        }
    }
    diagonal.into_iter().map(|gram| penalty.of(gram)).collect()
}

/// What a person's strengths are multiplied with, so that their positive ones have a mean of 1.
fn mean_scale(strengths: &[f32]) -> f32 {
    let positive = strengths.iter().filter(|&&strength| strength > 0.0);
    let (sum, count) = positive.fold((0.0, 0.0), |(sum, count), &strength| (sum + strength, count + 1.0));
    if sum > 0.0 { count / sum } else { 0.0 }
}

/// `XᵀX` of the first `size` columns, lower triangle, rows scaled by their mean positive strength.
fn gram<T: Real>(data: &Dataset, size: usize) -> Mat<T> {
    let mut gram = Mat::<T>::zeros(size, size);
    // Item by item: the users of an item, so that each thread fills columns of its own.
    let users_of = columns(data, size);
    let scales: Vec<f32> = (0..data.users()).map(|user| mean_scale(data.row(user).1)).collect();
    gram.par_col_iter_mut().enumerate().for_each(|(column, mut into)| {
        for &(user, strength) in &users_of[column] {
            let (items, strengths) = data.row(user as usize);
            let from = items.partition_point(|&item| (item as usize) < column);
            let scaled = strength * scales[user as usize].powi(2);
            for (&item, &other) in items[from..].iter().zip(&strengths[from..]) {
                if item as usize >= size {
                    break;
                }
                into[item as usize] += T::from(scaled * other);
            }
        }
    });
    gram
}

/// Adds `weight` times the products of the columns' terms, lower triangle.
fn add_terms<T: Real>(gram: &mut Mat<T>, terms: &Terms, weight: f32) {
    let size = gram.nrows();
    let count = terms.iter().flatten().map(|&(term, _)| term as usize + 1).max().unwrap_or(0);
    let mut bearers: Vec<Vec<(u32, f32)>> = vec![Vec::new(); count];
    for (column, terms) in terms.iter().take(size).enumerate() {
        for &(term, value) in terms {
            bearers[term as usize].push((column as u32, value));
        }
    }
    gram.par_col_iter_mut().enumerate().for_each(|(column, mut into)| {
        for &(term, value) in terms.get(column).into_iter().flatten() {
            let bearers = &bearers[term as usize];
            let from = bearers.partition_point(|&(other, _)| (other as usize) < column);
            for &(other, theirs) in &bearers[from..] {
                into[other as usize] += T::from(weight * value * theirs);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::text_ease;
    use super::*;

    fn ridge(lambda: f32) -> Penalty {
        Penalty { lambda, dropout: 0.0 }
    }

    fn data() -> Dataset {
        // Two groups of people who share their items, and one who likes both.
        let mut data = Dataset::new(6);
        for _ in 0..6 {
            data.push(&mut [(0, 1.0), (1, 1.0), (2, 1.0)]);
            data.push(&mut [(3, 1.0), (4, 1.0)]);
        }
        data.push(&mut [(0, 1.0), (4, 1.0)]);
        data
    }

    #[test]
    fn a_triangle_is_mirrored_over_the_edges_of_tiles() {
        let mut matrix = Mat::from_fn(130, 130, |i, j| if i >= j { (i * 1_000 + j) as f32 } else { f32::NAN });
        mirror(&mut matrix);
        let whole = Mat::from_fn(130, 130, |i, j| (i.max(j) * 1_000 + i.min(j)) as f32);
        assert_eq!(matrix, whole);
    }

    #[test]
    fn the_weights_solve_the_closed_form() {
        let (lambda, size) = (2.0, 5);
        let weights = fit(&data(), size, ridge(lambda), None, 0).unwrap();
        // The paper's condition: (XᵀX + λI)(I - B) has zeros off the diagonal.
        let full = gram::<f32>(&data(), size);
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
    fn what_single_precision_does_not_carry_is_fitted_in_double() {
        // A penalty that is lost beside the counts in 24 bits: items 0 to 2 always go together.
        let mut data = Dataset::new(3);
        (0..3_000).for_each(|_| data.push(&mut [(0, 1.0), (1, 1.0), (2, 1.0)]));
        let lambda = 1e-5;
        let single = inverse::<f32>(&data, 3, ridge(lambda), None);
        assert!(single.is_err() || residual(&single.unwrap(), &data, ridge(lambda), None) > TOLERANCE);
        assert!(residual(&inverse::<f64>(&data, 3, ridge(lambda), None).unwrap(), &data, ridge(lambda), None) < 1e-4);
        let weights = fit(&data, 3, ridge(lambda), None, 0).unwrap();
        assert!((weights.weight(0, 1) - 0.5).abs() < 1e-3, "{}", weights.weight(0, 1));
    }

    #[test]
    fn with_a_prior_the_weights_solve_the_closed_form() {
        let (lambda, size, share) = (2.0f32, 6, 0.6);
        let vectors = text_ease::tests::vectors(size);
        let prior = text_ease::tests::dense(&vectors);
        let text = TextEase::new(vectors).unwrap();
        let solved = solve(&data(), size, ridge(lambda), None).unwrap();
        let (none, weights) = (solved.weights(None, 0).unwrap(), solved.weights(Some((&text, share)), 0).unwrap());
        assert_eq!(solved.weights(Some((&text, 0.0)), 0).unwrap(), none);
        assert_ne!(weights, none);
        // The gradient of |X - XB|² + (λ - κ)|B|² + κ|B - S|² is zero off the diagonal: (G + λI)B = G + κS.
        let full = gram::<f32>(&data(), size);
        let g = |i: usize, j: usize| full[(i.max(j), i.min(j))];
        for i in 0..size {
            assert_eq!(weights.weight(i, i as u32), 0.0);
            for j in (0..size).filter(|&j| j != i) {
                let b = |k: usize| if k == j { 0.0 } else { weights.weight(k, j as u32) };
                let left: f32 = (0..size).map(|k| g(i, k) * b(k)).sum::<f32>() + lambda * b(i);
                let right = g(i, j) + share * lambda * prior[(i, j)];
                assert!((left - right).abs() < 1e-3, "({i}, {j}): {left} is not {right}");
            }
        }
    }

    #[test]
    fn what_goes_with_a_history_scores() {
        let weights = fit(&data(), 5, ridge(2.0), None, 0).unwrap();
        let scores = weights.scores(&[(0, 1.0), (1, 1.0)]).unwrap();
        assert!(scores[2] > scores[3] && scores[2] > scores[4]);
        assert!((0..5).all(|item| fit(&data(), 5, ridge(2.0), None, 2).unwrap().row(item).count() == 2));
    }

    #[test]
    fn an_item_that_nobody_touched_is_reached_by_its_terms() {
        let one = |term: u32| vec![(term, 1.0f32)];
        let terms = vec![one(0), one(0), one(0), one(1), one(1), one(1)];
        let without = fit(&data(), 6, ridge(2.0), None, 0).unwrap().scores(&[(3, 1.0)]).unwrap();
        let with = fit(&data(), 6, ridge(2.0), Some((&terms, 1.0)), 0).unwrap();
        assert_eq!(without[5], 0.0);
        let (near, far) = (with.scores(&[(3, 1.0)]).unwrap()[5], with.scores(&[(0, 1.0)]).unwrap()[5]);
        assert!(near > 0.0 && near > far, "{near} {far}");
    }
}
