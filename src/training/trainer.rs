//! A trainer: keeps the right to train while it works, and publishes only as long as no other came after it.

use std::fs::Metadata;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::Value;

use crate::engine::artifact::{Manifest, Model};
use crate::store::{ModelRecord, Store, StoreError, TrainingLock};

use super::job::Reported;
use super::{TrainingError, TrainingSettings};

/// How often a trainer makes sure of its right and tells how far it is.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// So often a store that is away is asked again at the end of a training, a beat apart: an hour's work is not to be lost to a short absence.
pub(super) const TRIES: usize = 30;
/// No training takes so long to record what it has written.
const A_DAY: Duration = Duration::from_hours(24);

/// Does the work as long as the right to train is held; the job that it is done for, if there is one, is kept up to date.
///
/// # Errors
/// [`TrainingError::Superseded`] as soon as the right is lost; what the work gives.
pub(super) async fn keeping<T>(
    lock: &mut dyn TrainingLock,
    work: impl Future<Output = Result<T, TrainingError>>,
    mut job: Option<&mut Reported>,
) -> Result<T, TrainingError> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = tokio::time::sleep(BEAT) => {}
        }
        match lock.keep().await {
            Ok(true) => {}
            Ok(false) => return Err(TrainingError::Superseded),
            Err(error) => tracing::warn!(%error, "it cannot be told whether this still is the trainer; trying on"),
        }
        if let Some(job) = &mut job {
            job.report(lock.epoch()).await;
        }
    }
}

/// Writes the artifact, then records it and makes it the active model, unless another trainer has come or the store refuses; then the artifact is deleted again.
pub(super) async fn publish(
    store: &Arc<dyn Store>,
    settings: &TrainingSettings,
    model: Model,
    epoch: i64,
    now: Timestamp,
) -> Result<Manifest, TrainingError> {
    let interrupted = |error: &dyn std::fmt::Display| TrainingError::Interrupted(error.to_string());
    let models_dir = settings.models_dir.clone();
    let manifest = tokio::task::spawn_blocking(move || model.publish(&models_dir))
        .await
        .map_err(|error| interrupted(&error))??;
    let json = serde_json::to_value(&manifest).map_err(|error| interrupted(&error))?;
    record(store.as_ref(), &settings.models_dir, &manifest.version, &json, epoch, now).await?;
    Ok(manifest)
}

async fn record(
    store: &dyn Store,
    models_dir: &Path,
    version: &str,
    manifest: &Value,
    epoch: i64,
    now: Timestamp,
) -> Result<(), TrainingError> {
    let mut tries = 0;
    let failure = loop {
        tries += 1;
        match store.publish_model(version, manifest, epoch, now).await {
            Ok(true) => return Ok(()),
            Ok(false) => break TrainingError::Superseded,
            Err(StoreError::Unavailable(reason)) if tries < TRIES => {
                tracing::warn!(reason, "the model could not be recorded; trying again");
            }
            // Perhaps it is recorded. If not, a later training deletes the artifact.
            Err(error @ StoreError::Unavailable(_)) => return Err(error.into()),
            Err(error) => break error.into(),
        }
        tokio::time::sleep(BEAT).await;
    };
    // An earlier try may have been recorded, and its answer lost. Where that cannot be told, a later training deletes what nobody knows.
    let models = store.models().await?;
    let is_this =
        |record: &ModelRecord| record.version == version && record.manifest["checksum"] == manifest["checksum"];
    if models.iter().any(is_this) {
        return Ok(());
    }
    delete_artifact(models_dir, version);
    Err(failure)
}

pub(super) fn delete_artifact(models_dir: &Path, version: &str) {
    if let Err(error) = std::fs::remove_dir_all(models_dir.join(version)) {
        tracing::warn!(%error, version, "its artifact could not be deleted");
    }
}

/// Deletes artifacts that the store does not know: of trainings that ended between writing and recording. Younger ones stay: another process may be about to record them.
pub(super) fn delete_unknown(models_dir: &Path, known: &[ModelRecord]) {
    for entry in std::fs::read_dir(models_dir).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_old = |folder: Metadata| {
            folder.is_dir() && folder.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > A_DAY))
        };
        let is_known = known.iter().any(|record| record.version == name);
        if is_version(&name) && !is_known && entry.metadata().is_ok_and(is_old) {
            tracing::info!(version = name, "the artifact of a model that was never recorded is deleted");
            delete_artifact(models_dir, &name);
        }
    }
}

/// Whether a folder has the name of a version, such as 20260501T120000Z-0123abcd.
fn is_version(name: &str) -> bool {
    name.split_once('-').is_some_and(|(time, suffix)| {
        DateTime::strptime("%Y%m%dT%H%M%SZ", time).is_ok()
            && suffix.len() == 8
            && suffix.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use crate::store::{self, Options};

    use super::*;

    const VERSION: &str = "20260501T120000Z-0123abcd";

    async fn open(folder: &Path) -> Arc<dyn Store> {
        let options = Options {
            url: format!("sqlite://{}", folder.join("medley.db").display()),
            max_connections: 1,
            acquire_timeout: Duration::from_secs(5),
            master_key: None,
        };
        let store = store::open(&options).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    #[tokio::test]
    async fn an_artifact_is_deleted_only_if_it_is_not_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        let (artifact, now) = (folder.path().join(VERSION), Timestamp::UNIX_EPOCH);
        fs::create_dir(&artifact).unwrap();
        let [own, others] = ["a", "b"].map(|checksum| serde_json::json!({"checksum": checksum}));
        let first = store.begin_training().await.unwrap();
        let epoch = first.epoch();
        let record = async |manifest, epoch| record(store.as_ref(), folder.path(), VERSION, manifest, epoch, now).await;
        record(&own, epoch).await.unwrap();
        first.release().await;
        let second = store.begin_training().await.unwrap();
        record(&own, epoch).await.expect("recorded, and the answer was lost before the other trainer came");
        assert!(artifact.exists());
        assert!(matches!(record(&others, epoch).await, Err(TrainingError::Superseded)));
        assert!(!artifact.exists());
        fs::create_dir(&artifact).unwrap();
        let refused = record(&others, second.epoch()).await;
        assert!(matches!(refused, Err(TrainingError::Store(StoreError::Conflict(_)))), "{refused:?}");
        assert!(!artifact.exists());
    }

    #[test]
    fn artifacts_that_were_never_recorded_are_deleted_after_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - A_DAY - Duration::from_secs(60);
        let (known, young) = ("20260502T120000Z-0123abcd", "20260503T120000Z-0123abcd");
        let others = [".20260501T120000Z-0123abcd-7", "20260501T120000Z", "20260501T120000Z-x", "own"];
        for name in others.into_iter().chain([VERSION, known, young]) {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("manifest.json"), "1").unwrap();
            if name != young {
                File::open(path).unwrap().set_modified(old).unwrap();
            }
        }
        let record = ModelRecord {
            version: known.to_owned(),
            manifest: Value::Null,
            created_at: Timestamp::UNIX_EPOCH,
            active: false,
            activated_at: None,
        };
        delete_unknown(folder.path(), &[record]);
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<String> = left.collect();
        let mut expected = [&others[..], &[known, young]].concat();
        left.sort_unstable();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
}
