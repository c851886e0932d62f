//! Several services on one store: one trains, another goes on when that is killed, all of them serve what is active, and who is about to leave says so.

mod support {
    #![allow(dead_code, reason = "each test crate uses its part of the harness")]
    pub mod postgres;
    pub mod server;
}

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::server::Server;

/// How long any of this may take on a machine that is busy; nothing here is timed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A training need not be good here, but short.
const SHORT: [(&str, &str); 6] = [
    ("MEDLEY_TRAINING__VALIDATION_MAX_USERS", "50"),
    ("MEDLEY_TRAINING__VALIDATION_ROUNDS", "1"),
    ("MEDLEY_TRAINING__BLEND_SAMPLES", "1"),
    ("MEDLEY_ENGINE__IALS__DIMENSIONS", "16"),
    ("MEDLEY_ENGINE__IALS__EPOCHS", "2"),
    ("MEDLEY_LARGE_MODEL__EMBEDDINGS", ""),
];

/// A database for several services, in `folder` or on Postgres.
struct Place {
    folder: tempfile::TempDir,
    url: String,
    client: reqwest::Client,
    _database: Option<support::postgres::TestDatabase>,
}

impl Place {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("medley.db").display());
        Self { folder, url, client: support::server::client(Duration::from_secs(20)), _database: None }
    }

    async fn postgres() -> Self {
        let database = support::postgres::database().await;
        Self { url: database.url.clone(), _database: Some(database), ..Self::sqlite() }
    }

    /// A service whose models lie in a folder of this name; the first loads the demo and trains on it.
    async fn service(&self, models: &str) -> Server {
        let variables = [
            ("MEDLEY_DATABASE_URL", self.url.as_str()),
            ("MEDLEY_DEMO__CATALOGUE", "always"),
            ("MEDLEY_DATABASE__REFRESH_INTERVAL_MS", "200"),
            ("MEDLEY_DATABASE__ACQUIRE_TIMEOUT_MS", "10000"),
            ("MEDLEY_DATABASE__HISTORY_TIMEOUT_MS", "10000"),
            ("MEDLEY_TRAINING__TAKE_OVER_AFTER_MS", "500"),
            ("MEDLEY_SERVER__LEAVE_DELAY_MS", "60000"),
        ];
        let variables: Vec<_> = variables.into_iter().chain(SHORT).collect();
        let server = Server::start(&self.folder.path().join(models), &variables);
        server.ready(&self.client).await;
        server
    }

    async fn get(&self, server: &Server, path: &str) -> (u16, Value) {
        let answer = self.client.get(server.url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn post(&self, server: &Server, path: &str) -> (u16, Value) {
        let answer = self.client.post(server.url(path)).body("{}").send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The version that answers recommendations.
    async fn version(&self, server: &Server) -> String {
        let (status, answer) = self.post(server, "/api/recommend").await;
        assert_eq!(status, 200, "{answer}");
        answer["model"]["version"].as_str().unwrap_or_default().to_owned()
    }

    async fn serves(&self, server: &Server, version: &str) {
        let start = Instant::now();
        while self.version(server).await != version {
            assert!(start.elapsed() < PATIENCE, "{version} is never served");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ended(&self, server: &Server, job: &str) -> Value {
        let start = Instant::now();
        loop {
            let (status, job) = self.get(server, &format!("/api/jobs/{job}")).await;
            assert_eq!(status, 200, "{job}");
            if job["state"] != "running" {
                return job;
            }
            assert!(start.elapsed() < PATIENCE, "it never ends: {job}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn train(&self, models: &str) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_medley"))
            .args(["train", "--json", "--database-url", &self.url, "--data-dir"])
            .arg(self.folder.path().join(models))
            .env("MEDLEY_LOG__LEVEL", "warn")
            .envs(SHORT)
            .output()
            .unwrap()
    }
}

/// The killed one's job is gone on with, under its id, and both services serve what comes of it.
async fn a_killed_trainers_job_is_taken_over(place: &Place) {
    let mut first = place.service("shared").await;
    let second = place.service("shared").await;
    let before = place.version(&second).await;
    let (status, job) = place.post(&first, "/api/models/train").await;
    assert_eq!(status, 202, "{job}");
    let id = job["id"].as_str().unwrap();
    first.kill();
    assert_eq!(place.get(&second, &format!("/api/jobs/{id}")).await.1["state"], "running");
    let first = place.service("shared").await;
    let job = place.ended(&second, id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let version = job["result"]["version"].as_str().unwrap();
    assert_ne!(version, before);
    place.serves(&first, version).await;
    place.serves(&second, version).await;
    let (status, job) = place.post(&second, "/api/models/train").await;
    assert_eq!(status, 202, "and nothing holds the next training up: {job}");
}

/// Whoever holds the right, in whichever process: the command and the route are refused.
async fn the_command_and_the_services_take_turns(place: &Place) {
    let service = place.service("shared").await;
    let options = medley::store::Options {
        url: place.url.clone(),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(10),
        master_key: None,
    };
    let store = medley::store::open(&options).await.unwrap();
    let lock = store.begin_training().await.unwrap();
    let output = place.train("shared");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("a training is running"), "{said}");
    let (status, problem) = place.post(&service, "/api/models/train").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("conflict")), "{problem}");
    lock.release().await;
    let output = place.train("shared");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    place.serves(&service, manifest["version"].as_str().unwrap()).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// A folder that lags behind: what is not there, or half there, is waited for.
async fn files_that_come_late_are_waited_for(place: &Place) {
    let first = place.service("near").await;
    let old = place.version(&first).await;
    let folder = |models: &str, version: &str| place.folder.path().join(models).join("models").join(version);
    copy(&folder("near", &old), &folder("far", &old));
    let second = place.service("far").await;
    place.serves(&second, &old).await;

    let (_, job) = place.post(&first, "/api/models/train").await;
    let job = place.ended(&first, job["id"].as_str().unwrap()).await;
    let new = job["result"]["version"].as_str().unwrap().to_owned();
    place.serves(&first, &new).await;
    let stays = async |why: &str| {
        // Longer than the service takes to look.
        for _ in 0..30 {
            assert_eq!(place.version(&second).await, old, "{why}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    stays("its files are not there").await;
    let (near, far) = (folder("near", &new), folder("far", &new));
    let tensors = std::fs::read(near.join("model.safetensors")).unwrap();
    std::fs::create_dir(&far).unwrap();
    std::fs::write(far.join("model.safetensors"), &tensors[..tensors.len() / 2]).unwrap();
    std::fs::copy(near.join("manifest.json"), far.join("manifest.json")).unwrap();
    stays("they are half there").await;
    std::fs::write(far.join("model.safetensors"), &tensors).unwrap();
    place.serves(&second, &new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_trainers_job_is_taken_over_on_sqlite() {
    a_killed_trainers_job_is_taken_over(&Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_trainers_job_is_taken_over_on_postgres() {
    a_killed_trainers_job_is_taken_over(&Place::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_and_the_services_take_turns_on_sqlite() {
    the_command_and_the_services_take_turns(&Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_and_the_services_take_turns_on_postgres() {
    the_command_and_the_services_take_turns(&Place::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_come_late_are_waited_for_on_sqlite() {
    files_that_come_late_are_waited_for(&Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_come_late_are_waited_for_on_postgres() {
    files_that_come_late_are_waited_for(&Place::postgres().await).await;
}

/// On SIGTERM it answers on, and says that it is leaving; requests are answered meanwhile.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_says_so_and_answers_on() {
    let place = Place::sqlite();
    let service = place.service("shared").await;
    service.terminate();
    let start = Instant::now();
    while place.get(&service, "/readyz").await.0 != 503 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(place.post(&service, "/api/recommend").await.0, 200);
    assert_eq!(place.get(&service, "/livez").await.0, 200);
}
