//! Item-item weights, the common form of EASE, item-kNN and the graph filter: what an item of a history adds to each other item.

use rayon::prelude::*;

use crate::engine::ItemIndex;
use crate::engine::artifact::Binding;
use crate::engine::catalogue::Catalogue;
use crate::engine::dataset::{Dataset, damped, mean_positive};
use crate::engine::lanes;

use super::{Contribution, Contributions, Prepared, Profile, Scorer, largest_first};

/// Columns that the lower half of an entry tells apart.
const SECTION: usize = 1 << 16;
/// The largest weight of a row in the upper half of an entry.
const LARGEST: f32 = i16::MAX as f32;

/// Weights in compressed sparse rows of four bytes an entry: what item `i` of a history adds to other columns. A history meets hundreds of rows, so their size counts.
///
/// A row has a section for each 65,536 columns of the model, and section `s` of row `i` is `entries[offsets[n]..offsets[n + 1]]` with `n = i · sections + s`. An
/// entry is the column within its section (lower 16 bits; rising) and the weight as a signed share of 1/32,767 of the largest of the row (upper 16 bits), which
/// `scales[i]` multiplies. Covers the first `scales.len()` columns of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemWeights {
    pub offsets: Vec<u64>,
    pub entries: Vec<u32>,
    pub scales: Vec<f32>,
}

impl Default for ItemWeights {
    fn default() -> Self {
        Self { offsets: vec![0], entries: Vec::new(), scales: Vec::new() }
    }
}

impl ItemWeights {
    /// Puts rows together; each is cut to its `keep` largest weights by size (0: all) and ordered by column.
    #[must_use]
    pub fn from_rows(rows: Vec<Vec<(u32, f32)>>, keep: usize) -> Self {
        let rows: Vec<_> = rows.into_par_iter().map(|row| largest(row, keep)).collect();
        let mut out = Self::default();
        let sections = rows.len().div_ceil(SECTION);
        out.entries.reserve_exact(rows.iter().map(Vec::len).sum());
        out.offsets.reserve_exact(rows.len() * sections);
        out.scales.reserve_exact(rows.len());
        for row in rows {
            let scale = scale(&row);
            let mut rest = row.as_slice();
            for section in 1..=sections {
                let (own, others) = rest.split_at(rest.partition_point(|&(to, _)| (to as usize) < section * SECTION));
                out.entries.extend(own.iter().map(|&(to, weight)| entry(to, weight / scale)));
                out.offsets.push(out.entries.len() as u64);
                rest = others;
            }
            out.scales.push(scale);
        }
        out
    }

    /// How many items it covers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sections of one row, each with the column that it begins at.
    fn sections(&self, item: usize) -> impl Iterator<Item = (usize, &[u32])> {
        let sections = self.len().div_ceil(SECTION);
        (0..sections).map(move |section| {
            let at = item * sections + section;
            (section * SECTION, &self.entries[self.offsets[at] as usize..self.offsets[at + 1] as usize])
        })
    }

    /// The columns and weights of one row, by column.
    pub fn row(&self, item: usize) -> impl Iterator<Item = (u32, f32)> {
        let scale = self.scales[item];
        self.sections(item).flat_map(move |(first, entries)| {
            entries.iter().map(move |&entry| ((first + column(entry)) as u32, scale * share(entry)))
        })
    }

    /// The weight from one item to another; 0 where none is kept.
    #[must_use]
    pub fn weight(&self, from: usize, to: u32) -> f32 {
        let Some((first, entries)) = self.sections(from).nth(to as usize / SECTION) else { return 0.0 };
        let place = entries.binary_search_by_key(&(to as usize), |&entry| first + column(entry));
        place.map_or(0.0, |place| self.scales[from] * share(entries[place]))
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
            let scaled = strength / length * self.scales[item as usize];
            for (first, entries) in self.sections(item as usize) {
                lanes::scatter(&mut scores[first..], scaled, entries);
            }
        }
        Some(scores)
    }

    /// The first thing that is wrong with its shape, for an artifact that was read.
    #[must_use]
    pub fn fault(&self, items: usize) -> Option<&'static str> {
        let sections = self.len().div_ceil(SECTION);
        let rules = [
            (self.offsets.len() == self.len() * sections + 1, "rows and sections differ in number"),
            (self.offsets.first() == Some(&0), "the rows do not begin at 0"),
            (self.offsets.windows(2).all(|pair| pair[0] <= pair[1]), "the rows are out of order"),
            (self.offsets.last() == Some(&(self.entries.len() as u64)), "the rows end beside the entries"),
            (self.len() <= items, "more items are covered than there are"),
            (self.scales.iter().all(|scale| scale.is_finite()), "a weight is not a number"),
        ];
        let fault = rules.into_iter().find_map(|(holds, reason)| (!holds).then_some(reason));
        let inside = || {
            let mut all = (0..self.len()).flat_map(|item| self.sections(item));
            all.all(|(first, entries)| entries.iter().all(|&entry| first + column(entry) < self.len()))
        };
        fault.or_else(|| (!inside()).then_some("a column is out of bounds"))
    }
}

