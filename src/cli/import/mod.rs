//! `medley import`: rows of files into the store. A thread reads and checks, the store takes batches, bad rows are named.

mod check;
mod detect;
mod event_row;
mod generic;
mod lastfm;
mod movielens;
mod parquet;
mod reader;
mod row;
mod steam;
mod summary;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::domain::{Domain, Event, Item};
use crate::store::{Store, Upserted};

pub use event_row::EventRow;
pub use summary::{Rejected, Summary};

use detect::{Container, Detected};
use event_row::Namer;
use row::{Ids, Row};

/// Rows that the store takes at once.
const EVENTS_PER_BATCH: usize = 50_000;
const ITEMS_PER_BATCH: usize = 2_000;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    Items,
    Events,
}

impl What {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Events => "events",
        }
    }
}

/// The layout of a data set's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// GroupLens MovieLens: movies.csv, ratings.csv, tags.csv.
    Movielens,
    /// Last.fm of HetRec 2011: artists.dat, user_artists.dat; or the train.txt of a published split.
    Lastfm,
    /// Steam 200k: people, games, hours.
    Steam,
    /// Columns, or JSON fields, named like those of the API.
    Generic,
}

impl Format {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Movielens => "movielens",
            Self::Lastfm => "lastfm",
            Self::Steam => "steam",
            Self::Generic => "generic",
        }
    }
}

/// Read a file of items or events into the store: CSV, TSV, NDJSON or Parquet.
///
/// Bad rows are reported by line with a reason and the rest goes on. Importing a file twice changes nothing.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// What the file holds.
    pub what: What,
    /// The file.
    pub file: PathBuf,
    /// The format; told by the file's first line when not given.
    #[arg(long)]
    pub format: Option<Format>,
    /// What to put before item and user ids (`NAME:id`), as the same number means different things in different data
    /// sets; by default the format's name, and nothing for generic.
    #[arg(long, value_name = "NAME")]
    pub prefix: Option<String>,
    /// Fail when a row is rejected (the others are stored all the same).
    #[arg(long)]
    pub strict: bool,
}

/// What rows are checked against.
#[derive(Debug, Clone)]
pub struct Rules {
    pub domains: Vec<Domain>,
    pub rating_scale: [f64; 2],
    /// When events without a time happened, in the formats that do not say.
    pub now: Timestamp,
}

impl Rules {
    #[must_use]
    pub fn of(config: &Config, now: Timestamp) -> Self {
        Self { domains: config.domains.clone(), rating_scale: config.interactions.rating_scale, now }
    }

    fn domain(&self, name: &str) -> Result<Domain> {
        let found = self.domains.iter().find(|domain| domain.as_str() == name);
        found.cloned().ok_or_else(|| anyhow!("the configuration has no domain `{name}`, which this format belongs to"))
    }
}

/// Runs the command: imports, and prints the summary.
///
/// # Errors
/// The file or the store cannot be used, or nothing of the file could be stored.
pub(super) async fn run(context: &super::Context, arguments: &ImportArgs) -> Result<()> {
    let store = context.open_store().await?;
    let rules = Rules::of(&context.config, Timestamp::now());
    let summary = import(store.as_ref(), arguments, &rules).await?;
    store.close().await;
    if context.json {
        super::print_json(&summary)?;
    } else {
        super::print(&summary.to_string())?;
    }
    if summary.read == 0 {
        bail!("{} has no rows", arguments.file.display());
    }
    if summary.rejected == summary.read {
        bail!("every row was rejected");
    }
    if arguments.strict && summary.rejected > 0 {
        bail!("{} rows were rejected", summary.rejected);
    }
    Ok(())
}

