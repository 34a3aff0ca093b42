//! The changes of a slot's condition: calls are admitted by it and report to it, and whoever waits for a change is told.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::time::timeout_at;

use crate::base::{Error, Kind, Result, lock};
use crate::tier::pkcs11::answer::{self, Level};
use crate::tier::pkcs11::slot::condition::{Admission, Change, Condition, closed};
use crate::tier::pkcs11::slot::health::Machine;
use crate::tier::pkcs11::slot::slot::Slot;

impl Slot {
    /// Waits while the first attempt to recover runs.
    pub(crate) async fn admitted(&self, deadline: tokio::time::Instant) -> Result<()> {
        if self.calm.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let admission = lock(&self.machine).admit();
            match admission {
                Admission::Go => return Ok(()),
                Admission::Refuse(error) => return Err(error),
                Admission::Wait => {
                    timeout_at(deadline, changed.changed()).await.map_err(|_| answer::away())?.map_err(Error::internal)?;
                }
            }
        }
    }

    pub(crate) fn succeeded(&self, epoch: u64) {
        if self.calm.load(Ordering::Acquire) {
            return;
        }
        self.change(|machine, now| machine.succeeded(epoch, now));
    }

    /// A fault of this level, in this epoch.
    pub(crate) fn failed(&self, epoch: u64, level: Level, text: &str) {
        if self.change(|machine, now| machine.failed(epoch, level, text, now)) != Change::None {
            tracing::warn!(token = %self.name(), %level, failure = text, "a fault of the token");
        }
    }

    /// Changes the condition, and tells those who wait for that.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Machine, Instant) -> Change) -> Change {
        let mut machine = lock(&self.machine);
        let changed = change(&mut machine, Instant::now());
        if changed == Change::Ended {
            self.pool.end();
        }
        self.calm.store(machine.is_calm(), Ordering::Release);
        drop(machine);
        if changed != Change::None {
            self.changed.send_modify(|count| *count += 1);
        }
        changed
    }

    /// Looks at the condition.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        look(&lock(&self.machine))
    }

    /// Waits until the slot serves, or the first attempt failed; says which.
    pub(crate) async fn connected(&self) -> Result<()> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let state = self.look(|machine| match machine.condition() {
                Condition::Serving | Condition::Probing(_) => Some(Ok(())),
                Condition::Closed => Some(Err(closed())),
                Condition::Open(_) | Condition::Down(..) => Some(Err(Error::new(Kind::Unavailable, machine.reason()))),
                Condition::Recovering(_) => None,
            });
            match state {
                Some(state) => return state,
                None => changed.changed().await.map_err(Error::internal)?,
            }
        }
    }

    /// Waits until the slot serves; for as long as it takes.
    pub(crate) async fn serving(&self) -> Result<()> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let state = self.look(|machine| machine.condition().clone());
            match state {
                Condition::Serving | Condition::Probing(_) => return Ok(()),
                Condition::Closed => return Err(closed()),
                Condition::Open(_) | Condition::Down(..) | Condition::Recovering(_) => {
                    changed.changed().await.map_err(Error::internal)?;
                }
            }
        }
    }
}
