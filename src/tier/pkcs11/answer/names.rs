//! The names of CKRs in the header of the standard, and those that the binding has no variant for.
//!
//! One identifier is a name and the constant of that name, so that the compiler checks them; the tests check which variant is which.

use std::borrow::Cow;

use cryptoki::error::RvError;
use cryptoki_sys::CK_RV;

macro_rules! codes {
    ($($variant:ident = $code:ident,)*) => {
        /// The name of a CKR in the standard, `CKR_PIN_INCORRECT`; the number of those that it does not know, vendors' among them.
        pub fn ckr_name(rv: RvError) -> Cow<'static, str> {
            match rv {
                $(RvError::$variant => Cow::Borrowed(stringify!($code)),)*
                RvError::UnknownErrorCode(value) => match Later::of(value) {
                    Some(later) => Cow::Borrowed(later.name()),
                    None => Cow::Owned(format!("{value:#010x}")),
                },
                RvError::VendorDefined(value) => Cow::Owned(format!("{value:#010x}")),
            }
        }

        /// Every CKR that the binding has a variant for.
        #[cfg(test)]
        pub(super) const CODES: &[(RvError, CK_RV, &str)] =
            &[$((RvError::$variant, cryptoki_sys::$code, stringify!($code)),)*];
    };
}

macro_rules! later {
    ($($(#[$doc:meta])* $variant:ident = $code:ident,)*) => {
        /// CKRs of PKCS #11 3.0 to 3.2 which the binding knows by number only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Later {
            $($(#[$doc])* $variant,)*
        }

        impl Later {
            /// The one of this number.
            pub(super) fn of(value: CK_RV) -> Option<Self> {
                $(if value == cryptoki_sys::$code { return Some(Self::$variant); })*
                None
            }

            /// Its name in the standard.
            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($code),)*
                }
            }
        }

        /// All of them.
        #[cfg(test)]
        pub(super) const LATER: &[(CK_RV, &str)] = &[$((cryptoki_sys::$code, stringify!($code)),)*];
    };
}

later! {
    /// 3.0
    AeadDecryptFailed = CKR_AEAD_DECRYPT_FAILED,
    /// 3.0
    TokenResourceExceeded = CKR_TOKEN_RESOURCE_EXCEEDED,
    /// 3.0
    OperationCancelFailed = CKR_OPERATION_CANCEL_FAILED,
    /// 3.1
    KeyExhausted = CKR_KEY_EXHAUSTED,
    /// 3.2
    Pending = CKR_PENDING,
    /// 3.2
    SessionAsyncNotSupported = CKR_SESSION_ASYNC_NOT_SUPPORTED,
    /// 3.2
    SeedRandomRequired = CKR_SEED_RANDOM_REQUIRED,
    /// 3.2
    OperationNotValidated = CKR_OPERATION_NOT_VALIDATED,
    /// 3.2
    TokenNotInitialized = CKR_TOKEN_NOT_INITIALIZED,
    /// 3.2
    ParameterSetNotSupported = CKR_PARAMETER_SET_NOT_SUPPORTED,
}

