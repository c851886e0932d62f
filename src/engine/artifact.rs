//! A trained model on disk: `manifest.json` and `model.safetensors` in a folder named by the version.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::catalogue::Catalogue;

/// Why an artifact cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("cannot read or write the artifact: {0}")]
    Io(#[from] std::io::Error),
    #[error("the artifact is broken: {0}")]
    Broken(String),
}

/// What a trained model says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub version: String,
    pub trained_at: Timestamp,
    /// SHA-256 over the behaviour and items it was trained on.
    pub data_fingerprint: String,
    pub seed: u64,
    /// Hyper-parameters, as used.
    pub parameters: serde_json::Value,
    /// By model name (`hybrid`, `ease`, `content`, `popularity`): metric name to value, on people held out.
    pub metrics: std::collections::BTreeMap<String, std::collections::BTreeMap<String, f64>>,
    pub users: u64,
    pub items: u64,
    pub interactions: u64,
    /// SHA-256 and size of `model.safetensors`.
    pub checksum: String,
    pub bytes: u64,
}

/// A trained model: scorers and the weights that blend them.
#[derive(Debug)]
pub struct Model {
    pub manifest: Manifest,
}

impl Model {
    /// Writes the artifact as folder `models_dir/version`, complete or not at all: into a temporary folder, synced, then renamed.
    ///
    /// # Errors
    /// [`ArtifactError::Io`].
    pub fn publish(&self, _models_dir: &Path) -> Result<(), ArtifactError> {
        todo!()
    }
    /// Opens an artifact and checks all of it: format, checksum, shapes, finite numbers.
    ///
    /// # Errors
    /// [`ArtifactError::Broken`] says what is wrong.
    pub fn open(_dir: &Path) -> Result<Self, ArtifactError> {
        todo!()
    }
    /// Ties the model's items to the places they have in `catalogue`; reserves places for those it lacks.
    #[must_use]
    pub fn bind(self, _catalogue: &mut Catalogue) -> BoundModel {
        todo!()
    }
}

/// A model that can rank the items of the one catalogue it was bound to.
#[derive(Debug)]
pub struct BoundModel {
    pub model: Model,
}
