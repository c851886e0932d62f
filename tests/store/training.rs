//! Who trains: one at a time, and whoever was followed by another changes nothing any more.

use std::time::Duration;

use medley::store::{Job, JobState, Store, StoreError, TrainingLock};
use serde_json::json;
use sqlx::Connection as _;

use crate::database::{Database, at};

on_both_databases!(
    one_trains_at_a_time,
    the_right_ends_with_its_holder,
    of_sixteen_trainers_one_wins,
    who_was_followed_changes_nothing,
    publishing_is_one_step,
    a_job_lives_from_start_to_end,
    a_job_is_adopted_as_it_is,
);

/// The right to train, as soon as whoever had it before is gone.
async fn begin(store: &dyn Store) -> Box<dyn TrainingLock> {
    for _ in 0..500 {
        match store.begin_training().await {
            Ok(lock) => return lock,
            Err(StoreError::Conflict(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("nobody lets go of the right to train");
}

/// Takes the lock from its holder, who does not notice: ends its connection, or deletes the file that is locked.
async fn cut_off(database: &Database) {
    let options = database.options();
    if database.kind() == "sqlite" {
        let file = options.url.trim_start_matches("sqlite://");
        std::fs::remove_file(format!("{file}-training-default")).unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(&options.url).await.unwrap();
        let ended: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE application_name = 'medley trainer' AND datname = current_database()",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert_eq!(ended, [true]);
    }
}

fn job(id: &str) -> Job {
    Job {
        id: id.to_owned(),
        kind: "train".to_owned(),
        state: JobState::Running,
        phase: "load".to_owned(),
        progress: 0.0,
        log: vec![],
        result: None,
        trainers: 1,
        created_at: at(10),
        updated_at: at(10),
    }
}

async fn one_trains_at_a_time(database: &Database) {
    let (store, other) = (database.store().await, database.store().await);
    let first = store.begin_training().await.unwrap();
    for store in [&store, &other] {
        assert!(matches!(store.begin_training().await, Err(StoreError::Conflict(_))));
    }
    let shop = store.of_tenant(&"shop".parse().unwrap());
    let of_the_shop = shop.begin_training().await.expect("tenants do not wait for each other");
    assert!(matches!(shop.begin_training().await, Err(StoreError::Conflict(_))));
    let epoch = first.epoch();
    first.release().await;
    let second = other.begin_training().await.expect("it was given back");
    assert!(second.epoch() > epoch);
    of_the_shop.release().await;
}

async fn the_right_ends_with_its_holder(database: &Database) {
    let store = database.store().await;
    let first = store.begin_training().await.unwrap();
    let epoch = first.epoch();
    drop(first);
    assert!(begin(store.as_ref()).await.epoch() > epoch);
}

async fn of_sixteen_trainers_one_wins(database: &Database) {
    database.store().await;
    let tasks = (0..16).map(|_| {
        let options = database.options();
        tokio::spawn(async move { medley::store::open(&options).await.unwrap().begin_training().await })
    });
    let mut won = vec![];
    for task in tasks.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(lock) => won.push(lock),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won.len(), 1);
}

async fn who_was_followed_changes_nothing(database: &Database) {
    let store = database.store().await;
    let mut first = store.begin_training().await.unwrap();
    assert!(store.publish_model("v1", &json!({}), first.epoch(), at(1)).await.unwrap());
    assert!(store.start_job(&job("j1"), first.epoch()).await.unwrap());
    assert!(first.keep().await.unwrap());

    cut_off(database).await;
    let second = begin(store.as_ref()).await;
    let lost = first.epoch();
    assert!(!store.publish_model("v2", &json!({}), lost, at(2)).await.unwrap());
    assert!(!store.publish_model("v1", &json!({"changed": true}), lost, at(2)).await.unwrap());
    assert_eq!(store.models().await.unwrap().len(), 1);
    assert_eq!(store.models().await.unwrap()[0].manifest, json!({}));
    // Before the new trainer has adopted the job, and after.
    let ended = Job { state: JobState::Failed, ..job("j1") };
    assert!(!store.update_job(&ended, lost).await.unwrap());
    assert_eq!(store.adopt_job("train", lost, at(3)).await.unwrap(), None);
    assert!(store.adopt_job("train", second.epoch(), at(3)).await.unwrap().is_some());
    assert!(!store.update_job(&ended, lost).await.unwrap());
    assert_eq!(store.job("j1").await.unwrap().unwrap().state, JobState::Running);
    assert!(store.update_job(&ended, second.epoch()).await.unwrap());
    assert!(!store.start_job(&job("j2"), lost).await.unwrap());
    assert_eq!(store.job("j2").await.unwrap(), None);
    if database.kind() == "postgres" {
        assert!(!first.keep().await.unwrap(), "it learns that it was followed");
        second.release().await;
        assert!(!first.keep().await.unwrap(), "also when the other has ended since");
    }
}

/// A database that was restarted in the middle of a training does not cost the training.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_cut_off_is_taken_again() {
    let database = Database::postgres().await;
    let store = database.store().await;
    let mut lock = store.begin_training().await.unwrap();
    for _ in 0..3 {
        cut_off(&database).await;
        assert!(lock.keep().await.unwrap());
        assert!(matches!(store.begin_training().await, Err(StoreError::Conflict(_))));
    }
    assert!(store.publish_model("v1", &json!({}), lock.epoch(), at(1)).await.unwrap());
}

async fn publishing_is_one_step(database: &Database) {
    let store = database.store().await;
    let lock = store.begin_training().await.unwrap();
    assert!(store.publish_model("v1", &json!({"try": 1}), lock.epoch(), at(1)).await.unwrap());
    assert!(store.publish_model("v1", &json!({"try": 1}), lock.epoch(), at(2)).await.unwrap(), "the answer was lost");
    let models = store.models().await.unwrap();
    assert_eq!(models.len(), 1);
    assert!(models[0].active);
    assert_eq!((models[0].created_at, models[0].activated_at), (at(1), Some(at(2))));
    lock.release().await;

    let lock = store.begin_training().await.unwrap();
    assert!(store.publish_model("v2", &json!({}), lock.epoch(), at(3)).await.unwrap());
    let taken = store.publish_model("v1", &json!({"try": 2}), lock.epoch(), at(4)).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "the name is another trainer's");
    assert_eq!(store.active_model().await.unwrap().as_deref(), Some("v2"), "and nothing has changed");
}

async fn a_job_lives_from_start_to_end(database: &Database) {
    let store = database.store().await;
    let epoch = store.begin_training().await.unwrap().epoch();
    let mut train = job("j1");
    assert!(store.start_job(&train, epoch).await.unwrap());
    assert_eq!(store.job("j1").await.unwrap(), Some(train.clone()));
    assert_eq!(store.running_job("train").await.unwrap(), Some(train.clone()));
    assert_eq!(store.running_job("evaluate").await.unwrap(), None);
    assert_eq!(store.job("j2").await.unwrap(), None);
    let conflict = store.start_job(&job("j2"), epoch).await.unwrap_err();
    assert!(matches!(&conflict, StoreError::Conflict(text) if text.contains("j1")), "{conflict}");
    assert!(store.start_job(&Job { kind: "evaluate".to_owned(), ..job("e1") }, epoch).await.unwrap());

    train.progress = 0.625;
    train.phase = "fit".to_owned();
    train.log.push("科幻 \"quoted\"".to_owned());
    train.updated_at = at(12);
    assert!(store.update_job(&train, epoch).await.unwrap());
    assert_eq!(store.job("j1").await.unwrap(), Some(train.clone()));

    train.state = JobState::Succeeded;
    train.result = Some(json!({"version": "v1"}));
    assert!(store.update_job(&train, epoch).await.unwrap());
    assert_eq!(store.job("j1").await.unwrap(), Some(train.clone()));
    assert_eq!(store.running_job("train").await.unwrap(), None);
    let late = Job { state: JobState::Failed, ..train.clone() };
    assert!(!store.update_job(&late, epoch).await.unwrap(), "it has ended");
    assert_eq!(store.job("j1").await.unwrap(), Some(train));
    assert!(store.start_job(&job("j3"), epoch).await.unwrap());
}

async fn a_job_is_adopted_as_it_is(database: &Database) {
    let store = database.store().await;
    let first = store.begin_training().await.unwrap();
    assert_eq!(store.adopt_job("train", first.epoch(), at(20)).await.unwrap(), None, "there is none");
    let abandoned = Job { phase: "fit".to_owned(), log: vec!["fit".to_owned()], ..job("j1") };
    store.start_job(&abandoned, first.epoch()).await.unwrap();
    first.release().await;
    let second = begin(store.as_ref()).await;
    assert_eq!(store.adopt_job("evaluate", second.epoch(), at(20)).await.unwrap(), None);
    let adopted = store.adopt_job("train", second.epoch(), at(20)).await.unwrap();
    assert_eq!(adopted, Some(Job { trainers: 2, updated_at: at(20), ..abandoned }));
    assert_eq!(store.running_job("train").await.unwrap(), adopted);
}
