//! Large models: the providers that an operator configures, and what they are asked: how well each candidate of a short list suits a person, and to put
//! reasons and a programme note into words.
//!
//! A provider speaks the protocol of OpenAI (`chat`, `embeddings`) or of Jina (`rerank`) over HTTP, or is the static table of the process itself.
//! Whatever it answers, it gives at most one number from 0 to 1 for each candidate that it was shown, or words that are checked ([`words`]): it cannot
//! name others. One that fails,
//! dawdles or costs too much gives none, and the caller goes on without.

mod addresses;
mod answer;
mod chat;
mod client;
mod embed;
mod embedded;
mod embeddings;
#[cfg(feature = "candle")]
pub mod encoder;
pub mod faithful;
mod prompt;
mod provider;
pub mod pull;
mod rerank;
mod settings;
mod statistics;
pub mod words;

pub use embed::Embedder;
pub use prompt::ShortList;
pub use provider::{Provider, Providers};
pub use settings::{LargeModelSettings, ProviderKind, ProviderSettings, Scoring};
pub use statistics::Snapshot;
pub use words::Prompt;

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
    /// It asks to be left alone for so long.
    #[error("it asks to be left alone for {} s", .0.as_secs())]
    Later(std::time::Duration),
    /// It cannot be reached, or refuses: the HTTP status if there was one.
    #[error("{detail}")]
    Failed { status: Option<u16>, detail: String },
    /// It answered something that cannot be used.
    #[error("its answer cannot be used: {0}")]
    Unusable(String),
}
