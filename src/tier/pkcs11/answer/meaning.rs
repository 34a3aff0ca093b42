//! The words in which the table says what an answer means: what is broken, whether the call may be sent again, what its caller is told.

use std::fmt;

use crate::base::{Error, Kind};

/// What is broken, from the least to the most. What the mending of a level leaves broken is for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The operation in its session: that session is closed.
    Operation,
    /// The session: it is replaced.
    Session,
    /// The login, a state of the token that all sessions share: one task logs in again.
    Login,
    /// The token: it is found again by its URI, and logged in to.
    Token,
    /// The module: C_Finalize, C_Initialize, and its tokens are found again.
    Module,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operation => "operation",
            Self::Session => "session",
            Self::Login => "login",
            Self::Token => "token",
            Self::Module => "module",
        })
    }
}

/// Whether a call, from its C_xxxInit on, may be sent again after this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Never: it would say the same, or spend another try of the PIN.
    Never,
    /// Once, within its deadline, on another session.
    Once,
    /// Once, and only after a find by CKA_ID: what the call makes, changes or destroys in the token may be done already, and a
    /// handle of before may be another object by now. Objects of a session need no look, they go when that session is closed.
    AfterLooking,
}

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// The ciphertext, the wrapped key or the other side's point is no good: the one mute kind.
    BadInput,
    /// The handle of the key or object is not known. That is no proof that the key is gone: it is to be looked up again.
    KeyGone,
    /// The module has too much to do or too little memory.
    Busy,
    /// The token gives no more sessions.
    Limit,
    /// Something is broken that this process mends.
    Away,
    /// The token does not do this, or does not let this key do it.
    Refused,
    /// A person is needed: a PIN, a locked token, a full log.
    Operator,
    /// A mistake of ours or of the module.
    Fault,
}

impl Tell {
    /// In a caller's words.
    pub(super) fn to_caller(self) -> Error {
        match self {
            Self::BadInput => Error::undecryptable(),
            Self::KeyGone => Error::new(Kind::Throttled, "The hardware security module must look up the key again; try again."),
            Self::Busy => Error::new(Kind::Throttled, "The hardware security module is busy; try again."),
            Self::Limit => Error::new(Kind::Throttled, "The hardware security module has no session to spare; try again."),
            Self::Away => {
                Error::new(Kind::Throttled, "The connection to the hardware security module is being restored; try again.")
            }
            Self::Refused => Error::unsupported("The hardware security module does not support the operation with this key."),
            Self::Operator => {
                Error::new(Kind::Unavailable, "The hardware security module cannot be used before its operator has seen to it.")
            }
            Self::Fault => Error::new(Kind::Internal, "The hardware security module refused the operation."),
        }
    }
}

/// What is needed before [`Meaning::persistent`] is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The same answer to the repeated call.
    Answer,
    /// A canary, an operation of ours on that slot, must fail too: the answer may be about one key or about its input.
    Canary,
}

/// A row of the table, as it reads for one function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meaning {
    /// What is broken and can be mended here; `None` when nothing is, or when only a person can.
    pub(crate) level: Option<Level>,
    /// What is broken when the repeated call, on another session, says the same.
    pub(crate) persistent: Option<Level>,
    /// What that takes to be believed.
    pub(crate) proof: Proof,
    /// Whether the call may be sent again.
    pub(crate) repeat: Repeat,
    /// What its caller is told.
    pub(crate) tell: Tell,
    /// The section of PKCS #11 3.1, or whose behaviour this is.
    pub(crate) reason: &'static str,
}

/// Why a PIN is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is another one.
    Wrong,
    /// There were too many wrong ones.
    Locked,
    /// It must be changed first.
    Expired,
    /// The token has no user PIN.
    NotInitialized,
}
