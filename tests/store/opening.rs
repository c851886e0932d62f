//! Opening and migrating: many at once, and what is said when it does not work.

use std::sync::Arc;
use std::time::Duration;

use medley::store::{self, Options, StoreError};
use tokio::sync::Barrier;

use crate::database::{Database, event, user};

on_both_databases_also_encrypted!(
    eight_replicas_start_at_once,
    migrating_again_keeps_everything,
    a_closed_store_is_unavailable,
);

async fn eight_replicas_start_at_once(database: &Database) {
    // All open at the same moment, and all migrate at the same moment.
    let together = Arc::new(Barrier::new(8));
    let tasks = (0..8).map(|n| {
        let (options, together) = (database.options(), together.clone());
        tokio::spawn(async move {
            together.wait().await;
            let store = store::open(&options).await.unwrap();
            together.wait().await;
            store.migrate().await.unwrap();
            store.append_events(&[event(None, &format!("u{n}"), "a", 1)]).await.unwrap();
            store.ping().await.unwrap();
            store.close().await;
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(database.store().await.count_events().await.unwrap(), 8);
}

/// A race is not lost every time.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn eight_replicas_start_at_once_on_sqlite_again_and_again() {
    for _ in 0..20 {
        eight_replicas_start_at_once(&Database::sqlite()).await;
    }
}

async fn migrating_again_keeps_everything(database: &Database) {
    let store = database.store().await;
    store.append_events(&[event(Some("e1"), "ann", "a", 1)]).await.unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    let again = database.store().await;
    assert_eq!(again.history(&user("ann")).await.unwrap().len(), 1);
    assert_eq!(again.kind(), database.kind());
}

async fn a_closed_store_is_unavailable(database: &Database) {
    let store = database.store().await;
    store.close().await;
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.append_events(&[event(None, "a", "a", 1)]).await, Err(StoreError::Unavailable(_))));
}

fn options(url: &str) -> Options {
    Options { url: url.to_owned(), max_connections: 2, acquire_timeout: Duration::from_millis(200), master_key: None }
}

#[tokio::test]
async fn an_url_of_neither_kind_has_failed() {
    for url in
        ["", "mysql://root:secret@h/d", "medley.db", "sqlite::memory:", "sqlite:x.db?mode=memory", "postgres://h:x/d"]
    {
        let error = store::open(&options(url)).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::Failed(_)), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_postgres_that_is_down_opens_and_is_unavailable_when_asked() {
    let store = store::open(&options("postgres://medley:secret@127.0.0.1:1/medley")).await.unwrap();
    for error in [store.ping().await.unwrap_err(), store.migrate().await.unwrap_err()] {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_sqlite_file_that_cannot_be_opened_is_unavailable_and_one_of_another_kind_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a database, but long enough to be read as the header of one: ".repeat(20)).unwrap();
    let error = store::open(&options(&format!("sqlite:{}/medley.db", file.display()))).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "a file where a folder should be: {error}");
    let error = store::open(&options(&format!("sqlite:{}", file.display()))).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Failed(_)), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_sqlite_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/medley.db");
    let store = store::open(&options(&format!("sqlite://{}", path.display()))).await.unwrap();
    store.migrate().await.unwrap();
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}
