//! Tests of the recovery table: what was decided, and what must hold for every answer of every function of every module.

use cryptoki::error::Rv;
use cryptoki_sys::{CK_FUNCTION_LIST_3_2, CK_RV, CKR_VENDOR_DEFINED};

use super::functions::{judges_input, logs_in, tears_down};
use super::names::{CODES, LATER};
use super::*;

macro_rules! functions {
    ($($variant:ident = $field:ident,)*) => {
        /// Every function, with the name of its field in the module's function list.
        const FUNCTIONS: &[(Function, &str)] = &[$((Function::$variant, {
            let _ = std::mem::offset_of!(CK_FUNCTION_LIST_3_2, $field);
            stringify!($field)
        }),)*];

        /// Does not compile when one is missing.
        #[allow(dead_code)]
        fn all_are_listed(function: Function) {
            match function {
                $(Function::$variant => {})*
            }
        }
    };
}

functions! {
    Initialize = C_Initialize, Finalize = C_Finalize, GetInfo = C_GetInfo, GetFunctionList = C_GetFunctionList,
    GetSlotList = C_GetSlotList, GetSlotInfo = C_GetSlotInfo, GetTokenInfo = C_GetTokenInfo,
    GetMechanismList = C_GetMechanismList, GetMechanismInfo = C_GetMechanismInfo, InitToken = C_InitToken, InitPIN = C_InitPIN,
    SetPIN = C_SetPIN, OpenSession = C_OpenSession, CloseSession = C_CloseSession, CloseAllSessions = C_CloseAllSessions,
    GetSessionInfo = C_GetSessionInfo, GetOperationState = C_GetOperationState, SetOperationState = C_SetOperationState,
    Login = C_Login, Logout = C_Logout, CreateObject = C_CreateObject, CopyObject = C_CopyObject,
    DestroyObject = C_DestroyObject, GetObjectSize = C_GetObjectSize, GetAttributeValue = C_GetAttributeValue,
    SetAttributeValue = C_SetAttributeValue, FindObjectsInit = C_FindObjectsInit, FindObjects = C_FindObjects,
    FindObjectsFinal = C_FindObjectsFinal, EncryptInit = C_EncryptInit, Encrypt = C_Encrypt, EncryptUpdate = C_EncryptUpdate,
    EncryptFinal = C_EncryptFinal, DecryptInit = C_DecryptInit, Decrypt = C_Decrypt, DecryptUpdate = C_DecryptUpdate,
    DecryptFinal = C_DecryptFinal, DigestInit = C_DigestInit, Digest = C_Digest, DigestUpdate = C_DigestUpdate,
    DigestKey = C_DigestKey, DigestFinal = C_DigestFinal, SignInit = C_SignInit, Sign = C_Sign, SignUpdate = C_SignUpdate,
    SignFinal = C_SignFinal, SignRecoverInit = C_SignRecoverInit, SignRecover = C_SignRecover, VerifyInit = C_VerifyInit,
    Verify = C_Verify, VerifyUpdate = C_VerifyUpdate, VerifyFinal = C_VerifyFinal, VerifyRecoverInit = C_VerifyRecoverInit,
    VerifyRecover = C_VerifyRecover, DigestEncryptUpdate = C_DigestEncryptUpdate, DecryptDigestUpdate = C_DecryptDigestUpdate,
    SignEncryptUpdate = C_SignEncryptUpdate, DecryptVerifyUpdate = C_DecryptVerifyUpdate, GenerateKey = C_GenerateKey,
    GenerateKeyPair = C_GenerateKeyPair, WrapKey = C_WrapKey, UnwrapKey = C_UnwrapKey, DeriveKey = C_DeriveKey,
    SeedRandom = C_SeedRandom, GenerateRandom = C_GenerateRandom, GetFunctionStatus = C_GetFunctionStatus,
    CancelFunction = C_CancelFunction, WaitForSlotEvent = C_WaitForSlotEvent, GetInterfaceList = C_GetInterfaceList,
    GetInterface = C_GetInterface, LoginUser = C_LoginUser, SessionCancel = C_SessionCancel,
    MessageEncryptInit = C_MessageEncryptInit, EncryptMessage = C_EncryptMessage, EncryptMessageBegin = C_EncryptMessageBegin,
    EncryptMessageNext = C_EncryptMessageNext, MessageEncryptFinal = C_MessageEncryptFinal,
    MessageDecryptInit = C_MessageDecryptInit, DecryptMessage = C_DecryptMessage, DecryptMessageBegin = C_DecryptMessageBegin,
    DecryptMessageNext = C_DecryptMessageNext, MessageDecryptFinal = C_MessageDecryptFinal,
    MessageSignInit = C_MessageSignInit, SignMessage = C_SignMessage, SignMessageBegin = C_SignMessageBegin,
    SignMessageNext = C_SignMessageNext, MessageSignFinal = C_MessageSignFinal, MessageVerifyInit = C_MessageVerifyInit,
    VerifyMessage = C_VerifyMessage, VerifyMessageBegin = C_VerifyMessageBegin, VerifyMessageNext = C_VerifyMessageNext,
    MessageVerifyFinal = C_MessageVerifyFinal, EncapsulateKey = C_EncapsulateKey, DecapsulateKey = C_DecapsulateKey,
    VerifySignatureInit = C_VerifySignatureInit, VerifySignature = C_VerifySignature,
    VerifySignatureUpdate = C_VerifySignatureUpdate, VerifySignatureFinal = C_VerifySignatureFinal,
    GetSessionValidationFlags = C_GetSessionValidationFlags, AsyncComplete = C_AsyncComplete, AsyncGetID = C_AsyncGetID,
    AsyncJoin = C_AsyncJoin, WrapKeyAuthenticated = C_WrapKeyAuthenticated, UnwrapKeyAuthenticated = C_UnwrapKeyAuthenticated,
}

