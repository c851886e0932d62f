//! Evaluation: metrics over full rankings, what lies beyond accuracy, intervals, and the report that compares models.
//!
//! Whoever runs models builds [`Case`]s once, asks each model for its [`Outcome`]s, and hands both to [`report()`].

pub mod beyond;
pub mod html;
pub mod intervals;
pub mod metrics;
mod outcome;
mod report;
mod slices;
mod tables;
pub mod text;

pub use intervals::Estimate;
pub use outcome::{Case, ItemFacts, Outcome};
pub use report::{Comparison, Microseconds, ModelReport, Report, Run, SliceReport, Source, report};
