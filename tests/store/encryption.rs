//! Encryption at rest: what the files hold, which key opens them, and what is left of an erased person.

use medley::domain::{Event, EventId, InteractionKind, RecommendationId};
use medley::store::{self, Store, StoreError};
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use crate::database::{Database, at, event, item_id, master_key, user};

on_both_databases!(
    behaviour_that_is_there_is_encrypted,
    only_the_key_that_it_was_encrypted_with_opens_a_store,
    the_master_key_changes_while_services_run,
    who_looked_before_the_key_was_made_does_nothing_in_clear,
    all_tenants_are_under_one_master_key,
    erasing_and_writing_at_once_leaves_nothing_that_cannot_be_read,
);

/// Whether these bytes occur in the files.
fn holds(files: &[u8], text: &str) -> bool {
    memchr::memmem::find(files, text.as_bytes()).is_some()
}

fn secret(number: i64) -> Event {
    Event {
        kind: if number % 3 == 0 { InteractionKind::Impression } else { InteractionKind::Rating },
        value: Some(number as f64 / 10.0),
        recommendation_id: Some(RecommendationId::new(format!("canary-recommendation-{number}")).unwrap()),
        position: Some(7),
        event_id: Some(EventId::new(format!("canary-event-{number}")).unwrap()),
        ..event(None, &format!("canary-user-{}", number % 40), &format!("canary-item-{}", number % 10), number)
    }
}

async fn message(store: &dyn Store) -> String {
    let error = store.unlock().await.unwrap_err();
    assert!(matches!(error, StoreError::Failed(_)), "{error}");
    // What reads and what writes behaviour fails in the same way; nothing is stored in clear.
    assert_eq!(store.history(&user("canary-user-1")).await.unwrap_err().to_string(), error.to_string());
    assert_eq!(store.append_events(&[secret(999)]).await.unwrap_err().to_string(), error.to_string());
    error.to_string()
}

async fn behaviour_that_is_there_is_encrypted(database: &Database) {
    let events: Vec<Event> = (0..6_000).map(secret).collect();
    let clear = database.store().await;
    clear.load_events(&events).await.unwrap();
    clear.erase_user(&user("canary-user-0")).await.unwrap();
    let (before, watermark) = (clear.events(0, 10_000).await.unwrap(), clear.watermark().await.unwrap());
    let error = clear.encrypt().await.unwrap_err();
    assert!(error.to_string().contains("no master key"), "{error}");
    clear.close().await;
    let with_key = store::Options { master_key: Some(master_key(1).into()), ..database.options() };

    let store = store::open(&with_key).await.unwrap();
    assert!(message(store.as_ref()).await.contains("medley encryption start"));
    assert_eq!(store.encrypt().await.unwrap(), before.len() as u64);
    assert!(matches!(store.encrypt().await, Err(StoreError::Conflict(_))));
    store.close().await;

    let store = store::open(&with_key).await.unwrap();
    assert!(store.unlock().await.unwrap());
    assert_eq!(store.events(0, 10_000).await.unwrap(), before, "each in its place");
    assert_eq!(store.watermark().await.unwrap(), watermark);
    let again = store.append_events(&events[1..]).await.unwrap();
    let erased = events[1..].iter().filter(|event| event.user_id == user("canary-user-0")).count() as u64;
    assert_eq!(again.accepted, erased, "what is there is known by its event id");
}

async fn only_the_key_that_it_was_encrypted_with_opens_a_store(database: &Database) {
    let options = |number| store::Options { master_key: Some(master_key(number).into()), ..database.options() };
    let store = store::open(&options(1)).await.unwrap();
    store.migrate().await.unwrap();
    store.append_events(&[secret(1)]).await.unwrap();
    store.close().await;
    let other = store::open(&options(2)).await.unwrap();
    assert!(message(other.as_ref()).await.contains("not the one"));
    let none = database.replica().await;
    assert!(message(none.as_ref()).await.contains("master key is needed"));
    // The catalogue, the keys and the models are not encrypted: they can still be read.
    assert_eq!(none.count_items().await.unwrap(), 0);
    let right = store::open(&options(1)).await.unwrap();
    assert_eq!(right.events(0, 10).await.unwrap()[0].event, secret(1));
}

