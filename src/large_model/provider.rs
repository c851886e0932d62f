//! The providers in force, each with its cache and its circuit breaker.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join;
use moka::future::Cache;

use crate::breaker::Breaker;
use crate::engine::text_vectors::NAME as EMBEDDED;

use super::chat::{self, Chat};
use super::client::Client;
#[cfg(feature = "candle")]
use super::embeddings::Local;
use super::embeddings::{Embeddings, Source, Vector};
use super::rerank::Rerank;
use super::settings::{LargeModelSettings, ProviderKind, ProviderSettings};
use super::statistics::Snapshot;
use super::{Prompt, ProviderError, Scores, ShortList, embedded};

/// Answers are kept for so long, and so many of them.
const KEPT_FOR: Duration = Duration::from_secs(600);
const KEPT: u64 = 20_000;
const WRITTEN_KEPT_FOR: Duration = Duration::from_secs(86_400);
/// One that is down is tried again after a second, and after twice as long each time up to this: each try costs those who are served meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// However long a provider asks to be left alone.
const LONGEST_REST: Duration = Duration::from_secs(900);

/// One provider: configured, or the one that is part of the process.
pub struct Provider {
    pub name: String,
    pub kind: ProviderKind,
    pub model: String,
    pub(super) backend: Backend,
    breaker: Arc<Breaker>,
    kept: Cache<u64, Arc<Scores>>,
    /// What was said of a list for a stranger.
    to_strangers: Cache<u64, Arc<Scores>>,
    /// What was written to a prompt.
    written: Cache<u64, Arc<str>>,
    /// The vectors of a few texts together.
    pub(super) embedded: Cache<u64, Vec<Vector>>,
    /// Keys of all four; unlike those of the standard hasher they cannot be foreseen.
    pub(super) hasher: RandomState,
}

pub(super) enum Backend {
    Embedded,
    #[cfg(feature = "candle")]
    Encoder(Box<(Local, Embeddings, ProviderSettings)>),
    Remote(Box<Client>, Protocol),
}

pub(super) enum Protocol {
    Chat(Chat),
    Embeddings(Embeddings),
    Rerank(Rerank),
}

impl Protocol {
    async fn judge(&self, client: &Client, list: &ShortList, until: Instant) -> Result<Scores, ProviderError> {
        match self {
            Self::Chat(chat) => chat.score(client, list, until).await,
            Self::Embeddings(embeddings) => {
                embeddings.score(Source::Remote(client), client.settings.prefixes(), list, until).await
            }
            Self::Rerank(rerank) => rerank.score(client, list, until).await,
        }
    }
}

/// What a candidate is worth to this person beyond what it is worth to anybody, 1/2 where both are the same ("contextual calibration": Zhao et al.,
/// "Calibrate Before Use", ICML 2021, with a stranger in the place of an input without content). A text that talks a model into praising it
/// whoever asks gains nothing by it.
fn calibrated(own: &[Option<f32>], common: &[Option<f32>]) -> Scores {
    let both = own.iter().zip(common).map(|(own, common)| Some((1.0 + own.as_ref()? - common.as_ref()?) / 2.0));
    both.collect()
}

/// How long the provider in the process may take: it never does.
const EMBEDDED_TIMEOUT: Duration = Duration::from_secs(1);

impl Provider {
    fn new(name: &str, settings: &ProviderSettings) -> Result<Self, String> {
        let protocol = match settings.kind {
            ProviderKind::Chat => Protocol::Chat(Chat::new()),
            ProviderKind::Embeddings => Protocol::Embeddings(Embeddings::new()),
            ProviderKind::Rerank => Protocol::Rerank(Rerank::default()),
            ProviderKind::Embedded => return Self::encoder(name, settings),
        };
        let breaker = Arc::new(Breaker::new(LONGEST_PAUSE));
        let client = Client::new(settings.clone(), Arc::clone(&breaker))?;
        let backend = Backend::Remote(Box::new(client), protocol);
        Ok(Self { breaker, ..Self::with(name, settings.kind, &settings.model, backend) })
    }

