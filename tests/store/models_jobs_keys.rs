//! Models, keys and evaluations: one active model, keys that end.

use std::sync::Arc;

use medley::domain::Tenant;
use medley::store::{self, DayUse, KeyRecord, NewAct, PreviousSecret, Store, StoreError, Subject};
use serde_json::json;
use sqlx::Executor as _;

use crate::database::{Database, at, event, item, master_key};

on_both_databases!(
    one_model_is_active,
    concurrent_activations_leave_one_active,
    keys_are_kept_and_revoked,
    requests_are_counted_by_day,
    tenants_are_those_who_have_something,
    evaluations_are_kept_newest_first,
    the_audit_log_only_grows,
    the_audit_log_of_an_encrypted_store_names_people_by_pseudonyms,
);

async fn one_model_is_active(database: &Database) {
    let store = database.store().await;
    assert_eq!(store.active_model().await.unwrap(), None);
    let epoch = store.begin_training().await.unwrap().epoch();
    for (version, manifest, time) in [("v1", json!({"name": "hybrid", "ndcg": 0.25}), 1), ("v2", json!({}), 2)] {
        assert!(store.publish_model(version, &manifest, epoch, at(time)).await.unwrap());
        assert_eq!(store.active_model().await.unwrap().as_deref(), Some(version));
    }
    assert!(!store.activate_model("v3", at(4)).await.unwrap());
    assert_eq!(store.active_model().await.unwrap().as_deref(), Some("v2"), "a name that is unknown changes nothing");
    assert!(store.activate_model("v1", at(5)).await.unwrap());
    assert!(!store.activate_model("v3", at(6)).await.unwrap());
    assert_eq!(store.active_model().await.unwrap().as_deref(), Some("v1"), "a name that is unknown changes nothing");
    assert!(store.activate_model("v2", at(7)).await.unwrap());
    let models = store.models().await.unwrap();
    assert_eq!(models.iter().map(|model| model.version.as_str()).collect::<Vec<_>>(), ["v2", "v1"]);
    assert_eq!(models.iter().map(|model| model.active).collect::<Vec<_>>(), [true, false]);
    assert_eq!(models[1].manifest, json!({"name": "hybrid", "ndcg": 0.25}));
    assert_eq!((models[1].created_at, models[1].activated_at), (at(1), Some(at(5))));

    assert!(matches!(store.delete_model("v2").await, Err(StoreError::Conflict(_))), "the active one stays");
    store.delete_model("v1").await.unwrap();
    store.delete_model("v1").await.unwrap();
    assert_eq!(store.models().await.unwrap().len(), 1);
    assert_eq!(store.active_model().await.unwrap().as_deref(), Some("v2"));
}

async fn concurrent_activations_leave_one_active(database: &Database) {
    let store = database.store().await;
    let epoch = store.begin_training().await.unwrap().epoch();
    for n in 0..8 {
        assert!(store.publish_model(&format!("v{n}"), &json!({}), epoch, at(n)).await.unwrap());
    }
    let tasks = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for k in 0..10 {
                assert!(store.activate_model(&format!("v{}", (n + k) % 8), at(n)).await.unwrap());
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(store.models().await.unwrap().iter().filter(|model| model.active).count(), 1);
}

async fn keys_are_kept_and_revoked(database: &Database) {
    let store = database.store().await;
    let key = KeyRecord {
        id: "k1".to_owned(),
        tenant: Tenant::default(),
        name: "the shop".to_owned(),
        secret_hash: (0..32).collect(),
        previous: None,
        scopes: vec!["recommend".to_owned(), "events".to_owned()],
        rate: Some(60),
        quota: Some(u32::MAX),
        used: DayUse::default(),
        created_at: at(1),
        expires_at: Some(at(100)),
        revoked_at: None,
    };
    store.create_key(&key).await.unwrap();
    let second = KeyRecord { id: "k2".to_owned(), secret_hash: vec![0xff; 32], expires_at: None, ..key.clone() };
    store.create_key(&second).await.unwrap();
    assert_eq!(store.keys().await.unwrap(), [key.clone(), second.clone()]);
    assert!(matches!(store.create_key(&key).await, Err(StoreError::Conflict(_))));
    assert!(!store.rotate_key("k1", &[2; 32], at(150), at(100)).await.unwrap(), "it has expired");
    assert_eq!(store.keys().await.unwrap()[0], key);
    assert!(store.rotate_key("k1", &[2; 32], at(150), at(99)).await.unwrap());
    let previous = Some(PreviousSecret { secret_hash: key.secret_hash, until: at(150) });
    let key = KeyRecord { secret_hash: vec![2; 32], previous, ..key };
    assert!(store.revoke_key("k1", at(5)).await.unwrap());
    assert!(!store.revoke_key("k1", at(6)).await.unwrap());
    assert!(!store.revoke_key("k3", at(6)).await.unwrap());
    assert_eq!(store.keys().await.unwrap(), [KeyRecord { revoked_at: Some(at(5)), ..key }, second.clone()]);

    assert!(store.rotate_key("k2", &[1; 32], at(50), at(7)).await.unwrap());
    let previous = Some(PreviousSecret { secret_hash: second.secret_hash.clone(), until: at(50) });
    let rotated = KeyRecord { secret_hash: vec![1; 32], previous, ..second };
    assert_eq!(store.keys().await.unwrap()[1], rotated);
    assert!(!store.rotate_key("k1", &[3; 32], at(50), at(7)).await.unwrap(), "it is revoked");
    assert!(!store.rotate_key("k3", &[3; 32], at(50), at(7)).await.unwrap());
    let same = KeyRecord { secret_hash: vec![3; 32], tenant: "other".parse().unwrap(), ..rotated };
    assert!(
        matches!(store.create_key(&same).await, Err(StoreError::Conflict(_))),
        "an id names one key of all tenants"
    );
}

async fn the_audit_log_only_grows(database: &Database) {
    recorded(database, database.store().await).await;
}

async fn the_audit_log_of_an_encrypted_store_names_people_by_pseudonyms(database: &Database) {
    let options = store::Options { master_key: Some(master_key(1).into()), ..database.options() };
    let store = store::open(&options).await.unwrap();
    store.migrate().await.unwrap();
    recorded(database, store).await;
}

async fn recorded(database: &Database, store: Arc<dyn Store>) {
    let ann = medley::domain::UserId::new("ann").unwrap();
    let act = |act, subject, second| NewAct { at: at(second), actor: "k1", act, subject, request_id: Some("r") };
    store.record_act(&act("item.delete", Subject::Thing("a"), 1)).await.unwrap();
    store.record_act(&act("user.erase", Subject::Person(&ann), 2)).await.unwrap();
    let other = store.of_tenant(&"shop".parse().unwrap());
    other.record_act(&NewAct { request_id: None, ..act("model.train", Subject::None, 3) }).await.unwrap();
    let name = store.person_in_audit(&ann).await.unwrap();
    assert_eq!(name.is_some(), store.unlock().await.unwrap());
    let acts = store.acts(None, 10).await.unwrap();
    let seen: Vec<_> = acts.iter().map(|act| (act.act.as_str(), act.subject.as_str(), act.at)).collect();
    assert_eq!(seen, [("user.erase", name.as_deref().unwrap_or_default(), at(2)), ("item.delete", "a", at(1))]);
    assert!(!acts[0].subject.contains("ann"));
    assert_eq!(store.acts(Some("a"), 10).await.unwrap(), acts[1..]);
    assert_eq!(store.acts(None, 1).await.unwrap(), acts[..1]);
    assert_eq!(other.acts(None, 10).await.unwrap()[0].request_id, None);
    // Whoever has the password of the database cannot change or delete a row by accident.
    let (url, failed) = (database.options().url, "append-only");
    for statement in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
        let error = if database.kind() == "sqlite" {
            sqlx::sqlite::SqlitePool::connect(&url).await.unwrap().execute(statement).await.unwrap_err()
        } else {
            sqlx::postgres::PgPool::connect(&url).await.unwrap().execute(statement).await.unwrap_err()
        };
        assert!(error.to_string().contains(failed), "{error}");
    }
    assert_eq!(store.acts(None, 10).await.unwrap(), acts);
}

