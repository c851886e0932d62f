//! Item-kNN: items that the same people take to (Sarwar et al., WWW 2001), with the weightings of information retrieval.
//!
//! Two items are as similar as their columns of the user-item matrix. Cosine: the columns as they are, brought to length 1. TF-IDF: each strength `x`
//! counts `√x · ln(N / (1 + nᵤ))` first, so that people who take to everything say less. BM25 (Robertson & Walker 1994, equation 3):
//! `x·(K₁ + 1) / (K₁·(1 - B + B·|i|/avg) + x) · idfᵤ`, not brought to length 1, so that what many share stays ahead.

use serde::{Deserialize, Serialize};

use crate::engine::dataset::Dataset;

use super::item_weights::{ItemWeights, gram_rows, largest};

/// How the user-item matrix is weighed before columns are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    Cosine,
    TfIdf,
    Bm25,
}

/// BM25's saturation of strengths and its normalisation by how much an item is used.
const K1: f32 = 1.2;
const B: f32 = 0.2;

/// A model has at most so many weights (8 bytes each): 50 neighbours for each of a million items.
const MOST_WEIGHTS: usize = 50_000_000;

/// How many neighbours each of `size` items gets where `wanted` are asked for (0: all): in a very large catalogue, fewer.
#[must_use]
pub fn affordable(wanted: usize, size: usize) -> usize {
    if wanted == 0 { 0 } else { wanted.min((MOST_WEIGHTS / size.max(1)).max(1)) }
}

/// The `neighbours` most similar items of each of the first `size` columns of `data` (0: all that are alike). Only what people are for counts: a strength that is not
/// positive is left out. See [`gram_rows`] for time and memory.
#[must_use]
pub fn fit(data: &Dataset, size: usize, weighting: Weighting, neighbours: usize) -> ItemWeights {
    let weighed = weigh(data, size, weighting);
    let mut lengths = vec![0.0f32; size];
    for (&item, &value) in weighed.items.iter().zip(&weighed.strengths) {
        lengths[item as usize] += value * value;
    }
    for length in &mut lengths {
        *length = length.sqrt();
    }
    let rows = gram_rows(&weighed, size, |row, gram| {
        let alike = |other: usize, product: f32| match weighting {
            Weighting::Bm25 => product,
            Weighting::Cosine | Weighting::TfIdf => product / (lengths[row] * lengths[other]).max(f32::MIN_POSITIVE),
        };
        let others = gram.columns.iter().copied().filter(|&other| other as usize != row);
        let mut row: Vec<(u32, f32)> =
            others.map(|other| (other, alike(other as usize, gram.values[other as usize]))).collect();
        row.retain(|&(_, weight)| weight > 0.0);
        largest(row, neighbours)
    });
    ItemWeights::from_rows(rows, neighbours)
}

fn weigh(data: &Dataset, size: usize, weighting: Weighting) -> Dataset {
    let mut use_of = vec![0.0f32; size];
    for (&item, &strength) in data.items.iter().zip(&data.strengths) {
        if let Some(sum) = use_of.get_mut(item as usize) {
            *sum += strength.max(0.0);
        }
    }
    let average = (use_of.iter().sum::<f32>() / size.max(1) as f32).max(f32::MIN_POSITIVE);
    let people = data.users() as f32;
    let mut out = Dataset::new(size);
    for user in 0..data.users() {
        let (items, strengths) = data.row(user);
        let liked = items.iter().zip(strengths).filter(|&(&item, &strength)| strength > 0.0 && (item as usize) < size);
        let mut row: Vec<(u32, f32)> = liked.map(|(&item, &strength)| (item, strength)).collect();
        // Twice everybody, so that who takes to as much as there are people still says something.
        let idf = (2.0 * people.max(1.0) / (1.0 + row.len() as f32)).ln().max(0.1);
        for (item, value) in &mut row {
            *value = match weighting {
                Weighting::Cosine => *value,
                Weighting::TfIdf => value.sqrt() * idf,
                Weighting::Bm25 => {
                    let length = 1.0 - B + B * use_of[*item as usize] / average;
                    *value * (K1 + 1.0) / (K1 * length + *value) * idf
                }
            };
        }
        out.push(&mut row);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Dataset {
        let mut data = Dataset::new(4);
        data.push(&mut [(0, 1.0), (1, 1.0)]);
        data.push(&mut [(0, 1.0), (1, 1.0), (2, 1.0)]);
        data.push(&mut [(2, 1.0), (3, -1.0)]);
        data
    }

    #[test]
    fn cosine_by_hand() {
        let weights = fit(&data(), 4, Weighting::Cosine, 0);
        assert!((weights.weight(0, 1) - 1.0).abs() < 1e-6, "the same people took to both");
        assert!((weights.weight(0, 2) - 0.5).abs() < 2e-5, "1 / (√2·√2), rounded to 16 bits");
        assert_eq!(weights.weight(0, 0), 0.0, "an item is no neighbour of its own");
        assert_eq!(weights.row(3).count(), 0, "nobody likes it");
    }

    #[test]
    fn a_very_large_catalogue_gets_fewer_neighbours() {
        assert_eq!(affordable(200, 250_000), 200);
        assert_eq!((affordable(200, 1_000_000), affordable(200, 100_000_000)), (50, 1));
        assert_eq!((affordable(0, 1_000_000), affordable(200, 0)), (0, 200));
    }

    #[test]
    fn every_weighting_finds_the_nearest_first() {
        for weighting in [Weighting::Cosine, Weighting::TfIdf, Weighting::Bm25] {
            let weights = fit(&data(), 4, weighting, 1);
            assert!(weights.row(0).map(|(column, _)| column).eq([1]), "{weighting:?}");
            assert!(
                (0..weights.len())
                    .flat_map(|item| weights.row(item))
                    .all(|(_, weight)| weight.is_finite() && weight > 0.0)
            );
        }
    }
}
