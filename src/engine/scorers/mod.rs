//! The scorers: a file a model. Each gives items a number for one person; the blend makes one ranking of them.

pub mod als_person;
mod als_row;
pub mod content;
pub mod ease;
pub mod graph_filter;
pub mod implicit_als;
pub mod item_knn;
pub mod item_terms;
pub mod item_weights;
pub mod popularity;
pub mod term_factors;
pub mod text_ease;

use std::sync::Arc;

use super::ItemIndex;
use super::artifact::Binding;
use super::catalogue::Catalogue;
use super::known_taste::KnownTaste;

use als_person::PersonFactors;
use content::PersonTerms;
use popularity::Popularity;

/// All scorers by name, in the order of features and blends.
pub const SCORERS: [&str; 8] =
    ["popularity", "content", "ease", "ials", "graph_filter", "item_knn_cosine", "item_knn_tf_idf", "item_knn_bm25"];
/// Those that are item-item weights, in the order of [`super::artifact::Model::item_to_item`].
pub const ITEM_TO_ITEM: [&str; 5] = ["ease", "graph_filter", "item_knn_cosine", "item_knn_tf_idf", "item_knn_bm25"];
/// Places in [`SCORERS`].
pub const POPULARITY: usize = 0;
pub const CONTENT: usize = 1;
pub const EASE: usize = 2;
pub const IALS: usize = 3;

/// One number for each scorer.
pub type ByScorer<T> = [T; SCORERS.len()];

/// What the scorers know of the person who asks: user plus history plus tastes, so fold-in is ordinary scoring.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Signed strength by item (see [`super::preference`]), at most one entry an item, ordered by item id. Named titles of a
    /// request stand here as likes.
    pub history: Vec<(ItemIndex, f32)>,
    /// Those of it that were rated low. To have seen them may still speak for others.
    pub unliked: Vec<ItemIndex>,
    /// The tastes asked for. Items stand for them, with small positive strength: what carries a taste in one domain over to the others. Those are
    /// not seen, and not explained as behaviour; one that stands for two tastes counts twice.
    pub tastes: Vec<Arc<KnownTaste>>,
    pub stand_in_strength: f32,
}

impl Profile {
    /// Whether any item stands for a taste.
    #[must_use]
    pub fn has_stand_ins(&self) -> bool {
        self.tastes.iter().any(|taste| !taste.stand_ins.is_empty())
    }
}

/// The share of a score that one thing contributed; `source` is an item of the history, or `None` for a taste or the model itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution {
    pub source: Option<ItemIndex>,
    /// In the unit of the score; may be negative.
    pub amount: f32,
}

/// A model that gives items a number for one person. What it tells lives as long as the model and the catalogue do (`'m`).
pub trait Scorer<'m> {
    /// Makes ready to score any item for this person; `None`: it has nothing to say about this profile (abstains).
    fn prepare(&self, catalogue: &'m Catalogue, profile: &Profile) -> Option<Prepared<'m>>;

    /// Makes ready to tell what the score of any item is made of, for this person.
    fn contributions<'a>(&self, catalogue: &'a Catalogue, profile: &'a Profile) -> Contributions<'a>
    where
        'm: 'a;
}

fn largest_first(mut contributions: Vec<Contribution>) -> Vec<Contribution> {
    contributions.sort_by(|a, b| b.amount.total_cmp(&a.amount));
    contributions
}

/// What the score of an item is made of, largest first. All that does not depend on the item is worked out once.
pub type Contributions<'a> = Box<dyn Fn(ItemIndex) -> Vec<Contribution> + 'a>;

/// A scorer that is ready for one person.
pub enum Prepared<'m> {
    Popularity(Popularity<'m>),
    Content(PersonTerms<'m>),
    /// Scores by column of the model.
    Columns(Vec<f32>, &'m Binding),
    Factors(PersonFactors<'m>),
}

impl Prepared<'_> {
    /// The score of one item.
    #[must_use]
    pub fn of(&self, item: ItemIndex) -> f32 {
        match self {
            Self::Popularity(popularity) => popularity.of(item),
            Self::Content(person) => person.of(item),
            Self::Columns(scores, binding) => {
                binding.column(item).and_then(|column| scores.get(column as usize)).copied().unwrap_or(0.0)
            }
            Self::Factors(person) => person.of(item),
        }
    }

    /// Adds the scores of `items` times `factor` to `sums`, which has the same length.
    pub fn add(&self, items: &[ItemIndex], factor: f32, sums: &mut [f32]) {
        // Each kind has a loop of its own, so that nothing is decided item by item.
        let sums = items.iter().zip(sums);
        match self {
            Self::Popularity(popularity) => sums.for_each(|(item, sum)| *sum += factor * popularity.of(*item)),
            Self::Content(person) => sums.for_each(|(item, sum)| *sum += factor * person.of(*item)),
            Self::Columns(..) => sums.for_each(|(item, sum)| *sum += factor * self.of(*item)),
            Self::Factors(person) => sums.for_each(|(item, sum)| *sum += factor * person.of(*item)),
        }
    }
}
