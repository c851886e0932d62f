//! `medley health`: asks a running service whether it lives. For containers, which hold no other program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::Context;

const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a running service whether it lives; the exit code is the answer.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// Where it listens; by default the address of the settings.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Fails when `/livez` does not answer 200.
pub async fn run(context: &Context, arguments: &HealthArgs) -> Result<()> {
    let server = &context.config.server;
    let is_tls = server.tls_files().is_some();
    let own = || format!("{}://{}", if is_tls { "https" } else { "http" }, reachable(server.address));
    let url = arguments.url.clone().unwrap_or_else(own);
    let url = format!("{}/livez", url.trim_end_matches('/'));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        // The own service is asked by its address, which no certificate names. Nothing secret is sent.
        .tls_danger_accept_invalid_certs(arguments.url.is_none())
        .build()?;
    let answer = client.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
    if !answer.status().is_success() {
        bail!("{url} answers `{}`", answer.status());
    }
    super::print(&format!("{url} lives"))
}

/// The address by which this machine reaches a service that listens on `address`.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}
