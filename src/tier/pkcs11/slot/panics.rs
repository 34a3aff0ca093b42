//! Panics: of a call, of an attempt to recover, of what looks after a slot. Each is caught where nothing else is lost by it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::tier::pkcs11::slot::slot::Slot;

impl Slot {
    /// Runs `work`; `None` if it panicked, which is counted. What it took is given back by guards, and whoever finds a lock that
    /// was held in a panic goes on with what is behind it, so that nothing needs to be unwind-safe.
    pub(crate) fn caught<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(work)).ok();
        if result.is_none() {
            self.counters.panicked();
        }
        result
    }
}
