//! The engine: from a query and a history to ranked lists. Pure CPU: no I/O but reading an artifact, no async, no clock.
//!
//! Read [`pipeline`] first.

pub mod artifact;
pub mod blend;
pub mod catalogue;
mod conditions;
pub mod dataset;
mod explain;
mod fold_in;
pub mod item_vectors;
mod known_taste;
mod lanes;
mod list;
pub mod meanings;
mod neighbours;
pub mod pipeline;
pub mod preference;
mod reader;
pub mod rerank;
mod retrieve;
pub mod scorers;
pub mod settings;
pub mod spelling;
mod taste_match;
pub mod tastes;
pub mod text;
pub mod text_vectors;
mod top_k;
pub mod view;
pub mod vocabulary;
mod wanted;

/// The place of an item in a [`catalogue::Catalogue`]: given once, never used again for another item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemIndex(pub u32);
