//! How the vectors of the items' texts lie in an artifact. One without any has none of these tensors.

use safetensors::tensor::TensorView;

use crate::domain::VectorSource;
use crate::engine::meanings::Meanings;

use super::tensors::{Tensors, view};
use super::{ArtifactError, broken};

const SOURCE: &str = "texts.source";

/// Whose they are, a line each.
pub(super) fn source(meanings: &Meanings) -> String {
    let VectorSource { provider, model, revision } = &meanings.source;
    format!("{provider}\n{model}\n{revision}\n")
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
    let Ok([provider, model, revision]) = <[String; 3]>::try_from(tensors.lines(SOURCE)?) else {
        return Err(broken("the source of the texts' vectors is not three lines".into()));
    };
    Ok(Some(Meanings {
        source: VectorSource { provider, model, revision },
        mean: tensors.numbers("texts.mean")?,
        values: tensors.numbers("texts.values")?,
        scales: tensors.numbers("texts.scales")?,
    }))
}
