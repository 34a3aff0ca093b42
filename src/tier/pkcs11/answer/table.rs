//! The table: every CKR of PKCS #11 3.1, as the standard has it.
//!
//! A reason begins with the section that says so. What the door makes of a row depends on the function: see
//! [`meaning`](super::meaning).

use cryptoki::context::Function;
use cryptoki::error::RvError;

use super::functions::{judges_input, logs_in, spends_a_try, tears_down};
use super::meaning::{Level, Proof, Tell};
use super::names::Later;

/// What had happened when the answer came, which decides whether the call can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It would say the same.
    Never,
    /// Nothing had: the call was refused at the door.
    NothingRan,
    /// Perhaps all of it. The standard promises all or nothing, but not with CKR_GENERAL_ERROR (5.1.1), and modules that talk
    /// over a network cannot keep the promise.
    MayHaveRun,
}

/// A row, before the function is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) level: Option<Level>,
    pub(super) persistent: Option<Level>,
    pub(super) proof: Proof,
    pub(super) again: Again,
    pub(super) tell: Tell,
    pub(super) reason: &'static str,
}

/// Nothing is broken, or nothing that can be mended here, and the same call would fail again.
pub(super) const fn plain(tell: Tell, reason: &'static str) -> Row {
    Row { level: None, persistent: None, proof: Proof::Answer, again: Again::Never, tell, reason }
}

/// `level` is broken, and `persistent` when that does not help.
pub(super) const fn broken(level: Level, persistent: Level, again: Again, reason: &'static str) -> Row {
    Row { level: Some(level), persistent: Some(persistent), proof: Proof::Answer, again, tell: Tell::Away, reason }
}

/// The session is left with an operation that nobody finishes; the call was wrong all the same.
pub(super) const fn unfinished(reason: &'static str) -> Row {
    Row { level: Some(Level::Operation), ..plain(Tell::Fault, reason) }
}

/// The module has no time or no memory. Its session is closed, which gives some back.
pub(super) const fn busy(reason: &'static str) -> Row {
    Row { level: Some(Level::Operation), ..plain(Tell::Busy, reason) }
}

/// A verdict on what a caller sent, unless a canary on that slot fails too: then `persistent` is broken.
pub(super) const fn bad_input(persistent: Level, reason: &'static str) -> Row {
    Row { persistent: Some(persistent), proof: Proof::Canary, again: Again::MayHaveRun, ..plain(Tell::BadInput, reason) }
}

/// A handle that is not known. If the one that a find gives is refused as well, `persistent` may be why, or that one key.
pub(super) const fn key_gone(persistent: Option<Level>, reason: &'static str) -> Row {
    Row { persistent, proof: Proof::Canary, again: Again::NothingRan, ..plain(Tell::KeyGone, reason) }
}

