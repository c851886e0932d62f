//! Two tenants in one deployment: every route of the OpenAPI document, asked by each for what is the other's.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use jiff::Timestamp;
use medley::domain::Tenant;
use medley::serving::keys::{NewKey, Scope};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::app::{Answer, TestApp, event, ids};

const DOMAINS: [&str; 3] = ["music", "movie", "game"];

/// A tenant with a catalogue, people, a model, a job, an evaluation, and statistics of a provider. Its mark is in all ids and titles.
struct Side {
    mark: &'static str,
    tenant: Tenant,
    token: String,
    /// What must not be seen by the other: the mark, and ids that the service made.
    secrets: Vec<String>,
    job: String,
    version: String,
}

impl Side {
    async fn call(&self, app: &TestApp, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("authorization", &self.token);
        app.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn start(app: &TestApp, mark: &'static str, tenant: &str, items: usize, people: usize) -> Self {
        let tenant: Tenant = tenant.parse().unwrap();
        let mut made = NewKey::generate("test".to_owned(), &[Scope::Admin], Timestamp::now(), None);
        made.record.tenant = tenant.clone();
        app.store.create_key(&made.record).await.unwrap();
        let token = format!("Bearer {}", made.token.expose_secret());
        let mut side = Self { mark, tenant, token, secrets: Vec::new(), job: String::new(), version: String::new() };
        for _ in 0..100 {
            if side.call(app, "GET", "/api/items", "").await.status.as_u16() == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let rows: Vec<Value> = (0..items)
            .map(|n| {
                json!({"id": format!("{mark}-item-{n}"), "domain": DOMAINS[n % 3],
                       "title": format!("{mark} title {n}"), "genres": ["shared genre", format!("{mark} genre")]})
            })
            .collect();
        side.call(app, "POST", "/api/items", &json!(rows).to_string()).await.expect(200);
        let events: Vec<Value> = (0..people)
            .flat_map(|user| (0..6).map(move |n| (user, n)))
            .map(|(user, n)| {
                let mut event =
                    event(&format!("{mark}-user-{user}"), &format!("{mark}-item-{}", (user + n) % items), "like");
                event["event_id"] = json!(format!("{mark}-event-{user}-{n}"));
                event
            })
            .collect();
        side.call(app, "POST", "/api/events", &json!({"events": events}).to_string()).await.expect(200);
        let store = app.store.of_tenant(&side.tenant);
        let report = json!({"mark": mark});
        store.record_evaluation(&format!("{mark}-evaluation"), &report, Timestamp::now()).await.unwrap();
        let job = side.call(app, "POST", "/api/models/train", "").await.expect(202);
        let job = side.trained(app, job).await;
        side.job = job["id"].as_str().unwrap().to_owned();
        side.version = job["result"]["version"].as_str().unwrap().to_owned();
        for _ in 0..100 {
            let answer = side.call(app, "POST", "/api/recommend", "{}").await.expect(200);
            if answer["model"]["version"] == side.version.as_str() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        side.secrets = vec![mark.to_owned(), side.job.clone(), side.version.clone()];
        side
    }

    /// Waits for the end of a training.
    async fn trained(&self, app: &TestApp, mut job: Value) -> Value {
        while job["state"] == "running" {
            tokio::time::sleep(Duration::from_millis(50)).await;
            job = self.call(app, "GET", &format!("/api/jobs/{}", job["id"].as_str().unwrap()), "").await.expect(200);
        }
        assert_eq!(job["state"], "succeeded", "{job}");
        job
    }

    /// Everything of this tenant that another could have changed, read from its store.
    async fn state(&self, app: &TestApp) -> Value {
        let store = app.store.of_tenant(&self.tenant);
        let models = store.models().await.unwrap();
        let events = store.events(0, 10_000).await.unwrap();
        let items = store.item_changes(0, 10_000).await.unwrap();
        let job = store.job(&self.job).await.unwrap();
        json!([format!("{models:?}"), format!("{events:?}"), format!("{items:?}"), format!("{job:?}")])
    }

    /// What to ask a route for, where `item`, `user`, `job`, `evaluation` and `version` name what is asked about. A route that is not here fails the test.
    fn requests(route: &str, names: &Names) -> Vec<(String, Value)> {
        let Names { item, user, job, evaluation, version } = names;
        let plain = |path: String| vec![(path, Value::Null)];
        match route {
            "post /api/recommend" => {
                let path = || "/api/recommend".to_owned();
                vec![
                    (path(), json!({})),
                    (path(), json!({"user_id": user, "explain": true, "limit": 200})),
                    (path(), json!({"music": [item, "shared genre"], "query": "shared title", "explain": true})),
                    (
                        path(),
                        json!({"history": [{"item_id": item, "type": "like"}], "include_seen": true, "limit": 200}),
                    ),
                    (path(), json!({"filter": {"items": [item]}, "exclude": [item]})),
                    (path(), json!({"filter": {"items": [item]}})),
                    (path(), json!({"user_id": user, "rerank": "embedded-static"})),
                ]
            }
            "get /api/items" => vec![
                ("/api/items?limit=200".to_owned(), Value::Null),
                (format!("/api/items?q={item}"), Value::Null),
                ("/api/items?q=title&domain=movie".to_owned(), Value::Null),
            ],
            "post /api/items" => vec![("/api/items".to_owned(), json!([{"id": item, "domain": "game", "title": "T"}]))],
            "get /api/items/{id}" | "delete /api/items/{id}" => plain(format!("/api/items/{item}")),
            "put /api/items/{id}" => vec![(format!("/api/items/{item}"), json!({"domain": "game", "title": "T"}))],
            "patch /api/items/{id}" => vec![(format!("/api/items/{item}"), json!({"title": "T"}))],
            "get /api/items/{id}/similar" => plain(format!("/api/items/{item}/similar?limit=200")),
            "post /api/events" => vec![("/api/events".to_owned(), json!({"events": [event(user, item, "view")]}))],
            "get /api/users/{id}/events" => plain(format!("/api/users/{user}/events")),
            "get /api/users/{id}/export" => plain(format!("/api/users/{user}/export")),
            "delete /api/users/{id}" => plain(format!("/api/users/{user}")),
            "post /api/users/{id}/merge" => {
                vec![(format!("/api/users/{user}/merge"), json!({"from": format!("{user}x")}))]
            }
            "get /api/models" => plain("/api/models".to_owned()),
            "post /api/models/train" => plain("/api/models/train".to_owned()),
            "post /api/models/{version}/activate" => plain(format!("/api/models/{version}/activate")),
            "get /api/jobs/{id}" => plain(format!("/api/jobs/{job}")),
            "get /api/providers" => plain("/api/providers".to_owned()),
            "get /api/evaluations" => plain("/api/evaluations".to_owned()),
            "get /api/evaluations/{id}" => plain(format!("/api/evaluations/{evaluation}")),
            open @ ("get /livez" | "get /readyz" | "get /metrics" | "get /openapi.json" | "get /docs" | "get /") => {
                plain(open.split_once(' ').unwrap().1.to_owned())
            }
            route => panic!("{route} is a new route: say here how another tenant's things are asked for"),
        }
    }
}

/// What requests are about.
struct Names {
    item: String,
    user: String,
    job: String,
    evaluation: String,
    version: String,
}

impl Names {
    fn of(side: &Side) -> Self {
        let mark = side.mark;
        let (item, user, evaluation) =
            (format!("{mark}-item-1"), format!("{mark}-user-1"), format!("{mark}-evaluation"));
        Self { item, user, evaluation, job: side.job.clone(), version: side.version.clone() }
    }

    /// Of the same shape, and nobody's.
    fn unknown(like: &Self) -> Self {
        let other = |text: &String| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
        let plain = |text: &String| text.replace("wqvkzuhro", "gbcxsieao").replace("ftjypmlnd", "gbcxsieao");
        Self {
            item: plain(&like.item),
            user: plain(&like.user),
            evaluation: plain(&like.evaluation),
            job: other(&like.job),
            version: other(&like.version),
        }
    }

    /// The text without these names, and without what differs from answer to answer.
    fn removed_from(&self, answer: &Answer) -> (u16, Value) {
        let mut text = answer.text();
        for name in [&self.item, &self.user, &self.job, &self.evaluation, &self.version] {
            text = text.replace(name.as_str(), "(name)");
        }
        let mut json = serde_json::from_str(&text).unwrap_or(Value::String(text));
        strip(&mut json);
        (answer.status.as_u16(), json)
    }
}

/// Takes out ids of answers, times and places in the log.
fn strip(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            let passing =
                ["request_id", "recommendation_id", "timing_ms", "receipt_id", "exported_at", "at", "watermark"];
            fields.retain(|name, _| !passing.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

async fn routes(app: &TestApp) -> BTreeSet<String> {
    let document = app.get("/openapi.json").await.expect(200);
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, methods): (&String, &Value)| {
        methods.as_object().unwrap().keys().map(|method| format!("{method} {path}")).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_tells_a_tenant_anything_of_another() {
    let app = TestApp::start().await;
    let alpha = Side::start(&app, "wqvkzuhro", "default", 9, 40).await;
    let beta = Side::start(&app, "ftjypmlnd", "shop", 12, 50).await;
    // The default tenant has 36 items of the test's catalogue besides its own.
    let routes = routes(&app).await;
    assert!(routes.len() >= 25, "{routes:?}");
    let mut asked = 0;
    for (own, other) in [(&alpha, &beta), (&beta, &alpha)] {
        let theirs = Names::of(other);
        let nobodys = Names::unknown(&theirs);
        // Reading comes before writing: what a tenant wrote under another's names is its own.
        let reads = |route: &&String| route.starts_with("get ") || *route == "post /api/recommend";
        let (reading, writing): (Vec<_>, Vec<_>) = routes.iter().partition(reads);
        let before = other.state(&app).await;
        for route in reading.iter().chain(&writing) {
            let method = route.split_once(' ').unwrap().0.to_uppercase();
            let with = |names: &Names| Side::requests(route, names);
            for ((path, body), (unknown_path, unknown_body)) in with(&theirs).into_iter().zip(with(&nobodys)) {
                let text = |body: &Value| if body.is_null() { String::new() } else { body.to_string() };
                let answer = own.call(&app, &method, &path, &text(&body)).await;
                assert!(answer.status.as_u16() < 500, "{method} {path} {body}: {}", answer.text());
                if path == "/metrics" {
                    assert_eq!(answer.status.as_u16(), if own.tenant.is_default() { 200 } else { 403 });
                    continue;
                }
                if writing.contains(route) && path == "/api/models/train" {
                    own.trained(&app, answer.expect(202)).await;
                    continue;
                }
                asked += 1;
                let seen = theirs.removed_from(&answer);
                let leaked = other.secrets.iter().find(|secret| seen.1.to_string().contains(secret.as_str()));
                assert_eq!(leaked, None, "{method} {path} {body}: {}", answer.text());
                // Another's is not told from nobody's; only that a text in an answer to a taste is guessed by its letters.
                if body.get("music").is_some() {
                    continue;
                }
                let unknown = own.call(&app, &method, &unknown_path, &text(&unknown_body)).await;
                assert_eq!(seen, nobodys.removed_from(&unknown), "{method} {path} {body}");
            }
        }
        assert_eq!(other.state(&app).await, before, "{} has changed what is {}'s", own.mark, other.mark);
    }
    assert!(asked > 50, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_has_its_own_and_all_of_it() {
    let app = TestApp::with(&[
        ("MEDLEY_LARGE_MODEL__PROVIDERS__NOWHERE__KIND", "chat"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__NOWHERE__MODEL", "m"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__NOWHERE__BASE_URL", "http://127.0.0.1:9/v1"),
        ("MEDLEY_LARGE_MODEL__PROVIDERS__NOWHERE__ALLOW_PRIVATE", "true"),
    ])
    .await;
    let alpha = Side::start(&app, "wqvkzuhro", "default", 9, 40).await;
    let beta = Side::start(&app, "ftjypmlnd", "shop", 12, 50).await;
    let get = async |side: &Side, path: &str| side.call(&app, "GET", path, "").await.expect(200);
    for (side, items) in [(&alpha, 9 + 36), (&beta, 12)] {
        assert_eq!(get(side, "/api/items?limit=200").await["data"].as_array().unwrap().len(), items);
        let models = get(side, "/api/models").await;
        assert!(models["data"].as_array().unwrap().iter().all(|model| model["version"] == side.version.as_str()));
        assert_eq!(get(side, "/api/evaluations").await["data"].as_array().unwrap().len(), 1);
        let answer = side.call(&app, "POST", "/api/recommend", r#"{"limit": 200, "music": ["shared genre"]}"#).await;
        let answer = answer.expect(200);
        let own = ids(&answer["music"]).iter().filter(|id| id.starts_with(side.mark)).count();
        assert_eq!(own, if items == 12 { 4 } else { 3 }, "{answer}");
        assert_eq!(answer["model"]["version"], side.version.as_str());
    }
    // A provider that cannot be reached has failed for the one who asked it.
    let rerank = r#"{"user_id": "ftjypmlnd-user-1", "rerank": "nowhere"}"#;
    beta.call(&app, "POST", "/api/recommend", rerank).await.expect(200);
    let requests = async |side: &Side| {
        let providers = get(side, "/api/providers").await["data"].take();
        let nowhere = providers.as_array().unwrap().iter().find(|provider| provider["name"] == "nowhere").unwrap();
        nowhere["failures"].as_u64().unwrap()
    };
    assert_eq!([requests(&alpha).await > 0, requests(&beta).await > 0], [false, true]);
    // Models lie in folders of their own.
    assert!(app.config.models_dir(&alpha.tenant).join(&alpha.version).is_dir());
    assert!(app.config.models_dir(&beta.tenant).join(&beta.version).is_dir());
    assert!(!app.config.models_dir(&alpha.tenant).join(&beta.version).exists());
    // An event of one tenant is no duplicate of another's, whatever it is called.
    let same = json!({"events": [{"event_id": "same", "user_id": "u", "item_id": "i", "type": "view"}]}).to_string();
    for side in [&alpha, &beta] {
        assert_eq!(side.call(&app, "POST", "/api/events", &same).await.expect(200)["accepted"], 1);
    }
    // Without a key in force a tenant is no longer served, and the process tells of itself to all again.
    assert_eq!(app.get("/readyz").await.expect(200)["items"], Value::Null);
    app.get("/metrics").await.problem(401);
    let key = app.store.keys().await.unwrap().into_iter().find(|key| key.tenant == beta.tenant).unwrap();
    app.store.revoke_key(&key.id, Timestamp::now()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    beta.call(&app, "GET", "/api/items", "").await.problem(401);
    assert_eq!(app.get("/readyz").await.expect(200)["items"], 9 + 36);
    assert_eq!(app.get("/metrics").await.status.as_u16(), 200);
}
