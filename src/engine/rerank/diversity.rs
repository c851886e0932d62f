//! Diversity: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998).

/// Picks up to `limit` of `relevance` (0 to 1, falling) in turn, each time the one of the largest
/// `(1 - diversity) · relevance + diversity · (1 - similarity to the nearest one picked)`; ties go to the earlier. Gives places and these marginal
/// values, which lie in 0..=1 and never rise: what is picked only makes the rest less novel. `similarity(a, b)` is 0 to 1.
#[must_use]
pub fn select(
    relevance: &[f32],
    limit: usize,
    diversity: f32,
    similarity: impl Fn(usize, usize) -> f32,
) -> Vec<(usize, f32)> {
    let diversity = diversity.clamp(0.0, 1.0);
    if diversity <= 0.0 {
        return relevance.iter().copied().enumerate().take(limit).collect();
    }
    let mut nearest = vec![0.0f32; relevance.len()];
    let mut left: Vec<usize> = (0..relevance.len()).collect();
    let mut picked = Vec::with_capacity(limit.min(left.len()));
    while picked.len() < limit && !left.is_empty() {
        let value = |place: usize| (1.0 - diversity) * relevance[place] + diversity * (1.0 - nearest[place]);
        let (at, best) = left
            .iter()
            .enumerate()
            .map(|(at, &place)| (at, value(place)))
            .fold((0, f32::MIN), |best, other| if other.1 > best.1 { other } else { best });
        let place = left.remove(at);
        picked.push((place, best));
        for &other in &left {
            nearest[other] = nearest[other].max(similarity(place, other));
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_diversity_is_pure_relevance() {
        assert_eq!(select(&[0.9, 0.5, 0.1], 2, 0.0, |_, _| 1.0), vec![(0, 0.9), (1, 0.5)]);
    }

    #[test]
    fn a_double_makes_way_and_values_never_rise() {
        // 0 and 1 are alike, 2 is different.
        let alike = |a: usize, b: usize| if a + b == 1 { 1.0 } else { 0.0 };
        let picked = select(&[0.9, 0.8, 0.6], 3, 0.5, alike);
        assert_eq!(picked.iter().map(|&(place, _)| place).collect::<Vec<_>>(), vec![0, 2, 1]);
        assert!(picked.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        assert!(picked.iter().all(|&(_, value)| (0.0..=1.0).contains(&value)));
    }
}
