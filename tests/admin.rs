//! What an operator does on the command line: keys with limits and a second secret, tenants, and the log of all that.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use medley::serving::keys::{NewKey, Scope};
use medley::store;
use serde_json::Value;

fn medley(data: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
    command.args(arguments).arg("--data-dir").arg(data).envs(variables.iter().copied());
    command.output().unwrap()
}

/// What the command prints with `--json`.
#[track_caller]
fn json(data: &Path, arguments: &[&str]) -> Value {
    let output = medley(data, &[], &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(data: &Path, arguments: &[&str]) -> String {
    let output = medley(data, &[], arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn acts(log: &Value) -> Vec<(&str, &str)> {
    log.as_array().unwrap().iter().map(|row| (row["act"].as_str().unwrap(), row["subject"].as_str().unwrap())).collect()
}

#[test]
fn a_key_is_made_rotated_and_revoked_and_all_of_it_recorded() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let made =
        json(data, &["keys", "create", "--name", "shop", "--rate", "600", "--quota", "10000", "--scope", "events"]);
    let id = made["id"].as_str().unwrap();
    assert_eq!((&made["rate"], &made["quota"], &made["tenant"]), (&600.into(), &10_000.into(), &"default".into()));
    let rotated = json(data, &["keys", "rotate", id, "--grace-hours", "2"]);
    assert!(rotated["token"].as_str().unwrap().starts_with(&format!("mk_{id}_")));
    assert_ne!(rotated["token"], made["token"]);
    let listed = &json(data, &["keys", "list"])[0];
    let until = |row: &Value| row["old_secret_until"].as_str().unwrap()[..19].to_owned();
    assert_eq!(until(listed), until(&rotated));
    let shown = medley(data, &[], &["keys", "list"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("600/min 0/10000 today"), "{shown}");
    assert_eq!(json(data, &["keys", "revoke", id])["revoked"], true);
    assert!(refused(data, &["keys", "rotate", id]).contains("in force: it is revoked"));
    assert!(refused(data, &["keys", "rotate", "unknown"]).contains("no key `unknown` in force\n"));
    for wrong in [["--rate", "0"], ["--quota", "-1"], ["--rate", "many"], ["--tenant", "../x"], ["--tenant", "Shop"]] {
        refused(data, &["keys", "create", wrong[0], wrong[1]]);
    }
    let log = json(data, &["audit"]);
    assert_eq!(acts(&log), [("key.create", id), ("key.rotate", id), ("key.revoke", id), ("key.rotate", id)]);
    assert_eq!(log[0]["actor"], "command");
    assert_eq!(json(data, &["audit", "--subject", "none"]), serde_json::json!([]));
}

#[tokio::test]
async fn a_key_that_has_expired_is_not_rotated() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let url = format!("sqlite://{}", data.join("medley.db").display());
    let options = store::Options { url, max_connections: 1, acquire_timeout: Duration::from_secs(5), master_key: None };
    let store = store::open(&options).await.unwrap();
    store.migrate().await.unwrap();
    let end = Timestamp::now() - SignedDuration::from_secs(1);
    let made = NewKey::generate("shop".to_owned(), &[Scope::Events], end, Some(end));
    store.create_key(&made.record).await.unwrap();
    store.close().await;
    let said = refused(data, &["keys", "rotate", &made.record.id]);
    assert!(said.contains(&format!("there is no key `{}` in force: it is expired", made.record.id)), "{said}");
    let listed = &json(data, &["keys", "list"])[0];
    assert_eq!((&listed["state"], &listed["old_secret_until"]), (&"expired".into(), &Value::Null));
}

#[test]
fn a_tenant_has_keys_items_events_and_models_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let write = |name: &str, lines: Vec<String>| {
        let path = data.join(name);
        std::fs::write(&path, lines.join("\n")).unwrap();
        path.display().to_string()
    };
    let item = |n: usize| format!(r#"{{"id": "i{n}", "domain": "music", "title": "T{n}", "genres": ["g{}"]}}"#, n % 2);
    let event = |n: usize| format!(r#"{{"user_id": "u{}", "item_id": "i{}", "type": "like"}}"#, n % 20, n % 7);
    let items = write("items.ndjson", (0..8).map(item).collect());
    let events = write("events.ndjson", (0..100).map(event).collect());
    let of = |arguments: &[&str]| json(data, &[arguments, &["--tenant", "shop"]].concat());
    assert_eq!(of(&["import", "items", &items])["stored"], 8);
    of(&["import", "events", &events]);
    // What a training that was killed has left is deleted by the next one.
    let draft = data.join("tenants/shop/models/.20260501T120000Z-0123abcd-4711");
    std::fs::create_dir_all(&draft).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(100_000);
    std::fs::File::open(&draft).unwrap().set_modified(long_ago).unwrap();
    let manifest = of(&["train"]);
    let folder = data.join("tenants/shop/models").join(manifest["version"].as_str().unwrap());
    assert!(folder.is_dir() && !data.join("models").exists());
    assert!(!draft.exists());
    let exported = |tenant: &str| {
        let output = medley(data, &[], &["export", "items", "--tenant", tenant]);
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    assert_eq!((exported("shop"), exported("default"), exported("other")), (8, 0, 0));
    let key = of(&["keys", "create"]);
    assert_eq!(key["tenant"], "shop");
    assert_eq!(json(data, &["keys", "list"])[0]["id"], key["id"], "without a tenant: all keys");
    assert_eq!(json(data, &["keys", "list", "--tenant", "other"]), serde_json::json!([]));
    assert_eq!(json(data, &["audit"]), serde_json::json!([]));
    assert_eq!(acts(&of(&["audit"])), [("model.train", ""), ("key.create", key["id"].as_str().unwrap())]);
    // What is for all tenants takes none.
    for command in [&["compact"][..], &["migrate"], &["encryption", "start"]] {
        assert!(refused(data, &[command, &["--tenant", "shop"]].concat()).contains("all tenants"));
    }
    // Encryption begins for all tenants at once, with a key for each.
    let master = [("MEDLEY_ENCRYPTION__MASTER_KEY", "ab".repeat(32))];
    let master = master.each_ref().map(|(name, value)| (*name, value.as_str()));
    let started = medley(data, &master, &["encryption", "start", "--json"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&started.stdout).unwrap()["encrypted_events"], 100);
    let again = medley(data, &master, &["encryption", "start"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("already"));
    for (key, succeeds) in [(&master[..], true), (&[], false)] {
        assert_eq!(medley(data, key, &["export", "events", "--tenant", "shop"]).status.success(), succeeds);
    }
    assert!(medley(data, &master, &["audit", "--tenant", "shop", "--user", "u1"]).status.success());
    assert!(refused(data, &["audit", "--user", "u1"]).contains("master key"));
}
