//! `medley migrate`: brings the database up to date.

use anyhow::Result;
use serde_json::json;

use super::Context;

/// Opens the store, which migrates it.
pub async fn run(context: &Context) -> Result<()> {
    let store = context.open_store().await?;
    let kind = store.kind();
    store.close().await;
    if context.json {
        super::print_json(&json!({"database": kind, "up_to_date": true}))
    } else {
        super::print(&format!("the {kind} database is up to date"))
    }
}
