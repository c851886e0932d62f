//! `medley compact`: clears the free places of the database.

use anyhow::Result;
use serde_json::json;

use super::Context;

/// Opens the store and writes its behaviour anew.
pub async fn run(context: &Context) -> Result<()> {
    let store = context.open_store().await?;
    store.compact().await?;
    store.close().await;
    if context.json {
        super::print_json(&json!({"compacted": true}))
    } else {
        super::print("behaviour is written anew: nothing of what was deleted is left in the database's files")
    }
}