codes! {
    Cancel = CKR_CANCEL,
    HostMemory = CKR_HOST_MEMORY,
    SlotIdInvalid = CKR_SLOT_ID_INVALID,
    GeneralError = CKR_GENERAL_ERROR,
    FunctionFailed = CKR_FUNCTION_FAILED,
    ArgumentsBad = CKR_ARGUMENTS_BAD,
    NoEvent = CKR_NO_EVENT,
    NeedToCreateThreads = CKR_NEED_TO_CREATE_THREADS,
    CantLock = CKR_CANT_LOCK,
    AttributeReadOnly = CKR_ATTRIBUTE_READ_ONLY,
    AttributeSensitive = CKR_ATTRIBUTE_SENSITIVE,
    AttributeTypeInvalid = CKR_ATTRIBUTE_TYPE_INVALID,
    AttributeValueInvalid = CKR_ATTRIBUTE_VALUE_INVALID,
    ActionProhibited = CKR_ACTION_PROHIBITED,
    DataInvalid = CKR_DATA_INVALID,
    DataLenRange = CKR_DATA_LEN_RANGE,
    DeviceError = CKR_DEVICE_ERROR,
    DeviceMemory = CKR_DEVICE_MEMORY,
    DeviceRemoved = CKR_DEVICE_REMOVED,
    EncryptedDataInvalid = CKR_ENCRYPTED_DATA_INVALID,
    EncryptedDataLenRange = CKR_ENCRYPTED_DATA_LEN_RANGE,
    FunctionCanceled = CKR_FUNCTION_CANCELED,
    FunctionNotParallel = CKR_FUNCTION_NOT_PARALLEL,
    FunctionNotSupported = CKR_FUNCTION_NOT_SUPPORTED,
    CurveNotSupported = CKR_CURVE_NOT_SUPPORTED,
    KeyHandleInvalid = CKR_KEY_HANDLE_INVALID,
    KeySizeRange = CKR_KEY_SIZE_RANGE,
    KeyTypeInconsistent = CKR_KEY_TYPE_INCONSISTENT,
    KeyNotNeeded = CKR_KEY_NOT_NEEDED,
    KeyChanged = CKR_KEY_CHANGED,
    KeyNeeded = CKR_KEY_NEEDED,
    KeyIndigestible = CKR_KEY_INDIGESTIBLE,
    KeyFunctionNotPermitted = CKR_KEY_FUNCTION_NOT_PERMITTED,
    KeyNotWrappable = CKR_KEY_NOT_WRAPPABLE,
    KeyUnextractable = CKR_KEY_UNEXTRACTABLE,
    MechanismInvalid = CKR_MECHANISM_INVALID,
    MechanismParamInvalid = CKR_MECHANISM_PARAM_INVALID,
    ObjectHandleInvalid = CKR_OBJECT_HANDLE_INVALID,
    OperationActive = CKR_OPERATION_ACTIVE,
    OperationNotInitialized = CKR_OPERATION_NOT_INITIALIZED,
    PinIncorrect = CKR_PIN_INCORRECT,
    PinInvalid = CKR_PIN_INVALID,
    PinLenRange = CKR_PIN_LEN_RANGE,
    PinExpired = CKR_PIN_EXPIRED,
    PinLocked = CKR_PIN_LOCKED,
    SessionClosed = CKR_SESSION_CLOSED,
    SessionCount = CKR_SESSION_COUNT,
    SessionHandleInvalid = CKR_SESSION_HANDLE_INVALID,
    SessionParallelNotSupported = CKR_SESSION_PARALLEL_NOT_SUPPORTED,
    SessionReadOnly = CKR_SESSION_READ_ONLY,
    SessionExists = CKR_SESSION_EXISTS,
    SessionReadOnlyExists = CKR_SESSION_READ_ONLY_EXISTS,
    SessionReadWriteSoExists = CKR_SESSION_READ_WRITE_SO_EXISTS,
    SignatureInvalid = CKR_SIGNATURE_INVALID,
    SignatureLenRange = CKR_SIGNATURE_LEN_RANGE,
    TemplateIncomplete = CKR_TEMPLATE_INCOMPLETE,
    TemplateInconsistent = CKR_TEMPLATE_INCONSISTENT,
    TokenNotPresent = CKR_TOKEN_NOT_PRESENT,
    TokenNotRecognized = CKR_TOKEN_NOT_RECOGNIZED,
    TokenWriteProtected = CKR_TOKEN_WRITE_PROTECTED,
    UnwrappingKeyHandleInvalid = CKR_UNWRAPPING_KEY_HANDLE_INVALID,
    UnwrappingKeySizeRange = CKR_UNWRAPPING_KEY_SIZE_RANGE,
    UnwrappingKeyTypeInconsistent = CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
    UserAlreadyLoggedIn = CKR_USER_ALREADY_LOGGED_IN,
    UserNotLoggedIn = CKR_USER_NOT_LOGGED_IN,
    UserPinNotInitialized = CKR_USER_PIN_NOT_INITIALIZED,
    UserTypeInvalid = CKR_USER_TYPE_INVALID,
    UserAnotherAlreadyLoggedIn = CKR_USER_ANOTHER_ALREADY_LOGGED_IN,
    UserTooManyTypes = CKR_USER_TOO_MANY_TYPES,
    WrappedKeyInvalid = CKR_WRAPPED_KEY_INVALID,
    WrappedKeyLenRange = CKR_WRAPPED_KEY_LEN_RANGE,
    WrappingKeyHandleInvalid = CKR_WRAPPING_KEY_HANDLE_INVALID,
    WrappingKeySizeRange = CKR_WRAPPING_KEY_SIZE_RANGE,
    WrappingKeyTypeInconsistent = CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
    RandomSeedNotSupported = CKR_RANDOM_SEED_NOT_SUPPORTED,
    RandomNoRng = CKR_RANDOM_NO_RNG,
    DomainParamsInvalid = CKR_DOMAIN_PARAMS_INVALID,
    BufferTooSmall = CKR_BUFFER_TOO_SMALL,
    SavedStateInvalid = CKR_SAVED_STATE_INVALID,
    InformationSensitive = CKR_INFORMATION_SENSITIVE,
    StateUnsaveable = CKR_STATE_UNSAVEABLE,
    CryptokiNotInitialized = CKR_CRYPTOKI_NOT_INITIALIZED,
    CryptokiAlreadyInitialized = CKR_CRYPTOKI_ALREADY_INITIALIZED,
    MutexBad = CKR_MUTEX_BAD,
    MutexNotLocked = CKR_MUTEX_NOT_LOCKED,
    NewPinMode = CKR_NEW_PIN_MODE,
    NextOtp = CKR_NEXT_OTP,
    ExceededMaxIterations = CKR_EXCEEDED_MAX_ITERATIONS,
    FipsSelfTestFailed = CKR_FIPS_SELF_TEST_FAILED,
    LibraryLoadFailed = CKR_LIBRARY_LOAD_FAILED,
    PinTooWeak = CKR_PIN_TOO_WEAK,
    PublicKeyInvalid = CKR_PUBLIC_KEY_INVALID,
    FunctionRejected = CKR_FUNCTION_REJECTED,
}
