//! What the modules of some vendors mean by an answer, where it is not what the standard says.
//!
//! Each exception names where it is written: a vendor's document, the source of an open module, or an issue. What is hearsay is
//! not here; a module that is not known is read by the standard.

use cryptoki::context::Function;
use cryptoki::error::RvError;
use cryptoki_sys::{CK_RV, CKR_VENDOR_DEFINED};

use super::functions::{judges_input, logs_in, spends_a_try, tears_down};
use super::meaning::{Level, Proof, Refusal, Tell};
use super::table::{Again, Row, bad_input, broken, busy, key_gone, plain};

/// Whose module it is, as far as that makes a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Profile {
    /// Nobody's of whom something else is known.
    #[default]
    Standard,
    /// SoftHSM 2.
    SoftHsm,
    /// AWS CloudHSM, client SDK 3 and 5, whose HSMs are Cavium's, now Marvell's.
    CloudHsm,
    /// Thales Luna, formerly SafeNet and Gemalto.
    Luna,
    /// Entrust nShield, formerly nCipher.
    NShield,
    /// YubiHSM 2 (a YubiKey is another module).
    YubiHsm,
    /// Nitrokey NetHSM (a Nitrokey HSM is another module).
    NetHsm,
}

impl Profile {
    /// By what CK_TOKEN_INFO or CK_INFO say; `model` may be the library's description, since CK_INFO has no model.
    pub(crate) fn of(manufacturer: &str, model: &str) -> Self {
        let (manufacturer, model) = (manufacturer.to_ascii_lowercase(), model.to_ascii_lowercase());
        let either = |word: &str| manufacturer.contains(word) || model.contains(word);
        if either("softhsm") {
            Self::SoftHsm
        } else if either("cloudhsm") || ["cavium", "marvell"].iter().any(|maker| manufacturer.contains(maker)) {
            Self::CloudHsm
        } else if model.contains("luna") {
            // Not by the maker: SafeNet's and Thales's other tokens have modules of their own.
            Self::Luna
        } else if either("ncipher") || either("nshield") {
            Self::NShield
        } else if model.contains("yubihsm") {
            Self::YubiHsm
        } else if either("nethsm") {
            Self::NetHsm
        } else {
            Self::Standard
        }
    }

    const fn exceptions(self) -> &'static [Exception] {
        match self {
            Self::Standard => &[],
            Self::SoftHsm => SOFT_HSM,
            Self::CloudHsm => CLOUD_HSM,
            Self::Luna => LUNA,
            Self::NShield => N_SHIELD,
            Self::YubiHsm => YUBI_HSM,
            Self::NetHsm => NET_HSM,
        }
    }
}

/// The row that takes the place of the standard's, if there is one.
pub(super) fn exception(rv: RvError, function: Function, profile: Profile) -> Option<Row> {
    profile.exceptions().iter().find(|exception| exception.rv == rv && exception.by.includes(function)).map(|found| found.row)
}

/// Why the PIN is refused, when a vendor's own code says so of C_Login.
pub(super) fn refusal(rv: RvError, profile: Profile) -> Option<Refusal> {
    let refusals = match profile {
        Profile::Luna => LUNA_REFUSALS,
        Profile::Standard | Profile::SoftHsm | Profile::CloudHsm | Profile::NShield | Profile::YubiHsm | Profile::NetHsm => &[],
    };
    refusals.iter().find(|(code, _)| *code == rv).map(|(_, refusal)| *refusal)
}

/// A row for an answer of some functions.
struct Exception {
    rv: RvError,
    by: By,
    row: Row,
}

/// Whose answer it is.
#[derive(Clone, Copy)]
enum By {
    Any,
    /// Functions that decide about a caller's input.
    Judges,
    OpenSession,
    Login,
    /// All but those with a PIN, whose answers are about it, and those that end something.
    Work,
}

impl By {
    fn includes(self, function: Function) -> bool {
        match self {
            Self::Any => true,
            Self::Judges => judges_input(function),
            Self::OpenSession => matches!(function, Function::OpenSession),
            Self::Login => logs_in(function),
            Self::Work => !spends_a_try(function) && !tears_down(function),
        }
    }
}

const fn when(rv: RvError, by: By, row: Row) -> Exception {
    Exception { rv, by, row }
}

const SOFT_HSM: &[Exception] =
    &[when(RvError::KeyHandleInvalid, By::Work, SOFT_HSM_HANDLE), when(RvError::ObjectHandleInvalid, By::Work, SOFT_HSM_HANDLE)];