async fn the_master_key_changes_while_services_run(database: &Database) {
    let options = |number| store::Options { master_key: Some(master_key(number).into()), ..database.options() };
    let running = store::open(&options(1)).await.unwrap();
    running.migrate().await.unwrap();
    assert!(running.change_master_key(&master_key(2)).await.is_err(), "nothing is encrypted yet");
    running.append_events(&[secret(1)]).await.unwrap();
    store::open(&options(1)).await.unwrap().change_master_key(&master_key(2)).await.unwrap();
    running.append_events(&[secret(41)]).await.unwrap();
    let error = store::open(&options(1)).await.unwrap().change_master_key(&master_key(3)).await.unwrap_err();
    assert!(error.to_string().contains("not the one"), "{error}");
    let later = store::open(&options(2)).await.unwrap();
    assert_eq!(later.user_events(&user("canary-user-1"), None, 10).await.unwrap().len(), 2);
    let error = store::open(&options(1)).await.unwrap().unlock().await.unwrap_err();
    assert!(error.to_string().contains("not the one"), "{error}");
}

async fn who_looked_before_the_key_was_made_does_nothing_in_clear(database: &Database) {
    let early = database.store().await;
    assert!(!early.unlock().await.unwrap());
    let with_key = store::Options { master_key: Some(master_key(1).into()), ..database.options() };
    let late = store::open(&with_key).await.unwrap();
    assert!(late.unlock().await.unwrap());
    late.append_events(&[secret(1)]).await.unwrap();
    let (ann, person) = (user("ann"), user("canary-user-1"));
    let refused = [
        early.append_events(&[secret(2)]).await.map(drop),
        early.load_events(&[secret(3)]).await.map(drop),
        early.erase_user(&person).await.map(drop),
        early.merge_users(&person, &ann).await.map(drop),
        early.user_events(&person, None, 10).await.map(drop),
    ];
    for outcome in refused {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("master key is needed"), "{error}");
    }
    assert_eq!(late.events(0, 10).await.unwrap().len(), 1, "all that is stored can be read");
    // A tenant that has done nothing yet is no exception.
    let other = database.replica().await.of_tenant(&"other".parse().unwrap());
    assert!(message(other.as_ref()).await.contains("master key is needed"));
}

async fn all_tenants_are_under_one_master_key(database: &Database) {
    let options = |number| store::Options { master_key: Some(master_key(number).into()), ..database.options() };
    let store = store::open(&options(1)).await.unwrap();
    store.migrate().await.unwrap();
    store.append_events(&[secret(1)]).await.unwrap();
    let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
    assert!(store.of_tenant(&one).unlock().await.unwrap());
    let wrong = store::open(&options(2)).await.unwrap().of_tenant(&two);
    assert!(message(wrong.as_ref()).await.contains("not the one"));
    store.change_master_key(&master_key(2)).await.unwrap();
    // Again, as after one that was cut off: those that are under the new key stay so.
    store.change_master_key(&master_key(2)).await.unwrap();
    let after = store::open(&options(2)).await.unwrap();
    for tenant in [&one, &two] {
        assert!(after.of_tenant(tenant).unlock().await.unwrap());
    }
    // A process that still has the old key makes none that the new one does not open.
    let three = store.of_tenant(&"three".parse().unwrap());
    assert!(message(three.as_ref()).await.contains("not the one"));
}