async fn requests_are_counted_by_day(database: &Database) {
    let store = database.store().await;
    let made = medley::serving::keys::NewKey::generate("k".to_owned(), &[], at(0), None);
    store.create_key(&made.record).await.unwrap();
    let other = database.replica().await;
    let used = async || store.keys().await.unwrap()[0].used;
    let of = |day, requests| DayUse { day, requests };
    store.count_requests(&made.record.id, of(20_000, 5)).await.unwrap();
    other.count_requests(&made.record.id, of(20_000, 7)).await.unwrap();
    assert_eq!(used().await, of(20_000, 12));
    store.count_requests(&made.record.id, of(20_001, 2)).await.unwrap();
    other.count_requests(&made.record.id, of(20_000, 3)).await.unwrap();
    assert_eq!(used().await, of(20_001, 2), "a day that is over counts no more");
}

async fn tenants_are_those_who_have_something(database: &Database) {
    let store = database.store().await;
    assert_eq!(store.tenants().await.unwrap(), []);
    let tenant = |name: &str| name.parse::<Tenant>().unwrap();
    store.append_events(&[event(None, "ann", "a", 1)]).await.unwrap();
    store.of_tenant(&tenant("shop")).upsert_items(&[item("a", "movie", "A")]).await.unwrap();
    store.of_tenant(&tenant("2nd")).append_events(&[event(None, "ann", "a", 1)]).await.unwrap();
    let mut made = medley::serving::keys::NewKey::generate("k".to_owned(), &[], at(0), None);
    made.record.tenant = tenant("zoo");
    store.create_key(&made.record).await.unwrap();
    let names = ["2nd", "default", "shop", "zoo"].map(tenant);
    assert_eq!(store.tenants().await.unwrap(), names);
    assert_eq!(store.of_tenant(&names[3]).tenants().await.unwrap(), names);
}

async fn evaluations_are_kept_newest_first(database: &Database) {
    let store = database.store().await;
    assert_eq!(store.newest_evaluation().await.unwrap(), None);
    assert_eq!(store.evaluations(10).await.unwrap(), []);
    for (id, second) in [("a", 5), ("b", 7), ("c", 6)] {
        store.record_evaluation(id, &json!({"kind": "providers", "cases": second}), at(second)).await.unwrap();
    }
    assert!(matches!(store.record_evaluation("a", &json!({}), at(9)).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.newest_evaluation().await.unwrap().as_deref(), Some("b"));
    let newest = store.evaluations(2).await.unwrap();
    assert_eq!(newest.iter().map(|evaluation| evaluation.id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    let one = store.evaluation("a").await.unwrap().unwrap();
    assert_eq!((one.report, one.created_at), (json!({"kind": "providers", "cases": 5}), at(5)));
    assert_eq!(store.evaluation("z").await.unwrap(), None);
}
