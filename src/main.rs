//! The `medley` binary: parse the command line and hand over.

fn main() -> std::process::ExitCode {
    medley::cli::run()
}