const SOFT_HSM_HANDLE: Row = key_gone(
    Some(Level::Module),
    "SoftHSM 2.6.1, measured: a lost login and a token directory that went away and came back; C_Finalize mends both",
);

const CLOUD_HSM: &[Exception] = &[
    // No level: a session is left as it was, and closing and opening many of them is what the service cannot stand either.
    when(
        RvError::FunctionFailed,
        By::Work,
        Row {
            again: Again::MayHaveRun,
            ..plain(Tell::Busy, "AWS CloudHSM user guide, HSM throttling: SDK 5, after three attempts of its own from 5.8 on")
        },
    ),
    when(
        RvError::OperationActive,
        By::Any,
        Row {
            persistent: None,
            tell: Tell::Busy,
            ..broken(Level::Operation, Level::Session, Again::NothingRan, "AWS CloudHSM user guide, HSM throttling: SDK 3")
        },
    ),
    when(
        RvError::ArgumentsBad,
        By::OpenSession,
        plain(Tell::Limit, "aws-cloudhsm-user-guide #27: said of sessions opened too fast"),
    ),
    when(RvError::KeyHandleInvalid, By::Work, CLOUD_HSM_HANDLE),
    when(RvError::ObjectHandleInvalid, By::Work, CLOUD_HSM_HANDLE),
];

const CLOUD_HSM_HANDLE: Row = key_gone(
    None,
    "AWS CloudHSM user guide: SDK 5 has handles of a session, and a new key may not be on the HSM that the next call reaches",
);

const LUNA: &[Exception] = &[
    when(
        RvError::DeviceError,
        By::Any,
        broken(
            Level::Session,
            Level::Module,
            Again::MayHaveRun,
            "Luna SDK guide, loss of all HA members: only C_Finalize and C_Initialize recover",
        ),
    ),
    // The rest has names in Thales's cryptoki_v2.h.
    when(luna(0x07), By::Any, plain(Tell::Operator, "Luna: CKR_USER_LOCKED_OUT")),
    when(luna(0x0e), By::Judges, bad_input(Level::Token, "Luna: CKR_UNWRAPPING_ERROR")),
    when(
        luna(0x1a),
        By::Work,
        broken(
            Level::Login,
            Level::Module,
            Again::NothingRan,
            "Luna: CKR_USER_NOT_AUTHORIZED; the number in Pkcs11Interop #188, after an outage and until a restart",
        ),
    ),
    when(luna(0x1b), By::Any, plain(Tell::Operator, "Luna: CKR_MAX_OBJECT_COUNT_EXCEEDED")),
    when(luna(0x1c), By::Any, plain(Tell::Operator, "Luna: CKR_SO_LOGIN_FAILURE_THRESHOLD")),
    when(luna(0x1f), By::Any, broken(Level::Token, Level::Module, Again::NothingRan, "Luna: CKR_UNABLE_TO_CONNECT")),
    when(luna(0x20), By::Any, plain(Tell::Operator, "Luna: CKR_PARTITION_DISABLED")),
    when(luna(0x24), By::Any, LUNA_TIMEOUT),
    when(luna(0x2a), By::Any, plain(Tell::Operator, "Luna: CKR_HSM_STORAGE_FULL")),
    when(luna(0x2b), By::Any, LUNA_TIMEOUT),
    when(luna(0x2c), By::Any, plain(Tell::Operator, "Luna: CKR_CONTAINER_OBJECT_STORAGE_FULL")),
    when(luna(0x2f), By::Judges, bad_input(Level::Token, "Luna: CKR_ECC_POINT_INVALID")),
    when(luna(0x35), By::Any, plain(Tell::Operator, "Luna: CKR_LOG_FULL")),
    when(luna(0x41), By::Any, busy("Luna: CKR_AGAIN")),
    when(luna(0x67), By::Any, plain(Tell::Operator, "Luna: CKR_CHALLENGE_INCORRECT, a wrong PIN")),
    when(luna(0x76), By::Any, plain(Tell::Operator, "Luna: CKR_HSM_TAMPERED")),
    when(luna(0x8d), By::Any, plain(Tell::Operator, "Luna: CKR_HSM_RESTART_REQUIRED")),
];

/// Their names are in Thales's cryptoki_v2.h.
const LUNA_REFUSALS: &[(RvError, Refusal)] = &[
    // CKR_CHALLENGE_INCORRECT
    (luna(0x67), Refusal::Wrong),
    // CKR_USER_LOCKED_OUT
    (luna(0x07), Refusal::Locked),
    // CKR_SO_LOGIN_FAILURE_THRESHOLD
    (luna(0x1c), Refusal::Locked),
];

