//! One HTTP client a provider: bounded concurrency, retries of what may pass, a budget, and measurements. Redirects are not followed: a provider is where the
//! operator said it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::RngExt as _;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::breaker::Breaker;

use super::ProviderError;
use super::addresses::PublicOnly;
use super::settings::ProviderSettings;
use super::statistics::{Statistics, Usage};

/// The longest answer that is read, in bytes.
const MOST: usize = 8 << 20;
/// The first pause before a retry; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(50);
/// No provider is believed to ask for a longer wait.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

pub(super) struct Client {
    http: reqwest::Client,
    pub settings: ProviderSettings,
    permits: Semaphore,
    pub statistics: Statistics,
    /// While it is open nothing is tried again for a recommendation.
    breaker: Arc<Breaker>,
}

/// The tokens of an answer, as OpenAI and its likes report them.
#[derive(Debug, Default, Deserialize)]
struct Reported {
    usage: Option<ReportedUsage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReportedUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl ReportedUsage {
    fn usage(&self) -> Usage {
        // Embedders report a total only, or none but the input.
        let input = if self.prompt_tokens > 0 { self.prompt_tokens } else { self.total_tokens };
        Usage { input_tokens: input, output_tokens: self.completion_tokens }
    }
}

impl Client {
    pub fn new(settings: ProviderSettings, breaker: Arc<Breaker>) -> Result<Self, String> {
        // Of the two that rustls knows, one serves the whole process; a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.timeout())
            .timeout(settings.timeout());
        if !settings.allow_private {
            // A proxy would resolve the name by itself, unchecked.
            http = http.dns_resolver(PublicOnly).no_proxy();
        }
        let http = http.build().map_err(|error| error.to_string())?;
        let permits = Semaphore::new(settings.max_concurrency);
        Ok(Self { http, settings, permits, statistics: Statistics::default(), breaker })
    }

    /// Posts JSON and reads JSON, trying again what may pass as long as there is time and the breaker is closed.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        until: Instant,
    ) -> Result<T, ProviderError> {
        self.post_while(path, body, until, || !self.breaker.has_opened()).await
    }

