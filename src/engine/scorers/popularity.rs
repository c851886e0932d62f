//! Popularity with time decay.
