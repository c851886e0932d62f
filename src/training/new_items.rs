//! How items that nobody has touched are put in order: by the factors of iALS that their terms (and vectors) foretell, by plain likeness of content, or by a mix, as each domain
//! teaches.
//!
//! A part of the items is treated as if nobody had touched them: the map from terms to factors is learned without them, they leave the histories, and people are asked for
//! those that they took to. What mix ranks them best, among themselves, is taken; iALS alone where no other is surely better.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::engine::ItemIndex;
use crate::engine::artifact::BoundModel;
use crate::engine::blend::NewItems;
use crate::engine::scorers::content::Content;
use crate::engine::scorers::{Profile, Scorer as _};
use crate::evaluation::metrics::ndcg;

use super::TrainingSettings;
use super::blending::{K, best};
use super::fitting::Columns;
use super::load::Loaded;
use super::stacking::{is_gain, median, tenth};

/// The share of the items that are treated as new.
const HIDDEN: f64 = 0.1;
/// At most so many are.
const MOST: f64 = 5_000.0;
/// At most so many people are asked in a domain, and fewer than the least teach nothing.
const PEOPLE: usize = 1_000;
const LEAST: usize = 50;
/// The shares of content that are tried.
const SHARES: [f32; 8] = [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0];

/// What the two ways say of the new items of a domain, for one person.
struct Asked {
    ials: Vec<f32>,
    content: Vec<f32>,
    relevant: Vec<bool>,
}

/// The experiment: a model whose people are known, and items that it is to forget.
struct Forgotten<'a> {
    loaded: &'a Loaded,
    columns: &'a Columns,
    model: &'a BoundModel,
    /// By column: whether it is forgotten.
    hidden: Vec<bool>,
    /// By column: the factors that its terms foretell, where it is.
    foretold: Vec<Vec<f32>>,
}

/// The mix for each domain of the settings. `model` is one whose people are known but for what is held out of them.
pub(super) fn learn(
    loaded: &Loaded,
    columns: &Columns,
    model: &BoundModel,
    settings: &TrainingSettings,
) -> Vec<NewItems> {
    let (als, ridge) = (&model.model.als, settings.engine.ials.content_ridge);
    if als.is_empty() || ridge <= 0.0 {
        return vec![NewItems::default(); settings.domains.len()];
    }
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed ^ 0x6e65_7769);
    let share = HIDDEN.min(MOST / als.trained.max(1) as f64);
    let hidden: Vec<bool> =
        (0..loaded.items.len()).map(|column| column < als.trained && random.random::<f64>() < share).collect();
    let texts = columns.texts(loaded, ridge);
    let (texts, ridge) = texts.unwrap_or_else(|| (columns.terms(loaded, columns.order.len()), ridge));
    let foretold = als.foretold(&texts, &hidden, ridge);
    let forgotten = Forgotten { loaded, columns, model, hidden, foretold };
    (0..settings.domains.len()).map(|domain| forgotten.mix_of(domain as u16).unwrap_or_default()).collect()
}

