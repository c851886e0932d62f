//! `POST /api/recommend`.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::app::{TestApp, event, ids};

#[tokio::test]
async fn the_first_client_is_answered_whatever_its_content_type() {
    let app = TestApp::start().await;
    let tastes = json!({"music": ["rock", "pop", "electronic"], "movie": ["action", "comedy", "drama"],
        "game": ["strategy", "action", "adventure"]});
    for content_type in [
        None,
        Some("application/json"),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("nonsense"),
    ] {
        let mut request = Request::post("/api/recommend");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = app.send(request.body(Body::from(tastes.to_string())).unwrap()).await;
        assert_eq!(answer.header("content-type"), "application/json");
        let answer = answer.expect(200);
        for domain in ["music", "movie", "game"] {
            let list = answer[domain].as_array().unwrap();
            assert_eq!(list.len(), 10, "{domain}");
            for (place, item) in list.iter().enumerate() {
                assert_eq!(item["rank"], place + 1);
                assert!(item["title"].is_string() && item["genres"].is_array());
                assert!(item.get("reasons").is_none(), "reasons only when asked for");
                let score = item["score"].as_f64().unwrap();
                assert!((0.0..=1.0).contains(&score));
                assert!(place == 0 || score <= list[place - 1]["score"].as_f64().unwrap(), "scores fall");
            }
        }
    }
}

#[tokio::test]
async fn the_answer_has_the_shape_of_the_contract() {
    let app = TestApp::start().await;
    let answer = app
        .recommend(&json!({"user_id": "u42", "music": ["rock", "xqzwv"], "domains": ["music", "game"], "limit": 3,
        "explain": true}))
        .await;
    assert!(answer["recommendation_id"].as_str().unwrap().starts_with("rec_"));
    assert_eq!(answer["user_id"], "u42");
    assert_eq!(answer["model"]["name"], "hybrid");
    assert_eq!(answer["model"]["version"], Value::Null, "nothing is trained");
    assert!(answer["degraded"].as_array().unwrap().contains(&json!("no_model")), "{answer}");
    assert!(answer.get("movie").is_none(), "not asked for");
    assert_eq!(ids(&answer["music"]).len(), 3);
    assert!(answer["music"][0]["reasons"][0]["code"].is_string(), "{answer}");
    assert!(answer["timing_ms"]["total"].as_f64().unwrap() > 0.0);
    let unmatched: Vec<&Value> = answer["unmatched"].as_array().unwrap().iter().collect();
    assert!(unmatched.iter().any(|entry| entry["pointer"] == "/music/1" && entry["value"] == "xqzwv"), "{answer}");
    let stranger = app.recommend(&json!({})).await;
    assert!(stranger.get("user_id").is_none());
}

#[tokio::test]
async fn nothing_at_all_is_answered_by_what_is_popular() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        app.post("/api/events", &json!({"events": [event("a", "movie-07", "like"), event("b", "movie-07", "watch")]}))
            .await
            .expect(200);
    }
    for body in ["{}", "", "  \n"] {
        let answer = app.call("POST", "/api/recommend", body).await.expect(200);
        for domain in ["music", "movie", "game"] {
            assert_eq!(answer[domain].as_array().unwrap().len(), 10, "{body:?}");
        }
    }
}

#[tokio::test]
async fn filters_and_exclusions_are_guarantees() {
    let app = TestApp::start().await;
    let answer = app
        .recommend(&json!({
            "limit": 200,
            "filter": {"released": {"from": "1982", "to": null}, "attributes": {"language": {"any": ["EN"]}},
                "movie": {"genres": {"none": ["horror"]}, "items": ["movie-03", "movie-05", "movie-04", "game-03"]}},
            "exclude": ["game-02", "no such item"],
        }))
        .await;
    assert_eq!(
        ids(&answer["movie"]).into_iter().collect::<std::collections::BTreeSet<_>>(),
        ["movie-03", "movie-05"].map(str::to_owned).into()
    );
    let games = ids(&answer["game"]);
    assert_eq!(games.len(), 3, "{games:?}: 02 to 05 without 02");
    let nothing = app.recommend(&json!({"filter": {"items": []}})).await;
    assert_eq!(nothing["music"], json!([]));
}

