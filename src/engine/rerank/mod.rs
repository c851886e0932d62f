//! Re-rankers: the order of a short list, once its scores are known.

pub mod diversity;
pub mod fusion;
pub mod short_list;
