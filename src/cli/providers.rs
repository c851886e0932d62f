//! `medley evaluate --providers`: what the opinion of large models is worth, what it takes and what it costs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Context;
use super::train::progress;
use crate::large_model::{Provider, ProviderError, Providers, Scores, ShortList, Snapshot};
use crate::store::Store;
use crate::training::experiment::{self, ExperimentSettings, OpinionReport, Opinions, Split};

/// So many short lists are asked about at once.
const AT_ONCE: usize = 4;
/// So long a provider that fails is waited for, all its pauses together.
const PATIENCE: Duration = Duration::from_mins(5);
/// It is looked after whether it may be asked again, every so often.
const LOOK: Duration = Duration::from_millis(100);
/// A list without an opinion counts as one that the opinion leaves as it is. Of more than one in so many the weights would say how the network was, not what the opinion
/// is worth.
const ONE_IN: usize = 20;

/// Asks each provider about the hybrid's short lists, prints what came out, and keeps it in the store, from where serving takes the weights.
pub async fn compare(
    context: &Context,
    store: Option<&dyn Store>,
    split: Split,
    settings: ExperimentSettings,
    names: &[String],
) -> Result<()> {
    let providers = Providers::new(&context.config.large_model).map_err(anyhow::Error::msg)?;
    if let Some(name) = names.iter().find(|name| providers.get(name).is_none()) {
        bail!("there is no provider `{name}`; one of {}", context.config.large_model.names().join(", "));
    }
    let chosen: Vec<&Arc<Provider>> = names.iter().filter_map(|name| providers.get(name)).collect();
    let (seed, length) = (settings.training.seed, providers.short_list);
    let (fitting, bar) = progress();
    let fitted =
        tokio::task::spawn_blocking(move || experiment::short_lists(&split, &settings, length, fitting.as_ref()));
    let cases = fitted.await??;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let lists: Vec<ShortList> = cases.iter().map(|case| ShortList::new(&case.known, &case.items)).collect();
    let mut all: Vec<(String, Opinions)> = Vec::new();
    for provider in &chosen {
        all.push((provider.name.clone(), ask(provider, &lists, PATIENCE).await?));
    }
    let report = experiment::judge(&cases, &all, seed);
    let measured: Vec<(String, Snapshot)> =
        chosen.iter().map(|provider| (provider.name.clone(), provider.statistics())).collect();
    let json = as_json(&report, &measured);
    if let Some(store) = store {
        let id = Uuid::now_v7().to_string();
        store.record_evaluation(&id, &json, Timestamp::now()).await?;
    }
    if context.json { super::print_json(&json) } else { super::print(&table(&report, &measured)) }
}

/// What a provider says of each list.
///
/// # Errors
/// It has no opinion of too many, or is down for longer than `patience`.
async fn ask(provider: &Arc<Provider>, lists: &[ShortList], patience: Duration) -> Result<Opinions> {
    let (name, patience) = (&provider.name, &Mutex::new(patience));
    let question = |(at, list)| async move { (at, opinion(provider, list, patience).await) };
    let questions = lists.iter().enumerate().map(question);
    let mut answers = futures_util::stream::iter(questions).buffer_unordered(AT_ONCE).enumerate();
    let (mut opinions, mut failed) = (vec![Vec::new(); lists.len()], 0);
    while let Some((before, (at, answer))) = answers.next().await {
        match answer? {
            Ok(scores) => opinions[at] = scores.to_vec(),
            Err(error) => {
                failed += 1;
                if failed * ONE_IN > lists.len() {
                    bail!(
                        "`{name}` has no opinion of {failed} of {} short lists, which is too many to learn from (the last: {error}); nothing is stored",
                        lists.len()
                    );
                }
            }
        }
        if (before + 1).is_multiple_of(50) {
            tracing::info!(provider = name, asked = before + 1, of = lists.len(), "asking");
        }
    }
    Ok(opinions)
}

