//! Scoring by text embeddings: the cosine between the person's text and each candidate's. Vectors of candidates are kept by text.

use std::collections::HashMap;
use std::time::Instant;

use moka::sync::Cache;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, tokens};
use super::{ProviderError, Scores, ShortList};

/// Texts and, by estimate, tokens that one request holds at most.
const MOST_TEXTS: usize = 64;
const MOST_TOKENS: u64 = 8_000;
/// So many vectors are kept.
const KEPT: u64 = 50_000;

/// Vectors by text. One cache a provider, and a provider has one model: vectors of two models never meet.
pub(super) struct Embeddings {
    kept: Cache<String, Vector>,
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
        Self { kept: Cache::new(KEPT) }
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
        let missing = texts.iter().filter(|text| !self.kept.contains_key(*text)).cloned().collect();
        let fresh = fetch(source, missing, until).await?;
        for (text, vector) in &fresh {
            self.kept.insert(text.clone(), Vector::clone(vector));
        }
        let of = |text: &String| fresh.get(text).cloned().or_else(|| self.kept.get(text));
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
    use super::*;

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
