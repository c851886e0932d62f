//! `medley evaluate`: how well each model foresees what people go on to do, with intervals and baselines.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::Context;
use super::train::{TuningArgs, progress};
use crate::engine::pipeline::MODEL_NAMES;
use crate::evaluation::{html, text};
use crate::http;
use crate::training::experiment::{self, ExperimentSettings, InteractionFile, Sampled, SplitKind};

/// Train on the older part of what the store holds, ask each model for the newer, and compare them.
#[derive(Debug, Clone, Args)]
pub struct EvaluateArgs {
    /// Compare only these models.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    models: Vec<String>,
    /// Compare large-model providers instead: what their opinion of the hybrid's short lists is worth. The weights that come out are used for serving.
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with_all = ["models", "sampled", "html"])]
    providers: Vec<String>,
    /// Compare trainings with and without the items' texts instead, with controls: on people as they are, on their tastes alone, and on new items.
    #[arg(long, conflicts_with_all = ["models", "providers", "sampled", "html", "split", "train", "write_split"])]
    fusion: bool,
    /// The length of the lists.
    #[arg(long, value_name = "K", default_value_t = 20)]
    at: usize,
    /// How the store is split.
    #[arg(long, value_enum, default_value_t = Kind::Temporal)]
    split: Kind,
    /// The share of the interactions that is to be foreseen.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    test_share: f64,
    /// Ask for at most this many people and domains.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    max_cases: usize,
    /// Train on this file instead of the store; may be given several times. DOMAIN=FILE names the domain of its items.
    #[arg(long, value_name = "[DOMAIN=]FILE", requires = "test")]
    train: Vec<String>,
    /// Ask for what this file holds.
    #[arg(long, value_name = "[DOMAIN=]FILE", requires = "train")]
    test: Vec<String>,
    /// Leave out of the test what is asked for of items that the training part does not have, as some papers do. Otherwise it counts as missed.
    #[arg(long, requires = "test")]
    known_items: bool,
    /// Rank each true item among so many sampled ones as well, for comparison with papers that do.
    #[arg(long, value_name = "N")]
    sampled: Option<usize>,
    /// Write the report as a web page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the two parts as train.tsv and test.tsv, for other programs.
    #[arg(long, value_name = "FOLDER")]
    write_split: Option<PathBuf>,
    #[command(flatten)]
    tuning: TuningArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Everything before one moment against everything after it.
    Temporal,
    /// A random part of what each person likes.
    Random,
    /// A random part of the items: those that nobody has touched, ranked among themselves.
    Items,
}

/// Splits, trains, asks, and prints a table or the report as JSON.
pub async fn run(context: &Context, arguments: &EvaluateArgs) -> Result<()> {
    for name in &arguments.models {
        if !MODEL_NAMES.contains(&name.as_str()) {
            bail!("there is no model `{name}`; one of {}", MODEL_NAMES.join(", "));
        }
    }
    if !(1..=200).contains(&arguments.at) {
        bail!("--at is from 1 to 200");
    }
    if !(0.01..=0.9).contains(&arguments.test_share) {
        bail!("--test-share is from 0.01 to 0.9");
    }
    let mut training = http::training_settings(&context.config, &context.tenant);
    training.tune = arguments.tuning.budget();
    if arguments.fusion {
        let (k, max_cases) = (arguments.at, arguments.max_cases);
        let settings = ExperimentSettings { training, models: Vec::new(), k, max_cases, sampled: None };
        return super::fusion::compare(context, settings, arguments.test_share).await;
    }
    let mut kept = None;
    let split = if arguments.train.is_empty() {
        let store = context.open_store().await?;
        let kind = match arguments.split {
            Kind::Temporal => SplitKind::Temporal,
            Kind::Random => SplitKind::Random,
            Kind::Items => SplitKind::Items,
        };
        let mut split =
            experiment::split_store(store.as_ref(), &training, kind, arguments.test_share, Timestamp::now()).await?;
        let (progress, bar) = progress();
        split.add_vectors(store.as_ref(), &training, progress.as_ref()).await;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        kept = Some(store);
        split
    } else {
        // Of published items nothing is known but their ids.
        training.engine.ease_side_weight = 0.0;
        let files = |texts: &[String]| -> Vec<InteractionFile> {
            texts.iter().map(|text| InteractionFile::parse(text, &training.domains)).collect()
        };
        experiment::split_files(&files(&arguments.train), &files(&arguments.test), arguments.known_items, &training)?
    };
    if let Some(folder) = &arguments.write_split {
        fs::create_dir_all(folder)?;
        let file = |name: &str| -> Result<BufWriter<File>> {
            let path = folder.join(name);
            Ok(BufWriter::new(File::create(&path).with_context(|| format!("cannot write {}", path.display()))?))
        };
        let (mut train, mut test) = (file("train.tsv")?, file("test.tsv")?);
        split.write(&mut train, &mut test)?;
        train.flush()?;
        test.flush()?;
    }
    let (models, k, max_cases) = (arguments.models.clone(), arguments.at, arguments.max_cases);
    let sampled = arguments.sampled;
    let settings = ExperimentSettings { training, models, k, max_cases, sampled };
    if !arguments.providers.is_empty() {
        return super::providers::compare(context, kept.as_deref(), split, settings, &arguments.providers).await;
    }
    if let Some(store) = kept {
        store.close().await;
    }
    let (progress, bar) = progress();
    let report = {
        let progress = Arc::clone(&progress);
        tokio::task::spawn_blocking(move || experiment::run(&split, &settings, progress.as_ref())).await?
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let (report, sampled) = report?;
    if let Some(path) = &arguments.html {
        fs::write(path, html::page(&report)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if context.json {
        let mut json = serde_json::to_value(&report)?;
        if !sampled.is_empty() {
            json["sampled"] = serde_json::to_value(&sampled)?;
        }
        return super::print_json(&json);
    }
    super::print(&text::table(&report))?;
    if sampled.is_empty() { Ok(()) } else { super::print(&sampled_table(&sampled)) }
}

fn sampled_table(rows: &[Sampled]) -> String {
    let mut out = format!("\nEach of {} true items among sampled ones\n", rows[0].rows);
    let _ = writeln!(out, "{:<18} {:>8} {:>8} {:>8} {:>8} {:>8}", "model", "mrr", "ndcg@10", "hr@1", "hr@5", "hr@10");
    for row in rows {
        let _ = writeln!(
            out,
            "{:<18} {:>8.4} {:>8.4} {:>8.4} {:>8.4} {:>8.4}",
            row.model, row.mrr, row.ndcg_at_10, row.hit_rate_at_1, row.hit_rate_at_5, row.hit_rate_at_10
        );
    }
    out
}
