//! Writing an artifact: there whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{ArtifactError, MANIFEST, Manifest, Model, TENSORS, hex};

impl Model {
    /// Writes the artifact as folder `models_dir/version`, complete or not at all: into a temporary folder, synced, then renamed.
    /// Gives the manifest as written.
    ///
    /// # Errors
    /// [`ArtifactError::Io`]; also when that version exists.
    pub fn publish(&self, models_dir: &Path) -> Result<Manifest, ArtifactError> {
        fs::create_dir_all(models_dir)?;
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
