//! The provider in the process itself: the static table of word vectors. No large model, and no network; a baseline that others have to beat.

use crate::engine::text_vectors::{cosine, embed};

use super::{ProviderError, Scores, ShortList};

/// The cosine between the person's text and each candidate's, brought to 0..=1; `None` for a text without a known word.
pub(super) fn score(list: &ShortList) -> Result<Scores, ProviderError> {
    let person = embed(&list.person);
    let person = person.ok_or_else(|| ProviderError::Unusable("no word of the person's text is known".into()))?;
    let of = |text: &String| embed(text).map(|vector| f32::midpoint(1.0, cosine(&person, &vector)).clamp(0.0, 1.0));
    Ok(list.candidates.iter().map(of).collect())
}
