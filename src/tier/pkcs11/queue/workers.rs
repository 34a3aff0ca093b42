//! The workers of a runtime that calls may hold at once, the calls of all slots together.
//!
//! Each slot lets as many calls on workers as there are cores. Two slots of one module hang at the same time, and would hold the
//! spare workers, too, on which all deadlines depend.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use tokio::runtime::{Handle, Id};

use crate::base::lock;

static RUNTIMES: LazyLock<Mutex<HashMap<Id, Weak<Workers>>>> = LazyLock::new(Mutex::default);

/// Of one runtime.
pub(crate) struct Workers {
    free: AtomicUsize,
}

/// A worker that a call holds until this is dropped.
pub(crate) struct Held<'a>(&'a Workers);

impl Workers {
    /// Those of `runtime`, of which calls may hold so many; whoever asks first says how many.
    pub(crate) fn of(runtime: &Handle, limit: usize) -> Arc<Self> {
        let mut runtimes = lock(&RUNTIMES);
        if let Some(workers) = runtimes.get(&runtime.id()).and_then(Weak::upgrade) {
            return workers;
        }
        let workers = Arc::new(Self { free: AtomicUsize::new(limit) });
        runtimes.retain(|_, workers| workers.strong_count() > 0);
        runtimes.insert(runtime.id(), Arc::downgrade(&workers));
        workers
    }

    /// Holds the worker that runs this, unless as many are held as may be.
    pub(crate) fn hold(&self) -> Option<Held<'_>> {
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1));
        taken.is_ok().then(|| Held(self))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_held_than_may_be_by_whatever_slot() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, other) = (Workers::of(runtime.handle(), 2), Workers::of(runtime.handle(), 2));
        let first = one.hold().unwrap();
        let second = other.hold().unwrap();
        assert!(one.hold().is_none() && other.hold().is_none());
        drop(first);
        assert!(other.hold().is_some());
        drop(second);
        let elsewhere = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(!Arc::ptr_eq(&one, &Workers::of(elsewhere.handle(), 2)), "each runtime has its own");
    }
}
