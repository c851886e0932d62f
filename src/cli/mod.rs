//! The commands, one file each; the only place where parts are put together.

mod audit;
mod bench;
mod compact;
mod config;
mod demo;
mod encryption;
mod evaluate;
mod export;
mod fusion;
mod health;
pub mod import;
mod keys;
mod migrate;
mod models;
mod openapi;
mod providers;
mod serve;
mod train;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::config::{Config, Overrides, environment};
use crate::domain::Tenant;
use crate::store::{self, Store};

/// Recommendations for music, movies and games, from a person's tastes or history. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "medley", version)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Args)]
struct Global {
    /// A TOML file that lies over the default settings.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the embedded database and trained models live.
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// postgres://… or sqlite://path; without one: SQLite in the data folder.
    #[arg(long, global = true, value_name = "URL", env = "MEDLEY_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Whose keys, items, events and models: for deployments with several catalogues and audiences.
    #[arg(long, global = true, value_name = "NAME", default_value_t)]
    tenant: Tenant,
    /// Print the result as JSON on stdout.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Import(import::ImportArgs),
    Train(train::TrainArgs),
    Evaluate(evaluate::EvaluateArgs),
    Bench(bench::BenchArgs),
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    Audit(audit::AuditArgs),
    #[command(subcommand)]
    Encryption(encryption::EncryptionCommand),
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Bring the database up to date (serving does so by itself).
    Migrate,
    /// Write behaviour anew in the database, so that nothing of people who were erased is left in its files. Writers wait; on Postgres, whoever reads behaviour
    /// waits as well, and the role has to own the database.
    Compact,
    Export(export::ExportArgs),
    /// Print the OpenAPI description of the service.
    Openapi,
    /// Print the settings in force, secrets hidden.
    Config,
    Health(health::HealthArgs),
}

impl Command {
    /// Whether it reads or writes what belongs to one tenant.
    fn is_of_a_tenant(&self) -> bool {
        let reads = matches!(self, Self::Evaluate(_) | Self::Export(_) | Self::Audit(_));
        reads || matches!(self, Self::Import(_) | Self::Train(_) | Self::Keys(_))
    }
}

/// What every command is given.
struct Context {
    config: Arc<Config>,
    tenant: Tenant,
    json: bool,
}

impl Context {
    /// Opens the store that the settings name, with patience for the one connection a command needs.
    fn connect(&self, acquire_timeout: Duration) -> impl Future<Output = Result<Arc<dyn Store>>> + use<> {
        let config = Arc::clone(&self.config);
        async move {
            if !config.database_is_configured() {
                let folder = &config.server.data_dir;
                std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            }
            let max_connections = config.database.max_connections;
            let master_key = encryption::master_key(&config.encryption)?.map(Arc::new);
            let options = store::Options { url: config.database_url(), max_connections, acquire_timeout, master_key };
            Ok(store::open(&options).await?)
        }
    }

    /// Opens the tenant's store, brings its schema up to date, and makes sure that its behaviour can be read.
    async fn open_store(&self) -> Result<Arc<dyn Store>> {
        let store = self.connect(Duration::from_secs(10)).await?.of_tenant(&self.tenant);
        store.migrate().await?;
        store.unlock().await?;
        Ok(store)
    }
}

/// Reads the command line and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough of it: `medley export items | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> Result<()> {
    let command = cli.command.unwrap_or_else(|| Command::Serve(serve::ServeArgs::default()));
    let address = if let Command::Serve(arguments) = &command { arguments.address } else { None };
    let overrides = Overrides {
        file: cli.global.config,
        address,
        data_dir: cli.global.data_dir,
        database_url: cli.global.database_url,
    };
    let config = Config::load(&overrides, environment())?;
    crate::telemetry::start(&config.log);
    if !cli.global.tenant.is_default() && !command.is_of_a_tenant() {
        bail!("this command is for all tenants together: it takes no --tenant");
    }
    let context = Context { config: Arc::new(config), tenant: cli.global.tenant, json: cli.global.json };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(arguments) => serve::run(&context, &arguments).await,
            Command::Import(arguments) => import::run(&context, &arguments).await,
            Command::Train(arguments) => train::run(&context, &arguments).await,
            Command::Evaluate(arguments) => evaluate::run(&context, &arguments).await,
            Command::Bench(arguments) => bench::run(&context, &arguments).await,
            Command::Keys(command) => keys::run(&context, &command).await,
            Command::Audit(arguments) => audit::run(&context, &arguments).await,
            Command::Encryption(command) => encryption::run(&context, &command).await,
            Command::Models(command) => models::run(&context, &command).await,
            Command::Migrate => migrate::run(&context).await,
            Command::Compact => compact::run(&context).await,
            Command::Export(arguments) => export::run(&context, &arguments).await,
            Command::Openapi => openapi::run(&context),
            Command::Config => config::run(&context),
            Command::Health(arguments) => health::run(&context, &arguments).await,
        }
    });
    // A training that is under way is not waited for: another service goes on with it.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

/// Writes to stdout, and says so when that fails, which `print!` does not.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

fn print_json(result: &impl Serialize) -> Result<()> {
    print(&serde_json::to_string_pretty(result)?)
}
