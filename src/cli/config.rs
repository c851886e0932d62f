//! `medley config`: the settings in force, secrets hidden.

use anyhow::Result;

use super::Context;

/// Prints the settings as TOML, or as JSON.
pub fn run(context: &Context) -> Result<()> {
    if context.json { super::print_json(context.config.as_ref()) } else { super::print(&context.config.describe()) }
}
