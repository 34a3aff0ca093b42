//! Where long private key operations run: on a bounded number of blocking threads, in a bounded queue, by a deadline.
//!
//! Used by everything in this folder; it is also what knows that the tier was closed. It knows no cryptography.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::base::{Error, Kind, Result};

/// The most calls that wait or run; a longer queue could not be served within the deadline on any machine.
const QUEUE: usize = 4096;
/// Calls that run for each core: more than one, so that a few key generations do not keep all signatures waiting.
const PER_CORE: u32 = 4;

/// Blocking threads with a queue in front.
pub(super) struct Workers {
    queue: Arc<Semaphore>,
    running: Arc<Semaphore>,
    threads: u32,
    deadline: Duration,
    closed: AtomicBool,
}

impl Workers {
    /// Workers whose every call ends within `deadline`.
    pub(super) fn new(deadline: Duration) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        // 512 is the number of tokio's blocking threads; beyond it there is a queue that nobody bounds.
        let threads = (cores * PER_CORE).min(512);
        Self {
            queue: Arc::new(Semaphore::new(QUEUE)),
            running: Arc::new(Semaphore::new(threads as usize)),
            threads,
            deadline,
            closed: AtomicBool::new(false),
        }
    }

    /// Refuses when the tier was closed.
    ///
    /// # Errors
    /// [`Kind::Unavailable`].
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(unavailable()) } else { Ok(()) }
    }

    /// Runs `work` on a thread of its own. When the future is dropped or the deadline passes, work that began goes on, and its
    /// result is dropped and wiped.
    ///
    /// # Errors
    /// Those of `work`; [`Kind::Throttled`] when the deadline passes or the queue is full, [`Kind::Unavailable`] after the close.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        self.check_open()?;
        let until = Instant::now() + self.deadline;
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| throttled())?;
        let turn = timeout_at(until, Arc::clone(&self.running).acquire_owned())
            .await
            .map_err(|_| throttled())?
            .map_err(|_| unavailable())?;
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((turn, place));
            result
        });
        timeout_at(until, task).await.map_err(|_| throttled())?.map_err(Error::internal)?
    }

    /// Refuses new calls and waits for those that wait or run, at most for the deadline. Again: nothing happens.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // The semaphore is fair: all turns together come after every turn asked for before.
        drop(tokio::time::timeout(self.deadline, self.running.acquire_many(self.threads)).await);
        self.running.close();
    }
}

fn throttled() -> Error {
    Error::new(Kind::Throttled, "Too many operations are under way; try again later.")
}

fn unavailable() -> Error {
    Error::new(Kind::Unavailable, "The instance is shutting down.")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_call_past_its_deadline_is_throttled() {
        let (release, gate) = mpsc::channel::<()>();
        let error = block_on(async {
            let workers = Workers::new(Duration::from_millis(1));
            let error = workers.run(move || gate.recv().map_err(Error::internal)).await.unwrap_err();
            release.send(()).unwrap();
            error
        });
        assert_eq!(error.kind(), Kind::Throttled);
    }

    #[test]
    fn a_call_without_a_turn_is_throttled() {
        block_on(async {
            let workers = Workers::new(Duration::from_millis(1));
            let all = workers.running.acquire_many(workers.threads).await.unwrap();
            assert_eq!(workers.run(|| Ok(())).await.unwrap_err().kind(), Kind::Throttled);
            drop(all);
        });
    }

    #[test]
    fn a_full_queue_is_throttled_at_once() {
        block_on(async {
            let workers = Workers::new(Duration::from_secs(3600));
            let all = workers.queue.acquire_many(u32::try_from(QUEUE).unwrap()).await.unwrap();
            assert_eq!(workers.run(|| Ok(())).await.unwrap_err().kind(), Kind::Throttled);
            drop(all);
            workers.run(|| Ok(())).await.unwrap();
        });
    }

    #[test]
    fn closing_waits_for_what_runs() {
        block_on(async {
            let workers = Workers::new(Duration::from_secs(3600));
            let (release, gate) = mpsc::channel::<()>();
            let call = workers.run(move || gate.recv().map_err(Error::internal));
            let close = async {
                release.send(()).unwrap();
                workers.close().await;
            };
            let (result, ()) = tokio::join!(call, close);
            result.unwrap();
            assert_eq!(workers.run(|| Ok(())).await.unwrap_err().kind(), Kind::Unavailable);
            workers.close().await;
        });
    }

    #[test]
    fn a_panic_is_a_fault_and_gives_the_turn_back() {
        block_on(async {
            let workers = Workers::new(Duration::from_secs(3600));
            for _ in 0..=workers.threads {
                let error = workers.run::<()>(|| panic!("on purpose")).await.unwrap_err();
                assert_eq!(error.kind(), Kind::Internal);
            }
        });
    }
}
