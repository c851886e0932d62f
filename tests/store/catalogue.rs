//! The catalogue: what becomes of an item, the search, and the order of changes.

use std::collections::BTreeMap;

use medley::domain::{Domain, Item, ItemPatch};
use medley::store::{ItemChange, ItemSearch, Upserted};

use crate::database::{Database, item, item_id};

on_both_databases!(
    an_item_is_created_updated_or_unchanged,
    a_deleted_item_is_gone_until_it_is_stored_again,
    changes_to_one_item_do_not_undo_each_other,
    lists_are_paged_in_the_byte_order_of_ids,
    search_finds_words_in_any_script_and_case,
    titles_come_first_and_pages_follow_each_other,
    what_an_earlier_version_stored_is_found_after_a_start,
    changes_replay_the_catalogue_and_go_on_from_there,
    a_reader_of_changes_misses_none_while_many_write,
);

async fn an_item_is_created_updated_or_unchanged(database: &Database) {
    let store = database.store().await;
    let full = Item {
        genres: vec!["Sci-Fi".into(), "科幻".into()],
        tags: vec!["space \"opera\"".into()],
        description: Some("Two lines\nand a \\ in it".into()),
        creators: vec!["Björk".into()],
        released: Some(jiff::civil::date(1999, 12, 31)),
        attributes: BTreeMap::from([("language".into(), vec!["en".into(), "zh".into()])]),
        available: false,
        ..item("m1", "movie", "A title")
    };
    let other = item("g1", "game", "Another");
    let outcomes = store.upsert_items(&[full.clone(), other.clone()]).await.unwrap();
    assert_eq!(outcomes, [Upserted::Created, Upserted::Created]);
    assert_eq!(store.item(&full.id).await.unwrap(), Some(full.clone()));
    let renamed = Item { title: "Renamed".into(), ..other.clone() };
    assert_eq!(
        store.upsert_items(&[full.clone(), renamed.clone()]).await.unwrap(),
        [Upserted::Unchanged, Upserted::Updated]
    );
    assert_eq!(store.item(&other.id).await.unwrap(), Some(renamed.clone()));
    // One id several times in a batch: one after the other.
    let third = item("x", "music", "One");
    let fourth = item("x", "music", "Two");
    let outcomes = store.upsert_items(&[third.clone(), third, fourth.clone(), renamed]).await.unwrap();
    assert_eq!(outcomes, [Upserted::Created, Upserted::Unchanged, Upserted::Updated, Upserted::Unchanged]);
    assert_eq!(store.item(&fourth.id).await.unwrap(), Some(fourth));
    assert_eq!(store.count_items().await.unwrap(), 3);
    assert_eq!(store.item(&item_id("M1")).await.unwrap(), None);
    assert!(store.upsert_items(&[]).await.unwrap().is_empty());

    // More than one statement's worth.
    let many: Vec<Item> = (0..2_500).map(|n| item(&format!("n{n}"), "game", "Many")).collect();
    assert!(store.upsert_items(&many).await.unwrap().iter().all(|outcome| *outcome == Upserted::Created));
    assert!(store.upsert_items(&many).await.unwrap().iter().all(|outcome| *outcome == Upserted::Unchanged));
    assert_eq!(store.count_items().await.unwrap(), 2_503);
}

async fn a_deleted_item_is_gone_until_it_is_stored_again(database: &Database) {
    let store = database.store().await;
    let film = item("m1", "movie", "A title");
    store.upsert_items(std::slice::from_ref(&film)).await.unwrap();
    assert!(store.delete_item(&film.id).await.unwrap());
    assert!(!store.delete_item(&film.id).await.unwrap());
    assert!(!store.delete_item(&item_id("unknown")).await.unwrap());
    assert_eq!(store.item(&film.id).await.unwrap(), None);
    assert_eq!(store.count_items().await.unwrap(), 0);
    assert!(store.search_items(&ItemSearch { limit: 10, ..ItemSearch::default() }).await.unwrap().items.is_empty());
    assert_eq!(store.upsert_items(std::slice::from_ref(&film)).await.unwrap(), [Upserted::Created]);
    assert_eq!(store.item(&film.id).await.unwrap(), Some(film));
}

