//! `medley openapi`: the description that a running service serves as `/openapi.json`.

use anyhow::Result;

use super::Context;

/// Prints the OpenAPI document.
pub fn run(context: &Context) -> Result<()> {
    super::print_json(&crate::http::openapi(&context.config.domains, &context.config.large_model.names()))
}