async fn erasing_and_writing_at_once_leaves_nothing_that_cannot_be_read(database: &Database) {
    let options = store::Options { master_key: Some(master_key(1).into()), ..database.options() };
    let store = store::open(&options).await.unwrap();
    store.migrate().await.unwrap();
    let tasks = (0..4).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..60 {
                if task == 0 {
                    store.erase_user(&user("ann")).await.unwrap();
                } else if task == 1 {
                    store.merge_users(&user("bob"), &user("ann")).await.unwrap();
                } else {
                    let both = [event(None, "ann", "a", n), event(None, "bob", "b", n)];
                    store.append_events(&both).await.unwrap();
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let count = store.count_events().await.unwrap();
    let readable = store.events(0, 1_000).await.unwrap();
    assert_eq!(readable.len() as u64, count);
    let of = |name| readable.iter().filter(|stored| stored.event.user_id == user(name)).count();
    assert_eq!(of("ann") + of("bob"), readable.len());
    let histories = store.histories(None, 10).await.unwrap();
    let counted: u32 = histories.iter().flat_map(|(_, history)| history).map(|entry| entry.count).sum();
    assert_eq!(u64::from(counted), count);
}

/// A backup reads for as long as it takes: an erasure, and whoever writes after it, do not wait for its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_does_not_wait_for_a_long_reader() {
    let database = Database::sqlite();
    let store = database.store().await;
    store.append_events(&[secret(1), secret(2)]).await.unwrap();
    let raw = SqlitePool::connect(&database.options().url).await.unwrap();
    let mut reading = raw.begin().await.unwrap();
    let count = "SELECT count(*) FROM events";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *reading).await.unwrap(), 2);
    store.append_events(&[secret(3)]).await.unwrap();
    let writes = async {
        for number in 0..5 {
            store.erase_user(&user(&format!("canary-user-{number}"))).await.unwrap();
        }
        store.append_events(&[secret(4)]).await.unwrap();
    };
    // Five seconds is what each of them would wait for a writer.
    tokio::time::timeout(std::time::Duration::from_secs(20), writes).await.expect("they wait for the reader");
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *reading).await.unwrap(), 2, "it reads on");
    drop(reading);
    raw.close().await;
    store.erase_user(&user("canary-user-4")).await.unwrap();
    assert!(!holds(&database.bytes(), "canary"), "the next erasure empties the log of writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_say_nothing_of_people() {
    let database = Database::sqlite();
    let store = database.store().await;
    store.load_events(&(0..3_000).map(secret).collect::<Vec<_>>()).await.unwrap();
    store.close().await;
    // Without a key everything can be read: the search finds what there is to find.
    for canary in ["canary-user-", "canary-item-", "canary-event-", "canary-recommendation-"] {
        assert!(holds(&database.bytes(), canary), "{canary}");
    }
    let database = database.encrypted(1);
    let store = database.replica().await;
    store.encrypt().await.unwrap();
    store.append_events(&(3_000..4_000).map(secret).collect::<Vec<_>>()).await.unwrap();
    store.merge_users(&user("canary-user-3"), &user("canary-user-4")).await.unwrap();
    for running in [true, false] {
        if !running {
            store.close().await;
        }
        let files = database.bytes();
        assert!(files.len() > 400_000, "{} bytes", files.len());
        assert!(!holds(&files, "canary"), "running: {running}");
        assert!(!holds(&files, &"\x01".repeat(32)), "the master key");
    }
    let database = database.without_key();
    assert!(database.replica().await.unlock().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_thousand_people_who_were_erased() {
    const ERASED: i64 = 1_000;
    let database = Database::sqlite().encrypted(1);
    let store = database.store().await;
    let person = |number: i64| format!("person-{number}");
    for batch in 0..10 {
        let events: Vec<Event> =
            (0..4_000).map(|n| event(None, &person(n % (2 * ERASED)), &format!("i{n}"), batch)).collect();
        store.append_events(&events).await.unwrap();
    }
    // The pseudonyms, keys and sealed events of everybody, as they stand in the file.
    let url = format!("{}?mode=ro", database.options().url);
    let raw = SqlitePool::connect(&url).await.unwrap();
    let people: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT user_id, sealed FROM people").fetch_all(&raw).await.unwrap();
    let events: Vec<(String, String)> =
        sqlx::query_as("SELECT user_id, item_id FROM events").fetch_all(&raw).await.unwrap();
    for number in 0..ERASED {
        assert_eq!(store.erase_user(&user(&person(number))).await.unwrap().events, 20);
    }
    let left: Vec<String> = sqlx::query_scalar("SELECT user_id FROM people").fetch_all(&raw).await.unwrap();
    raw.close().await;
    assert_eq!(left.len() as i64, ERASED);
    let left: std::collections::BTreeSet<String> = left.into_iter().collect();
    // Deleting overwrites, but pages that were split before keep a copy here and there of what they held, until they are written anew.
    store.compact().await.unwrap();
    let files = database.bytes();
    let occurs = |bytes: &[u8]| memchr::memmem::find(&files, bytes).is_some();
    for (pseudonym, sealed) in &people {
        let stays = left.contains(pseudonym);
        assert_eq!((occurs(pseudonym.as_bytes()), occurs(sealed)), (stays, stays), "{pseudonym}");
    }
    for (pseudonym, sealed) in events.iter().step_by(97) {
        assert_eq!(occurs(sealed.as_bytes()), left.contains(pseudonym), "an event of {pseudonym}");
    }
    store.close().await;
}

/// All files of a database that its server can be asked for: tables, indices, catalogues, and the log of writes.
async fn files_of_postgres(raw: &PgPool) -> Vec<(String, Vec<u8>)> {
    // What is written stands in the files, and a log of writes that is no longer needed is deleted and not written over one day.
    for statement in [
        "ALTER SYSTEM SET wal_recycle = off",
        "SELECT pg_reload_conf()",
        "CHECKPOINT",
        "SELECT pg_switch_wal()",
        "CHECKPOINT",
    ] {
        sqlx::query(statement).execute(raw).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let relations = "SELECT pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't', 'm', 'S')
        AND NOT relisshared AND pg_relation_filepath(oid) IS NOT NULL";
    let mut paths: Vec<String> = sqlx::query_scalar(relations).fetch_all(raw).await.unwrap();
    let logs: Vec<String> =
        sqlx::query_scalar("SELECT 'pg_wal/' || name FROM pg_ls_waldir()").fetch_all(raw).await.unwrap();
    assert!(paths.len() > 20 && !logs.is_empty(), "{paths:?} {logs:?}");
    paths.extend(logs);
    let mut files = Vec::new();
    for path in paths {
        let bytes: Option<Vec<u8>> = sqlx::query_scalar("SELECT pg_read_binary_file($1, 0, 1000000000, true)")
            .bind(&path)
            .fetch_one(raw)
            .await
            .unwrap();
        // Another test's log of writes may be gone by now.
        files.push((path, bytes.unwrap_or_default()));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_thousand_people_who_were_erased_on_postgres() {
    const ERASED: usize = 1_000;
    let database = Database::postgres().await.encrypted(1);
    let store = database.store().await;
    let events: Vec<Event> = (0..20_000_usize)
        .map(|n| event(None, &format!("canary-person-{}", n % (2 * ERASED)), &format!("canary-item-{n}"), 1))
        .collect();
    store.append_events(&events).await.unwrap();
    let raw = PgPool::connect(&database.options().url).await.unwrap();
    let people: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT user_id, sealed FROM people").fetch_all(&raw).await.unwrap();
    let sealed: Vec<(String, String)> =
        sqlx::query_as("SELECT user_id, item_id FROM events").fetch_all(&raw).await.unwrap();
    // The planner's statistics keep samples.
    sqlx::query("ANALYZE events, people").execute(&raw).await.unwrap();
    for number in 0..ERASED {
        assert_eq!(store.erase_user(&user(&format!("canary-person-{number}"))).await.unwrap().events, 10);
    }
    let left: Vec<String> = sqlx::query_scalar("SELECT user_id FROM people").fetch_all(&raw).await.unwrap();
    let left: std::collections::BTreeSet<String> = left.into_iter().collect();
    assert_eq!(left.len(), ERASED);
    store.compact().await.unwrap();
    let files = files_of_postgres(&raw).await;
    raw.close().await;
    let (logs, tables): (Vec<_>, Vec<_>) = files.iter().partition(|(path, _)| path.starts_with("pg_wal"));
    let holds = |files: &[&(String, Vec<u8>)], what: &[u8]| {
        files.iter().any(|(_, file)| memchr::memmem::find(file, what).is_some())
    };
    assert!(!holds(&tables, b"canary") && !holds(&logs, b"canary"), "an id in clear");
    let mut found = 0;
    for (pseudonym, key) in &people {
        let stays = left.contains(pseudonym);
        assert_eq!((holds(&tables, pseudonym.as_bytes()), holds(&tables, key)), (stays, stays), "{pseudonym}");
        found += usize::from(stays);
        assert!(
            stays || !(holds(&logs, pseudonym.as_bytes()) || holds(&logs, key)),
            "{pseudonym} in the log of writes"
        );
    }
    assert_eq!(found, ERASED, "the search finds what there is to find");
    for (pseudonym, text) in sealed.iter().step_by(37) {
        assert_eq!(holds(&tables, text.as_bytes()), left.contains(pseudonym), "an event of {pseudonym}");
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_bound_to_its_person() {
    let database = Database::sqlite().encrypted(1);
    let store = database.store().await;
    store.append_events(&[event(None, "ann", "a", 1), event(None, "bob", "b", 1)]).await.unwrap();
    let raw = SqlitePool::connect(&database.options().url).await.unwrap();
    sqlx::query("UPDATE events SET item_id = (SELECT item_id FROM events WHERE sequence = 1) WHERE sequence = 2")
        .execute(&raw)
        .await
        .unwrap();
    raw.close().await;
    let bob = store.history(&user("bob")).await;
    assert!(matches!(bob, Err(StoreError::Failed(_))), "an event that was put in another's place: {bob:?}");
    let ann = store.history(&user("ann")).await.unwrap();
    assert_eq!((&ann[0].item_id, ann[0].last_at), (&item_id("a"), at(1)));
}
