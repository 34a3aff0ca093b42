//! What went wrong inside a call, and what its caller is told of it.

use cryptoki::error::Error as Failure;

use super::{Level, Profile, away};
use crate::base::Error;

/// What went wrong inside a call: the module's answer, what it means, or ours.
pub(crate) enum Fault {
    /// A PKCS #11 function failed.
    Module(Failure),
    /// One failed that was called for the key of the call.
    Key(Failure),
    /// No function failed, and yet this is broken.
    Broken(Level, &'static str),
    /// The input was refused, or the result did not hold.
    Ours(Error),
}

impl Fault {
    /// Says that the function that failed was called for the key of the call.
    pub(crate) fn of_key(self) -> Self {
        match self {
            Self::Module(failure) => Self::Key(failure),
            other @ (Self::Key(_) | Self::Broken(..) | Self::Ours(_)) => other,
        }
    }
}

/// What a caller is told of a fault, of a module of `profile`.
pub(crate) fn to_caller(fault: Fault, profile: Profile) -> Error {
    match fault {
        Fault::Module(failure) | Fault::Key(failure) => super::to_caller(&failure, profile),
        Fault::Broken(_, text) => away().caused_by(text),
        Fault::Ours(error) => error,
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Module(failure)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}
