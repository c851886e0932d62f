//! The index as it changes, and what it says.

use crate::engine::scorers::item_terms::{eras, label_term};
use crate::engine::vocabulary;

use super::*;

#[test]
fn terms_that_many_have_count_as_they_would_item_by_item() {
    let mut catalogue = Catalogue::default();
    let mut item = |n: usize, genre: &str| {
        let item = serde_json::from_value(serde_json::json!({
            "id": format!("item-{n}"), "domain": "movie", "title": format!("number {n}"), "genres": [genre, format!("rare {}", n / 5)],
            "tags": ["common"], "description": null, "creators": [], "released": format!("{}-01-01", 1950 + n % 70),
            "attributes": {}, "available": true,
        }));
        catalogue.upsert(item.unwrap())
    };
    let all: Vec<ItemIndex> = (0..3 * LARGE).map(|n| item(n, ["rock", "pop"][n % 2])).collect();
    all.iter().skip(1).step_by(3).enumerate().for_each(|(n, _)| {
        item(3 * n + 1, "jazz");
    });
    let index = catalogue.content();
    let number = |label: &str| index.term(&label_term(&vocabulary::concept(label))).unwrap();
    let common = |label: &str| !index.postings[number(label) as usize].row.is_empty();
    assert!(common("rock") && common("jazz") && common("common") && !common("rare 3"));
    let history = vec![(all[0], 1.0), (all[9], -0.5), (all[10], 0.3)];
    let (terms, length) = index.person(&history).unwrap();
    let Some(Prepared::Content(said)) = Content.prepare(&catalogue, &Profile { history, ..Profile::default() }) else {
        panic!("content has something to say");
    };
    for &item in &all {
        let (own, own_length) = index.vector(item);
        let mut sum = 0.0f32;
        for &(term, weight) in &terms {
            sum += weight_of(own, term).unwrap_or(0.0) * weight;
        }
        assert_eq!(said.of(item), if sum == 0.0 { 0.0 } else { sum / (own_length * length) });
    }
}

#[test]
fn an_item_that_changes_is_found_as_if_it_had_come_that_way() {
    let terms: [&[(Term, f32)]; 5] =
        [&[(0, 1.0), (1, 0.5)], &[(1, 0.5), (2, 1.0)], &[(0, 0.25), (1, 0.5)], &[], &[(0, 1.0), (1, 0.5), (2, 0.75)]];
    let index = |of: &[&[(Term, f32)]]| {
        let mut index = ContentIndex::default();
        for name in ["a", "b", "c"] {
            index.number(name);
        }
        for (place, terms) in of.iter().enumerate() {
            index.insert(ItemIndex(place as u32), (*terms).into());
        }
        index
    };
    let state = |of: &ContentIndex| {
        // Behind the last item that bears a term, its row may have ended or not.
        let postings = |of: &Postings| {
            let end = of.row.iter().rposition(|&part| part > 0).map_or(0, |last| last + 1);
            (of.items.clone(), of.row[..end].to_vec())
        };
        (of.vectors.clone(), of.lengths.clone(), of.items, of.postings.iter().map(postings).collect::<Vec<_>>())
    };
    // More than [`LARGE`], so that some have rows; the first, one in the middle, and the last change into each of the others.
    let before: Vec<&[(Term, f32)]> = (0..LARGE + 200).map(|n| terms[n % 5]).collect();
    let mut changing = index(&before);
    let rows: Vec<bool> = changing.postings.iter().map(|postings| !postings.row.is_empty()).collect();
    assert_eq!(rows, [true; 3]);
    for place in [0, 601, before.len() - 1] {
        for to in terms {
            changing.replace(ItemIndex(place as u32), to.into());
            let mut after = before.clone();
            after[place] = to;
            assert!(state(&changing) == state(&index(&after)), "{place} {to:?}");
        }
        changing.replace(ItemIndex(place as u32), before[place].into());
    }
    changing.remove(ItemIndex(601));
    assert_eq!(changing.items_of(1).len() + 1, index(&before).items_of(1).len());
    assert_eq!(changing.has(ItemIndex(601), 1), 0.0);
}

#[test]
fn what_is_of_a_time_is_alike_and_years_fade_into_each_other() {
    let mut catalogue = Catalogue::default();
    let years = [1994, 1995, 1997, 2010];
    let [a, near, further, far] = years.map(|year| {
        let item = serde_json::from_value(serde_json::json!({
            "id": format!("item-{year}"), "domain": "movie", "title": "", "genres": [], "tags": [], "description": null,
            "creators": [], "released": format!("{year}-06-01"), "attributes": {}, "available": true,
        }));
        catalogue.upsert(item.unwrap())
    });
    let alike = |other: ItemIndex| catalogue.content().nearest(a, std::iter::once(other));
    assert!(alike(near) > alike(further) && alike(further) > alike(far), "{} {}", alike(near), alike(further));
    assert_eq!(alike(far), 0.0);
    assert_eq!(eras(1996).map(|(_, share)| share), [1.0, 0.0]);
}
