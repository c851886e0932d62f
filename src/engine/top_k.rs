//! Exact selection of the best: score falling, then item id rising.

use std::cmp::Ordering;

use super::ItemIndex;
use super::catalogue::Catalogue;

/// Places of the `k` best of `items`, best first. `scores[i]` belongs to `items[i]`; scores are finite.
#[must_use]
pub fn top_k(catalogue: &Catalogue, items: &[ItemIndex], scores: &[f32], k: usize) -> Vec<usize> {
    let better = |a: &usize, b: &usize| -> Ordering {
        scores[*b].total_cmp(&scores[*a]).then_with(|| catalogue.id(items[*a]).cmp(catalogue.id(items[*b])))
    };
    let mut places: Vec<usize> = (0..items.len()).collect();
    if k == 0 {
        return Vec::new();
    }
    if places.len() > k {
        places.select_nth_unstable_by(k - 1, better);
        places.truncate(k);
    }
    places.sort_unstable_by(better);
    places
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
}
