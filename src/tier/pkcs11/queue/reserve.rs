//! Spare workers of a runtime that wait until calls hang.
//!
//! Calls that run on workers may hang and hold them, so the runtime has spare ones that fire the deadlines then. As long as nothing
//! hangs they are in the way: they are woken for whatever waits, and take a core from a call in the middle of its work. With 64 AES
//! calls in flight on two cores idle spare workers cost a seventh of the throughput. So they wait outside the runtime's sight,
//! blocked, until somebody finds that calls hang. Then they go for good: a worker that has run tasks cannot be blocked again without
//! holding back those that yielded on it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

/// Spare workers of the runtime beyond those that inline calls may hold: they fire the deadlines when all of those hang.
pub(crate) const SPARE_WORKERS: usize = 2;

/// Keeps the spare workers of a runtime back. Must be dropped before the runtime: its end waits for all workers.
pub struct Reserve(Arc<Shared>);

/// What lets the spare workers of a [`Reserve`] go, for [`Settings`](crate::tier::pkcs11::Settings).
#[derive(Clone)]
pub struct Relief(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Kept,
    Gone,
}

impl Reserve {
    /// Keeps as many workers back as the tier wants to spare, unless the runtime has no others. To be called before anything else
    /// runs on it.
    pub fn of(runtime: &Handle) -> Self {
        let shared = Arc::<Shared>::default();
        if runtime.metrics().num_workers() > SPARE_WORKERS {
            for _ in 0..SPARE_WORKERS {
                let shared = Arc::clone(&shared);
                runtime.spawn(async move { shared.wait() });
            }
        }
        Self(shared)
    }

    /// What lets them go.
    pub fn relief(&self) -> Relief {
        Relief(Arc::clone(&self.0))
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Relief {
    /// Lets the workers go.
    pub(crate) fn call(&self) {
        if self.0.release() == State::Kept {
            tracing::warn!("calls hold workers of the runtime: the spare ones are at work from now on");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was before.
    fn release(&self) -> State {
        let before = std::mem::replace(&mut *self.lock(), State::Gone);
        self.changed.notify_all();
        before
    }

    /// Holds the worker that runs this.
    fn wait(&self) {
        // It may have been this worker that looked for events. A second task sends the first to where others find it, and wakes one
        // of them, which looks for events when it has nothing else to do.
        drop(tokio::spawn(async {}));
        drop(tokio::spawn(async {}));
        let mut state = self.lock();
        while *state == State::Kept {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::Runtime;

    use super::*;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(10);

    fn runtime(workers: usize) -> Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap()
    }

    /// How many run now, and the most that did.
    #[derive(Default)]
    struct Running {
        now: usize,
        most: usize,
    }

    /// How many of so many tasks run at once, each of which blocks until as many have run as are expected, or for `patience`.
    fn at_once(runtime: &Runtime, tasks: usize, expected: usize, patience: Duration) -> usize {
        let running = Arc::new((Mutex::new(Running::default()), Condvar::new()));
        let (sender, ended) = mpsc::channel();
        for _ in 0..tasks {
            let (running, sender) = (Arc::clone(&running), sender.clone());
            runtime.spawn(async move {
                let (count, changed) = &*running;
                let mut count = count.lock().unwrap();
                count.now += 1;
                count.most = count.most.max(count.now);
                changed.notify_all();
                count = changed.wait_timeout_while(count, patience, |count| count.most < expected).unwrap().0;
                count.now -= 1;
                sender.send(()).unwrap();
            });
        }
        drop(sender);
        while ended.recv_timeout(PATIENCE).is_ok() {}
        running.0.lock().unwrap().most
    }

    #[test]
    fn spare_workers_wait_until_they_are_called() {
        let runtime = runtime(SPARE_WORKERS + 2);
        let reserve = Reserve::of(runtime.handle());
        // Kept back as soon as they are at hand.
        assert!((0..100).any(|_| at_once(&runtime, 3, 3, Duration::from_millis(1)) == 2));
        assert_eq!(at_once(&runtime, SPARE_WORKERS + 2, 3, Duration::from_millis(100)), 2);
        reserve.relief().call();
        assert_eq!(at_once(&runtime, SPARE_WORKERS + 2, SPARE_WORKERS + 2, PATIENCE), SPARE_WORKERS + 2);
    }

    #[test]
    fn timers_and_tasks_go_on_while_workers_wait() {
        let runtime = runtime(SPARE_WORKERS + 1);
        let _reserve = Reserve::of(runtime.handle());
        for _ in 0..50 {
            // From outside and from within, with the timer that only one of the workers looks at.
            let task = runtime.spawn(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                tokio::spawn(async { tokio::time::sleep(Duration::from_millis(1)).await }).await.unwrap();
            });
            runtime.block_on(async { tokio::time::timeout(PATIENCE, task).await }).expect("it is not stuck").unwrap();
        }
    }

    #[test]
    fn a_runtime_that_is_too_small_keeps_its_workers() {
        let runtime = runtime(SPARE_WORKERS);
        let _reserve = Reserve::of(runtime.handle());
        assert_eq!(at_once(&runtime, SPARE_WORKERS, SPARE_WORKERS, PATIENCE), SPARE_WORKERS);
    }

    #[test]
    fn the_runtime_ends_after_it() {
        let runtime = runtime(SPARE_WORKERS + 1);
        let reserve = Reserve::of(runtime.handle());
        let relief = reserve.relief();
        drop(reserve);
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            sender.send(()).unwrap();
        });
        ended.recv_timeout(PATIENCE).expect("it ends");
        relief.call();
    }
}
