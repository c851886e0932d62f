//! `medley serve`: the store, the demo on an empty one, the service, and the address where it listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;

use super::health::reachable;
use super::{Context, demo};
use crate::config::Config;
use crate::http;
use crate::serving::Service;
use crate::serving::keys::kept_keys;
use crate::store::{Store, StoreError};

/// How long a start waits for a database that does not answer, before it goes on without.
const PATIENCE: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(500);

/// Serve recommendations over HTTP: on SQLite and a demo catalogue when nothing is configured.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Where to listen; port 0 takes a free one. Without any API key: loopback only.
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<SocketAddr>,
    /// Do not load the demo catalogue into an empty store.
    #[arg(long)]
    no_demo: bool,
}

/// Serves until it is told to stop, then finishes what is under way.
pub async fn run(context: &Context, arguments: &ServeArgs) -> Result<()> {
    let config = Arc::clone(&context.config);
    let store = context.connect(config.database.acquire_timeout()).await?;
    let with_demo = !arguments.no_demo && demo::wanted(&config);
    let prepared = prepare(&config, &store, with_demo, Some(PATIENCE)).await?;
    if !prepared {
        tracing::warn!("the database does not answer; starting without, and trying on");
        tokio::spawn(prepare_later(Arc::clone(&config), Arc::clone(&store), with_demo));
    }
    let tls = match config.server.tls_files() {
        Some((certificate, key)) => {
            Some(http::Tls::load(certificate, key).await.context("the certificate cannot be used")?)
        }
        None => None,
    };
    let wanted = config.server.address;
    let address = if has_key(&config, store.as_ref()).await? { wanted } else { loopback(wanted) };
    let service = Service::start(Arc::clone(&config), Arc::clone(&store)).await?;
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let router = http::router(Arc::clone(&service), !address.ip().is_loopback()).await;
    announce(listener.local_addr()?, wanted, store.kind(), &config)?;
    let delay = config.server.leave_delay();
    let leaving = async move {
        http::stop_signal().await;
        // A load balancer learns of it by /readyz, and sends the next requests to others.
        service.leave();
        tokio::time::sleep(delay).await;
    };
    http::serve(listener, router, tls, &config.server, leaving).await?;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Brings the schema up to date, makes sure that behaviour can be read, and loads the demo; false when the database has not answered in time.
async fn prepare(config: &Config, store: &Arc<dyn Store>, with_demo: bool, patience: Option<Duration>) -> Result<bool> {
    let start = Instant::now();
    loop {
        let ready = async {
            store.migrate().await?;
            let is_encrypted = store.unlock().await?;
            tracing::info!(is_encrypted, "the database is up to date");
            if with_demo {
                demo::load(config, store).await?;
            }
            Ok(())
        };
        match ready.await {
            Ok(()) => return Ok(true),
            Err(StoreError::Unavailable(reason)) if store.kind() != "sqlite" => {
                if patience.is_some_and(|patience| start.elapsed() > patience) {
                    return Ok(false);
                }
                tracing::debug!(%reason, "waiting for the database");
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn prepare_later(config: Arc<Config>, store: Arc<dyn Store>, with_demo: bool) {
    if let Err(error) = prepare(&config, &store, with_demo, None).await {
        tracing::error!(error = format!("{error:#}"), "the database cannot be used");
    }
}

/// Whether callers need a key. To listen on a public address without knowing could open the house to everybody, once the
/// database answers that there is none: then this waits for it.
async fn has_key(config: &Config, store: &dyn Store) -> Result<bool> {
    if config.auth.admin_key().is_some() {
        return Ok(true);
    }
    let mut told = false;
    loop {
        match store.keys().await {
            Ok(keys) => return Ok(!keys.is_empty()),
            // Without the database: those that were there when it was last read.
            Err(_) if kept_keys(&config.kept_keys()).is_ok_and(|keys| !keys.is_empty()) => return Ok(true),
            Err(error) if config.server.address.ip().is_loopback() => {
                tracing::debug!(%error, "the keys cannot be read");
                return Ok(false);
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(%error, "listening only once the database has said whether there are API keys");
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The same port on loopback.
fn loopback(mut address: SocketAddr) -> SocketAddr {
    if !address.ip().is_loopback() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// Says on stdout where it listens and how to try it.
fn announce(address: SocketAddr, wanted: SocketAddr, store: &str, config: &Config) -> Result<()> {
    let is_tls = config.server.tls_files().is_some();
    let url = format!("{}://{}", if is_tls { "https" } else { "http" }, reachable(address));
    let mut lines = vec![format!("Medley listens on {url} ({store})")];
    if address.ip() != wanted.ip() {
        let warning = format!(
            "WARNING: {wanted} was asked for, but there is no API key, so it listens on loopback only. Make one: medley keys create"
        );
        tracing::warn!(%wanted, %address, "there is no API key: listening on loopback only");
        lines.push(warning);
    }
    if !is_tls && !address.ip().is_loopback() && !config.server.behind_proxy {
        let warning = "WARNING: plain HTTP beyond this machine: keys and behaviour can be read on the way. Set server.tls_certificate and \
                       server.tls_key, or server.behind_proxy when a proxy has the TLS.";
        tracing::warn!(%address, "plain HTTP beyond this machine, and no proxy is declared");
        lines.push(warning.to_owned());
    }
    let domains = config.domains.iter().map(|domain| domain.as_str());
    let tastes = [("music", "rock"), ("movie", "horror"), ("game", "strategy")];
    let body = tastes.iter().filter(|(domain, _)| domains.clone().any(|known| known == *domain));
    let body: Vec<String> = body.map(|(domain, taste)| format!("\"{domain}\": [\"{taste}\"]")).collect();
    let key =
        if config.auth.admin_key().is_some() { " -H \"Authorization: Bearer $MEDLEY_AUTH__ADMIN_KEY\"" } else { "" };
    lines.push(format!("Try:  curl -s {url}/api/recommend{key} -d '{{{}}}'", body.join(", ")));
    lines.push(format!("Read: {url}/docs"));
    super::print(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_key_only_loopback_is_left() {
        for (wanted, left) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("192.168.1.5:0", "127.0.0.1:0"),
            ("[::]:80", "[::1]:80"),
            ("127.0.0.2:80", "127.0.0.2:80"),
        ] {
            assert_eq!(loopback(wanted.parse().unwrap()), left.parse().unwrap());
        }
    }
}
