//! Writing an artifact: there whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{ArtifactError, MANIFEST, Manifest, Model, TENSORS, hex};

/// No model takes so long to write: a draft that is older was left behind.
const A_DAY: Duration = Duration::from_hours(24);

impl Model {
    /// Writes the artifact as folder `models_dir/version`, complete or not at all: into a temporary folder, synced, then renamed.
    /// Gives the manifest as written.
    ///
    /// # Errors
    /// [`ArtifactError::Io`]; also when that version exists.
    pub fn publish(&self, models_dir: &Path) -> Result<Manifest, ArtifactError> {
        fs::create_dir_all(models_dir)?;
        delete_abandoned(models_dir);
        let target = models_dir.join(&self.manifest.version);
        let draft = models_dir.join(format!(".{}-{}", self.manifest.version, std::process::id()));
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        fs::create_dir(&draft)?;
        let publish = || {
            self.write_tensors(&draft.join(TENSORS))?;
            // What lies in the file is summed, not a copy of it in memory, which may be as large as the model.
            let mut tensors = File::open(draft.join(TENSORS))?;
            let (checksum, bytes) = summed(&mut tensors)?;
            tensors.sync_all()?;
            let manifest = Manifest { checksum, bytes, ..self.manifest.clone() };
            let mut file = File::create_new(draft.join(MANIFEST))?;
            file.write_all(&serde_json::to_vec_pretty(&manifest).map_err(io::Error::from)?)?;
            file.sync_all()?;
            // The other file was made for its owner alone; replicas may run as others.
            fs::set_permissions(draft.join(TENSORS), file.metadata()?.permissions())?;
            File::open(&draft)?.sync_all()?;
            if target.exists() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is an artifact of that version").into());
            }
            fs::rename(&draft, &target)?;
            File::open(models_dir)?.sync_all()?;
            Ok(manifest)
        };
        let published = publish();
        if published.is_err() {
            // The disk may be full: nothing of it stays in the way. After the renaming there is no draft any more.
            let _ = fs::remove_dir_all(&draft);
        }
        published
    }
}

/// SHA-256 and length of what is still to be read.
pub(super) fn summed(reader: &mut impl io::Read) -> io::Result<(String, u64)> {
    let (mut sum, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok((hex(&sum.finalize()), bytes)),
            read => {
                sum.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// Deletes the drafts of processes that were killed, each as large as a model. Younger ones stay: another process may be writing them.
fn delete_abandoned(models_dir: &Path) {
    for entry in fs::read_dir(models_dir).into_iter().flatten().flatten() {
        let is_old = |file: fs::Metadata| {
            file.is_dir() && file.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > A_DAY))
        };
        if entry.file_name().to_str().is_some_and(is_draft) && entry.metadata().is_ok_and(is_old) {
            let deleted = fs::remove_dir_all(entry.path());
            tracing::debug!(draft = %entry.path().display(), ?deleted, "the draft of a model was left behind");
        }
    }
}

/// Whether a folder has the name of a draft: a version, such as 20260501T120000Z-0123abcd, between a point and the number of the process.
fn is_draft(name: &str) -> bool {
    let Some(parts) = name.strip_prefix('.').map(|name| name.split('-').collect::<Vec<_>>()) else { return false };
    let [time, suffix, process] = parts[..] else { return false };
    jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).is_ok()
        && suffix.len() == 8
        && suffix.bytes().all(|byte| byte.is_ascii_hexdigit())
        && process.parse::<u32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_that_were_left_behind_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - A_DAY - Duration::from_secs(60);
        let make = |name: &str, is_old: bool| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join(TENSORS), "1").unwrap();
            if is_old {
                File::open(path).unwrap().set_modified(old).unwrap();
            }
        };
        let kept =
            ["20260501T120000Z-0123abcd", ".20260501T120000Z-0123abcd", ".20260501T120000Z-x-7", ".git", ".a-b-7"];
        kept.iter().for_each(|name| make(name, true));
        make(".20260501T120000Z-0123abcd-4711", true);
        make(".20260501T120000Z-0123abcd-4712", false);
        delete_abandoned(folder.path());
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<String> = left.collect();
        let mut expected = [&kept[..], &[".20260501T120000Z-0123abcd-4712"]].concat();
        left.sort_unstable();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
}
