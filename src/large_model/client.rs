//! One HTTP client a provider: bounded concurrency, retries of what may pass, a budget, and measurements. Redirects are not followed: a provider is where the
//! operator said it is.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::RngExt as _;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::ProviderError;
use super::addresses::PublicOnly;
use super::settings::ProviderSettings;
use super::statistics::{Statistics, Usage};

/// The longest answer that is read, in bytes.
const MOST: usize = 8 << 20;
/// The first pause before a retry; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Client {
    http: reqwest::Client,
    pub settings: ProviderSettings,
    permits: Semaphore,
    pub statistics: Statistics,
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
    pub fn new(settings: ProviderSettings) -> Result<Self, String> {
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
        Ok(Self { http, settings, permits, statistics: Statistics::default() })
    }

    /// Posts JSON and reads JSON, trying again what may pass as long as there is time.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        until: Instant,
    ) -> Result<T, ProviderError> {
        let mut tried = 0;
        loop {
            let (error, wait) = match self.post_once(path, body, until).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let pause = wait.unwrap_or_else(|| PAUSE * 2u32.pow(tried.min(8)));
            let pause = pause.mul_f64(1.0 + 0.5 * rand::rng().random::<f64>());
            if tried >= self.settings.retries || !may_pass(&error) || Instant::now() + pause >= until {
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
        let day = Timestamp::now().as_second() / 86_400;
        let budget = self.settings.budget_per_day;
        if budget > 0.0 && self.statistics.cost_today(day) >= budget {
            return Err((ProviderError::OverBudget, None));
        }
        let closed = |_| (ProviderError::Unusable("the service is stopping".into()), None);
        let _permit = self.permits.acquire().await.map_err(closed)?;
        let started = Instant::now();
        let outcome = self.exchange(path, body, until).await;
        self.statistics.record(started.elapsed(), outcome.is_err());
        let bytes = outcome?;
        let unusable = |error: serde_json::Error| (ProviderError::Unusable(error.to_string()), None);
        if let Some(usage) = serde_json::from_slice::<Reported>(&bytes).ok().and_then(|reported| reported.usage) {
            let usage = usage.usage();
            let cost = usage.input_tokens as f64 * self.settings.price_of_input
                + usage.output_tokens as f64 * self.settings.price_of_output;
            self.statistics.spend(usage, cost / 1e6, day);
        }
        serde_json::from_slice(&bytes).map_err(unusable)
    }

    async fn exchange(
        &self,
        path: &str,
        body: &Value,
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
        let mut request = self.http.post(url).timeout(left).json(body);
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
            let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            let detail = format!("it answered {status}");
            let wait = wait.map(Duration::from_secs);
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

/// Whether the same request may succeed a little later.
fn may_pass(error: &ProviderError) -> bool {
    match error {
        ProviderError::Failed { status: Some(status), .. } => {
            let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
            *status >= 500 || passing.iter().any(|passing| passing.as_u16() == *status)
        }
        ProviderError::Failed { status: None, .. } => true,
        ProviderError::TimedOut | ProviderError::OverBudget | ProviderError::Resting | ProviderError::Unusable(_) => {
            false
        }
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
        let client = Client::new(toml::from_str(&settings).unwrap()).unwrap();
        let answer = client.post("/", &Value::Null, Instant::now() + Duration::from_secs(5)).await;
        (answer, server.received_requests().await.unwrap().len())
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
