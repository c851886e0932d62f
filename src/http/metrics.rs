//! Numbers for Prometheus: requests, recommendations, events, and what the service stands on.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::auth::of_the_process;
use super::problem::ApiError;
use super::router::App;
use crate::domain::{Degradation, Recommendation};

/// Bounds of the latency histograms, in seconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The recorder of this process, set up once; without one (somebody else set one up), there is nothing to show.
pub fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let builder =
            PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS).ok()?;
        let handle = builder.install_recorder().ok()?;
        describe();
        Some(handle)
    });
    handle.as_ref()
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_histogram};
    describe_counter!("medley_http_requests_total", "Answers, by method, route and status.");
    describe_histogram!("medley_http_request_duration_seconds", Unit::Seconds, "From headers read to answer ready.");
    describe_histogram!("medley_recommend_duration_seconds", Unit::Seconds, "Ranking, history included, by model.");
    describe_counter!("medley_recommend_degraded_total", "Answers that had to do without something, by what.");
    describe_counter!("medley_events_total", "Events received, by outcome.");
}

/// Counts one answer.
pub fn answered(method: &'static str, route: &str, status: u16, took: Duration) {
    let route = route.to_owned();
    metrics::counter!("medley_http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("medley_http_request_duration_seconds", "method" => method, "route" => route).record(took);
}

/// Counts one recommendation.
pub fn recommended(recommendation: &Recommendation, took: Duration) {
    metrics::histogram!("medley_recommend_duration_seconds", "model" => recommendation.model.name.clone()).record(took);
    for reason in &recommendation.degraded {
        let reason = match reason {
            Degradation::NoModel => "no_model",
            Degradation::CatalogueSnapshot => "catalogue_snapshot",
            Degradation::HistoryUnavailable => "history_unavailable",
            Degradation::WatermarkNotReached => "watermark_not_reached",
            Degradation::LlmNotConfigured => "llm_not_configured",
            Degradation::LlmUnavailable => "llm_unavailable",
            Degradation::LlmTimedOut => "llm_timed_out",
            Degradation::LlmOverBudget => "llm_over_budget",
            Degradation::PlainWords => "plain_words",
            Degradation::NoStory => "no_story",
            Degradation::DeadlineExceeded => "deadline_exceeded",
        };
        metrics::counter!("medley_recommend_degraded_total", "reason" => reason).increment(1);
    }
}

/// Counts events by what became of them.
pub fn events(outcome: &'static str, count: u64) {
    metrics::counter!("medley_events_total", "outcome" => outcome).increment(count);
}

/// The numbers of this process, as Prometheus reads them. Where several tenants are served, a key of the default tenant with the scope `admin` is
/// needed; items and model are the default tenant's.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses(
        (status = 200, description = "Prometheus text", body = String, content_type = "text/plain"),
        (status = 401, description = "A key is needed"),
        (status = 403, description = "The key is of another tenant, or lacks the scope"),
    ))]
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<impl IntoResponse, ApiError> {
    of_the_process(&app, &headers)?;
    let mut text = recorder().map(PrometheusHandle::render).unwrap_or_default();
    let now = app.tenants.default_service().readiness().await;
    let version = now.model_version.unwrap_or_default().replace('\\', "").replace(['"', '\n'], "");
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# TYPE medley_catalogue_items gauge\nmedley_catalogue_items {}\n\
         # TYPE medley_store_up gauge\nmedley_store_up {}\n\
         # TYPE medley_ready gauge\nmedley_ready {}\n\
         # TYPE medley_model_info gauge\nmedley_model_info{{version=\"{version}\"}} 1\n",
        now.items,
        u8::from(now.store_answers),
        u8::from(now.ready),
    );
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}