async fn changes_to_one_item_do_not_undo_each_other(database: &Database) {
    let stores = [database.store().await, database.replica().await];
    let film = item("m1", "movie", "Before");
    assert_eq!(stores[0].patch_item(&film.id, &ItemPatch::default()).await.unwrap(), None);
    stores[0].upsert_items(std::slice::from_ref(&film)).await.unwrap();
    for n in 0..20 {
        let title = ItemPatch { title: Some(format!("Title {n}")), ..ItemPatch::default() };
        let hidden = ItemPatch { available: Some(n % 2 == 1), ..ItemPatch::default() };
        let both = tokio::join!(stores[0].patch_item(&film.id, &title), stores[1].patch_item(&film.id, &hidden));
        assert!(both.0.unwrap().is_some() && both.1.unwrap().is_some());
        let now = stores[0].item(&film.id).await.unwrap().unwrap();
        assert_eq!((now.title, now.available), (format!("Title {n}"), n % 2 == 1));
    }
    let search = ItemSearch { text: Some("title 19".into()), limit: 5, ..ItemSearch::default() };
    assert_eq!(stores[0].search_items(&search).await.unwrap().items.len(), 1);
    // What changes nothing is no change to whoever follows.
    let (newest, _) = stores[0].item_changes(0, 10).await.unwrap().pop().unwrap();
    stores[0].patch_item(&film.id, &ItemPatch { available: Some(true), ..ItemPatch::default() }).await.unwrap();
    assert!(stores[0].item_changes(newest, 10).await.unwrap().is_empty());
    stores[0].delete_item(&film.id).await.unwrap();
    assert_eq!(stores[0].patch_item(&film.id, &ItemPatch::default()).await.unwrap(), None);
}

async fn lists_are_paged_in_the_byte_order_of_ids(database: &Database) {
    let store = database.store().await;
    let ids = ["10", "9", "A", "B", "_", "a", "a b", "aa", "ä", "中"];
    let domain = |n: usize| if n.is_multiple_of(2) { "movie" } else { "game" };
    let mut items: Vec<Item> = ids.iter().enumerate().map(|(n, id)| item(id, domain(n), "Title")).collect();
    items.reverse();
    store.upsert_items(&items).await.unwrap();
    let list = async |domain: Option<&str>, limit| {
        let mut search = ItemSearch { domain: domain.map(|d| Domain::new(d).unwrap()), limit, ..ItemSearch::default() };
        let mut seen: Vec<String> = Vec::new();
        loop {
            let page = store.search_items(&search).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            seen.extend(page.items.into_iter().map(|item| item.id.into()));
            search.after = page.next;
            if search.after.is_none() {
                return seen;
            }
        }
    };
    for limit in [1, 3, 10, 50] {
        assert_eq!(list(None, limit).await, ids);
        assert_eq!(list(Some("game"), limit).await, ["9", "B", "a", "aa", "中"]);
    }
    assert!(list(Some("music"), 5).await.is_empty());
}

async fn search_finds_words_in_any_script_and_case(database: &Database) {
    let store = database.store().await;
    let blade = Item {
        genres: vec!["Science Fiction".into()],
        tags: vec!["Neon_Rain".into()],
        creators: vec!["Ridley Scott".into()],
        description: Some("A hunter of REPLICANTS; 100% noir".into()),
        attributes: BTreeMap::from([("original_title".into(), vec!["Blade Runner ÄÖ".into()])]),
        ..item("m1", "movie", "Blade Runner")
    };
    let wandering = Item { genres: vec!["科幻".into()], ..item("m2", "movie", "流浪地球") };
    store.upsert_items(&[blade, wandering]).await.unwrap();
    let find = async |text: &str| -> Vec<String> {
        let search = ItemSearch { text: Some(text.to_owned()), limit: 10, ..ItemSearch::default() };
        store.search_items(&search).await.unwrap().items.into_iter().map(|item| item.id.into()).collect()
    };
    for text in ["blade", "RUN", "scott  blade", "fiction", "neon_rain", "replicants", "äö", "100%", ""] {
        assert!(find(text).await.contains(&"m1".to_owned()), "{text:?}");
    }
    for text in ["blade earth", "1000%", "neon-rain", "bl%de", "b_ade", "\\", "' OR '1'='1", "10__%"] {
        assert!(find(text).await.is_empty(), "{text:?}");
    }
    assert_eq!(find("地球").await, ["m2"]);
    assert_eq!(find("科幻").await, ["m2"]);
}

async fn titles_come_first_and_pages_follow_each_other(database: &Database) {
    let store = database.store().await;
    let tagged = |id: &str, title: &str, tag: &str| Item { tags: vec![tag.into()], ..item(id, "music", title) };
    let original = BTreeMap::from([("original_title".into(), vec!["Björk live".into()])]);
    let items = [
        tagged("1", "Else", "Björk, live"),
        tagged("2", "Björk", "live"),
        tagged("3", "Live: Bjork", "x"),
        tagged("4", "Elsewhere", "x\u{1}\u{2} bjork alive live"),
        Item { attributes: original, ..tagged("5", "Else", "x") },
        tagged("6", "Alive with Björk", "x"),
        tagged("7", "Björk 100% live", "x"),
    ];
    store.upsert_items(&items).await.unwrap();
    for (text, wanted) in [
        ("björk live", &["3", "5", "7", "1", "2", "4"][..]),
        ("BJORK", &["2", "3", "5", "6", "7", "1", "4"]),
        ("live 100%", &["7"]),
        ("ive", &[]),
    ] {
        for limit in [1, 2, 3, 10] {
            let mut search = ItemSearch { text: Some(text.into()), limit, ..ItemSearch::default() };
            let mut found: Vec<String> = Vec::new();
            loop {
                let page = store.search_items(&search).await.unwrap();
                found.extend(page.items.into_iter().map(|item| String::from(item.id)));
                search.after = page.next;
                if search.after.is_none() {
                    break;
                }
            }
            assert_eq!(found, wanted, "{text}, {limit} a page");
        }
    }
}

