//! `medley encryption`: encrypts behaviour that is there already, and changes the master key.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Subcommand;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{Context, audit};
use crate::config::{Encryption, KeySource};
use crate::store::{MasterKey, Store, StoreError};

/// How long a command waits for the database.
const PATIENCE: Duration = Duration::from_secs(10);

/// Encryption of behaviour at rest, under the master key of the settings.
#[derive(Debug, Clone, Subcommand)]
pub enum EncryptionCommand {
    /// Encrypt a store that holds behaviour already. Stop all services on it before, and make a backup; a new store with a master key is
    /// encrypted without this.
    Start,
    /// Seal the store's keys under another master key. Services go on as they are; they need the new key at their next start.
    ChangeKey {
        /// A file that holds the new master key.
        #[arg(long, value_name = "FILE")]
        new_key_file: PathBuf,
    },
}

/// Runs one of the two.
pub async fn run(context: &Context, command: &EncryptionCommand) -> Result<()> {
    let store = context.connect(PATIENCE).await?;
    store.migrate().await?;
    let done = match command {
        EncryptionCommand::Start => {
            audit::record(store.as_ref(), "encryption.start", "").await?;
            let events = encrypt(store.as_ref()).await?;
            (json!({"encrypted_events": events}), format!("{events} events are encrypted"))
        }
        EncryptionCommand::ChangeKey { new_key_file } => {
            audit::record(store.as_ref(), "encryption.change_key", "").await?;
            store.change_master_key(&from_file(new_key_file)?).await?;
            (json!({"changed": true}), "the new master key opens the store from now on".to_owned())
        }
    };
    store.close().await;
    if context.json { super::print_json(&done.0) } else { super::print(&done.1) }
}

/// Encrypts the behaviour of all tenants, one after the other; one that is encrypted already, as after a start that was cut off, stays as it is.
async fn encrypt(store: &dyn Store) -> Result<u64> {
    let mut tenants = store.tenants().await?;
    if !tenants.contains(store.tenant()) {
        tenants.push(store.tenant().clone());
    }
    let (mut done, mut refused) = (None, None);
    for tenant in tenants {
        match store.of_tenant(&tenant).encrypt().await {
            Ok(events) => done = Some(done.unwrap_or(0) + events),
            Err(StoreError::Conflict(reason)) => refused = Some(reason),
            Err(error) => return Err(error.into()),
        }
    }
    done.ok_or_else(|| anyhow!(refused.unwrap_or_default()))
}

/// Reads the master key from where the settings say it is.
pub(super) fn master_key(settings: &Encryption) -> Result<Option<MasterKey>> {
    let Some(source) = settings.source() else { return Ok(None) };
    Ok(Some(match source {
        KeySource::Text(text) => parsed(text.expose_secret()).context("encryption.master_key")?,
        KeySource::File(path) => from_file(path)?,
        KeySource::Command(program, arguments) => {
            let output = Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()
                .with_context(|| format!("encryption.master_key_command: {program} cannot be run"))?;
            if !output.status.success() {
                bail!("encryption.master_key_command: {program} has failed: {}", output.status);
            }
            parsed(&String::from_utf8_lossy(&output.stdout)).context("encryption.master_key_command")?
        }
    }))
}

fn from_file(path: &Path) -> Result<MasterKey> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parsed(&text).with_context(|| path.display().to_string())
}

fn parsed(text: &str) -> Result<MasterKey> {
    MasterKey::parse(text).context("a master key is 32 bytes in base64 or hexadecimal digits")
}
