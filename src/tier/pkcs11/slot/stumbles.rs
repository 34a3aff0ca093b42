//! When the module last answered an input that is good as if it were not: for a while after that its word condemns no input.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// For how long after a module was seen to stumble no answer of it is taken for a verdict on an input.
const DISTRUST: Duration = Duration::from_secs(1);

/// When the module was last seen to answer an input that is good as if it were not.
pub(crate) struct Stumbles {
    origin: Instant,
    /// Milliseconds after the origin, plus one; 0 for never.
    last: AtomicU64,
}

impl Default for Stumbles {
    fn default() -> Self {
        Self { origin: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Stumbles {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// It was just now.
    pub(crate) fn note(&self) {
        self.last.store(self.now(), Ordering::Release);
    }

    /// Whether it was lately.
    pub(crate) fn lately(&self) -> bool {
        match self.last.load(Ordering::Acquire) {
            0 => false,
            last => u128::from(self.now().saturating_sub(last)) < DISTRUST.as_millis(),
        }
    }
}
