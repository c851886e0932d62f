//! `medley keys`: who may use the service, and for what.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Context;
use crate::serving::keys::{NewKey, Scope};
use crate::store::KeyRecord;

/// Make, list and revoke API keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print its secret, this once.
    Create(CreateArgs),
    /// List all keys, without their secrets.
    List,
    /// Revoke a key; a running service refuses it within a second.
    Revoke {
        /// The key's id, as `keys list` shows it.
        id: String,
    },
}

#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// What the key is for, in your words.
    #[arg(long, default_value = "")]
    name: String,
    /// What it may do: recommend, events, catalogue, admin; several separated by commas.
    #[arg(long = "scope", alias = "scopes", value_delimiter = ',', default_value = "recommend")]
    scopes: Vec<String>,
    /// After so many days it ends.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in_days: Option<u32>,
}

/// Runs one of the three.
pub async fn run(context: &Context, command: &KeysCommand) -> Result<()> {
    match command {
        KeysCommand::Create(arguments) => create(context, arguments).await,
        KeysCommand::List => list(context).await,
        KeysCommand::Revoke { id } => revoke(context, id).await,
    }
}

async fn create(context: &Context, arguments: &CreateArgs) -> Result<()> {
    let scopes = arguments.scopes.iter().map(|scope| Ok(scope.trim().parse()?)).collect::<Result<Vec<Scope>>>()?;
    if arguments.name.chars().count() > 200 || arguments.name.chars().any(char::is_control) {
        bail!("a name has at most 200 characters, and no control characters");
    }
    let now = Timestamp::now();
    let expires_at = match arguments.expires_in_days {
        Some(days) => {
            let span = SignedDuration::from_hours(i64::from(days) * 24);
            Some(now.checked_add(span).context("so many days cannot be counted")?)
        }
        None => None,
    };
    let made = NewKey::generate(arguments.name.clone(), &scopes, now, expires_at);
    let store = context.open_store().await?;
    store.create_key(&made.record).await?;
    store.close().await;
    let token = made.token.expose_secret();
    if context.json {
        let mut shown = key_json(&made.record);
        shown["token"] = Value::from(token);
        return super::print_json(&shown);
    }
    super::print(token)?;
    // On stderr, so that stdout is the key and nothing else.
    let note = format!(
        "Key {} ({}). Keep it: it is not shown again. Send it as `Authorization: Bearer …`.",
        made.record.id,
        made.record.scopes.join(", ")
    );
    writeln!(std::io::stderr(), "{note}")?;
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let store = context.open_store().await?;
    let keys = store.keys().await?;
    store.close().await;
    if context.json {
        return super::print_json(&keys.iter().map(key_json).collect::<Vec<_>>());
    }
    if keys.is_empty() {
        return super::print("There are no keys: the service listens on loopback only.");
    }
    let mut out = format!("{:<14} {:<10} {:<28} {:<12} name\n", "id", "state", "scopes", "created");
    for key in &keys {
        let created = key.created_at.strftime("%Y-%m-%d");
        out +=
            &format!("{:<14} {:<10} {:<28} {:<12} {}\n", key.id, state(key), key.scopes.join(","), created, key.name);
    }
    super::print(&out)
}

async fn revoke(context: &Context, id: &str) -> Result<()> {
    let store = context.open_store().await?;
    let revoked = store.revoke_key(id, Timestamp::now()).await?;
    store.close().await;
    if !revoked {
        bail!("there is no key `{id}` in force");
    }
    if context.json {
        super::print_json(&json!({"id": id, "revoked": true}))
    } else {
        super::print(&format!("Key {id} is revoked."))
    }
}

fn state(key: &KeyRecord) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.expires_at.is_some_and(|end| end <= Timestamp::now()) {
        "expired"
    } else {
        "in force"
    }
}

fn key_json(key: &KeyRecord) -> Value {
    json!({
        "id": key.id, "name": key.name, "scopes": key.scopes, "state": state(key), "created_at": key.created_at,
        "expires_at": key.expires_at, "revoked_at": key.revoked_at,
    })
}
