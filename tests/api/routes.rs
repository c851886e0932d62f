//! The rest of the contract: models, jobs, health, metrics, documents; and what is no route.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::app::{TestApp, event};

#[tokio::test]
async fn lists_that_are_empty_say_so() {
    let app = TestApp::start().await;
    for path in ["/api/evaluations", "/api/models"] {
        assert_eq!(app.get(path).await.expect(200), json!({"data": [], "next_cursor": null}), "{path}");
        assert_eq!(app.get(&format!("{path}?page=2")).await.problem(422), ["/query/page"]);
    }
    app.get("/api/evaluations/1").await.problem(404);
    app.get("/api/jobs/1").await.problem(404);
    app.call("POST", "/api/models/none/activate", "").await.problem(404);
}

#[tokio::test]
async fn a_training_is_a_job() {
    let app = TestApp::start().await;
    let items = ["movie-00", "movie-02", "movie-04", "music-00", "music-02", "game-00"];
    let rows: Vec<Value> = (0..40)
        .flat_map(|user| items.iter().skip(user % 3).map(move |item| event(&format!("u{user}"), item, "like")))
        .collect();
    app.post("/api/events", &json!({"events": rows})).await.expect(200);
    let started = app.call("POST", "/api/models/train", "").await;
    let location = started.header("location").to_owned();
    let job = started.expect(202);
    assert_eq!(location, format!("/api/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!(job["kind"], "train");
    let mut job = job;
    for _ in 0..600 {
        if job["state"] != "running" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        job = app.get(&location).await.expect(200);
    }
    assert_eq!(job["state"], "succeeded", "{job}");
    let models = app.get("/api/models").await.expect(200);
    let names: Vec<_> =
        models["data"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, medley::engine::pipeline::MODEL_NAMES);
    let hybrid = &models["data"][0];
    assert_eq!(hybrid["active"], true);
    for field in ["version", "trained_at", "data_fingerprint", "kind"] {
        assert!(hybrid[field].is_string(), "{field}: {hybrid}");
    }
    assert!(hybrid["bytes"].as_u64().unwrap() > 0);
    let version = hybrid["version"].as_str().unwrap();
    let active = app.call("POST", &format!("/api/models/{version}/activate"), "").await.expect(200);
    assert_eq!([&active["version"], &active["active"]], [&json!(version), &json!(true)]);
    let answer = app.recommend(&json!({"user_id": "u1"})).await;
    assert_eq!(answer["model"]["version"], version);
    assert_eq!(answer["degraded"], json!([]));
}

#[tokio::test]
async fn what_admins_do_is_recorded_before_it_is_done_and_names_nobody() {
    let app = TestApp::start().await;
    let request = |method: &str, path: &str, body: &str| {
        let request = Request::builder().method(method).uri(path).header("x-request-id", "caller-7");
        request.body(Body::from(body.to_owned())).unwrap()
    };
    for (method, path, body, status) in [
        ("DELETE", "/api/items/movie-01", "", 204),
        ("POST", "/api/models/none/activate", "", 404),
        ("DELETE", "/api/users/ann%20b", "", 200),
        ("GET", "/api/users/ann/export", "", 200),
        ("HEAD", "/api/users/bob/export", "", 200),
        ("POST", "/api/users/ann/merge", r#"{"from": "visitor"}"#, 200),
        ("GET", "/api/users/ann/events", "", 200),
        ("PATCH", "/api/items/movie-02", "{}", 200),
    ] {
        app.send(request(method, path, body)).await.expect(status);
    }
    app.send(request("DELETE", "/api/users/%00", "")).await.problem(422);
    let acts = app.store.acts(None, 100).await.unwrap();
    let seen: Vec<_> = acts.iter().rev().map(|act| (act.act.as_str(), act.subject.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("item.delete", "movie-01"),
            ("model.activate", "none"),
            ("user.erase", ""),
            ("user.export", ""),
            ("user.export", ""),
            ("user.merge", ""),
            ("user.merge_from", "")
        ]
    );
    assert!(acts.iter().all(|act| act.actor == "anyone" && act.request_id.as_deref() == Some("caller-7")), "{acts:?}");
    // What cannot be recorded is not done.
    app.store.close().await;
    app.send(request("POST", "/api/models/train", "")).await.problem(503);
}

#[tokio::test]
async fn it_says_how_it_is() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/livez").await.expect(200)["status"], "alive");
    let ready = app.get("/readyz").await.expect(200);
    assert_eq!(ready, json!({"ready": true, "store": true, "items": 36, "model_version": null}));
    app.recommend(&json!({})).await;
    app.get("/no/such/route").await.problem(404);
    app.get("/docs/%ff").await.problem(404);
    let metrics = app.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = metrics.text();
    for line in [
        "medley_catalogue_items 36",
        "medley_store_up 1",
        r#"medley_http_requests_total{method="POST",route="/api/recommend",status="200"}"#,
        r#"route="(none)",status="404""#,
        r#"medley_recommend_degraded_total{reason="no_model"}"#,
        r#"medley_http_request_duration_seconds_bucket{method="POST",route="/api/recommend",le="0.001"}"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("/no/such/route"), "labels are not the caller's choice");
}

#[tokio::test]
async fn documents_come_from_the_binary() {
    let app = TestApp::start().await;
    let openapi = app.get("/openapi.json").await.expect(200);
    assert_eq!(openapi, medley::http::openapi(&app.config.domains, &["embedded-static"]));
    for path in ["/", "/docs", "/docs/"] {
        let page = app.get(path).await;
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        let text = page.text();
        assert!(!text.contains("https://") && !text.contains("//cdn"), "{path} reaches out");
        for file in text.split("\"/docs/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert_eq!(app.get(&format!("/docs/{file}")).await.status.as_u16(), 200, "{file}");
        }
    }
    let script = app.get("/docs/swagger-initializer.js").await.text();
    assert!(script.contains("/openapi.json"), "{script}");
    app.get("/docs/none.js").await.problem(404);
}

#[tokio::test]
async fn what_is_no_route_is_a_problem_too() {
    let app = TestApp::start().await;
    for path in ["/api", "/api/", "/api/items/", "/api/recommend/x", "/favicon.ico", "/api/items/a/b/c"] {
        assert_eq!(app.get(path).await.problem(404), [""; 0], "{path}");
    }
    for (method, path, allowed) in [
        ("GET", "/api/recommend", "POST"),
        ("DELETE", "/api/events", "POST"),
        ("POST", "/api/items/x", "GET,HEAD,PUT,PATCH,DELETE"),
        ("PUT", "/livez", "GET,HEAD"),
        ("BREW", "/api/models", "GET,HEAD"),
    ] {
        let answer = app.call(method, path, "").await;
        answer.problem(405);
        let found: std::collections::BTreeSet<_> = answer.header("allow").split(',').map(str::trim).collect();
        assert_eq!(found, allowed.split(',').collect(), "{method} {path}");
    }
    let head = app.call("HEAD", "/api/items/movie-00", "").await;
    assert!(head.status.is_success() && head.bytes.is_empty());
}

/// Every documented route under /api, with something in the place of names.
fn routes(app: &TestApp) -> Vec<(String, String)> {
    let document = medley::http::openapi(&app.config.domains, &[]);
    let paths = document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/api/"));
    let routes = paths.flat_map(|(path, methods)| {
        let path = path.replace("{id}", "movie-00").replace("{version}", "none");
        methods.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    routes.collect()
}

#[tokio::test]
async fn parameters_that_a_route_does_not_have_are_refused_everywhere() {
    let app = TestApp::start().await;
    let routes = routes(&app);
    assert!(routes.len() > 18, "{routes:?}");
    for (method, path) in routes {
        let answer = app.call(&method, &format!("{path}?colour=red"), "").await;
        assert_eq!(answer.problem(422), ["/query/colour"], "{method} {path}");
    }
    assert!(app.store.running_job("train").await.unwrap().is_none());
    app.get("/api/items/movie-00?").await.expect(200);
}

#[tokio::test]
async fn a_body_where_none_is_taken_says_nothing_or_is_refused() {
    let app = TestApp::start().await;
    for (method, path, status) in [
        ("POST", "/api/models/train", 202),
        ("POST", "/api/models/none/activate", 404),
        ("DELETE", "/api/items/movie-00", 204),
        ("DELETE", "/api/users/u", 200),
    ] {
        assert_eq!(app.call(method, path, r#"{"force": true}"#).await.problem(422), ["/force"], "{method} {path}");
        assert_eq!(app.call(method, path, "[]").await.problem(422), [""], "{method} {path}");
        assert_eq!(app.call(method, path, "now").await.problem(400), [""], "{method} {path}");
        assert_eq!(app.call(method, path, " {} ").await.status.as_u16(), status, "{method} {path}");
    }
}

#[tokio::test]
async fn what_a_route_answers_to_a_bad_body_is_documented() {
    let app = TestApp::with(&[("MEDLEY_SERVER__MAX_BODY_BYTES", "1000")]).await;
    let document = medley::http::openapi(&app.config.domains, &[]);
    for (method, path) in routes(&app) {
        let documented = path.replace("movie-00", "{id}").replace("none", "{version}");
        let responses = &document["paths"][documented.as_str()][method.to_lowercase().as_str()]["responses"];
        for body in ["{".to_owned(), "[7]".to_owned(), "x".repeat(1_001)] {
            let status = app.call(&method, &path, body).await.status.as_u16().to_string();
            assert!(responses[status.as_str()].is_object(), "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let app = TestApp::start().await;
    let with = |id: &'static [u8]| {
        Request::get("/livez")
            .header("x-request-id", axum::http::HeaderValue::from_bytes(id).unwrap())
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(app.send(with(b"trace-42/a")).await.header("x-request-id"), "trace-42/a");
    for insane in [&b""[..], b"two words", b"\xc3\xa9", &[b'x'; 129]] {
        let answer = app.send(with(insane)).await;
        assert_eq!(answer.header("x-request-id").len(), 36, "{insane:?}");
    }
    let (one, other) = (app.get("/none").await, app.get("/none").await);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
}
