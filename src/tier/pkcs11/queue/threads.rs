//! Session threads: where calls run that take longer than handing them over.
//!
//! A slot has at most as many threads as sessions, so a job always finds one: parked, the last parked first, or new. A parked
//! thread that nobody wants for [`IDLE`] ends.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::base::{Error, Result};

/// How long a thread stays parked.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() -> Parting + Send>;

/// What a job does when its thread is at hand for the next one already.
pub(crate) type Parting = Option<Box<dyn FnOnce() + Send>>;

/// Threads that wait, each with its number and the way to give it a job; the last parked is the last.
type Parked = Vec<(u64, Sender<Job>)>;

/// The threads of one slot.
#[derive(Clone)]
pub(crate) struct Threads {
    name: Arc<str>,
    parked: Arc<Mutex<Parked>>,
}

impl Threads {
    /// None yet; `name` is what a person sees in a list of threads.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), parked: Arc::default() }
    }

    /// Runs `job` soon. Whoever calls bounds how many jobs run at once.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn run(&self, mut job: Job) -> std::io::Result<()> {
        loop {
            let parked = self.parked().pop();
            let Some((_, thread)) = parked else { return self.start(job) };
            match thread.send(job) {
                Ok(()) => return Ok(()),
                // It ended in this moment: the job comes back.
                Err(mpsc::SendError(back)) => job = back,
            }
        }
    }

    fn start(&self, job: Job) -> std::io::Result<()> {
        let threads = self.clone();
        std::thread::Builder::new().name(self.name.to_string()).spawn(move || threads.work(job)).map(|_| ())
    }

    fn work(&self, job: Job) {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (sender, jobs) = mpsc::channel::<Job>();
        let mut job = job;
        loop {
            let parting = job();
            self.parked().push((number, sender.clone()));
            if let Some(parting) = parting {
                parting();
            }
            job = match jobs.recv_timeout(IDLE) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let mut parked = self.parked();
                    let Some(at) = parked.iter().position(|(other, _)| *other == number) else {
                        // Somebody took this thread off the stack just now: its job is on the way.
                        drop(parked);
                        match jobs.recv() {
                            Ok(next) => {
                                job = next;
                                continue;
                            }
                            Err(mpsc::RecvError) => return,
                        }
                    };
                    parked.remove(at);
                    return;
                }
            };
        }
    }

    fn parked(&self) -> std::sync::MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work`, which may hang, on a thread of its own; `None` when it has not ended after `patience`. Then nobody waits for it any
/// more, and what it gives at last is dropped there.
///
/// # Errors
/// The system gives no thread, or `work` panicked.
pub(crate) async fn apart<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Result<Option<T>> {
    let (done, ended) = oneshot::channel();
    let job = move || drop(done.send(work()));
    std::thread::Builder::new().name("pkcs11-module".to_owned()).spawn(job).map_err(Error::internal)?;
    match timeout(patience, ended).await {
        Ok(ended) => ended.map(Some).map_err(Error::internal),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_thread_is_used_again() {
        let threads = Threads::new("test");
        let (sender, receiver) = mpsc::channel();
        let mut used = std::collections::HashSet::new();
        for _ in 0..8 {
            let sender = sender.clone();
            let tell = move || sender.send(std::thread::current().id()).unwrap();
            threads.run(Box::new(move || Some(Box::new(tell) as Box<dyn FnOnce() + Send>))).unwrap();
            used.insert(receiver.recv().unwrap());
            assert_eq!(threads.parked().len(), 1, "it is at hand when the job's parting is heard of");
        }
        assert_eq!(used.len(), 1);
        assert_eq!(threads.parked().len(), 1);
    }

    #[test]
    fn jobs_at_once_have_a_thread_each() {
        let threads = Threads::new("test");
        let barrier = Arc::new(std::sync::Barrier::new(9));
        for _ in 0..8 {
            let barrier = Arc::clone(&barrier);
            threads
                .run(Box::new(move || {
                    barrier.wait();
                    None
                }))
                .unwrap();
        }
        barrier.wait();
    }
}
