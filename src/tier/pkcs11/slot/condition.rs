//! What a slot does at the moment, why a person must help, and how an attempt to mend it failed: the words of `health`.

use std::time::{Duration, Instant};

use crate::base::{Error, Kind};
use crate::tier::pkcs11::answer::Level;

/// What a slot does at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Calls go through.
    Serving,
    /// It seems to be well again: operations that must succeed are tried (since when, if they are), and callers are refused until then.
    Probing(Option<Instant>),
    /// An attempt to mend it is due, or runs.
    Recovering(Attempt),
    /// Nothing is tried before this time.
    Open(Instant),
    /// A person must help; it is looked again at this time.
    Down(Why, Instant),
    /// Ended for good.
    Closed,
}

impl Condition {
    /// Whether a person would say that nothing changed: pauses and attempts alternate as long as a token is away.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let kind = |condition: &Self| match condition {
            Self::Serving => 0,
            Self::Probing(_) | Self::Recovering(_) | Self::Open(_) => 1,
            Self::Down(..) => 2,
            Self::Closed => 3,
        };
        kind(self) == kind(other)
    }
}

/// The state of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The watchdog begins it at its next look.
    Due,
    /// It runs.
    Runs,
}

/// Why a person must help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The PIN was refused, or cannot be read; it is not tried again before it changes.
    Pin,
    /// The token says that one more wrong PIN locks it, or that it is locked.
    PinLocked,
    /// More calls hang than threads may be given up.
    TooManyHung,
    /// The module must be initialised anew, and cannot be while a call hangs in it: the process must be restarted.
    NeedsRestart,
    /// The configuration names no module that can be loaded, or not exactly one token.
    Configuration,
}

/// What a caller may do.
pub(crate) enum Admission {
    /// Call.
    Go,
    /// Wait for the attempt that runs.
    Wait,
    /// Go away.
    Refuse(Error),
}

/// How an attempt failed.
pub(crate) struct Failed {
    /// Where the next one begins.
    pub(crate) next: Level,
    /// For the log and the status.
    pub(crate) text: String,
    /// When the next one comes.
    pub(crate) then: Then,
}

/// When an attempt follows one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Soon; the more of them fail, the longer the pause.
    Soon,
    /// Not before this time has passed.
    After(Duration),
    /// When a person has helped, which is looked for every now and then.
    Down(Why),
}

impl Failed {
    /// Another attempt may go better.
    pub(crate) fn soon(next: Level, text: String) -> Self {
        Self { next, text, then: Then::Soon }
    }

    /// Only a person can help. What is to be mended is not the module.
    pub(crate) fn down(why: Why, text: String) -> Self {
        Self { next: Level::Token, text, then: Then::Down(why) }
    }
}

/// What changed, for the log and the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// The epoch ended: no call may begin under it.
    Ended,
    /// The condition is another one.
    Moved,
}

/// The slot ended for good.
pub(crate) fn closed() -> Error {
    Error::new(Kind::Unavailable, "The hardware security module is being disconnected.")
}

impl Why {
    /// What a caller is told.
    pub(crate) fn refusal(self) -> Error {
        Error::new(
            Kind::Unavailable,
            match self {
                Self::Pin => "The hardware security module is not logged in to: its PIN must be set right by the operator.",
                Self::PinLocked => "The hardware security module is not logged in to: its PIN is locked or about to be.",
                Self::TooManyHung => "The hardware security module does not answer.",
                Self::NeedsRestart => "The hardware security module hangs, and the service must be restarted.",
                Self::Configuration => "The hardware security module is not found as it is configured.",
            },
        )
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pin => "PIN",
            Self::PinLocked => "PIN locked",
            Self::TooManyHung => "too many hung calls",
            Self::NeedsRestart => "needs a restart",
            Self::Configuration => "configuration",
        })
    }
}
