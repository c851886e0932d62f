//! Scoring by a re-ranking model: `POST /rerank` as Jina, vLLM and TEI have it.

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

pub(super) async fn score(client: &Client, list: &ShortList, until: Instant) -> Result<Scores, ProviderError> {
    let body = json!({
        "model": client.settings.model,
        "query": list.person,
        "documents": list.candidates,
        "texts": list.candidates,
        "top_n": list.candidates.len(),
        "return_documents": false,
    });
    let rows = match client.post("/rerank", &body, until).await? {
        Answer::Results { results } => results,
        Answer::Bare(rows) => rows,
    };
    let mut scores: Scores = vec![None; list.candidates.len()];
    for row in rows.into_iter().filter(|row| row.score.is_finite()) {
        if let Some(score) = scores.get_mut(row.index) {
            score.get_or_insert(row.score);
        }
    }
    // Some give probabilities, some logits.
    if scores.iter().flatten().any(|score| !(0.0..=1.0).contains(score)) {
        scores.iter_mut().flatten().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp()));
    }
    if scores.iter().all(Option::is_none) {
        return Err(ProviderError::Unusable("it scores none of the candidates".into()));
    }
    Ok(scores)
}
