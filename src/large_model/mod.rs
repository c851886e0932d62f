//! Large models: the providers that an operator configures, and what they are asked: how well each candidate of a short list suits a person.
//!
//! A provider speaks the protocol of OpenAI (`chat`, `embeddings`) or of Jina (`rerank`) over HTTP, or is the static table of the process itself.
//! Whatever it answers, it gives at most one number from 0 to 1 for each candidate that it was shown: it cannot name others. One that fails,
//! dawdles or costs too much gives none, and the caller goes on without.

mod addresses;
mod answer;
mod chat;
mod client;
mod embed;
mod embedded;
mod embeddings;
mod prompt;
mod provider;
mod rerank;
mod settings;
mod statistics;

pub use embed::Embedder;
pub use prompt::ShortList;
pub use provider::{Provider, Providers};
pub use settings::{LargeModelSettings, ProviderKind, ProviderSettings, Scoring};
pub use statistics::Snapshot;

/// By candidate of a short list: how well it suits, 0 to 1; `None` where the provider said nothing.
pub type Scores = Vec<Option<f32>>;

/// Why a provider gave no scores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// Not in the time that was granted.
    #[error("it did not answer in time")]
    TimedOut,
    /// Its budget of the day is spent.
    #[error("its budget of the day is spent")]
    OverBudget,
    /// Failed several times in a row, and is left alone for a while.
    #[error("it failed several times in a row and is left alone for a while")]
    Resting,
    /// It cannot be reached, or refuses: the HTTP status if there was one.
    #[error("{detail}")]
    Failed { status: Option<u16>, detail: String },
    /// It answered something that cannot be used.
    #[error("its answer cannot be used: {0}")]
    Unusable(String),
}
