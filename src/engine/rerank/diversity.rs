//! Diversity: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998), with the coverage of tastes (Agrawal et al., WSDM 2009).

/// What a taste that many picks have met has lost of its worth, at most: so little that meeting it is still worth more than meeting none.
const COVERED: f32 = 0.4;

/// Picks up to `limit` of `count` candidates in turn, each time the one of the largest
/// `(1 - diversity) · relevance + diversity · (1 - similarity to the nearest one picked)`; ties go to the earlier. Gives places and these marginal
/// values, which lie in 0..=1 and never rise: what is picked only makes the rest less novel and their tastes less urgent.
///
/// * `relevance(place, worth)`: 0 to 1, where `worth[t]` (at first 1) is what meeting taste `t` is still worth; it must not fall when a worth rises.
///   Candidates come in the order of relevance at full worth.
/// * `met(place, t)`: how much a candidate meets one of the `tastes` tastes, 0 to 1.
/// * `nearest(place, picks)`: the similarity of a candidate to the one of these picks that it is most like, 0 to 1.
///
/// Where several tastes compete, the worth of one is `1 - 0.4 · (1 - (1 - diversity)^2n)` after picks that met it `n` times.
/// With diversity 0 this is the order of relevance, and the values are the relevances.
#[must_use]
pub fn select(
    count: usize,
    limit: usize,
    diversity: f32,
    tastes: usize,
    relevance: impl Fn(usize, &[f32]) -> f32,
    met: impl Fn(usize, usize) -> f32,
    mut nearest: impl FnMut(usize, &[(usize, f32)]) -> f32,
) -> Vec<(usize, f32)> {
    let diversity = diversity.clamp(0.0, 1.0);
    let mut worth = vec![1.0f32; tastes];
    if diversity <= 0.0 {
        return (0..count.min(limit)).map(|place| (place, relevance(place, &worth))).collect();
    }
    let mut covered = vec![0.0f32; tastes];
    let value = |relevance: f32, nearest: f32| (1.0 - diversity) * relevance + diversity * (1.0 - nearest);
    let mut relevances: Vec<f32> = (0..count).map(|place| relevance(place, &worth)).collect();
    // The likeness to the pick that each is most like, of the first so many that it was compared with.
    let (mut likeness, mut compared) = (vec![0.0f32; count], vec![0_usize; count]);
    // As far as is known; nothing for what is picked.
    let mut values: Vec<f32> = relevances.iter().map(|&relevance| value(relevance, 0.0)).collect();
    let mut picked: Vec<(usize, f32)> = Vec::with_capacity(limit.min(count));
    while picked.len() < limit.min(count) {
        // What a candidate resembles is costly to find. The likeness known so far can only rise, so that only those that could still be better than the best
        // before them are compared with the newest picks (after Minoux 1978, "lazy greedy").
        let (mut place, mut best) = (0, PICKED);
        for candidate in 0..count {
            if values[candidate] > best && compared[candidate] < picked.len() {
                let newest = &picked[compared[candidate]..];
                likeness[candidate] = likeness[candidate].max(nearest(candidate, newest));
                compared[candidate] = picked.len();
                values[candidate] = value(relevances[candidate], likeness[candidate]);
            }
            if values[candidate] > best {
                (place, best) = (candidate, values[candidate]);
            }
        }
        picked.push((place, best.clamp(0.0, 1.0)));
        values[place] = PICKED;
        // One taste alone competes with none.
        if tastes > 1 {
            for taste in 0..tastes {
                covered[taste] += met(place, taste);
                worth[taste] = 1.0 - COVERED * (1.0 - (1.0 - diversity).powf(2.0 * covered[taste]));
            }
            for place in 0..count {
                if values[place] > PICKED {
                    relevances[place] = relevance(place, &worth);
                    values[place] = value(relevances[place], likeness[place]);
                }
            }
        }
    }
    picked
}

/// Less than any value.
const PICKED: f32 = f32::NEG_INFINITY;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(
        relevance: &[f32],
        limit: usize,
        diversity: f32,
        similarity: impl Fn(usize, usize) -> f32,
    ) -> Vec<(usize, f32)> {
        let nearest = |place: usize, picks: &[(usize, f32)]| {
            picks.iter().map(|&(pick, _)| similarity(place, pick)).fold(0.0, f32::max)
        };
        select(relevance.len(), limit, diversity, 0, |place, _| relevance[place], |_, _| 0.0, nearest)
    }

    #[test]
    fn no_diversity_is_pure_relevance() {
        assert_eq!(plain(&[0.9, 0.5, 0.1], 2, 0.0, |_, _| 1.0), vec![(0, 0.9), (1, 0.5)]);
    }

    #[test]
    fn a_double_makes_way_and_values_never_rise() {
        // 0 and 1 are alike, 2 is different.
        let alike = |a: usize, b: usize| if a + b == 1 { 1.0 } else { 0.0 };
        let picked = plain(&[0.9, 0.8, 0.6], 3, 0.5, alike);
        assert_eq!(picked.iter().map(|&(place, _)| place).collect::<Vec<_>>(), vec![0, 2, 1]);
        assert!(picked.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        assert!(picked.iter().all(|&(_, value)| (0.0..=1.0).contains(&value)));
    }

    #[test]
    fn each_taste_gets_its_place() {
        // 0 to 7 meet the first taste, 8 to 15 the second and are a little less relevant.
        let taste = |place: usize| usize::from(place >= 8);
        let base = |place: usize| if place < 8 { 0.02 } else { 0.0 };
        let relevance = |place: usize, worth: &[f32]| base(place) + 0.5 * worth[taste(place)];
        let met = |place: usize, t: usize| f32::from(u8::from(taste(place) == t));
        let second = |diversity| {
            let picked = select(16, 8, diversity, 2, relevance, met, |_, _| 0.0);
            assert!(picked.windows(2).all(|pair| pair[0].1 >= pair[1].1));
            picked.iter().filter(|&&(place, _)| taste(place) == 1).count()
        };
        assert_eq!(second(0.0), 0);
        assert!((2..=4).contains(&second(0.1)));
    }
}
