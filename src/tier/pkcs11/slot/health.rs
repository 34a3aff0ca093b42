//! Whether a slot serves: one state for recovery and breaker, changed by what calls and attempts report.
//!
//! Pure: the time is an argument, and nothing here calls a module. `slot` asks it to admit calls and tells it how they went;
//! `watchdog` asks it which attempt is due. An *epoch* is the time from one successful attempt to the next fault; what is told
//! of an earlier epoch is old news and changes nothing.

use std::time::{Duration, Instant};

use crate::base::random;
use crate::tier::pkcs11::answer::{Level, away};
use crate::tier::pkcs11::slot::condition::{Admission, Attempt, Change, Condition, Failed, Then, Why, closed};

/// Calls in a row that fail although they were repeated, before the breaker opens.
const FAILURES: u32 = 5;
/// How long after a recovery another one is not begun for a few failures: what it did not mend is not mended by a second one, and
/// those who are served meanwhile would lose by it. Doubles with every recovery that was followed by another so soon.
const QUIET: Duration = Duration::from_secs(1);
/// What was mended for so many quiet times was mended well.
const USEFUL: u32 = 4;
/// As often does [`QUIET`] double at the most: to about a minute.
const QUIET_DOUBLINGS: u32 = 6;
/// Failures in a row, without a success between them, that are more than a few: nobody is served any more.
const STORM: u32 = 16;
/// Pauses in a row after which calls still failed: then the breaker alone does not help.
const STUBBORN: u32 = 8;
/// The first pause before another try; it doubles up to [`PAUSE_CEILING`].
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: whatever ends a fault, the slot serves again within a second.
const PAUSE_CEILING: Duration = Duration::from_millis(400);
/// The longest pause while only a person can help: how soon a new PIN is noticed.
const PATIENT_CEILING: Duration = Duration::from_secs(1);
/// How long a probe may take before another one begins beside it.
const PROBE: Duration = Duration::from_secs(1);

/// A slot's condition with its history.
pub(crate) struct Machine {
    condition: Condition,
    epoch: u64,
    level: Level,
    reason: String,
    since: Instant,
    /// Attempts and pauses in a row after which no call went through.
    fruitless: u32,
    failures: u32,
    /// Whether a call went through in this epoch.
    fruitful: bool,
    /// When it was last mended.
    mended: Option<Instant>,
    /// Recoveries in a row that were soon followed by another.
    useless: u32,
}

