//! Who may do what.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use jiff::{SignedDuration, Timestamp};
use medley::serving::Service;
use medley::serving::keys::{NewKey, Scope, new_secret};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tower::ServiceExt as _;

use super::app::{Answer, TestApp};

async fn call(app: &TestApp, authorization: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    app.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

/// Makes a key and waits until it is in force.
async fn key(app: &TestApp, scopes: &[Scope]) -> (String, String) {
    let made = NewKey::generate("test".to_owned(), scopes, Timestamp::now(), None);
    (made.record.id.clone(), in_force(app, made).await)
}

/// Stores a key, waits until it is in force, and gives what to send.
async fn in_force(app: &TestApp, made: NewKey) -> String {
    app.store.create_key(&made.record).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    format!("Bearer {}", made.token.expose_secret())
}

#[tokio::test]
async fn without_a_key_pages_of_elsewhere_are_refused() {
    let app = TestApp::start().await;
    let call = async |headers: &[(&str, &str)], key: Option<&str>| {
        let mut request = Request::builder().method("POST").uri("/api/events");
        for (name, value) in headers.iter().copied().chain(key.map(|key| ("authorization", key))) {
            request = request.header(name, value);
        }
        app.send(request.body(Body::from(r#"{"events": []}"#)).unwrap()).await
    };
    let page = [("host", "127.0.0.1:8080"), ("origin", "https://evil.example"), ("content-type", "text/plain")];
    let rebound = [("host", "evil.example:8080"), ("origin", "http://evil.example:8080")];
    let own = [("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")];
    for headers in [&page[..], &rebound[..]] {
        let problem = call(headers, None).await;
        assert!(problem.text().contains("medley keys create"), "{}", problem.text());
        problem.problem(403);
    }
    call(&own, None).await.expect(200);
    let (_, token) = key(&app, &[Scope::Events]).await;
    for headers in [&page[..], &rebound[..], &own[..]] {
        call(headers, Some(&token)).await.expect(200);
    }
}

#[tokio::test]
async fn each_scope_opens_its_routes() {
    let app = TestApp::start().await;
    assert_eq!(
        call(&app, None, "POST", "/api/recommend", "{}").await.status.as_u16(),
        200,
        "open while there is no key"
    );
    let item = json!({"domain": "game", "title": "T"}).to_string();
    let routes = [
        ("POST", "/api/recommend", "{}", "recommend"),
        ("GET", "/api/items", "", "recommend catalogue"),
        ("GET", "/api/items/game-01", "", "recommend catalogue"),
        ("GET", "/api/items/game-01/similar", "", "recommend catalogue"),
        ("GET", "/api/models", "", "recommend catalogue"),
        ("PUT", "/api/items/new", item.as_str(), "catalogue"),
        ("PATCH", "/api/items/new", "{}", "catalogue"),
        ("POST", "/api/items", "[]", "catalogue"),
        ("DELETE", "/api/items/none", "", "catalogue"),
        ("POST", "/api/events", r#"{"events": []}"#, "events"),
        ("GET", "/api/users/u/events", "", "events"),
        ("POST", "/api/users/u/merge", r#"{"from": "v"}"#, "events"),
        ("GET", "/api/users/u/export", "", ""),
        ("DELETE", "/api/users/u", "", ""),
        ("GET", "/api/jobs/x", "", ""),
        ("GET", "/api/providers", "", ""),
        ("GET", "/api/evaluations", "", ""),
        ("POST", "/api/models/x/activate", "", ""),
    ];
    for scope in Scope::ALL {
        let (_, token) = key(&app, &[scope]).await;
        for (method, path, body, scopes) in routes {
            let answer = call(&app, Some(&token), method, path, body).await;
            if scope == Scope::Admin || scopes.split(' ').any(|name| name == scope.as_str()) {
                assert!(
                    answer.status.as_u16() < 300 || answer.status.as_u16() == 404,
                    "{scope:?} {method} {path}: {}",
                    answer.text()
                );
            } else {
                answer.problem(403);
            }
        }
    }
    for (method, path, body, _) in routes {
        let answer = call(&app, None, method, path, body).await;
        answer.problem(401);
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
    }
    for path in ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/"] {
        assert_eq!(call(&app, None, "GET", path, "").await.status.as_u16(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_or_broken_opens_nothing() {
    let app = TestApp::start().await;
    let (id, token) = key(&app, &[Scope::Recommend]).await;
    assert_eq!(call(&app, Some(&token), "POST", "/api/recommend", "{}").await.status.as_u16(), 200);
    assert_eq!(
        call(&app, Some(&token.replace("Bearer", "bearer")), "POST", "/api/recommend", "{}").await.status.as_u16(),
        200
    );
    for broken in [&token[..token.len() - 1], "Bearer", "Bearer x", "Basic eA==", "", &token.replace("Bearer ", "")] {
        call(&app, Some(broken), "POST", "/api/recommend", "{}").await.problem(401);
    }
    assert!(app.store.revoke_key(&id, Timestamp::now()).await.unwrap());
    tokio::time::sleep(Duration::from_millis(300)).await;
    call(&app, Some(&token), "POST", "/api/recommend", "{}").await.problem(401);
    call(&app, None, "POST", "/api/recommend", "{}").await.problem(401);
}

#[tokio::test]
async fn both_secrets_of_a_key_that_is_rotated_are_good_for_the_time_of_grace() {
    let app = TestApp::start().await;
    let (id, old) = key(&app, &[Scope::Recommend]).await;
    let mut tokens = vec![old];
    let mut rotate = async |grace: SignedDuration| {
        let (hash, token) = new_secret(&id);
        let now = Timestamp::now();
        assert!(app.store.rotate_key(&id, &hash, now + grace, now).await.unwrap());
        tokens.push(format!("Bearer {}", token.expose_secret()));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut statuses = Vec::new();
        for token in &tokens {
            statuses.push(call(&app, Some(token), "POST", "/api/recommend", "{}").await.status.as_u16());
        }
        statuses
    };
    let hour = SignedDuration::from_hours(1);
    assert_eq!(rotate(hour).await, [200, 200]);
    assert_eq!(rotate(hour).await, [401, 200, 200], "never more than two");
    assert_eq!(rotate(SignedDuration::ZERO).await, [401, 401, 401, 200], "without grace");
    assert!(app.store.revoke_key(&id, Timestamp::now()).await.unwrap());
    tokio::time::sleep(Duration::from_millis(300)).await;
    for token in &tokens {
        call(&app, Some(token), "POST", "/api/recommend", "{}").await.problem(401);
    }
}

#[tokio::test]
async fn a_key_that_has_come_to_its_end_opens_nothing() {
    let app = TestApp::start().await;
    for (seconds, status) in [(3_600, 200), (-1, 401)] {
        let end = Timestamp::now() + SignedDuration::from_secs(seconds);
        let made = NewKey::generate("test".to_owned(), &[Scope::Recommend], Timestamp::now(), Some(end));
        let token = in_force(&app, made).await;
        assert_eq!(call(&app, Some(&token), "POST", "/api/recommend", "{}").await.status.as_u16(), status);
    }
}

/// As slow as the default settings look at the store: a second.
#[tokio::test]
async fn every_service_refuses_a_key_within_five_seconds_of_its_revocation() {
    let slow = [("MEDLEY_DATABASE__REFRESH_INTERVAL_MS", "1000")];
    let app = TestApp::with(&slow).await;
    let other = Service::start(Arc::clone(&app.config), Arc::clone(&app.store)).await.unwrap();
    let other = medley::http::router(other, false).await;
    let made = NewKey::generate("test".to_owned(), &[Scope::Recommend], Timestamp::now(), None);
    app.store.create_key(&made.record).await.unwrap();
    let statuses = async || {
        let request = || {
            let token = format!("Bearer {}", made.token.expose_secret());
            Request::builder().method("POST").uri("/api/recommend").header("authorization", token).body(Body::empty())
        };
        let theirs = other.clone().oneshot(request().unwrap()).await.unwrap().status().as_u16();
        [app.send(request().unwrap()).await.status.as_u16(), theirs]
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(statuses().await, [200, 200]);
    app.store.revoke_key(&made.record.id, Timestamp::now()).await.unwrap();
    let revoked = std::time::Instant::now();
    while statuses().await != [401, 401] {
        assert!(revoked.elapsed() < Duration::from_secs(5), "still good: {:?}", statuses().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_key_makes_so_many_requests_a_minute() {
    let app = TestApp::start().await;
    let mut made = NewKey::generate("test".to_owned(), &[Scope::Recommend], Timestamp::now(), None);
    made.record.rate = Some(3);
    let token = in_force(&app, made).await;
    let call = async || call(&app, Some(&token), "POST", "/api/recommend", "{}").await;
    for state in ["\"minute\";r=2;t=20", "\"minute\";r=1;t=40", "\"minute\";r=0;t=60"] {
        let answer = call().await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        assert_eq!([answer.header("ratelimit-policy"), answer.header("ratelimit")], ["\"minute\";q=3;w=60", state]);
    }
    let answer = call().await;
    answer.problem(429);
    assert_eq!(answer.json()["code"], "limit_reached");
    assert!((18..=20).contains(&answer.header("retry-after").parse().unwrap()), "{}", answer.header("retry-after"));
    assert_eq!(answer.header("ratelimit"), "\"minute\";r=0;t=60");
    // Another key is not held up by it, and has no limits to tell of.
    let (_, other) = key(&app, &[Scope::Recommend]).await;
    let answer = self::call(&app, Some(&other), "POST", "/api/recommend", "{}").await;
    assert_eq!((answer.status.as_u16(), answer.headers.get("ratelimit")), (200, None));
}

#[tokio::test]
async fn a_quota_is_counted_by_all_services_together() {
    let app = TestApp::start().await;
    let other = Service::start(Arc::clone(&app.config), Arc::clone(&app.store)).await.unwrap();
    let other = medley::http::router(other, false).await;
    let mut made = NewKey::generate("test".to_owned(), &[Scope::Recommend], Timestamp::now(), None);
    made.record.quota = Some(10);
    let id = made.record.id.clone();
    let token = in_force(&app, made).await;
    let request = || {
        let request = Request::builder().method("POST").uri("/api/recommend").header("authorization", &token);
        request.body(Body::empty()).unwrap()
    };
    for _ in 0..3 {
        assert_eq!(app.send(request()).await.status.as_u16(), 200);
        assert_eq!(other.clone().oneshot(request()).await.unwrap().status().as_u16(), 200);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stored = app.store.keys().await.unwrap().into_iter().find(|key| key.id == id).unwrap();
    assert_eq!(stored.used.requests, 6);
    for remaining in (0..4).rev() {
        let answer = app.send(request()).await;
        assert!(answer.header("ratelimit").starts_with(&format!("\"day\";r={remaining};t=")), "{:?}", answer.headers);
    }
    let answer = app.send(request()).await;
    answer.problem(429);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() <= 86_400);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(other.oneshot(request()).await.unwrap().status().as_u16(), 429);
}

#[tokio::test]
async fn the_key_of_the_configuration_may_everything() {
    let secret = "a-secret-of-at-least-32-characters!";
    let app = TestApp::with(&[("MEDLEY_AUTH__ADMIN_KEY", secret)]).await;
    call(&app, None, "GET", "/api/models", "").await.problem(401);
    let answer = call(&app, Some("Bearer wrong"), "GET", "/api/models", "").await;
    answer.problem(401);
    assert!(!answer.text().contains("wrong") && !answer.text().contains(secret));
    assert_eq!(call(&app, Some(&format!("Bearer {secret}")), "DELETE", "/api/users/u", "").await.status.as_u16(), 200);
}
