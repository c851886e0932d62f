//! The commands, one file each; the only place where parts are put together.

/// Reads the command line and runs the command.
#[must_use]
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
