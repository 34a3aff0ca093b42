//! Work that is to go on for as long as the process: tasks and threads, known by name. One that panics is started again after a moment,
//! counted, and seen in readiness and in the metrics.
//!
//! Each part of the service (use cases, audit log) has a [`Supervisor`] of its own; the telemetry asks them all.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task::JoinSet;

/// How soon work that panicked is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// What work gives back that was told to end. It has no other way to end, but a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told;

/// What becomes of work at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It runs.
    Running,
    /// It panicked, and is started again in a moment.
    Restarting,
}

/// Work, as telemetry tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervised {
    /// Its name.
    pub name: Arc<str>,
    /// What becomes of it.
    pub doing: Doing,
    /// How often it panicked and was started again.
    pub restarts: u64,
}

/// Each work by name: what becomes of it, and how often it was started again.
type Known = BTreeMap<Arc<str>, (Doing, u64)>;

/// Knows all work of a part of the service. Cheap to clone.
#[derive(Clone, Default)]
pub struct Supervisor(Arc<Mutex<Known>>);

impl Supervisor {
    /// All that was begun and has not been told to end, by name.
    pub fn work(&self) -> Vec<Supervised> {
        let all = self.all();
        all.iter()
            .map(|(name, (doing, restarts))| Supervised { name: Arc::clone(name), doing: *doing, restarts: *restarts })
            .collect()
    }

    /// Runs a task until it is told to end. Dropped, it ends the task.
    pub async fn keep<F>(self, name: impl Into<Arc<str>>, begin: impl Fn() -> F + Send)
    where
        F: Future<Output = Told> + Send + 'static,
    {
        let entry = self.enter(name.into());
        loop {
            // A set, because its tasks end with it.
            let mut running = JoinSet::new();
            running.spawn(begin());
            match running.join_next().await {
                Some(Err(error)) if error.is_panic() => {
                    entry.panicked();
                    tokio::time::sleep(PAUSE).await;
                    entry.set(Doing::Running);
                }
                // Cancelled: the runtime ends.
                Some(Ok(Told) | Err(_)) | None => return,
            }
        }
    }

    /// Starts a thread that runs until it is told to end. `work` is called again when it panicked: what it changes must be fit for that.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn thread(&self, name: &str, mut work: impl FnMut() -> Told + Send + 'static) -> std::io::Result<JoinHandle<()>> {
        let entry = self.enter(name.into());
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
                entry.panicked();
                std::thread::sleep(PAUSE);
                entry.set(Doing::Running);
            }
        })
    }

    fn enter(&self, name: Arc<str>) -> Entry {
        self.all().insert(Arc::clone(&name), (Doing::Running, 0));
        Entry { supervisor: self.clone(), name }
    }

    fn all(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that is known. It is forgotten when it ends.
struct Entry {
    supervisor: Supervisor,
    name: Arc<str>,
}

impl Entry {
    fn panicked(&self) {
        let restarts = self.supervisor.all().get_mut(&self.name).map(|(doing, restarts)| {
            (*doing, *restarts) = (Doing::Restarting, *restarts + 1);
            *restarts
        });
        tracing::error!(task = &*self.name, restarts, "a task panicked and is started again");
    }

    fn set(&self, now: Doing) {
        if let Some((doing, _)) = self.supervisor.all().get_mut(&self.name) {
            *doing = now;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.supervisor.all().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::{Notify, watch};

    use super::*;

    fn only(supervisor: &Supervisor) -> (Doing, u64) {
        let work = supervisor.work();
        assert_eq!(work.len(), 1);
        (work[0].doing, work[0].restarts)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_counted_and_forgotten_when_it_ends() {
        let supervisor = Supervisor::default();
        let (begun, go_on) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let kept = tokio::spawn(supervisor.clone().keep("work", {
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            move || {
                let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
                async move {
                    assert!(begun.fetch_add(1, Ordering::SeqCst) >= 2, "the first two times it panics");
                    go_on.notified().await;
                    Told
                }
            }
        }));
        tokio::time::sleep(PAUSE / 2).await;
        assert_eq!(only(&supervisor), (Doing::Restarting, 1));
        tokio::time::sleep(2 * PAUSE).await;
        assert_eq!(only(&supervisor), (Doing::Running, 2));
        go_on.notify_one();
        kept.await.unwrap();
        assert_eq!((supervisor.work(), begun.load(Ordering::SeqCst)), (Vec::new(), 3));
    }

    #[tokio::test]
    async fn work_ends_with_whoever_keeps_it() {
        let supervisor = Supervisor::default();
        let (alive, mut ended) = watch::channel(());
        let alive = Arc::new(alive);
        let kept = tokio::spawn(supervisor.clone().keep("work", {
            let alive = Arc::downgrade(&alive);
            move || {
                let held = alive.upgrade();
                async move {
                    let _held = held;
                    std::future::pending().await
                }
            }
        }));
        while Arc::strong_count(&alive) == 1 {
            tokio::task::yield_now().await;
        }
        drop(alive);
        kept.abort();
        assert!(ended.changed().await.is_err(), "what it held is dropped");
        assert!(kept.await.unwrap_err().is_cancelled() && supervisor.work().is_empty());
    }

    #[test]
    fn a_thread_that_panics_is_started_again_with_what_it_has() {
        let supervisor = Supervisor::default();
        let mut calls = 0;
        let thread = supervisor.thread("work", move || {
            calls += 1;
            assert!(calls > 1, "the first time it panics");
            Told
        });
        thread.unwrap().join().unwrap();
        assert!(supervisor.work().is_empty());
    }
}
