//! Explain: reasons computed from the scores that ranked an item.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::domain::{ItemId, Reason, ReasonCode};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::catalogue::Catalogue;
use super::list::Parts;
use super::pipeline::with_scorer;
use super::scorers::{ByScorer, CONTENT, Contribution, Contributions, POPULARITY, Profile, SCORERS, Scorer};
use super::taste_match::ListTastes;
use super::wanted::{Resolved, Wanted};

/// The most reasons an item gets, and the most items that one reason names.
const REASONS: usize = 4;
const EVIDENCE: usize = 3;
/// What has less weight is told only where nothing has more.
const LEAST: f32 = 0.02;
/// What meets several words by as much is said to match them, and not only a part of them.
const WHOLE: f32 = 0.5;
const MATCHES: &str = "Matches your taste for";
const MATCHES_IN_PART: &str = "Matches in part your taste for";
/// By its meaning, which is a guess.
const COMES_NEAR: &str = "Comes near your taste for";
const SIMILAR: &str = "Similar to";

/// For whom and out of what an item was ranked.
pub(super) struct Asked<'a> {
    catalogue: &'a Catalogue,
    model: Option<&'a BoundModel>,
    profile: &'a Profile,
    tastes: &'a ListTastes<'a>,
    /// What of the history may be said to be liked: what was disliked may speak for its opposite, but nobody liked it.
    liked: HashSet<ItemIndex>,
    /// By scorer, made when the first item needs it.
    contributions: ByScorer<OnceCell<Contributions<'a>>>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        catalogue: &'a Catalogue,
        model: Option<&'a BoundModel>,
        profile: &'a Profile,
        tastes: &'a ListTastes<'a>,
    ) -> Self {
        let unliked: HashSet<ItemIndex> = profile.unliked.iter().copied().collect();
        let for_it = profile.history.iter().filter(|(_, strength)| *strength > 0.0).map(|&(item, _)| item);
        let liked = for_it.filter(|item| !unliked.contains(item)).collect();
        Self { catalogue, model, profile, tastes, liked, contributions: Default::default() }
    }

    /// What a scorer's score of an item is made of, largest first.
    fn contributions(&self, scorer: usize, item: ItemIndex) -> Vec<Contribution> {
        let made = self.contributions[scorer].get_or_init(|| {
            let of = |scorer: &dyn Scorer<'a>| scorer.contributions(self.catalogue, self.profile);
            with_scorer(self.model, scorer, of).unwrap_or_else(|| Box::new(|_| Vec::new()))
        });
        made(item)
    }
}

/// Why an item has its relevance, strongest first. The weight of a reason is the share of the relevance that came from the part it stands for:
/// of a scorer's part, what its named evidence contributed of all that spoke for the item. Weights are positive and sum to at most 1.
/// `position`: of the item in its domain.
pub(super) fn reasons(
    asked: &Asked<'_>,
    item: ItemIndex,
    position: usize,
    parts: &Parts,
    shares: &ByScorer<f32>,
) -> Vec<Reason> {
    let &Asked { catalogue, tastes, .. } = asked;
    let total = parts.total();
    if total <= 0.0 {
        return Vec::new();
    }
    let share_of = |scorer: usize| parts.scorers / total * shares[scorer];
    let (popularity, content) = (share_of(POPULARITY), share_of(CONTENT));
    let mut reasons = Vec::new();
    if parts.tastes > 0.0 {
        reasons.extend(from_tastes(catalogue, tastes, position, parts.tastes / total));
    }
    let (behaviour, all) = from_behaviour(asked, item, share_of);
    if behaviour > 0.0 {
        reasons.extend(from_items(asked, &all, behaviour, ReasonCode::BecauseYouLiked, "Because you liked"));
        // The rest of what spoke for it came over the tastes: by items that stand for them.
        let carried = behaviour * share(&all, |contribution| contribution.source.is_none());
        if carried > 0.0 {
            let text = "Goes with what people of these tastes choose".to_owned();
            reasons.push(Reason {
                code: ReasonCode::MatchesTaste,
                text,
                names: Vec::new(),
                evidence: Vec::new(),
                weight: carried,
            });
        }
    }
    if content > 0.0 {
        let all = asked.contributions(CONTENT, item);
        reasons.extend(from_items(asked, &all, content, ReasonCode::SimilarTo, SIMILAR));
    }
    if popularity > 0.0 {
        let text = "Popular now".to_owned();
        reasons.push(Reason {
            code: ReasonCode::Popular,
            text,
            names: Vec::new(),
            evidence: Vec::new(),
            weight: popularity,
        });
    }
    one_of_each(&mut reasons);
    reasons.retain(|reason| reason.weight.is_finite() && reason.weight > 0.0);
    reasons.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let telling = reasons.iter().filter(|reason| reason.weight >= LEAST).count();
    reasons.truncate(telling.max(1));
    reasons.truncate(REASONS);
    reasons
}

