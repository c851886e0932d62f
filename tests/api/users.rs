//! People: their behaviour, its export, erasure and merging.

use serde_json::json;
use sqlx::Connection as _;

use super::app::{TestApp, event, ids};

#[tokio::test]
async fn behaviour_is_listed_newest_first() {
    let app = TestApp::start().await;
    let rows: Vec<_> = (0..5)
        .map(|hour| {
            let mut row = event("u1", &format!("game-0{hour}"), "play");
            row["at"] = json!(format!("2026-05-01T0{hour}:00:00Z"));
            row
        })
        .collect();
    app.post("/api/events", &json!({"events": rows})).await.expect(200);
    let (mut found, mut path) = (Vec::new(), "/api/users/u1/events?limit=2".to_owned());
    loop {
        let page = app.get(&path).await.expect(200);
        found.extend(page["data"].as_array().unwrap().iter().map(|row| row["item_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/users/u1/events?limit=2&cursor={cursor}");
    }
    assert_eq!(found, ["game-04", "game-03", "game-02", "game-01", "game-00"]);
    let nobody = app.get("/api/users/nobody/events").await.expect(200);
    assert_eq!(nobody, json!({"data": [], "next_cursor": null}));
    assert_eq!(app.get("/api/users/u1/events?cursor=00").await.problem(422), ["/query/cursor"]);
}

#[tokio::test]
async fn a_person_takes_their_data_and_goes() {
    let app = TestApp::start().await;
    app.post("/api/events", &json!({"events": [event("u1", "game-01", "play"), event("u2", "game-02", "play")]}))
        .await
        .expect(200);
    let export = app.get("/api/users/u1/export").await.expect(200);
    assert_eq!(export["user_id"], "u1");
    assert_eq!(export["events"].as_array().unwrap().len(), 1);
    assert!(export["exported_at"].is_string());
    let receipt = app.call("DELETE", "/api/users/u1", "").await.expect(200);
    assert_eq!(receipt["erased"]["events"], 1);
    assert!(receipt["receipt_id"].is_string() && receipt["at"].is_string() && receipt["user_id"] == "u1");
    assert_eq!(app.get("/api/users/u1/export").await.expect(200)["events"], json!([]));
    assert_eq!(app.get("/api/users/u2/export").await.expect(200)["events"].as_array().unwrap().len(), 1);
    let (stranger, erased) = (json!({"user_id": "stranger"}), json!({"user_id": "u1"}));
    assert_eq!(app.recommend(&stranger).await["game"], app.recommend(&erased).await["game"]);
}

#[tokio::test]
async fn anonymous_behaviour_joins_an_account() {
    let app = TestApp::start().await;
    app.post("/api/events", &json!({"events": [event("anonymous", "game-01", "play")]})).await.expect(200);
    let merged = app.post("/api/users/u1/merge", &json!({"from": "anonymous"})).await.expect(200);
    assert_eq!(merged, json!({"user_id": "u1", "from": "anonymous", "moved": 1}));
    let again = app.post("/api/users/u1/merge", &json!({"from": "anonymous"})).await.expect(200);
    assert_eq!(again["moved"], 0);
    assert_eq!(app.get("/api/users/u1/events").await.expect(200)["data"][0]["user_id"], "u1");
    assert_eq!(app.post("/api/users/u1/merge", &json!({"from": "u1"})).await.problem(422), ["/from"]);
}

#[tokio::test]
async fn a_history_that_cannot_be_read_is_gone_without_and_what_is_answered_then_is_not_kept() {
    let app = TestApp::start().await;
    app.post("/api/events", &json!({"events": [event("u1", "game-01", "play")]})).await.expect(200);
    let mut database = sqlx::SqliteConnection::connect(&app.config.database_url()).await.unwrap();
    let mut kind = async |kind: &str| {
        sqlx::query("UPDATE events SET kind = $1").bind(kind).execute(&mut database).await.unwrap();
        app.recommend(&json!({"user_id": "u1"})).await
    };
    let seen = kind("play").await;
    for _ in 0..2 {
        let spoilt = kind("sneezed").await;
        assert_eq!(spoilt["degraded"], json!(["no_model", "history_unavailable"]));
        assert!(ids(&spoilt["game"]).contains(&"game-01".to_owned()), "it is not known to be played");
    }
    let again = kind("play").await;
    assert_eq!((&again["degraded"], &again["game"]), (&json!(["no_model"]), &seen["game"]));
    assert!(!ids(&again["game"]).contains(&"game-01".to_owned()));
}
