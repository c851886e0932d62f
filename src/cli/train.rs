//! `medley train`: fits a model on what the store holds, makes it the active one, and prints how good it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::Context;
use crate::engine::artifact::Manifest;
use crate::engine::pipeline::MODEL_NAMES;
use crate::http;
use crate::training::{self, Progress};

/// Train on what the store holds and make the result the active model; a running service takes it over.
#[derive(Debug, Clone, Args)]
pub struct TrainArgs {
    /// Print the metrics of this model only (all are trained together, as the hybrid blends them).
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    #[command(flatten)]
    tuning: TuningArgs,
}

/// Whether hyper-parameters are searched for.
#[derive(Debug, Clone, Args)]
pub(super) struct TuningArgs {
    /// Search for hyper-parameters on people held out, before training; what was found stands in the manifest.
    #[arg(long)]
    tune: bool,
    /// How long to search, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "tune")]
    tune_budget: u64,
}

impl TuningArgs {
    /// How long to search; `None`: not at all.
    pub(super) fn budget(&self) -> Option<Duration> {
        self.tune.then(|| Duration::from_secs(self.tune_budget))
    }
}

/// Trains, and prints a table of metrics or the manifest.
pub async fn run(context: &Context, arguments: &TrainArgs) -> Result<()> {
    if let Some(name) = &arguments.model
        && !MODEL_NAMES.contains(&name.as_str())
    {
        bail!("there is no model `{name}`; one of {}", MODEL_NAMES.join(", "));
    }
    let store = context.open_store().await?;
    super::audit::record(store.as_ref(), "model.train", "").await?;
    let (progress, bar) = progress();
    let mut settings = http::training_settings(&context.config, &context.tenant);
    settings.tune = arguments.tuning.budget();
    let trained = training::train(Arc::clone(&store), settings, Timestamp::now(), progress).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let mut manifest = trained?;
    store.close().await;
    if let Some(name) = &arguments.model {
        manifest.metrics.retain(|model, _| model == name);
    }
    if context.json { super::print_json(&manifest) } else { super::print(&table(&manifest)) }
}

/// A bar on a terminal, a log line for each phase off one.
pub(super) fn progress() -> (Progress, Option<ProgressBar>) {
    if !std::io::stderr().is_terminal() {
        return (log_progress(), None);
    }
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {elapsed}");
    let bar = ProgressBar::new(1_000).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let shown = bar.clone();
    let progress: Progress = Arc::new(move |phase: &str, share: f32| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        shown.set_position((share.clamp(0.0, 1.0) * 1_000.0) as u64);
        shown.set_message(phase.replace('_', " "));
    });
    (progress, Some(bar))
}

/// A log line whenever a phase begins.
pub fn log_progress() -> Progress {
    let last = std::sync::Mutex::new(String::new());
    Arc::new(move |phase: &str, share: f32| {
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *last != phase {
            phase.clone_into(&mut last);
            tracing::info!(phase, progress = share, "training");
        }
    })
}

fn table(manifest: &Manifest) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "version {}: {} people, {} items, {} interactions, {}",
        manifest.version,
        HumanCount(manifest.users),
        HumanCount(manifest.items),
        HumanCount(manifest.interactions),
        HumanBytes(manifest.bytes),
    );
    let names: BTreeSet<&String> = manifest.metrics.values().flat_map(|metrics| metrics.keys()).collect();
    if names.is_empty() {
        let _ = writeln!(out, "too few people to hold any out: nothing was measured");
        return out;
    }
    let wide = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let _ = write!(out, "\n{:<wide$}", "");
    for model in manifest.metrics.keys() {
        let _ = write!(out, "  {model:>10}");
    }
    out.push('\n');
    for name in names {
        let _ = write!(out, "{name:<wide$}");
        for metrics in manifest.metrics.values() {
            let value = match metrics.get(name) {
                Some(count) if name.ends_with("cases") => format!("{count}"),
                Some(value) => format!("{value:.4}"),
                None => "-".to_owned(),
            };
            let _ = write!(out, "  {value:>10}");
        }
        out.push('\n');
    }
    out
}
