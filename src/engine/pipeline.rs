//! READ FIRST. The pipeline: retrieve -> score -> blend -> filter -> re-rank -> explain.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::domain::{Behaviour, Degradation, Domain, ItemId, ModelRef, Query, RankedItem, Recommendation, Rerank};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::blend::{HistorySlice, SliceBlend};
use super::catalogue::Catalogue;
use super::explain;
use super::preference::{newest, preferences};
use super::rerank::diversity;
use super::scorers::content::Content;
use super::scorers::{Profile, Scorer};
use super::settings::InteractionSettings;
use super::tastes::{self, Resolved, TasteProfile, Wanted};

/// Names that `model` in a request may have, the hybrid first.
pub const MODEL_NAMES: [&str; 4] = ["hybrid", "ease", "content", "popularity"];

/// The share of a score that the tastes of the list's own domain have, those of a free text across domains, and those of other domains.
const OWN_TASTES: f32 = 0.7;
const FREE_TEXT: f32 = 0.6;
const FOREIGN_TASTES: f32 = 0.25;
/// A taste is carried into other domains by this many of the best-known items that meet it, each with this strength.
const STAND_INS: usize = 20;
const STAND_IN_STRENGTH: f32 = 0.1;

/// Raw scores of popularity, content and EASE, by candidate; `None` where a scorer abstains.
pub type Features = [Option<Vec<f32>>; 3];

/// How one candidate's relevance came about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    /// The weighted, normalised scores of popularity, content and EASE.
    pub scorers: [f32; 3],
    pub tastes: f32,
}

impl Parts {
    pub(super) fn total(&self) -> f32 {
        (self.scorers.iter().sum::<f32>() + self.tastes).clamp(0.0, 1.0)
    }
}

/// Ranks. `history` is the person's behaviour, session included ([`Behaviour::merged`]). The same arguments give the same answer:
/// decay is reckoned from the newest behaviour of the history, not from a clock; ties are broken by item id.
///
/// With `diversity` above 0 the score of an item is its marginal value ([`diversity::select`]), else its relevance.
#[must_use]
pub fn recommend(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    interactions: &InteractionSettings,
    query: &Query,
    history: &[Behaviour],
) -> Recommendation {
    let (tastes, unmatched) = tastes::resolve(catalogue, &query.tastes);
    let profile = profile(catalogue, model, interactions, history, tastes);
    let hidden = hidden(catalogue, query, history, &profile);
    let name = query.model.as_deref().unwrap_or(MODEL_NAMES[0]);

    let mut candidates = Vec::new();
    let mut ranges = Vec::new();
    for domain in &query.domains {
        let start = candidates.len();
        let eligible = |index: &ItemIndex| {
            !hidden[index.0 as usize]
                && catalogue.get(*index).is_some_and(|item| item.available && query.filters.admits(item))
        };
        candidates.extend(catalogue.of_domain(domain).iter().copied().filter(eligible));
        ranges.push(start..candidates.len());
    }
    let features = features(catalogue, model, &profile, &candidates);
    let matched = TasteScores::new(catalogue, &profile.tastes);

    let lists = query.domains.iter().zip(ranges).map(|(domain, range)| {
        let blend = slice_blend(catalogue, model, &profile, domain);
        let tastes = matched.of(domain);
        let parts: Vec<Parts> =
            range.clone().map(|at| relevance(name, &features, at, &blend, &tastes, candidates[at])).collect();
        let pool = best(catalogue, &candidates[range.clone()], &parts, query);
        let scores: Vec<f32> = pool.iter().map(|&at| parts[at].total()).collect();
        let item_of = |at: usize| candidates[range.start + pool[at]];
        let similar = |a: usize, b: usize| catalogue.content().similarity(item_of(a), item_of(b));
        let picked = diversity::select(&scores, query.limit, query.diversity, similar);
        let ranked = picked.into_iter().filter_map(|(at, score)| {
            let index = item_of(at);
            let reasons = if query.explain {
                explain::reasons(catalogue, model, &profile, domain, index, &parts[pool[at]])
            } else {
                Vec::new()
            };
            Some(RankedItem { item: catalogue.get(index)?.clone(), score, reasons })
        });
        (domain.clone(), ranked.collect())
    });
    let lists = lists.collect();

    let mut degraded = Vec::new();
    if model.is_none() {
        degraded.push(Degradation::NoModel);
    }
    if query.rerank == Rerank::Llm {
        degraded.push(Degradation::LlmNotConfigured);
    }
    let model = ModelRef {
        name: name.to_owned(),
        version: model.map(|bound| bound.model.manifest.version.clone()),
        trained_at: model.map(|bound| bound.model.manifest.trained_at),
    };
    Recommendation { model, lists, unmatched, degraded }
}

