//! Exact selection of the best: score falling, then item id rising.

use std::cmp::Ordering;

use super::ItemIndex;
use super::catalogue::Catalogue;

/// Places of the `k` best of `items`, best first. `scores[i]` belongs to `items[i]`; scores are finite, or -∞ for what is not to be among them.
#[must_use]
pub fn top_k(catalogue: &Catalogue, items: &[ItemIndex], scores: &[f32], k: usize) -> Vec<usize> {
    let better = |a: &usize, b: &usize| -> Ordering {
        scores[*b].total_cmp(&scores[*a]).then_with(|| catalogue.id(items[*a]).cmp(catalogue.id(items[*b])))
    };
    let mut best = with_room(k, scores, better);
    best.sort_unstable_by(better);
    best
}

/// The `k`th largest of `values`; -∞ when there are fewer.
#[must_use]
pub fn kth_largest(values: &[f32], k: usize) -> f32 {
    if k == 0 || values.len() < k {
        return f32::NEG_INFINITY;
    }
    let room = (4 * k).max(64);
    let mut best: Vec<f32> = Vec::with_capacity(room.min(values.len()));
    let falling = |a: &f32, b: &f32| b.total_cmp(a);
    let mut threshold = f32::NEG_INFINITY;
    for chunk in values.chunks(CHUNK) {
        if !chunk.iter().fold(false, |any, &value| any | (value > threshold)) {
            continue;
        }
        for &value in chunk {
            if value > threshold {
                best.push(value);
                if best.len() == room {
                    threshold = *best.select_nth_unstable_by(k - 1, falling).1;
                    best.truncate(k);
                }
            }
        }
    }
    if best.len() < k { f32::NEG_INFINITY } else { *best.select_nth_unstable_by(k - 1, falling).1 }
}

/// Values that are looked at together: most chunks hold nothing that is large enough.
const CHUNK: usize = 32;

/// Calls `with` each place whose value is at least `least`, in their order.
pub fn at_least(values: &[f32], least: f32, mut with: impl FnMut(usize)) {
    for (number, chunk) in values.chunks(CHUNK).enumerate() {
        if !chunk.iter().fold(false, |any, &value| any | (value >= least)) {
            continue;
        }
        for (place, &value) in chunk.iter().enumerate() {
            if value >= least {
                with(number * CHUNK + place);
            }
        }
    }
}

/// The `k` best places, in any order, in one pass: what is below the worst of the best so far costs one comparison. A buffer takes the others, and is cut
/// when it is full.
fn with_room(k: usize, scores: &[f32], better: impl Fn(&usize, &usize) -> Ordering + Copy) -> Vec<usize> {
    if k == 0 {
        return Vec::new();
    }
    let room = (4 * k).max(64);
    let mut best: Vec<usize> = Vec::with_capacity(room.min(scores.len()));
    let mut threshold = f32::NEG_INFINITY;
    for (place, &score) in scores.iter().enumerate() {
        // Equal scores come in: their ids decide.
        if score >= threshold && score > f32::NEG_INFINITY {
            best.push(place);
            if best.len() == room {
                best.select_nth_unstable_by(k - 1, better);
                best.truncate(k);
                threshold = scores[best[k - 1]];
            }
        }
    }
    if best.len() > k {
        best.select_nth_unstable_by(k - 1, better);
        best.truncate(k);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ItemId;

    #[test]
    fn ties_go_by_id_and_not_by_place() {
        let mut catalogue = Catalogue::default();
        let items = ["c", "a", "d", "b"].map(|id| catalogue.reserve(&ItemId::new(id).unwrap()));
        let best = |k| top_k(&catalogue, &items, &[0.5, 0.5, 0.9, 0.5], k);
        assert_eq!(best(3), vec![2, 1, 3]);
        assert_eq!(best(9), vec![2, 1, 3, 0]);
        assert_eq!(best(0), Vec::<usize>::new());
    }

    #[test]
    fn one_pass_finds_what_sorting_finds() {
        let mut catalogue = Catalogue::default();
        let items: Vec<ItemIndex> =
            (0..3_000).map(|n| catalogue.reserve(&ItemId::new(format!("{}", n * 7 % 3_000)).unwrap())).collect();
        for distinct in [2, 50, 100_003] {
            let scores: Vec<f32> = (0..3_000u64).map(|n| (n * n * 31 % distinct) as f32).collect();
            let mut sorted: Vec<usize> = (0..3_000).collect();
            sorted.sort_by(|&a, &b| {
                scores[b].total_cmp(&scores[a]).then_with(|| catalogue.id(items[a]).cmp(catalogue.id(items[b])))
            });
            for k in [1, 80, 700, 2_999] {
                assert_eq!(top_k(&catalogue, &items, &scores, k), sorted[..k], "{k} of {distinct} values");
                assert!((kth_largest(&scores, k) - scores[sorted[k - 1]]).abs() < f32::EPSILON);
            }
        }
        assert_eq!(kth_largest(&[1.0], 2), f32::NEG_INFINITY);
        assert_eq!(top_k(&catalogue, &items[..3], &[f32::NEG_INFINITY, 1.0, 2.0], 3), [2, 1]);
    }
}
