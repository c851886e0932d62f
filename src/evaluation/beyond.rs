//! Beyond accuracy: how much of the catalogue is shown, how evenly, how novel, how varied, and how true to the person's own mixture.
//!
//! Each measure is `None` where it is not defined (a list of one item has no diversity); such cases are left out of means, not counted as 0.

use std::collections::BTreeMap;

use super::outcome::ItemFacts;

/// How much of the person's own distribution is mixed into the list's, so that the divergence stays finite (Steck 2018, section 3).
const CALIBRATION_SMOOTHING: f64 = 0.01;

/// Catalogue coverage (Ge, Delgado-Battenfeld & Jannach, RecSys 2010): the share of the items that are in at least one list. `exposure` says for
/// each item of the catalogue in how many lists it is. `None` for an empty catalogue.
#[must_use]
pub fn coverage(exposure: &[u64]) -> Option<f64> {
    let shown = exposure.iter().filter(|lists| **lists > 0).count();
    (!exposure.is_empty()).then(|| shown as f64 / exposure.len() as f64)
}

/// Gini index of exposure (Castells, Hurley & Vargas, Recommender Systems Handbook 2015): 0 when all items are shown equally often, 1 when all
/// lists show the same single one. With exposures in rising order, Σ (2j − n − 1)·p(j) / (n − 1). `None` below two items, or when nothing is shown.
#[must_use]
pub fn gini(exposure: &[u64]) -> Option<f64> {
    let total: u64 = exposure.iter().sum();
    if exposure.len() < 2 || total == 0 {
        return None;
    }
    let mut rising = exposure.to_vec();
    rising.sort_unstable();
    let n = rising.len() as f64;
    let sum: f64 =
        rising.iter().enumerate().map(|(place, lists)| (2.0 * (place + 1) as f64 - n - 1.0) * *lists as f64).sum();
    Some(sum / (total as f64 * (n - 1.0)))
}

/// Novelty of a list as mean self-information (Vargas & Castells, RecSys 2011; Zhou et al. 2010): the mean of −log2 of the share of the `users` in
/// training who know the item, in bits. An item that nobody knows counts as if one did, the most novel that can be told. `None` for an empty
/// list or without users.
#[must_use]
pub fn novelty(list: &[u32], facts: &ItemFacts, users: u64) -> Option<f64> {
    if users == 0 {
        return None;
    }
    let bits = |item: &u32| {
        let share = f64::from(facts.popularity(*item).max(1)) / users as f64;
        -share.min(1.0).log2()
    };
    mean(list.iter().map(bits))
}

/// Intra-list diversity (Ziegler et al., WWW 2005; Vargas & Castells 2011): 1 minus the mean Jaccard similarity of the genres, over all pairs.
/// Items without genres say nothing and are passed over. `None` below two items with genres.
#[must_use]
pub fn diversity(list: &[u32], facts: &ItemFacts) -> Option<f64> {
    let genres: Vec<&[u32]> = list.iter().map(|item| facts.genres(*item)).filter(|genres| !genres.is_empty()).collect();
    let pairs = genres.iter().enumerate().flat_map(|(place, a)| genres[place + 1..].iter().map(move |b| (a, b)));
    mean(pairs.map(|(a, b)| {
        let common = a.iter().filter(|genre| b.contains(genre)).count();
        1.0 - common as f64 / (a.len() + b.len() - common) as f64
    }))
}

/// Miscalibration (Steck, RecSys 2018): the Kullback-Leibler divergence, in nats, of the list's genres q from the history's p, with q mixed with
/// 0.01 of p. 0 when the list mirrors the history; lower is better. An item shares one vote among its genres, all items weigh the same.
/// `None` when the history or the list has no genres.
#[must_use]
pub fn calibration(history: &[u32], list: &[u32], facts: &ItemFacts) -> Option<f64> {
    let p = genre_distribution(history, facts)?;
    let q = genre_distribution(list, facts)?;
    let divergence = p.iter().map(|(genre, p)| {
        let q = q.get(genre).copied().unwrap_or(0.0);
        p * (p / ((1.0 - CALIBRATION_SMOOTHING) * q + CALIBRATION_SMOOTHING * p)).ln()
    });
    Some(divergence.sum())
}

