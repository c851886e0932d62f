//! Scoring by a re-ranking model: `POST /rerank` as Jina, vLLM and TEI have it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::{ProviderError, Scores, ShortList};

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Results { results: Vec<Row> },
    Bare(Vec<Row>),
}

#[derive(Deserialize)]
struct Row {
    index: usize,
    #[serde(alias = "relevance_score")]
    score: f32,
}

/// A server that scores by `POST /rerank`.
#[derive(Default)]
pub(super) struct Rerank {
    /// Whether it was seen to give logits; else its scores are taken for probabilities.
    gives_logits: AtomicBool,
}

impl Rerank {
    pub async fn score(&self, client: &Client, list: &ShortList, until: Instant) -> Result<Scores, ProviderError> {
        let mut scores = ask(client, list, until).await?;
        if scores.iter().flatten().any(|score| !(0.0..=1.0).contains(score)) {
            self.gives_logits.store(true, Ordering::Relaxed);
        }
        if self.gives_logits.load(Ordering::Relaxed) {
            scores.iter_mut().flatten().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp()));
        }
        Ok(scores)
    }
}

/// Scores of all candidates; a list that the server finds too large is cut in two.
async fn ask(client: &Client, list: &ShortList, until: Instant) -> Result<Scores, ProviderError> {
    let mut scores: Scores = vec![None; list.candidates.len()];
    let mut parts: Vec<Range<usize>> = std::iter::once(0..list.candidates.len()).collect();
    while let Some(part) = parts.pop() {
        match ask_part(client, list, part.clone(), until).await {
            Ok(rows) => {
                for row in rows.into_iter().filter(|row| row.score.is_finite() && row.index < part.len()) {
                    scores[part.start + row.index].get_or_insert(row.score);
                }
            }
            Err(ProviderError::Failed { status: Some(400 | 413), .. }) if part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                parts.extend([middle..part.end, part.start..middle]);
            }
            Err(error) => return Err(error),
        }
    }
    if scores.iter().all(Option::is_none) {
        return Err(ProviderError::Unusable("it scores none of the candidates".into()));
    }
    Ok(scores)
}

async fn ask_part(
    client: &Client,
    list: &ShortList,
    part: Range<usize>,
    until: Instant,
) -> Result<Vec<Row>, ProviderError> {
    let candidates = &list.candidates[part];
    let body = json!({
        "model": client.settings.model,
        "query": list.person,
        "documents": candidates,
        "texts": candidates,
        "top_n": candidates.len(),
        "return_documents": false,
    });
    Ok(match client.post("/rerank", &body, until).await? {
        Answer::Results { results } => results,
        Answer::Bare(rows) => rows,
    })
}