const PROFILES: [Profile; 7] =
    [Profile::Standard, Profile::SoftHsm, Profile::CloudHsm, Profile::Luna, Profile::NShield, Profile::YubiHsm, Profile::NetHsm];

/// Every code of the standard, every vendor's code that has a row, and some that nobody has.
fn codes() -> impl Iterator<Item = RvError> {
    let later = LATER.iter().map(|(code, _)| RvError::UnknownErrorCode(*code));
    let vendors = (0..=0x200).map(|offset| RvError::VendorDefined(CKR_VENDOR_DEFINED + offset));
    let nobodys = [RvError::UnknownErrorCode(4), RvError::UnknownErrorCode(0x7fff_ffff), RvError::VendorDefined(CK_RV::MAX)];
    CODES.iter().map(|(rv, _, _)| *rv).chain(later).chain(vendors).chain(nobodys)
}

fn for_all(check: impl Fn(RvError, Function, Profile, Meaning)) {
    for profile in PROFILES {
        for (function, _) in FUNCTIONS {
            for rv in codes() {
                check(rv, *function, profile, meaning(rv, *function, profile));
            }
        }
    }
}

fn standard(rv: RvError, function: Function) -> Meaning {
    meaning(rv, function, Profile::Standard)
}

#[test]
fn levels_go_from_the_least_to_the_most() {
    let levels = [Level::Operation, Level::Session, Level::Login, Level::Token, Level::Module];
    assert!(levels.is_sorted());
    assert_eq!(levels.map(|level| level.to_string()), ["operation", "session", "login", "token", "module"]);
}

#[test]
fn names_are_those_of_the_standard() {
    for (rv, code, name) in CODES {
        assert_eq!(Rv::from(*code), Rv::Error(*rv), "{name}");
        assert_eq!(ckr_name(*rv), *name);
    }
    for (code, name) in LATER {
        assert_eq!(Rv::from(*code), Rv::Error(RvError::UnknownErrorCode(*code)), "{name} has a variant by now");
        assert_eq!(ckr_name(RvError::UnknownErrorCode(*code)), *name);
    }
    // All codes of the standard lie below; those without a name there have none here.
    let named = (1..0x300).filter(|code| match Rv::from(*code) {
        Rv::Ok => false,
        Rv::Error(rv) => ckr_name(rv).starts_with("CKR_"),
    });
    assert_eq!(named.count(), CODES.len() + LATER.len());
    assert_eq!(ckr_name(RvError::VendorDefined(0x8000_001a)), "0x8000001a");
    for (function, name) in FUNCTIONS {
        assert_eq!(function_name(*function), *name);
    }
    let failure = Failure::Pkcs11(RvError::FipsSelfTestFailed, Function::InitPIN);
    assert_eq!(name(&failure), "C_InitPIN answered CKR_FIPS_SELF_TEST_FAILED");
}

