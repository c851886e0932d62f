//! Vectors of the items' texts, as models are fitted on them. Who made them, the engine does not know.

use faer::Mat;

/// By item: a unit vector, or zeros for an item that has none.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemVectors {
    mean: Vec<f32>,
    values: Vec<f32>,
}

impl ItemVectors {
    /// Takes vectors of `dimensions` numbers, by item. What all have in common is subtracted (raw cosines of most models lie close together), and each
    /// is brought to length 1. `None` when no item has a vector, one has another length, or a number is not finite.
    #[must_use]
    pub fn new(dimensions: usize, rows: &[Option<Vec<f32>>]) -> Option<Self> {
        let known = || rows.iter().flatten();
        let count = known().count();
        if count == 0 || dimensions == 0 || known().any(|row| row.len() != dimensions) {
            return None;
        }
        let mut mean = vec![0.0f64; dimensions];
        known().for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value)));
        let mean: Vec<f32> = mean.into_iter().map(|sum| (sum / count as f64) as f32).collect();
        let mut values = vec![0.0f32; rows.len() * dimensions];
        for (into, row) in values.chunks_exact_mut(dimensions).zip(rows) {
            if let Some(row) = row {
                into.copy_from_slice(&centred(row, &mean));
            }
        }
        values.iter().all(|value| value.is_finite()).then_some(Self { mean, values })
    }

    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.mean.len()
    }

    /// What was subtracted of each.
    #[must_use]
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The vector of an item.
    #[must_use]
    pub fn of(&self, item: u32) -> &[f32] {
        &self.values[item as usize * self.dimensions()..][..self.dimensions()]
    }

    /// The vectors of these items: a row each.
    #[must_use]
    pub fn matrix(&self, items: &[u32]) -> Mat<f32> {
        Mat::from_fn(items.len(), self.dimensions(), |row, column| self.of(items[row])[column])
    }
}

/// A vector without what all have in common, of length 1; zeros where nothing is left.
pub(super) fn centred(vector: &[f32], mean: &[f32]) -> Vec<f32> {
    let mut centred: Vec<f32> = vector.iter().zip(mean).map(|(value, mean)| value - mean).collect();
    let length = centred.iter().map(|value| value * value).sum::<f32>().sqrt();
    // What is left of a vector that is the mean itself is noise.
    let scale = if length > 1e-6 { 1.0 / length } else { 0.0 };
    centred.iter_mut().for_each(|value| *value *= scale);
    centred
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_centred_and_of_length_one_and_an_item_without_stays_at_zero() {
        let rows = [Some(vec![3.0, 1.0]), None, Some(vec![1.0, 1.0]), Some(vec![2.0, 1.0])];
        let vectors = ItemVectors::new(2, &rows).unwrap();
        assert_eq!([0, 1, 2, 3].map(|item| vectors.of(item)[0]), [1.0, 0.0, -1.0, 0.0]);
        assert_eq!(vectors.matrix(&[2, 0]).col(0).iter().copied().collect::<Vec<_>>(), [-1.0, 1.0]);
        assert_eq!(ItemVectors::new(3, &rows), None);
        assert_eq!(ItemVectors::new(2, &[None, None]), None);
        assert_eq!(ItemVectors::new(1, &[Some(vec![f32::NAN])]), None);
    }
}