fn genre_distribution(items: &[u32], facts: &ItemFacts) -> Option<BTreeMap<u32, f64>> {
    let mut shares = BTreeMap::new();
    let mut voters = 0usize;
    for genres in items.iter().map(|item| facts.genres(*item)).filter(|genres| !genres.is_empty()) {
        voters += 1;
        for genre in genres {
            *shares.entry(*genre).or_insert(0.0) += 1.0 / genres.len() as f64;
        }
    }
    shares.values_mut().for_each(|share| *share /= voters as f64);
    (voters > 0).then_some(shares)
}

/// The mean, `None` of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: Option<f64>, expected: f64) {
        assert!((value.unwrap() - expected).abs() < 1e-12, "{value:?} is not {expected}");
    }

    /// Items 0 to 4: genres {0}, {0, 1}, {1}, {2}, none; known to 8, 4, 2, 0 and 1 people.
    fn facts() -> ItemFacts {
        let genres = vec![vec![0], vec![0, 1], vec![1], vec![2], vec![]];
        ItemFacts { genres, popularity: vec![8, 4, 2, 0, 1], first_seen: vec![None; 5], domain: vec![0; 5] }
    }

    #[test]
    fn coverage_is_the_share_of_items_shown() {
        assert_eq!(coverage(&[3, 0, 1, 0]), Some(0.5));
        assert_eq!((coverage(&[0, 0]), coverage(&[])), (Some(0.0), None));
    }

    #[test]
    fn gini_is_0_for_equal_and_1_for_single() {
        assert_eq!(gini(&[2, 2, 2]), Some(0.0));
        assert_eq!(gini(&[0, 9, 0]), Some(1.0));
        // Rising 1, 2, 5: (−2·1 + 0·2 + 2·5) / (8·2).
        close(gini(&[5, 1, 2]), 0.5);
        assert_eq!((gini(&[4]), gini(&[0, 0]), gini(&[])), (None, None, None));
    }

    #[test]
    fn novelty_is_information_in_bits() {
        // Shares of 16 people: 1/2, 1/4, 1/8, and nobody, who counts as one: 1/16.
        close(novelty(&[0, 1, 2, 3], &facts(), 16), (1.0 + 2.0 + 3.0 + 4.0) / 4.0);
        close(novelty(&[0], &facts(), 4), 0.0);
        close(novelty(&[77], &facts(), 16), 4.0);
        assert_eq!((novelty(&[], &facts(), 16), novelty(&[0], &facts(), 0)), (None, None));
    }

    #[test]
    fn diversity_is_mean_distance_of_genres() {
        // Pairs 0-1: 1/2 alike, 0-2: not alike, 1-2: 1/2.
        close(diversity(&[0, 1, 2], &facts()), (0.5 + 1.0 + 0.5) / 3.0);
        close(diversity(&[0, 3, 4], &facts()), 1.0);
        assert_eq!(diversity(&[0, 4], &facts()), None);
        assert_eq!(diversity(&[], &facts()), None);
    }

    #[test]
    fn calibration_is_the_smoothed_divergence() {
        close(calibration(&[0, 2], &[1], &facts()), 0.0);
        // p: genre 0 and 1 one half each; q: only genre 0.
        let expected = 0.5 * (0.5f64 / (0.99 + 0.005)).ln() + 0.5 * (0.5f64 / 0.005).ln();
        close(calibration(&[0, 2], &[0], &facts()), expected);
        // A share of one vote: item 1 gives half to each of its genres. p = (3/4, 1/4), q = (1/2, 1/2).
        let part = |p: f64, q: f64| p * (p / (0.99 * q + 0.01 * p)).ln();
        close(calibration(&[0, 1, 4], &[0, 2], &facts()), part(0.75, 0.5) + part(0.25, 0.5));
        assert_eq!((calibration(&[4], &[0], &facts()), calibration(&[0], &[4], &facts())), (None, None));
        assert_eq!(calibration(&[], &[], &facts()), None);
    }
}
