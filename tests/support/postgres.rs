//! A Postgres database for one test: `let database = postgres::database().await;`, then `database.url`.
//!
//! `MEDLEY_TEST_POSTGRES_URL` names a server to use (as a superuser, who may create databases and read the server's files). Without it, a private cluster
//! is made once for each test process, from the Postgres programs of this machine: on 127.0.0.1 at a free port, in a
//! temporary folder, gone with the process however that ends. Where there is neither, the test fails and says so.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// An empty database, dropped at the end of the test.
pub struct TestDatabase {
    pub url: String,
    name: String,
}

/// Creates an empty database with a name of its own.
///
/// # Panics
/// When there is no Postgres to be had.
pub async fn database() -> TestDatabase {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("medley_test_{}_{number}", std::process::id());
    administer(&format!("CREATE DATABASE {name}")).await.expect("the test role may create databases");
    TestDatabase { url: url_of(&name), name }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // Dropping is not async: a thread with a runtime of its own does it.
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(Err(error)) = runtime.map(|runtime| runtime.block_on(administer(&sql))) {
                eprintln!("a test database is left behind: {error}");
            }
        });
        let _ = dropping.join();
    }
}

async fn administer(sql: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(server_url()).await?;
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}

/// The server's URL with another database: what stands between the last `/` of the path and a `?`.
fn url_of(database: &str) -> String {
    let (base, parameters) = server_url().split_once('?').unwrap_or((server_url(), ""));
    let after_scheme = base.find("://").map_or(0, |at| at + 3);
    let host_end = base[after_scheme..].find('/').map_or(base.len(), |at| after_scheme + at);
    format!("{}/{database}?{parameters}", &base[..host_end])
}

fn server_url() -> &'static str {
    // A static is never dropped: our end of the pipe to the server's shell stays open as long as this process lives.
    static SERVER: OnceLock<(String, Option<Child>)> = OnceLock::new();
    let (url, _) = SERVER.get_or_init(|| match std::env::var("MEDLEY_TEST_POSTGRES_URL") {
        Ok(url) if !url.is_empty() => (url, None),
        _ => {
            let (url, server) = start();
            (url, Some(server))
        }
    });
    url
}

/// Starts a cluster that no other test uses, for one that does harm to it: its URL, and what it lives as long as.
///
/// # Panics
/// When there are no Postgres programs.
#[must_use]
pub fn server_of_its_own() -> (String, Child) {
    start()
}

/// Starts a private cluster and returns its URL.
fn start() -> (String, Child) {
    let bin = programs().unwrap_or_else(|| {
        panic!(
            "no Postgres: set MEDLEY_TEST_POSTGRES_URL, or install its server programs (initdb, postgres), for example \
             with `apt-get install postgresql` or `brew install postgresql`"
        )
    });
    let mut reason = String::new();
    // Somebody else may take the free port first.
    for _ in 0..3 {
        match try_start(&bin) {
            Ok(started) => return started,
            Err(why) => reason = why,
        }
    }
    panic!("the Postgres in {} does not start:\n{reason}", bin.display());
}

fn try_start(bin: &Path) -> Result<(String, Child), String> {
    // Kept: the watching shell removes it, once the server has ended.
    let folder = tempfile::Builder::new().prefix("medley-pg-").tempdir().map_err(|error| error.to_string())?.keep();
    let owner = owner();
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).map_err(|error| error.to_string())?;
    }
    initialise(bin, &folder, owner)?;
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let mut server = serve(bin, &folder, owner, port);
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let status = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        if status.lines().last().is_some_and(|line| line.trim() == "ready") {
            return Ok((format!("postgres://medley@127.0.0.1:{port}/postgres?sslmode=disable"), server));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    drop(server.stdin.take());
    let _ = server.wait();
    Err(log)
}

/// The folder with the Postgres programs: the first on PATH, or else the newest in the usual places.
fn programs() -> Option<PathBuf> {
    let mut installed: Vec<PathBuf> =
        ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr/local", "/usr"]
            .iter()
            .flat_map(|root| std::fs::read_dir(root).into_iter().flatten().flatten())
            .map(|entry| entry.path().join("bin"))
            .collect();
    installed.sort_by_key(|bin| {
        let digits = |c: char| !c.is_ascii_digit();
        bin.to_string_lossy().split(digits).find_map(|number| number.parse::<u32>().ok()).unwrap_or(0)
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(installed.into_iter().rev())
        .find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
}

/// Postgres refuses to run as root: then it runs as `postgres`, or else `nobody`.
fn owner() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let user = |name| Some((id(&["-u", name])?, id(&["-g", name])?));
    Some(user("postgres").or_else(|| user("nobody")).expect("a user that is not root"))
}

fn command(program: impl AsRef<std::ffi::OsStr>, folder: &Path, owner: Option<(u32, u32)>) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(program);
    // A process group of its own: the interrupt key of the terminal ends the tests, and only through them this.
    command.current_dir(folder).process_group(0);
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command
}

fn initialise(bin: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Result<(), String> {
    // A locale whose order is not that of the bytes, to catch a query that relies on it; where ICU is not built in, C.
    let locales = [vec!["--locale-provider=icu", "--icu-locale=en-US", "--locale=C"], vec!["--locale=C"]];
    let mut reason = String::new();
    for locale in locales {
        let output = command(bin.join("initdb"), folder, owner)
            .args(["--pgdata=data", "--username=medley", "--auth=trust", "--encoding=UTF8", "--no-sync"])
            .args(locale)
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        reason = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Err(reason)
}

/// Starts the server under a shell that reads its standard input: a pipe from this process, which closes when this
/// process ends, even if it is killed. Then the shell stops the server and removes the folder.
fn serve(bin: &Path, folder: &Path, owner: Option<(u32, u32)>, port: u16) -> Child {
    command("sh", folder, owner)
        .arg("-c")
        .arg(r#""$@" >>log 2>&1 </dev/null & cat; kill -INT $!; wait $!; cd / && rm -rf "$0""#)
        .arg(folder)
        .arg(bin.join("postgres"))
        .args(["-D", "data", "-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""])
        .args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=300"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh can be started")
}
