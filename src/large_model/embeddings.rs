//! Scoring by text embeddings: the cosine between the person's text and each candidate's. Vectors of candidates are kept by text.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Instant;

use moka::sync::Cache;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, tokens};
use super::{ProviderError, Scores, ShortList};

/// Texts and, by estimate, tokens that one request holds at most.
const MOST_TEXTS: usize = 64;
const MOST_TOKENS: u64 = 8_000;
/// Vectors are kept as far as this memory goes, in bytes: some ten thousand of 1,536 numbers. By their number they would take four times as much from a model
/// of long vectors as from another, and each tenant has a cache for each of its providers.
const KEPT: u64 = 64 << 20;
/// What one takes besides its numbers, by estimate.
const OVERHEAD: usize = 200;

/// Vectors by text. One cache a provider, and a provider has one model: vectors of two models never meet.
pub(super) struct Embeddings {
    /// By a hash of the text, as some say what a person likes: nobody's text stays in memory for it.
    kept: Cache<u64, Vector>,
    /// Unlike those of the standard hasher its hashes cannot be foreseen.
    hasher: RandomState,
}

/// Of a text.
pub type Vector = std::sync::Arc<[f32]>;

#[derive(Deserialize)]
struct Answer {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// Where vectors come from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Remote(&'a Client),
    /// For a training: [`Client::insist`].
    Patient(&'a Client),
    #[cfg(feature = "candle")]
    Local(&'a Local),
}

impl Embeddings {
    pub fn new() -> Self {
        let size = |_: &u64, vector: &Vector| u32::try_from(OVERHEAD + size_of_val(&**vector)).unwrap_or(u32::MAX);
        Self { kept: Cache::builder().max_capacity(KEPT).weigher(size).build(), hasher: RandomState::new() }
    }

    pub async fn score(
        &self,
        source: Source<'_>,
        prefixes: (&str, &str),
        list: &ShortList,
        until: Instant,
    ) -> Result<Scores, ProviderError> {
        let mut texts = vec![format!("{}{}", prefixes.0, list.person)];
        texts.extend(list.candidates.iter().map(|candidate| format!("{}{candidate}", prefixes.1)));
        let vectors = self.vectors(source, &texts, until).await?;
        let (person, candidates) = vectors.split_first().ok_or_else(|| ProviderError::Unusable("no vectors".into()))?;
        if candidates.iter().any(|vector| vector.len() != person.len()) {
            // Another model may have come to answer under the same name: vectors of the one before are of no use.
            self.kept.invalidate_all();
            return Err(ProviderError::Unusable("its vectors differ in length".into()));
        }
        // Raw cosines of most models lie close together: what all candidates have in common says nothing.
        let mut mean = vec![0.0f32; person.len()];
        for vector in candidates {
            mean.iter_mut().zip(vector.iter()).for_each(|(mean, value)| *mean += value / candidates.len() as f32);
        }
        let centred =
            |vector: &Vector| vector.iter().zip(&mean).map(|(value, mean)| value - mean).collect::<Vec<f32>>();
        Ok(candidates.iter().map(|vector| Some((1.0 + cosine(person, &centred(vector))) / 2.0)).collect())
    }

    /// A unit vector for each text, made anew unless it is kept.
    async fn vectors(
        &self,
        source: Source<'_>,
        texts: &[String],
        until: Instant,
    ) -> Result<Vec<Vector>, ProviderError> {
        let key = |text: &String| self.hasher.hash_one(text);
        // Taken now: while the others are made, these may have to give way to vectors of other requests.
        let known: HashMap<&String, Vector> =
            texts.iter().filter_map(|text| Some((text, self.kept.get(&key(text))?))).collect();
        let missing = texts.iter().filter(|text| !known.contains_key(text)).cloned().collect();
        let fresh = fetch(source, missing, until).await?;
        for (text, vector) in &fresh {
            self.kept.insert(key(text), Vector::clone(vector));
        }
        let of = |text: &String| known.get(text).or_else(|| fresh.get(text)).cloned();
        texts.iter().map(|text| of(text).ok_or_else(missing_vector)).collect()
    }

    /// The same, and nothing is kept here.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn fetched(
        &self,
        source: Source<'_>,
        texts: &[String],
        until: Instant,
    ) -> Result<Vec<Vector>, ProviderError> {
        let fresh = fetch(source, texts.to_vec(), until).await?;
        texts.iter().map(|text| fresh.get(text).cloned().ok_or_else(missing_vector)).collect()
    }
}

fn missing_vector() -> ProviderError {
    ProviderError::Unusable("a vector is missing".into())
}

/// A vector for each text, in as many requests as it takes.
async fn fetch(
    source: Source<'_>,
    mut texts: Vec<String>,
    until: Instant,
) -> Result<HashMap<String, Vector>, ProviderError> {
    texts.sort_unstable();
    texts.dedup();
    // A stack of batches; one that the server finds too large is cut in two.
    let mut batches = batches(texts);
    let mut fresh = HashMap::new();
    while let Some(mut batch) = batches.pop() {
        let embedded = match source {
            Source::Remote(client) => {
                embed(client.post("/embeddings", &question(client, &batch), until), batch.len()).await
            }
            Source::Patient(client) => {
                embed(client.insist("/embeddings", &question(client, &batch), until), batch.len()).await
            }
            #[cfg(feature = "candle")]
            Source::Local(encoder) => encoder.embed(&batch).await,
        };
        match embedded {
            Ok(vectors) => fresh.extend(batch.into_iter().zip(vectors)),
            Err(ProviderError::Failed { status: Some(400 | 413), .. }) if batch.len() > 1 => {
                let second = batch.split_off(batch.len() / 2);
                batches.extend([second, batch]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(fresh)
}

/// The encoder in the process: one text batch at a time, as each takes all processors.
#[cfg(feature = "candle")]
pub(super) struct Local {
    encoder: std::sync::Arc<super::encoder::Encoder>,
    turn: tokio::sync::Semaphore,
}

#[cfg(feature = "candle")]
impl Local {
    pub fn open(folder: &std::path::Path) -> Result<Self, String> {
        let encoder = super::encoder::Encoder::open(folder)?;
        Ok(Self { encoder: std::sync::Arc::new(encoder), turn: tokio::sync::Semaphore::new(1) })
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vector>, ProviderError> {
        let unusable = |error: String| ProviderError::Unusable(error);
        let _turn = self.turn.acquire().await.map_err(|error| unusable(error.to_string()))?;
        let (encoder, texts) = (std::sync::Arc::clone(&self.encoder), texts.to_vec());
        let work = tokio::task::spawn_blocking(move || encoder.embed(&texts));
        let vectors = work.await.map_err(|error| unusable(error.to_string()))?.map_err(unusable)?;
        Ok(vectors.into_iter().map(Vector::from).collect())
    }
}

fn batches(texts: Vec<String>) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut taken = 0;
    for text in texts {
        let length = tokens(&text);
        match batches.last_mut() {
            Some(batch) if batch.len() < MOST_TEXTS && taken + length <= MOST_TOKENS => {
                taken += length;
                batch.push(text);
            }
            _ => {
                taken = length;
                batches.push(vec![text]);
            }
        }
    }
    batches
}

fn question(client: &Client, texts: &[String]) -> Value {
    json!({"model": client.settings.model, "input": texts, "encoding_format": "float"})
}

/// A unit vector for each of `count` texts, in their order, whatever order they come in.
async fn embed(
    asked: impl Future<Output = Result<Answer, ProviderError>>,
    count: usize,
) -> Result<Vec<Vector>, ProviderError> {
    let answer = asked.await?;
    let unusable = |what: &str| ProviderError::Unusable(what.to_owned());
    let mut vectors: Vec<Option<Vector>> = vec![None; count];
    let length = answer.data.first().map_or(0, |row| row.embedding.len());
    for (place, row) in answer.data.into_iter().enumerate() {
        let size = row.embedding.iter().map(|value| value * value).sum::<f32>().sqrt();
        if row.embedding.len() != length || !size.is_finite() || size <= 0.0 {
            return Err(unusable("a vector is of another length, empty or not finite"));
        }
        let slot = vectors.get_mut(row.index.unwrap_or(place)).ok_or_else(|| unusable("a vector of no text"))?;
        *slot = Some(row.embedding.into_iter().map(|value| value / size).collect());
    }
    vectors.into_iter().map(|vector| vector.ok_or_else(|| unusable("a text without a vector"))).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let size = (dot(a, a) * dot(b, b)).sqrt();
    if size > 0.0 { (dot(a, b) / size).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use wiremock::{Mock, MockServer, Request, ResponseTemplate};

    use super::*;

    #[test]
    fn vectors_are_kept_as_far_as_their_memory_goes() {
        for length in [8, 1_536] {
            let (embeddings, vector) = (Embeddings::new(), Vector::from(vec![0.5; length]));
            (0..60_000).for_each(|key| embeddings.kept.insert(key, Vector::clone(&vector)));
            embeddings.kept.run_pending_tasks();
            let (count, fits) = (embeddings.kept.entry_count(), KEPT / (OVERHEAD + 4 * length) as u64);
            assert!(count <= fits && count >= fits.min(60_000) * 9 / 10, "{count} of {length} numbers");
        }
    }

    #[tokio::test]
    async fn what_is_dropped_while_others_are_made_is_there_all_the_same() {
        let (server, embeddings) = (MockServer::start().await, Arc::new(Embeddings::new()));
        let kept = Arc::clone(&embeddings);
        let respond = move |request: &Request| {
            assert_eq!(request.body_json::<Value>().unwrap()["input"], json!(["new"]), "the other one is known");
            kept.kept.invalidate(&kept.hasher.hash_one("known"));
            ResponseTemplate::new(200).set_body_json(json!({"data": [{"index": 0, "embedding": [0.0, 2.0]}]}))
        };
        Mock::given(wiremock::matchers::any()).respond_with(respond).mount(&server).await;
        let settings = format!("kind = 'embeddings'\nbase_url = '{}'\nmodel = 'm'\nallow_private = true", server.uri());
        let client = Client::new(toml::from_str(&settings).unwrap(), Arc::default()).unwrap();
        embeddings.kept.insert(embeddings.hasher.hash_one("known"), Vector::from([1.0, 0.0]));
        let until = Instant::now() + Duration::from_secs(20);
        let texts = ["known".to_owned(), "new".to_owned()];
        let vectors = embeddings.vectors(Source::Remote(&client), &texts, until).await.unwrap();
        assert_eq!(vectors, [Vector::from([1.0, 0.0]), Vector::from([0.0, 1.0])]);
        assert!(embeddings.kept.contains_key(&embeddings.hasher.hash_one("new")));
    }

    #[test]
    fn batches_hold_so_many_texts_and_tokens_at_most() {
        let sizes = |texts: Vec<String>| batches(texts).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(vec!["a".to_owned(); 130]), [64, 64, 2]);
        assert_eq!(sizes(vec!["雨".repeat(3_000); 5]), [2, 2, 1]);
        assert_eq!(sizes(vec!["rain".repeat(3_000); 5]), [2, 2, 1]);
        assert_eq!(sizes(vec!["雨".repeat(9_000), "a".to_owned()]), [1, 1]);
        assert_eq!(sizes(Vec::new()), [0; 0]);
    }
}
