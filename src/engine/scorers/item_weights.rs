//! Item-item weights, the common form of EASE, item-kNN and the graph filter: what an item of a history adds to each other item.

use rayon::prelude::*;

use crate::engine::ItemIndex;
use crate::engine::artifact::Binding;
use crate::engine::catalogue::Catalogue;
use crate::engine::dataset::{Dataset, damped, mean_positive};

use super::{Contribution, Prepared, Profile, Scorer};

/// Weights in compressed sparse rows: `targets[offsets[i]..offsets[i + 1]]` are the columns (rising) to which item `i` of a
/// history adds `weights` beside them. Covers the first `offsets.len() - 1` columns of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemWeights {
    pub offsets: Vec<u64>,
    pub targets: Vec<u32>,
    pub weights: Vec<f32>,
}

impl Default for ItemWeights {
    fn default() -> Self {
        Self { offsets: vec![0], targets: Vec::new(), weights: Vec::new() }
    }
}

impl ItemWeights {
    /// Puts rows together; each is cut to its `keep` largest weights by size (0: all) and ordered by column.
    #[must_use]
    pub fn from_rows(rows: Vec<Vec<(u32, f32)>>, keep: usize) -> Self {
        let rows: Vec<_> = rows.into_par_iter().map(|row| largest(row, keep)).collect();
        let mut out = Self::default();
        let entries = rows.iter().map(Vec::len).sum();
        out.targets.reserve_exact(entries);
        out.weights.reserve_exact(entries);
        for row in rows {
            for (target, weight) in row {
                out.targets.push(target);
                out.weights.push(weight);
            }
            out.offsets.push(out.targets.len() as u64);
        }
        out
    }

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
        let known = || history.iter().filter(|(item, strength)| (*item as usize) < self.len() && *strength != 0.0);
        known().next()?;
        let length = norm(history.iter().map(|&(_, strength)| strength));
        let mut scores = vec![0.0; self.len()];
        for &(item, strength) in known() {
            let scaled = strength / length;
            let (targets, weights) = self.row(item as usize);
            for (&target, &weight) in targets.iter().zip(weights) {
                scores[target as usize] += scaled * weight;
            }
        }
        Some(scores)
    }

    /// The first thing that is wrong with its shape, for an artifact that was read.
    #[must_use]
    pub fn fault(&self, items: usize) -> Option<&'static str> {
        let rules = [
            (self.offsets.first() == Some(&0), "the rows do not begin at 0"),
            (self.offsets.windows(2).all(|pair| pair[0] <= pair[1]), "the rows are out of order"),
            (self.offsets.last() == Some(&(self.targets.len() as u64)), "the rows end beside the columns"),
            (self.targets.len() == self.weights.len(), "columns and weights differ in length"),
            (self.len() <= items, "more items are covered than there are"),
            (self.targets.iter().all(|&target| (target as usize) < self.len()), "a column is out of bounds"),
            (self.weights.iter().all(|weight| weight.is_finite()), "a weight is not a number"),
        ];
        rules.into_iter().find_map(|(holds, reason)| (!holds).then_some(reason))
    }
}

/// The `keep` largest by size, in the order of their columns; all when `keep` is 0. The memory of the rest is given back: a row may have been as long as
/// the catalogue, and as many rows as there are items wait to be put together.
pub(super) fn largest(mut row: Vec<(u32, f32)>, keep: usize) -> Vec<(u32, f32)> {
    if keep > 0 && row.len() > keep {
        row.select_nth_unstable_by(keep, |a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        row.truncate(keep);
    }
    row.shrink_to_fit();
    row.sort_unstable_by_key(|&(target, _)| target);
    row
}

fn norm(strengths: impl Iterator<Item = f32>) -> f32 {
    strengths.map(|strength| strength * strength).sum::<f32>().sqrt()
}

/// The users of each of the first `size` items with their values: the columns of a dataset.
pub(super) fn columns(data: &Dataset, size: usize) -> Vec<Vec<(u32, f32)>> {
    let mut users_of: Vec<Vec<(u32, f32)>> = vec![Vec::new(); size];
    for user in 0..data.users() {
        let (items, values) = data.row(user);
        for (&item, &value) in items.iter().zip(values) {
            if let Some(users) = users_of.get_mut(item as usize) {
                users.push((user as u32, value));
            }
        }
    }
    users_of
}

/// One row of `XᵀX`: the columns that are not zero, in no order, and all values by column.
pub(super) struct GramRow<'a> {
    pub columns: &'a [u32],
    pub values: &'a [f32],
}

