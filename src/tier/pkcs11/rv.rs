//! What a failed PKCS #11 call means: whether its session may go on, and what the caller is told.
//!
//! A [`Failure`] names the function and the CKR (PKCS #11, section 5.1); both are logged, neither is shown to the caller.

use cryptoki::context::Function;
use cryptoki::error::{Error as Failure, RvError};

use crate::base::{Error, Kind};

/// Whether a session may serve the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionFate {
    /// It may.
    Keep,
    /// Its state is in doubt: it is closed and replaced.
    Close,
}

/// What becomes of the session in which a call failed.
pub(super) fn session_fate(failure: &Failure) -> SessionFate {
    match failure {
        Failure::Pkcs11(rv, function) if is_bad_input(*rv, *function) => SessionFate::Keep,
        // The operation could not begin and none is active: the key, the mechanism or a template was at fault.
        Failure::Pkcs11(
            RvError::KeyHandleInvalid
            | RvError::ObjectHandleInvalid
            | RvError::KeyTypeInconsistent
            | RvError::KeyFunctionNotPermitted
            | RvError::KeySizeRange
            | RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::TemplateIncomplete
            | RvError::TemplateInconsistent
            | RvError::AttributeValueInvalid
            | RvError::AttributeTypeInvalid
            | RvError::AttributeReadOnly
            | RvError::AttributeSensitive
            | RvError::FunctionNotSupported
            | RvError::CurveNotSupported
            | RvError::PinIncorrect
            | RvError::UserAlreadyLoggedIn,
            _,
        ) => SessionFate::Keep,
        _ => SessionFate::Close,
    }
}

/// Whether a caller can provoke this answer with a ciphertext or a point of its own making. Tokens do not agree on the code:
/// SoftHSM says CKR_GENERAL_ERROR to a flipped GCM byte, wrong AAD, bad padding and an off-curve point. CKR_FUNCTION_FAILED is not
/// among them: a cloud HSM throttles with it.
pub(super) fn is_bad_input(rv: RvError, function: Function) -> bool {
    let decides_about_input = matches!(function, Function::Decrypt | Function::DeriveKey | Function::UnwrapKey);
    decides_about_input
        && matches!(
            rv,
            RvError::GeneralError
                | RvError::ArgumentsBad
                | RvError::DataInvalid
                | RvError::DataLenRange
                | RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::WrappedKeyInvalid
                | RvError::WrappedKeyLenRange
                | RvError::MechanismParamInvalid
                | RvError::DomainParamsInvalid
                | RvError::PublicKeyInvalid
        )
}

/// Whether the key that was named is not there (any more), or the handle was of another life of the module.
pub(super) fn is_stale_handle(failure: &Failure) -> bool {
    matches!(failure, Failure::Pkcs11(RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid, _))
}

/// Whether the token has no session left to give.
pub(super) fn is_session_limit(failure: &Failure) -> bool {
    matches!(failure, Failure::Pkcs11(RvError::SessionCount, Function::OpenSession))
}

/// A failure as an engineer looks it up: `C_EncryptInit answered CKR_MECHANISM_INVALID`.
pub(super) fn name(failure: &Failure) -> String {
    match failure {
        Failure::Pkcs11(RvError::VendorDefined(rv) | RvError::UnknownErrorCode(rv), function) => {
            format!("C_{function:?} answered {rv:#010x}")
        }
        Failure::Pkcs11(rv, function) => {
            let mut name = format!("C_{function:?} answered CKR");
            for letter in format!("{rv:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
        other => other.to_string(),
    }
}

/// What the caller is told of a failed call.
pub(super) fn public(failure: &Failure) -> Error {
    let error = match failure {
        Failure::Pkcs11(rv, function) if is_bad_input(*rv, *function) => Error::undecryptable(),
        Failure::Pkcs11(RvError::SessionCount | RvError::OperationActive | RvError::HostMemory | RvError::DeviceMemory, _) => {
            Error::new(Kind::Throttled, "The hardware security module is busy; try again.")
        }
        Failure::Pkcs11(
            RvError::DeviceError
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::CryptokiNotInitialized
            | RvError::FunctionCanceled
            | RvError::FunctionFailed
            | RvError::GeneralError,
            _,
        ) => Error::new(Kind::Unavailable, "The hardware security module cannot serve the request at the moment."),
        _ => Error::new(Kind::Internal, "The hardware security module refused the operation."),
    };
    error.caused_by(name(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_provokes_is_mute_and_costs_no_session() {
        for rv in [RvError::GeneralError, RvError::EncryptedDataInvalid, RvError::EncryptedDataLenRange] {
            let failure = || Failure::Pkcs11(rv, Function::Decrypt);
            assert_eq!(public(&failure()).kind(), Kind::Undecryptable);
            assert_eq!(session_fate(&failure()), SessionFate::Keep);
        }
        let throttled = Failure::Pkcs11(RvError::FunctionFailed, Function::Decrypt);
        assert_eq!(public(&throttled).retry(), crate::base::Retry::Later);
        let failure = || Failure::Pkcs11(RvError::GeneralError, Function::Encrypt);
        assert_eq!(public(&failure()).kind(), Kind::Unavailable);
        assert_eq!(session_fate(&failure()), SessionFate::Close);
    }

    #[test]
    fn the_caller_reads_no_ckr() {
        let error = public(&Failure::Pkcs11(RvError::DeviceRemoved, Function::Sign));
        assert!(!error.message().contains("DEVICE"), "{error:?}");
        assert_eq!(error.causes(), "C_Sign answered CKR_DEVICE_REMOVED");
    }
}
