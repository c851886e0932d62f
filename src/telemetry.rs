//! Structured logs on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging to stderr: text on a terminal, one JSON object a line elsewhere. A second call does nothing.
pub fn start(log: &Log) {
    let filter = log.filter().unwrap_or_else(|| EnvFilter::new("info"));
    // A line that cannot be written, as on a full disk, is lost. To complain of it on stderr would fail as well, and end the request that is logged.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let started = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    drop(started);
}
