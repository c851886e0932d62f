//! `medley compact`: clears the free places of the database.

use anyhow::Result;
use serde_json::json;

use super::Context;

/// Opens the store and writes its behaviour anew.
pub async fn run(context: &Context) -> Result<()> {
    let store = context.open_store().await?;
    let left = store.compact().await?;
    store.close().await;
    if context.json {
        super::print_json(&json!({"compacted": left.is_empty(), "left_to_the_owner": left}))
    } else {
        super::print(&told(&left))
    }
}

/// What was done, and what is left to whoever owns the database.
fn told(left: &[&str]) -> String {
    if left.is_empty() {
        return "behaviour is written anew: nothing of what was deleted is left in the database's files".to_owned();
    }
    format!(
        "what was deleted may still be in the database's files: this role may not write all of them anew. Whoever owns the \
         database has yet to execute in it:\n    {};",
        left.join(";\n    ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_that_was_not_done() {
        assert!(told(&[]).contains("nothing of what was deleted is left"));
        let told = told(&["VACUUM FULL events", "VACUUM FULL people"]);
        assert!(told.contains("may still be") && told.ends_with("\n    VACUUM FULL events;\n    VACUUM FULL people;"));
    }
}
