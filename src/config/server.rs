//! The section `server`: where it listens, and what it has room and time for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub address: SocketAddr,
    pub data_dir: PathBuf,
    pub max_body_bytes: usize,
    pub max_bodies_mib: usize,
    pub max_connections: usize,
    pub max_concurrency: usize,
    pub max_rankings: usize,
    request_timeout_ms: u64,
    header_timeout_ms: u64,
    body_timeout_ms: u64,
    drain_timeout_ms: u64,
    leave_delay_ms: u64,
    tls_certificate: PathBuf,
    tls_key: PathBuf,
    pub behind_proxy: bool,
}

impl Server {
    /// The files of the certificate and of its key, where HTTPS is wanted.
    #[must_use]
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        (!self.tls_certificate.as_os_str().is_empty()).then_some((&self.tls_certificate, &self.tls_key))
    }

    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
    #[must_use]
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }
    /// Less than a request as a whole may take: a client that is slow to send gets a 408, not a 503.
    #[must_use]
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms).min(self.request_timeout() * 3 / 4)
    }
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
    #[must_use]
    pub fn leave_delay(&self) -> Duration {
        Duration::from_millis(self.leave_delay_ms)
    }

    /// What must hold of the settings, and what is said where it does not.
    pub(super) fn rules(&self) -> impl Iterator<Item = (bool, &'static str)> {
        [
            (
                self.tls_certificate.as_os_str().is_empty() == self.tls_key.as_os_str().is_empty(),
                "server: tls_certificate and tls_key go together",
            ),
            (self.max_concurrency > 0, "server.max_concurrency: at least 1"),
            (self.max_connections > 0, "server.max_connections: at least 1"),
            (
                (self.max_body_bytes.div_ceil(1 << 20)..=1 << 20).contains(&self.max_bodies_mib),
                "server.max_bodies_mib: at least one body of max_body_bytes, and at most 1048576",
            ),
            (self.max_rankings <= 1 << 20, "server.max_rankings: at most 1048576"),
        ]
        .into_iter()
    }
}