impl Forgotten<'_> {
    fn is_new(&self, item: u32, domain: u16) -> bool {
        self.hidden[self.columns.column_of(item) as usize] && self.loaded.domain_of[item as usize] == domain
    }

    fn mix_of(&self, domain: u16) -> Option<NewItems> {
        let data = &self.loaded.data;
        let new: Vec<u32> = (0..self.loaded.items.len() as u32).filter(|&item| self.is_new(item, domain)).collect();
        let likes_one = |user: &usize| {
            let (items, strengths) = data.row(*user);
            items.iter().zip(strengths).any(|(&item, strength)| *strength > 0.0 && self.is_new(item, domain))
        };
        // Spread over all people, whose order is that of their ids.
        let step = (data.users() / (4 * PEOPLE)).max(1);
        let people: Vec<usize> = (0..data.users()).step_by(step).filter(likes_one).take(PEOPLE).collect();
        let asked: Vec<Asked> = people.par_iter().filter_map(|&user| self.ask(user, &new)).collect();
        if asked.len() < LEAST { None } else { mix(&asked) }
    }

    fn ask(&self, user: usize, new: &[u32]) -> Option<Asked> {
        let (known, strengths) = self.loaded.data.row(user);
        let column = |item: u32| self.columns.column_of(item);
        let kept = known.iter().zip(strengths).filter(|(item, _)| !self.hidden[column(**item) as usize]);
        let history: Vec<(ItemIndex, f32)> = kept.map(|(&item, &strength)| (ItemIndex(item), strength)).collect();
        let in_columns: Vec<(u32, f32)> = history.iter().map(|&(item, strength)| (column(item.0), strength)).collect();
        let person = self.model.model.als.fold_in(&in_columns, &self.model.model.manifest.als)?;
        let content = Content.prepare(&self.loaded.catalogue, &Profile { history, ..Profile::default() })?;
        let ials = |&item: &u32| {
            let factors = &self.foretold[column(item) as usize];
            person.iter().zip(factors).map(|(of_person, of_item)| of_person * of_item).sum()
        };
        let likes = |item: &u32| known.binary_search(item).is_ok_and(|place| strengths[place] > 0.0);
        Some(Asked {
            ials: new.iter().map(ials).collect(),
            content: new.iter().map(|&item| content.of(ItemIndex(item))).collect(),
            relevant: new.iter().map(likes).collect(),
        })
    }
}

/// The best mix; `None` when one of the two has nothing to say.
fn mix(asked: &[Asked]) -> Option<NewItems> {
    let typical = |scores: fn(&Asked) -> &Vec<f32>| median(asked.iter().filter_map(|of| tenth(scores(of))).collect());
    let ratio = typical(|of| &of.ials)? / typical(|of| &of.content)?;
    let quality = |share: f32| -> Vec<f64> {
        let of = |of: &Asked| {
            let sums: Vec<f32> = of
                .ials
                .iter()
                .zip(&of.content)
                .map(|(ials, content)| (1.0 - share) * ials + share * ratio * content)
                .collect();
            let relevant = of.relevant.iter().filter(|relevant| **relevant).count();
            ndcg(&best(&sums, K), |&at| of.relevant[at as usize], relevant, K)
        };
        asked.par_iter().map(of).collect()
    };
    let alone = quality(0.0);
    let tried = SHARES.map(|share| (share, quality(share)));
    let mean = |judged: &[f64]| judged.iter().sum::<f64>();
    let (share, judged) = tried.iter().max_by(|a, b| mean(&a.1).total_cmp(&mean(&b.1)))?;
    let share = if is_gain(judged, &alone, 2.0) { *share } else { 0.0 };
    Some(NewItems { ials: 1.0 - share, content: share * ratio })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thirty new items of which one is liked; one of the two ways knows it.
    fn asked(number: usize, content_knows: bool) -> Asked {
        let noise = |at: usize| ((at * 7 + number * 11) % 31) as f32 / 31.0;
        let liked = number % 30;
        let told = |knows: bool, scale: f32| {
            (0..30).map(|at| scale * if knows && at == liked { 2.0 } else { 0.1 + noise(at) }).collect()
        };
        Asked {
            ials: told(!content_knows, 0.2),
            content: told(content_knows, 3.0),
            relevant: (0..30).map(|at| at == liked).collect(),
        }
    }

    #[test]
    fn who_knows_new_items_puts_them_in_order() {
        let by_content = mix(&(0..60).map(|number| asked(number, true)).collect::<Vec<_>>()).unwrap();
        assert!(by_content.content > by_content.ials, "{by_content:?}");
        let by_ials = mix(&(0..60).map(|number| asked(number, false)).collect::<Vec<_>>()).unwrap();
        assert_eq!(by_ials, NewItems::default());
        assert!(mix(&[]).is_none());
    }
}