/// Imports one file.
///
/// # Errors
/// The file cannot be read or its format not be told; the store fails. What was stored before stays; a second run goes on.
pub async fn import(store: &dyn Store, arguments: &ImportArgs, rules: &Rules) -> Result<Summary> {
    let detected = detect::look(&arguments.file, arguments.what, arguments.format)?;
    for column in &detected.unused {
        tracing::warn!(%column, "nothing is read from this column");
    }
    let format = detected.format;
    let prefix = arguments.prefix.as_deref().unwrap_or(if format == Format::Generic { "" } else { format.as_str() });
    let ids = Ids::new(prefix);
    let source = Source { path: arguments.file.clone(), detected };
    match arguments.what {
        What::Items => {
            let mut parse = item_parser(&source, ids, rules)?;
            let mut named = HashSet::new();
            let parse = move |row: &Row<'_>| {
                let item = check::item(parse(row)?)?;
                Ok(named.insert(item.id.clone()).then_some(item))
            };
            transfer(source, ITEMS_PER_BATCH, parse, async |items: Vec<Item>| {
                let outcomes = store.upsert_items(&items).await?;
                let unchanged = outcomes.iter().filter(|outcome| **outcome == Upserted::Unchanged).count() as u64;
                Ok(Taken { stored: outcomes.len() as u64 - unchanged, duplicates: 0, unchanged })
            })
            .await
        }
        What::Events => {
            let (mut parse, default_at) = event_parser(&source, ids, rules);
            let mut namer = Namer::new(format, default_at);
            let now = rules.now;
            let parse = move |row: &Row<'_>| namer.name(check::event(parse(row)?, now)?).map(Some);
            transfer(source, EVENTS_PER_BATCH, parse, async |events: Vec<Event>| {
                let appended = store.load_events(&events).await?;
                Ok(Taken { stored: appended.accepted, duplicates: appended.duplicates, unchanged: 0 })
            })
            .await
        }
    }
}

/// Reads a file and judges its rows as [`import`] does, and stores nothing.
///
/// # Errors
/// The file cannot be read or its format not be told.
pub fn judge(arguments: &ImportArgs, rules: &Rules) -> Result<Summary> {
    let detected = detect::look(&arguments.file, arguments.what, arguments.format)?;
    let ids = Ids::new(arguments.prefix.as_deref().unwrap_or_default());
    let source = Source { path: arguments.file.clone(), detected };
    match arguments.what {
        What::Items => {
            let mut parse = item_parser(&source, ids, rules)?;
            judged(&source, move |row| Ok(Some(check::item(parse(row)?)?)))
        }
        What::Events => {
            let (mut parse, default_at) = event_parser(&source, ids, rules);
            let mut namer = Namer::new(source.detected.format, default_at);
            let now = rules.now;
            judged(&source, move |row| namer.name(check::event(parse(row)?, now)?).map(Some))
        }
    }
}

