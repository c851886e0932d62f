//! The log of behaviour: no event twice, none lost, and each person's can be read, merged and erased.

use medley::domain::{Behaviour, Event, InteractionKind, RecommendationId};

use crate::database::{Database, at, event, item_id, user};

on_both_databases_also_encrypted!(
    a_known_event_id_changes_nothing,
    a_batch_is_stored_whole_or_not_at_all,
    bulk_load_means_the_same_as_append,
    concurrent_retries_store_an_event_once,
    batches_in_opposite_orders_are_both_stored,
    events_come_back_as_they_were_given,
    pages_go_from_the_newest_to_the_oldest,
    the_whole_log_is_paged_from_its_beginning,
    history_sums_up_by_item_and_kind,
    histories_are_paged_in_the_byte_order_of_user_ids,
    an_erased_person_is_gone_and_the_watermark_stays,
    merging_moves_everything_and_keeps_event_ids_unique,
    an_acknowledged_watermark_is_reached_on_every_replica,
);

async fn a_known_event_id_changes_nothing(database: &Database) {
    let store = database.store().await;
    let batch = [event(Some("e1"), "ann", "a", 1), event(Some("e2"), "ann", "b", 2), event(None, "ann", "c", 3)];
    let first = store.append_events(&batch).await.unwrap();
    assert_eq!((first.accepted, first.duplicates), (3, 0));
    assert_eq!(store.watermark().await.unwrap(), first.watermark);

    // The retry: what has an id is known; what has none is a new event.
    let retry = store.append_events(&batch).await.unwrap();
    assert_eq!((retry.accepted, retry.duplicates), (1, 2));
    assert!(retry.watermark > first.watermark);
    assert_eq!(store.count_events().await.unwrap(), 4);

    // The same id with other content, even of another person: the first one stays.
    let other = store.append_events(&[event(Some("e1"), "bob", "z", 9)]).await.unwrap();
    assert_eq!((other.accepted, other.duplicates, other.watermark), (0, 1, retry.watermark));
    assert_eq!(store.watermark().await.unwrap(), retry.watermark);
    assert!(store.history(&user("bob")).await.unwrap().is_empty());

    // Twice within a batch: the first wins.
    let twice = [event(Some("e3"), "cy", "first", 1), event(Some("e3"), "cy", "second", 2)];
    let appended = store.append_events(&twice).await.unwrap();
    assert_eq!((appended.accepted, appended.duplicates), (1, 1));
    assert_eq!(store.history(&user("cy")).await.unwrap()[0].item_id, item_id("first"));

    let nothing = store.append_events(&[]).await.unwrap();
    assert_eq!((nothing.accepted, nothing.duplicates, nothing.watermark), (0, 0, appended.watermark));
}

async fn batches_in_opposite_orders_are_both_stored(database: &Database) {
    let stores = [database.store().await, database.replica().await];
    for round in 0..3 {
        let batch: Vec<Event> =
            (0..3_000).map(|n| event(Some(&format!("e{round}-{n}")), &format!("u{}", n % 50), "a", n)).collect();
        let reversed: Vec<Event> = batch.iter().rev().cloned().collect();
        let both = tokio::join!(stores[0].append_events(&batch), stores[1].append_events(&reversed));
        assert_eq!(both.0.unwrap().accepted + both.1.unwrap().accepted, 3_000, "round {round}");
    }
}

async fn a_batch_is_stored_whole_or_not_at_all(database: &Database) {
    let store = database.store().await;
    // Of several statements' length, and cut off at different moments, as when a caller goes away.
    let batch: Vec<Event> = (0..5_000).map(|n| event(Some(&format!("e{n}")), "ann", "a", n)).collect();
    for patience in [0, 1, 3, 10, 30] {
        let cut_off = tokio::time::timeout(std::time::Duration::from_millis(patience), store.append_events(&batch));
        let appended = cut_off.await.is_ok();
        // A second store sees what is really there; give an abandoned statement the time to end.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let count = database.replica().await.count_events().await.unwrap();
        assert!(count == 5_000 || (count == 0 && !appended), "{count} of 5000 events");
    }
    store.append_events(&batch).await.unwrap();
    assert_eq!(store.count_events().await.unwrap(), 5_000);
}