/// What the scorers know of the person: strengths by item, and items that stand for the tastes.
#[must_use]
pub fn profile(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    interactions: &InteractionSettings,
    history: &[Behaviour],
    tastes: TasteProfile,
) -> Profile {
    let mut known: Vec<(ItemIndex, f32)> = preferences(history, interactions, newest(history))
        .into_iter()
        .filter_map(|(item, strength)| Some((catalogue.index_of(&item)?, strength)))
        .collect();
    for taste in &tastes.resolved {
        if let Wanted::Titles(titles) = &taste.wanted {
            for &title in titles {
                match known.iter_mut().find(|(item, _)| *item == title) {
                    Some((_, strength)) => *strength = strength.max(1.0),
                    None => known.push((title, 1.0)),
                }
            }
        }
    }
    // Sums of floating point numbers depend on their order: let it be the same in every process.
    known.sort_unstable_by(|a, b| catalogue.id(a.0).cmp(catalogue.id(b.0)));
    let pseudo_history = stand_ins(catalogue, model, &tastes);
    Profile { history: known, pseudo_history, tastes }
}

fn stand_ins(catalogue: &Catalogue, model: Option<&BoundModel>, tastes: &TasteProfile) -> Vec<(ItemIndex, f32)> {
    let Some(model) = model else { return Vec::new() };
    let popularity = model.popularity();
    let mut all: BTreeSet<(&ItemId, ItemIndex)> = BTreeSet::new();
    for taste in tastes.resolved.iter().filter(|taste| !matches!(taste.wanted, Wanted::Titles(_))) {
        let mut met = vec![0.0; catalogue.places()];
        tastes::matches(catalogue, &taste.wanted, &mut met);
        let mut best: Vec<(f32, ItemIndex)> = met
            .iter()
            .enumerate()
            .filter(|(_, met)| **met > 0.0)
            .map(|(place, met)| (met * popularity.of(ItemIndex(place as u32)), ItemIndex(place as u32)))
            .filter(|&(score, index)| {
                score > 0.0
                    && catalogue
                        .get(index)
                        .is_some_and(|item| taste.domain.as_ref().is_none_or(|domain| item.domain == *domain))
            })
            .collect();
        best.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| catalogue.id(a.1).cmp(catalogue.id(b.1))));
        all.extend(best.into_iter().take(STAND_INS).map(|(_, index)| (catalogue.id(index), index)));
    }
    all.into_iter().map(|(_, index)| (index, STAND_IN_STRENGTH)).collect()
}

/// By place: what must not be returned whatever its score: excluded, and unless wanted, what was consumed or named.
fn hidden(catalogue: &Catalogue, query: &Query, history: &[Behaviour], profile: &Profile) -> Vec<bool> {
    let mut hidden = vec![false; catalogue.places()];
    let mut hide = |index: ItemIndex| hidden[index.0 as usize] = true;
    for id in &query.exclude {
        catalogue.index_of(id).map(&mut hide);
    }
    if !query.include_seen {
        for entry in history {
            catalogue.index_of(&entry.item_id).map(&mut hide);
        }
        for taste in &profile.tastes.resolved {
            if let Wanted::Titles(titles) = &taste.wanted {
                titles.iter().copied().for_each(&mut hide);
            }
        }
    }
    hidden
}

