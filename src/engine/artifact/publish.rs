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
        let tensors = self.tensors()?;
        let manifest =
            Manifest { checksum: hex(&Sha256::digest(&tensors)), bytes: tensors.len() as u64, ..self.manifest.clone() };
        let text = serde_json::to_vec_pretty(&manifest).map_err(io::Error::from)?;
        fs::create_dir_all(models_dir)?;
        let target = models_dir.join(&manifest.version);
        let draft = models_dir.join(format!(".{}-{}", manifest.version, std::process::id()));
        if draft.exists() {
            fs::remove_dir_all(&draft)?;
        }
        fs::create_dir(&draft)?;
        let publish = || {
            for (name, bytes) in [(TENSORS, &tensors), (MANIFEST, &text)] {
                let mut file = File::create_new(draft.join(name))?;
                file.write_all(bytes)?;
                file.sync_all()?;
            }
            File::open(&draft)?.sync_all()?;
            if target.exists() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is an artifact of that version"));
            }
            fs::rename(&draft, &target)?;
            File::open(models_dir)?.sync_all()
        };
        let published = publish();
        if published.is_err() {
            // The disk may be full: nothing of it stays in the way. After the renaming there is no draft any more.
            let _ = fs::remove_dir_all(&draft);
        }
        Ok(published.map(|()| manifest)?)
    }
}
