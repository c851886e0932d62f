//! Explain: reasons computed from the scores that ranked an item.

use crate::domain::{Domain, ItemId, Reason, ReasonCode};

use super::ItemIndex;
use super::artifact::BoundModel;
use super::catalogue::Catalogue;
use super::pipeline::Parts;
use super::scorers::content::Content;
use super::scorers::{Contribution, Profile, Scorer};
use super::tastes;

/// The most reasons an item gets, and the most items that one reason names.
const REASONS: usize = 4;
const EVIDENCE: usize = 3;

/// Why an item has its relevance, strongest first. The weight of a reason is the share of the relevance that came from the part it stands for:
/// of a scorer's part, what its named evidence contributed of all that spoke for the item.
pub(super) fn reasons(
    catalogue: &Catalogue,
    model: Option<&BoundModel>,
    profile: &Profile,
    domain: &Domain,
    item: ItemIndex,
    parts: &Parts,
) -> Vec<Reason> {
    let total = parts.total();
    if total <= 0.0 {
        return Vec::new();
    }
    let [popularity, content, ease] = parts.scorers.map(|part| part / total);
    let mut reasons = Vec::new();
    if parts.tastes > 0.0
        && let Some(text) = tastes_met(catalogue, profile, domain, item)
    {
        reasons.push(Reason {
            code: ReasonCode::MatchesTaste,
            text,
            evidence: Vec::new(),
            weight: parts.tastes / total,
        });
    }
    if ease > 0.0
        && let Some(model) = model
    {
        let all = model.ease().contributions(catalogue, profile, item);
        reasons.extend(from_items(catalogue, &all, ease, ReasonCode::BecauseYouLiked, "Because you liked"));
        // The rest of what spoke for it came over the tastes: by items that stand for them.
        let carried = ease * share(&all, |contribution| contribution.source.is_none());
        if carried > 0.0 {
            let text = "Goes with what people of these tastes choose".to_owned();
            reasons.push(Reason { code: ReasonCode::MatchesTaste, text, evidence: Vec::new(), weight: carried });
        }
    }
    if content > 0.0 {
        let all = Content.contributions(catalogue, profile, item);
        reasons.extend(from_items(catalogue, &all, content, ReasonCode::SimilarTo, "Similar to"));
    }
    if popularity > 0.0 {
        let text = "Popular now".to_owned();
        reasons.push(Reason { code: ReasonCode::Popular, text, evidence: Vec::new(), weight: popularity });
    }
    reasons.retain(|reason| reason.weight.is_finite() && reason.weight > 0.0);
    reasons.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    reasons.truncate(REASONS);
    reasons
}

/// The share of all positive contributions that those picked have.
fn share(all: &[Contribution], pick: impl Fn(&Contribution) -> bool) -> f32 {
    let sum = |pick: &dyn Fn(&Contribution) -> bool| -> f32 {
        all.iter().filter(|c| c.amount > 0.0 && pick(c)).map(|c| c.amount).sum()
    };
    let total = sum(&|_| true);
    if total > 0.0 { sum(&pick) / total } else { 0.0 }
}

fn from_items(catalogue: &Catalogue, all: &[Contribution], part: f32, code: ReasonCode, text: &str) -> Option<Reason> {
    let named: Vec<(ItemIndex, &str)> = all
        .iter()
        .filter(|contribution| contribution.amount > 0.0)
        .filter_map(|contribution| contribution.source)
        .filter_map(|source| Some((source, catalogue.get(source)?.title.as_str())))
        .take(EVIDENCE)
        .collect();
    if named.is_empty() {
        return None;
    }
    let weight = part * share(all, |contribution| named.iter().any(|(item, _)| contribution.source == Some(*item)));
    let titles: Vec<&str> = named.iter().map(|(_, title)| *title).collect();
    let evidence: Vec<ItemId> = named.iter().map(|(item, _)| catalogue.id(*item).clone()).collect();
    Some(Reason { code, text: format!("{text} {}", listed(&titles)), evidence, weight })
}

fn tastes_met(catalogue: &Catalogue, profile: &Profile, domain: &Domain, item: ItemIndex) -> Option<String> {
    let own = |taste: &&tastes::Resolved| taste.domain.as_ref().is_none_or(|of| of == domain);
    let resolved = &profile.tastes.resolved;
    let any_own = resolved.iter().any(|taste| own(&taste));
    let met = |taste: &&tastes::Resolved| {
        let mut scores = vec![0.0; catalogue.places()];
        tastes::matches(catalogue, &taste.wanted, &mut scores);
        scores[item.0 as usize] > 0.0
    };
    let texts: Vec<&str> = resolved
        .iter()
        .filter(|taste| !any_own || own(taste))
        .filter(met)
        .map(|taste| taste.text.as_str())
        .take(EVIDENCE)
        .collect();
    (!texts.is_empty()).then(|| format!("Matches your taste for {}", listed(&texts)))
}

/// "A", "A and B", "A, B and C".
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
