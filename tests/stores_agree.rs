//! Real data imported, trained on and asked for on both stores: the counts and the answers are equal.

mod support {
    #![allow(dead_code, reason = "each test crate uses its part of the harness")]
    pub mod data;
    pub mod postgres;
    pub mod server;
}

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::server::Server;

/// A deployment: its data folder and its variables.
struct Deployment {
    data: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Deployment {
    fn new(database: Option<String>) -> Self {
        // Smaller models than by default and a blend of fewer halves, for the time they take; the same on both sides.
        let mut variables = vec![
            ("MEDLEY_DEMO__CATALOGUE", "never".to_owned()),
            ("MEDLEY_ENGINE__EASE_MAX_ITEMS", "1500".to_owned()),
            ("MEDLEY_ENGINE__IALS__DIMENSIONS", "16".to_owned()),
            ("MEDLEY_TRAINING__VALIDATION_MAX_USERS", "200".to_owned()),
            ("MEDLEY_TRAINING__VALIDATION_ROUNDS", "1".to_owned()),
            ("MEDLEY_TRAINING__BLEND_SAMPLES", "2".to_owned()),
        ];
        variables.extend(database.map(|url| ("MEDLEY_DATABASE_URL", url)));
        Self { data: tempfile::tempdir().unwrap(), variables }
    }

    /// Runs a command with `--json` and gives what it printed.
    fn run(&self, arguments: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_medley"))
            .args(arguments)
            .arg("--json")
            .arg("--data-dir")
            .arg(self.data.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)))
    }

    fn import(&self, data: &Path) -> Vec<Value> {
        let files = [
            ("items", "movielens", "ml-latest-small/movies.csv"),
            ("events", "movielens", "ml-latest-small/ratings.csv"),
            ("items", "lastfm", "lastfm-hetrec/artists.dat"),
            ("events", "lastfm", "lastfm-hetrec/user_artists.dat"),
            ("items", "steam", "steam/steam-200k.csv"),
            ("events", "steam", "steam/steam-200k.csv"),
        ];
        files
            .iter()
            .map(|(what, format, file)| {
                self.run(&["import", what, data.join(file).to_str().unwrap(), "--format", format])
            })
            .collect()
    }

    async fn answers(&self) -> Vec<Value> {
        let client = support::server::client(Duration::from_secs(20));
        let variables: Vec<(&str, &str)> = self.variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let server = Server::start(self.data.path(), &variables);
        server.ready(&client).await;
        let mut answers = Vec::new();
        for user in
            ["movielens:1", "movielens:15", "movielens:547", "lastfm:2", "lastfm:100", "steam:151603712", "nobody"]
        {
            let ask = json!({"user_id": user, "limit": 50, "explain": true}).to_string();
            let answer = client.post(server.url("/api/recommend")).body(ask).send().await.unwrap();
            let mut answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
            assert_eq!(answer["degraded"], json!([]));
            for list in ["music", "movie", "game"] {
                assert_eq!(answer[list].as_array().unwrap().len(), 50, "{user} {list}");
            }
            // What names the single answer or training rather than its content.
            for field in ["recommendation_id", "timing_ms", "model"] {
                answer.as_object_mut().unwrap().remove(field);
            }
            answers.push(answer);
        }
        answers
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_stores_give_equal_counts_and_answers() {
    let Some(data) = support::data::folder() else { return };
    let database = support::postgres::database().await;
    let postgres = Deployment::new(Some(database.url.clone()));
    let sqlite = Deployment::new(None);
    let mut all = Vec::new();
    for deployment in [&sqlite, &postgres] {
        let first = deployment.import(&data);
        let again = deployment.import(&data);
        for (first, again) in first.iter().zip(&again) {
            assert!(first["stored"].as_u64().unwrap() > 0, "{first}");
            assert_eq!(again["stored"], 0, "a second import changes no count: {again}");
        }
        deployment.run(&["train"]);
        all.push((first, deployment.answers().await));
    }
    let (postgres, sqlite) = (all.pop().unwrap(), all.pop().unwrap());
    let counts = |imports: &[Value]| -> Vec<u64> { imports.iter().map(|i| i["stored"].as_u64().unwrap()).collect() };
    assert_eq!(counts(&sqlite.0), counts(&postgres.0));
    for (sqlite, postgres) in sqlite.1.iter().zip(&postgres.1) {
        assert_eq!(sqlite, postgres);
    }
    let distinct: std::collections::BTreeSet<String> =
        sqlite.1.iter().map(|answer| answer["movie"].to_string()).collect();
    assert!(distinct.len() >= 4, "people of different taste get different lists");
}
