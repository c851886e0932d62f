//! From items' texts to vectors: what the store has kept is read, the rest is asked of the provider in batches, and each batch is kept as it comes, so that
//! a training that is cut off goes on where it was. Without all of them there are none: a model that knows half of its items by text would prefer that half.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::domain::{Item, VectorSource};
use crate::engine::item_vectors::ItemVectors;
use crate::large_model::{Embedder, Provider, ProviderError};
use crate::store::{Store, StoreError, TextHash, TextVector};

/// Texts that are asked for, and kept, at once.
const BATCH: usize = 64;
/// Kept vectors read at once.
const PAGE: u32 = 5_000;
/// The longest text, in characters.
const LONGEST: usize = 2_000;

/// What became of it, for the manifest.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VectorReport {
    /// Who was asked.
    #[serde(flatten)]
    pub source: VectorSource,
    /// Numbers of a vector; 0: there are none.
    pub dimensions: usize,
    /// Different texts, and how many of them the provider was asked for.
    pub texts: usize,
    pub asked: usize,
    /// Why the training goes on without vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum VectorError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "it gives vectors of {found} numbers where those of this model and revision have {kept}: name another revision"
    )]
    Length { kept: usize, found: usize },
}

/// Vectors for the texts of `items`, in their order. A failure costs the vectors, and stands in the report.
pub(super) async fn vectors(
    store: &dyn Store,
    embedder: &Embedder,
    items: &[Item],
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> (Option<ItemVectors>, VectorReport) {
    let mut report = VectorReport::default();
    let outcome = all(store, embedder, items, &mut report, progress).await;
    let vectors = outcome.map(|rows| {
        let dimensions = rows.iter().flatten().map(Vec::len).next().unwrap_or(0);
        ItemVectors::new(dimensions, &rows)
    });
    match vectors {
        Ok(vectors) => {
            report.dimensions = vectors.as_ref().map_or(0, ItemVectors::dimensions);
            (vectors, report)
        }
        Err(error) => {
            tracing::warn!(provider = report.source.provider, %error, "no vectors of items' texts: the training goes on without");
            report.failed = Some(error.to_string());
            (None, report)
        }
    }
}

async fn all(
    store: &dyn Store,
    embedder: &Embedder,
    items: &[Item],
    report: &mut VectorReport,
    progress: &(dyn Fn(&str, f32) + Send + Sync),
) -> Result<Vec<Option<Vec<f32>>>, VectorError> {
    let provider = embedder.provider()?;
    report.source = provider.source();
    let texts: Vec<String> = items.iter().map(|item| provider.passage(&text_of(item))).collect();
    let by_hash: HashMap<TextHash, &String> =
        texts.iter().filter(|text| !text.is_empty()).map(|text| (hash(text), text)).collect();
    report.texts = by_hash.len();
    if provider.is_in_process() {
        return Ok(provider.embed(&texts).await?);
    }
    let source = report.source.clone();
    let mut known = kept(store, &source, &by_hash).await?;
    let mut missing: Vec<TextHash> = by_hash.keys().filter(|hash| !known.contains_key(*hash)).copied().collect();
    missing.sort_unstable();
    report.asked = missing.len();
    let batches = missing.chunks(BATCH).map(|batch| ask(store, provider, &source, batch, &by_hash));
    let mut answers = stream::iter(batches.collect::<Vec<_>>()).buffer_unordered(provider.max_concurrency());
    let (mut done, asked) = (0, report.asked);
    while let Some(fresh) = answers.try_next().await? {
        for (hash, vector) in fresh {
            let length = known.values().next().map_or(vector.len(), Vec::len);
            if length != vector.len() {
                return Err(VectorError::Length { kept: length, found: vector.len() });
            }
            known.insert(hash, vector);
            done += 1;
        }
        progress("embed items", done as f32 / asked as f32);
    }
    Ok(texts.iter().map(|text| known.get(&hash(text)).cloned()).collect())
}

/// Of these texts, the vectors that the store has.
async fn kept(
    store: &dyn Store,
    source: &VectorSource,
    wanted: &HashMap<TextHash, &String>,
) -> Result<HashMap<TextHash, Vec<f32>>, VectorError> {
    let mut known = HashMap::new();
    let mut lengths = HashSet::new();
    let mut after: Option<TextVector> = None;
    loop {
        let page = store.text_vectors(source, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        for (hash, vector) in page {
            if wanted.contains_key(&hash) {
                lengths.insert(vector.len());
                known.insert(hash, vector);
            }
        }
    }
    let (kept, found) = (lengths.iter().min(), lengths.iter().max());
    match (kept, found) {
        (Some(&kept), Some(&found)) if kept != found => Err(VectorError::Length { kept, found }),
        _ => Ok(known),
    }
}

/// One batch, kept before it is used.
async fn ask(
    store: &dyn Store,
    provider: &Provider,
    source: &VectorSource,
    batch: &[TextHash],
    by_hash: &HashMap<TextHash, &String>,
) -> Result<Vec<TextVector>, VectorError> {
    let texts: Vec<String> = batch.iter().map(|hash| by_hash[hash].clone()).collect();
    let vectors = provider.embed(&texts).await?;
    let fresh: Vec<TextVector> =
        batch.iter().zip(vectors).filter_map(|(hash, vector)| Some((*hash, vector?))).collect();
    store.keep_text_vectors(source, &fresh).await?;
    Ok(fresh)
}

fn hash(text: &str) -> TextHash {
    Sha256::digest(text).into()
}

/// What a model is to read of an item: title, creators, genres, tags, description.
fn text_of(item: &Item) -> String {
    let parts = [
        item.title.clone(),
        item.creators.join(", "),
        item.genres.join(", "),
        item.tags.join(", "),
        item.description.clone().unwrap_or_default(),
    ];
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    parts.join(". ").chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
