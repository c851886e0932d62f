//! Fold-in: what the scorers know of a person, made at request time from behaviour and tastes.

use std::sync::Arc;

use crate::domain::Behaviour;

use super::ItemIndex;
use super::catalogue::Catalogue;
use super::known_taste::KnownTaste;
use super::preference::{newest, rated_low, strengths};
use super::scorers::Profile;
use super::settings::InteractionSettings;
use super::wanted::Wanted;

/// What each item that stands for a taste says.
const STAND_IN_STRENGTH: f32 = 0.1;
/// All stand-ins together say at most this much of what the real history says.
const STAND_INS_TO_HISTORY: f32 = 0.5;

/// The profile of a person: strengths by item, and the tastes with the items that stand for them.
#[must_use]
pub fn profile(
    catalogue: &Catalogue,
    interactions: &InteractionSettings,
    history: &[Behaviour],
    tastes: Vec<Arc<KnownTaste>>,
) -> Profile {
    let unliked: Vec<ItemIndex> =
        rated_low(history, interactions).filter_map(|item| catalogue.index_of(item)).collect();
    // In the order of ids: sums of floating point numbers depend on it, and it must be the same in every process.
    let known = strengths(history, interactions, newest(history)).into_iter();
    let mut history: Vec<(ItemIndex, f32)> =
        known.filter_map(|(item, strength)| Some((catalogue.index_of(item)?, strength))).collect();
    // To have seen something says a little for its like. Of somebody of whom nothing else is known that little would be all, and bring more of what was
    // rated low.
    if history.iter().all(|(item, strength)| *strength <= 0.0 || unliked.contains(item)) {
        history.retain(|&(_, strength)| strength <= 0.0);
    }
    for taste in &tastes {
        if let Wanted::Titles(titles) = &taste.resolved.wanted {
            for &title in titles {
                let id = catalogue.id(title);
                match history.binary_search_by(|(known, _)| catalogue.id(*known).cmp(id)) {
                    Ok(at) => history[at].1 = history[at].1.max(1.0),
                    Err(at) => history.insert(at, (title, 1.0)),
                }
            }
        }
    }
    let real: f32 = history.iter().map(|&(_, strength)| strength.max(0.0)).sum();
    let stand_ins: usize = tastes.iter().map(|taste| taste.stand_ins.len()).sum();
    let share = STAND_INS_TO_HISTORY * real / stand_ins.max(1) as f32;
    let stand_in_strength = if real > 0.0 { share.min(STAND_IN_STRENGTH) } else { STAND_IN_STRENGTH };
    Profile { history, unliked, tastes, stand_in_strength }
}
