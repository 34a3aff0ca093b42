//! How late this machine is. A test that holds an answer to a time asks here how much of the delay is the machine's: on a machine that is
//! busy otherwise nobody is punctual.
//!
//! A thread sleeps for a moment, again and again, and sees how much later it is woken. Whoever waits for ever, or for the end of another
//! call, is later by far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// For how long the thread sleeps.
const NAP: Duration = Duration::from_millis(10);
/// How often a call waits for the machine on its way to the module and back, at the most: for its task, its thread, its answer, the
/// supervisor's look, the deadline's, and for the locks of others who wait as often.
const WAITS: u32 = 10;

/// A machine that is watched for as long as this value lives.
pub struct Lateness {
    /// The worst delay so far, in microseconds.
    worst: Arc<AtomicU64>,
}

impl Lateness {
    /// Begins to watch.
    pub fn watch() -> Self {
        let worst = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&worst);
        std::thread::spawn(move || look(&watched));
        Self { worst }
    }

    /// What `limit` is on this machine: with all delays that may have been its own so far.
    pub fn with(&self, limit: Duration) -> Duration {
        limit + Duration::from_micros(self.worst.load(Ordering::SeqCst)) * WAITS
    }

    /// It took no longer than that.
    #[track_caller]
    pub fn in_time(&self, what: &str, took: Duration, limit: Duration) {
        let allowed = self.with(limit);
        assert!(
            took < allowed,
            "{what} took {took:?}, more than {limit:?}, or {allowed:?} on a machine that is as late as this one"
        );
    }
}

fn look(watched: &Weak<AtomicU64>) {
    loop {
        let begun = Instant::now();
        std::thread::sleep(NAP);
        let late = begun.elapsed().saturating_sub(NAP);
        let Some(worst) = watched.upgrade() else { return };
        worst.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}
