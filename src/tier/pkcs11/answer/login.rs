//! What an answer of C_Login says of the PIN: the table by which it is decided whether C_Login may be called again.
//!
//! The main table says what is broken and how it is mended. Of C_Login another question comes first: whether the token looked at the
//! PIN, and counted a wrong one. A code that is not named here leaves that open.

use cryptoki::context::Function;
use cryptoki::error::{Error as Failure, RvError};

use super::meaning::Refusal;
use super::names::Later;
use super::vendors::{self, Profile};

/// What an answer other than CKR_OK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginAnswer {
    /// The user is logged in, by another session of the process.
    LoggedIn,
    /// The token refuses this PIN, and would refuse it again.
    Refused(Refusal),
    /// The token did not look at the PIN, so that no try was counted.
    NotLookedAt,
    /// It may have looked at the PIN and counted a try.
    Unclear,
}

/// What a module of this profile says with `failure` of C_Login.
pub(crate) fn login_answer(failure: &Failure, profile: Profile) -> LoginAnswer {
    match failure {
        Failure::Pkcs11(rv, Function::Login) => {
            vendors::refusal(*rv, profile).map_or_else(|| by_the_standard(*rv), LoginAnswer::Refused)
        }
        // The module has no such function, or another one failed.
        _ => LoginAnswer::Unclear,
    }
}

/// PKCS #11 3.1, section 5.1.6 for each code, and 5.6.8 for those that C_Login may answer.
fn by_the_standard(rv: RvError) -> LoginAnswer {
    match rv {
        RvError::UserAlreadyLoggedIn => LoginAnswer::LoggedIn,
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange | RvError::PinTooWeak => {
            LoginAnswer::Refused(Refusal::Wrong)
        }
        RvError::PinLocked => LoginAnswer::Refused(Refusal::Locked),
        RvError::PinExpired => LoginAnswer::Refused(Refusal::Expired),
        RvError::UserPinNotInitialized => LoginAnswer::Refused(Refusal::NotInitialized),
        // The call ended before the token was asked: no session, no module, no token, no memory on this side.
        RvError::SessionClosed
        | RvError::SessionCount
        | RvError::SessionHandleInvalid
        | RvError::SessionParallelNotSupported
        | RvError::SessionReadOnly
        | RvError::SessionExists
        | RvError::SessionReadOnlyExists
        | RvError::SessionReadWriteSoExists
        | RvError::CryptokiNotInitialized
        | RvError::TokenNotPresent
        | RvError::DeviceRemoved
        | RvError::SlotIdInvalid
        | RvError::HostMemory => LoginAnswer::NotLookedAt,
        RvError::UnknownErrorCode(code) if Later::of(code) == Some(Later::SessionAsyncNotSupported) => LoginAnswer::NotLookedAt,
        _ => LoginAnswer::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::CKR_VENDOR_DEFINED;

    use super::*;
    use crate::tier::pkcs11::answer::ckr_name;
    use crate::tier::pkcs11::answer::names::{CODES, LATER};

    const NOT_LOOKED_AT: [&str; 5] =
        ["CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_TOKEN_NOT_PRESENT", "CKR_DEVICE_REMOVED", "CKR_SLOT_ID_INVALID", "CKR_HOST_MEMORY"];

    fn answer(rv: RvError, profile: Profile) -> LoginAnswer {
        login_answer(&Failure::Pkcs11(rv, Function::Login), profile)
    }

    #[test]
    fn every_code_says_of_the_pin_what_its_name_says() {
        let later = LATER.iter().map(|(code, _)| RvError::UnknownErrorCode(*code));
        let codes: Vec<_> = CODES.iter().map(|(rv, ..)| *rv).chain(later).collect();
        let mut unclear = 0;
        for rv in codes {
            let name = ckr_name(rv);
            match answer(rv, Profile::Standard) {
                LoginAnswer::LoggedIn => assert_eq!(name, "CKR_USER_ALREADY_LOGGED_IN"),
                LoginAnswer::Refused(_) => {
                    assert!(name.starts_with("CKR_PIN_") || name == "CKR_USER_PIN_NOT_INITIALIZED", "{name}")
                }
                LoginAnswer::NotLookedAt => assert!(name.starts_with("CKR_SESSION_") || NOT_LOOKED_AT.contains(&&*name), "{name}"),
                LoginAnswer::Unclear => {
                    assert!(!["CKR_SESSION_", "CKR_PIN_"].iter().any(|kind| name.starts_with(kind)), "{name}");
                    assert!(!NOT_LOOKED_AT.contains(&&*name), "{name}");
                    unclear += 1;
                }
            }
        }
        assert!(unclear > 50, "what is not named says nothing");
        assert_eq!(answer(RvError::PinLocked, Profile::Standard), LoginAnswer::Refused(Refusal::Locked));
        assert_eq!(answer(RvError::PinExpired, Profile::Standard), LoginAnswer::Refused(Refusal::Expired));
    }

    #[test]
    fn a_vendors_code_says_what_its_vendor_says() {
        let challenge_incorrect = RvError::VendorDefined(CKR_VENDOR_DEFINED + 0x67);
        assert_eq!(answer(challenge_incorrect, Profile::Luna), LoginAnswer::Refused(Refusal::Wrong));
        assert_eq!(answer(RvError::VendorDefined(CKR_VENDOR_DEFINED + 0x07), Profile::Luna), LoginAnswer::Refused(Refusal::Locked));
        assert_eq!(answer(challenge_incorrect, Profile::Standard), LoginAnswer::Unclear);
        assert_eq!(answer(RvError::DeviceError, Profile::Luna), LoginAnswer::Unclear);
        assert_eq!(answer(RvError::PinIncorrect, Profile::Luna), LoginAnswer::Refused(Refusal::Wrong));
    }

    #[test]
    fn what_is_no_answer_of_the_function_says_nothing() {
        assert_eq!(login_answer(&Failure::NullFunctionPointer, Profile::Standard), LoginAnswer::Unclear);
        let of_another = Failure::Pkcs11(RvError::SessionClosed, Function::GetSessionInfo);
        assert_eq!(login_answer(&of_another, Profile::Standard), LoginAnswer::Unclear);
    }
}
