//! The providers in force, each with its cache and its circuit breaker.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;

use crate::breaker::Breaker;
use crate::engine::text_vectors::NAME as EMBEDDED;

use super::chat::Chat;
use super::client::Client;
use super::embeddings::Embeddings;
use super::settings::{LargeModelSettings, ProviderKind, ProviderSettings};
use super::statistics::Snapshot;
use super::{ProviderError, Scores, ShortList, embedded, rerank};

/// Answers are kept for so long, and so many of them.
const KEPT_FOR: Duration = Duration::from_secs(600);
const KEPT: u64 = 20_000;

/// One provider: configured, or the one that is part of the process.
pub struct Provider {
    pub name: String,
    pub kind: ProviderKind,
    pub model: String,
    pub(super) backend: Backend,
    breaker: Breaker,
    kept: Cache<u64, Arc<Scores>>,
}

pub(super) enum Backend {
    Embedded,
    Remote(Box<Client>, Protocol),
}

pub(super) enum Protocol {
    Chat(Chat),
    Embeddings(Embeddings),
    Rerank,
}

/// How long the provider in the process may take: it never does.
const EMBEDDED_TIMEOUT: Duration = Duration::from_secs(1);

impl Provider {
    fn new(name: &str, settings: &ProviderSettings) -> Result<Self, String> {
        let protocol = match settings.kind {
            ProviderKind::Chat => Protocol::Chat(Chat::new()),
            ProviderKind::Embeddings => Protocol::Embeddings(Embeddings::new()),
            ProviderKind::Rerank => Protocol::Rerank,
        };
        let backend = Backend::Remote(Box::new(Client::new(settings.clone())?), protocol);
        Ok(Self::with(name, settings.kind, &settings.model, backend))
    }

    fn embedded() -> Self {
        Self::with(EMBEDDED, ProviderKind::Embeddings, EMBEDDED, Backend::Embedded)
    }

    fn with(name: &str, kind: ProviderKind, model: &str, backend: Backend) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            model: model.to_owned(),
            backend,
            breaker: Breaker::default(),
            kept: Cache::builder().max_capacity(KEPT).time_to_live(KEPT_FOR).build(),
        }
    }

    /// What its opinion is, for people.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.backend {
            // No large model, and it does not call itself one.
            Backend::Embedded => "Its words are close to what you asked for or like",
            Backend::Remote(..) => "A large model finds that it suits you",
        }
    }

    /// What it may spend in a day; 0: as much as it takes.
    #[must_use]
    pub fn budget_per_day(&self) -> f64 {
        match &self.backend {
            Backend::Embedded => 0.0,
            Backend::Remote(client, _) => client.settings.budget_per_day,
        }
    }

    fn timeout(&self) -> Duration {
        match &self.backend {
            Backend::Embedded => EMBEDDED_TIMEOUT,
            Backend::Remote(client, _) => client.settings.timeout(),
        }
    }

    /// Of its requests; the provider in the process makes none.
    #[must_use]
    pub fn statistics(&self) -> Snapshot {
        match &self.backend {
            Backend::Embedded => Snapshot::default(),
            Backend::Remote(client, _) => client.statistics.snapshot(),
        }
    }

    /// Whether it failed so often that it is left alone at the moment.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.breaker.is_open(Instant::now())
    }

    /// How well each candidate suits the person. The same question at the same time is asked once, and its answer kept for a while.
    ///
    /// # Errors
    /// [`ProviderError`]; never later than `patience`.
    pub async fn score(&self, list: &ShortList, patience: Duration) -> Result<Arc<Scores>, ProviderError> {
        if list.candidates.is_empty() {
            return Ok(Arc::default());
        }
        let mut hasher = DefaultHasher::new();
        list.hash(&mut hasher);
        let key = hasher.finish();
        if let Some(scores) = self.kept.get(&key).await {
            return Ok(scores);
        }
        let now = Instant::now();
        if !self.breaker.allows(now) {
            return Err(ProviderError::Resting);
        }
        let patience = patience.min(self.timeout());
        let until = now + patience;
        let asking = self.kept.try_get_with(key, async { self.ask(list, until).await.map(Arc::new) });
        let outcome = match tokio::time::timeout(patience, asking).await {
            Ok(outcome) => outcome.map_err(|error| (*error).clone()),
            Err(_) => Err(ProviderError::TimedOut),
        };
        match &outcome {
            Ok(_) => self.breaker.succeeded(),
            Err(ProviderError::OverBudget) => {}
            // A caller in a great hurry says nothing of the provider.
            Err(ProviderError::TimedOut) if patience < self.timeout() / 4 => {}
            Err(error) => {
                tracing::warn!(provider = self.name, %error, "a provider failed");
                self.breaker.failed(Instant::now());
            }
        }
        outcome
    }

    async fn ask(&self, list: &ShortList, until: Instant) -> Result<Scores, ProviderError> {
        match &self.backend {
            Backend::Embedded => embedded::score(list),
            Backend::Remote(client, Protocol::Chat(chat)) => chat.score(client, list, until).await,
            Backend::Remote(client, Protocol::Embeddings(embeddings)) => embeddings.score(client, list, until).await,
            Backend::Remote(client, Protocol::Rerank) => rerank::score(client, list, until).await,
        }
    }
}

/// All providers.
pub struct Providers {
    pub all: Vec<Provider>,
    /// The place of the one that `rerank: "llm"` asks.
    default: Option<usize>,
    pub short_list: usize,
    pub weight: f32,
}

impl Providers {
    /// # Errors
    /// What is wrong with the settings of one.
    pub fn new(settings: &LargeModelSettings) -> Result<Self, String> {
        let configured = settings.providers.iter().map(|(name, provider)| Provider::new(name, provider));
        let all = std::iter::once(Ok(Provider::embedded())).chain(configured);
        let all = all.collect::<Result<Vec<Provider>, String>>()?;
        let default = all.iter().position(|provider| provider.name == settings.rerank);
        Ok(Self { all, default, short_list: settings.short_list, weight: settings.weight })
    }

    /// The provider of this name; `llm` is the one that the settings name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Provider> {
        if name == "llm" {
            return self.default.and_then(|place| self.all.get(place));
        }
        self.all.iter().find(|provider| provider.name == name)
    }
}
