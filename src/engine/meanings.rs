//! Free texts by their meaning: the vectors that a provider has made of the items' texts go with a model, and a text that the catalogue's words do not reach
//! stands for the items whose vectors come nearest to its own. Who makes vectors, the engine does not know.

use std::sync::Arc;

use moka::sync::Cache;

use crate::domain::VectorSource;

use super::item_vectors::{ItemVectors, centred};

/// Texts of callers are kept as far as this memory goes, in bytes.
const KEPT: u64 = 16 << 20;

/// The vectors of the items' texts, in 8 bits each with a scale of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Meanings {
    pub source: VectorSource,
    /// What all items have in common.
    pub(super) mean: Vec<f32>,
    /// By column of the model, `mean.len()` numbers each.
    pub(super) values: Vec<i8>,
    /// By column; 0 for an item without a vector.
    pub(super) scales: Vec<f32>,
}

impl Meanings {
    /// Takes the vectors of the items in this order, which is that of a model's columns.
    #[must_use]
    pub fn new(source: VectorSource, vectors: &ItemVectors, order: &[u32]) -> Self {
        let (mut values, mut scales) = (Vec::with_capacity(order.len() * vectors.dimensions()), Vec::new());
        for &item in order {
            let vector = vectors.of(item);
            let scale = vector.iter().fold(0.0f32, |most, value| most.max(value.abs())) / 127.0;
            values.extend(vector.iter().map(|value| (value / scale.max(f32::MIN_POSITIVE)).round() as i8));
            scales.push(scale);
        }
        Self { source, mean: vectors.mean().to_vec(), values, scales }
    }

    /// What is wrong with them for a model of so many items.
    pub(super) fn fault(&self, items: usize) -> Option<String> {
        let fits = self.scales.len() == items && self.values.len() == items * self.mean.len();
        if !fits || self.mean.is_empty() {
            return Some(format!("{} vectors of {} numbers for {items} items", self.scales.len(), self.mean.len()));
        }
        let mut numbers = self.mean.iter().chain(&self.scales);
        (!numbers.all(|value| value.is_finite())).then(|| "not a number".to_owned())
    }

    /// A text's vector as it is compared with those of items: without what these have in common, of length 1. `None` when it is none of this model.
    #[must_use]
    pub fn of_text(&self, vector: &[f32]) -> Option<Arc<[f32]>> {
        let vector = (vector.len() == self.mean.len()).then(|| centred(vector, &self.mean))?;
        vector.iter().all(|value| value.is_finite()).then(|| vector.into())
    }

    /// The cosine between an item's text and such a vector, -1 to 1.
    #[must_use]
    pub fn cosine(&self, column: u32, text: &[f32]) -> f32 {
        let from = column as usize * self.mean.len();
        let Some(values) = self.values.get(from..from + self.mean.len()) else { return 0.0 };
        let sum: f32 = values.iter().zip(text).map(|(&value, text)| f32::from(value) * text).sum();
        self.scales[column as usize] * sum
    }
}

/// What is known of a text that a caller wrote.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// Nobody is asked for it.
    Unasked,
    /// Somebody has been asked, and has not answered yet.
    Awaited,
    /// Its vector, by [`Meanings::of_text`].
    Known(Arc<[f32]>),
}

/// The texts that were asked about lately.
#[derive(Debug)]
pub struct AskedTexts(Cache<String, Option<Arc<[f32]>>>);

impl Default for AskedTexts {
    fn default() -> Self {
        let size = |text: &String, vector: &Option<Arc<[f32]>>| {
            let bytes = 200 + text.len() + 4 * vector.as_ref().map_or(0, |vector| vector.len());
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(KEPT).weigher(size).build())
    }
}

impl AskedTexts {
    #[must_use]
    pub fn get(&self, text: &str) -> Meaning {
        match self.0.get(text) {
            None => Meaning::Unasked,
            Some(None) => Meaning::Awaited,
            Some(Some(vector)) => Meaning::Known(vector),
        }
    }

    /// Its vector has been asked for.
    pub fn expect(&self, text: &str) {
        if self.get(text) == Meaning::Unasked {
            self.0.insert(text.to_owned(), None);
        }
    }

    pub fn learn(&self, text: &str, vector: Arc<[f32]>) {
        self.0.insert(text.to_owned(), Some(vector));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_with_items_in_eight_bits() {
        let rows: Vec<Option<Vec<f32>>> = (0..20)
            .map(|n| (n != 3).then(|| (0..48).map(|d| ((n * 31 + d * 17) % 23) as f32 - 4.0).collect()))
            .collect();
        let vectors = ItemVectors::new(48, &rows).unwrap();
        let source = VectorSource { provider: "p".into(), model: "m".into(), revision: String::new() };
        let order: Vec<u32> = (0..20).rev().collect();
        let meanings = Meanings::new(source, &vectors, &order);
        assert_eq!(meanings.fault(20), None);
        assert!(meanings.fault(19).is_some());
        let text = meanings.of_text(rows[7].as_ref().unwrap()).unwrap();
        for (column, &item) in order.iter().enumerate() {
            let exact: f32 = vectors.of(7).iter().zip(vectors.of(item)).map(|(a, b)| a * b).sum();
            let rounded = meanings.cosine(column as u32, &text);
            assert!((rounded - exact).abs() < 0.01, "{rounded} {exact}");
        }
        assert!(meanings.cosine(12, &text) > 0.99, "its own");
        assert_eq!(meanings.cosine(16, &text), 0.0, "it has none");
        assert_eq!(meanings.of_text(&[1.0; 47]), None);
        assert_eq!(meanings.of_text(&[f32::NAN; 48]), None);
    }

    #[test]
    fn a_text_is_unasked_awaited_or_known() {
        let asked = AskedTexts::default();
        assert_eq!(asked.get("rain"), Meaning::Unasked);
        asked.expect("rain");
        assert_eq!(asked.get("rain"), Meaning::Awaited);
        asked.learn("rain", Arc::from([1.0]));
        asked.expect("rain");
        assert_eq!(asked.get("rain"), Meaning::Known(Arc::from([1.0])));
    }
}
