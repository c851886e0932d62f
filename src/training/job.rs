//! Training as a job: one at a time across all replicas, with its state in the store. A job whose trainer is gone is gone on with by whoever notices.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::store::{Job, JobState, Store, StoreError, TrainingLock};

use super::threads::Beside;
use super::trainer::{BEAT, TRIES, keeping};
use super::{Progress, TrainingError, TrainingSettings, train_as};

const KIND: &str = "train";
const LOG_LINES: usize = 50;
/// A job that so many trainers have died with is given up: it may well be what kills them.
const MAX_TRAINERS: u32 = 5;

/// Starts [`super::train`] as a job in a task of its own, which keeps the job's record up to date. Where a job is recorded whose trainer is gone,
/// that one is gone on with, and given.
///
/// # Errors
/// [`StoreError::Conflict`] when somebody trains.
pub async fn start_job(store: Arc<dyn Store>, settings: TrainingSettings) -> Result<Job, StoreError> {
    let lock = match store.begin_training().await {
        Err(StoreError::Conflict(reason)) => {
            let running = store.running_job(KIND).await?;
            return Err(StoreError::Conflict(running.map_or(reason, |job| format!("job {} is running", job.id))));
        }
        other => other?,
    };
    let now = Timestamp::now();
    if let Some(job) = store.adopt_job(KIND, lock.epoch(), now).await? {
        return resume(store, settings, job, lock).await;
    }
    let job = Job {
        id: format!("job_{}", uuid::Uuid::now_v7().simple()),
        kind: KIND.to_owned(),
        state: JobState::Running,
        phase: "load".to_owned(),
        progress: 0.0,
        log: Vec::new(),
        result: None,
        trainers: 1,
        created_at: now,
        updated_at: now,
    };
    if !store.start_job(&job, lock.epoch()).await? {
        return Err(StoreError::Conflict("another training has begun".to_owned()));
    }
    tokio::spawn(run(store, settings, job.clone(), lock));
    Ok(job)
}

/// How long the store may take to answer. One that hangs must not keep the jobs of other tenants from being looked after, nor a training from going on.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer within that time, or [`StoreError::Unavailable`].
async fn in_time<T>(question: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| Err(StoreError::Unavailable(format!("no answer within {PATIENCE:?}")));
    tokio::time::timeout(PATIENCE, question).await.unwrap_or_else(late)
}

/// Looks after the jobs of one store that other processes run.
#[derive(Debug, Default)]
pub struct JobWatch {
    /// The running job, when it last told something, and since when that is known here: clocks of two machines are not compared.
    heard: Option<(String, Timestamp, Instant)>,
}

impl JobWatch {
    /// Looks at the running job, if there is one; goes on with it when it has been silent for `patience` and nobody holds the right to train. To be
    /// called about once a second. The job, if it was taken over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look(
        &mut self,
        store: &Arc<dyn Store>,
        patience: Duration,
        settings: impl FnOnce() -> TrainingSettings,
    ) -> Result<Option<Job>, StoreError> {
        let Some(job) = in_time(store.running_job(KIND)).await? else {
            self.heard = None;
            return Ok(None);
        };
        let since = match &self.heard {
            Some((id, told, since)) if *id == job.id && *told == job.updated_at => *since,
            _ => {
                self.heard = Some((job.id, job.updated_at, Instant::now()));
                return Ok(None);
            }
        };
        if since.elapsed() < patience {
            return Ok(None);
        }
        let lock = match in_time(store.begin_training()).await {
            // Its trainer lives, or somebody else was faster: another look after as long a time.
            Err(StoreError::Conflict(_)) => {
                self.heard = None;
                return Ok(None);
            }
            other => other?,
        };
        self.heard = None;
        match in_time(store.adopt_job(KIND, lock.epoch(), Timestamp::now())).await? {
            Some(job) => resume(Arc::clone(store), settings(), job, lock).await.map(Some),
            None => {
                lock.release().await;
                Ok(None)
            }
        }
    }
}

