//! A gate that calls into the real module pass: it counts who is inside, can be shut for ever or for a moment, and says when
//! nobody is inside any more.
//!
//! One stands before each session and one before everything that belongs to no session. Whoever closes a session or finalises
//! the real module on command shuts the gates first and waits until they are empty: SoftHSM crashes otherwise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::lock;

/// Nobody comes in any more.
const DEAD: u64 = 1 << 63;
/// The program is closing it; should that fail, it opens again.
const CLOSING: u64 = 1 << 62;
/// Who comes waits outside.
const PAUSED: u64 = 1 << 61;
/// The rest is how many are inside.
const COUNT: u64 = PAUSED - 1;

/// How long a command waits for calls to come out of the real module.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where paused calls wait, for whatever gate.
static RESUMED: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// See the file.
#[derive(Debug)]
pub struct Gate(AtomicU64);

/// Somebody who is inside.
#[must_use]
pub struct Inside<'a> {
    gate: &'a Gate,
    /// How many were inside already.
    pub others: u64,
}

/// The gate is shut.
#[derive(Debug, PartialEq, Eq)]
pub struct Shut;

impl Gate {
    /// One that lets in.
    pub fn open() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One that does not, until [`Gate::revive`].
    pub const fn shut() -> Self {
        Self(AtomicU64::new(DEAD))
    }

    /// Goes in; waits while the gate is paused.
    ///
    /// # Errors
    /// It is shut.
    pub fn enter(&self) -> Result<Inside<'_>, Shut> {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            if now & (DEAD | CLOSING) != 0 {
                return Err(Shut);
            }
            if now & PAUSED != 0 {
                self.wait_while_paused();
                now = self.0.load(Ordering::Relaxed);
                continue;
            }
            match self.0.compare_exchange_weak(now, now + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(before) => return Ok(Inside { gate: self, others: before & COUNT }),
                Err(other) => now = other,
            }
        }
    }

    fn wait_while_paused(&self) {
        let mut waiting = lock(&RESUMED.0);
        while self.0.load(Ordering::Acquire) & PAUSED != 0 {
            waiting = RESUMED.1.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Whether nobody comes in any more.
    pub fn is_shut(&self) -> bool {
        self.0.load(Ordering::Acquire) & (DEAD | CLOSING) != 0
    }

    /// Whether it is shut for ever.
    pub fn is_dead(&self) -> bool {
        self.0.load(Ordering::Acquire) & DEAD != 0
    }

    /// Shuts it for ever; `Err` if it was shut. Those inside stay inside.
    ///
    /// # Errors
    /// It was shut already.
    pub fn kill(&self) -> Result<(), Shut> {
        if self.0.fetch_or(DEAD, Ordering::AcqRel) & DEAD != 0 { Err(Shut) } else { Ok(()) }
    }

    /// Undoes [`Gate::kill`].
    pub fn revive(&self) {
        self.0.fetch_and(!DEAD, Ordering::AcqRel);
    }

    /// Shuts it until [`Gate::stay_open`].
    ///
    /// # Errors
    /// It was shut already.
    pub fn closing(&self) -> Result<(), Shut> {
        if self.0.fetch_or(CLOSING, Ordering::AcqRel) & (DEAD | CLOSING) != 0 { Err(Shut) } else { Ok(()) }
    }

    /// Undoes [`Gate::closing`].
    pub fn stay_open(&self) {
        self.0.fetch_and(!CLOSING, Ordering::AcqRel);
    }

    /// How many are inside.
    pub fn inside(&self) -> u64 {
        self.0.load(Ordering::Acquire) & COUNT
    }

    /// Runs `work` while nobody is inside any of `gates`; who comes meanwhile waits. Of one gate only one thread at a time does so.
    ///
    /// # Errors
    /// The real module keeps a call for too long; then `work` has not run.
    pub fn alone<T>(gates: &[&Self], work: impl FnOnce() -> T) -> Result<T, String> {
        let _paused = Paused::new(gates);
        let began = Instant::now();
        for gate in gates {
            // A command has time, and no call should pay for waking it.
            while gate.inside() != 0 {
                if began.elapsed() > PATIENCE {
                    return Err(format!("a call is inside the real module for more than {} s", PATIENCE.as_secs()));
                }
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(work())
    }
}

/// Gates that let whoever comes wait, until this is dropped.
struct Paused<'a>(&'a [&'a Gate]);

impl<'a> Paused<'a> {
    fn new(gates: &'a [&'a Gate]) -> Self {
        for gate in gates {
            gate.0.fetch_or(PAUSED, Ordering::AcqRel);
        }
        Self(gates)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let _waiting = lock(&RESUMED.0);
        for gate in self.0 {
            gate.0.fetch_and(!PAUSED, Ordering::AcqRel);
        }
        RESUMED.1.notify_all();
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.gate.0.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_gate_lets_nobody_in() {
        let gate = Gate::open();
        let first = gate.enter().unwrap();
        assert_eq!((first.others, gate.enter().unwrap().others), (0, 1));
        assert_eq!(gate.kill(), Ok(()));
        assert_eq!(gate.kill(), Err(Shut));
        assert!(gate.enter().is_err());
        assert_eq!(gate.inside(), 1);
        drop(first);
        assert_eq!(gate.inside(), 0);
    }

    #[test]
    fn what_is_closing_may_stay_open_and_what_is_dead_may_not() {
        let gate = Gate::open();
        gate.closing().unwrap();
        assert!(gate.enter().is_err());
        gate.stay_open();
        assert!(gate.enter().is_ok());
        gate.closing().unwrap();
        gate.kill().unwrap();
        gate.stay_open();
        assert!(gate.enter().is_err());
    }

    #[test]
    fn who_comes_in_a_pause_waits() {
        let gate = Gate::open();
        std::thread::scope(|scope| {
            let waiting = Gate::alone(&[&gate], || {
                let waiting = scope.spawn(|| gate.enter().is_ok());
                assert_eq!(gate.inside(), 0);
                waiting
            });
            assert!(waiting.unwrap().join().unwrap());
            let waiting = Gate::alone(&[&gate], || {
                let waiting = scope.spawn(|| gate.enter().is_ok());
                gate.kill().unwrap();
                waiting
            });
            assert!(!waiting.unwrap().join().unwrap());
        });
    }

    #[test]
    fn a_pause_waits_for_those_inside() {
        let gate = Gate::open();
        let left = std::sync::atomic::AtomicBool::new(false);
        let inside = gate.enter().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| Gate::alone(&[&gate], || assert!(left.load(Ordering::SeqCst))).unwrap());
            left.store(true, Ordering::SeqCst);
            drop(inside);
        });
    }
}
