//! HTTPS by the real process: answers, a certificate that is replaced under way, plain HTTP that gets nowhere.

mod support {
    #![allow(dead_code, reason = "each test crate uses its part of the harness")]
    pub mod server;
}

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use support::server::Server;

/// Writes a certificate of its own authority for 127.0.0.1, and its key; gives the authority's word for it.
fn certificate(folder: &Path) -> reqwest::Certificate {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

fn client(trusted: reqwest::Certificate) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().tls_certs_only([trusted]).no_proxy();
    // Each request makes a connection of its own, and so sees the certificate in force.
    builder.timeout(Duration::from_secs(10)).pool_max_idle_per_host(0).build().unwrap()
}

/// Asks until `wanted` is what comes of it.
async fn until(client: &reqwest::Client, url: &str, wanted: bool) {
    let start = Instant::now();
    while client.get(url).send().await.is_ok() != wanted {
        assert!(start.elapsed() < Duration::from_secs(10), "{url}: still not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_with_a_certificate_that_changes() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| files.path().join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let first = client(certificate(files.path()));
    let variables = [("MEDLEY_SERVER__TLS_CERTIFICATE", cert.as_str()), ("MEDLEY_SERVER__TLS_KEY", key.as_str())];
    let server = Server::start(data.path(), &variables);
    assert!(server.address.starts_with("https://"), "{}", server.address);
    server.ready(&first).await;
    let answer =
        first.post(server.url("/api/recommend")).body(json!({"music": ["rock"]}).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["music"].as_array().unwrap().len(), 10);

    let plain = server.url("/livez").replace("https://", "http://");
    assert!(first.get(&plain).send().await.is_err(), "plain HTTP is answered on the port of HTTPS");
    let stranger = support::server::client(Duration::from_secs(5));
    assert!(stranger.get(server.url("/livez")).send().await.is_err(), "the client does not check the certificate");

    let health = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
        command.envs(variables).env("MEDLEY_SERVER__ADDRESS", server.address.trim_start_matches("https://"));
        command.arg("health").args(more).output().unwrap()
    };
    assert!(health(&[]).status.success(), "{:?}", health(&[]));
    assert!(!health(&["--url", &server.address]).status.success(), "a name that was given is checked");

    let second = client(certificate(files.path()));
    until(&second, &server.url("/livez"), true).await;
    until(&first, &server.url("/livez"), false).await;

    std::fs::write(files.path().join("cert.pem"), "no certificate").unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    until(&second, &server.url("/livez"), true).await;
    let third = client(certificate(files.path()));
    until(&third, &server.url("/livez"), true).await;
}

/// The protocol that a client gets who would rather speak HTTP/2, as curl and browsers would, and what it is answered.
fn negotiated(folder: &Path, address: &str) -> (Option<Vec<u8>>, String) {
    let mut trusted = rustls::RootCertStore::empty();
    let pem = std::fs::read(folder.join("cert.pem")).unwrap();
    trusted.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = "127.0.0.1".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (connection.alpn_protocol().map(<[u8]>::to_vec), String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_rather_speak_http2_is_answered_in_what_is_spoken_here() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| files.path().join(name).display().to_string();
    let mut trusted = client(certificate(files.path()));
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let variables = [("MEDLEY_SERVER__TLS_CERTIFICATE", cert.as_str()), ("MEDLEY_SERVER__TLS_KEY", key.as_str())];
    let server = Server::start(data.path(), &variables);
    for when in ["from the start", "with another certificate"] {
        until(&trusted, &server.url("/livez"), true).await;
        let (protocol, answer) = negotiated(files.path(), server.address.trim_start_matches("https://"));
        assert_eq!(protocol.as_deref(), Some(&b"http/1.1"[..]), "{when}");
        assert!(answer.starts_with("HTTP/1.1 200"), "{when}: {answer}");
        trusted = client(certificate(files.path()));
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_of_before_anything_listens() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cert = files.path().join("cert.pem");
    let run = |more: &[(&str, &Path)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
        command.args(["serve", "--no-demo", "--address", "127.0.0.1:0", "--data-dir"]).arg(data.path());
        command.envs(more.iter().copied()).output().unwrap()
    };
    let both = [("MEDLEY_SERVER__TLS_CERTIFICATE", cert.as_path()), ("MEDLEY_SERVER__TLS_KEY", cert.as_path())];
    for (variables, said) in [(&both[..], "cert.pem"), (&both[..1], "go together")] {
        let outcome = run(variables);
        let error = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert!(!outcome.status.success() && error.contains(said), "{error}");
        assert!(outcome.stdout.is_empty());
    }
}
