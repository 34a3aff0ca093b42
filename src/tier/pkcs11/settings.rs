//! How to reach a token and how much may be asked of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::Pin;
use crate::tier::pkcs11::library::uri::TokenUri;
use crate::tier::pkcs11::queue::reserve::Relief;
use crate::tier::pkcs11::slot::notes::{LoginNotes, LoginNotesInMemory};
use crate::tier::pkcs11::slot::pin::PinSource;

/// Working sessions of a slot, unless it says otherwise.
pub const SESSIONS: usize = 64;
/// Callers that may wait for a session, unless it says otherwise.
pub const QUEUE: usize = 1024;
/// How long a call may take, waiting included: below the 10 s that the clients wait.
pub const DEADLINE: Duration = Duration::from_secs(8);
/// How long making a key may take: RSA-4096 takes seconds.
pub const GENERATION_DEADLINE: Duration = Duration::from_secs(60);
/// Calls that may hang at once before the slot is down, unless it says otherwise: each costs a thread and a session.
pub const WRITTEN_OFF: usize = 16;
/// How long a session may be idle before it is used once: below the 30 s after which a YubiHSM drops it, and the minutes after
/// which a firewall forgets a connection.
pub const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long after a login that got no clear answer another one is tried, unless it says otherwise.
pub const LOGIN_PAUSE: Duration = Duration::from_secs(10);

/// How to reach a token.
#[derive(Clone)]
pub struct Settings {
    /// The module's library; a path, not a name to be searched for.
    pub module: PathBuf,
    /// Which token; exactly one must match.
    pub token: TokenUri,
    /// Where the PIN of its user comes from; asked at every login.
    pub pin: Arc<dyn PinSource>,
    /// What is known of PINs that the token refused, or may have refused: they are not tried again.
    pub login_notes: Arc<dyn LoginNotes>,
    /// How long after a login that got no clear answer another one is tried, in whole seconds.
    pub login_pause: Duration,
    /// Whether the token's word that its PIN is locked, or about to be, keeps it from being logged in to.
    pub pin_flags: FlagsPolicy,
    /// The most sessions that work at once; less when the token allows less.
    pub sessions: usize,
    /// Whether so many work at once in a module that computes on the cores of this machine, too.
    pub oversubscription: Oversubscription,
    /// The most callers that wait for a session; one more is refused at once.
    pub queue: usize,
    /// How long a call may take, waiting included.
    pub deadline: Duration,
    /// How long making a key may take.
    pub generation_deadline: Duration,
    /// The most calls that may hang before the slot is down.
    pub written_off: usize,
    /// How long a session may be idle before it is used once.
    pub keepalive: Duration,
    /// What happens when the token lacks a hash of RSA-OAEP.
    pub oaep: OaepPolicy,
    /// What lets the spare workers of the runtime go when calls hang; `None` when they are not kept back.
    pub relief: Option<Relief>,
}

impl Settings {
    /// With the defaults of this module.
    pub fn new(module: impl Into<PathBuf>, token: TokenUri, pin: Pin) -> Self {
        Self {
            module: module.into(),
            token,
            pin: Arc::new(pin),
            login_notes: Arc::new(LoginNotesInMemory::default()),
            login_pause: LOGIN_PAUSE,
            pin_flags: FlagsPolicy::Obey,
            sessions: SESSIONS,
            oversubscription: Oversubscription::Avoid,
            queue: QUEUE,
            deadline: DEADLINE,
            generation_deadline: GENERATION_DEADLINE,
            written_off: WRITTEN_OFF,
            keepalive: KEEPALIVE,
            oaep: OaepPolicy::Assisted,
            relief: None,
        }
    }
}

/// What happens when a module computes on the cores of this machine, as a token in software does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversubscription {
    /// No more calls work at once than keep the cores busy. More would not be served sooner, and the operating system, which knows
    /// no [`Share`](crate::tier::Share), would say whose turn it is.
    Avoid,
    /// As many as there are sessions.
    Allow,
}

/// What CKF_USER_PIN_FINAL_TRY and CKF_USER_PIN_LOCKED do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagsPolicy {
    /// Nobody logs in: a wrong PIN would lock the token, and a locked one refuses every PIN.
    Obey,
    /// The operator knows better: some modules set them wrongly.
    Ignore,
}

/// What happens when the token lacks a hash of RSA-OAEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OaepPolicy {
    /// Keys that need it are refused.
    TokenOnly,
    /// Raw RSA in the token, OAEP decoded in the process, in constant time. The plaintext is seen by the process either way.
    Assisted,
}
