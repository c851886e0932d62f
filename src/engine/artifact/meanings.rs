//! How the vectors of the items' texts lie in an artifact. One without any has none of these tensors.

use safetensors::tensor::TensorView;

use crate::engine::meanings::Meanings;

use super::tensors::{Tensors, view};
use super::{ArtifactError, broken};

const SOURCE: &str = "texts.source";

/// Whose they are, as JSON.
pub(super) fn source(meanings: &Meanings) -> Result<String, ArtifactError> {
    serde_json::to_string(&meanings.source).map_err(|error| broken(error.to_string()))
}

/// The tensors; `source` is [`source`].
pub(super) fn views<'a>(
    meanings: &'a Meanings,
    source: &'a str,
) -> Result<Vec<(String, TensorView<'a>)>, ArtifactError> {
    Ok(vec![
        (SOURCE.to_owned(), view(source.as_bytes())?),
        ("texts.mean".to_owned(), view(&meanings.mean)?),
        ("texts.values".to_owned(), view(&meanings.values)?),
        ("texts.scales".to_owned(), view(&meanings.scales)?),
    ])
}

pub(super) fn read(tensors: &Tensors) -> Result<Option<Meanings>, ArtifactError> {
    if !tensors.has(SOURCE) {
        return Ok(None);
    }
    let source = serde_json::from_slice(&tensors.numbers::<u8>(SOURCE)?);
    Ok(Some(Meanings {
        source: source.map_err(|error| broken(format!("{SOURCE}: {error}")))?,
        mean: tensors.numbers("texts.mean")?,
        values: tensors.numbers("texts.values")?,
        scales: tensors.numbers("texts.scales")?,
    }))
}