    /// The same whatever the breaker, which is there for those who are served meanwhile: a training asks seldom, and loses much by giving up.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn insist<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        until: Instant,
    ) -> Result<T, ProviderError> {
        self.post_while(path, body, until, || true).await
    }

    async fn post_while<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        until: Instant,
        retries: impl Fn() -> bool,
    ) -> Result<T, ProviderError> {
        let mut tried = 0;
        loop {
            let (error, wait) = match self.post_once(path, body, until).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let pause = wait.unwrap_or_else(|| PAUSE * 2u32.pow(tried.min(8)));
            let pause = pause.mul_f64(1.0 + 0.5 * rand::rng().random::<f64>());
            let is_too_late = Instant::now() + pause >= until;
            if let Some(wait) = wait.filter(|_| may_pass(&error) && is_too_late) {
                return Err(ProviderError::Later(wait));
            }
            if tried >= self.settings.retries || !may_pass(&error) || is_too_late || !retries() {
                return Err(error);
            }
            tried += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// One try; with an error, how long the provider asks to wait.
    async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        until: Instant,
    ) -> Result<T, (ProviderError, Option<Duration>)> {
        let closed = |_| (ProviderError::Unusable("the service is stopping".into()), None);
        let _permit = self.permits.acquire().await.map_err(closed)?;
        let budget = self.settings.budget_per_day;
        if budget > 0.0 && self.statistics.cost_today(today()) >= budget {
            return Err((ProviderError::OverBudget, None));
        }
        let body = body.to_string();
        let running = Running { client: self, started: Instant::now(), input_tokens: tokens(&body) };
        let bytes = match self.exchange(path, body, until).await {
            Ok(bytes) => bytes,
            // It may have been read, and even answered: it counts as if it had.
            Err(failure @ (ProviderError::TimedOut, _)) => return Err(failure),
            Err(failure) => {
                running.refused();
                return Err(failure);
            }
        };
        let reported = serde_json::from_slice::<Reported>(&bytes).ok().and_then(|reported| reported.usage);
        running.answered(reported.map(|usage| usage.usage()));
        serde_json::from_slice(&bytes).map_err(|error| (ProviderError::Unusable(error.to_string()), None))
    }

    async fn exchange(
        &self,
        path: &str,
        body: String,
        until: Instant,
    ) -> Result<Vec<u8>, (ProviderError, Option<Duration>)> {
        let failed = |error: reqwest::Error| {
            if error.is_timeout() {
                return (ProviderError::TimedOut, None);
            }
            // The address may hold a secret.
            let mut detail = String::from("it cannot be reached");
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                detail = format!("it cannot be reached: {inner}");
                source = inner.source();
            }
            (ProviderError::Failed { status: None, detail }, None)
        };
        let url = format!("{}{path}", self.settings.base_url.trim_end_matches('/'));
        // A training has more patience than a recommendation: what is left of it, not the client's own timeout, is what counts.
        let left = until.saturating_duration_since(Instant::now());
        let mut request = self.http.post(url).timeout(left).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(key) = self.settings.api_key() {
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut value =
                value.map_err(|_| (ProviderError::Unusable("its key is not a header value".into()), None))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            let wait = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
            let detail = format!("it answered {status}");
            return Err((ProviderError::Failed { status: Some(status.as_u16()), detail }, wait));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > MOST {
                return Err((ProviderError::Unusable(format!("more than {MOST} bytes")), None));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// A request under way. One that is dropped without an end was cut off, and counts as a failure that was paid for.
struct Running<'a> {
    client: &'a Client,
    started: Instant,
    /// By estimate.
    input_tokens: u64,
}

impl Running<'_> {
    /// It was answered, and took so much; where that is not said, an estimate counts.
    fn answered(self, usage: Option<Usage>) {
        self.over(false, Some(usage.unwrap_or(Usage { input_tokens: self.input_tokens, output_tokens: 0 })));
        std::mem::forget(self);
    }

    /// It was refused, or never arrived, and costs nothing.
    fn refused(self) {
        self.over(true, None);
        std::mem::forget(self);
    }

    fn over(&self, failed: bool, usage: Option<Usage>) {
        let Client { settings, statistics, .. } = self.client;
        statistics.record(self.started.elapsed(), failed);
        if let Some(usage) = usage {
            let cost = usage.input_tokens as f64 * settings.price_of_input
                + usage.output_tokens as f64 * settings.price_of_output;
            statistics.spend(usage, cost / 1e6, today());
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.over(true, Some(Usage { input_tokens: self.input_tokens, output_tokens: 0 }));
    }
}

/// Days since 1970.
fn today() -> i64 {
    Timestamp::now().as_second() / 86_400
}

/// About how many tokens a text has: one for four letters of ASCII, one for each other character.
pub(super) fn tokens(text: &str) -> u64 {
    let (ascii, other) = text.chars().fold((0, 0), |(ascii, other), c| match c.is_ascii() {
        true => (ascii + 1, other),
        false => (ascii, other + 1),
    });
    u64::div_ceil(ascii, 4) + other
}

/// Seconds, or a moment (RFC 9110, section 10.2.3); a day at most, as no clock goes as far as a provider may name.
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let moment = jiff::fmt::rfc2822::parse(&value.trim().replace("GMT", "+0000")).ok()?.timestamp();
    Some(Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO).min(LONGEST_WAIT))
}

