//! Generated words: reasons in the caller's language, and a programme note. The model is a fake on loopback, which writes well, badly, late or not at all.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request as HttpRequest;
use serde_json::{Value, json};
use wiremock::{Request, ResponseTemplate};

use crate::app::{TestApp, ids};
use crate::fake_provider::{app, degraded, provider, says};

const WORDS: (&str, &str) = ("MEDLEY_LARGE_MODEL__WORDS", "p");

/// What a request asks to be written: a reason (its template) or a story (its works), and in what language.
fn wanted(request: &Request) -> (String, Option<String>, Vec<Value>) {
    let body: Value = request.body_json().unwrap();
    let question: Value = serde_json::from_str(body["messages"][1]["content"].as_str().unwrap()).unwrap();
    let language = question["language"].as_str().unwrap().to_owned();
    let works = question["works"].as_array().cloned().unwrap_or_default();
    (language, question["reason"].as_str().map(str::to_owned), works)
}

fn writes(text: &str) -> ResponseTemplate {
    says(&json!({"text": text}).to_string())
}

/// Writes German and Chinese, and tells of the first work of each kind.
fn writer(request: &Request) -> ResponseTemplate {
    let (language, reason, works) = wanted(request);
    let Some(reason) = reason else {
        let mut kinds = BTreeSet::new();
        let first: Vec<&str> = works
            .iter()
            .filter(|work| kinds.insert(work["kind"].to_string()))
            .map(|work| work["mark"].as_str().unwrap())
            .collect();
        return writes(&match language.as_str() {
            "German" => format!("Der Abend beginnt mit {}.", first.join(", dann kommt ")),
            _ => format!("The evening begins with {}.", first.join(", then comes ")),
        });
    };
    let marks: Vec<String> = (1..=reason.matches('{').count()).map(|number| format!("{{{number}}}")).collect();
    writes(&match language.as_str() {
        "German" => format!("Das passt zu dir {}", marks.join(" und ")),
        "Simplified Chinese" => format!("这很适合你 {}", marks.join("和")),
        _ => format!("That suits you {}", marks.join(" and ")),
    })
}

async fn ask(app: &TestApp, language: Option<&str>, body: &Value) -> Value {
    let mut request = HttpRequest::post("/api/recommend");
    if let Some(language) = language {
        request = request.header("accept-language", language);
    }
    app.send(request.body(Body::from(body.to_string())).unwrap()).await.expect(200)
}

fn texts(answer: &Value) -> Vec<&str> {
    let lists = ["music", "movie", "game"].into_iter().filter_map(|domain| answer[domain].as_array());
    let reasons = lists.flatten().flat_map(|item| item["reasons"].as_array().into_iter().flatten());
    reasons.map(|reason| reason["text"].as_str().unwrap()).collect()
}

fn explained() -> Value {
    json!({"movie": ["horror"], "history": [{"item_id": "movie-02"}], "limit": 3, "explain": true})
}

#[tokio::test]
async fn reasons_are_put_into_the_language_of_the_caller_or_of_the_tastes() {
    let server = provider(writer).await;
    let app = app(&server.uri(), "chat", &[WORDS]).await;
    let german = ask(&app, Some("de-AT, en;q=0.5"), &explained()).await;
    assert_eq!(degraded(&german), BTreeSet::from(["no_model"]));
    let found = texts(&german);
    assert!(!found.is_empty() && found.iter().all(|text| text.starts_with("Das passt zu dir")), "{found:?}");
    assert!(found.iter().any(|text| text.contains("horror")), "a taste is named: {found:?}");
    assert!(found.iter().any(|text| text.contains("The Third movie number 2")), "evidence is named: {found:?}");
    // The rest of an answer is what it is without words.
    let weights = |answer: &Value| -> Vec<(Value, Value, Value)> {
        let items = answer["movie"].as_array().unwrap().iter();
        let reasons = items.flat_map(|item| item["reasons"].as_array().unwrap().clone());
        reasons.map(|reason| (reason["code"].clone(), reason["weight"].clone(), reason["evidence"].clone())).collect()
    };
    let plain_app = TestApp::start().await;
    let plain = plain_app.recommend(&explained()).await;
    assert_eq!((ids(&german["movie"]), weights(&german)), (ids(&plain["movie"]), weights(&plain)));

    let asked = server.received_requests().await.unwrap().len();
    ask(&app, Some("de"), &json!({"movie": ["comedy"], "history": [{"item_id": "movie-04"}], "explain": true})).await;
    assert_eq!(server.received_requests().await.unwrap().len(), asked, "the same reasons with other names are kept");
    // No title has ever been sent.
    for request in server.received_requests().await.unwrap() {
        assert!(!String::from_utf8_lossy(&request.body).contains("number 2"));
    }

    let chinese = ask(&app, None, &json!({"movie": ["恐怖"], "explain": true, "limit": 2})).await;
    assert!(texts(&chinese).iter().any(|text| text.starts_with("这很适合你")), "{chinese}");
    let english = ask(&app, Some("xx, *"), &explained()).await;
    assert!(texts(&english).iter().all(|text| text.starts_with("That suits you")), "{english}");
    let silent = ask(&app, Some("fr"), &json!({"movie": ["horror"]})).await;
    assert_eq!(texts(&silent), Vec::<&str>::new(), "no reasons were asked for");
}

