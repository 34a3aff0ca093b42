//! What must succeed as long as the token is well, as a slot asks for it. It tells a caller's input from its key, and a key from the
//! slot.
//!
//! How each of these operations is done is said by `keys`; the canary of the epoch is asked here.

use cryptoki::error::Error as Failure;

use crate::base::Kind;
use crate::tier::Ability;
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::answer::{self, Tell};
use crate::tier::pkcs11::session::canary::Canary;
use crate::tier::pkcs11::session::open::OpenSession;

/// How an operation went that succeeds as long as the token is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Works,
    Fails,
    /// It could not be tried: the token is busy, or has no session to spare.
    Unknown,
}

/// A key and what a call asks of it.
pub(crate) trait Subject: Send + Sync {
    /// Its CKA_ID.
    fn id(&self) -> &[u8];

    fn ability(&self) -> Ability;

    /// The same under the same key, on input that the process made.
    fn health(&self, session: &OpenSession<'_>) -> Health;
}

/// What the tests of a token taught of its module.
pub(crate) trait KnownGood: Send + Sync {
    /// Whether the module says so of input that is no good, when it is asked for this.
    fn is_of_bad_input(&self, failure: &Failure, ability: Ability) -> bool;

    /// An operation of this family on a key of the process's own; `None` when the canary must do.
    fn family_health(&self, session: &OpenSession<'_>, ability: Ability) -> Option<Health>;
}

impl OpenSession<'_> {
    /// Known blocks on the canary of the epoch, there and back. On a token that never made one a random byte must do.
    pub(crate) fn canary_health(&self) -> Health {
        let functions = self.functions();
        if let Some(canary) = self.memory().canary() {
            return self.health_of(canary.lives(functions, self.binding()).map_err(Fault::from));
        }
        match Canary::hatch(functions, self.binding()) {
            Ok(canary) => {
                let lives = canary.lives(functions, self.binding());
                canary.let_go(self.binding());
                self.health_of(lives.map_err(Fault::from))
            }
            Err(failure) if self.memory().makes_canaries() => self.health_of(Err(failure.into())),
            Err(_) => self.health_of(self.ping()),
        }
    }

    /// What it says of the token's health how an operation went that must succeed.
    pub(crate) fn health_of(&self, outcome: Result<(), Fault>) -> Health {
        match outcome {
            Ok(()) => Health::Works,
            Err(Fault::Module(failure) | Fault::Key(failure)) => health_of_failure(&failure, self.profile()),
            Err(Fault::Ours(error)) if error.kind() == Kind::KeyNotFound => Health::Unknown,
            Err(Fault::Ours(_) | Fault::Broken(..)) => Health::Fails,
        }
    }
}

/// What it says of the token's health that a function failed: CKR_SESSION_COUNT and its like say nothing.
pub(crate) fn health_of_failure(failure: &Failure, profile: answer::Profile) -> Health {
    match answer::meaning_of(failure, profile).tell {
        Tell::Busy | Tell::Limit => Health::Unknown,
        Tell::BadInput | Tell::KeyGone | Tell::Away | Tell::Refused | Tell::Operator | Tell::Fault => Health::Fails,
    }
}
