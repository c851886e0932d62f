//! Behaviour on its way in.

use serde_json::json;

use super::app::{TestApp, event};

#[tokio::test]
async fn a_retry_changes_nothing() {
    let app = TestApp::start().await;
    let mut row = event("u1", "movie-01", "rating");
    row["event_id"] = json!("e-1");
    row["value"] = json!(4.5);
    row["at"] = json!("2026-05-01T12:00:00.25+02:00");
    row["recommendation_id"] = json!("rec_1");
    row["position"] = json!(3);
    let first = app.post("/api/events", &json!({"events": [row]})).await.expect(200);
    assert_eq!([&first["accepted"], &first["duplicates"]], [1, 0]);
    let second = app.post("/api/events", &json!({"events": [row, row]})).await.expect(200);
    assert_eq!([&second["accepted"], &second["duplicates"]], [0, 2]);
    let number = |answer: &serde_json::Value| {
        answer["watermark"].as_str().unwrap().strip_prefix("w-").unwrap().parse::<i64>().unwrap()
    };
    assert!(number(&second) >= number(&first));
    let stored = app.get("/api/users/u1/events").await.expect(200);
    assert_eq!(stored["data"].as_array().unwrap().len(), 1);
    let kept = &stored["data"][0];
    assert_eq!(kept["at"], "2026-05-01T10:00:00.25Z");
    for field in ["event_id", "user_id", "item_id", "type", "value", "recommendation_id", "position"] {
        assert_eq!(kept[field], row[field], "{field}");
    }
}

#[tokio::test]
async fn bad_rows_are_named_and_the_rest_is_stored() {
    let app = TestApp::start().await;
    let mut unknown = event("u1", "movie-01", "like");
    unknown["colour"] = json!("red");
    let rows = json!([event("u1", "movie-01", "like"), event("u1", "movie-02", "adore"), event("u1", "movie-03", "rating"),
        unknown, {"user_id": "u1"}, "row", event("u1", "not in the catalogue", "play")]);
    let answer = app.post("/api/events", &json!({"events": rows})).await.expect(200);
    assert_eq!(answer["accepted"], 2, "behaviour may arrive before its item");
    let rejected: Vec<_> =
        answer["rejected"].as_array().unwrap().iter().map(|row| row["index"].as_u64().unwrap()).collect();
    assert_eq!(rejected, [1, 2, 3, 4, 5]);
    assert!(answer["rejected"][0]["detail"].as_str().unwrap().contains("/type"), "{answer}");

    let all_bad = json!({"events": [event("u1", "movie-01", "adore"), event("", "movie-01", "like")]});
    let answer = app.post("/api/events", &all_bad).await;
    assert_eq!(answer.problem(422), ["/events/0/type", "/events/1/user_id"]);
    let none = app.post("/api/events", &json!({"events": []})).await.expect(200);
    assert_eq!([&none["accepted"], &none["duplicates"]], [0, 0]);
}

#[tokio::test]
async fn a_batch_has_an_end() {
    let app = TestApp::start().await;
    let rows: Vec<_> = (0..10_001).map(|_| event("u", "movie-01", "view")).collect();
    assert_eq!(app.post("/api/events", &json!({"events": rows})).await.problem(422), ["/events"]);
    let rows: Vec<_> = (0..10_000).map(|_| event("u", "movie-01", "view")).collect();
    assert_eq!(app.post("/api/events", &json!({"events": rows})).await.expect(200)["accepted"], 10_000);
}