#[test]
fn rows_agree_with_themselves() {
    for_all(|rv, function, profile, row| {
        let at = format!("{function} {rv:?} {profile:?} {row:?}");
        if let (Some(level), Some(persistent)) = (row.level, row.persistent) {
            assert!(level <= persistent, "{at}");
        }
        assert!(row.level.is_none_or(|level| level >= least_level(function)), "{at}");
        assert!(row.persistent.is_none_or(|level| level >= least_level(function)), "{at}");
        assert!(!row.reason.is_empty(), "{at}");
        match row.tell {
            Tell::BadInput => {
                assert!(judges_input(function), "{at}");
                assert!(row.level.is_none() && row.persistent.is_some(), "{at}");
                assert_eq!(row.proof, Proof::Canary, "{at}");
                assert_ne!(row.repeat, Repeat::Never, "{at}");
            }
            Tell::KeyGone => assert!(row.level.is_none() && row.repeat == Repeat::Once && row.proof == Proof::Canary, "{at}"),
            Tell::Away => assert!(row.level.is_some() || row.persistent.is_some(), "{at}"),
            Tell::Operator => assert_eq!(row.repeat, Repeat::Never, "{at}"),
            Tell::Limit => assert!(matches!(function, Function::OpenSession) && row.persistent.is_none(), "{at}"),
            Tell::Busy => assert!(row.persistent.is_none() || rv == RvError::OperationActive, "{at}"),
            Tell::Refused => assert!(row.level.is_none() && row.persistent.is_none(), "{at}"),
            Tell::Fault => {}
        }
    });
}

#[test]
fn no_pin_is_tried_twice() {
    for_all(|rv, function, profile, row| {
        if spends_a_try(function) {
            assert_eq!(row.repeat, Repeat::Never, "{function} {rv:?} {profile:?}");
        }
    });
    let pins = [
        RvError::PinIncorrect,
        RvError::PinInvalid,
        RvError::PinLenRange,
        RvError::PinExpired,
        RvError::PinLocked,
        RvError::PinTooWeak,
        RvError::UserPinNotInitialized,
        RvError::UserTypeInvalid,
        RvError::NewPinMode,
        RvError::NextOtp,
    ];
    for_all(|rv, _, _, row| {
        if pins.contains(&rv) {
            assert_eq!((row.level, row.persistent, row.repeat, row.tell), (None, None, Repeat::Never, Tell::Operator), "{rv:?}");
        }
    });
    // A wrong length, an unknown user: modules have their own words for a PIN that is no good.
    for rv in [RvError::ArgumentsBad, RvError::ObjectHandleInvalid, RvError::FunctionRejected, RvError::DataLenRange] {
        for profile in PROFILES {
            assert_eq!(meaning(rv, Function::Login, profile).tell, Tell::Operator, "{rv:?}");
        }
    }
}

#[test]
fn nothing_is_made_twice() {
    // Answers that come before anything has run.
    let refused = [
        RvError::SessionHandleInvalid,
        RvError::SessionReadOnly,
        RvError::TokenNotPresent,
        RvError::TokenNotRecognized,
        RvError::SlotIdInvalid,
        RvError::UserNotLoggedIn,
        RvError::CryptokiNotInitialized,
        RvError::OperationActive,
        RvError::OperationNotInitialized,
        RvError::KeyHandleInvalid,
        RvError::ObjectHandleInvalid,
        RvError::UnwrappingKeyHandleInvalid,
        RvError::WrappingKeyHandleInvalid,
        // Luna: not authorised, not connected.
        RvError::VendorDefined(0x8000_001a),
        RvError::VendorDefined(0x8000_001f),
    ];
    for_all(|rv, function, profile, row| {
        if changes_token(function) && row.repeat == Repeat::Once {
            let dropped = profile == Profile::YubiHsm && rv == RvError::SessionClosed;
            assert!(refused.contains(&rv) || dropped, "{function} {rv:?} {profile:?}");
        }
        assert!(row.repeat != Repeat::AfterLooking || changes_token(function), "{function} {rv:?} {profile:?}");
    });
    for function in [Function::GenerateKey, Function::GenerateKeyPair, Function::CreateObject, Function::DestroyObject] {
        assert_eq!(standard(RvError::DeviceError, function).repeat, Repeat::AfterLooking);
        assert_eq!(standard(RvError::UserNotLoggedIn, function).repeat, Repeat::Once);
    }
}