const LUNA_TIMEOUT: Row =
    broken(Level::Session, Level::Module, Again::MayHaveRun, "Luna: CKR_TIMEOUT and CKR_DEVICE_TIMEOUT, no answer from the HSM");

const fn luna(offset: CK_RV) -> RvError {
    RvError::VendorDefined(CKR_VENDOR_DEFINED + offset)
}

const N_SHIELD: &[Exception] = &[
    when(
        n_shield(cryptoki_sys::CKR_TOKEN_NOT_PRESENT),
        By::Any,
        plain(Tell::Operator, "nShield: CKR_FIPS_TOKEN_NOT_PRESENT, a card must be in the reader"),
    ),
    when(n_shield(cryptoki_sys::CKR_MECHANISM_INVALID), By::Any, plain(Tell::Refused, "nShield: CKR_FIPS_MECHANISM_INVALID")),
    when(
        n_shield(cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED),
        By::Any,
        plain(Tell::Refused, "nShield: CKR_FIPS_FUNCTION_NOT_SUPPORTED"),
    ),
    when(n_shield(cryptoki_sys::CKR_TEMPLATE_INCONSISTENT), By::Any, plain(Tell::Fault, "nShield: CKR_FIPS_TEMPLATE_INCONSISTENT")),
];

/// The header of nShield's own codes makes those of FIPS mode by setting the vendors' bit in the standard's.
const fn n_shield(code: CK_RV) -> RvError {
    RvError::VendorDefined(CKR_VENDOR_DEFINED | code)
}

const YUBI_HSM: &[Exception] = &[
    when(
        RvError::FunctionFailed,
        By::Judges,
        bad_input(
            Level::Module,
            "yubihsm-shell, source: older modules say it of every decryption that fails; #267: of a lost connection too",
        ),
    ),
    when(
        RvError::DeviceError,
        By::Judges,
        bad_input(Level::Module, "yubihsm-shell, yrc_to_rv: the device's complaint about data, among others"),
    ),
    when(
        RvError::DeviceError,
        By::Any,
        broken(Level::Session, Level::Module, Again::MayHaveRun, "yubihsm-shell, yrc_to_rv: the device's session among others"),
    ),
    when(
        RvError::SessionClosed,
        By::Work,
        broken(
            Level::Module,
            Level::Module,
            Again::NothingRan,
            "yubihsm-shell #541: the device drops the idle session that all of ours share, and only C_Finalize helps; not so with a PIN",
        ),
    ),
    when(
        RvError::SessionHandleInvalid,
        By::Work,
        broken(Level::Session, Level::Module, Again::NothingRan, "yubihsm-shell #541: sessions opened anew do not help"),
    ),
    when(
        RvError::UserNotLoggedIn,
        By::Work,
        Row {
            proof: Proof::Canary,
            ..broken(
                Level::Login,
                Level::Module,
                Again::NothingRan,
                "yubihsm-shell, get_session: what the module believes of the login",
            )
        },
    ),
    when(
        RvError::SessionReadOnly,
        By::Work,
        broken(
            Level::Login,
            Level::Module,
            Again::NothingRan,
            "yubihsm-shell, get_session: of a read-write session that is not logged in",
        ),
    ),
    when(
        RvError::UserAlreadyLoggedIn,
        By::Login,
        Row {
            persistent: Some(Level::Module),
            ..plain(Tell::Away, "yubihsm-shell, get_session: what the module believes, though the device's session be dead (#541)")
        },
    ),
    when(RvError::KeyHandleInvalid, By::Work, YUBI_HSM_HANDLE),
    when(RvError::ObjectHandleInvalid, By::Work, YUBI_HSM_HANDLE),
    when(RvError::DeviceMemory, By::Any, plain(Tell::Operator, "yubihsm-shell, yrc_to_rv: the store or the audit log is full")),
];

const YUBI_HSM_HANDLE: Row =
    key_gone(Some(Level::Module), "yubihsm-shell, get_object_desc: the device could not be asked about the object");

const NET_HSM: &[Exception] = &[
    when(
        RvError::DeviceError,
        By::Judges,
        bad_input(Level::Token, "nethsm-pkcs11, source: an HTTP status of 400 as well as a connection that fails"),
    ),
    when(
        RvError::TokenNotPresent,
        By::Any,
        Row {
            tell: Tell::Operator,
            ..broken(Level::Token, Level::Module, Again::Never, "nethsm-pkcs11, source: HTTP 412, the NetHSM is locked")
        },
    ),
];
