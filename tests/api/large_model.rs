//! Large models at the output: what they may do to a list, and that nothing they do harms an answer. The provider is a faulty fake on loopback.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::app::{TestApp, ids};
use crate::fake_provider::{Question, Rater, app, degraded, provider, says, says_yes};

fn question(rerank: &str) -> Value {
    json!({"movie": ["horror"], "domains": ["movie"], "limit": 4, "diversity": 0.0, "rerank": rerank, "explain": true})
}

#[tokio::test]
async fn it_re_orders_the_head_says_so_and_adds_nothing() {
    let server = provider(Rater(|work: &str| if work.contains("number 10") { 10 } else { 1 })).await;
    let app = app(&server.uri(), "chat", &[("SCORING", "json"), ("PRICE_OF_INPUT", "2.0")]).await;
    let mut wide = question("none");
    wide["limit"] = json!(20);
    let all: BTreeSet<String> = ids(&app.recommend(&wide).await["movie"]).into_iter().collect();
    let plain = app.recommend(&question("none")).await;
    assert_ne!(ids(&plain["movie"])[0], "movie-10");
    let answer = app.recommend(&question("llm")).await;
    assert_eq!(degraded(&answer), BTreeSet::from(["no_model"]));
    let list = ids(&answer["movie"]);
    assert_eq!((list.len(), list[0].as_str()), (4, "movie-10"));
    assert!(list.iter().all(|id| all.contains(id)));
    let scores: Vec<f64> = answer["movie"].as_array().unwrap().iter().map(|i| i["score"].as_f64().unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
    let reasons = answer["movie"][0]["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason["code"] == "large_model"), "{reasons:?}");
    assert_eq!(app.recommend(&question("p")).await["movie"], answer["movie"], "by name, and from the cache");

    let listed = app.get("/api/providers").await.expect(200);
    let entry = &listed["data"][1];
    assert_eq!((&entry["name"], &entry["default"], &entry["healthy"]), (&json!("p"), &json!(true), &json!(true)));
    assert_eq!((&entry["requests"], &entry["input_tokens"]), (&json!(2), &json!(2000)), "also for a stranger");
    assert!((entry["cost"].as_f64().unwrap() - 0.004).abs() < 1e-9, "{entry}");
    assert!(entry["p95_ms"].as_f64().unwrap() > 0.0);
    let pointers = app.post("/api/recommend", &json!({"rerank": "q"})).await.problem(422);
    assert_eq!(pointers, ["/rerank"]);
}

#[tokio::test]
async fn log_probabilities_are_used_where_there_are_any_and_ratings_where_not() {
    let by_logprobs = |request: &Request| {
        let question = Question::of(request);
        match question.wants_logprobs {
            true if question.is_of_a_stranger() => says_yes(0.5),
            true => says_yes(if question.works[0].contains("number 10") { 0.9 } else { 0.2 }),
            false => says("nothing"),
        }
    };
    let server = provider(by_logprobs).await;
    let app_of = app(&server.uri(), "chat", &[]).await;
    assert_eq!(ids(&app_of.recommend(&question("llm")).await["movie"])[0], "movie-10");

    let server = provider(Rater(|work: &str| if work.contains("number 10") { 10 } else { 1 })).await;
    let app_of = app(&server.uri(), "chat", &[]).await;
    assert_eq!(ids(&app_of.recommend(&question("llm")).await["movie"])[0], "movie-10");
    let asked = server.received_requests().await.unwrap().len();
    assert_eq!(asked, 4, "one to find out that there are none, one for the ratings; and the same for a stranger");
}

#[tokio::test]
async fn rerankers_and_embedders_are_providers_too() {
    let server = MockServer::start().await;
    let rerank = |request: &Request| {
        let body: Value = request.body_json().unwrap();
        let documents = body["documents"].as_array().unwrap();
        if documents.len() > 5 {
            return ResponseTemplate::new(400);
        }
        let is_known = body["query"].as_str().unwrap().contains("horror");
        let score = |text: &Value| if is_known && text.as_str().unwrap().contains("number 10") { 4.2 } else { -3.0 };
        let mut results: Vec<Value> = documents
            .iter()
            .enumerate()
            .map(|(index, text)| json!({"index": index, "relevance_score": score(text)}))
            .collect();
        // Of no document, and one of a document that was named before.
        results.extend([json!({"index": 999, "relevance_score": 9.0}), json!({"index": 0, "relevance_score": 9.0})]);
        ResponseTemplate::new(200).set_body_json(json!({"results": results}))
    };
    Mock::given(path("/v1/rerank")).respond_with(rerank).mount(&server).await;
    // Too many texts at once are refused; vectors come in any order.
    let embed = |request: &Request| {
        let body: Value = request.body_json().unwrap();
        let texts = body["input"].as_array().unwrap();
        if texts.len() > 5 {
            return ResponseTemplate::new(413);
        }
        let vector =
            |text: &str| if text.contains("number 10") || text.contains("Wants") { [1.0, 0.1] } else { [0.1, 1.0] };
        let rows = texts.iter().enumerate().rev();
        let rows = rows.map(|(index, text)| json!({"index": index, "embedding": vector(text.as_str().unwrap())}));
        ResponseTemplate::new(200).set_body_json(json!({"data": rows.collect::<Vec<_>>()}))
    };
    Mock::given(path("/v1/embeddings")).respond_with(embed).mount(&server).await;
    for kind in ["rerank", "embeddings"] {
        let app = app(&server.uri(), kind, &[]).await;
        let answer = app.recommend(&question("llm")).await;
        assert_eq!(ids(&answer["movie"])[0], "movie-10", "{kind}: {answer}");
        assert_eq!(degraded(&answer), BTreeSet::from(["no_model"]), "{kind}");
    }
}

#[tokio::test]
async fn what_an_evaluation_measured_decides_whether_it_is_asked() {
    let server = provider(Rater(|work: &str| if work.contains("number 10") { 10 } else { 1 })).await;
    let app = app(&server.uri(), "chat", &[("SCORING", "json")]).await;
    let plain = app.recommend(&question("none")).await;
    for (id, weight, asked) in [("e1", 0.0, 0), ("e2", 1.0, 1)] {
        let report = json!({"fusion": {"p": {"elsewhere": weight}, "another": {"elsewhere": 0.5}}});
        app.store.record_evaluation(id, &report, jiff::Timestamp::now()).await.unwrap();
        // Services look at the store every 20 milliseconds in these tests.
        let mut answer = Value::Null;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer = app.recommend(&question("llm")).await;
            if (ids(&answer["movie"])[0] == "movie-10") == (asked == 1) {
                break;
            }
        }
        assert_eq!(degraded(&answer), BTreeSet::from(["no_model"]));
        if asked == 0 {
            assert_eq!(answer["movie"], plain["movie"], "a weight of 0 leaves the list as it is");
        } else {
            assert_eq!(ids(&answer["movie"])[0], "movie-10");
        }
        let listed = app.get("/api/evaluations").await.expect(200);
        assert_eq!(listed["data"][0]["id"], id);
        assert_eq!(app.get(&format!("/api/evaluations/{id}")).await.expect(200)["report"], report);
    }
}

#[tokio::test]
async fn the_table_in_the_process_needs_no_network_and_no_settings() {
    let app = TestApp::start().await;
    let mut question = question("embedded-static");
    question["query"] = json!("comedy");
    let answer = app.recommend(&question).await;
    assert_eq!(degraded(&answer), BTreeSet::from(["no_model"]), "{answer}");
    let has = |item: &Value| item["reasons"].as_array().unwrap().iter().any(|reason| reason["code"] == "large_model");
    assert!(answer["movie"].as_array().unwrap().iter().any(has), "{answer}");
    let listed = app.get("/api/providers").await.expect(200);
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["data"][0]["name"]), (1, &json!("embedded-static")));
}

