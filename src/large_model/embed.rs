//! Vectors of texts: as training asks for them, many at once and with patience; and of what callers write, within their time.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::domain::VectorSource;
use crate::engine::text_vectors;

use super::embeddings::{Source, Vector};
use super::provider::{Backend, Protocol, Provider, Providers};
use super::{LargeModelSettings, ProviderError};

/// One request of a training may take so long, all tries together.
const PATIENCE: Duration = Duration::from_secs(120);

/// The provider whose vectors of items join a training.
#[derive(Clone)]
pub struct Embedder {
    providers: Arc<Providers>,
    name: String,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Embedder").field(&self.name).finish()
    }
}

impl Embedder {
    /// The one that the settings name; `None`: they name none. A budget counts for all that the same `providers` are asked.
    #[must_use]
    pub fn new(settings: &LargeModelSettings, providers: Arc<Providers>) -> Option<Self> {
        providers.get(&settings.embeddings)?;
        Some(Self { name: settings.embeddings.clone(), providers })
    }

    /// # Errors
    /// [`ProviderError::Unusable`] when it has gone, which the settings do not allow.
    pub fn provider(&self) -> Result<&Provider, ProviderError> {
        let provider = self.providers.get(&self.name).map(AsRef::as_ref);
        provider.ok_or_else(|| ProviderError::Unusable("there is no such provider".into()))
    }
}

impl Provider {
    /// Whether a vector costs less to make than to keep.
    #[must_use]
    pub fn is_in_process(&self) -> bool {
        matches!(self.backend, Backend::Embedded)
    }

    /// How many requests it may be sent at once.
    #[must_use]
    pub fn max_concurrency(&self) -> usize {
        match &self.backend {
            Backend::Embedded => 1,
            #[cfg(feature = "candle")]
            Backend::Encoder(_) => 1,
            Backend::Remote(client, _) => client.settings.max_concurrency,
        }
    }

    /// The revision of its model, as the settings give it.
    #[must_use]
    pub fn revision(&self) -> &str {
        match &self.backend {
            Backend::Embedded => text_vectors::REVISION,
            #[cfg(feature = "candle")]
            Backend::Encoder(parts) => &parts.2.revision,
            Backend::Remote(client, _) => &client.settings.revision,
        }
    }

    /// What its vectors are kept under, and compared within.
    #[must_use]
    pub fn source(&self) -> VectorSource {
        VectorSource { provider: self.name.clone(), model: self.model.clone(), revision: self.revision().to_owned() }
    }

    /// A unit vector for each of a few texts that callers wrote, in their order. The same at the same time is asked once, and kept for a while.
    ///
    /// # Errors
    /// [`ProviderError`]; never later than `patience`.
    pub async fn vectors_of(
        self: &Arc<Self>,
        texts: Vec<String>,
        patience: Duration,
    ) -> Result<Vec<Vector>, ProviderError> {
        let key = self.hasher.hash_one(&texts);
        if let Some(vectors) = self.embedded.get(&key).await {
            return Ok(vectors);
        }
        let provider = Arc::clone(self);
        let asking = move |until: Instant| async move {
            let asking = provider.ask_vectors(&texts, until);
            provider.embedded.try_get_with(key, asking).await.map_err(|error| (*error).clone())
        };
        self.within(patience, asking).await
    }

    async fn ask_vectors(&self, texts: &[String], until: Instant) -> Result<Vec<Vector>, ProviderError> {
        let with = |prefix: &str| texts.iter().map(|text| format!("{prefix}{text}")).collect::<Vec<_>>();
        match &self.backend {
            Backend::Remote(client, Protocol::Embeddings(embeddings)) => {
                let texts = with(&client.settings.query_prefix);
                embeddings.fetched(Source::Remote(client), &texts, until).await
            }
            #[cfg(feature = "candle")]
            Backend::Encoder(parts) => {
                let (encoder, embeddings, settings) = &**parts;
                embeddings.fetched(Source::Local(encoder), &with(&settings.query_prefix), until).await
            }
            _ => Err(ProviderError::Unusable("it gives no vectors of texts".into())),
        }
    }

    /// A text as the model wants what is to be found, which is what is to be kept by.
    #[must_use]
    pub fn passage(&self, text: &str) -> String {
        match &self.backend {
            Backend::Embedded => text.to_owned(),
            #[cfg(feature = "candle")]
            Backend::Encoder(parts) => format!("{}{text}", parts.2.passage_prefix),
            Backend::Remote(client, _) => format!("{}{text}", client.settings.passage_prefix),
        }
    }

    /// A unit vector for each text, all of one length, finite; `None` for a text without a word that it knows.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn embed(&self, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>, ProviderError> {
        match &self.backend {
            Backend::Embedded => {
                let texts = texts.to_vec();
                let embed = |text: &String| text_vectors::embed(text).map(|vector| vector.to_vec());
                // A large catalogue takes seconds, which are not taken from whoever else the thread serves.
                let made = tokio::task::spawn_blocking(move || texts.par_iter().map(embed).collect());
                made.await.map_err(|error| ProviderError::Unusable(error.to_string()))
            }
            Backend::Remote(client, Protocol::Embeddings(embeddings)) => {
                let vectors = embeddings.fetched(Source::Patient(client), texts, Instant::now() + PATIENCE).await?;
                Ok(vectors.into_iter().map(|vector| Some(vector.to_vec())).collect())
            }
            #[cfg(feature = "candle")]
            Backend::Encoder(parts) => {
                let (encoder, embeddings, _) = &**parts;
                let vectors = embeddings.fetched(Source::Local(encoder), texts, Instant::now() + PATIENCE).await?;
                Ok(vectors.into_iter().map(|vector| Some(vector.to_vec())).collect())
            }
            Backend::Remote(..) => Err(ProviderError::Unusable("it gives no vectors".into())),
        }
    }
}
