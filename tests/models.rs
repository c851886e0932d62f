//! `medley models`: a model is fetched on command only, from a server on loopback here, and only what its manifest pins is kept.

use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

fn medley(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_medley")).arg("--data-dir").arg(data).args(arguments).output().unwrap()
}

/// An archive as Python packages are, with a model in a folder of it.
fn package() -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in [
        ("pkg/setup.py", "print('never run')"),
        ("pkg/model/config.json", "{\"model_type\": \"bert\"}"),
        ("pkg/model/model.safetensors", "weights"),
        ("model/model.safetensors", "others"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_fetched_whole_or_not_at_all() {
    let (server, data) = (MockServer::start().await, tempfile::tempdir().unwrap());
    let (package, vocabulary) = (package(), b"words".to_vec());
    for (name, bytes) in [("/pkg.tar.gz", &package), ("/vocab.txt", &vocabulary)] {
        let answer = ResponseTemplate::new(200).set_body_bytes(bytes.clone());
        Mock::given(path(name)).respond_with(answer).mount(&server).await;
    }
    let manifest = |name: &str, package_sha: &str, package_bytes: usize, file: &str| {
        let url = server.uri();
        format!(
            "[{name}]\nabout = 'a test'\nlicence = 'none'\n\
             [[{name}.downloads]]\nurl = '{url}/vocab.txt'\nsha256 = '{}'\nbytes = {}\n\
             [[{name}.downloads]]\nurl = '{url}/pkg.tar.gz'\nsha256 = '{package_sha}'\nbytes = {package_bytes}\n\
             folder = 'pkg/model'\nfiles = ['config.json', '{file}']\n",
            sha256(&vocabulary),
            vocabulary.len(),
        )
    };
    let file = data.path().join("manifest.toml");
    let pull = |name: &str, text: &str| {
        std::fs::write(&file, text).unwrap();
        medley(data.path(), &["models", "pull", name, "--manifest", file.to_str().unwrap()])
    };
    let encoders = data.path().join("encoders");
    let (right, length) = (sha256(&package), package.len());
    for (name, text, complaint) in [
        ("wrong", manifest("wrong", &sha256(b"other"), length, "model.safetensors"), "SHA-256"),
        ("longer", manifest("longer", &right, length - 1, "model.safetensors"), "more than"),
        ("missing", manifest("missing", &right, length, "tokenizer.json"), "tokenizer.json"),
        (
            "unknown",
            manifest("known", &right, length, "model.safetensors"),
            "there is no model `unknown`; one of known",
        ),
        ("gone", manifest("gone", &right, length, "model.safetensors").replace("pkg.tar.gz", "gone.tar.gz"), "404"),
    ] {
        let output = pull(name, &text);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(complaint), "{name}: {error}");
        let left = std::fs::read_dir(&encoders).map(Iterator::count).unwrap_or_default();
        assert_eq!(left, 0, "{name} leaves nothing behind");
    }
    let text = manifest("good", &right, length, "model.safetensors");
    let output = pull("good", &text);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("kind = \"embedded\""));
    let read = |name: &str| std::fs::read_to_string(encoders.join("good").join(name)).unwrap();
    assert_eq!([read("vocab.txt"), read("model.safetensors")], ["words", "weights"]);
    let mut files: Vec<_> =
        std::fs::read_dir(encoders.join("good")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["config.json", "model.safetensors", "vocab.txt"]);
    let asked = server.received_requests().await.unwrap().len();
    assert!(pull("good", &text).status.success(), "it is there already");
    assert_eq!(server.received_requests().await.unwrap().len(), asked);
}

#[test]
fn the_known_models_are_listed() {
    let data = tempfile::tempdir().unwrap();
    let output = medley(data.path(), &["models", "list"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("all-minilm-l6-v2"), "{output:?}");
    assert!(!data.path().join("encoders").exists(), "listing fetches nothing");
    let output = medley(data.path(), &["--json", "models", "list"]);
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["all-minilm-l6-v2"]["licence"], "Apache-2.0");
}