/// What a provider says of one list, or why it says nothing of it. What is wrong with the provider and not with the list is waited for, as long as there is `patience`.
///
/// # Errors
/// The patience is at its end.
async fn opinion(
    provider: &Arc<Provider>,
    list: &ShortList,
    patience: &Mutex<Duration>,
) -> Result<Result<Arc<Scores>, ProviderError>> {
    loop {
        let error = match provider.score(list, Duration::MAX).await {
            Err(error @ (ProviderError::Resting | ProviderError::Later(_))) => error,
            // Others have failed with it in a row.
            Err(error) if provider.is_resting() && error != ProviderError::OverBudget => error,
            scores => return Ok(scores),
        };
        let name = &provider.name;
        if let ProviderError::Later(pause) = error
            && pause > *patience.lock().await
        {
            bail!("`{name}` cannot be asked to the end: {error}; nothing is stored");
        }
        while provider.is_resting() {
            // One waits at a time: so the pauses add up to the time that goes by.
            let mut left = patience.lock().await;
            if left.is_zero() {
                bail!(
                    "`{name}` cannot be asked to the end, and was waited for long enough: {error}; nothing is stored"
                );
            }
            tokio::time::sleep(LOOK).await;
            *left = left.saturating_sub(LOOK);
        }
    }
}

fn cost_of_thousand(report: &OpinionReport, numbers: &Snapshot) -> f64 {
    numbers.cost * 1_000.0 / report.cases.max(1) as f64
}

fn as_json(report: &OpinionReport, measured: &[(String, Snapshot)]) -> Value {
    let providers: Vec<Value> = measured
        .iter()
        .map(|(name, numbers)| {
            json!({
                "name": name, "requests": numbers.requests, "failures": numbers.failures,
                "p50_ms": numbers.p50_ms, "p95_ms": numbers.p95_ms,
                "input_tokens": numbers.usage.input_tokens, "output_tokens": numbers.usage.output_tokens,
                "cost_of_1000_lists": cost_of_thousand(report, numbers),
            })
        })
        .collect();
    json!({
        "kind": "providers", "cases": report.cases, "ranker": report.ranker, "rows": report.rows,
        "fusion": report.fusion, "providers": providers,
    })
}

