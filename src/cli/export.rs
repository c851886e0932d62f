//! `medley export`: items or events as NDJSON, in the form that `medley import --format generic` reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Context;
use super::import::What;
use crate::domain::Item;
use crate::store::{ItemSearch, Store, StoredEvent};

const PAGE: u32 = 1_000;

/// Write all items or events as NDJSON, one object a line.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// What to write.
    what: What,
    /// Where to; stdout when not given.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes everything; a file appears only when it is complete.
pub async fn run(context: &Context, arguments: &ExportArgs) -> Result<()> {
    let store = context.open_store().await?;
    if arguments.what == What::Events {
        super::audit::record(store.as_ref(), "events.export", "").await?;
    }
    let Some(path) = &arguments.output else {
        write(store.as_ref(), arguments.what, &mut BufWriter::new(io::stdout())).await?;
        return Ok(());
    };
    let mut name = path.clone().into_os_string();
    name.push(".part");
    let partial = PathBuf::from(name);
    let file = create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let mut out = BufWriter::new(file);
    let written = write(store.as_ref(), arguments.what, &mut out).await?;
    out.into_inner()?.sync_all()?;
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))?;
    store.close().await;
    if context.json {
        super::print_json(&json!({"written": written, "file": path}))
    } else {
        super::print(&format!("{written} {} written to {}", arguments.what.as_str(), path.display()))
    }
}

/// Makes a file anew that only its owner may read: behaviour is nobody else's business.
fn create(path: &Path) -> io::Result<File> {
    // One that an export which was cut off has left behind may be open to others.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

async fn write(store: &dyn Store, what: What, out: &mut (impl Write + Send)) -> Result<u64> {
    let mut written = 0;
    match what {
        What::Items => {
            let mut search = ItemSearch { limit: PAGE, ..ItemSearch::default() };
            loop {
                let page = store.search_items(&search).await?;
                for item in &page.items {
                    line(out, &item_json(item))?;
                    written += 1;
                }
                search.after = page.next;
                if search.after.is_none() {
                    break;
                }
            }
        }
        What::Events => {
            let mut after = 0;
            loop {
                let page = store.events(after, PAGE).await?;
                for stored in &page {
                    line(out, &event_json(stored))?;
                    written += 1;
                }
                let Some(last) = page.last() else { break };
                after = last.sequence;
            }
        }
    }
    out.flush()?;
    Ok(written)
}

fn line(out: &mut impl Write, value: &Value) -> Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

fn item_json(item: &Item) -> Value {
    json!({
        "id": item.id, "domain": item.domain, "title": item.title, "genres": item.genres, "tags": item.tags,
        "description": item.description, "creators": item.creators, "released": item.released,
        "attributes": item.attributes, "available": item.available,
    })
}

fn event_json(stored: &StoredEvent) -> Value {
    let event = &stored.event;
    let event_id = event.event_id.as_ref().map_or_else(|| name(stored), |id| id.as_str().to_owned());
    json!({
        "event_id": event_id, "user_id": event.user_id, "item_id": event.item_id, "type": event.kind,
        "value": event.value, "at": event.at, "recommendation_id": event.recommendation_id, "position": event.position,
    })
}

/// The name of an event that was sent without one: its place in the log, as several may be alike in everything else, and a digest of its content, as
/// events of another store have the same places. The person is left out of it, because events change hands when people are merged.
fn name(StoredEvent { sequence, event }: &StoredEvent) -> String {
    let mut content = Sha256::new();
    for part in [event.item_id.as_str(), event.kind.as_str(), &event.at.as_microsecond().to_string()] {
        content.update(part);
        content.update([0]);
    }
    let digest: String = content.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("export-{sequence}-{digest}")
}