#[test]
fn what_a_caller_can_provoke_takes_a_canary() {
    // What no ciphertext, key or template brings about.
    let certain = [
        RvError::SessionHandleInvalid,
        RvError::TokenNotPresent,
        RvError::TokenNotRecognized,
        RvError::SlotIdInvalid,
        RvError::CryptokiNotInitialized,
        RvError::FipsSelfTestFailed,
        RvError::VendorDefined(0x8000_001a),
        RvError::VendorDefined(0x8000_001f),
    ];
    for_all(|rv, function, profile, row| {
        let at = format!("{function} {rv:?} {profile:?} {row:?}");
        let shared = profile == Profile::YubiHsm && [RvError::SessionClosed, RvError::SessionReadOnly].contains(&rv);
        if concerns_an_object(function) && row.persistent >= Some(Level::Login) && row.proof == Proof::Answer {
            assert!(certain.contains(&rv) || shared, "{at}");
        }
        // Nor does a first answer bring down more than the login, but for what is said of token or module.
        if concerns_an_object(function) && row.level > Some(Level::Login) {
            assert!(certain.contains(&rv) || rv == RvError::DeviceRemoved || shared, "{at}");
        }
    });
}

#[test]
fn bad_input_of_one_function_is_a_fault_of_another() {
    let provoked = [
        RvError::GeneralError,
        RvError::ArgumentsBad,
        RvError::DataInvalid,
        RvError::DataLenRange,
        RvError::EncryptedDataInvalid,
        RvError::EncryptedDataLenRange,
        RvError::WrappedKeyInvalid,
        RvError::WrappedKeyLenRange,
        RvError::MechanismParamInvalid,
        RvError::DomainParamsInvalid,
        RvError::PublicKeyInvalid,
        RvError::UnknownErrorCode(cryptoki_sys::CKR_AEAD_DECRYPT_FAILED),
    ];
    for rv in provoked {
        for function in [Function::Decrypt, Function::UnwrapKey, Function::DeriveKey] {
            assert_eq!(standard(rv, function).tell, Tell::BadInput, "{function} {rv:?}");
            let failure = Failure::Pkcs11(rv, function);
            assert_eq!(to_caller(&failure, Profile::default()).kind(), Kind::Undecryptable);
            assert_eq!(meaning_of(&failure, Profile::Standard).level, None);
        }
        for function in [Function::Encrypt, Function::Sign, Function::GenerateKeyPair, Function::CreateObject] {
            assert_ne!(standard(rv, function).tell, Tell::BadInput, "{function} {rv:?}");
        }
        assert_eq!(standard(rv, Function::Decrypt).repeat, Repeat::Once);
        assert_eq!(standard(rv, Function::UnwrapKey).repeat, Repeat::AfterLooking);
    }
    // They throttle with it, or it is about the device: no verdict, but for the modules that are known to mean one.
    for (rv, judges) in
        [(RvError::FunctionFailed, &[Profile::YubiHsm][..]), (RvError::DeviceError, &[Profile::YubiHsm, Profile::NetHsm][..])]
    {
        for profile in PROFILES {
            let verdict = meaning(rv, Function::Decrypt, profile).tell == Tell::BadInput;
            assert_eq!(verdict, judges.contains(&profile), "{rv:?} {profile:?}");
        }
    }
}

/// What a row says: level, persistent, repeat, tell.
type Decided = (Option<Level>, Option<Level>, Repeat, Tell);

fn decided(rv: RvError, function: Function, profile: Profile) -> Decided {
    let row = meaning(rv, function, profile);
    (row.level, row.persistent, row.repeat, row.tell)
}

