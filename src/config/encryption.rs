//! Where the master key of encryption at rest comes from.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use super::hidden;

/// The section `encryption`: at most one of three places that hold a master key.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    #[serde(serialize_with = "hidden")]
    master_key: SecretString,
    master_key_file: PathBuf,
    #[serde(serialize_with = "without_arguments")]
    master_key_command: Vec<String>,
}

/// A place that holds a master key.
pub enum KeySource<'a> {
    Text(&'a SecretString),
    File(&'a PathBuf),
    /// A program and its arguments, which writes the key to its standard output.
    Command(&'a str, &'a [String]),
}

impl Encryption {
    /// The places that are set.
    fn sources(&self) -> impl Iterator<Item = KeySource<'_>> {
        let text = (!self.master_key.expose_secret().is_empty()).then_some(KeySource::Text(&self.master_key));
        let file = (!self.master_key_file.as_os_str().is_empty()).then_some(KeySource::File(&self.master_key_file));
        let command = self.master_key_command.split_first().map(|(name, rest)| KeySource::Command(name, rest));
        [text, file, command].into_iter().flatten()
    }

    /// The place that is set; `None`: behaviour is not to be encrypted.
    #[must_use]
    pub fn source(&self) -> Option<KeySource<'_>> {
        self.sources().next()
    }

    /// Whether it is clear which key is meant.
    pub(super) fn is_clear(&self) -> bool {
        self.sources().count() < 2
    }
}

/// Shows the program, and how many arguments it has: one of them may be a password.
fn without_arguments<S: Serializer>(command: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(command.iter().enumerate().map(|(place, word)| if place == 0 { word } else { "***" }))
}
