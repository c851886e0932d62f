//! The dataset that models are fitted on: signed strengths of people for items, as sparse rows.

/// Users by items, in compressed sparse rows: the strengths of user `u` are `items[offsets[u]..offsets[u + 1]]` (columns, rising)
/// with `strengths` beside them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    pub offsets: Vec<usize>,
    pub items: Vec<u32>,
    pub strengths: Vec<f32>,
    /// The number of columns.
    pub item_count: usize,
}

impl Dataset {
    /// No users yet, over `item_count` items.
    #[must_use]
    pub fn new(item_count: usize) -> Self {
        Self { offsets: vec![0], items: Vec::new(), strengths: Vec::new(), item_count }
    }

    /// Adds a user's row; the columns may come in any order, each at most once, below `item_count`.
    pub fn push(&mut self, row: &mut [(u32, f32)]) {
        row.sort_unstable_by_key(|&(item, _)| item);
        for &(item, strength) in row.iter() {
            debug_assert!((item as usize) < self.item_count, "a column beyond the matrix");
            self.items.push(item);
            self.strengths.push(strength);
        }
        self.offsets.push(self.items.len());
    }

    #[must_use]
    pub fn users(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The columns and strengths of one user.
    #[must_use]
    pub fn row(&self, user: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[user]..self.offsets[user + 1];
        (&self.items[range.clone()], &self.strengths[range])
    }

    /// The strengths of each user brought to a mean of 1 over the positive ones, to a power: [`damped`].
    #[must_use]
    pub fn damped(mut self, exponent: f32) -> Self {
        for user in 0..self.users() {
            let range = self.offsets[user]..self.offsets[user + 1];
            let mean = mean_positive(&self.strengths[range.clone()]);
            self.strengths[range].iter_mut().for_each(|strength| *strength = damped(*strength, mean, exponent));
        }
        self
    }

    /// How many users have a positive strength for each item.
    #[must_use]
    pub fn supporters(&self) -> Vec<u32> {
        let mut counts = vec![0; self.item_count];
        for (&item, &strength) in self.items.iter().zip(&self.strengths) {
            counts[item as usize] += u32::from(strength > 0.0);
        }
        counts
    }
}

/// The mean of the positive strengths; 1 when there are none.
#[must_use]
pub fn mean_positive(strengths: &[f32]) -> f32 {
    let positive = strengths.iter().filter(|&&strength| strength > 0.0);
    let (sum, count) = positive.fold((0.0, 0.0f32), |(sum, count), &strength| (sum + strength, count + 1.0));
    if sum > 0.0 { sum / count } else { 1.0 }
}

/// `±(|strength| / mean)^exponent`: 1 keeps strengths in proportion, 0 makes all likes equal.
#[must_use]
pub fn damped(strength: f32, mean: f32, exponent: f32) -> f32 {
    let share = strength.abs() / mean;
    // All models but EASE have the exponent 1, and a power is not free.
    if strength == 0.0 { 0.0 } else { if exponent == 1.0 { share } else { share.powf(exponent) }.copysign(strength) }
}
