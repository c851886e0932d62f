//! `medley keys`: who may use the service, and for what.

use std::io::Write as _;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Context, audit};
use crate::serving::keys::{NewKey, Scope, new_secret};
use crate::store::{DayUse, KeyRecord, Store};

/// Make, list, rotate and revoke API keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Make a key and print its secret, this once.
    Create(CreateArgs),
    /// List all keys, without their secrets; with --tenant, those of one.
    List,
    /// Give a key another secret and print it, this once. The old one is good for a while yet, so that nobody has to be quick.
    Rotate(RotateArgs),
    /// Revoke a key with both its secrets; a running service refuses it within a second.
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
    /// At most so many requests a minute, counted by each service for itself.
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    rate: Option<u32>,
    /// At most so many requests a day (UTC), counted by all services together.
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    quota: Option<u32>,
}

#[derive(Debug, Clone, Args)]
pub struct RotateArgs {
    /// The key's id, as `keys list` shows it.
    id: String,
    /// For so many hours the old secret is good as well; 0: it ends at once.
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=8_760))]
    grace_hours: u32,
}

/// Runs one of them.
pub async fn run(context: &Context, command: &KeysCommand) -> Result<()> {
    match command {
        KeysCommand::Create(arguments) => create(context, arguments).await,
        KeysCommand::List => list(context).await,
        KeysCommand::Rotate(arguments) => rotate(context, arguments).await,
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
    let mut made = NewKey::generate(arguments.name.clone(), &scopes, now, expires_at);
    made.record.tenant = context.tenant.clone();
    (made.record.rate, made.record.quota) = (arguments.rate, arguments.quota);
    let store = context.open_store().await?;
    audit::record(store.as_ref(), "key.create", &made.record.id).await?;
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
    let mut keys = store.keys().await?;
    store.close().await;
    // Of all tenants, unless one is named.
    keys.retain(|key| context.tenant.is_default() || key.tenant == context.tenant);
    if context.json {
        return super::print_json(&keys.iter().map(key_json).collect::<Vec<_>>());
    }
    if keys.is_empty() {
        return super::print("There are no keys: the service listens on loopback only.");
    }
    let now = Timestamp::now();
    let mut out = format!(
        "{:<14} {:<10} {:<28} {:<12} {:<12} {:<18} {:<26} {:<12} name\n",
        "id", "state", "scopes", "created", "expires", "old secret until", "limits", "tenant"
    );
    for key in &keys {
        let day = |moment: Timestamp| moment.strftime("%Y-%m-%d").to_string();
        let (created, expires) = (day(key.created_at), key.expires_at.map_or_else(|| "never".to_owned(), day));
        let old = key.previous.as_ref().map(|old| old.until).filter(|until| *until > now);
        let old = old.map_or_else(String::new, |until| until.strftime("%Y-%m-%d %H:%M").to_string());
        let (scopes, limits) = (key.scopes.join(","), limits(key));
        out += &format!(
            "{:<14} {:<10} {scopes:<28} {created:<12} {expires:<12} {old:<18} {limits:<26} {:<12} {}\n",
            key.id,
            state(key),
            key.tenant.as_str(),
            key.name
        );
    }
    super::print(&out)
}

async fn rotate(context: &Context, RotateArgs { id, grace_hours }: &RotateArgs) -> Result<()> {
    let now = Timestamp::now();
    let old_until = now + SignedDuration::from_hours(i64::from(*grace_hours));
    let (hash, token) = new_secret(id);
    let store = context.open_store().await?;
    let key = record(store.as_ref(), "key.rotate", id).await?;
    let rotated = store.rotate_key(id, &hash, old_until, now).await?;
    store.close().await;
    if !rotated {
        let why = key.map_or_else(String::new, |key| format!(": it is {}", state(&key)));
        bail!("there is no key `{id}` in force{why}");
    }
    let token = token.expose_secret();
    if context.json {
        return super::print_json(&json!({"id": id, "token": token, "old_secret_until": old_until}));
    }
    super::print(token)?;
    writeln!(std::io::stderr(), "Key {id} has this secret now; the old one is good until {old_until}.")?;
    Ok(())
}

/// Records what is about to be done to a key, for the tenant that it belongs to. Gives the key as it is before that.
async fn record(store: &dyn Store, act: &str, id: &str) -> Result<Option<KeyRecord>> {
    let key = store.keys().await?.into_iter().find(|key| key.id == id);
    if let Some(key) = &key {
        audit::record(store.of_tenant(&key.tenant).as_ref(), act, id).await?;
    }
    Ok(key)
}

async fn revoke(context: &Context, id: &str) -> Result<()> {
    let store = context.open_store().await?;
    record(store.as_ref(), "key.revoke", id).await?;
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

/// The day of the requests counted last.
fn day(used: DayUse) -> Option<String> {
    let midnight = Timestamp::from_second(used.day.checked_mul(86_400)?).ok()?;
    (used.requests > 0).then(|| midnight.strftime("%Y-%m-%d").to_string())
}

/// "600/min 9/1000 today", or nothing.
fn limits(key: &KeyRecord) -> String {
    let today = Timestamp::now().as_second().div_euclid(86_400);
    let used = if key.used.day == today { key.used.requests } else { 0 };
    let rate = key.rate.map(|rate| format!("{rate}/min"));
    let quota = key.quota.map(|quota| format!("{used}/{quota} today"));
    rate.into_iter().chain(quota).collect::<Vec<_>>().join(" ")
}

fn key_json(key: &KeyRecord) -> Value {
    json!({
        "id": key.id, "tenant": key.tenant.as_str(), "name": key.name, "scopes": key.scopes, "state": state(key), "created_at": key.created_at,
        "expires_at": key.expires_at, "revoked_at": key.revoked_at, "rate": key.rate, "quota": key.quota,
        "used": {"day": day(key.used), "requests": key.used.requests},
        "old_secret_until": key.previous.as_ref().map(|previous| previous.until),
    })
}
