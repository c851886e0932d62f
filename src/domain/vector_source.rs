//! Where a vector of a text comes from.

use serde::{Deserialize, Serialize};

/// Which model made a vector. What one says means nothing beside what another says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorSource {
    /// The provider, as the settings name it.
    pub provider: String,
    pub model: String,
    pub revision: String,
}
