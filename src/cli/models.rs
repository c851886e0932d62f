//! `medley models`: models that run in the process.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::Context;
use crate::large_model::pull::{KNOWN, Manifest, pull};

/// Models that run in the process.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Print the models that can be fetched.
    List(ListArgs),
    /// Fetch a model into the data folder; what arrives must have the SHA-256 that the manifest names.
    Pull(PullArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// A manifest in the place of the one that is part of the program.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct PullArgs {
    name: String,
    /// A manifest in the place of the one that is part of the program.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

fn manifest(file: Option<&PathBuf>) -> Result<Manifest> {
    let Some(file) = file else { return Ok(toml::from_str(KNOWN)?) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is no manifest", file.display()))
}

pub async fn run(context: &Context, command: &ModelsCommand) -> Result<()> {
    match command {
        ModelsCommand::List(arguments) => list(context, &manifest(arguments.manifest.as_ref())?),
        ModelsCommand::Pull(arguments) => fetch(context, arguments).await,
    }
}

fn list(context: &Context, manifest: &Manifest) -> Result<()> {
    if context.json {
        return super::print_json(manifest);
    }
    let line = |(name, model): (&String, &crate::large_model::pull::Model)| {
        format!("{name}  {} ({}, {} MB)", model.about, model.licence, model.bytes() / 1_000_000)
    };
    super::print(&manifest.iter().map(line).collect::<Vec<_>>().join("\n"))
}

async fn fetch(context: &Context, arguments: &PullArgs) -> Result<()> {
    let manifest = manifest(arguments.manifest.as_ref())?;
    let name = arguments.name.as_str();
    let Some(model) = manifest.get(name) else {
        let known: Vec<&str> = manifest.keys().map(String::as_str).collect();
        bail!("there is no model `{name}`; one of {}", known.join(", "));
    };
    if name.contains(['/', '\\']) || name.starts_with('.') {
        bail!("`{name}` cannot be the name of a folder");
    }
    let folder = context.config.server.data_dir.join("encoders").join(name);
    let is_there = folder.exists();
    if !is_there {
        let bar = ProgressBar::new(model.bytes());
        bar.set_style(ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec}")?);
        pull(model, &folder, &|bytes| bar.inc(bytes)).await?;
        bar.finish_and_clear();
    }
    if context.json {
        return super::print_json(&json!({"model": name, "path": folder, "fetched": !is_there}));
    }
    let what = if is_there { "is there already" } else { "fetched" };
    let mut text = format!(
        "{name}: {what}. To use it:\n\n[large_model.providers.{name}]\nkind = \"embedded\"\npath = {:?}\n",
        folder.display().to_string()
    );
    if !cfg!(feature = "candle") {
        text.push_str("\nThis program was built without the encoder: cargo install --path . --features candle\n");
    }
    super::print(&text)
}
