//! TLS from a certificate and a key in files, which are taken over when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use sha2::{Digest, Sha256};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// A certificate that can be used, and where it came from.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    pub(super) config: RustlsConfig,
    /// Of the files as they were read.
    digest: [u8; 32],
}

impl Tls {
    /// Reads a certificate with its chain, and its key, both PEM.
    ///
    /// # Errors
    /// A file that cannot be read, or two that make no certificate.
    pub async fn load(certificate: &Path, key: &Path) -> io::Result<Self> {
        // Of the two that rustls knows, one serves the whole process; a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (chain, secret) = read(certificate, key).await?;
        let digest = digest(&chain, &secret);
        let config = RustlsConfig::from_config(usable(chain, secret).await?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), config, digest })
    }

    /// Takes over what the files hold whenever that changes. What cannot be used is told of once, and the certificate in force stays: the two files
    /// are seldom replaced at the same moment.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let outcome = match read(&self.certificate, &self.key).await {
                Ok((chain, secret)) => {
                    let digest = digest(&chain, &secret);
                    if digest == self.digest {
                        continue;
                    }
                    self.digest = digest;
                    usable(chain, secret).await.map(|config| self.config.reload_from_config(config))
                }
                // Between two versions of a file there may be none.
                Err(error) => {
                    tracing::debug!(%error, "the files of the certificate cannot be read");
                    continue;
                }
            };
            match outcome {
                Ok(()) => tracing::info!("a new certificate is in force"),
                Err(error) => {
                    tracing::warn!(%error, "the new certificate cannot be used; the one before stays in force")
                }
            }
        }
    }
}

/// What a certificate and its key make. To clients that would rather speak HTTP/2 (ALPN, RFC 7301) it offers what the service speaks.
async fn usable(chain: Vec<u8>, secret: Vec<u8>) -> io::Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::clone(&*RustlsConfig::from_pem(chain, secret).await?.get_inner());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn read(certificate: &Path, key: &Path) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let named = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let chain = tokio::fs::read(certificate).await.map_err(|error| named(certificate, error))?;
    let secret = tokio::fs::read(key).await.map_err(|error| named(key, error))?;
    Ok((chain, secret))
}

fn digest(chain: &[u8], secret: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(chain.len().to_le_bytes());
    digest.update(chain);
    digest.update(secret);
    digest.finalize().into()
}