fn table(report: &OpinionReport, measured: &[(String, Snapshot)]) -> String {
    let mut out = format!("{} short lists; nDCG of the ranker's order {:.4}\n\n", report.cases, report.ranker.mean);
    let _ = writeln!(out, "{:<44} {:>8} {:>28}", "order", "nDCG", "difference [95 %]");
    for row in &report.rows {
        let d = row.difference;
        let _ =
            writeln!(out, "{:<44} {:>8.4} {:>+10.4} [{:+.4}, {:+.4}]", row.name, row.ndcg.mean, d.mean, d.low, d.high);
        for (slice, of) in &row.slices {
            let name = serde_json::to_value(slice).ok().and_then(|name| name.as_str().map(str::to_owned));
            let name = format!("  {} ({} cases), weight {}", name.unwrap_or_default(), of.cases, of.weight);
            let d = of.difference;
            let _ = writeln!(out, "{name:<44} {:>8} {:>+10.4} [{:+.4}, {:+.4}]", "", d.mean, d.low, d.high);
        }
    }
    let _ = writeln!(
        out,
        "\n{:<20} {:>9} {:>9} {:>9} {:>9} {:>18}",
        "provider", "requests", "failures", "p50 ms", "p95 ms", "cost of 1000 lists"
    );
    for (name, numbers) in measured {
        let _ = writeln!(
            out,
            "{name:<20} {:>9} {:>9} {:>9.1} {:>9.1} {:>18.4}",
            numbers.requests,
            numbers.failures,
            numbers.p50_ms.unwrap_or_default(),
            numbers.p95_ms.unwrap_or_default(),
            cost_of_thousand(report, numbers)
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use wiremock::{Mock, MockServer, Request, ResponseTemplate};

    use super::*;
    use crate::config::{Config, Overrides};

    /// Asks about lists for the people 0, 1, 2, ... a re-ranker that answers as `answer` says to the person and the number of the request, from 1.
    async fn asked(
        lists: usize,
        patience: Duration,
        answer: impl Fn(usize, usize) -> ResponseTemplate + Send + Sync + 'static,
    ) -> Result<Opinions> {
        let server = MockServer::start().await;
        let requests = AtomicUsize::new(0);
        let respond = move |request: &Request| {
            let person = request.body_json::<Value>().unwrap()["query"].as_str().unwrap().parse().unwrap();
            answer(person, requests.fetch_add(1, Ordering::Relaxed) + 1)
        };
        Mock::given(wiremock::matchers::any()).respond_with(respond).mount(&server).await;
        let url = server.uri();
        let settings = [
            ("KIND", "rerank"),
            ("BASE_URL", url.as_str()),
            ("MODEL", "m"),
            ("ALLOW_PRIVATE", "true"),
            ("CALIBRATE", "false"),
            ("RETRIES", "0"),
            ("TIMEOUT_MS", "20000"),
        ];
        let settings =
            settings.map(|(key, value)| (format!("MEDLEY_LARGE_MODEL__PROVIDERS__P__{key}"), value.to_owned()));
        let config = Config::load(&Overrides::default(), settings).unwrap();
        let providers = Providers::new(&config.large_model).unwrap();
        let list = |person: usize| ShortList { person: person.to_string(), candidates: vec!["a".into(), "b".into()] };
        let lists: Vec<ShortList> = (0..lists).map(list).collect();
        ask(providers.get("p").unwrap(), &lists, patience).await
    }

    /// What the re-ranker thinks of both candidates.
    fn score(person: usize) -> f32 {
        person as f32 / 1_000.0
    }

    fn scores(person: usize) -> ResponseTemplate {
        let rows = [0, 1].map(|index| json!({"index": index, "relevance_score": score(person)}));
        ResponseTemplate::new(200).set_body_json(json!({"results": rows}))
    }

    #[tokio::test]
    async fn a_hiccup_is_waited_out_and_each_list_keeps_its_own_opinion() {
        // Before the first that succeeds could be sent, five have failed.
        let answer = |person, request| if request <= 8 { ResponseTemplate::new(503) } else { scores(person) };
        let opinions = asked(200, PATIENCE, answer).await.unwrap();
        // Those that were under way before the breaker opened.
        assert!(opinions.iter().filter(|opinion| opinion.is_empty()).count() <= AT_ONCE, "{opinions:?}");
        for (person, opinion) in opinions.iter().enumerate().filter(|(_, opinion)| !opinion.is_empty()) {
            assert_eq!(opinion[..], [Some(score(person)); 2]);
        }
    }

    #[tokio::test]
    async fn one_that_stays_away_is_given_up() {
        let started = Instant::now();
        let down = asked(1_000, LOOK * 3, |_, _| ResponseTemplate::new(503)).await.unwrap_err().to_string();
        assert!(down.contains("waited for long enough") && down.contains("nothing is stored"), "{down}");
        let busy = |_, _| ResponseTemplate::new(429).insert_header("retry-after", "3600");
        let busy = asked(1_000, PATIENCE, busy).await.unwrap_err().to_string();
        assert!(busy.contains("cannot be asked to the end: it asks to be left alone for 3600 s"), "{busy}");
        assert!(started.elapsed() < PATIENCE / 5);
    }

    #[tokio::test]
    async fn of_few_lists_an_opinion_may_be_missing() {
        let every = |nth: usize| {
            move |person: usize, _| if person.is_multiple_of(nth) { ResponseTemplate::new(422) } else { scores(person) }
        };
        let opinions = asked(100, PATIENCE, every(20)).await.unwrap();
        assert_eq!(opinions.iter().filter(|opinion| opinion.is_empty()).count(), 5);
        let error = asked(100, PATIENCE, every(10)).await.unwrap_err().to_string();
        assert!(error.contains("no opinion of 6 of 100 short lists") && error.contains("422"), "{error}");
    }
}
