//! What a failed PKCS #11 call means: what is broken, whether the call may be sent again, what its caller is told.
//!
//! [`meaning`] is the door, and it is pure. Behind it, `table` has a row for every CKR of PKCS #11 3.1, `vendors` has what the
//! modules of some vendors mean by it instead, `functions` has what depends on the function that answered, and `names` the
//! names that engineers look up. C_Login has a table of its own in `login`, which says whether the token looked at the PIN.
//!
//! A row is used in two steps. What the first answer says is broken, [`Meaning::level`], is mended, and the call is repeated as
//! far as [`Meaning::repeat`] allows. When that fails likewise, [`Meaning::persistent`] is mended, if [`Meaning::proof`] is
//! there: nothing that a caller can provoke with a ciphertext or with a key of its own is a fault of the module.
//!
//! A [`Failure`] names the function and the CKR; both are logged, neither is shown to the caller.

pub(crate) mod fault;
mod functions;
mod login;
mod meaning;
mod names;
mod table;
mod vendors;

#[cfg(test)]
mod tests;

use cryptoki::context::Function;
use cryptoki::error::{Error as Failure, RvError};

use crate::base::{Error, Kind};
use functions::{changes_token, concerns_an_object, judges_input, least_level, spends_a_try};
use table::Again;

pub use functions::function_name;
pub(crate) use login::{LoginAnswer, login_answer};
pub use meaning::Level;
pub(crate) use meaning::{Meaning, Proof, Refusal, Repeat, Tell};
pub use names::ckr_name;
pub(crate) use vendors::Profile;

/// What it means that `function` of a module of `profile` answered `rv`.
pub(crate) fn meaning(rv: RvError, function: Function, profile: Profile) -> Meaning {
    let row = vendors::exception(rv, function, profile).unwrap_or_else(|| table::row(rv, function));
    let least = least_level(function);
    let repeat = match row.again {
        Again::Never => Repeat::Never,
        Again::NothingRan | Again::MayHaveRun if spends_a_try(function) => Repeat::Never,
        Again::MayHaveRun if changes_token(function) => Repeat::AfterLooking,
        Again::NothingRan | Again::MayHaveRun => Repeat::Once,
    };
    let proof = match row.again {
        Again::MayHaveRun if concerns_an_object(function) => Proof::Canary,
        Again::Never | Again::NothingRan | Again::MayHaveRun => row.proof,
    };
    Meaning {
        // A function without a session has none to close, and its first failure is not enough for more.
        level: row.level.filter(|level| *level >= least),
        persistent: row.persistent.map(|level| level.max(least)),
        proof,
        repeat,
        tell: row.tell,
        reason: row.reason,
    }
}

/// The same for every failure, those of the binding included.
pub(crate) fn meaning_of(failure: &Failure, profile: Profile) -> Meaning {
    match failure {
        Failure::Pkcs11(rv, function) => meaning(*rv, *function, profile),
        Failure::LibraryLoading(_) | Failure::MissingSymbol(_) => {
            nothing_to_mend(Tell::Operator, "the library is no PKCS#11 module")
        }
        Failure::PinNotSet => {
            nothing_to_mend(Tell::Operator, "5.6: C_Login without a PIN is for tokens with a key pad of their own")
        }
        Failure::NullFunctionPointer => nothing_to_mend(Tell::Refused, "5.4: the module's list lacks the function"),
        Failure::NotSupported => nothing_to_mend(Tell::Fault, "the binding has no such function"),
        // The call succeeded before its answer could not be read: whatever it did is done.
        Failure::TryFromInt(_)
        | Failure::TryFromSlice(_)
        | Failure::ParseInt(_)
        | Failure::Utf8(_)
        | Failure::NulError(_)
        | Failure::InvalidValue => Meaning {
            level: Some(Level::Operation),
            ..nothing_to_mend(Tell::Fault, "the module's answer is not what the standard says it is")
        },
    }
}

fn nothing_to_mend(tell: Tell, reason: &'static str) -> Meaning {
    Meaning { level: None, persistent: None, proof: Proof::Answer, repeat: Repeat::Never, tell, reason }
}

/// Whether the key that was named is not there (any more), or the handle was of another life of the module.
pub(crate) fn is_stale_handle(failure: &Failure) -> bool {
    meaning_of(failure, Profile::default()).tell == Tell::KeyGone
}