/// The row of `rv`; some differ by who answered it.
pub(super) fn row(rv: RvError, function: Function) -> Row {
    use Again::{MayHaveRun, NothingRan};
    use Level::{Login, Module, Operation, Session, Token};
    use Tell::{Busy, Fault, Limit, Operator, Refused};
    match rv {
        // Verdicts on input. Modules do not agree on the code: SoftHSM answers CKR_GENERAL_ERROR to a flipped GCM byte, wrong AAD,
        // bad padding and an off-curve point. CKR_FUNCTION_FAILED is not among them: some throttle with it.
        RvError::GeneralError if judges_input(function) => bad_input(Module, "SoftHSM says so of bad ciphertexts and points"),
        RvError::ArgumentsBad if judges_input(function) => bad_input(Token, "5.1.6: an argument, and the input is one"),
        RvError::DataInvalid | RvError::DataLenRange if judges_input(function) => {
            bad_input(Token, "5.1.6: meant for plaintexts, said of ciphertexts as well")
        }
        RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange if judges_input(function) => {
            bad_input(Token, "5.1.6: the ciphertext is no good")
        }
        RvError::WrappedKeyInvalid | RvError::WrappedKeyLenRange if judges_input(function) => {
            bad_input(Token, "5.1.6: the wrapped key is no good")
        }
        RvError::MechanismParamInvalid | RvError::DomainParamsInvalid | RvError::PublicKeyInvalid if judges_input(function) => {
            bad_input(Token, "5.1.6: the other side's public key, for C_DeriveKey a parameter of the mechanism")
        }

        // C_Login says it of the PIN or of a user that is named in it, and may have counted a try.
        RvError::ArgumentsBad
        | RvError::DataInvalid
        | RvError::DataLenRange
        | RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::UnwrappingKeyHandleInvalid
        | RvError::WrappingKeyHandleInvalid
        | RvError::FunctionRejected
        | RvError::FunctionCanceled
        | RvError::Cancel
            if spends_a_try(function) =>
        {
            plain(Operator, "5.5, 5.6: the only argument that can be wrong is the PIN")
        }

        // What is taken down is down.
        RvError::SessionHandleInvalid | RvError::SessionClosed | RvError::UserNotLoggedIn if tears_down(function) => {
            plain(Fault, "5.6: there is nothing left to end")
        }
        RvError::CryptokiNotInitialized if matches!(function, Function::Finalize) => plain(Fault, "5.4: it is finalised already"),

        // 5.1.1, any function.
        RvError::GeneralError => {
            broken(Operation, Module, MayHaveRun, "5.1.1: beyond repair, perhaps half done; module and token may be inconsistent")
        }
        RvError::HostMemory => busy("5.1.1: this machine is short of memory"),
        RvError::FunctionFailed => broken(Operation, Token, MayHaveRun, "5.1.1: no detail; the same call may well succeed"),

        // 5.1.2, functions with a session. They say it of a token that is gone, too (5.1.7).
        RvError::SessionHandleInvalid => broken(Session, Token, NothingRan, "5.1.2: taking out a token closes its sessions"),
        RvError::SessionClosed => broken(Session, Token, MayHaveRun, "5.1.2: closed while the function ran"),

        // 5.1.3, functions with a token. Many modules see a token again only after C_Finalize, hence the module at last.
        RvError::DeviceMemory if matches!(function, Function::OpenSession) => {
            plain(Limit, "5.1.3: the token is short of memory, and a session takes some")
        }
        RvError::DeviceMemory => busy("5.1.3: the token is short of memory"),
        RvError::DeviceError => broken(Session, Token, MayHaveRun, "5.1.3: some problem of the token or the slot"),
        RvError::TokenNotPresent => broken(Token, Module, NothingRan, "5.1.3: not there when the function was called"),
        RvError::DeviceRemoved => broken(Token, Module, MayHaveRun, "5.1.2, 5.1.3: taken out while the function ran"),
        RvError::TokenNotRecognized => broken(Token, Module, NothingRan, "5.1.6: the module does not know the token in the slot"),
        RvError::SlotIdInvalid => broken(Token, Module, NothingRan, "5.1.6: slot ids are of one initialisation (5.5)"),

        // 5.1.4 and 5.1.5, of callbacks and mutexes that an application brings; it brings none.
        RvError::Cancel | RvError::FunctionCanceled => {
            broken(Operation, Session, MayHaveRun, "5.1.4: a callback cancelled it, and there is none")
        }
        RvError::MutexBad | RvError::MutexNotLocked => {
            broken(Operation, Module, MayHaveRun, "5.1.5: the module's own locks are in disorder")
        }

        // The module.
        RvError::CryptokiNotInitialized => broken(Module, Module, NothingRan, "5.1.6: C_Initialize is to be called first"),
        RvError::CryptokiAlreadyInitialized => plain(Fault, "5.4: another part of the process has done it"),
        RvError::CantLock | RvError::NeedToCreateThreads => {
            plain(Operator, "5.4: the module cannot be used by several threads as this process needs it")
        }
        RvError::LibraryLoadFailed => plain(Operator, "5.1.6: a library that the module needs cannot be loaded"),
        RvError::FipsSelfTestFailed => Row {
            tell: Operator,
            again: Again::Never,
            ..broken(Token, Module, MayHaveRun, "5.1.6: the token is in its error state and answers CKR_GENERAL_ERROR from now on")
        },

        // Sessions and operations.
        RvError::SessionCount if matches!(function, Function::OpenSession) => plain(Limit, "5.1.6: too many are open"),
        RvError::SessionCount => plain(Busy, "5.1.6: for C_OpenSession; the module found no session for itself"),
        RvError::OperationActive => {
            Row { tell: Busy, ..broken(Operation, Session, NothingRan, "5.1.6: the session is in the midst of another operation") }
        }
        RvError::OperationNotInitialized => {
            broken(Operation, Session, NothingRan, "5.1.6: the session forgot what C_xxxInit began")
        }
        RvError::BufferTooSmall => unfinished("5.2: the operation waits for a longer buffer; lengths are known here"),
        RvError::SessionReadOnly => {
            Row { tell: Fault, ..broken(Session, Session, NothingRan, "5.1.6: only read-write sessions are opened here") }
        }
        RvError::SessionExists
        | RvError::SessionReadOnlyExists
        | RvError::SessionReadWriteSoExists
        | RvError::SessionParallelNotSupported => plain(Fault, "5.1.6: of sessions that are not opened here"),

        // The login.
        RvError::UserNotLoggedIn => Row {
            // A key with CKA_ALWAYS_AUTHENTICATE says it in spite of a login.
            proof: Proof::Canary,
            ..broken(Login, Token, NothingRan, "5.1.6: private objects and most operations need the user")
        },
        RvError::UserAlreadyLoggedIn if logs_in(function) => Row {
            tell: Tell::Away,
            persistent: Some(Login),
            ..plain(Fault, "5.6: the login is there; if operations deny it, log out first")
        },
        RvError::UserAlreadyLoggedIn => plain(Fault, "5.1.6: of C_Login"),
        RvError::PinIncorrect => plain(Operator, "5.1.6: every further try is counted"),
        RvError::PinLocked => plain(Operator, "5.1.6: too many wrong ones"),
        RvError::PinExpired => plain(Operator, "5.1.6: nothing works before C_SetPIN"),
        RvError::PinInvalid | RvError::PinLenRange | RvError::PinTooWeak => {
            plain(Operator, "5.1.6: for functions that set a PIN; some say it at C_Login")
        }
        RvError::UserPinNotInitialized => plain(Operator, "5.1.6: C_InitPIN is to be called by the security officer"),
        RvError::UserTypeInvalid => plain(Operator, "5.1.6: the token has no such user"),
        RvError::UserAnotherAlreadyLoggedIn | RvError::UserTooManyTypes => {
            plain(Operator, "5.1.6: the security officer, or somebody else, is logged in")
        }
        RvError::NewPinMode | RvError::NextOtp => plain(Operator, "one-time passwords: a person must read the next one"),

        // Handles. SoftHSM says it of a lost login; and a find that gives nothing is one as well as a key that is gone.
        RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::UnwrappingKeyHandleInvalid
        | RvError::WrappingKeyHandleInvalid => {
            key_gone(Some(Login), "5.1.6: no such object; C_Logout makes private ones unknown (5.6)")
        }

        // What the token does not do, or not with this key.
        RvError::MechanismInvalid | RvError::MechanismParamInvalid => plain(Refused, "5.1.6: the mechanism, or its parameters"),
        RvError::CurveNotSupported | RvError::DomainParamsInvalid | RvError::PublicKeyInvalid => {
            plain(Refused, "5.1.6: the curve, or a point")
        }
        RvError::FunctionNotSupported => plain(Refused, "5.1.6: the module has a stub"),
        RvError::KeySizeRange | RvError::UnwrappingKeySizeRange | RvError::WrappingKeySizeRange => {
            plain(Refused, "5.1.6: the size of the key")
        }
        RvError::KeyTypeInconsistent | RvError::UnwrappingKeyTypeInconsistent | RvError::WrappingKeyTypeInconsistent => {
            plain(Refused, "5.1.6: the type of the key")
        }
        RvError::KeyFunctionNotPermitted | RvError::ActionProhibited => plain(Refused, "5.1.6: the attributes of the object"),
        RvError::KeyNotWrappable | RvError::KeyUnextractable => plain(Refused, "5.1.6: the key does not leave the token"),
        RvError::FunctionRejected => plain(Refused, "5.1.6: the user said no; modules mean a policy"),
        RvError::RandomNoRng | RvError::RandomSeedNotSupported => plain(Refused, "5.1.6: the token's generator"),
        RvError::SignatureInvalid | RvError::SignatureLenRange => plain(Refused, "5.1.6: a verdict on a signature, no failure"),
        RvError::TokenWriteProtected => plain(Operator, "5.1.6: the token is write-protected"),
        RvError::ExceededMaxIterations => Row { again: MayHaveRun, ..plain(Fault, "5.1.6: no luck in drawing primes or nonces") },

        // Our own mistakes. C_Encrypt and C_Sign end their operation with an error, but not all modules do.
        RvError::ArgumentsBad => unfinished("5.1.6: an argument is not as it should be"),
        RvError::DataInvalid
        | RvError::DataLenRange
        | RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::WrappedKeyInvalid
        | RvError::WrappedKeyLenRange => unfinished("5.1.6: lengths and paddings are checked before the token is asked"),
        RvError::TemplateIncomplete
        | RvError::TemplateInconsistent
        | RvError::AttributeValueInvalid
        | RvError::AttributeTypeInvalid
        | RvError::AttributeReadOnly => plain(Fault, "5.1.6, 5.1.8: the template; which of these it is, modules do not agree on"),
        RvError::AttributeSensitive | RvError::InformationSensitive => plain(Fault, "5.1.6: nothing secret is asked for here"),

        // Of functions that are not called here.
        RvError::KeyNotNeeded
        | RvError::KeyChanged
        | RvError::KeyNeeded
        | RvError::SavedStateInvalid
        | RvError::StateUnsaveable => plain(Fault, "5.1.6: of C_GetOperationState and C_SetOperationState"),
        RvError::KeyIndigestible => plain(Fault, "5.1.6: of C_DigestKey"),
        RvError::NoEvent => plain(Fault, "5.1.6: of C_WaitForSlotEvent, no failure"),
        RvError::FunctionNotParallel => plain(Fault, "5.1.6: of C_GetFunctionStatus and C_CancelFunction"),

        RvError::UnknownErrorCode(value) => match Later::of(value) {
            Some(later) => later_row(later, function),
            None => unknown("a number that no version of the standard up to 3.2 has"),
        },
        RvError::VendorDefined(_) => unknown("3.6: the vendor's own"),
    }
}