impl Machine {
    /// Nothing was tried yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            condition: Condition::Recovering(Attempt::Due),
            epoch: 0,
            level: Level::Token,
            reason: "it was not connected yet".to_owned(),
            since: now,
            fruitless: 0,
            failures: 0,
            fruitful: false,
            mended: None,
            useless: 0,
        }
    }

    pub(crate) fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Why it does not serve, or did not the last time.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// Since when it serves, or does not, or needs a person.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Whether a success changes nothing: then nobody needs to tell.
    pub(crate) fn is_calm(&self) -> bool {
        self.condition == Condition::Serving && self.failures == 0 && self.fruitful
    }

    fn move_to(&mut self, condition: Condition, now: Instant) -> Change {
        if !self.condition.is_like(&condition) {
            self.since = now;
        }
        self.condition = condition;
        Change::Moved
    }

    /// Whether a call may begin.
    pub(crate) fn admit(&self) -> Admission {
        match &self.condition {
            Condition::Serving => Admission::Go,
            Condition::Recovering(_) if self.fruitless == 0 => Admission::Wait,
            Condition::Probing(_) | Condition::Recovering(_) | Condition::Open(_) => Admission::Refuse(away()),
            Condition::Down(why, _) => Admission::Refuse(why.refusal().caused_by(self.reason.clone())),
            Condition::Closed => Admission::Refuse(closed()),
        }
    }

    /// Whether it is to be tried now whether the slot is well again; then somebody does.
    pub(crate) fn begin_probe(&mut self, now: Instant) -> bool {
        match &mut self.condition {
            Condition::Probing(since) if since.is_none_or(|since| now.saturating_duration_since(since) >= PROBE) => {
                *since = Some(now);
                true
            }
            Condition::Serving
            | Condition::Probing(_)
            | Condition::Recovering(_)
            | Condition::Open(_)
            | Condition::Down(..)
            | Condition::Closed => false,
        }
    }

    /// That ended, perhaps without saying anything of the slot.
    pub(crate) fn probe_is_back(&mut self) {
        if let Condition::Probing(probe) = &mut self.condition {
            *probe = None;
        }
    }

    /// A call of this epoch was answered as it should be.
    pub(crate) fn succeeded(&mut self, epoch: u64, now: Instant) -> Change {
        if epoch != self.epoch {
            return Change::None;
        }
        match self.condition {
            Condition::Serving => {
                (self.failures, self.fruitless, self.fruitful) = (0, 0, true);
                Change::None
            }
            Condition::Probing(_) => {
                (self.failures, self.fruitless, self.fruitful) = (0, 0, true);
                self.move_to(Condition::Serving, now)
            }
            Condition::Recovering(_) | Condition::Open(_) | Condition::Down(..) | Condition::Closed => Change::None,
        }
    }

    /// A call of this epoch failed by a fault of this level.
    pub(crate) fn failed(&mut self, epoch: u64, level: Level, text: &str, now: Instant) -> Change {
        let serves = matches!(self.condition, Condition::Serving | Condition::Probing(_));
        if epoch != self.epoch || !serves {
            return Change::None;
        }
        match level {
            Level::Operation | Level::Session => {
                self.failures += 1;
                if self.failures < FAILURES && self.condition == Condition::Serving {
                    return Change::None;
                }
                text.clone_into(&mut self.reason);
                self.fruitless += 1;
                // Nothing but time was tried so far; when that does not help, everything is.
                self.level = if self.fruitless < STUBBORN { Level::Operation } else { Level::Module };
                let paused = self.pause(now);
                if self.level == Level::Operation { paused } else { Change::Ended }
            }
            Level::Login | Level::Token | Level::Module => {
                let quiet = QUIET * (1 << self.useless.min(QUIET_DOUBLINGS));
                let mended_within = |time| self.mended.is_some_and(|mended| now.saturating_duration_since(mended) < time);
                let soon = mended_within(quiet);
                if self.fruitful && soon && self.failures + 1 < STORM {
                    self.failures += 1;
                    return Change::None;
                }
                self.useless = if mended_within(quiet * USEFUL) { self.useless.saturating_add(1) } else { 0 };
                text.clone_into(&mut self.reason);
                if self.fruitful {
                    self.level = level;
                    self.fruitless = 0;
                    self.move_to(Condition::Recovering(Attempt::Due), now);
                } else {
                    // The attempt before did not help: the next one goes deeper, after a pause.
                    self.level = deeper(level);
                    self.fruitless += 1;
                    self.pause(now);
                }
                Change::Ended
            }
        }
    }

    /// The module was initialised by somebody else, or is not at all any more.
    pub(crate) fn lost_everything(&mut self, now: Instant) -> Change {
        match self.condition {
            Condition::Serving | Condition::Probing(_) => {
                "the module was initialised anew for another slot".clone_into(&mut self.reason);
                self.level = Level::Token;
                self.move_to(Condition::Recovering(Attempt::Due), now);
                Change::Ended
            }
            Condition::Recovering(_) | Condition::Open(_) | Condition::Down(..) | Condition::Closed => Change::None,
        }
    }

    /// More calls hang than may be given up.
    pub(crate) fn too_many_hang(&mut self, now: Instant) -> Change {
        match self.condition {
            Condition::Closed | Condition::Down(Why::TooManyHung, _) => Change::None,
            Condition::Serving | Condition::Probing(_) | Condition::Recovering(_) | Condition::Open(_) | Condition::Down(..) => {
                "too many calls hang in the module".clone_into(&mut self.reason);
                self.level = self.level.max(Level::Login);
                self.fruitless += 1;
                let pause = self.length_of_pause(PAUSE_CEILING);
                self.move_to(Condition::Down(Why::TooManyHung, now + pause), now);
                Change::Ended
            }
        }
    }

    /// The attempt that runs does not come back: nobody waits for it any more.
    pub(crate) fn attempt_hangs(&mut self, now: Instant) -> Change {
        if self.condition == Condition::Closed {
            return Change::None;
        }
        "the recovery of the token hangs in the module".clone_into(&mut self.reason);
        self.fruitless += 1;
        self.move_to(Condition::Down(Why::TooManyHung, now), now)
    }

    /// The attempt that runs waits for something outside of the module, for longer than a call may take: nobody waits for it any more.
    pub(crate) fn attempt_waits(&mut self, why: Why, text: String, now: Instant) -> Change {
        if self.condition == Condition::Closed {
            return Change::None;
        }
        self.reason = text;
        self.fruitless += 1;
        self.move_to(Condition::Down(why, now), now)
    }

    /// The attempt that is due at this time, if one is; it counts as running from now on.
    pub(crate) fn begin_attempt(&mut self, now: Instant) -> Option<Level> {
        match self.condition {
            Condition::Recovering(Attempt::Due) => {}
            Condition::Open(until) | Condition::Down(_, until) if now >= until => {
                if self.level == Level::Operation {
                    // Nothing but calls failed: that is tried before anything is mended.
                    self.move_to(Condition::Probing(None), now);
                    return None;
                }
            }
            Condition::Serving
            | Condition::Probing(_)
            | Condition::Recovering(Attempt::Runs)
            | Condition::Open(_)
            | Condition::Down(..)
            | Condition::Closed => return None,
        }
        if !matches!(self.condition, Condition::Down(..)) {
            self.move_to(Condition::Recovering(Attempt::Runs), now);
        }
        Some(self.level)
    }

    /// The attempt that ran went well: a new epoch.
    pub(crate) fn recovered(&mut self, epoch: u64, now: Instant) -> Change {
        if self.condition == Condition::Closed {
            return Change::None;
        }
        // The first connection mends nothing.
        self.mended = (self.epoch != 0).then_some(now);
        self.epoch = epoch;
        self.failures = 0;
        self.fruitful = false;
        self.move_to(if self.fruitless == 0 { Condition::Serving } else { Condition::Probing(None) }, now)
    }

    /// The attempt that ran failed.
    pub(crate) fn attempt_failed(&mut self, failed: Failed, now: Instant) -> Change {
        if self.condition == Condition::Closed {
            return Change::None;
        }
        self.fruitless = self.fruitless.saturating_add(1);
        self.level = failed.next;
        self.reason = failed.text;
        match failed.then {
            Then::Down(why) => {
                let ceiling = match why {
                    // A call that comes back is help, too.
                    Why::NeedsRestart | Why::TooManyHung => PAUSE_CEILING,
                    Why::Pin | Why::PinLocked | Why::Configuration => PATIENT_CEILING,
                };
                let pause = self.length_of_pause(ceiling);
                self.move_to(Condition::Down(why, now + pause), now)
            }
            Then::After(time) => self.move_to(Condition::Open(now + time), now),
            Then::Soon => self.pause(now),
        }
    }

    /// Nothing is served from now on. A second time it changes nothing.
    pub(crate) fn close(&mut self, now: Instant) -> Change {
        if self.condition == Condition::Closed {
            return Change::None;
        }
        self.move_to(Condition::Closed, now)
    }

    fn pause(&mut self, now: Instant) -> Change {
        let pause = self.length_of_pause(PAUSE_CEILING);
        self.move_to(Condition::Open(now + pause), now)
    }

    /// Between half and the whole of what is due, so that several slots do not come at once.
    fn length_of_pause(&self, ceiling: Duration) -> Duration {
        let whole = PAUSE.saturating_mul(1 << self.fruitless.saturating_sub(1).min(16)).min(ceiling);
        let [jitter] = random::bytes::<1>();
        whole / 2 + (whole / 2) * u32::from(jitter) / 255
    }
}

/// The next deeper level at which a slot can be mended.
pub(crate) fn deeper(level: Level) -> Level {
    match level {
        Level::Operation | Level::Session => Level::Login,
        Level::Login => Level::Token,
        Level::Token | Level::Module => Level::Module,
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