async fn bulk_load_means_the_same_as_append(database: &Database) {
    let store = database.store().await;
    let mut events: Vec<Event> = (0..3_000)
        .map(|n| Event { value: Some(n as f64 / 7.0), ..event(Some(&format!("e{n}")), "ann", "a\\b \"c\", 科幻", n) })
        .collect();
    // Within the file: one id again, and what COPY would take for an end, a NULL and a tab.
    events.push(event(Some("e0"), "bob", "second", 1));
    events.push(event(Some("\\."), "bob", "\\N", 1));
    events.push(event(None, "\\.", "a\\tb", 1));
    let appended = store.load_events(&events).await.unwrap();
    assert_eq!((appended.accepted, appended.duplicates), (3_002, 1));
    assert_eq!(store.watermark().await.unwrap(), appended.watermark);

    let ann = store.history(&user("ann")).await.unwrap();
    assert_eq!(ann[0].item_id, item_id("a\\b \"c\", 科幻"));
    assert_eq!(ann[0].count, 3_000);
    assert_eq!(ann[0].last_value, Some(2_999.0 / 7.0));
    assert_eq!(store.history(&user("bob")).await.unwrap()[0].item_id, item_id("\\N"));
    assert_eq!(store.history(&user("\\.")).await.unwrap()[0].item_id, item_id("a\\tb"));

    // The same file again, loaded or appended: no count changes.
    events.retain(|event| event.event_id.is_some());
    let again = store.load_events(&events).await.unwrap();
    assert_eq!((again.accepted, again.duplicates, again.watermark), (0, 3_002, appended.watermark));
    let again = store.append_events(&events).await.unwrap();
    assert_eq!((again.accepted, again.duplicates, again.watermark), (0, 3_002, appended.watermark));
    assert_eq!(store.count_events().await.unwrap(), 3_002);
    assert_eq!(store.load_events(&[]).await.unwrap().accepted, 0);
}

async fn concurrent_retries_store_an_event_once(database: &Database) {
    let store = database.store().await;
    let tasks = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut accepted = 0;
            for n in 0..50 {
                let batch =
                    [event(Some(&format!("e{n}")), "ann", "a", n), event(Some(&format!("f{n}")), "ann", "b", n)];
                accepted += store.append_events(&batch).await.unwrap().accepted;
            }
            accepted
        })
    });
    let mut accepted = 0;
    for task in tasks.collect::<Vec<_>>() {
        accepted += task.await.unwrap();
    }
    assert_eq!(accepted, 100, "each event is accepted by exactly one of the retries");
    assert_eq!(store.count_events().await.unwrap(), 100);
}

async fn events_come_back_as_they_were_given(database: &Database) {
    let store = database.store().await;
    let full = Event {
        kind: InteractionKind::Rating,
        value: Some(0.1 + 0.2),
        recommendation_id: Some(RecommendationId::new("rec_1").unwrap()),
        position: Some(u32::MAX),
        at: jiff::Timestamp::from_microsecond(-1_234_567).unwrap(),
        ..event(Some("e-科幻-😀"), "ann", "a'b", 0)
    };
    let mut events = vec![full];
    events.extend(InteractionKind::ALL.map(|kind| Event { kind, ..event(None, "ann", "a", 1) }));
    store.append_events(&events[..1]).await.unwrap();
    store.load_events(&events[1..]).await.unwrap();
    let mut stored: Vec<_> =
        store.user_events(&user("ann"), None, 100).await.unwrap().into_iter().map(|stored| stored.event).collect();
    stored.reverse();
    assert_eq!(stored, events);
}

