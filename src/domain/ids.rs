//! Identifiers: short strings that are checked once, where they enter, and trusted afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest identifier, in Unicode scalar values.
pub const MAX_ID_CHARS: usize = 128;

/// Why a string is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("must not be empty")]
    Empty,
    #[error("is longer than {MAX_ID_CHARS} characters")]
    TooLong,
    #[error("must not contain control characters")]
    Control,
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    // A byte length within the limit cannot exceed it in characters: the count is only for long ones.
    if text.len() > MAX_ID_CHARS && text.chars().count() > MAX_ID_CHARS {
        return Err(IdError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::Control);
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the length (1 to 128 characters) and refuses control characters.
            ///
            /// # Errors
            /// [`IdError`] says which rule is broken.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Names one item; unique across all domains.
    ItemId
}
id! {
    /// Names one person, or one anonymous visitor, as the caller knows them.
    UserId
}
id! {
    /// The caller's name for one event: sending it again changes nothing.
    EventId
}
id! {
    /// Names one answer, so that later behaviour can point back to it.
    RecommendationId
}
id! {
    /// A kind of entertainment (`music`, `movie`, `game`, or what a deployment adds). Which ones
    /// exist is decided by the configuration and checked where a request enters.
    Domain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_1_to_128_characters_without_controls() {
        assert!(ItemId::new("x".repeat(128)).is_ok());
        assert!(ItemId::new("科".repeat(128)).is_ok());
        assert_eq!(ItemId::new(""), Err(IdError::Empty));
        assert_eq!(ItemId::new("x".repeat(129)), Err(IdError::TooLong));
        assert_eq!(ItemId::new("a\0b"), Err(IdError::Control));
    }
}