#[tokio::test]
async fn a_year_or_a_month_in_a_filter_is_meant_as_a_whole() {
    let app = TestApp::start().await;
    for (id, released) in [("a", "1999-01-01"), ("b", "1999-06-30"), ("c", "1999-12-31"), ("d", "2024-02-29")] {
        let body = json!({"domain": "movie", "title": id, "genres": ["dated"], "released": released});
        app.call("PUT", &format!("/api/items/{id}"), body.to_string()).await.expect(201);
    }
    for (from, to, wanted) in [
        ("1999", "1999", &["a", "b", "c"][..]),
        ("1999-06", "1999-06", &["b"]),
        ("1999-06", "1999-11", &["b"]),
        ("1999-07", "2024-02", &["c", "d"]),
        ("1999", "1999-06-29", &["a"]),
        ("2024-02", "2024-02-28", &[]),
    ] {
        let filter = json!({"released": {"from": from, "to": to}, "genres": {"any": [" dated "]}});
        let answer = app.recommend(&json!({"domains": ["movie"], "limit": 200, "filter": filter})).await;
        let mut found = ids(&answer["movie"]);
        found.sort();
        assert_eq!(found, wanted, "{from} to {to}");
    }
}

#[tokio::test]
async fn with_explain_each_item_has_reasons_be_they_none() {
    let app = TestApp::start().await;
    let mut without = 0;
    for ask in [
        json!({"explain": true, "limit": 200}),
        json!({"explain": true, "limit": 200, "music": ["rock"], "movie": ["xqzwv"]}),
        json!({"explain": true, "limit": 200, "model": "content", "history": [{"item_id": "game-00"}]}),
    ] {
        let answer = app.recommend(&ask).await;
        for item in ["music", "movie", "game"].iter().flat_map(|domain| answer[domain].as_array().unwrap()) {
            without += usize::from(item["reasons"].as_array().expect("the key is there").is_empty());
        }
    }
    assert!(without > 0, "some have none");
}

#[tokio::test]
async fn what_was_consumed_is_left_out_unless_asked_for() {
    let app = TestApp::start().await;
    let seen = |answer: &Value| ids(&answer["movie"]).contains(&"movie-00".to_owned());
    let mut ask = json!({"movie": ["horror"], "limit": 200, "history": [{"item_id": "movie-00"}]});
    assert!(!seen(&app.recommend(&ask).await));
    ask["include_seen"] = json!(true);
    assert!(seen(&app.recommend(&ask).await));
    let answer = app.post("/api/events", &json!({"events": [event("u1", "movie-00", "watch")]})).await.expect(200);
    let mut ask = json!({"user_id": "u1", "limit": 200, "min_watermark": answer["watermark"]});
    let answer = app.recommend(&ask).await;
    assert!(!seen(&answer));
    assert_eq!(answer["degraded"], json!(["no_model"]));
    ask["min_watermark"] = json!("w-999999");
    let answer = app.recommend(&ask).await;
    assert!(answer["degraded"].as_array().unwrap().contains(&json!("watermark_not_reached")), "{answer}");
}

#[tokio::test]
async fn the_same_question_has_the_same_answer_and_models_can_be_named() {
    let app = TestApp::start().await;
    for model in ["hybrid", "content", "popularity"] {
        let ask = json!({"music": ["jazz"], "model": model, "diversity": 0.5, "deadline_ms": 500});
        let (first, second) = (app.recommend(&ask).await, app.recommend(&ask).await);
        assert_eq!(first["music"], second["music"]);
        assert_eq!(first["model"]["name"], model);
        assert_ne!(first["recommendation_id"], second["recommendation_id"]);
    }
    let answer = app.recommend(&json!({"rerank": "llm"})).await;
    assert!(answer["degraded"].as_array().unwrap().contains(&json!("llm_not_configured")), "{answer}");
}
