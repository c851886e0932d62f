//! A table of bad requests: each is answered by a problem document that names the field, and the service lives.

use super::app::TestApp;

/// Method, path, body, status, and the field that is named ("-": none can be).
type Case = (&'static str, &'static str, Vec<u8>, u16, &'static str);

const RECOMMEND: &str = "/api/recommend";
const EVENTS: &str = "/api/events";
const ITEM: &str = "/api/items/x";
const TRAIN: &str = "/api/models/train";
const ITEMS: &str = "/api/items";

fn post(path: &'static str, body: impl AsRef<[u8]>, pointer: &'static str) -> Case {
    ("POST", path, body.as_ref().to_vec(), 422, pointer)
}

fn not_json(path: &'static str, body: impl AsRef<[u8]>) -> Case {
    ("POST", path, body.as_ref().to_vec(), 400, "")
}

fn put(body: impl AsRef<[u8]>, pointer: &'static str) -> Case {
    ("PUT", ITEM, body.as_ref().to_vec(), 422, pointer)
}

/// A batch of one event: `fields` after a valid user and item.
fn one_event(fields: &str, pointer: &'static str) -> Case {
    post(EVENTS, format!(r#"{{"events": [{{"user_id": "u", "item_id": "i", {fields}}}]}}"#), pointer)
}

fn many(text: &str, count: usize) -> String {
    format!("[{}]", vec![text; count].join(","))
}

fn recommend_cases() -> Vec<Case> {
    vec![
        // wrong types
        post(RECOMMEND, "[]", ""),
        post(RECOMMEND, "null", ""),
        post(RECOMMEND, "\"rock\"", ""),
        post(RECOMMEND, "17", ""),
        post(RECOMMEND, r#"{"music": "rock"}"#, "/music"),
        post(RECOMMEND, r#"{"music": {"0": "rock"}}"#, "/music"),
        post(RECOMMEND, r#"{"music": [1]}"#, "/music/0"),
        post(RECOMMEND, r#"{"music": ["rock", null]}"#, "/music/1"),
        post(RECOMMEND, r#"{"music": [["rock"]]}"#, "/music/0"),
        post(RECOMMEND, r#"{"music": null}"#, "/music"),
        post(RECOMMEND, r#"{"user_id": 42}"#, "/user_id"),
        post(RECOMMEND, r#"{"query": ["x"]}"#, "/query"),
        post(RECOMMEND, r#"{"limit": "10"}"#, "/limit"),
        post(RECOMMEND, r#"{"limit": null}"#, "/limit"),
        post(RECOMMEND, r#"{"limit": 2.5}"#, "/limit"),
        post(RECOMMEND, r#"{"include_seen": "yes"}"#, "/include_seen"),
        post(RECOMMEND, r#"{"explain": 1}"#, "/explain"),
        post(RECOMMEND, r#"{"diversity": "high"}"#, "/diversity"),
        post(RECOMMEND, r#"{"history": {"item_id": "a"}}"#, "/history"),
        post(RECOMMEND, r#"{"history": ["a"]}"#, "/history/0"),
        post(RECOMMEND, r#"{"history": [["a"]]}"#, "/history/0"),
        post(RECOMMEND, r#"{"exclude": "a"}"#, "/exclude"),
        post(RECOMMEND, r#"{"domains": "music"}"#, "/domains"),
        post(RECOMMEND, r#"{"filter": []}"#, "/filter"),
        post(RECOMMEND, r#"{"filter": {"genres": ["rock"]}}"#, "/filter/genres"),
        post(RECOMMEND, r#"{"filter": {"genres": {"any": "rock"}}}"#, "/filter/genres/any"),
        // unknown fields
        post(RECOMMEND, r#"{"musik": ["rock"]}"#, "/musik"),
        post(RECOMMEND, r#"{"book": ["rock"]}"#, "/book"),
        post(RECOMMEND, r#"{"": 1}"#, "/"),
        post(RECOMMEND, r#"{"a/b~c": 1}"#, "/a~1b~0c"),
        post(RECOMMEND, r#"{"history": [{"item_id": "a", "typ": "like"}]}"#, "/history/0/typ"),
        post(RECOMMEND, r#"{"filter": {"genre": {}}}"#, "/filter/genre"),
        post(RECOMMEND, r#"{"filter": {"movie": {"music": {}}}}"#, "/filter/movie/music"),
        post(RECOMMEND, r#"{"filter": {"genres": {"some": []}}}"#, "/filter/genres/some"),
        post(RECOMMEND, r#"{"filter": {"attributes": {"language": {"is": "en"}}}}"#, "/filter/attributes/language/is"),
        post(RECOMMEND, r#"{"limit": 1, "limit": 2}"#, "/limit"),
        post(
            RECOMMEND,
            r#"{"filter": {"attributes": {"language": {"none": ["en"]}, "language": {"any": ["en"]}}}}"#,
            "/filter/attributes/language",
        ),
        post(TRAIN, r#"{"model": "ials"}"#, "/model"),
        // out of bounds
        post(RECOMMEND, r#"{"limit": 0}"#, "/limit"),
        post(RECOMMEND, r#"{"limit": -5}"#, "/limit"),
        post(RECOMMEND, r#"{"limit": 201}"#, "/limit"),
        post(RECOMMEND, r#"{"limit": 99999999999999999999999}"#, "/limit"),
        post(RECOMMEND, r#"{"diversity": 1.1}"#, "/diversity"),
        post(RECOMMEND, r#"{"diversity": -0.1}"#, "/diversity"),
        post(RECOMMEND, r#"{"diversity": 1e999}"#, "/diversity"),
        post(RECOMMEND, r#"{"deadline_ms": 0}"#, "/deadline_ms"),
        post(RECOMMEND, r#"{"deadline_ms": -1}"#, "/deadline_ms"),
        post(RECOMMEND, r#"{"domains": []}"#, "/domains"),
        post(RECOMMEND, format!(r#"{{"music": {}}}"#, many("\"a\"", 101)), "/music"),
        post(RECOMMEND, format!(r#"{{"music": ["{}"]}}"#, "a".repeat(257)), "/music/0"),
        post(RECOMMEND, format!(r#"{{"query": "{}"}}"#, "科".repeat(1001)), "/query"),
        post(RECOMMEND, format!(r#"{{"history": {}}}"#, many(r#"{"item_id":"a"}"#, 1001)), "/history"),
        post(RECOMMEND, format!(r#"{{"exclude": {}}}"#, many("\"a\"", 10_001)), "/exclude"),
        post(RECOMMEND, format!(r#"{{"filter": {{"items": {}}}}}"#, many("\"a\"", 10_001)), "/filter/items"),
        // bad words, ids, dates
        post(RECOMMEND, r#"{"domains": ["music", "film"]}"#, "/domains/1"),
        post(RECOMMEND, r#"{"model": "gpt"}"#, "/model"),
        post(RECOMMEND, r#"{"rerank": "magic"}"#, "/rerank"),
        post(RECOMMEND, r#"{"history": [{"item_id": "a", "type": "adore"}]}"#, "/history/0/type"),
        post(RECOMMEND, r#"{"history": [{"item_id": "a"}, {"item_id": "b", "type": "rating"}]}"#, "/history/1/value"),
        post(RECOMMEND, r#"{"history": [{"type": "like"}]}"#, "/history/0/item_id"),
        post(RECOMMEND, r#"{"history": [{"item_id": "a", "at": "yesterday"}]}"#, "/history/0/at"),
        post(RECOMMEND, r#"{"history": [{"item_id": "a", "at": 1700000000}]}"#, "/history/0/at"),
        post(RECOMMEND, r#"{"history": [{"item_id": "a", "value": "5"}]}"#, "/history/0/value"),
        post(RECOMMEND, r#"{"min_watermark": "17"}"#, "/min_watermark"),
        post(RECOMMEND, r#"{"min_watermark": "w--17"}"#, "/min_watermark"),
        post(RECOMMEND, r#"{"user_id": ""}"#, "/user_id"),
        post(RECOMMEND, format!(r#"{{"user_id": "{}"}}"#, "u".repeat(129)), "/user_id"),
        post(RECOMMEND, r#"{"user_id": "a\u0000b"}"#, "/user_id"),
        post(RECOMMEND, r#"{"music": ["a\u0000b"]}"#, "/music/0"),
        post(RECOMMEND, r#"{"exclude": ["ok", "\u0007"]}"#, "/exclude/1"),
        post(RECOMMEND, r#"{"filter": {"released": {"from": "1990-02-30"}}}"#, "/filter/released/from"),
        post(RECOMMEND, r#"{"filter": {"released": {"to": "next year"}}}"#, "/filter/released/to"),
        post(RECOMMEND, r#"{"filter": {"game": {"genres": {"any": [""]}}}}"#, "/filter/game/genres/any/0"),
        // not JSON
        not_json(RECOMMEND, "music=rock"),
        not_json(RECOMMEND, "{'music': ['rock']}"),
        not_json(RECOMMEND, r#"{"music": ["rock"]"#),
        not_json(RECOMMEND, r#"{"music": ["rock"]} {}"#),
        not_json(RECOMMEND, r#"{"limit": NaN}"#),
        not_json(RECOMMEND, b"{\"music\": [\"\xff\xfe\"]}"),
        not_json(RECOMMEND, b"\x00"),
        not_json(RECOMMEND, "[".repeat(100_000)),
        not_json(RECOMMEND, format!(r#"{{"music": {}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000))),
        not_json(RECOMMEND, format!("{}1{}", r#"{"filter":"#.repeat(2_000), "}".repeat(2_000))),
        ("POST", RECOMMEND, vec![b' '; 9_000_000], 413, "-"),
        ("GET", RECOMMEND, Vec::new(), 405, "-"),
        ("DELETE", RECOMMEND, Vec::new(), 405, "-"),
    ]
}

fn other_cases() -> Vec<Case> {
    vec![
        post(EVENTS, "{}", "/events"),
        post(EVENTS, "[]", ""),
        post(EVENTS, r#"{"events": {}}"#, "/events"),
        post(EVENTS, r#"{"event": []}"#, "/event"),
        post(EVENTS, r#"{"events": [7]}"#, "/events/0"),
        post(EVENTS, r#"{"events": [{"item_id": "i", "type": "like"}]}"#, "/events/0/user_id"),
        post(EVENTS, r#"{"events": [{"user_id": "\u0000", "item_id": "i", "type": "like"}]}"#, "/events/0/user_id"),
        one_event(r#""type": "adore""#, "/events/0/type"),
        one_event(r#""type": 3"#, "/events/0/type"),
        one_event(r#""type": "rating""#, "/events/0/value"),
        one_event(r#""type": "rating", "value": 1000"#, "/events/0/value"),
        one_event(r#""type": "playtime", "value": -2"#, "/events/0/value"),
        one_event(r#""type": "play", "value": 1e999"#, "/events/0/value"),
        one_event(r#""type": "play", "at": "2999-01-01T00:00:00Z""#, "/events/0/at"),
        one_event(r#""type": "play", "at": "2024-13-01T00:00:00Z""#, "/events/0/at"),
        one_event(r#""type": "play", "position": -1"#, "/events/0/position"),
        one_event(r#""type": "play", "stars": 5"#, "/events/0/stars"),
        not_json(EVENTS, ""),
        not_json(EVENTS, r#"{"events": [{]}"#),
        put("[]", ""),
        put("{}", "/domain"),
        put(r#"{"domain": "film", "title": "T"}"#, "/domain"),
        put(r#"{"domain": "movie"}"#, "/title"),
        put(r#"{"domain": "movie", "title": ""}"#, "/title"),
        put(r#"{"domain": "movie", "title": " "}"#, "/title"),
        put(r#"{"domain": "movie", "title": "T", "genres": ["rock", " \u3000"]}"#, "/genres/1"),
        put(r#"{"domain": "movie", "title": "a\u0000"}"#, "/title"),
        put(r#"{"domain": "movie", "title": "T", "released": "31.3.1999"}"#, "/released"),
        put(r#"{"domain": "movie", "title": "T", "genre": ["x"]}"#, "/genre"),
        put(r#"{"domain": "movie", "title": "T", "genres": "x"}"#, "/genres"),
        put(r#"{"domain": "movie", "title": "T", "attributes": {"a": 1}}"#, "/attributes/a"),
        put(r#"{"domain": "movie", "title": "T", "description": "\u0000"}"#, "/description"),
        put(r#"{"id": "y", "domain": "movie", "title": "T"}"#, "/id"),
        ("PUT", "/api/items/%00", br#"{"domain": "movie", "title": "T"}"#.to_vec(), 422, "/path/id"),
        ("PUT", "/api/items/%FF", br#"{"domain": "movie", "title": "T"}"#.to_vec(), 422, "/path"),
        ("PATCH", "/api/items/movie-00", br#"{"title": 5}"#.to_vec(), 422, "/title"),
        ("PATCH", "/api/items/movie-00", br#"{"domain": "film"}"#.to_vec(), 422, "/domain"),
        ("PATCH", "/api/items/movie-00", br#"{"title": null}"#.to_vec(), 422, "/title"),
        ("PATCH", "/api/items/movie-00", br#"{"domain": null}"#.to_vec(), 422, "/domain"),
        ("PATCH", "/api/items/movie-00", br#"{"available": null}"#.to_vec(), 422, "/available"),
        ("PATCH", "/api/items/movie-00", br#"{"tags": [" "]}"#.to_vec(), 422, "/tags/0"),
        post(ITEMS, r#"[{"id": "\u0000", "domain": "movie", "title": "T"}]"#, "/0/id"),
        post(ITEMS, r#"[{"id": "a", "domain": "movie", "title": "T", "creators": ["  "]}]"#, "/0/creators/0"),
        post(ITEMS, "7", ""),
        not_json(ITEMS, "[{]"),
        ("GET", "/api/users/%00/events", Vec::new(), 422, "/path/id"),
        ("GET", "/api/users/u/events?limit=-1", Vec::new(), 422, "/query/limit"),
        post("/api/users/%C2%9B/merge", r#"{"from": "v"}"#, "/path/id"),
        post("/api/users/u/merge", "{}", "/from"),
        post("/api/users/u/merge", r#"{"from": ""}"#, "/from"),
    ]
}

#[tokio::test]
async fn each_is_a_problem_that_names_the_field() {
    let app = TestApp::start().await;
    let cases: Vec<Case> = recommend_cases().into_iter().chain(other_cases()).collect();
    assert!(cases.len() >= 100, "{} cases", cases.len());
    for (method, path, body, status, pointer) in cases {
        let shown: String = String::from_utf8_lossy(&body).chars().take(100).collect();
        let answer = app.call(method, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {shown}: {}", answer.text());
        let pointers = answer.problem(status);
        match (status, pointer) {
            (_, "-") => assert!(pointers.is_empty(), "{shown}: {pointers:?}"),
            (400, _) => assert_eq!(pointers.len(), 1, "{shown}"),
            _ => assert_eq!(pointers, [pointer], "{method} {path} {shown}: {}", answer.text()),
        }
        let text = answer.text();
        for leak in ["src/", "panicked", "sqlx", "SELECT", "/tmp/"] {
            assert!(!text.contains(leak), "{shown}: {text}");
        }
    }
    let answer = app.call("POST", RECOMMEND, "{}").await.expect(200);
    assert_eq!(answer["music"].as_array().unwrap().len(), 10, "the service lives");
}