/// A failure as an engineer looks it up: `C_EncryptInit answered CKR_MECHANISM_INVALID`.
pub(crate) fn name(failure: &Failure) -> String {
    match failure {
        Failure::Pkcs11(rv, function) => format!("{} answered {}", function_name(*function), ckr_name(*rv)),
        Failure::LibraryLoading(_)
        | Failure::NotSupported
        | Failure::TryFromInt(_)
        | Failure::TryFromSlice(_)
        | Failure::ParseInt(_)
        | Failure::Utf8(_)
        | Failure::NulError(_)
        | Failure::NullFunctionPointer
        | Failure::MissingSymbol(_)
        | Failure::InvalidValue
        | Failure::PinNotSet => failure.to_string(),
    }
}

/// What the caller is told of a failed call, of a module of `profile`.
pub(crate) fn to_caller(failure: &Failure, profile: Profile) -> Error {
    meaning_of(failure, profile).tell.to_caller().caused_by(name(failure))
}

/// What callers are told while something is broken that this process mends.
pub(crate) fn away() -> Error {
    Error::new(Kind::Throttled, "The hardware security module is being recovered; try again.")
}

/// What the caller is told whose input it is that a function refused: one mute kind where it could learn something of a secret.
pub(crate) fn bad_input_to_caller(failure: &Failure) -> Error {
    let told = match failure {
        Failure::Pkcs11(_, function) if judges_input(*function) => Error::undecryptable(),
        _ => Error::invalid("The hardware security module does not take this data; it may be too long."),
    };
    told.caused_by(name(failure))
}

/// Whether the answer itself says that the input is no good.
pub(crate) fn blames_input(failure: &Failure, profile: Profile) -> bool {
    let of_data = matches!(failure, Failure::Pkcs11(RvError::DataInvalid | RvError::DataLenRange, _));
    of_data || meaning_of(failure, profile).tell == Tell::BadInput
}

/// Whether a failed function was about an object, a template or an input, rather than about session, login or token.
pub(crate) fn is_about_an_object(failure: &Failure) -> bool {
    match failure {
        Failure::Pkcs11(_, function) => concerns_an_object(*function),
        _ => false,
    }
}

/// What the caller is told when something is broken and being mended: never that its key or its input is at fault.
pub(crate) fn fault_to_caller(failure: &Failure, profile: Profile) -> Error {
    let told = to_caller(failure, profile);
    match told.kind() {
        Kind::Throttled | Kind::Unavailable => told,
        _ => Tell::Away.to_caller().caused_by(name(failure)),
    }
}

/// Function and CKR of a failure, for the counters.
pub(crate) fn names(failure: &Failure) -> (String, String) {
    match failure {
        Failure::Pkcs11(rv, function) => (function_name(*function), ckr_name(*rv).into_owned()),
        other => ("binding".to_owned(), other.to_string()),
    }
}

/// What a failed test of a mechanism, of parameters or of a template says of what the token can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The answer names what was asked for: the token lacks it.
    Lacks,
    /// Modules say it of what they lack and of a fault.
    Unclear,
    /// Nothing: something is broken.
    Fault,
}

/// What a failure of such a test says.
pub(crate) fn finding(failure: &Failure, profile: Profile) -> Finding {
    let Failure::Pkcs11(rv, function) = failure else {
        // The list lacks the function, or the answer is malformed.
        return Finding::Lacks;
    };
    let vague = matches!(
        rv,
        // kryoptic and NSS say CKR_GENERAL_ERROR of curves and attributes, others CKR_FUNCTION_FAILED and CKR_DEVICE_ERROR of parameters.
        RvError::GeneralError
            | RvError::FunctionFailed
            | RvError::DeviceError
            | RvError::VendorDefined(_)
            | RvError::UnknownErrorCode(_)
    );
    let meaning = meaning(*rv, *function, profile);
    if meaning.level >= Some(Level::Login) {
        return Finding::Fault;
    }
    match meaning.tell {
        Tell::Refused => Finding::Lacks,
        Tell::BadInput | Tell::Fault if !vague => Finding::Lacks,
        Tell::BadInput | Tell::Fault => Finding::Unclear,
        Tell::Away if vague => Finding::Unclear,
        Tell::Away | Tell::KeyGone | Tell::Busy | Tell::Limit | Tell::Operator => Finding::Fault,
    }
}
