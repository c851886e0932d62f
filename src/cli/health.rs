//! `medley health`: asks a running service whether it lives. For containers, which hold no other program.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
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
pub fn run(context: &Context, arguments: &HealthArgs) -> Result<()> {
    let host = match &arguments.url {
        Some(url) => {
            let host = url.strip_prefix("http://").context("the URL must start with http://")?;
            let host = host.split('/').next().unwrap_or(host);
            if host.contains(':') { host.to_owned() } else { format!("{host}:80") }
        }
        None => reachable(context.config.server.address).to_string(),
    };
    let status = ask(&host).with_context(|| format!("http://{host}/livez does not answer"))?;
    if !status.contains(" 200 ") {
        bail!("http://{host}/livez answers `{status}`");
    }
    super::print(&format!("http://{host} lives"))
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

fn ask(host: &str) -> Result<String> {
    let address = host.to_socket_addrs()?.next().context("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut start = [0_u8; 64];
    let mut read = 0;
    while read < start.len() {
        let more = stream.read(&mut start[read..])?;
        read += more;
        if more == 0 || start[..read].contains(&b'\n') {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&start[..read]).lines().next().unwrap_or_default().to_owned())
}
