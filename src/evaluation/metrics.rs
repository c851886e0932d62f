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
}