/// The rows of `XᵀX` of the first `size` columns, one at a time and never as a whole: `make(row, gram)` gets the place of a row and gives what
/// becomes of it. Time: the sum of the squared row lengths of `X`; memory: one row a thread.
pub(super) fn gram_rows<T: Send>(data: &Dataset, size: usize, make: impl Fn(usize, GramRow<'_>) -> T + Sync) -> Vec<T> {
    let users_of = columns(data, size);
    let scratch = || (vec![0.0f32; size], vec![false; size], Vec::<u32>::new());
    users_of
        .par_iter()
        .enumerate()
        .map_init(scratch, |(values, seen, columns), (row, users)| {
            for &(user, value) in users {
                let (items, others) = data.row(user as usize);
                for (&item, &other) in items.iter().zip(others) {
                    let place = item as usize;
                    if place < size {
                        values[place] += value * other;
                        if !seen[place] {
                            seen[place] = true;
                            columns.push(item);
                        }
                    }
                }
            }
            let made = make(row, GramRow { columns, values });
            // Only what was written is wiped: in a large catalogue a row touches few columns.
            for column in columns.drain(..) {
                (values[column as usize], seen[column as usize]) = (0.0, false);
            }
            made
        })
        .collect()
}

/// Item-item weights over the items of a catalogue.
#[derive(Debug, Clone, Copy)]
pub struct ItemToItem<'a> {
    pub weights: &'a ItemWeights,
    pub binding: &'a Binding,
    /// The power that the strengths of the history are brought to, as they were in training ([`damped`]).
    pub exponent: f32,
}

impl ItemToItem<'_> {
    fn columns(&self, profile: &Profile) -> Vec<(u32, f32, ItemIndex)> {
        // What stands for tastes comes after the history; it keeps its small share beside it.
        let (mut columns, real) = self.binding.columns_of(profile);
        let strengths: Vec<f32> = columns[..real].iter().map(|&(_, strength, _)| strength).collect();
        let mean = mean_positive(&strengths);
        for (place, (_, strength, _)) in columns.iter_mut().enumerate() {
            *strength = damped(*strength, mean, if place < real { self.exponent } else { 1.0 });
        }
        columns
    }
}

impl<'m> Scorer<'m> for ItemToItem<'m> {
    fn prepare(&self, _: &'m Catalogue, profile: &Profile) -> Option<Prepared<'m>> {
        let history: Vec<(u32, f32)> =
            self.columns(profile).into_iter().map(|(column, strength, _)| (column, strength)).collect();
        Some(Prepared::Columns(self.weights.scores(&history)?, self.binding))
    }

    fn contributions(&self, _: &Catalogue, profile: &Profile, item: ItemIndex) -> Vec<Contribution> {
        let Some(to) = self.binding.column(item) else { return Vec::new() };
        let history = self.columns(profile);
        let length = norm(history.iter().map(|&(_, strength, _)| strength));
        if length <= 0.0 {
            return Vec::new();
        }
        let of = |(from, strength, source): (u32, f32, ItemIndex)| Contribution {
            source: profile.history.iter().any(|&(known, _)| known == source).then_some(source),
            amount: strength / length * self.weights.weight(from as usize, to),
        };
        let covered = history.into_iter().filter(|&(column, ..)| (column as usize) < self.weights.len());
        let mut all: Vec<Contribution> = covered.map(of).collect();
        all.sort_by(|a, b| b.amount.total_cmp(&a.amount));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pruned_takes_no_memory() {
        let row = largest((0..10_000).map(|target| (target, target as f32)).collect(), 10);
        assert_eq!((row.len(), row[0].0), (10, 9_990));
        assert!(row.capacity() < 100, "{}", row.capacity());
    }

    #[test]
    fn pruning_keeps_the_largest() {
        assert_eq!(largest(vec![(2, 0.5), (0, 0.1), (1, -0.9)], 2), vec![(1, -0.9), (2, 0.5)]);
        let weights = ItemWeights::from_rows(vec![vec![(1, 0.5), (0, 0.2)], vec![(0, 0.1)]], 1);
        assert_eq!((weights.offsets.as_slice(), weights.targets.as_slice()), ([0, 1, 2].as_slice(), [1, 0].as_slice()));
        assert_eq!((weights.weight(0, 1), weights.weight(0, 0)), (0.5, 0.0));
    }

    #[test]
    fn the_length_of_a_history_does_not_matter() {
        let weights = ItemWeights::from_rows(vec![vec![(1, 0.5)], vec![(0, 0.1)]], 0);
        let (soft, loud) = (weights.scores(&[(0, 1.0)]).unwrap(), weights.scores(&[(0, 3.0)]).unwrap());
        assert!(soft.iter().zip(&loud).all(|(a, b)| (a - b).abs() < 1e-6) && soft[1] > 0.0);
        assert_eq!((weights.scores(&[]), weights.scores(&[(7, 1.0)])), (None, None));
    }

    #[test]
    fn rows_of_the_gram_matrix_are_those_of_the_product() {
        let mut data = Dataset::new(3);
        data.push(&mut [(0, 1.0), (1, 2.0)]);
        data.push(&mut [(1, 3.0), (2, 1.0)]);
        let rows = gram_rows(&data, 3, |_, row| row.values.to_vec());
        let sorted = |row: GramRow<'_>| row.columns.iter().copied().collect::<std::collections::BTreeSet<u32>>();
        let columns = gram_rows(&data, 3, |_, row| sorted(row).into_iter().collect::<Vec<u32>>());
        assert_eq!(columns, [vec![0, 1], vec![0, 1, 2], vec![1, 2]]);
        assert_eq!(rows, [[1.0, 2.0, 0.0], [2.0, 13.0, 3.0], [0.0, 3.0, 1.0]]);
    }
}
