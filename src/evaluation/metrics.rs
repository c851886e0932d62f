//! Ranking metrics with binary relevance, over full rankings (sampled ones mislead: Krichene & Rendle, KDD 2020).

/// nDCG@k (Järvelin & Kekäläinen 2002): `ranked` is best first, `relevant` tells whether a ranked item is relevant, `relevant_count` how many
/// relevant items there are in all. 0 when there is none.
#[must_use]
pub fn ndcg<T>(ranked: &[T], relevant: impl Fn(&T) -> bool, relevant_count: usize, k: usize) -> f64 {
    let discount = |place: usize| 1.0 / ((place + 2) as f64).log2();
    let ideal: f64 = (0..relevant_count.min(k)).map(discount).sum();
    if ideal <= 0.0 {
        return 0.0;
    }
    let gained: f64 =
        ranked.iter().take(k).enumerate().filter(|(_, item)| relevant(item)).map(|(place, _)| discount(place)).sum();
    gained / ideal
}

/// Recall@k: the share of the relevant items that are among the first `k`. 0 when there is none.
#[must_use]
pub fn recall<T>(ranked: &[T], relevant: impl Fn(&T) -> bool, relevant_count: usize, k: usize) -> f64 {
    if relevant_count == 0 {
        return 0.0;
    }
    ranked.iter().take(k).filter(|item| relevant(item)).count() as f64 / relevant_count as f64
}

/// Reciprocal rank@k (Voorhees 1999; its mean is the MRR): one over the place of the first relevant item, 0 when none is among the first `k`.
#[must_use]
pub fn reciprocal_rank<T>(ranked: &[T], relevant: impl Fn(&T) -> bool, relevant_count: usize, k: usize) -> f64 {
    if relevant_count == 0 {
        return 0.0;
    }
    ranked.iter().take(k).position(relevant).map_or(0.0, |place| 1.0 / (place + 1) as f64)
}

/// Hit rate@k, also called success@k: 1 when a relevant item is among the first `k`, else 0.
#[must_use]
pub fn hit_rate<T>(ranked: &[T], relevant: impl Fn(&T) -> bool, relevant_count: usize, k: usize) -> f64 {
    f64::from(u8::from(relevant_count > 0 && ranked.iter().take(k).any(relevant)))
}

/// Precision@k: relevant items among the first `k`, divided by `k` also when the list is shorter (as trec_eval does: places left empty are
/// places wasted). 0 when `k` is.
#[must_use]
pub fn precision<T>(ranked: &[T], relevant: impl Fn(&T) -> bool, relevant_count: usize, k: usize) -> f64 {
    if relevant_count == 0 || k == 0 {
        return 0.0;
    }
    ranked.iter().take(k).filter(|item| relevant(item)).count() as f64 / k as f64
}

/// Average precision@k (Buckley & Voorhees 2000): the precision at the place of each relevant item among the first `k`, summed and divided
/// by the number of all relevant items (trec_eval's `map_cut`; some divide by min(k, relevant) instead). 0 when there is none.
#[must_use]
pub fn average_precision<T>(ranked: &[T], relevant: impl Fn(&T) -> bool, relevant_count: usize, k: usize) -> f64 {
    if relevant_count == 0 {
        return 0.0;
    }
    let places = ranked.iter().take(k).enumerate().filter(|(_, item)| relevant(item)).map(|(place, _)| place);
    let sum: f64 = places.enumerate().map(|(before, place)| (before + 1) as f64 / (place + 1) as f64).sum();
    sum / relevant_count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed_values() {
        let ranked = ["a", "b", "c", "d"];
        let relevant = |item: &&str| ["b", "d", "x"].contains(item);
        // Gains at places 2 and 4; ideal: places 1 to 3.
        let expected = (1.0 / 3f64.log2() + 1.0 / 5f64.log2()) / (1.0 + 1.0 / 3f64.log2() + 0.5);
        assert!((ndcg(&ranked, relevant, 3, 20) - expected).abs() < 1e-12);
        assert!((ndcg(&ranked, relevant, 3, 2) - (1.0 / 3f64.log2()) / (1.0 + 1.0 / 3f64.log2())).abs() < 1e-12);
        assert!((recall(&ranked, relevant, 3, 2) - 1.0 / 3.0).abs() < 1e-12);
        assert!((ndcg(&["b", "d", "x"], relevant, 3, 20) - 1.0).abs() < 1e-12);
        assert_eq!((ndcg(&ranked, |_| false, 0, 20), recall(&ranked, |_| false, 0, 20)), (0.0, 0.0));
    }
    #[test]
    fn hand_computed_values_of_the_others() {
        let ranked = ["a", "b", "c", "d"];
        let relevant = |item: &&str| ["b", "d", "x"].contains(item);
        assert_eq!(reciprocal_rank(&ranked, relevant, 3, 20), 0.5);
        assert_eq!(reciprocal_rank(&ranked, relevant, 3, 1), 0.0);
        assert_eq!((hit_rate(&ranked, relevant, 3, 1), hit_rate(&ranked, relevant, 3, 2)), (0.0, 1.0));
        assert_eq!((precision(&ranked, relevant, 3, 2), precision(&ranked, relevant, 3, 20)), (0.5, 0.1));
        // Precision 1/2 at place 2 and 2/4 at place 4; three relevant items.
        assert!((average_precision(&ranked, relevant, 3, 20) - 1.0 / 3.0).abs() < 1e-12);
        assert!((average_precision(&ranked, relevant, 3, 3) - 1.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_ranked_nothing_relevant_and_no_places_are_0() {
        let all = |ranked: &[u32], count: usize, k: usize| {
            let relevant = |item: &u32| count > 0 && *item == 1;
            [
                ndcg(ranked, relevant, count, k),
                recall(ranked, relevant, count, k),
                reciprocal_rank(ranked, relevant, count, k),
                hit_rate(ranked, relevant, count, k),
                precision(ranked, relevant, count, k),
                average_precision(ranked, relevant, count, k),
            ]
        };
        assert_eq!(all(&[], 1, 20), [0.0; 6]);
        assert_eq!(all(&[1, 2], 0, 20), [0.0; 6]);
        assert_eq!(all(&[1, 2], 1, 0), [0.0; 6]);
        assert_eq!(all(&[1], 1, 1), [1.0; 6]);
    }
}
