//! Providers that are not: servers on loopback which answer as a test wants them to, and a service that asks them.

use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::app::TestApp;

/// What a question to a chat model holds: the person, and the works in the order of their numbers.
pub struct Question {
    pub person: String,
    pub works: Vec<String>,
    pub wants_logprobs: bool,
}

impl Question {
    pub fn of(request: &Request) -> Self {
        let body: Value = request.body_json().unwrap();
        let content = body["messages"][1]["content"].as_str().unwrap();
        let question: Value = serde_json::Deserializer::from_str(content).into_iter().next().unwrap().unwrap();
        let works = match &question["works"] {
            Value::Array(works) => works.iter().map(|work| work["work"].as_str().unwrap().to_owned()).collect(),
            _ => vec![question["work"].as_str().unwrap().to_owned()],
        };
        let person = question["person"].as_str().unwrap().to_owned();
        Self { person, works, wants_logprobs: body["logprobs"] == json!(true) }
    }

    /// Whether it is about nobody in particular.
    pub fn is_of_a_stranger(&self) -> bool {
        self.person == "Wants: something good for this evening\n"
    }
}

/// A chat model that says this.
pub fn says(text: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }))
}

/// A chat model that says yes with this probability.
pub fn says_yes(share: f64) -> ResponseTemplate {
    let token = |token: &str, share: f64| json!({"token": token, "logprob": share.ln()});
    ResponseTemplate::new(200).set_body_json(json!({"choices": [{
        "message": {"content": "Yes"},
        "logprobs": {"content": [{"token": "Yes", "top_logprobs": [token("Yes", share), token(" no", 1.0 - share)]}]},
    }]}))
}

/// A chat model that rates works, 0 to 10, for whoever wants something of its own; strangers hear 5.
pub struct Rater<F>(pub F);

impl<F: Fn(&str) -> u32 + Send + Sync> Respond for Rater<F> {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let question = Question::of(request);
        let rating = |work: &String| if question.is_of_a_stranger() { 5 } else { self.0(work) };
        let scores = question.works.iter().zip(1..);
        let scores = scores.map(|(work, number)| json!({"number": number, "score": rating(work)}));
        says(&json!({"scores": scores.collect::<Vec<_>>()}).to_string())
    }
}

pub async fn provider(respond: impl Respond + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST")).and(path("/v1/chat/completions")).respond_with(respond).mount(&server).await;
    server
}

/// A service whose only provider, `p`, is at `url`.
pub async fn app(url: &str, kind: &str, more: &[(&str, &str)]) -> TestApp {
    let base = format!("{url}/v1");
    let of = |key: &str| format!("MEDLEY_LARGE_MODEL__PROVIDERS__P__{key}");
    let mut settings = vec![
        (of("KIND"), kind.to_owned()),
        (of("BASE_URL"), base),
        (of("ALLOW_PRIVATE"), "true".to_owned()),
        (of("MODEL"), "fake".to_owned()),
        (of("TIMEOUT_MS"), "3000".to_owned()),
        ("MEDLEY_LARGE_MODEL__RERANK".to_owned(), "p".to_owned()),
        ("MEDLEY_LARGE_MODEL__WEIGHT".to_owned(), "0.9".to_owned()),
    ];
    let full = |key: &str| if key.starts_with("MEDLEY_") { key.to_owned() } else { of(key) };
    settings.extend(more.iter().map(|(key, value)| (full(key), (*value).to_owned())));
    TestApp::with(&settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>()).await
}

/// What an answer had to do without.
pub fn degraded(answer: &Value) -> std::collections::BTreeSet<&str> {
    answer["degraded"].as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect()
}
