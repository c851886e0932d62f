//! `medley audit`: what admins did.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Context;
use crate::domain::UserId;
use crate::store::{NewAct, Store, Subject};

/// Print what admins did: keys, models, items, people, encryption; the newest last.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// At most so many, the newest.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Only what was done to this key, item or version.
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    subject: Option<String>,
    /// Only what was done to this person. Works where behaviour is encrypted: elsewhere the log does not name people.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
}

/// Prints a line, or an object, for each act.
pub async fn run(context: &Context, arguments: &AuditArgs) -> Result<()> {
    let store = context.open_store().await?;
    let subject = match &arguments.user {
        Some(user) => {
            let name = store.person_in_audit(&UserId::new(user.as_str())?).await?;
            Some(name.context("behaviour is not encrypted: the audit log does not name people")?)
        }
        None => arguments.subject.clone(),
    };
    let mut acts = store.acts(subject.as_deref(), arguments.limit).await?;
    store.close().await;
    acts.reverse();
    if context.json {
        let acts = acts.iter().map(|act| {
            json!({"at": act.at, "actor": act.actor, "act": act.act, "subject": act.subject, "request_id": act.request_id})
        });
        return super::print_json(&acts.collect::<Vec<Value>>());
    }
    let mut out = format!("{:<21} {:<14} {:<22} {:<26} request\n", "at", "actor", "act", "subject");
    for act in &acts {
        let at = act.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let request = act.request_id.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{at:<21} {:<14} {:<22} {:<26} {request}", act.actor, act.act, act.subject);
    }
    super::print(&out)
}

/// Records what a command is about to do.
pub(super) async fn record(store: &dyn Store, act: &str, subject: &str) -> Result<()> {
    let subject = if subject.is_empty() { Subject::None } else { Subject::Thing(subject) };
    let act = NewAct { at: Timestamp::now(), actor: "command", act, subject, request_id: None };
    Ok(store.record_act(&act).await?)
}
