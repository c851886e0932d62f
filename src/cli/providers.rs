//! `medley evaluate --providers`: what the opinion of large models is worth, what it takes and what it costs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Context;
use super::train::progress;
use crate::large_model::{Provider, Providers, ShortList, Snapshot};
use crate::store::Store;
use crate::training::experiment::{self, Asked, ExperimentSettings, OpinionReport, Opinions, Split};

/// So many short lists are asked about at once.
const AT_ONCE: usize = 4;

/// Asks each provider about the hybrid's short lists, prints what came out, and keeps it in the store, from where serving takes the weights.
pub async fn compare(
    context: &Context,
    store: Option<&dyn Store>,
    split: Split,
    settings: ExperimentSettings,
    names: &[String],
) -> Result<()> {
    let providers = Providers::new(&context.config.large_model).map_err(anyhow::Error::msg)?;
    if let Some(name) = names.iter().find(|name| providers.get(name).is_none()) {
        bail!("there is no provider `{name}`; one of {}", context.config.large_model.names().join(", "));
    }
    let chosen: Vec<&Arc<Provider>> = names.iter().filter_map(|name| providers.get(name)).collect();
    let (seed, length) = (settings.training.seed, providers.short_list);
    let (fitting, bar) = progress();
    let fitted =
        tokio::task::spawn_blocking(move || experiment::short_lists(&split, &settings, length, fitting.as_ref()));
    let cases = fitted.await??;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let mut all: Vec<(String, Opinions)> = Vec::new();
    for provider in &chosen {
        all.push((provider.name.clone(), ask(provider, &cases).await));
    }
    let report = experiment::judge(&cases, &all, seed);
    let measured: Vec<(String, Snapshot)> =
        chosen.iter().map(|provider| (provider.name.clone(), provider.statistics())).collect();
    let json = as_json(&report, &measured);
    if let Some(store) = store {
        let id = Uuid::now_v7().to_string();
        store.record_evaluation(&id, &json, Timestamp::now()).await?;
    }
    if context.json { super::print_json(&json) } else { super::print(&table(&report, &measured)) }
}

async fn ask(provider: &Arc<Provider>, cases: &[Asked]) -> Opinions {
    let questions = cases.iter().map(|case| async {
        let list = ShortList::new(&case.known, &case.items);
        let scores = provider.score(&list, Duration::MAX).await;
        scores.map(|scores| scores.to_vec()).unwrap_or_default()
    });
    let mut opinions = Vec::with_capacity(cases.len());
    let mut answers = futures_util::stream::iter(questions).buffered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        opinions.push(answer);
        if opinions.len().is_multiple_of(50) {
            tracing::info!(provider = provider.name, asked = opinions.len(), of = cases.len(), "asking");
        }
    }
    opinions
}

fn cost_of_thousand(report: &OpinionReport, numbers: &Snapshot) -> f64 {
    numbers.cost * 1_000.0 / report.cases.max(1) as f64
}

fn as_json(report: &OpinionReport, measured: &[(String, Snapshot)]) -> Value {
    let providers: Vec<Value> = measured
        .iter()
        .map(|(name, numbers)| {
            json!({
                "name": name, "requests": numbers.requests, "failures": numbers.failures,
                "p50_ms": numbers.p50_ms, "p95_ms": numbers.p95_ms,
                "input_tokens": numbers.usage.input_tokens, "output_tokens": numbers.usage.output_tokens,
                "cost_of_1000_lists": cost_of_thousand(report, numbers),
            })
        })
        .collect();
    json!({
        "kind": "providers", "cases": report.cases, "ranker": report.ranker, "rows": report.rows,
        "fusion": report.fusion, "providers": providers,
    })
}

fn table(report: &OpinionReport, measured: &[(String, Snapshot)]) -> String {
    let mut out = format!("{} short lists; nDCG of the ranker's order {:.4}\n\n", report.cases, report.ranker.mean);
    let _ = writeln!(out, "{:<44} {:>8} {:>28}", "order", "nDCG", "difference [95 %]");
    for row in &report.rows {
        let d = row.difference;
        let _ =
            writeln!(out, "{:<44} {:>8.4} {:>+10.4} [{:+.4}, {:+.4}]", row.name, row.ndcg.mean, d.mean, d.low, d.high);
        for (slice, of) in &row.slices {
            let name = serde_json::to_value(slice).ok().and_then(|name| name.as_str().map(str::to_owned));
            let name = format!("  {} ({} cases), weight {}", name.unwrap_or_default(), of.cases, of.weight);
            let d = of.difference;
            let _ = writeln!(out, "{name:<44} {:>8} {:>+10.4} [{:+.4}, {:+.4}]", "", d.mean, d.low, d.high);
        }
    }
    let _ = writeln!(
        out,
        "\n{:<20} {:>9} {:>9} {:>9} {:>9} {:>18}",
        "provider", "requests", "failures", "p50 ms", "p95 ms", "cost of 1000 lists"
    );
    for (name, numbers) in measured {
        let _ = writeln!(
            out,
            "{name:<20} {:>9} {:>9} {:>9.1} {:>9.1} {:>18.4}",
            numbers.requests,
            numbers.failures,
            numbers.p50_ms.unwrap_or_default(),
            numbers.p95_ms.unwrap_or_default(),
            cost_of_thousand(report, numbers)
        );
    }
    out
}