fn entry(column: u32, share: f32) -> u32 {
    let share = (share.round() as i16).cast_unsigned();
    (column & 0xffff) | u32::from(share) << 16
}

/// Within its section.
fn column(entry: u32) -> usize {
    (entry & 0xffff) as usize
}

fn share(entry: u32) -> f32 {
    f32::from(((entry >> 16) as u16).cast_signed())
}

/// What the shares of a row are multiplied with; no number when one of its weights is none.
fn scale(row: &[(u32, f32)]) -> f32 {
    let largest = row.iter().map(|(_, weight)| weight.abs()).max_by(f32::total_cmp).unwrap_or(0.0);
    // Where all are 0, or too small to be told from it, any scale does.
    if largest / LARGEST == 0.0 { 1.0 } else { largest / LARGEST }
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
    /// By column of the model, and how many of them are of the history: what stands for tastes comes behind it, and keeps its small share beside it.
    fn columns(&self, profile: &Profile) -> (Vec<(u32, f32, ItemIndex)>, usize) {
        let (mut columns, real) = self.binding.columns_of(profile);
        let strengths: Vec<f32> = columns[..real].iter().map(|&(_, strength, _)| strength).collect();
        let mean = mean_positive(&strengths);
        for (place, (_, strength, _)) in columns.iter_mut().enumerate() {
            *strength = damped(*strength, mean, if place < real { self.exponent } else { 1.0 });
        }
        (columns, real)
    }
}

impl<'m> Scorer<'m> for ItemToItem<'m> {
    fn prepare(&self, _: &'m Catalogue, profile: &Profile) -> Option<Prepared<'m>> {
        let (columns, _) = self.columns(profile);
        let history: Vec<(u32, f32)> = columns.into_iter().map(|(column, strength, _)| (column, strength)).collect();
        Some(Prepared::Columns(self.weights.scores(&history)?, self.binding))
    }

    fn contributions<'a>(&self, _: &'a Catalogue, profile: &'a Profile) -> Contributions<'a>
    where
        'm: 'a,
    {
        let Self { weights, binding, .. } = *self;
        let (history, real) = self.columns(profile);
        let length = norm(history.iter().map(|&(_, strength, _)| strength));
        let of = move |item: ItemIndex| {
            let to = binding.column(item).filter(|_| length > 0.0)?;
            let each = history.iter().enumerate().map(|(place, &(from, strength, source))| {
                let is_covered = (from as usize) < weights.len();
                let weight = if is_covered { weights.weight(from as usize, to) } else { 0.0 };
                Contribution { source: (place < real).then_some(source), amount: strength / length * weight }
            });
            Some(largest_first(each.filter(|each| each.amount != 0.0).collect()))
        };
        Box::new(move |item| of(item).unwrap_or_default())
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
        assert_eq!(weights.offsets, [0, 1, 2]);
        assert_eq!((weights.weight(0, 1), weights.weight(0, 0)), (0.5, 0.0));
    }

    #[test]
    fn a_row_reaches_over_all_sections() {
        let size = 2 * SECTION + 3;
        let mut rows = vec![Vec::new(); size];
        let row: Vec<(u32, f32)> = [0, 7, SECTION - 1, SECTION, 2 * SECTION - 1, 2 * SECTION + 2]
            .into_iter()
            .zip([0.5f32, -1.0, 0.25, 0.125, -0.75, 1e-9])
            .map(|(column, weight)| (column as u32, weight))
            .collect();
        rows[SECTION + 1].clone_from(&row);
        let weights = ItemWeights::from_rows(rows, 0);
        assert_eq!(weights.fault(size), None);
        let kept: Vec<(u32, f32)> = weights.row(SECTION + 1).collect();
        let scores = weights.scores(&[(SECTION as u32 + 1, 2.0)]).unwrap();
        for (&(column, weight), (kept_column, kept)) in row.iter().zip(kept) {
            assert_eq!(column, kept_column);
            for found in [kept, weights.weight(SECTION + 1, column), scores[column as usize]] {
                assert!((found - weight).abs() <= 0.5 / LARGEST, "{column}: {found} is not {weight}");
            }
        }
        assert_eq!((weights.weight(SECTION + 1, 8), weights.row(3).count()), (0.0, 0));
        let mut broken = weights.clone();
        *broken.entries.last_mut().unwrap() = entry(3, 1.0);
        assert_eq!(broken.fault(size), Some("a column is out of bounds"));
        broken.scales.pop();
        assert_eq!(broken.fault(size), Some("rows and sections differ in number"));
        assert!(ItemWeights::from_rows(vec![vec![(0, f32::NAN)]], 0).fault(1).is_some());
        assert_eq!(ItemWeights::from_rows(vec![vec![(0, 0.0)], vec![]], 0).fault(2), None);
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
