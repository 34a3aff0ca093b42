//! Where calls hang until they are released. They hold nothing and are not inside the real module.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::lock;

/// The calls that hang.
#[derive(Default)]
pub struct Hang {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts the releases; a call waits for the next one.
    releases: u64,
    hung: usize,
}

impl Hang {
    /// Hangs until the next release.
    pub fn here(&self) {
        let mut state = lock(&self.state);
        state.hung += 1;
        self.changed.notify_all();
        let mine = state.releases;
        while state.releases == mine {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets all go on; gives how many hung.
    pub fn release(&self) -> usize {
        let mut state = lock(&self.state);
        state.releases += 1;
        self.changed.notify_all();
        std::mem::take(&mut state.hung)
    }

    /// How many hang now.
    pub fn hung(&self) -> usize {
        lock(&self.state).hung
    }

    /// Waits until `calls` hang.
    ///
    /// # Errors
    /// How many do, when `timeout` is over.
    pub fn wait_for(&self, calls: usize, timeout: Duration) -> Result<(), usize> {
        let end = Instant::now() + timeout;
        let mut state = lock(&self.state);
        while state.hung < calls {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(state.hung);
            }
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_for_those_that_hang() {
        let hang = Hang::default();
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..3).map(|_| scope.spawn(|| hang.here())).collect();
            hang.wait_for(3, Duration::from_secs(60)).unwrap();
            assert_eq!(hang.release(), 3);
            assert_eq!(hang.hung(), 0);
            for call in calls {
                call.join().unwrap();
            }
        });
        assert_eq!(hang.wait_for(1, Duration::ZERO), Err(0));
    }
}
