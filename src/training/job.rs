//! Training as a job: one at a time across all replicas, with its state in the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::store::{Job, JobState, Store, StoreError};

use super::{Progress, TrainingSettings, train};

/// A job that has not been heard of for so long is taken for dead.
const STALE: SignedDuration = SignedDuration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_secs(2);
const LOG_LINES: usize = 50;

/// Starts [`train`] as a job in a task of its own, which keeps the job's record up to date.
///
/// # Errors
/// [`StoreError::Conflict`] when a job is running.
pub async fn start_job(store: Arc<dyn Store>, settings: TrainingSettings) -> Result<Job, StoreError> {
    let now = Timestamp::now();
    let job = Job {
        id: format!("job_{}", uuid::Uuid::now_v7().simple()),
        kind: "train".to_owned(),
        state: JobState::Running,
        phase: "load".to_owned(),
        progress: 0.0,
        log: Vec::new(),
        result: None,
        created_at: now,
        updated_at: now,
    };
    store.start_job(&job, now - STALE).await?;
    tokio::spawn(run(store, settings, job.clone()));
    Ok(job)
}

async fn run(store: Arc<dyn Store>, settings: TrainingSettings, mut job: Job) {
    let seen: Arc<Mutex<(String, f32, VecDeque<String>)>> = Arc::new(Mutex::new(("load".into(), 0.0, VecDeque::new())));
    let progress: Progress = {
        let seen = Arc::clone(&seen);
        Arc::new(move |phase: &str, share: f32| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.0 != phase || seen.2.is_empty() {
                seen.2.push_back(format!("{} {phase}", Timestamp::now().strftime("%H:%M:%S")));
                while seen.2.len() > LOG_LINES {
                    seen.2.pop_front();
                }
            }
            (seen.0, seen.1) = (phase.to_owned(), share.clamp(0.0, 1.0));
        })
    };
    let take_over = |job: &mut Job| {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        (job.phase, job.progress, job.log) = (seen.0.clone(), seen.1, seen.2.iter().cloned().collect());
        job.updated_at = Timestamp::now();
    };
    let mut training = Box::pin(train(Arc::clone(&store), settings, job.created_at, progress));
    let outcome = loop {
        tokio::select! {
            outcome = &mut training => break outcome,
            () = tokio::time::sleep(HEARTBEAT) => {
                take_over(&mut job);
                if let Err(error) = store.update_job(&job).await {
                    tracing::warn!(%error, job = %job.id, "the state of a job could not be stored");
                }
            }
        }
    };
    take_over(&mut job);
    match outcome {
        Ok(manifest) => {
            job.state = JobState::Succeeded;
            job.result = Some(serde_json::json!({"version": manifest.version, "metrics": manifest.metrics}));
        }
        Err(error) => {
            tracing::error!(%error, job = %job.id, "training failed");
            job.state = JobState::Failed;
            job.log.push(error.to_string());
            job.result = Some(serde_json::json!({"error": error.to_string()}));
        }
    }
    // The end must not be lost to a short absence of the store.
    for _ in 0..5 {
        match store.update_job(&job).await {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, job = %job.id, "the end of a job could not be stored; trying again"),
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}