#[test]
fn the_design_is_in_the_table() {
    use Level::{Login, Module, Operation, Session, Token};
    use Repeat::{AfterLooking, Never, Once};
    use Tell::{Away, Busy, Fault, KeyGone, Limit};
    let away = |level, persistent| (Some(level), Some(persistent), Once, Away);
    for (rv, row) in [
        (RvError::GeneralError, away(Operation, Module)),
        (RvError::FunctionFailed, away(Operation, Token)),
        (RvError::SessionHandleInvalid, away(Session, Token)),
        (RvError::SessionClosed, away(Session, Token)),
        (RvError::DeviceError, away(Session, Token)),
        (RvError::UserNotLoggedIn, away(Login, Token)),
        (RvError::DeviceRemoved, away(Token, Module)),
        (RvError::TokenNotPresent, away(Token, Module)),
        (RvError::TokenNotRecognized, away(Token, Module)),
        (RvError::SlotIdInvalid, away(Token, Module)),
        (RvError::CryptokiNotInitialized, away(Module, Module)),
        (RvError::OperationActive, (Some(Operation), Some(Session), Once, Busy)),
        (RvError::HostMemory, (Some(Operation), None, Never, Busy)),
        (RvError::DeviceMemory, (Some(Operation), None, Never, Busy)),
        (RvError::KeyHandleInvalid, (None, Some(Login), Once, KeyGone)),
        (RvError::ObjectHandleInvalid, (None, Some(Login), Once, KeyGone)),
        (RvError::VendorDefined(0x8000_0100), (Some(Operation), Some(Token), Once, Fault)),
    ] {
        assert_eq!(decided(rv, Function::Sign, Profile::Standard), row, "{rv:?}");
    }
    for (rv, function, profile, row) in [
        (RvError::SessionCount, Function::OpenSession, Profile::Standard, (None, None, Never, Limit)),
        (RvError::ArgumentsBad, Function::OpenSession, Profile::CloudHsm, (None, None, Never, Limit)),
        (RvError::ArgumentsBad, Function::OpenSession, Profile::Standard, (None, None, Never, Fault)),
        // The device's sessions, of which C_Login takes one, are short.
        (RvError::SessionCount, Function::Login, Profile::YubiHsm, (None, None, Never, Busy)),
        (RvError::GeneralError, Function::OpenSession, Profile::Standard, (None, Some(Module), Once, Away)),
        (RvError::DeviceError, Function::GetSlotList, Profile::Standard, (None, Some(Module), Once, Away)),
        (RvError::FunctionFailed, Function::Sign, Profile::CloudHsm, (None, None, Once, Busy)),
        (RvError::FunctionFailed, Function::GenerateKey, Profile::CloudHsm, (None, None, AfterLooking, Busy)),
        (RvError::OperationActive, Function::Sign, Profile::CloudHsm, (Some(Operation), None, Once, Busy)),
        (RvError::KeyHandleInvalid, Function::SignInit, Profile::CloudHsm, (None, None, Once, KeyGone)),
        (RvError::KeyHandleInvalid, Function::SignInit, Profile::SoftHsm, (None, Some(Module), Once, KeyGone)),
        (RvError::DeviceError, Function::Sign, Profile::Luna, away(Session, Module)),
        (RvError::VendorDefined(0x8000_001a), Function::UnwrapKey, Profile::Luna, away(Login, Module)),
        (RvError::SessionClosed, Function::Sign, Profile::YubiHsm, away(Module, Module)),
        (RvError::UserAlreadyLoggedIn, Function::Login, Profile::YubiHsm, (None, Some(Module), Never, Away)),
    ] {
        assert_eq!(decided(rv, function, profile), row, "{function} {rv:?} {profile:?}");
    }
}

#[test]
fn what_is_ended_already_is_no_failure() {
    for_all(|rv, function, profile, row| {
        if tears_down(function) && [RvError::SessionHandleInvalid, RvError::SessionClosed, RvError::UserNotLoggedIn].contains(&rv) {
            assert!(
                row.level.is_none() && row.persistent.is_none() && row.repeat == Repeat::Never,
                "{function} {rv:?} {profile:?}"
            );
        }
    });
    assert_eq!(standard(RvError::CryptokiNotInitialized, Function::CloseSession).level, Some(Level::Module));
    assert_eq!(standard(RvError::CryptokiNotInitialized, Function::Finalize).level, None);
}

#[test]
fn the_caller_reads_no_ckr() {
    for_all(|rv, function, profile, row| {
        let message = row.tell.to_caller().message().to_owned();
        assert!(!message.contains('_') && !message.contains("CKR"), "{function} {rv:?} {profile:?}: {message}");
    });
    let error = to_caller(&Failure::Pkcs11(RvError::DeviceRemoved, Function::Sign), Profile::default());
    assert_eq!(error.kind(), Kind::Throttled);
    assert_eq!(error.causes(), "C_Sign answered CKR_DEVICE_REMOVED");
    let wrong_pin = to_caller(&Failure::Pkcs11(RvError::PinIncorrect, Function::Login), Profile::default());
    assert_eq!(wrong_pin.kind(), Kind::Unavailable);
}

#[test]
fn sessions_outlive_what_is_not_their_fault() {
    let broken = |rv, function| standard(rv, function).level.is_some();
    assert!(!broken(RvError::KeyHandleInvalid, Function::SignInit));
    assert!(!broken(RvError::MechanismInvalid, Function::SignInit));
    assert!(!broken(RvError::TemplateInconsistent, Function::GenerateKey));
    assert!(broken(RvError::BufferTooSmall, Function::Decrypt));
    assert!(broken(RvError::ArgumentsBad, Function::Encrypt));
    assert!(broken(RvError::GeneralError, Function::Encrypt));
    assert_eq!(standard(RvError::SessionCount, Function::OpenSession).tell, Tell::Limit);
    assert_ne!(standard(RvError::SessionCount, Function::Sign).tell, Tell::Limit);
    assert!(is_stale_handle(&Failure::Pkcs11(RvError::UnwrappingKeyHandleInvalid, Function::UnwrapKey)));
    assert!(!is_stale_handle(&Failure::Pkcs11(RvError::ObjectHandleInvalid, Function::Login)));
}

