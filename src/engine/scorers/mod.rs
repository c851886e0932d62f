//! The scorers: a file a model. Each gives items a number for one person; the blend makes one ranking of them.

mod als_row;
pub mod content;
pub mod ease;
pub mod graph_filter;
pub mod implicit_als;
pub mod item_knn;
pub mod item_weights;
pub mod popularity;
pub mod term_factors;

use super::ItemIndex;
use super::catalogue::Catalogue;
use super::tastes::TasteProfile;

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
    /// Items that stand for the tastes asked for, with small positive strength: what carries a taste in one domain
    /// over to the others. Not seen, not explained as behaviour.
    pub pseudo_history: Vec<(ItemIndex, f32)>,
    pub tastes: TasteProfile,
}

/// The share of a score that one thing contributed; `source` is an item of the history, or `None` for a taste or the model itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution {
    pub source: Option<ItemIndex>,
    /// In the unit of the score; may be negative.
    pub amount: f32,
}

/// A model that gives items a number for one person.
pub trait Scorer {
    /// Fills `out[i]` with the score of `items[i]`; both have the same length. `false`: it has nothing to say about this
    /// profile (abstains) and `out` means nothing.
    fn score(&self, catalogue: &Catalogue, profile: &Profile, items: &[ItemIndex], out: &mut [f32]) -> bool;

    /// What the score of one item is made of, largest first.
    fn contributions(&self, catalogue: &Catalogue, profile: &Profile, item: ItemIndex) -> Vec<Contribution>;
}
