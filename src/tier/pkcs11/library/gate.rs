//! The gate before a module: every call into it holds a pass, and C_Finalize runs when nobody holds one.
//!
//! C_Finalize under a running call crashes modules, and handles of before it are other objects afterwards. So the number of the
//! initialisation is read under the pass: what was opened under one number is never used under another. Used by `module`, and by
//! whoever calls into it; it knows no function of PKCS #11.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Set while nobody may enter; the other bits count who is inside.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Counts who is inside.
pub(crate) struct Gate {
    inside: AtomicUsize,
    initialisation: AtomicU64,
    drained: Mutex<()>,
    left: Condvar,
    opened: watch::Sender<u64>,
}

/// The right to call into the module.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    /// Which C_Initialize it is good for, counted from 1.
    pub(crate) initialisation: u64,
}

impl Gate {
    /// Closed: nothing is initialised yet.
    pub(crate) fn new() -> Self {
        Self {
            inside: AtomicUsize::new(CLOSED),
            initialisation: AtomicU64::new(0),
            drained: Mutex::default(),
            left: Condvar::new(),
            opened: watch::Sender::new(0),
        }
    }

    /// Enters, unless the gate is closed.
    pub(crate) fn enter(&self) -> Option<Pass<'_>> {
        let before = self.inside.fetch_add(1, Ordering::AcqRel);
        let pass = Pass { gate: self, initialisation: self.initialisation.load(Ordering::Acquire) };
        (before & CLOSED == 0).then_some(pass)
    }

    /// The number of the last C_Initialize; 0 before the first.
    pub(crate) fn initialisation(&self) -> u64 {
        self.initialisation.load(Ordering::Acquire)
    }

    /// How many are inside.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::Acquire) & !CLOSED
    }

    /// Closes and waits until everybody has left, at most for `patience`; then it opens again and tells how many are inside.
    pub(crate) fn close(&self, patience: Duration) -> Result<(), usize> {
        self.inside.fetch_or(CLOSED, Ordering::AcqRel);
        let until = Instant::now() + patience;
        let mut guard = self.drained.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let inside = self.inside();
            if inside == 0 {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(guard);
                self.reopen();
                return Err(inside);
            }
            guard = self.left.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Opens after a C_Initialize: what was opened before it is void.
    pub(crate) fn open_anew(&self) {
        self.initialisation.fetch_add(1, Ordering::AcqRel);
        self.reopen();
    }

    /// Opens again; what was opened before it was closed is good.
    pub(crate) fn reopen(&self) {
        self.inside.fetch_and(!CLOSED, Ordering::AcqRel);
        self.opened.send_modify(|count| *count += 1);
    }

    /// Waits until the gate is open.
    pub(crate) async fn opened(&self) {
        let mut opened = self.opened.subscribe();
        while self.inside.load(Ordering::Acquire) & CLOSED != 0 {
            if opened.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let before = self.gate.inside.fetch_sub(1, Ordering::AcqRel);
        if before == CLOSED + 1 {
            // Under the lock, so that it is not missed between a look at the count and the wait.
            let _guard = self.gate.drained.lock().unwrap_or_else(PoisonError::into_inner);
            self.gate.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn nobody_enters_before_the_first_initialisation_and_while_it_is_closed() {
        let gate = Gate::new();
        assert!(gate.enter().is_none());
        gate.open_anew();
        assert_eq!(gate.enter().unwrap().initialisation, 1);
        gate.close(PATIENCE).unwrap();
        assert!(gate.enter().is_none());
        gate.open_anew();
        assert_eq!(gate.enter().unwrap().initialisation, 2);
    }

    #[test]
    fn who_does_not_leave_keeps_it_from_closing() {
        let gate = Gate::new();
        gate.open_anew();
        let pass = gate.enter().unwrap();
        assert_eq!(gate.close(Duration::from_millis(1)), Err(1));
        assert!(gate.enter().is_some(), "it is open again");
        drop(pass);
        gate.close(PATIENCE).unwrap();
    }

    #[test]
    fn closing_waits_for_those_inside() {
        let gate = Gate::new();
        gate.open_anew();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut entered = 0;
                    while entered < 2_000 {
                        let Some(_pass) = gate.enter() else { continue };
                        inside.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        entered += 1;
                    }
                });
            }
            for _ in 0..200 {
                gate.close(PATIENCE).unwrap();
                assert_eq!(inside.load(Ordering::SeqCst), 0);
                gate.open_anew();
            }
        });
        assert_eq!(gate.initialisation(), 201);
    }
}
