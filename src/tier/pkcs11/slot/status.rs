//! What a slot tells of itself: for health, metrics and a person. Plain data, public.
//!
//! Everything that it is made of is here, so that whoever shows it need not know what kind of tier it comes from.

use std::collections::BTreeMap;
use std::time::Duration;

pub use crate::tier::pkcs11::answer::Level;
pub use crate::tier::pkcs11::library::token::{PinState, TokenSummary};
pub use crate::tier::pkcs11::session::handles::Refusal;
pub use crate::tier::pkcs11::session::random::Generator;
pub use crate::tier::pkcs11::slot::condition::Why;

/// The kinds of call, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// C_EncryptInit, C_Encrypt.
    Encrypt,
    /// C_DecryptInit, C_Decrypt, or C_DeriveKey.
    Decrypt,
    /// C_SignInit, C_Sign.
    Sign,
    /// C_GenerateRandom for a caller.
    Random,
    /// C_GenerateKey, C_GenerateKeyPair.
    Generate,
    /// C_CreateObject.
    Import,
    /// C_DestroyObject.
    Destroy,
    /// Finding a key or all of them.
    Find,
    /// What a token can do, and whether it works.
    Health,
    /// The service's own: keeping sessions alive, cleaning up.
    Upkeep,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Encrypt,
        Self::Decrypt,
        Self::Sign,
        Self::Random,
        Self::Generate,
        Self::Import,
        Self::Destroy,
        Self::Find,
        Self::Health,
        Self::Upkeep,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
            Self::Random => "random",
            Self::Generate => "generate",
            Self::Import => "import",
            Self::Destroy => "destroy",
            Self::Find => "find",
            Self::Health => "health",
            Self::Upkeep => "upkeep",
        }
    }
}

/// How calls ended, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Served.
    Ok,
    /// The caller's input was refused, or the key is not there.
    Refused,
    /// Sent away to come again: the queue, the deadline, a recovery.
    Throttled,
    /// Overdue, or a person must help.
    Unavailable,
    /// A fault.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Refused, Self::Throttled, Self::Unavailable, Self::Failed];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// What a slot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Calls go through.
    Serving,
    /// Operations that must succeed try whether it is well again (the breaker is half open).
    Probing,
    /// It is being mended.
    Recovering,
    /// Calls are sent away until the next try (the breaker is open).
    Open,
    /// A person must help.
    Down(Why),
    /// It was closed.
    Closed,
}

impl std::fmt::Display for SlotState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serving => f.write_str("serving"),
            Self::Probing => f.write_str("probing"),
            Self::Recovering => f.write_str("recovering"),
            Self::Open => f.write_str("open"),
            Self::Down(why) => write!(f, "down: {why}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// Sessions of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// As the settings have it.
    pub configured: usize,
    /// As the token allows at the moment, and as keep the cores busy where the module computes on them.
    pub allowed: usize,
    /// Open, with the one that holds the login.
    pub open: usize,
    /// In a call.
    pub busy: usize,
    /// In a call that was given up, and is not back.
    pub written_off: usize,
}

/// A failure of a function of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// As `C_Sign`.
    pub function: String,
    /// As `CKR_DEVICE_ERROR`.
    pub ckr: String,
    /// How long ago.
    pub ago: Duration,
}

/// Durations by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many took at most as long as each of [`Histogram::EDGES`]; not cumulative.
    pub buckets: Vec<u64>,
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub sum: Duration,
}

impl Histogram {
    /// Upper edges in microseconds; what took longer is in the count alone.
    pub const EDGES: [u64; 12] = [25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000, 10_000_000];
}

/// What a slot tells of itself.
#[derive(Clone, Debug)]
pub struct SlotStatus {
    /// The module's library.
    pub module: String,
    /// Which token is meant (RFC 7512).
    pub uri: String,
    /// What it does.
    pub state: SlotState,
    /// For how long.
    pub since: Duration,
    /// Why it does not serve, or did not the last time.
    pub reason: String,
    /// What the token said of itself when it was found last, PIN flags and firmware among it.
    pub token: Option<TokenSummary>,
    /// Whether it is logged in to.
    pub logged_in: bool,
    /// Its sessions.
    pub sessions: Sessions,
    /// Callers that wait, and the most that may.
    pub queue: (usize, usize),
    /// How long ago a call was served.
    pub last_success: Option<Duration>,
    /// What failed last.
    pub last_failure: Option<LastFailure>,
    /// Calls by kind and outcome.
    pub calls: BTreeMap<(Operation, Outcome), u64>,
    /// Time in the queue.
    pub waited: Histogram,
    /// Time in the module, by kind.
    pub worked: BTreeMap<Operation, Histogram>,
    /// Failures by function and CKR.
    pub failures: BTreeMap<(String, String), u64>,
    /// What was mended, by level.
    pub recoveries: BTreeMap<Level, u64>,
    /// Attempts to recover that failed.
    pub failed_recoveries: u64,
    /// C_Login calls.
    pub logins: u64,
    /// Calls given up so far.
    pub written_off: u64,
    /// CKA_IDs of keys that the token fails with while it serves others of their kind.
    pub failing_keys: Vec<String>,
    /// Keys that are not used, by the text of their CKA_ID, and why.
    pub refused: Vec<(String, Refusal)>,
    /// The token's random number generator.
    pub generator: Generator,
    /// Draws of it that failed a health test so far, and were left out.
    pub generator_failures: u64,
    /// Calls, attempts to recover and looks after the slot that panicked.
    pub panics: u64,
}