/// The rows of codes that the binding knows by number only.
fn later_row(later: Later, function: Function) -> Row {
    use Tell::{Busy, Fault, Limit, Operator, Refused};
    match later {
        Later::AeadDecryptFailed if judges_input(function) => bad_input(Level::Token, "5.11: the tag does not fit"),
        Later::AeadDecryptFailed => unfinished("5.11: of decryptions"),
        Later::TokenResourceExceeded if matches!(function, Function::OpenSession) => plain(Limit, "3.0: no room for a session"),
        Later::TokenResourceExceeded => busy("3.0: the token is out of something that it needs"),
        Later::OperationCancelFailed => unfinished("5.6: C_SessionCancel did not end the operation"),
        Later::KeyExhausted => plain(Refused, "3.1: a key for a number of signatures has made them all"),
        Later::Pending => {
            Row { tell: Busy, ..unfinished("3.2: the operation goes on in a session that asked for that; none does") }
        }
        Later::SessionAsyncNotSupported => plain(Fault, "3.2: of sessions that are not opened here"),
        Later::SeedRandomRequired => plain(Operator, "3.2: the token's generator waits for a seed"),
        Later::OperationNotValidated => plain(Refused, "3.2: the token's policy"),
        Later::TokenNotInitialized => plain(Operator, "3.2: the token is as it left the factory"),
        Later::ParameterSetNotSupported => plain(Refused, "3.2: the token lacks the parameters"),
    }
}

/// It may be anything, something that a caller provoked included: no verdict on a ciphertext, and a canary before anything but a
/// session is touched.
fn unknown(reason: &'static str) -> Row {
    Row { tell: Tell::Fault, proof: Proof::Canary, ..broken(Level::Operation, Level::Token, Again::MayHaveRun, reason) }
}
