//! The page of the slots, in JSON: what the telemetry listener says at `/slots`, and what `keystead hsm status` reads there.
//!
//! A program may rely on the names here; new ones may come. Durations are seconds, times are seconds ago.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `/slots`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllSlots {
    /// Every instance.
    pub instances: Vec<InstanceSlots>,
}

/// `/slots/<instance id>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceSlots {
    /// Its id.
    pub instance_id: String,
    /// What a person calls it.
    pub name: String,
    /// `Hardware` or `Software`.
    pub kind: String,
    /// Its slots; none for an instance whose keys are in the process.
    pub slots: Vec<Slot>,
}

/// A slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slot {
    /// What it does.
    pub state: State,
    /// For how long.
    pub for_seconds: f64,
    /// Why a person must help.
    pub down: Option<Down>,
    /// Why it does not serve, or did not the last time.
    pub reason: String,
    /// Who can mend it.
    pub needs: Need,
    /// What that is to do.
    pub advice: Option<String>,
    /// What is not as it should be although the slot may serve.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// How its breaker stands.
    pub breaker: Breaker,
    /// Whether the token is logged in to.
    pub logged_in: bool,
    /// C_Login calls since the start.
    pub logins: u64,
    /// Sessions.
    pub sessions: Sessions,
    /// Callers that wait.
    pub queue: Queue,
    /// How long ago a call was served.
    pub last_success_seconds: Option<f64>,
    /// What the module refused last.
    pub last_failure: Option<LastFailure>,
    /// The token, as it was found last.
    pub token: Option<Token>,
    /// The module's library.
    pub module: String,
    /// Which token is meant (RFC 7512).
    pub uri: String,
    /// Calls by kind; of every kind.
    pub operations: Vec<Calls>,
    /// Answers other than CKR_OK, by function.
    pub failures: Vec<Failures>,
    /// What was mended, by level.
    pub recoveries: BTreeMap<String, u64>,
    /// Attempts to mend it that failed.
    pub failed_recoveries: u64,
    /// Calls given up since the start.
    pub written_off: u64,
    /// Calls and attempts to mend it that panicked since the start.
    pub panics: u64,
}

/// What a slot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Calls go through.
    Serving,
    /// It is tried whether it is well again; callers are sent away until then.
    Probing,
    /// It is being mended.
    Recovering,
    /// Calls are sent away until the next try.
    Open,
    /// A person must help.
    Down,
    /// It was closed.
    Closed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Serving, Self::Probing, Self::Recovering, Self::Open, Self::Down, Self::Closed];

    /// Its name, here and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Probing => "probing",
            Self::Recovering => "recovering",
            Self::Open => "open",
            Self::Down => "down",
            Self::Closed => "closed",
        }
    }
}

/// Why a person must help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Down {
    /// The PIN was refused, or cannot be read.
    Pin,
    /// The PIN is locked, or one try is left.
    PinLocked,
    /// More calls hang than may be given up.
    TooManyHung,
    /// The module hangs and must be initialised anew.
    NeedsRestart,
    /// There is no module, or not exactly one token, as it is configured.
    Configuration,
}

impl Down {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pin, Self::PinLocked, Self::TooManyHung, Self::NeedsRestart, Self::Configuration];

    /// Its name, here and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::PinLocked => "pin_locked",
            Self::TooManyHung => "too_many_hung",
            Self::NeedsRestart => "needs_restart",
            Self::Configuration => "configuration",
        }
    }
}

/// Who can mend a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Nobody: it serves, or mends itself.
    Nobody,
    /// A person.
    Person,
    /// Whoever restarts the process.
    Restart,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// Calls go through.
    Closed,
    /// It is tried whether they do.
    HalfOpen,
    /// None does.
    Open,
}

impl Breaker {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// Its name, here and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Sessions of a slot.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sessions {
    /// As the configuration has it.
    pub configured: usize,
    /// As the token allows at the moment, and as keep the cores busy where the module computes on them.
    pub allowed: usize,
    /// Open, with the one that holds the login.
    pub open: usize,
    /// In a call.
    pub busy: usize,
    /// In a call that was given up and is not back.
    pub written_off: usize,
}

/// Callers that wait.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Queue {
    /// How many do.
    pub waiting: usize,
    /// How many may.
    pub bound: usize,
    /// How long those who left it had waited.
    pub waited: Times,
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// How often.
    pub count: u64,
    /// How long together.
    pub seconds: f64,
}

/// What the module refused last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastFailure {
    /// As `C_Sign`.
    pub function: String,
    /// As `CKR_DEVICE_ERROR`.
    pub ckr: String,
    /// How long ago.
    pub seconds: f64,
}

/// A token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// The slot that it is in.
    pub slot_id: u64,
    /// Who made it.
    pub manufacturer: String,
    /// What it is.
    pub model: String,
    /// Its firmware.
    pub firmware: String,
    /// Whether there is a user PIN.
    pub pin_initialized: bool,
    /// What its flags say of wrong PINs.
    pub pin: Pin,
    /// The most sessions that it allows; nothing when it sets no limit or does not say.
    pub session_limit: Option<usize>,
}

/// What the flags of a token say of wrong user PINs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pin {
    /// Nothing.
    Fine,
    /// CKF_USER_PIN_COUNT_LOW.
    CountLow,
    /// CKF_USER_PIN_FINAL_TRY.
    FinalTry,
    /// CKF_USER_PIN_LOCKED.
    Locked,
}

impl Pin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fine, Self::CountLow, Self::FinalTry, Self::Locked];

    /// Its name, here and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::CountLow => "count_low",
            Self::FinalTry => "final_try",
            Self::Locked => "locked",
        }
    }
}

/// Calls of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calls {
    /// Which kind.
    pub operation: String,
    /// Served.
    pub ok: u64,
    /// Refused for what the caller sent.
    pub refused: u64,
    /// Sent away to come again.
    pub throttled: u64,
    /// Overdue, or a person must help.
    pub unavailable: u64,
    /// Faults.
    pub failed: u64,
    /// Their time in the module.
    pub module: Times,
}

/// How often a function was answered by a CKR.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failures {
    /// As `C_Sign`.
    pub function: String,
    /// As `CKR_DEVICE_ERROR`.
    pub ckr: String,
    /// How often.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a metric calls a state is what the page calls it.
    #[test]
    fn names_are_one_and_the_same() {
        fn check<T: Serialize + Copy>(all: &[T], name: fn(T) -> &'static str) {
            for value in all {
                assert_eq!(serde_json::to_value(value).unwrap(), name(*value));
            }
        }
        check(&State::ALL, State::name);
        check(&Down::ALL, Down::name);
        check(&Breaker::ALL, Breaker::name);
        check(&Pin::ALL, Pin::name);
    }
}
