//! Preference: what a person did with an item, as one signed number.

use jiff::Timestamp;

use crate::domain::{Behaviour, InteractionKind, ItemId};

use super::settings::InteractionSettings;

/// No item says more than this, however often it was played.
const STRONGEST: f32 = 5.0;
/// The mean of somebody's ratings is taken as if they had also given this many ratings in the middle of the scale.
const PRIOR_RATINGS: f64 = 3.0;
/// What having rated an item says, whatever the rating; and what a rating one fifth of the scale above the person's mean adds.
const RATED: f64 = 0.6;
const PER_FIFTH: f64 = 0.4;

/// One signed strength for each item of a history, ordered by item id. Positive: for the item; negative: against it.
/// Decay is reckoned back from `reference`, by the half-life of each kind.
///
/// Counts and hours are damped by `log2(1 + x)`, so that once (or one hour) says 1, a tenth of an hour 0.14, and a thousand times
/// 10. A rating counts by its distance to the person's mean, which few ratings only move a little from the middle of the scale.
#[must_use]
pub fn preferences(history: &[Behaviour], settings: &InteractionSettings, reference: Timestamp) -> Vec<(ItemId, f32)> {
    let strengths = strengths(history, settings, reference).into_iter();
    strengths.map(|(item, strength)| (item.clone(), strength)).collect()
}

/// The same with borrowed ids.
#[must_use]
pub fn strengths<'h>(
    history: &'h [Behaviour],
    settings: &InteractionSettings,
    reference: Timestamp,
) -> Vec<(&'h ItemId, f32)> {
    let mean = mean_rating(history, settings);
    let mut entries: Vec<&Behaviour> = history.iter().collect();
    // Most come in this order.
    if !entries.is_sorted_by(|a, b| a.item_id <= b.item_id) {
        entries.sort_by(|a, b| a.item_id.cmp(&b.item_id));
    }
    let mut by_item: Vec<(&ItemId, f32)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some(kind) = settings.of(entry.kind) else { continue };
        let amount = match entry.kind {
            InteractionKind::Rating => rating_amount(entry.last_value, mean, settings),
            InteractionKind::Like | InteractionKind::Dislike | InteractionKind::Purchase => 1.0,
            _ => entry.total.max(0.0).ln_1p() / std::f64::consts::LN_2,
        };
        let strength = kind.weight * amount as f32 * decay(entry.last_at, reference, kind.half_life_days);
        match by_item.last_mut().filter(|(item, _)| *item == &entry.item_id) {
            Some((_, sum)) => *sum += strength,
            None => by_item.push((&entry.item_id, strength)),
        }
    }
    by_item.iter_mut().for_each(|(_, strength)| *strength = strength.clamp(-STRONGEST, STRONGEST));
    by_item.retain(|(_, strength)| strength.is_finite());
    by_item
}

/// How much something that happened at `at` still says at `reference`: 1 for now, a half after one half-life.
#[must_use]
pub fn decay(at: Timestamp, reference: Timestamp, half_life_days: f32) -> f32 {
    let days = (reference.as_second() - at.as_second()).max(0) as f32 / 86_400.0;
    if half_life_days > 0.0 { (-days / half_life_days).exp2() } else { 1.0 }
}

/// The newest moment of a history: what decay is reckoned from, so that an answer depends on no clock.
#[must_use]
pub fn newest(history: &[Behaviour]) -> Timestamp {
    history.iter().map(|entry| entry.last_at).max().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What a person rated below their own mean, and not in the upper third of the scale: to have seen it says something of them, but nobody would call it liked.
pub fn rated_low<'h>(history: &'h [Behaviour], settings: &InteractionSettings) -> impl Iterator<Item = &'h ItemId> {
    let [low, high] = settings.rating_scale;
    let least = mean_rating(history, settings).min(high - (high - low) / 3.0);
    let ratings = history.iter().filter(|entry| entry.kind == InteractionKind::Rating);
    ratings.filter(move |entry| entry.last_value.is_some_and(|rating| rating < least)).map(|entry| &entry.item_id)
}

fn mean_rating(history: &[Behaviour], settings: &InteractionSettings) -> f64 {
    let [low, high] = settings.rating_scale;
    let ratings =
        history.iter().filter(|entry| entry.kind == InteractionKind::Rating).filter_map(|entry| entry.last_value);
    let (sum, count) = ratings.fold((0.0, 0.0), |(sum, count), rating| (sum + rating.clamp(low, high), count + 1.0));
    (sum + PRIOR_RATINGS * (low + high) / 2.0) / (count + PRIOR_RATINGS)
}

