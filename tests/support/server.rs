//! A real `medley serve` process on a free port, for tests that need the whole thing.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A client of services.
///
/// # Panics
/// When there can be none.
#[must_use]
pub fn client(timeout: Duration) -> reqwest::Client {
    // A client wants to know how it would encrypt, even where nothing is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(timeout).build().expect("a client")
}

/// A running service; killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    /// Starts the service on `data_dir`, with further `MEDLEY_*` variables, and waits until it listens.
    ///
    /// # Panics
    /// When it has not printed its address within 60 seconds.
    pub fn start(data_dir: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start_logged(data_dir, variables, Stdio::inherit())
    }

    /// The same, with a place for what it logs.
    ///
    /// # Panics
    /// When it has not printed its address within 60 seconds.
    pub fn start_logged(data_dir: &Path, variables: &[(&str, &str)], log: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MEDLEY_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--address", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .env("MEDLEY_LOG__LEVEL", "warn")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (found, address) = std::sync::mpsc::channel();
        // Reads on after the address, so that the service never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(at) = ["https://127.0.0.1:", "http://127.0.0.1:"].iter().find_map(|start| line.find(start))
                {
                    let url: String = line[at..].chars().take_while(|c| !c.is_whitespace() && *c != '\'').collect();
                    let _ = found.send(url.trim_end_matches('/').to_owned());
                }
            }
        });
        let address = address.recv_timeout(Duration::from_secs(60)).expect("the service prints its address");
        let address = address.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        Self { child, address }
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Panics
    /// When it does not within 60 seconds.
    pub async fn ready(&self, client: &reqwest::Client) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            if let Ok(answer) = client.get(self.url("/readyz")).send().await
                && answer.status().is_success()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not ready within 60 s");
    }

    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// SIGTERM.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn terminate(&self) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(sent.expect("`kill` can be run").success());
    }

    /// Whether the process has ended.
    ///
    /// # Panics
    /// When that cannot be told.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_some()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