/// Whether the same request may succeed a little later.
fn may_pass(error: &ProviderError) -> bool {
    match error {
        ProviderError::Failed { status: Some(status), .. } => {
            let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
            *status >= 500 || passing.iter().any(|passing| passing.as_u16() == *status)
        }
        ProviderError::Failed { status: None, .. } => true,
        ProviderError::TimedOut
        | ProviderError::OverBudget
        | ProviderError::Resting
        | ProviderError::Later(_)
        | ProviderError::Unusable(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client gets from a name that resolves to loopback, where a server answers. Nothing checks the settings here, as if the name
    /// had come to point there after they were read.
    async fn ask(allow_private: bool) -> (Result<Value, ProviderError>, usize) {
        let server = wiremock::MockServer::start().await;
        let answer = wiremock::ResponseTemplate::new(200).set_body_json(true);
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
        let port = server.address().port();
        let settings = format!(
            "kind = 'chat'\nbase_url = 'http://localhost:{port}'\nmodel = 'm'\nretries = 0\nallow_private = {allow_private}"
        );
        let client = Client::new(toml::from_str(&settings).unwrap(), Arc::default()).unwrap();
        let answer = client.post("/", &Value::Null, Instant::now() + Duration::from_secs(5)).await;
        (answer, server.received_requests().await.unwrap().len())
    }

    #[test]
    fn a_pause_is_given_in_seconds_or_by_a_moment() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        let moment = Timestamp::now() + jiff::SignedDuration::from_secs(90);
        let wait = retry_after(&moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).unwrap();
        assert!((85..=91).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
        for absurd in ["18446744073709551615", "Thu, 01 Jan 9998 00:00:00 GMT"] {
            assert_eq!(retry_after(absurd), Some(LONGEST_WAIT), "{absurd}");
        }
        assert_eq!(tokens("four four 雨夜"), 5);
    }

    /// Asks a server that answers this way, with three retries at most; gives what came, how many requests there were, and what they cost.
    async fn against(
        answer: wiremock::ResponseTemplate,
        patience: Duration,
    ) -> (Result<Value, ProviderError>, usize, f64) {
        let server = wiremock::MockServer::start().await;
        wiremock::Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
        let settings = format!(
            "kind = 'chat'\nbase_url = '{}'\nmodel = 'm'\nretries = 3\nallow_private = true\nprice_of_input = 1000000\ntimeout_ms = 300",
            server.uri()
        );
        let client = Client::new(toml::from_str(&settings).unwrap(), Arc::default()).unwrap();
        let until = Instant::now() + patience;
        let question = Value::from("four");
        let asking = client.post("/", &question, until);
        let answer = tokio::time::timeout(patience, asking).await.unwrap_or(Err(ProviderError::TimedOut));
        (answer, server.received_requests().await.unwrap().len(), client.statistics.snapshot().cost)
    }

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again_and_only_what_was_taken_on_costs() {
        let patience = Duration::from_secs(5);
        for (status, tries) in
            [(400, 1), (401, 1), (403, 1), (404, 1), (422, 1), (408, 4), (409, 4), (429, 4), (500, 4), (503, 4)]
        {
            let (answer, asked, cost) = against(wiremock::ResponseTemplate::new(status), patience).await;
            assert!(matches!(answer, Err(ProviderError::Failed { status: Some(given), .. }) if given == status));
            assert_eq!((asked, cost), (tries, 0.0), "{status}");
        }
        let busy = wiremock::ResponseTemplate::new(429).insert_header("retry-after", "3600");
        let (answer, asked, _) = against(busy, patience).await;
        assert_eq!((answer, asked), (Err(ProviderError::Later(Duration::from_secs(3600))), 1));
        let absurd = wiremock::ResponseTemplate::new(429).insert_header("retry-after", u64::MAX.to_string());
        assert_eq!(against(absurd, patience).await.0, Err(ProviderError::Later(LONGEST_WAIT)));
        // `"four"` with its quotes: two tokens.
        let answered = wiremock::ResponseTemplate::new(200).set_body_json(true);
        assert_eq!(against(answered.clone(), patience).await, (Ok(Value::Bool(true)), 1, 2.0));
        let usage = serde_json::json!({"usage": {"prompt_tokens": 7}});
        let reports = wiremock::ResponseTemplate::new(200).set_body_json(&usage);
        assert_eq!(against(reports, patience).await, (Ok(usage), 1, 7.0));
        // It never comes: an answer as late as the patience ends would sometimes win.
        let slow = answered.set_delay(Duration::from_secs(3600));
        assert_eq!(against(slow.clone(), patience).await, (Err(ProviderError::TimedOut), 1, 2.0), "too slow");
        let (answer, _, cost) = against(slow, Duration::from_millis(100)).await;
        assert_eq!((answer, cost), (Err(ProviderError::TimedOut), 2.0), "cut off");
    }

    #[tokio::test]
    async fn while_the_breaker_is_open_only_a_training_tries_again() {
        let server = wiremock::MockServer::start().await;
        wiremock::Mock::given(wiremock::matchers::any())
            .respond_with(wiremock::ResponseTemplate::new(503))
            .mount(&server)
            .await;
        let settings = format!(
            "kind = 'embeddings'\nbase_url = '{}'\nmodel = 'm'\nretries = 2\nallow_private = true",
            server.uri()
        );
        let breaker = Arc::new(Breaker::default());
        let client = Client::new(toml::from_str(&settings).unwrap(), Arc::clone(&breaker)).unwrap();
        breaker.rest(Instant::now() + Duration::from_secs(60));
        let until = Instant::now() + Duration::from_secs(10);
        let asked = async || server.received_requests().await.unwrap().len();
        assert!(client.post::<Value>("/", &Value::Null, until).await.is_err());
        assert_eq!(asked().await, 1);
        assert!(client.insist::<Value>("/", &Value::Null, until).await.is_err());
        assert_eq!(asked().await, 1 + 3);
    }

    #[tokio::test]
    async fn a_connection_goes_to_loopback_only_where_that_is_allowed() {
        assert_eq!(ask(true).await, (Ok(Value::Bool(true)), 1));
        let (answer, received) = ask(false).await;
        assert_eq!(received, 0);
        assert!(
            matches!(answer, Err(ProviderError::Failed { status: None, detail }) if detail.contains("allow_private"))
        );
    }
}
