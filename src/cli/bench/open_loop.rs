//! Requests at a rate that does not wait for the answers: how a service does when more is asked of it than it can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde::Serialize;

use super::{Kind, PATIENCE, Target, ask, percentile};

/// What came of a rate. Latencies in milliseconds, from the first byte sent to the last byte read.
#[derive(Debug, Serialize)]
pub struct Outcome {
    request: &'static str,
    /// Wanted, and sent: fewer when all connections wait for answers.
    rate: u32,
    sent_per_second: f64,
    /// Right answers.
    good_per_second: f64,
    good_p50_ms: f64,
    good_p99_ms: f64,
    good_max_ms: f64,
    /// Refused with 429 or 503 and `Retry-After`.
    shed_per_second: f64,
    shed_p50_ms: f64,
    shed_p99_ms: f64,
    /// Anything else, and what was never answered.
    failed: usize,
}

enum Answer {
    Good,
    Shed,
    Failed,
}

/// Sends `rate` requests a second over all connections for `time`, each when it is due.
pub async fn run(target: &Arc<Target>, kind: &Arc<Kind>, connections: u32, rate: u32, time: Duration) -> Outcome {
    let (start, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let all = (f64::from(rate) * time.as_secs_f64()) as usize;
    let senders: Vec<_> = (0..connections)
        .map(|_| {
            let (target, kind, next) = (Arc::clone(target), Arc::clone(kind), Arc::clone(&next));
            tokio::spawn(async move {
                let (mut answers, mut connection) = (Vec::new(), None);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let due = start + Duration::from_secs_f64(number as f64 / f64::from(rate));
                    if number >= all || start.elapsed() >= time {
                        return answers;
                    }
                    tokio::time::sleep_until(due.into()).await;
                    let sent = Instant::now();
                    let asked = ask(&target, &mut connection, (kind.body)(number));
                    let answer = match tokio::time::timeout(PATIENCE, asked).await {
                        Ok(Ok((status, _))) if status == kind.status => Answer::Good,
                        Ok(Ok((StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, true))) => Answer::Shed,
                        _ => {
                            connection = None;
                            Answer::Failed
                        }
                    };
                    answers.push((answer, sent.elapsed()));
                }
            })
        })
        .collect();
    let (mut good, mut shed, mut failed) = (Vec::new(), Vec::new(), 0);
    for sender in senders {
        for (answer, took) in sender.await.unwrap_or_default() {
            match answer {
                Answer::Good => good.push(took),
                Answer::Shed => shed.push(took),
                Answer::Failed => failed += 1,
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    good.sort_unstable();
    shed.sort_unstable();
    Outcome {
        request: kind.name,
        rate,
        sent_per_second: (good.len() + shed.len() + failed) as f64 / seconds,
        good_per_second: good.len() as f64 / seconds,
        good_p50_ms: percentile(&good, 0.5),
        good_p99_ms: percentile(&good, 0.99),
        good_max_ms: percentile(&good, 1.0),
        shed_per_second: shed.len() as f64 / seconds,
        shed_p50_ms: percentile(&shed, 0.5),
        shed_p99_ms: percentile(&shed, 0.99),
        failed,
    }
}

impl Outcome {
    pub fn line(&self) -> String {
        format!(
            "{}: {} a second wanted, {:.0} sent; good {:.0} a second (p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms); shed {:.0} a second (p50 {:.1} ms, p99 {:.1} ms); failed {}",
            self.request,
            self.rate,
            self.sent_per_second,
            self.good_per_second,
            self.good_p50_ms,
            self.good_p99_ms,
            self.good_max_ms,
            self.shed_per_second,
            self.shed_p50_ms,
            self.shed_p99_ms,
            self.failed
        )
    }
}
