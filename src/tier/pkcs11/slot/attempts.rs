//! Attempts to mend a slot: one at a time is begun, watched and ended here; `mend` is what it does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::{Error, lock};
use crate::tier::pkcs11::answer::Level;
use crate::tier::pkcs11::library::registry;
use crate::tier::pkcs11::slot::condition::{Change, Condition, Failed, Why};
use crate::tier::pkcs11::slot::health::Machine;
use crate::tier::pkcs11::slot::mend::{self, Ready};
use crate::tier::pkcs11::slot::pin::Answer;
use crate::tier::pkcs11::slot::slot::Slot;
use crate::tier::pkcs11::slot::watch::{Running, Whereabouts};

/// How often whoever waits for the end of an attempt looks.
const GLANCE: Duration = Duration::from_millis(5);

impl Slot {
    /// An attempt that hangs: nobody waits for it, and none is begun beside it, so that no PIN is tried twice.
    pub(super) fn watch_attempt(&self, now: Instant) {
        let mut attempt = lock(&self.watch.attempt);
        let Some(running) = attempt.as_mut().filter(|running| !running.late && now >= running.overdue) else { return };
        running.late = true;
        match running.at {
            Whereabouts::Module => {
                let counted = std::mem::replace(&mut running.hung, true);
                drop(attempt);
                if !counted {
                    self.lease.count_hung();
                }
                self.change(Machine::attempt_hangs);
                self.lease.tell_if_initialisation_hangs();
                tracing::error!(token = %self.name(), "the recovery of the token hangs in the module");
            }
            Whereabouts::Library => {
                drop(attempt);
                self.tell_that_attempt_waits(Why::Configuration, registry::silent(self.lease.path()).message());
            }
            Whereabouts::PinSource => {
                drop(attempt);
                let text =
                    format!("{} has given no answer for {} s.", self.settings.pin.name(), self.settings.deadline.as_secs_f64());
                self.tell_that_attempt_waits(Why::Pin, &text);
            }
        }
    }

    fn tell_that_attempt_waits(&self, why: Why, text: &str) {
        self.change(|machine, now| machine.attempt_waits(why, text.to_owned(), now));
        tracing::warn!(token = %self.name(), reason = text, "the token cannot be recovered yet");
    }

    /// Loads the library if it is not loaded yet, for an attempt. While that hangs, no function of the module does.
    pub(crate) fn load_library(&self) -> Result<(), Error> {
        if self.lease.is_loaded() {
            return Ok(());
        }
        self.attempt_is_at(Whereabouts::Library);
        let loaded = self.lease.load(Instant::now() + self.settings.deadline);
        self.attempt_is_at(Whereabouts::Module);
        loaded
    }

    /// From now on the attempt that runs, if one does, waits for somebody else.
    fn attempt_is_at(&self, at: Whereabouts) {
        if let Some(running) = lock(&self.watch.attempt).as_mut() {
            (running.at, running.late, running.overdue) = (at, false, Instant::now() + self.settings.deadline);
        }
    }

    /// Asks the source of the PIN, for an attempt. That it takes its time is not the module's fault.
    pub(crate) fn ask_for_pin(&self) -> Answer {
        self.attempt_is_at(Whereabouts::PinSource);
        let answer = self.asked.ask(&*self.settings.pin);
        self.attempt_is_at(Whereabouts::Module);
        answer
    }

    /// What the source of the PIN said last, if it need not be asked again.
    pub(crate) fn pin_lately(&self) -> Option<Answer> {
        self.asked.lately(&*self.settings.pin, Instant::now())
    }

    pub(super) fn begin_attempt(self: &Arc<Self>, level: Level, now: Instant) {
        *lock(&self.watch.attempt) =
            Some(Running { at: Whereabouts::Module, overdue: now + self.settings.deadline, late: false, hung: false });
        let slot = Arc::clone(self);
        let job = move || {
            // What it had begun is begun anew, and the module is left alone unless it was to be initialised anyway.
            let panicked = || Failed::soon(level.max(Level::Token), "an attempt to recover panicked".to_owned());
            let attempt = || {
                tracing::debug!(token = %slot.name(), %level, "an attempt to recover begins");
                mend::attempt(&slot, level)
            };
            let outcome = slot.caught(attempt).unwrap_or_else(|| Err(panicked()));
            if slot.caught(|| slot.conclude_attempt(outcome)).is_none() {
                // It may have got as far as to say how the attempt ended.
                slot.change(|machine, now| match machine.condition() {
                    Condition::Recovering(_) => machine.attempt_failed(panicked(), now),
                    Condition::Serving | Condition::Probing(_) | Condition::Open(_) | Condition::Down(..) | Condition::Closed => {
                        Change::None
                    }
                });
            }
            slot.end_attempt();
            None
        };
        if let Err(error) = self.threads.run(Box::new(job)) {
            let text = format!("the system gives no thread: {error}");
            self.conclude_attempt(Err(Failed::soon(level, text)));
            self.end_attempt();
        }
    }

    /// Another attempt may begin.
    fn end_attempt(&self) {
        let ended = lock(&self.watch.attempt).take();
        if ended.is_some_and(|running| running.hung) {
            self.lease.count_back();
        }
    }

    fn conclude_attempt(&self, outcome: Result<Ready, Failed>) {
        match outcome {
            Ok(ready) => {
                let level = ready.level;
                let mut ready = Some(ready);
                self.change(|machine, now| match ready.take() {
                    Some(ready) if *machine.condition() != Condition::Closed => {
                        let epoch = ready.begin(self);
                        machine.recovered(epoch, now)
                    }
                    other => {
                        ready = other;
                        Change::None
                    }
                });
                match ready {
                    Some(ready) => ready.discard(self),
                    None => {
                        self.counters.recovered(level);
                        tracing::info!(token = %self.name(), %level, sessions = self.capacity.sessions(), "the token serves");
                        lock(&self.watch.disturbance).reset();
                    }
                }
            }
            Err(failed) => {
                self.counters.recovery_failed();
                let text = failed.text.clone();
                let known = self.look(|machine| machine.reason() == text);
                self.change(|machine, now| machine.attempt_failed(failed, now));
                // The same reason again and again is said once.
                if known {
                    tracing::debug!(token = %self.name(), reason = text, "the token cannot be recovered yet");
                } else {
                    tracing::warn!(token = %self.name(), reason = text, "the token cannot be recovered yet");
                }
            }
        }
    }

    /// Whether an attempt may initialise the module anew although another slot of it serves.
    pub(crate) fn may_disturb(&self) -> bool {
        lock(&self.watch.disturbance).take(Instant::now())
    }

    /// Waits until no attempt runs, but for none that hangs. The source of a PIN does not: it ends by itself.
    pub(crate) fn await_attempt(&self, until: Instant) -> bool {
        loop {
            let late = match &*lock(&self.watch.attempt) {
                None => return true,
                Some(running) => running.late && running.at != Whereabouts::PinSource,
            };
            if late || Instant::now() >= until {
                return false;
            }
            std::thread::sleep(GLANCE);
        }
    }
}