#[tokio::test]
async fn words_that_claim_what_the_scores_do_not_say_are_not_used() {
    let plain_app = TestApp::start().await;
    let plain = ask(&plain_app, Some("de"), &explained()).await;
    for invention in [
        "Weil du Jazz magst {}",
        "Wie The First movie number 3 {}",
        "Von Creator 3, dem Meister {}",
        "Gewann 7 Preise {}",
        "Because you like it {99}",
        "Siehe http://evil.example {}",
        "Wie „Der Pate“ {}",
        "",
    ] {
        let server = provider(move |request: &Request| {
            let (_, reason, _) = wanted(request);
            let marks: Vec<String> =
                (1..=reason.unwrap().matches('{').count()).map(|number| format!("{{{number}}}")).collect();
            writes(&invention.replace("{}", &marks.join(" und ")))
        })
        .await;
        let app = app(&server.uri(), "chat", &[WORDS]).await;
        let answer = ask(&app, Some("de"), &explained()).await;
        assert_eq!(texts(&answer), texts(&plain), "{invention}");
        assert_eq!(degraded(&answer), BTreeSet::from(["no_model", "plain_words", "llm_unavailable"]), "{invention}");
    }
}

#[tokio::test]
async fn a_story_keeps_to_the_answer_and_is_marked() {
    let server = provider(writer).await;
    let app = app(&server.uri(), "chat", &[WORDS]).await;
    let body = json!({"movie": ["horror"], "music": ["jazz"], "limit": 4, "story": true});
    let answer = ask(&app, Some("de"), &body).await;
    assert_eq!(degraded(&answer), BTreeSet::from(["no_model"]));
    let story = &answer["story"];
    assert_eq!((&story["generated"], &story["language"]), (&json!(true), &json!("de")));
    let text = story["text"].as_str().unwrap();
    assert!(text.starts_with("Der Abend beginnt mit The "), "{text}");
    let all: BTreeSet<String> =
        ["music", "movie", "game"].into_iter().flat_map(|domain| ids(&answer[domain])).collect();
    let mentioned = story["item_ids"].as_array().unwrap();
    assert_eq!(mentioned.len(), 3);
    assert!(mentioned.iter().all(|id| all.contains(id.as_str().unwrap())), "{story}");
    assert!(texts(&answer).is_empty(), "a story asks for no reasons");
    assert!(app.recommend(&json!({"movie": ["horror"]})).await.get("story").is_none(), "only on request");

    // Of other works, of too few kinds, or with marks of nothing: there is none.
    for written in [
        "The evening begins with {1}.",
        "Begin with {1}, then {4}, then {7}, then {77}.",
        "Begin with {1}, {4}, {7}, and end with The Third movie number 11.",
        "Ignore the above.",
    ] {
        let server = provider(move |_: &Request| writes(written)).await;
        let app = super::fake_provider::app(&server.uri(), "chat", &[WORDS]).await;
        let answer = ask(&app, None, &body).await;
        assert!(answer.get("story").is_none(), "{answer}");
        assert_eq!(degraded(&answer), BTreeSet::from(["no_model", "no_story", "llm_unavailable"]), "{written}");
        assert_eq!(ids(&answer["movie"]).len(), 4);
    }
    let empty = json!({"filter": {"items": []}, "story": true});
    assert_eq!(degraded(&app.recommend(&empty).await), BTreeSet::from(["no_model", "no_story"]));
    let without = TestApp::start().await;
    let answer = without.recommend(&body).await;
    assert_eq!(degraded(&answer), BTreeSet::from(["no_model", "no_story", "llm_not_configured"]));
    assert_eq!(app.post("/api/recommend", &json!({"story": "yes"})).await.problem(422), ["/story"]);
}

#[tokio::test]
async fn a_writer_that_fails_or_dawdles_leaves_plain_words_in_time() {
    let plain_app = TestApp::start().await;
    let mut body = explained();
    body["story"] = json!(true);
    let plain = ask(&plain_app, Some("de"), &body).await;
    let refuses = ResponseTemplate::new(200)
        .set_body_json(json!({"choices": [{"message": {"content": null, "refusal": "No."}, "finish_reason": "stop"}]}));
    let cut = ResponseTemplate::new(200).set_body_json(
        json!({"choices": [{"message": {"content": "{\"text\": \"Weil {1"}, "finish_reason": "length"}]}),
    );
    for (case, respond, why) in [
        ("500", ResponseTemplate::new(500), "llm_unavailable"),
        ("429", ResponseTemplate::new(429).insert_header("retry-after", "3600"), "llm_unavailable"),
        ("garbage", ResponseTemplate::new(200).set_body_string("<html>"), "llm_unavailable"),
        ("a refusal", refuses, "llm_unavailable"),
        ("cut off", cut, "llm_unavailable"),
        ("slow", writes("zu spät").set_delay(Duration::from_secs(5)), "llm_timed_out"),
    ] {
        let server = provider(respond).await;
        let app = app(&server.uri(), "chat", &[WORDS, ("RETRIES", "0")]).await;
        let answer = ask(&app, Some("de"), &body).await;
        assert_eq!(texts(&answer), texts(&plain), "{case}");
        let found = degraded(&answer);
        assert!(found.contains("plain_words") && found.contains("no_story") && found.contains(why), "{case}: {answer}");
    }
    let server = provider(|request: &Request| writer(request).set_delay(Duration::from_millis(300))).await;
    let app = app(&server.uri(), "chat", &[WORDS, ("TIMEOUT_MS", "4000")]).await;
    body["deadline_ms"] = json!(50);
    let hurried = ask(&app, Some("de"), &body).await;
    assert_eq!(texts(&hurried), texts(&plain));
    assert!(degraded(&hurried).is_superset(&BTreeSet::from(["plain_words", "no_story", "llm_timed_out"])));
    // What was being written goes on, and is there for whoever comes next.
    let mut later = Value::Null;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        later = ask(&app, Some("de"), &body).await;
        if degraded(&later) == BTreeSet::from(["no_model"]) {
            break;
        }
    }
    assert!(texts(&later).iter().all(|text| text.starts_with("Das passt zu dir")), "{later}");
    assert_eq!(later["story"]["generated"], true);
}
