//! The threads that a training computes on: its own, so that nothing a request needs (reading a model, looking for what a free text means) waits behind it.

use rayon::ThreadPoolBuilder;

use super::TrainingError;

/// Where a training runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// A process of its own.
    Nothing,
    /// A process that answers requests.
    Requests,
}

/// How far a training steps back behind requests, as `nice` counts: where both want a processor, requests get about three quarters of it.
#[cfg(target_os = "linux")]
const STEP_BACK: i32 = 5;

/// Does the work on threads that are made for it, one a processor.
///
/// # Errors
/// [`TrainingError::Interrupted`] when the system gives no threads.
pub(super) fn apart<T: Send>(beside: Beside, work: impl FnOnce() -> T + Send) -> Result<T, TrainingError> {
    let pool = ThreadPoolBuilder::new()
        .thread_name(|number| format!("training-{number}"))
        .start_handler(move |_| step_back(beside))
        .build()
        .map_err(|error| TrainingError::Interrupted(error.to_string()))?;
    Ok(pool.install(work))
}

/// Best effort: a training that does not step back is still a training.
fn step_back(beside: Beside) {
    // On Linux this is the calling thread's alone; elsewhere it would be the whole process's.
    #[cfg(target_os = "linux")]
    if beside == Beside::Requests
        && let Err(error) = rustix::process::getpriority_process(None)
            .and_then(|nice| rustix::process::setpriority_process(None, nice + STEP_BACK))
    {
        tracing::debug!(%error, "a thread of the training could not step back");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = beside;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_others_compute_does_not_wait_for_a_training() {
        let (begin, begun) = channel::<()>();
        let (finish, finished) = channel::<()>();
        let training = std::thread::spawn(move || {
            apart(Beside::Requests, move || {
                begin.send(()).unwrap();
                finished.recv_timeout(Duration::from_secs(60)).is_ok()
            })
            .unwrap()
        });
        begun.recv().unwrap();
        // All threads of the pool that the rest of the process shares are free, whatever the training does.
        assert_eq!(rayon::broadcast(|_| ()).len(), rayon::current_num_threads());
        finish.send(()).unwrap();
        assert!(training.join().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_beside_requests_it_steps_back() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        assert_eq!(apart(Beside::Nothing, nice).unwrap(), before);
        assert_eq!(apart(Beside::Requests, nice).unwrap(), before + STEP_BACK);
        assert_eq!(nice(), before, "the rest of the process does not");
    }
}