async fn pages_go_from_the_newest_to_the_oldest(database: &Database) {
    let store = database.store().await;
    // Three events at each time, given out of order: among them, the later in the log is the newer.
    let events: Vec<Event> = (0..90).map(|n| event(Some(&format!("e{n}")), "ann", "a", (n * 7) % 30)).collect();
    store.append_events(&events).await.unwrap();
    store.append_events(&[event(None, "bob", "a", 100)]).await.unwrap();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = store.user_events(&user("ann"), before, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 7);
        before = Some((last.event.at, last.sequence));
        seen.extend(page);
    }
    assert_eq!(seen.len(), 90);
    assert!(seen.windows(2).all(|two| (two[0].event.at, two[0].sequence) > (two[1].event.at, two[1].sequence)));
    assert!(store.user_events(&user("nobody"), None, 7).await.unwrap().is_empty());
}

async fn the_whole_log_is_paged_from_its_beginning(database: &Database) {
    let store = database.store().await;
    let events: Vec<Event> = (0..7)
        .map(|n| Event {
            kind: if n % 2 == 0 { InteractionKind::Impression } else { InteractionKind::Like },
            ..event(Some(&format!("e{n}")), &format!("u{}", n % 3), "a", 100 - n)
        })
        .collect();
    store.append_events(&events).await.unwrap();
    let (mut read, mut after) = (Vec::new(), 0);
    loop {
        let page = store.events(after, 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        assert!(page.iter().all(|stored| stored.sequence > after));
        after = last.sequence;
        read.extend(page.into_iter().map(|stored| stored.event));
    }
    assert_eq!(read, events, "in the order of the log, whatever their times, impressions included");
}

async fn history_sums_up_by_item_and_kind(database: &Database) {
    let store = database.store().await;
    let play = |item: &str, value, seconds| Event { value, ..event(None, "ann", item, seconds) };
    let rate = |value, seconds| Event { kind: InteractionKind::Rating, ..play("b", Some(value), seconds) };
    let shown = Event { kind: InteractionKind::Impression, ..event(None, "ann", "b", 99) };
    let events = [
        play("b", Some(3.0), 5),
        rate(4.5, 8),
        play("b", None, 6),
        // Older, but sent later: the newest rating stays 4.5. Then two at the same time: the later one in the log counts.
        rate(1.0, 7),
        rate(2.0, 9),
        rate(3.5, 9),
        shown,
        play("B", None, 1),
    ];
    store.append_events(&events).await.unwrap();
    let entry = |item, kind, count, total, last_value, seconds| Behaviour {
        item_id: item_id(item),
        kind,
        count,
        total,
        last_value,
        last_at: at(seconds),
    };
    let expected = [
        entry("B", InteractionKind::Play, 1, 1.0, None, 1),
        entry("b", InteractionKind::Play, 2, 4.0, None, 6),
        entry("b", InteractionKind::Rating, 4, 11.0, Some(3.5), 9),
    ];
    assert_eq!(store.history(&user("ann")).await.unwrap(), expected);
    assert_eq!(store.histories(None, 10).await.unwrap(), [(user("ann"), expected.to_vec())]);
    assert!(store.history(&user("ANN")).await.unwrap().is_empty());
}

async fn histories_are_paged_in_the_byte_order_of_user_ids(database: &Database) {
    let store = database.store().await;
    // In most locales this is another order; in bytes it is this one.
    let people = ["10", "9", "B", "Z", "_", "a", "a b", "aa", "b", "ä", "中", "😀"];
    let mut events = Vec::new();
    for (n, person) in people.iter().enumerate() {
        events.extend((0..=n as i64).rev().map(|k| event(None, person, &format!("i{}", k % 5), k)));
    }
    events.reverse();
    // Who has only been shown something has no history.
    events.push(Event { kind: InteractionKind::Impression, ..event(None, "aaa", "x", 1) });
    store.load_events(&events).await.unwrap();
    for limit in [1, 5, 12, 100] {
        let mut seen = Vec::new();
        loop {
            let page = store.histories(seen.last(), limit).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            assert!(page.len() <= limit as usize);
            let last = last.clone();
            for (person, history) in &page {
                assert_eq!(*history, store.history(person).await.unwrap());
                seen.push(person.clone());
            }
            assert_eq!(seen.last(), Some(&last));
        }
        if database.is_encrypted() {
            // Their pseudonyms have another order; it is the same for every size of the pages.
            let one_page = store.histories(None, 1_000).await.unwrap();
            assert_eq!(seen, one_page.into_iter().map(|(person, _)| person).collect::<Vec<_>>(), "{limit} at a time");
            seen.sort();
        }
        assert_eq!(seen, people.map(user), "{limit} at a time");
    }
}

async fn an_erased_person_is_gone_and_the_watermark_stays(database: &Database) {
    let store = database.store().await;
    store.append_events(&[event(Some("e1"), "bob", "a", 1)]).await.unwrap();
    let appended = store.append_events(&[event(Some("e2"), "ann", "a", 1), event(None, "ann", "b", 2)]).await.unwrap();
    assert_eq!(store.erase_user(&user("ann")).await.unwrap().events, 2);
    assert!(store.history(&user("ann")).await.unwrap().is_empty());
    assert!(store.user_events(&user("ann"), None, 10).await.unwrap().is_empty());
    assert_eq!(store.count_events().await.unwrap(), 1);
    assert_eq!(store.watermark().await.unwrap(), appended.watermark, "an acknowledged watermark stays reached");
    assert_eq!(store.erase_user(&user("ann")).await.unwrap().events, 0);
    let next = store.append_events(&[event(None, "cy", "a", 1)]).await.unwrap();
    assert!(next.watermark > appended.watermark, "a place in the log is never given out twice");
    // An older erasure does not lower it either.
    store.erase_user(&user("bob")).await.unwrap();
    assert_eq!(store.watermark().await.unwrap(), next.watermark);
}

async fn merging_moves_everything_and_keeps_event_ids_unique(database: &Database) {
    let store = database.store().await;
    store
        .append_events(&[event(Some("e1"), "anonymous", "a", 1), event(Some("e2"), "anonymous", "b", 2)])
        .await
        .unwrap();
    store.append_events(&[event(Some("e3"), "ann", "a", 3)]).await.unwrap();
    assert_eq!(store.merge_users(&user("anonymous"), &user("ann")).await.unwrap(), 2);
    assert!(store.history(&user("anonymous")).await.unwrap().is_empty());
    let history = store.history(&user("ann")).await.unwrap();
    assert_eq!(history.iter().map(|entry| entry.count).collect::<Vec<_>>(), [2, 1]);
    // The client sends its anonymous events once more: they are still known.
    let retry = store.append_events(&[event(Some("e1"), "anonymous", "a", 1)]).await.unwrap();
    assert_eq!((retry.accepted, retry.duplicates), (0, 1));
    assert_eq!(store.merge_users(&user("anonymous"), &user("ann")).await.unwrap(), 0);
    assert_eq!(store.merge_users(&user("ann"), &user("ann")).await.unwrap(), 0);
    assert_eq!(store.count_events().await.unwrap(), 3);
}

async fn an_acknowledged_watermark_is_reached_on_every_replica(database: &Database) {
    let writer = database.store().await;
    let reader = database.replica().await;
    assert_eq!(reader.watermark().await.unwrap(), 0);
    let tasks = (0..4).map(|task| {
        let (writer, reader) = (writer.clone(), reader.clone());
        tokio::spawn(async move {
            let person = format!("u{task}");
            for n in 0..100 {
                let item = format!("i{n}");
                let appended = writer.append_events(&[event(None, &person, &item, n)]).await.unwrap();
                assert!(reader.watermark().await.unwrap() >= appended.watermark);
                let history = reader.history(&user(&person)).await.unwrap();
                assert!(history.iter().any(|entry| entry.item_id.as_str() == item), "{item} was acknowledged");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}
