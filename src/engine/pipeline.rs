//! READ FIRST. The pipeline: retrieve -> score -> blend -> filter -> re-rank -> explain.

use crate::domain::{Behaviour, Domain, ItemId, Query, RankedItem, Recommendation};

use super::artifact::BoundModel;
use super::catalogue::Catalogue;
use super::settings::InteractionSettings;

/// Names that `model` in a request may have, the hybrid first.
pub const MODEL_NAMES: [&str; 4] = ["hybrid", "ease", "content", "popularity"];

/// Ranks. `history` is the person's behaviour, session included ([`Behaviour::merged`]). The same arguments give the same answer:
/// decay is reckoned from the newest behaviour of the history, not from a clock; ties are broken by item id.
#[must_use]
pub fn recommend(
    _catalogue: &Catalogue,
    _model: Option<&BoundModel>,
    _interactions: &InteractionSettings,
    _query: &Query,
    _history: &[Behaviour],
) -> Recommendation {
    todo!()
}

/// The nearest neighbours of an item, in `domains`, by the collaborative and the content scorer; never the item itself.
/// `None` when the catalogue does not have the item.
#[must_use]
pub fn similar(
    _catalogue: &Catalogue,
    _model: Option<&BoundModel>,
    _item: &ItemId,
    _domains: &[Domain],
    _limit: usize,
) -> Option<Vec<(Domain, Vec<RankedItem>)>> {
    todo!()
}