/// The raw scores that the blend is fitted on and served with.
#[must_use]
pub fn features(catalogue: &Catalogue, model: Option<&BoundModel>, profile: &Profile, items: &[ItemIndex]) -> Features {
    let run = |scorer: &dyn Scorer| {
        let mut out = vec![0.0; items.len()];
        scorer.score(catalogue, profile, items, &mut out).then_some(out)
    };
    [model.and_then(|model| run(&model.popularity())), run(&Content), model.and_then(|model| run(&model.ease()))]
}

/// The slice that a person is in, for one domain.
#[must_use]
pub fn slice_of(catalogue: &Catalogue, profile: &Profile, domain: &Domain) -> HistorySlice {
    let of_domain = |(index, _): &&(ItemIndex, f32)| catalogue.get(*index).is_some_and(|item| item.domain == *domain);
    let items = profile.history.iter().filter(of_domain).count();
    HistorySlice::of(items, !profile.history.is_empty() || !profile.pseudo_history.is_empty())
}

fn slice_blend(catalogue: &Catalogue, model: Option<&BoundModel>, profile: &Profile, domain: &Domain) -> SliceBlend {
    let slice = slice_of(catalogue, profile, domain);
    model.map_or_else(|| SliceBlend::unfitted(slice), |model| model.blend().of(domain, slice))
}

/// Weighted, normalised scores of one candidate; the weights of scorers that abstain go to the others.
#[must_use]
pub fn blended(features: &Features, at: usize, blend: &SliceBlend) -> [f32; 3] {
    let heard: f32 = (0..3).filter(|&scorer| features[scorer].is_some()).map(|scorer| blend.weights[scorer]).sum();
    std::array::from_fn(|scorer| match &features[scorer] {
        Some(scores) if heard > 0.0 => blend.weights[scorer] / heard * blend.normalised(scorer, scores[at]),
        // Only scorers without weight have something to say: better that than nothing.
        Some(scores) => blend.normalised(scorer, scores[at]) / 3.0,
        None => 0.0,
    })
}

fn relevance(
    name: &str,
    features: &Features,
    at: usize,
    blend: &SliceBlend,
    matched: &ListTastes<'_>,
    item: ItemIndex,
) -> Parts {
    let alone = match name {
        "popularity" => Some(0),
        "content" => Some(1),
        "ease" => Some(2),
        _ => None,
    };
    if let Some(scorer) = alone {
        let heard = if features[scorer].is_some() { scorer } else { 0 };
        let mut parts = Parts::default();
        if let Some(scores) = &features[heard] {
            parts.scorers[heard] = blend.normalised(heard, scores[at]);
        }
        if name == "content" {
            add_tastes(&mut parts, matched, item);
        }
        return parts;
    }
    let mut parts = Parts { scorers: blended(features, at, blend), tastes: 0.0 };
    add_tastes(&mut parts, matched, item);
    parts
}

fn add_tastes(parts: &mut Parts, matched: &ListTastes<'_>, item: ItemIndex) {
    let share = matched.share;
    if share > 0.0 {
        for score in &mut parts.scorers {
            *score *= 1.0 - share;
        }
        parts.tastes = share * matched.score(item);
    }
}

/// How much each place of the catalogue meets each taste.
struct TasteScores<'a> {
    tastes: Vec<(&'a Resolved, Vec<f32>)>,
}

