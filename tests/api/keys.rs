//! Who may do what.

use axum::body::Body;
use axum::http::Request;
use jiff::Timestamp;
use medley::serving::keys::{NewKey, Scope};
use secrecy::ExposeSecret as _;
use serde_json::json;

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
    app.store.create_key(&made.record).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    (made.record.id, format!("Bearer {}", made.token.expose_secret()))
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
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    call(&app, Some(&token), "POST", "/api/recommend", "{}").await.problem(401);
    call(&app, None, "POST", "/api/recommend", "{}").await.problem(401);
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