    #[cfg(feature = "candle")]
    fn encoder(name: &str, settings: &ProviderSettings) -> Result<Self, String> {
        let encoder = Local::open(&settings.path).map_err(|error| format!("large_model.providers.{name}: {error}"))?;
        let folder = settings.path.file_name().map(|folder| folder.to_string_lossy().into_owned());
        let model = if settings.model.is_empty() { folder.unwrap_or_default() } else { settings.model.clone() };
        let backend = Backend::Encoder(Box::new((encoder, Embeddings::new(), settings.clone())));
        Ok(Self::with(name, settings.kind, &model, backend))
    }

    #[cfg(not(feature = "candle"))]
    fn encoder(name: &str, _: &ProviderSettings) -> Result<Self, String> {
        Err(format!("large_model.providers.{name}: this program was built without the feature candle"))
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
            breaker: Arc::default(),
            kept: Cache::builder().max_capacity(KEPT).time_to_live(KEPT_FOR).build(),
            to_strangers: Cache::builder().max_capacity(KEPT).time_to_live(KEPT_FOR * 6).build(),
            written: Cache::builder().max_capacity(KEPT / 2).time_to_live(WRITTEN_KEPT_FOR).build(),
            embedded: Cache::builder().max_capacity(KEPT / 10).time_to_live(KEPT_FOR).build(),
            hasher: RandomState::new(),
        }
    }

    /// What its opinion is, for people.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.backend {
            // No large model, and it does not call itself one.
            Backend::Embedded => "Its words are close to what you asked for or like",
            #[cfg(feature = "candle")]
            Backend::Encoder(_) => "Its description is close to what you asked for or like",
            Backend::Remote(..) => "A large model finds that it suits you",
        }
    }

    /// What it may spend in a day; 0: as much as it takes.
    #[must_use]
    pub fn budget_per_day(&self) -> f64 {
        match &self.backend {
            Backend::Remote(client, _) => client.settings.budget_per_day,
            _ => 0.0,
        }
    }

    fn timeout(&self) -> Duration {
        match &self.backend {
            Backend::Embedded => EMBEDDED_TIMEOUT,
            #[cfg(feature = "candle")]
            Backend::Encoder(of) => of.2.timeout(),
            Backend::Remote(client, _) => client.settings.timeout(),
        }
    }

    /// Of its requests; the provider in the process makes none.
    #[must_use]
    pub fn statistics(&self) -> Snapshot {
        match &self.backend {
            Backend::Remote(client, _) => client.statistics.snapshot(),
            _ => Snapshot::default(),
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
    pub async fn score(self: &Arc<Self>, list: &ShortList, patience: Duration) -> Result<Arc<Scores>, ProviderError> {
        if list.candidates.is_empty() {
            return Ok(Arc::default());
        }
        let key = self.hasher.hash_one(list);
        if let Some(scores) = self.kept.get(&key).await {
            return Ok(scores);
        }
        let (provider, list) = (Arc::clone(self), list.clone());
        let asking = move |until: Instant| async move {
            let asking = async { provider.ask(&list, until).await.map(Arc::new) };
            provider.kept.try_get_with(key, asking).await.map_err(|error| (*error).clone())
        };
        self.within(patience, asking).await
    }

    /// What a chat model writes. The same prompt at the same time is written to once, and its answer kept for a day.
    ///
    /// # Errors
    /// [`ProviderError`]; never later than `patience`.
    pub async fn write(self: &Arc<Self>, prompt: Prompt, patience: Duration) -> Result<Arc<str>, ProviderError> {
        let key = self.hasher.hash_one(&prompt);
        if let Some(text) = self.written.get(&key).await {
            return Ok(text);
        }
        let provider = Arc::clone(self);
        let asking = move |until: Instant| async move {
            let writing = async {
                match &provider.backend {
                    Backend::Remote(client, Protocol::Chat(_)) => chat::write(client, &prompt, until).await,
                    _ => Err(ProviderError::Unusable("it writes nothing".into())),
                }
            };
            provider.written.try_get_with(key, writing).await.map_err(|error| (*error).clone())
        };
        self.within(patience, asking).await
    }

    /// Does `work` on a task of its own, which ends with the provider's own timeout: a caller who cannot wait for so long goes on without, and finds
    /// the answer kept when it asks again. While the provider is on trial nobody waits for it.
    pub(super) async fn within<T, W>(
        self: &Arc<Self>,
        patience: Duration,
        work: impl FnOnce(Instant) -> W,
    ) -> Result<T, ProviderError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, ProviderError>> + Send + 'static,
    {
        let now = Instant::now();
        let on_trial = self.breaker.has_opened();
        if !self.breaker.allows(now) {
            return Err(ProviderError::Resting);
        }
        let timeout = self.timeout();
        let (provider, work) = (Arc::clone(self), work(now + timeout));
        let task = tokio::spawn(async move {
            let outcome = tokio::time::timeout(timeout, work).await.unwrap_or(Err(ProviderError::TimedOut));
            provider.learn(outcome.as_ref().err());
            outcome
        });
        if on_trial {
            return Err(ProviderError::Resting);
        }
        match tokio::time::timeout(patience, task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(ProviderError::Unusable(error.to_string())),
            Err(_) => Err(ProviderError::TimedOut),
        }
    }

    /// Takes note of how a question ended, for those that come.
    fn learn(&self, error: Option<&ProviderError>) {
        let now = Instant::now();
        match error {
            None => self.breaker.succeeded(),
            Some(ProviderError::OverBudget) => {}
            Some(error) => {
                tracing::warn!(provider = self.name, %error, "a provider failed");
                match error {
                    ProviderError::Later(wait) => self.breaker.rest(now + (*wait).min(LONGEST_REST)),
                    _ => self.breaker.failed(now),
                }
            }
        }
    }

    async fn ask(&self, list: &ShortList, until: Instant) -> Result<Scores, ProviderError> {
        match &self.backend {
            Backend::Embedded => embedded::score(list),
            #[cfg(feature = "candle")]
            Backend::Encoder(of) => {
                let (encoder, embeddings, settings) = &**of;
                embeddings.score(Source::Local(encoder), settings.prefixes(), list, until).await
            }
            Backend::Remote(client, protocol @ Protocol::Embeddings(_)) => protocol.judge(client, list, until).await,
            Backend::Remote(client, protocol) if client.settings.calibrate => {
                let stranger = list.for_stranger();
                let key = self.hasher.hash_one(&stranger);
                let asking = async { protocol.judge(client, &stranger, until).await.map(Arc::new) };
                let asking = self.to_strangers.try_get_with(key, asking);
                let (own, common) = join(protocol.judge(client, list, until), asking).await;
                Ok(calibrated(&own?, &common.map_err(|error| (*error).clone())?))
            }
            Backend::Remote(client, protocol) => protocol.judge(client, list, until).await,
        }
    }
}

/// All providers.
pub struct Providers {
    pub all: Vec<Arc<Provider>>,
    /// The place of the one that `rerank: "llm"` asks.
    default: Option<usize>,
    /// The one that puts reasons into words and writes programme notes.
    pub words: Option<Arc<Provider>>,
    pub short_list: usize,
    pub weight: f32,
}

impl Providers {
    /// # Errors
    /// What is wrong with the settings of one.
    pub fn new(settings: &LargeModelSettings) -> Result<Self, String> {
        let configured = settings.providers.iter().map(|(name, provider)| Provider::new(name, provider));
        let all = std::iter::once(Ok(Provider::embedded())).chain(configured);
        let all = all.map(|provider| provider.map(Arc::new)).collect::<Result<Vec<_>, String>>()?;
        let place = |name: &str| all.iter().position(|provider| provider.name == name);
        let default = place(&settings.rerank);
        let words = place(&settings.words).map(|place| Arc::clone(&all[place]));
        Ok(Self { all, default, words, short_list: settings.short_list, weight: settings.weight })
    }

    /// The provider of this name; `llm` is the one that the settings name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Provider>> {
        if name == "llm" {
            return self.default.and_then(|place| self.all.get(place));
        }
        self.all.iter().find(|provider| provider.name == name)
    }
}