#[tokio::test]
async fn whatever_it_does_there_is_an_answer_and_it_says_why() {
    let text = |body: &str| ResponseTemplate::new(200).set_body_raw(body.as_bytes().to_vec(), "application/json");
    let cases: Vec<(&str, ResponseTemplate, &str)> = vec![
        ("500", ResponseTemplate::new(500), "llm_unavailable"),
        ("429", ResponseTemplate::new(429).insert_header("retry-after", "3600"), "llm_unavailable"),
        ("401", ResponseTemplate::new(401), "llm_unavailable"),
        ("redirect", ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"), "llm_unavailable"),
        ("not JSON", text("<html>"), "llm_unavailable"),
        ("no choices", text(r#"{"choices": []}"#), "llm_unavailable"),
        ("NaN", text(r#"{"choices": [{"message": {"content": NaN}}]}"#), "llm_unavailable"),
        ("a refusal", says("I am sorry, I cannot help with that."), "llm_unavailable"),
        (
            "ids of others",
            says(r#"{"scores": [{"number": 77, "score": 9}, {"number": -1, "score": 9}]}"#),
            "llm_unavailable",
        ),
        (
            "a refusal of its own field",
            ResponseTemplate::new(200).set_body_json(
                json!({"choices": [{"message": {"content": null, "refusal": "No."}, "finish_reason": "stop"}]}),
            ),
            "llm_unavailable",
        ),
        (
            "a filter",
            ResponseTemplate::new(200).set_body_json(
                json!({"choices": [{"message": {"content": "{\"scores\": ["}, "finish_reason": "content_filter"}]}),
            ),
            "llm_unavailable",
        ),
        ("NaN in the text", says(r#"{"scores": [{"number": 1, "score": NaN}]}"#), "llm_unavailable"),
        ("slow", says("{}").set_delay(Duration::from_secs(5)), "llm_timed_out"),
    ];
    for (case, respond, expected) in cases {
        let server = provider(respond).await;
        let app = app(&server.uri(), "chat", &[("SCORING", "json"), ("RETRIES", "1")]).await;
        let plain = app.recommend(&question("none")).await;
        let answer = app.recommend(&question("llm")).await;
        assert_eq!(answer["movie"], plain["movie"], "{case}");
        assert_eq!(degraded(&answer), BTreeSet::from(["no_model", expected]), "{case}");
    }
    // Nobody is there.
    let app_of = app("http://127.0.0.1:1", "chat", &[]).await;
    for _ in 0..6 {
        assert!(degraded(&app_of.recommend(&question("llm")).await).contains("llm_unavailable"));
    }
    let listed = app_of.get("/api/providers").await.expect(200);
    assert_eq!(listed["data"][1]["circuit"], "open", "after failures in a row it is left alone");
    let before = listed["data"][1]["requests"].clone();
    app_of.recommend(&question("llm")).await;
    assert_eq!(app_of.get("/api/providers").await.expect(200)["data"][1]["requests"], before);
}

#[tokio::test]
async fn a_deadline_holds_and_a_budget_ends_the_spending() {
    let server = provider(says("{}").set_delay(Duration::from_secs(5))).await;
    let app_of = app(&server.uri(), "chat", &[("TIMEOUT_MS", "4000")]).await;
    let mut hurried = question("llm");
    hurried["deadline_ms"] = json!(50);
    let answer = app_of.recommend(&hurried).await;
    assert!(degraded(&answer).contains("llm_timed_out"), "{answer}");
    assert!(answer["timing_ms"]["total"].as_f64().unwrap() < 1_000.0, "the fake takes five seconds");

    let server = provider(Rater(|_: &str| 5)).await;
    let more = [("SCORING", "json"), ("PRICE_OF_INPUT", "1000000"), ("BUDGET_PER_DAY", "1500"), ("CALIBRATE", "false")];
    let app_of = app(&server.uri(), "chat", &more).await;
    for (taste, over) in [("horror", false), ("comedy", false), ("thriller", true), ("western", true)] {
        let answer = app_of
            .recommend(&json!({"query": taste, "movie": ["horror", "comedy"], "domains": ["movie"], "rerank": "p"}))
            .await;
        assert_eq!(degraded(&answer).contains("llm_over_budget"), over, "{taste}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 2);
}

/// Likes number 10, and answers the first `failing` questions with this.
fn failing_first(failing: usize, with: ResponseTemplate) -> impl wiremock::Respond + 'static {
    let (asked, rater) = (AtomicUsize::new(0), Rater(|work: &str| if work.contains("number 10") { 10 } else { 1 }));
    move |request: &Request| match asked.fetch_add(1, Ordering::SeqCst) {
        number if number < failing => with.clone(),
        _ => wiremock::Respond::respond(&rater, request),
    }
}

#[tokio::test]
async fn one_that_asks_for_patience_is_left_alone() {
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "3600");
    let server = provider(busy).await;
    let app = app(&server.uri(), "chat", &[("SCORING", "json"), ("CALIBRATE", "false")]).await;
    for taste in ["horror", "comedy", "strange", "other"] {
        let answer =
            app.recommend(&json!({"query": taste, "movie": ["horror"], "domains": ["movie"], "rerank": "p"})).await;
        assert!(degraded(&answer).contains("llm_unavailable"), "{answer}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 1, "an hour is not over");
    assert_eq!(app.get("/api/providers").await.expect(200)["data"][1]["circuit"], "open");
}

#[tokio::test]
async fn nobody_waits_for_one_on_trial_and_it_is_back_when_it_answers() {
    let slow = ResponseTemplate::new(500).set_delay(Duration::from_millis(300));
    let server = provider(failing_first(6, slow)).await;
    let more = [("SCORING", "json"), ("CALIBRATE", "false"), ("RETRIES", "0"), ("TIMEOUT_MS", "2000")];
    let app = app(&server.uri(), "chat", &more).await;
    let plain = app.recommend(&question("none")).await;
    for _ in 0..5 {
        app.recommend(&question("llm")).await;
    }
    let count = async || server.received_requests().await.unwrap().len();
    assert_eq!(count().await, 5);
    for (so_far, after) in [(6, "it fails once more"), (7, "it answers")] {
        // The pause of the breaker, a second and then two.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let answer = app.recommend(&question("llm")).await;
        assert!(degraded(&answer).contains("llm_unavailable"), "{after}: nobody waits: {answer}");
        assert_eq!(answer["movie"], plain["movie"], "{after}");
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if count().await == so_far {
                break;
            }
        }
        assert_eq!(count().await, so_far, "{after}: it was asked aside");
        // The fake takes a while to fail.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let answer = app.recommend(&question("llm")).await;
    assert_eq!(degraded(&answer), BTreeSet::from(["no_model"]), "it is back");
    assert_eq!(answer["movie"][0]["item_id"], "movie-10", "with the answer that it gave on trial");
    assert_eq!(count().await, 7);
}

#[tokio::test]
async fn lists_that_are_too_long_are_cut_in_two_and_answers_that_are_cut_off_are_read_as_far_as_they_go() {
    let rater = Rater(|work: &str| if work.contains("number 10") { 10 } else { 1 });
    let server = provider(move |request: &Request| match Question::of(request).works.len() {
        0..=4 => wiremock::Respond::respond(&rater, request),
        _ => ResponseTemplate::new(413),
    })
    .await;
    let app_of = app(&server.uri(), "chat", &[("SCORING", "json")]).await;
    let answer = app_of.recommend(&question("llm")).await;
    assert_eq!((degraded(&answer), &answer["movie"][0]["item_id"]), (BTreeSet::from(["no_model"]), &json!("movie-10")));

    let server = provider(|request: &Request| {
        let question = Question::of(request);
        let number = question.works.iter().position(|work| work.contains("number 10")).unwrap() + 1;
        let rating = if question.is_of_a_stranger() { 5 } else { 10 };
        let text =
            format!(r#"{{"scores": [{{"number": {number}, "score": {rating}}}, {{"number": {}, "sc"#, number % 12 + 1);
        ResponseTemplate::new(200)
            .set_body_json(json!({"choices": [{"message": {"content": text}, "finish_reason": "length"}]}))
    })
    .await;
    let app_of = app(&server.uri(), "chat", &[("SCORING", "json")]).await;
    let answer = app_of.recommend(&question("llm")).await;
    assert_eq!(degraded(&answer), BTreeSet::from(["no_model"]), "{answer}");
}

#[tokio::test]
async fn vectors_of_two_models_never_meet() {
    let server = MockServer::start().await;
    let length = std::sync::Arc::new(AtomicUsize::new(2));
    let current = std::sync::Arc::clone(&length);
    let embed = move |request: &Request| {
        let body: Value = request.body_json().unwrap();
        let vector = vec![1.0; current.load(Ordering::SeqCst)];
        let rows = body["input"].as_array().unwrap().iter().enumerate();
        let rows: Vec<Value> = rows.map(|(index, _)| json!({"index": index, "embedding": vector})).collect();
        ResponseTemplate::new(200).set_body_json(json!({"data": rows}))
    };
    Mock::given(path("/v1/embeddings")).respond_with(embed).mount(&server).await;
    let app = app(&server.uri(), "embeddings", &[]).await;
    let ask = async |taste: &str| {
        app.recommend(&json!({"query": taste, "movie": ["horror"], "domains": ["movie"], "rerank": "p"})).await
    };
    assert_eq!(degraded(&ask("one").await), BTreeSet::from(["no_model"]));
    length.store(3, Ordering::SeqCst);
    assert!(degraded(&ask("two").await).contains("llm_unavailable"), "the vectors that were kept have two numbers");
    assert_eq!(degraded(&ask("three").await), BTreeSet::from(["no_model"]), "and are forgotten");
}
