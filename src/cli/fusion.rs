//! `medley evaluate --fusion`: what the items' texts are worth in training, with controls.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;

use super::Context;
use super::train::progress;
use crate::training::experiment::{self, ExperimentSettings, FusionSlice, SplitKind};

/// Trains with and without texts on the random split and on the one by items, and prints a table or JSON.
pub async fn compare(context: &Context, settings: ExperimentSettings, test_share: f64) -> Result<()> {
    let store = context.open_store().await?;
    let (progress, bar) = progress();
    let mut splits = Vec::new();
    for kind in [SplitKind::Random, SplitKind::Items] {
        let (training, now) = (&settings.training, Timestamp::now());
        let mut split = experiment::split_store(store.as_ref(), training, kind, test_share, now).await?;
        split.add_vectors(store.as_ref(), training, progress.as_ref()).await;
        splits.push(split);
    }
    store.close().await;
    let measuring = Arc::clone(&progress);
    let measured = tokio::task::spawn_blocking(move || {
        experiment::measure_fusion(&splits[0], &splits[1], &settings, measuring.as_ref())
    });
    let slices = measured.await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let slices = slices?;
    if context.json { super::print_json(&slices) } else { super::print(&table(&slices)) }
}

fn table(slices: &[FusionSlice]) -> String {
    let mut out = String::new();
    for slice in slices {
        let heading = format!("{} ({} cases)", slice.slice, slice.cases);
        let _ =
            writeln!(out, "{heading:<48} {:>7} {:>26} {:>26}", "nDCG@20", "to behaviour only", "to without vectors");
        for row in &slice.rows {
            let [a, b] = [row.to_behaviour, row.to_terms]
                .map(|difference| format!("{:+.4} [{:+.4}, {:+.4}]", difference.mean, difference.low, difference.high));
            let _ = writeln!(out, "  {:<46} {:>7.4} {a:>26} {b:>26}", row.name, row.ndcg.mean);
        }
        out.push('\n');
    }
    out
}
