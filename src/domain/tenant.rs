//! A tenant: whose catalogue, people and models these are.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

/// The longest name of a tenant, in characters.
const MAX_CHARS: usize = 64;
const DEFAULT: &str = "default";

/// The name of a tenant. It names a folder as well, so it has small letters, digits, `-` and `_` only, and begins with a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(Arc<str>);

/// The text names no tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a tenant has 1 to {MAX_CHARS} small letters, digits, `-` and `_`, and begins with a letter or a digit"
)]
pub struct TenantError;

impl Tenant {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the tenant that is meant where none is named.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.as_str() == DEFAULT
    }
}

impl Default for Tenant {
    /// The only one, unless a deployment has several.
    fn default() -> Self {
        // Every request without a key asks for it.
        static TENANT: LazyLock<Tenant> = LazyLock::new(|| Tenant(DEFAULT.into()));
        TENANT.clone()
    }
}

impl FromStr for Tenant {
    type Err = TenantError;
    fn from_str(text: &str) -> Result<Self, TenantError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let begins_plain = text.bytes().next().is_some_and(is_plain);
        let is_name = text.len() <= MAX_CHARS && text.bytes().all(|byte| is_plain(byte) || matches!(byte, b'-' | b'_'));
        if begins_plain && is_name { Ok(Self(text.into())) } else { Err(TenantError) }
    }
}

impl TryFrom<String> for Tenant {
    type Error = TenantError;
    fn try_from(text: String) -> Result<Self, TenantError> {
        text.parse()
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.as_str().to_owned()
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_no_other_folder() {
        for name in ["default", "shop-2", "a", "7_b", &"x".repeat(64)] {
            assert_eq!(name.parse::<Tenant>().unwrap().as_str(), name);
        }
        for name in ["", ".", "..", "a/b", "a.b", "-a", "_a", "A", "ä", "a b", "a\0", &"x".repeat(65)] {
            assert_eq!(name.parse::<Tenant>(), Err(TenantError), "{name:?}");
        }
    }
}