async fn what_an_earlier_version_stored_is_found_after_a_start(database: &Database) {
    let store = database.store().await;
    let items: Vec<Item> = (0..1_500).map(|n| item(&format!("i{n:04}"), "movie", "Amélie")).collect();
    store.upsert_items(&items).await.unwrap();
    store.of_tenant(&"shop".parse().unwrap()).upsert_items(&items[..1]).await.unwrap();
    store.delete_item(&items[0].id).await.unwrap();
    let revisions: Vec<i64> = store.item_changes(0, 10_000).await.unwrap().iter().map(|change| change.0).collect();
    database.execute("UPDATE items SET search_text = 'amélie' WHERE fields IS NOT NULL").await;
    let search = ItemSearch { text: Some("amelie".into()), limit: 2_000, ..ItemSearch::default() };
    assert!(store.search_items(&search).await.unwrap().items.is_empty());
    store.close().await;
    let store = database.store().await;
    assert_eq!(store.search_items(&search).await.unwrap().items.len(), 1_499);
    let shop = store.of_tenant(&"shop".parse().unwrap());
    assert_eq!(shop.search_items(&search).await.unwrap().items.len(), 1);
    let now: Vec<i64> = store.item_changes(0, 10_000).await.unwrap().iter().map(|change| change.0).collect();
    assert_eq!(now, revisions, "that is no change of the catalogue");
}

/// Follows the changes from `revision` on, and returns the last revision.
async fn follow(store: &dyn medley::store::Store, catalogue: &mut BTreeMap<String, Item>, mut revision: i64) -> i64 {
    loop {
        let page = store.item_changes(revision, 3).await.unwrap();
        if page.is_empty() {
            return revision;
        }
        for (next, change) in page {
            assert!(next > revision, "oldest first");
            revision = next;
            match change {
                ItemChange::Stored(item) => catalogue.insert(item.id.as_str().to_owned(), item),
                ItemChange::Deleted(id) => catalogue.remove(id.as_str()),
            };
        }
    }
}

async fn changes_replay_the_catalogue_and_go_on_from_there(database: &Database) {
    let store = database.store().await;
    let items: Vec<Item> = (0..10).map(|n| item(&format!("i{n}"), "game", "Title")).collect();
    store.upsert_items(&items).await.unwrap();
    store.delete_item(&items[3].id).await.unwrap();
    let mut catalogue = BTreeMap::new();
    let revision = follow(&*store, &mut catalogue, 0).await;
    assert_eq!(catalogue.len(), 9);
    assert!(!catalogue.contains_key("i3"));

    // What stays as it is is no change.
    store.upsert_items(&items[4..]).await.unwrap();
    assert!(store.item_changes(revision, 10).await.unwrap().is_empty());

    let renamed = Item { title: "Renamed".into(), ..items[0].clone() };
    store.upsert_items(std::slice::from_ref(&renamed)).await.unwrap();
    store.delete_item(&items[9].id).await.unwrap();
    store.upsert_items(&items[3..4]).await.unwrap();
    let changes = store.item_changes(revision, 10).await.unwrap();
    assert_eq!(changes.len(), 3);
    assert!(matches!(&changes[0].1, ItemChange::Stored(item) if *item == renamed));
    assert!(matches!(&changes[1].1, ItemChange::Deleted(id) if *id == items[9].id));
    assert!(matches!(&changes[2].1, ItemChange::Stored(item) if *item == items[3]));
    // The newest item deleted: its revision is not given out again.
    store.delete_item(&items[3].id).await.unwrap();
    assert!(store.item_changes(changes[2].0, 10).await.unwrap()[0].0 > changes[2].0);
}

async fn a_reader_of_changes_misses_none_while_many_write(database: &Database) {
    let store = database.store().await;
    let reader = database.replica().await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..40 {
                    let batch: Vec<Item> =
                        (0..3).map(|k| item(&format!("w{writer}-{n}-{k}"), "game", "Title")).collect();
                    store.upsert_items(&batch).await.unwrap();
                    if n % 3 == 0 {
                        store.delete_item(&batch[0].id).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut catalogue = BTreeMap::new();
    let mut revision = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        revision = follow(&*reader, &mut catalogue, revision).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    follow(&*reader, &mut catalogue, revision).await;
    assert_eq!(catalogue.len(), 4 * (40 * 3 - 14));
    assert_eq!(store.count_items().await.unwrap(), catalogue.len() as u64);
}