impl<'a> TasteScores<'a> {
    fn new(catalogue: &Catalogue, profile: &'a TasteProfile) -> Self {
        let score = |taste: &'a Resolved| {
            let mut out = vec![0.0; catalogue.places()];
            tastes::matches(catalogue, &taste.wanted, &mut out);
            (taste, out)
        };
        Self { tastes: profile.resolved.iter().map(score).collect() }
    }

    /// The tastes that speak for a list: its own and those for all domains, or if there are none, those of other domains.
    fn of(&self, domain: &Domain) -> ListTastes<'_> {
        let own = |taste: &Resolved| taste.domain.as_ref().is_none_or(|of| of == domain);
        let any_own = self.tastes.iter().any(|(taste, _)| own(taste));
        let speaking = self.tastes.iter().filter(|(taste, _)| !any_own || own(taste));
        let given_for = |wanted: Option<&Domain>| self.tastes.iter().any(|(taste, _)| taste.domain.as_ref() == wanted);
        let share = if given_for(Some(domain)) {
            OWN_TASTES
        } else if given_for(None) {
            FREE_TEXT
        } else if self.tastes.is_empty() {
            0.0
        } else {
            FOREIGN_TASTES
        };
        ListTastes { scores: speaking.map(|(_, scores)| scores.as_slice()).collect(), share }
    }
}

/// The tastes that speak for one list, and their share in its scores.
struct ListTastes<'a> {
    scores: Vec<&'a [f32]>,
    share: f32,
}

impl ListTastes<'_> {
    /// Meeting one taste is good, meeting more is better: `1 - Π (1 - 0.75 mᵢ)`.
    fn score(&self, item: ItemIndex) -> f32 {
        let missed: f32 =
            self.scores.iter().map(|scores| 1.0 - 0.75 * scores[item.0 as usize].clamp(0.0, 1.0)).product();
        1.0 - missed
    }
}

/// Places among `items` of the most relevant, best first: enough for the re-ranker to choose from.
fn best(catalogue: &Catalogue, items: &[ItemIndex], parts: &[Parts], query: &Query) -> Vec<usize> {
    let wanted = if query.diversity > 0.0 { query.limit * 3 + 50 } else { query.limit };
    let scores: Vec<f32> = parts.iter().map(Parts::total).collect();
    let better = |a: &usize, b: &usize| -> Ordering {
        scores[*b].total_cmp(&scores[*a]).then_with(|| catalogue.id(items[*a]).cmp(catalogue.id(items[*b])))
    };
    let mut places: Vec<usize> = (0..items.len()).collect();
    if places.len() > wanted {
        places.select_nth_unstable_by(wanted, better);
        places.truncate(wanted);
    }
    places.sort_unstable_by(better);
    places
}

/// The nearest neighbours of an item, in `domains`, by content and EASE in equal parts; never the item itself. `None` when the catalogue
/// does not have the item.
#[must_use]
pub fn similar(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    item: &ItemId,
    domains: &[Domain],
    limit: usize,
) -> Option<Vec<(Domain, Vec<RankedItem>)>> {
    let index = catalogue.index_of(item).filter(|&index| catalogue.get(index).is_some())?;
    let profile = Profile { history: vec![(index, 1.0)], ..Profile::default() };
    let lists = domains.iter().map(|domain| {
        let items: Vec<ItemIndex> = catalogue
            .of_domain(domain)
            .iter()
            .copied()
            .filter(|&other| other != index && catalogue.get(other).is_some_and(|item| item.available))
            .collect();
        let mut features = features(catalogue, model, &profile, &items);
        features[0] = None;
        let blend = SliceBlend { weights: [0.0, 0.5, 0.5], ..slice_blend(catalogue, model, &profile, domain) };
        let score = |at| blended(&features, at, &blend).iter().sum::<f32>();
        let mut ranked: Vec<(f32, ItemIndex)> = items.iter().enumerate().map(|(at, &item)| (score(at), item)).collect();
        ranked.retain(|&(score, _)| score > 0.0);
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| catalogue.id(a.1).cmp(catalogue.id(b.1))));
        let list = ranked.into_iter().take(limit).filter_map(|(score, index)| {
            Some(RankedItem { item: catalogue.get(index)?.clone(), score, reasons: Vec::new() })
        });
        (domain.clone(), list.collect())
    });
    Some(lists.collect())
}