fn judged<T>(source: &Source, parse: impl FnMut(&Row<'_>) -> Result<Option<T>, String>) -> Result<Summary> {
    // As one batch.
    let (sender, mut batches) = mpsc::channel(1);
    read(source, usize::MAX, parse, &sender)?;
    Ok(batches.try_recv()?.summary)
}

type Parser<T> = Box<dyn FnMut(&Row<'_>) -> Result<T, String> + Send>;

fn item_parser(source: &Source, ids: Ids, rules: &Rules) -> Result<Parser<Item>> {
    Ok(match source.detected.format {
        Format::Movielens => {
            let (domain, tags) = (rules.domain("movie")?, movielens::tags_beside(&source.path)?);
            Box::new(move |row| movielens::item(row, &ids, &domain, &tags))
        }
        Format::Lastfm => {
            let (domain, tags) = (rules.domain("music")?, lastfm::tags_beside(&source.path)?);
            Box::new(move |row| lastfm::item(row, &ids, &domain, &tags))
        }
        Format::Steam => {
            let domain = rules.domain("game")?;
            Box::new(move |row| steam::item(row, &ids, &domain))
        }
        Format::Generic => {
            let domains = rules.domains.clone();
            Box::new(move |row| generic::item(row, &ids, &domains))
        }
    })
}

fn event_parser(source: &Source, ids: Ids, rules: &Rules) -> (Parser<EventRow>, Timestamp) {
    let scale = rules.rating_scale;
    match source.detected.format {
        Format::Movielens => (Box::new(move |row| movielens::event(row, &ids, scale)), rules.now),
        Format::Lastfm => (Box::new(move |row| lastfm::event(row, &ids)), lastfm::COUNTED_AT),
        Format::Steam => (Box::new(move |row| steam::event(row, &ids)), steam::COUNTED_AT),
        Format::Generic => (Box::new(move |row| generic::event(row, &ids, scale)), rules.now),
    }
}

/// A file and what is known of it.
struct Source {
    path: PathBuf,
    detected: Detected,
}

/// What the store said of a batch.
struct Taken {
    stored: u64,
    duplicates: u64,
    unchanged: u64,
}

/// Rows on their way from the reading thread to the store.
struct Batch<T> {
    rows: Vec<T>,
    /// What became of the rows that are not in `rows`.
    summary: Summary,
    done: u64,
}

impl<T> Batch<T> {
    fn new() -> Self {
        Self { rows: Vec::new(), summary: Summary::default(), done: 0 }
    }
}

/// Reads the file in a thread while the store takes what has been read.
async fn transfer<T: Send + 'static>(
    source: Source,
    size: usize,
    parse: impl FnMut(&Row<'_>) -> Result<Option<T>, String> + Send + 'static,
    take: impl AsyncFn(Vec<T>) -> crate::store::Result<Taken>,
) -> Result<Summary> {
    let start = Instant::now();
    let progress = Progress::start(&source)?;
    let (sender, mut batches) = mpsc::channel(2);
    let reading = tokio::task::spawn_blocking(move || read(&source, size, parse, &sender));
    let mut summary = Summary::default();
    while let Some(Batch { rows, summary: part, done }) = batches.recv().await {
        let taken = if rows.is_empty() { Taken { stored: 0, duplicates: 0, unchanged: 0 } } else { take(rows).await? };
        summary.read += part.read;
        summary.repaired += part.repaired;
        summary.stored += taken.stored;
        summary.duplicates += part.duplicates + taken.duplicates;
        summary.unchanged += taken.unchanged;
        summary.rejected += part.rejected - part.errors.len() as u64;
        part.errors.into_iter().for_each(|rejected| summary.reject(rejected));
        progress.show(done, &summary);
    }
    reading.await.context("the file cannot be read: it is damaged")??;
    progress.finish();
    summary.took = start.elapsed();
    Ok(summary)
}

fn read<T>(
    source: &Source,
    size: usize,
    mut parse: impl FnMut(&Row<'_>) -> Result<Option<T>, String>,
    sender: &mpsc::Sender<Batch<T>>,
) -> Result<()> {
    let mut batch = Batch::new();
    let mut sink = |reading: reader::Reading<'_>| {
        batch.summary.read += 1;
        batch.summary.repaired += u64::from(reading.repaired);
        batch.done = reading.done;
        match reading.row.and_then(|row| parse(&row)) {
            Ok(Some(parsed)) => batch.rows.push(parsed),
            Ok(None) => batch.summary.duplicates += 1,
            Err(detail) => batch.summary.reject(Rejected { line: reading.place, detail }),
        }
        // When the other side is gone the store has failed: it tells why.
        batch.rows.len() < size || sender.blocking_send(std::mem::replace(&mut batch, Batch::new())).is_ok()
    };
    let file = File::open(&source.path)?;
    let buffered = |file| BufReader::with_capacity(1 << 18, file);
    match &source.detected.container {
        Container::Delimited(layout) => reader::delimited(buffered(file), layout, &mut sink)?,
        Container::Ndjson => reader::ndjson(buffered(file), &mut sink)?,
        Container::Parquet => parquet::rows(file, &mut sink)?,
    }
    let _ = sender.blocking_send(batch);
    Ok(())
}

/// A bar on a terminal, a log line every few seconds off one.
struct Progress {
    bar: Option<ProgressBar>,
    size: u64,
    logged: std::cell::Cell<Instant>,
}

impl Progress {
    fn start(source: &Source) -> Result<Self> {
        let size = match source.detected.container {
            Container::Parquet => parquet::count(File::open(&source.path)?)?,
            _ => std::fs::metadata(&source.path)?.len(),
        };
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {elapsed}");
            ProgressBar::new(size).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        tracing::info!(file = %Path::new(&source.path).display(), format = source.detected.format.as_str(), "importing");
        Ok(Self { bar, size, logged: std::cell::Cell::new(Instant::now()) })
    }

    fn show(&self, done: u64, summary: &Summary) {
        if let Some(bar) = &self.bar {
            bar.set_position(done.min(self.size));
            bar.set_message(format!("{} rows, {} rejected", summary.read, summary.rejected));
        } else if self.logged.get().elapsed() > Duration::from_secs(5) {
            self.logged.set(Instant::now());
            tracing::info!(rows = summary.read, rejected = summary.rejected, done, of = self.size, "importing");
        }
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
