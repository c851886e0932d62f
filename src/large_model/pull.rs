//! Fetches models that run in the process: only when told to, and only what a manifest pins by its SHA-256. A model is there whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The models that are known without a manifest of one's own.
pub const KNOWN: &str = include_str!("models.toml");
/// How long nothing may arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// By name.
pub type Manifest = BTreeMap<String, Model>;

/// What makes up a model.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub about: String,
    pub licence: String,
    pub downloads: Vec<Download>,
}

/// One file to fetch.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    pub url: String,
    /// In hexadecimal.
    pub sha256: String,
    pub bytes: u64,
    /// Of a .tar.gz: the folder in it, and which of its files are wanted. Without them the download is itself the file.
    #[serde(default)]
    pub folder: String,
    #[serde(default)]
    pub files: Vec<String>,
}

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("{url}: {reason}")]
    Fetch { url: String, reason: String },
    #[error("{url}: the SHA-256 is {found}, but {expected} is pinned; nothing was kept")]
    Checksum { url: String, expected: String, found: String },
    #[error("{path}: {reason}")]
    Archive { path: String, reason: String },
    #[error("{path}: {source}")]
    Disk { path: PathBuf, source: io::Error },
}

impl Model {
    /// How many bytes there are to fetch.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.downloads.iter().map(|download| download.bytes).sum()
    }
}

/// Fetches `model` into `folder`, which must not be there yet. `progress` is told of the bytes that have arrived.
///
/// # Errors
/// [`PullError`]; then `folder` is not there, and nothing else is left behind.
pub async fn pull(model: &Model, folder: &Path, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<(), PullError> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(disk(parent))?;
    let work = tempfile_beside(folder);
    fs::create_dir_all(&work).map_err(disk(&work))?;
    let outcome =
        fetch_all(model, &work, progress).await.and_then(|()| fs::rename(&work, folder).map_err(disk(folder)));
    if outcome.is_err() {
        let _ = fs::remove_dir_all(&work);
    }
    outcome
}

/// A folder of this process beside the one that is to be.
fn tempfile_beside(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{}", std::process::id()))
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> PullError {
    let path = path.to_owned();
    move |source| PullError::Disk { path, source }
}

async fn fetch_all(model: &Model, work: &Path, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<(), PullError> {
    for download in &model.downloads {
        let own_name = download.url.rsplit('/').next().unwrap_or_default();
        let is_archive = !download.files.is_empty();
        let path = work.join(if is_archive { "archive" } else { own_name });
        fetch(download, &path, progress).await?;
        if is_archive {
            unpack(download, &path, work)?;
            fs::remove_file(&path).map_err(disk(&path))?;
        }
    }
    Ok(())
}

/// Writes what arrives to `path`, and holds it against the manifest.
async fn fetch(download: &Download, path: &Path, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<(), PullError> {
    let failed = |reason: String| PullError::Fetch { url: download.url.clone(), reason };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().connect_timeout(PATIENCE).read_timeout(PATIENCE).build();
    let client = client.map_err(|error| failed(error.to_string()))?;
    let response = client.get(&download.url).send().await.map_err(|error| failed(error.to_string()))?;
    let mut response = response.error_for_status().map_err(|error| failed(error.without_url().to_string()))?;
    let mut file = File::create(path).map_err(disk(path))?;
    let (mut hash, mut arrived) = (Sha256::new(), 0);
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(error.without_url().to_string()))? {
        arrived += chunk.len() as u64;
        if arrived > download.bytes {
            return Err(failed(format!("more than the {} bytes of the manifest", download.bytes)));
        }
        hash.update(&chunk);
        file.write_all(&chunk).map_err(disk(path))?;
        progress(chunk.len() as u64);
    }
    file.sync_all().map_err(disk(path))?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if !found.eq_ignore_ascii_case(&download.sha256) {
        let (url, expected) = (download.url.clone(), download.sha256.clone());
        return Err(PullError::Checksum { url, expected, found });
    }
    Ok(())
}

/// Takes the wanted files out of an archive, by their names in the manifest and no others.
fn unpack(download: &Download, archive: &Path, work: &Path) -> Result<(), PullError> {
    let broken = |reason: String| PullError::Archive { path: download.url.clone(), reason };
    let file = File::open(archive).map_err(disk(archive))?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(io::BufReader::new(file)));
    let mut missing: Vec<&str> = download.files.iter().map(String::as_str).collect();
    for entry in tar.entries().map_err(|error| broken(error.to_string()))? {
        let mut entry = entry.map_err(|error| broken(error.to_string()))?;
        let inner = entry.path().map_err(|error| broken(error.to_string()))?.into_owned();
        let Some(place) = missing.iter().position(|name| inner == Path::new(&download.folder).join(name)) else {
            continue;
        };
        let Some(name) = Path::new(missing.swap_remove(place)).file_name() else { continue };
        let path = work.join(name);
        let mut out = File::create(&path).map_err(disk(&path))?;
        io::copy(&mut entry, &mut out).map_err(disk(&path))?;
        out.sync_all().map_err(disk(&path))?;
    }
    if missing.is_empty() { Ok(()) } else { Err(broken(format!("without {}", missing.join(", ")))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_models_are_pinned() {
        let known: Manifest = toml::from_str(KNOWN).unwrap();
        assert!(!known.is_empty());
        for (name, model) in known {
            for download in model.downloads {
                assert!(
                    download.sha256.len() == 64 && download.sha256.bytes().all(|b| b.is_ascii_hexdigit()),
                    "{name}"
                );
                assert!(download.url.starts_with("https://") && download.bytes > 0, "{name}");
            }
        }
    }
}
