//! Evaluation: metrics over full rankings.

pub mod metrics;
