//! A question to the engine.

use std::time::Duration;

use super::{Domain, Filters, Interaction, ItemId, Language, UserId};

/// One taste as the caller wrote it: a genre, tag, title, creator, item id or free text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Taste {
    /// The domain it was given for; `None` for the free text across all domains.
    pub domain: Option<Domain>,
    pub text: String,
    /// Where it stood in the request, as a JSON pointer, to name it in the answer.
    pub pointer: String,
}

/// Whether a large model re-orders the short list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Rerank {
    #[default]
    None,
    /// By the provider of this name; `llm` is the one that the settings name, if any.
    By(String),
}

/// A checked request for recommendations: user plus history plus tastes.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub tastes: Vec<Taste>,
    /// Whose stored behaviour to load.
    pub user_id: Option<UserId>,
    /// Interactions of this session, used like stored ones.
    pub session: Vec<Interaction>,
    /// Which lists to return, in order, without repetition.
    pub domains: Vec<Domain>,
    /// Items per list, 1 to 200.
    pub limit: usize,
    pub filters: Filters,
    pub exclude: Vec<ItemId>,
    pub include_seen: bool,
    /// A model by name; `None` for the hybrid.
    pub model: Option<String>,
    /// 0 is pure relevance, 1 pure variety.
    pub diversity: f32,
    pub explain: bool,
    pub rerank: Rerank,
    /// What the caller grants; what cannot finish within it is skipped.
    pub deadline: Option<Duration>,
    /// The answer must know at least the behaviour up to here.
    pub min_watermark: Option<i64>,
}

/// What a large model is to write about an answer, beside its reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wording {
    /// A programme note over the lists.
    pub story: bool,
    /// The caller's, where they said so.
    pub language: Option<Language>,
}
