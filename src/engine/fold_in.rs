//! Fold-in: what the scorers know of a person, made at request time from behaviour and tastes.

use std::collections::BTreeMap;

use crate::domain::{Behaviour, ItemId};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::catalogue::Catalogue;
use super::preference::{newest, preferences};
use super::scorers::Profile;
use super::settings::InteractionSettings;
use super::tastes::{Met, Resolved, TasteProfile, Wanted};
use super::top_k::top_k;

/// A taste is carried into other domains by this many of the best-known items that meet it, each with this strength.
const STAND_INS: usize = 20;
const STAND_IN_STRENGTH: f32 = 0.1;
/// All stand-ins together say at most this much of what the real history says.
const STAND_INS_TO_HISTORY: f32 = 0.5;

/// The profile of a person: strengths by item, and items that stand for the tastes. `matched[t]` are the items that meet taste `t`
/// ([`super::tastes::matches`]).
#[must_use]
pub fn profile(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    interactions: &InteractionSettings,
    history: &[Behaviour],
    tastes: TasteProfile,
    matched: &[Met<'_>],
) -> Profile {
    let mut known: BTreeMap<&ItemId, (ItemIndex, f32)> = BTreeMap::new();
    for (item, strength) in preferences(history, interactions, newest(history)) {
        if let Some(index) = catalogue.index_of(&item) {
            known.insert(catalogue.id(index), (index, strength));
        }
    }
    for taste in &tastes.resolved {
        if let Wanted::Titles(titles) = &taste.wanted {
            for &title in titles {
                let entry = known.entry(catalogue.id(title)).or_insert((title, 1.0));
                entry.1 = entry.1.max(1.0);
            }
        }
    }
    // In the order of ids: sums of floating point numbers depend on it, and it must be the same in every process.
    let history: Vec<(ItemIndex, f32)> = known.into_values().collect();
    let pseudo_history = stand_ins(catalogue, model, &history, &tastes, matched);
    Profile { history, pseudo_history, tastes }
}

fn stand_ins(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    history: &[(ItemIndex, f32)],
    tastes: &TasteProfile,
    matched: &[Met<'_>],
) -> Vec<(ItemIndex, f32)> {
    let Some(model) = model else { return Vec::new() };
    let popularity = model.popularity();
    let mut all: BTreeMap<&ItemId, ItemIndex> = BTreeMap::new();
    for (taste, met) in tastes.resolved.iter().zip(matched) {
        let (mut items, mut scores) = (Vec::new(), Vec::new());
        for (index, met) in meeting(catalogue, taste, met) {
            let score = met * popularity.of(index);
            if score > 0.0 {
                items.push(index);
                scores.push(score);
            }
        }
        let best = top_k(catalogue, &items, &scores, STAND_INS);
        all.extend(best.into_iter().map(|place| (catalogue.id(items[place]), items[place])));
    }
    let real: f32 = history.iter().map(|&(_, strength)| strength.max(0.0)).sum();
    let share = STAND_INS_TO_HISTORY * real / all.len().max(1) as f32;
    let strength = if real > 0.0 { share.min(STAND_IN_STRENGTH) } else { STAND_IN_STRENGTH };
    all.into_values().map(|index| (index, strength)).collect()
}

/// The items that meet a taste: those of its domain if there are any, else those of the others.
fn meeting(catalogue: &Catalogue, taste: &Resolved, met: &Met<'_>) -> impl Iterator<Item = (ItemIndex, f32)> {
    let number = taste.domain.as_ref().and_then(|domain| catalogue.domain_number(domain));
    let own = number.filter(|&number| met.items().iter().any(|&(item, _)| catalogue.is_of(item, number)));
    let items = met.items().iter().copied();
    items.filter(move |&(item, _)| own.is_none_or(|number| catalogue.is_of(item, number)))
}