/// What an item has of the tastes for its list: of those for titles that were named, that it is like them; of the others, that it matches them. Of several words that it matches
/// by less than half, it matches a part.
fn from_tastes(catalogue: &Catalogue, tastes: &ListTastes<'_>, position: usize, part: f32) -> Vec<Reason> {
    let all: f32 = tastes.of(position).map(|(_, met)| met).sum();
    let mut reasons = Vec::new();
    let mut push = |code, text: &str, evidence: Vec<ItemId>, names: Vec<&str>, met: f32| {
        if !names.is_empty() {
            let text = format!("{text} {}", listed(&names));
            let names = names.into_iter().map(str::to_owned).collect();
            reasons.push(Reason { code, text, names, evidence, weight: part * met / all });
        }
    };
    let is_title = |taste: &Resolved| matches!(taste.wanted, Wanted::Titles(_));
    for text in [MATCHES, MATCHES_IN_PART, COMES_NEAR] {
        let matching =
            || tastes.of(position).filter(|&(taste, met)| !is_title(taste) && how_well(&taste.wanted, met) == text);
        let mut names: Vec<&str> = Vec::new();
        matching().for_each(|(taste, _)| push_once(&mut names, &taste.text));
        push(ReasonCode::MatchesTaste, text, Vec::new(), names, matching().map(|(_, met)| met).sum());
    }
    let titles = || tastes.of(position).filter(|(taste, _)| is_title(taste));
    let (mut evidence, mut names) = (Vec::new(), Vec::new());
    for (taste, _) in titles() {
        let Wanted::Titles(titles) = &taste.wanted else { continue };
        // One of those that share a title, so that each that was named has its place.
        let Some(item) = titles.first().and_then(|&title| catalogue.get(title)) else { continue };
        if names.len() < EVIDENCE && !names.contains(&item.title.as_str()) {
            evidence.push(item.id.clone());
            names.push(item.title.as_str());
        }
    }
    push(ReasonCode::SimilarTo, SIMILAR, evidence, names, titles().map(|(_, met)| met).sum());
    reasons
}

/// How well an item that meets what is wanted by so much does so, in words.
fn how_well(wanted: &Wanted, met: f32) -> &'static str {
    match wanted {
        Wanted::Near(_) => COMES_NEAR,
        Wanted::Terms(_) | Wanted::Released(..) if met < WHOLE => MATCHES_IN_PART,
        _ => MATCHES,
    }
}

fn push_once<T: PartialEq>(list: &mut Vec<T>, new: T) {
    if !list.contains(&new) {
        list.push(new);
    }
}

/// Two reasons that say the same of the same items are one.
fn one_of_each(reasons: &mut Vec<Reason>) {
    let names = |reason: &Reason| reason.evidence.iter().cloned().collect::<BTreeSet<ItemId>>();
    let mut each: Vec<Reason> = Vec::with_capacity(reasons.len());
    for reason in reasons.drain(..) {
        let is_same = |other: &&mut Reason| {
            let by_items = !reason.evidence.is_empty() && names(other) == names(&reason);
            other.code == reason.code && (by_items || other.text == reason.text)
        };
        match each.iter_mut().find(is_same) {
            Some(same) => same.weight += reason.weight,
            None => each.push(reason),
        }
    }
    *reasons = each;
}

/// The share of the scorers that learn from behaviour, and what each item of the history contributed to it, largest first.
fn from_behaviour(asked: &Asked<'_>, item: ItemIndex, share_of: impl Fn(usize) -> f32) -> (f32, Vec<Contribution>) {
    let (mut sum, mut amounts) = (0.0, HashMap::<Option<ItemIndex>, f32, RandomState>::default());
    for scorer in (0..SCORERS.len()).filter(|&scorer| scorer != POPULARITY && scorer != CONTENT) {
        let part = share_of(scorer);
        if part <= 0.0 {
            continue;
        }
        sum += part;
        let contributions = asked.contributions(scorer, item);
        let positive: f32 = contributions.iter().map(|contribution| contribution.amount.max(0.0)).sum();
        for contribution in contributions.iter().filter(|contribution| contribution.amount > 0.0) {
            *amounts.entry(contribution.source).or_default() += part * contribution.amount / positive;
        }
    }
    let mut all: Vec<Contribution> =
        amounts.into_iter().map(|(source, amount)| Contribution { source, amount }).collect();
    // The order of the map is any.
    all.sort_unstable_by(|a, b| b.amount.total_cmp(&a.amount).then_with(|| a.source.cmp(&b.source)));
    (sum, all)
}

/// The share of all positive contributions that those picked have.
fn share(all: &[Contribution], pick: impl Fn(&Contribution) -> bool) -> f32 {
    let sum = |pick: &dyn Fn(&Contribution) -> bool| -> f32 {
        all.iter().filter(|c| c.amount > 0.0 && pick(c)).map(|c| c.amount).sum()
    };
    let total = sum(&|_| true);
    if total > 0.0 { sum(&pick) / total } else { 0.0 }
}

/// The reason that names the items of the history that spoke most for an item.
fn from_items(asked: &Asked<'_>, all: &[Contribution], part: f32, code: ReasonCode, text: &str) -> Option<Reason> {
    let catalogue = asked.catalogue;
    let named: Vec<(ItemIndex, &str)> = all
        .iter()
        .filter(|contribution| contribution.amount > 0.0)
        .filter_map(|contribution| contribution.source)
        .filter(|item| asked.liked.contains(item))
        .filter_map(|source| Some((source, catalogue.get(source)?.title.as_str())))
        .take(EVIDENCE)
        .collect();
    if named.is_empty() {
        return None;
    }
    let weight = part * share(all, |contribution| named.iter().any(|(item, _)| contribution.source == Some(*item)));
    let titles: Vec<&str> = named.iter().map(|(_, title)| *title).collect();
    let evidence: Vec<ItemId> = named.iter().map(|(item, _)| catalogue.id(*item).clone()).collect();
    let names = titles.iter().map(|title| (*title).to_owned()).collect();
    Some(Reason { code, text: format!("{text} {}", listed(&titles)), names, evidence, weight })
}

/// "A", "A and B", "A, B and C".
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