#[test]
fn what_a_token_lacks_is_told_from_a_fault() {
    let says = |rv, function| finding(&Failure::Pkcs11(rv, function), Profile::Standard);
    for (rv, function) in [
        (RvError::MechanismInvalid, Function::EncryptInit),
        (RvError::MechanismParamInvalid, Function::DecryptInit),
        // SoftHSM, of a hash of OAEP.
        (RvError::ArgumentsBad, Function::DecryptInit),
        (RvError::ArgumentsBad, Function::UnwrapKey),
        (RvError::AttributeValueInvalid, Function::GenerateKey),
        (RvError::TemplateInconsistent, Function::GenerateKeyPair),
        (RvError::FunctionNotSupported, Function::DeriveKey),
    ] {
        assert_eq!(says(rv, function), Finding::Lacks, "{function} {rv:?}");
    }
    for function in [Function::GenerateKeyPair, Function::DecryptInit, Function::Decrypt, Function::UnwrapKey] {
        for rv in [RvError::GeneralError, RvError::FunctionFailed, RvError::DeviceError, RvError::VendorDefined(0x8000_0123)] {
            assert_eq!(says(rv, function), Finding::Unclear, "{function} {rv:?}");
        }
    }
    for_all(|rv, function, profile, row| {
        let broken = row.level >= Some(Level::Login) || row.tell == Tell::Busy || row.tell == Tell::Limit;
        if broken {
            assert_eq!(finding(&Failure::Pkcs11(rv, function), profile), Finding::Fault, "{function} {rv:?} {profile:?}");
        }
    });
    assert_eq!(says(RvError::SessionHandleInvalid, Function::Sign), Finding::Fault);
    assert_eq!(says(RvError::PinLocked, Function::Sign), Finding::Fault);
    assert_eq!(finding(&Failure::NullFunctionPointer, Profile::Standard), Finding::Lacks);
}

#[test]
fn failures_of_the_binding_have_rows() {
    let unreadable = u8::try_from(300).unwrap_err();
    for (failure, tell, level) in [
        (Failure::PinNotSet, Tell::Operator, None),
        (Failure::MissingSymbol("C_GetFunctionList"), Tell::Operator, None),
        (Failure::NullFunctionPointer, Tell::Refused, None),
        (Failure::NotSupported, Tell::Fault, None),
        (Failure::InvalidValue, Tell::Fault, Some(Level::Operation)),
        (Failure::TryFromInt(unreadable), Tell::Fault, Some(Level::Operation)),
    ] {
        let row = meaning_of(&failure, Profile::Standard);
        assert_eq!((row.tell, row.level, row.repeat), (tell, level, Repeat::Never), "{failure:?}");
        assert_eq!(name(&failure), failure.to_string());
    }
}

#[test]
fn modules_are_known_by_what_they_say_of_themselves() {
    for (manufacturer, model, profile) in [
        ("SoftHSM project", "SoftHSM v2", Profile::SoftHsm),
        ("SoftHSM", "Implementation of PKCS11", Profile::SoftHsm),
        ("Cavium Networks", "", Profile::CloudHsm),
        ("Marvell Semiconductors, Inc.", "NITROX-III CNN35XX-NFBE", Profile::CloudHsm),
        ("Safenet, Inc.", "LunaSA 7.7.0", Profile::Luna),
        ("SafeNet, Inc.", "eToken", Profile::Standard),
        ("nCipher Corp. Ltd", "", Profile::NShield),
        ("Yubico (www.yubico.com)", "YubiHSM", Profile::YubiHsm),
        ("Yubico (www.yubico.com)", "YubiKey YK5", Profile::Standard),
        ("Nitrokey GmbH", "NetHSM", Profile::NetHsm),
        ("www.CardContact.de", "PKCS#15 emulated", Profile::Standard),
        ("", "", Profile::Standard),
    ] {
        assert_eq!(Profile::of(manufacturer, model), profile, "{manufacturer} {model}");
    }
    assert!(logs_in(Function::Login) && !logs_in(Function::Logout));
}