fn rating_amount(rating: Option<f64>, mean: f64, settings: &InteractionSettings) -> f64 {
    let [low, high] = settings.rating_scale;
    let fifth = ((high - low) / 5.0).max(f64::EPSILON);
    rating.map_or(0.0, |rating| RATED + PER_FIFTH * (rating.clamp(low, high) - mean) / fifth)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::settings::KindWeight;

    fn settings() -> InteractionSettings {
        let kind = |weight| KindWeight { weight, half_life_days: 100.0 };
        InteractionSettings {
            view: kind(0.2),
            play: kind(0.6),
            watch: kind(0.8),
            like: kind(1.0),
            dislike: kind(-1.0),
            rating: kind(1.0),
            playtime: kind(0.6),
            skip: kind(-0.4),
            purchase: kind(0.8),
            rating_scale: [0.5, 5.0],
        }
    }

    fn entry(item: &str, kind: InteractionKind, total: f64, day: i64) -> Behaviour {
        Behaviour {
            item_id: ItemId::new(item).unwrap(),
            kind,
            count: 1,
            total,
            last_value: Some(total),
            last_at: Timestamp::from_second(day * 86_400).unwrap(),
        }
    }

    fn of(history: &[Behaviour]) -> BTreeMap<String, f32> {
        let all = preferences(history, &settings(), newest(history));
        all.into_iter().map(|(item, strength)| (item.to_string(), strength)).collect()
    }

    #[test]
    fn counts_are_damped_and_little_says_little() {
        use InteractionKind::{Play, Playtime};
        let all = of(&[entry("a", Play, 1.0, 0), entry("b", Play, 1000.0, 0), entry("c", Playtime, 0.1, 0)]);
        assert!((all["a"] - 0.6).abs() < 1e-6);
        assert!(all["b"] > all["a"] && all["b"] <= STRONGEST);
        assert!(all["c"] > 0.0 && all["c"] < 0.1);
    }

    #[test]
    fn ratings_are_centred_by_person() {
        use InteractionKind::Rating;
        let history: Vec<Behaviour> =
            (0..20).map(|n| entry(&format!("i{n}"), Rating, if n < 10 { 5.0 } else { 1.0 }, 0)).collect();
        let all = of(&history);
        assert!(all["i0"] > 0.6, "above the mean: more than having rated at all");
        assert!(all["i15"] < 0.0, "far below the mean: against");
        let generous: Vec<Behaviour> = (0..20).map(|n| entry(&format!("i{n}"), Rating, 5.0, 0)).collect();
        assert!((of(&generous)["i0"] - 0.6).abs() < 0.2, "who gives everything five says little by a five");
    }

    #[test]
    fn what_is_rated_below_the_mean_or_low_is_not_liked() {
        use InteractionKind::{Like, Rating};
        let rated = |name: &str, value: f64| entry(name, Rating, value, 0);
        let history = [rated("five", 5.0), rated("four", 4.0), rated("three", 3.0), rated("two", 2.0)];
        let low = |history: &[Behaviour]| rated_low(history, &settings()).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(low(&history), ["three", "two"]);
        let generous: Vec<Behaviour> = (0..30).map(|n| rated("five", if n == 0 { 4.0 } else { 5.0 })).collect();
        assert!(low(&generous).is_empty(), "four of five is good");
        assert!(low(&[entry("liked", Like, 1.0, 0)]).is_empty());
    }

    #[test]
    fn what_is_old_says_less_and_against_counts_against() {
        use InteractionKind::{Dislike, Impression, Like, Skip};
        let all = of(&[
            entry("old", Like, 1.0, 0),
            entry("new", Like, 1.0, 100),
            entry("no", Dislike, 1.0, 100),
            entry("skip", Skip, 1.0, 100),
            entry("shown", Impression, 1.0, 100),
        ]);
        assert!((all["old"] - 0.5).abs() < 1e-6 && (all["new"] - 1.0).abs() < 1e-6);
        assert!(all["no"] < all["skip"] && all["skip"] < 0.0);
        assert!(!all.contains_key("shown"));
    }
}