/// Goes on with a job that was adopted, from its beginning, or gives it up.
async fn resume(
    store: Arc<dyn Store>,
    settings: TrainingSettings,
    mut job: Job,
    lock: Box<dyn TrainingLock>,
) -> Result<Job, StoreError> {
    if job.trainers > MAX_TRAINERS {
        let reason = format!("{MAX_TRAINERS} trainers ended in the middle of it");
        tracing::error!(job = %job.id, reason, "a training is given up");
        (job.state, job.result) = (JobState::Failed, Some(serde_json::json!({"error": reason})));
        job.log.push(reason);
        in_time(store.update_job(&job, lock.epoch())).await?;
        lock.release().await;
        return Ok(job);
    }
    tracing::warn!(job = %job.id, trainers = job.trainers, "the trainer of a job is gone: starting its training again");
    tokio::spawn(run(store, settings, job.clone(), lock));
    Ok(job)
}

/// How far a training is.
struct Stage {
    phase: String,
    share: f32,
    log: VecDeque<String>,
}

/// A job, and the training that it is kept up to date with.
pub(super) struct Reported {
    store: Arc<dyn Store>,
    job: Job,
    stage: Arc<Mutex<Stage>>,
}

impl Reported {
    fn new(store: Arc<dyn Store>, job: Job) -> Self {
        let log = job.log.iter().cloned().collect();
        Self { store, job, stage: Arc::new(Mutex::new(Stage { phase: String::new(), share: 0.0, log })) }
    }

    fn progress(&self) -> Progress {
        let stage = Arc::clone(&self.stage);
        Arc::new(move |phase: &str, share: f32| {
            let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
            if stage.phase != phase {
                stage.log.push_back(format!("{} {phase}", Timestamp::now().strftime("%H:%M:%S")));
                while stage.log.len() > LOG_LINES {
                    stage.log.pop_front();
                }
            }
            (stage.phase, stage.share) = (phase.to_owned(), share.clamp(0.0, 1.0));
        })
    }

    fn bring_up_to_date(&mut self) {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        (self.job.phase, self.job.progress) = (stage.phase.clone(), stage.share);
        self.job.log = stage.log.iter().cloned().collect();
        self.job.updated_at = Timestamp::now();
    }

    /// Stores how far it is; that this fails is logged only.
    pub(super) async fn report(&mut self, epoch: i64) {
        self.bring_up_to_date();
        if let Err(error) = in_time(self.store.update_job(&self.job, epoch)).await {
            tracing::warn!(%error, job = %self.job.id, "the state of a job could not be stored");
        }
    }

    /// Stores how it ended, which must not be lost to a short absence of the store.
    async fn end(mut self, epoch: i64) {
        for _ in 0..TRIES {
            match in_time(self.store.update_job(&self.job, epoch)).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, job = %self.job.id, "the end of a job could not be stored; trying again");
                }
            }
            tokio::time::sleep(BEAT).await;
            self.job.updated_at = Timestamp::now();
        }
    }
}

async fn run(store: Arc<dyn Store>, settings: TrainingSettings, job: Job, mut lock: Box<dyn TrainingLock>) {
    let epoch = lock.epoch();
    let mut reported = Reported::new(Arc::clone(&store), job);
    // Now, and not when the job was made: a trainer that is gone may have left an artifact of that time.
    let training = train_as(&store, settings, (epoch, Beside::Requests), Timestamp::now(), reported.progress());
    let outcome = keeping(lock.as_mut(), training, Some(&mut reported)).await;
    reported.bring_up_to_date();
    let job = &mut reported.job;
    match outcome {
        Ok(manifest) => {
            job.state = JobState::Succeeded;
            job.result = Some(serde_json::json!({"version": manifest.version, "metrics": manifest.metrics}));
        }
        Err(TrainingError::Superseded) => {
            tracing::warn!(job = %job.id, "another trainer has taken this job over");
            return;
        }
        Err(error) => {
            tracing::error!(%error, job = %job.id, "training failed");
            job.state = JobState::Failed;
            job.log.push(error.to_string());
            job.result = Some(serde_json::json!({"error": error.to_string()}));
        }
    }
    reported.end(epoch).await;
    lock.release().await;
}
