//! The settings of large models.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::engine::text_vectors::NAME as EMBEDDED;

use super::addresses;

/// `[large_model]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LargeModelSettings {
    /// The provider that `rerank: "llm"` asks; empty: none.
    pub rerank: String,
    /// The provider whose vectors of items' texts join the training; empty: none.
    pub embeddings: String,
    /// Whether that provider is asked about callers' free texts as well, where the catalogue's words do not explain them.
    pub free_text: bool,
    /// How many of each list it re-orders, 2 to 100.
    pub short_list: usize,
    /// What its opinion counts beside the ranker's, 0 to 1, until an evaluation has measured it.
    pub weight: f32,
    /// The chat model that puts reasons into the caller's language and writes programme notes; empty: none.
    pub words: String,
    pub providers: BTreeMap<String, ProviderSettings>,
}

/// One provider.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    pub kind: ProviderKind,
    /// Where its API begins, such as `https://api.openai.com/v1`.
    #[serde(default)]
    pub base_url: String,
    /// The folder of a model in the process (`embedded`).
    #[serde(default)]
    pub path: PathBuf,
    /// What an embeddings model wants to see before the text of a person and of an item, such as `query: ` and `passage: `.
    #[serde(default)]
    pub query_prefix: String,
    #[serde(default)]
    pub passage_prefix: String,
    /// Whether it may have an address that is not public: loopback, private, link-local.
    #[serde(default)]
    pub allow_private: bool,
    /// What the API calls the model.
    #[serde(default)]
    pub model: String,
    /// Which revision of that model it is, so that vectors of two are not mixed.
    #[serde(default)]
    pub revision: String,
    #[serde(default, serialize_with = "hidden")]
    api_key: SecretString,
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
    /// Requests to it at once; more wait for their turn.
    #[serde(default = "concurrency")]
    pub max_concurrency: usize,
    /// Further tries of a request that failed in a way that may pass.
    #[serde(default = "retries")]
    pub retries: u32,
    /// How a chat model is made to score.
    #[serde(default)]
    pub scoring: Scoring,
    /// Show a list in so many orders and take the mean (`scoring = "json"` only).
    #[serde(default = "shuffles")]
    pub shuffles: usize,
    /// Whether it is asked about a stranger as well, and only what it says beyond that counts (`chat` and `rerank`).
    #[serde(default = "calibrate")]
    pub calibrate: bool,
    /// Of a million tokens, in whatever currency the budget is in.
    #[serde(default)]
    pub price_of_input: f64,
    #[serde(default)]
    pub price_of_output: f64,
    /// What may be spent in a day (UTC); 0: as much as it takes.
    #[serde(default)]
    pub budget_per_day: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// `POST {base_url}/chat/completions`.
    Chat,
    /// `POST {base_url}/embeddings`.
    Embeddings,
    /// `POST {base_url}/rerank`, as Jina, TEI and vLLM have it.
    Rerank,
    /// A BERT encoder in the process, from a folder.
    Embedded,
}

impl ProviderKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Embedded => "embedded",
        }
    }
}

/// How a chat model is made to score candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// `logprobs`, or `json` from the first answer on that comes without log-probabilities.
    #[default]
    Auto,
    /// One request a candidate: the probability of "yes" against "no".
    Logprobs,
    /// One request a list: a number for each candidate, by a JSON schema.
    Json,
}

impl ProviderSettings {
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Before the texts of a person and of an item.
    pub(super) fn prefixes(&self) -> (&str, &str) {
        (&self.query_prefix, &self.passage_prefix)
    }

    pub(super) fn api_key(&self) -> Option<&str> {
        Some(self.api_key.expose_secret()).filter(|key| !key.is_empty())
    }
}

impl LargeModelSettings {
    /// Of all providers, the one in the process first.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        std::iter::once(EMBEDDED).chain(self.providers.keys().map(String::as_str)).collect()
    }

    /// The first rule that the settings break.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if !(2..=100).contains(&self.short_list) {
            return Some("large_model.short_list: 2 to 100".into());
        }
        if !(0.0..=1.0).contains(&self.weight) {
            return Some("large_model.weight: 0 to 1".into());
        }
        if !self.rerank.is_empty() && !self.names().contains(&self.rerank.as_str()) {
            return Some(format!("large_model.rerank: there is no provider `{}`", self.rerank));
        }
        let writes = |name: &str| self.providers.get(name).is_some_and(|provider| provider.kind == ProviderKind::Chat);
        if !self.words.is_empty() && !writes(&self.words) {
            return Some(format!("large_model.words: there is no provider `{}` of the kind chat", self.words));
        }
        if !self.embeddings.is_empty() && self.embeddings != EMBEDDED {
            match self.providers.get(&self.embeddings) {
                None => return Some(format!("large_model.embeddings: there is no provider `{}`", self.embeddings)),
                Some(provider) if !matches!(provider.kind, ProviderKind::Embeddings | ProviderKind::Embedded) => {
                    return Some(format!(
                        "large_model.embeddings: `{}` is not of a kind with embeddings",
                        self.embeddings
                    ));
                }
                Some(_) => {}
            }
        }
        self.providers.iter().find_map(|(name, provider)| {
            let url = Url::parse(&provider.base_url).ok();
            let is_embedded = provider.kind == ProviderKind::Embedded;
            let rules = [
                (!["none", "llm", EMBEDDED].contains(&name.as_str()), "this name is taken"),
                (
                    !is_embedded || cfg!(feature = "candle"),
                    "kind: this program was built without the feature candle, and has no encoder",
                ),
                (
                    is_embedded != provider.path.as_os_str().is_empty(),
                    "path: the folder of the model, of the kind embedded and of no other",
                ),
                (!is_embedded || provider.base_url.is_empty(), "base_url: not of the kind embedded"),
                (
                    is_embedded || url.as_ref().is_some_and(|url| ["http", "https"].contains(&url.scheme())),
                    "base_url: a URL that begins with http:// or https://",
                ),
                (
                    is_embedded || provider.allow_private || !url.as_ref().is_some_and(addresses::names_private),
                    "base_url: this address is not public (loopback, private, link-local or reserved); \
                     set allow_private = true at this provider if it is meant",
                ),
                // What stands there is shown by `medley config`, and paths are put behind it.
                (
                    !provider.base_url.contains(['@', '?']),
                    "base_url: without a login and without parameters; use api_key",
                ),
                (is_embedded || !provider.model.is_empty(), "model: name one"),
                (provider.timeout_ms > 0, "timeout_ms: at least 1"),
                (provider.max_concurrency > 0, "max_concurrency: at least 1"),
                ((1..=10).contains(&provider.shuffles), "shuffles: 1 to 10"),
                (
                    [provider.price_of_input, provider.price_of_output, provider.budget_per_day]
                        .iter()
                        .all(|amount| amount.is_finite() && *amount >= 0.0),
                    "prices and budget: not negative",
                ),
            ];
            let broken = rules.into_iter().find(|(holds, _)| !holds);
            broken.map(|(_, rule)| format!("large_model.providers.{name}: {rule}"))
        })
    }
}

fn timeout_ms() -> u64 {
    1500
}
fn concurrency() -> usize {
    8
}
fn retries() -> u32 {
    2
}
fn shuffles() -> usize {
    1
}
fn calibrate() -> bool {
    true
}

fn hidden<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.expose_secret().is_empty() { "" } else { "***" })
}
