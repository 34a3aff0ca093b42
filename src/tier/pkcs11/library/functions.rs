//! The two calls of an operation, C_xxxInit and C_xxx, straight through the module's function list, and the calls that the safe
//! binding cannot make.
//!
//! The only file with `unsafe`. The binding asks the module for the length of every result first, which makes three calls of
//! two; here the length is known. Nothing in it knows of pools, keys or algorithms of ours.

#![expect(unsafe_code, reason = "PKCS #11 is a C interface")]

use std::ffi::c_void;
use std::path::Path;
use std::ptr;

use cryptoki::context::Function;
use cryptoki::error::{Error as Failure, Rv};
use cryptoki_sys::{
    CK_FUNCTION_LIST, CK_GCM_PARAMS, CK_MECHANISM, CK_MECHANISM_TYPE, CK_OBJECT_HANDLE, CK_RSA_PKCS_OAEP_PARAMS,
    CK_RSA_PKCS_PSS_PARAMS, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO, CK_ULONG, CKF_RNG, CKF_TOKEN_INITIALIZED,
    CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_INITIALIZED, CKF_USER_PIN_LOCKED, CKG_MGF1_SHA1, CKG_MGF1_SHA256,
    CKM_AES_CBC, CKM_AES_ECB, CKM_AES_GCM, CKM_ECDSA, CKM_RSA_PKCS, CKM_RSA_PKCS_OAEP, CKM_RSA_PKCS_PSS, CKM_RSA_X_509, CKM_SHA_1,
    CKM_SHA224_HMAC, CKM_SHA256, CKM_SHA256_HMAC, CKM_SHA384_HMAC, CKM_SHA512_HMAC, CKZ_DATA_SPECIFIED, Pkcs11,
};

use crate::model::algorithm::MacAlgorithm;
use crate::tier::OaepHash;
use crate::tier::pkcs11::library::token::{PinState, TokenSummary};

/// Length in bits of an AES-GCM tag: the whole of it (SP 800-38D, section 5.2.1.2).
const GCM_TAG_BITS: CK_ULONG = 128;

/// A mechanism with its parameters (PKCS #11, section 6).
#[derive(Clone, Copy)]
pub(crate) enum Mechanism<'a> {
    /// CKM_AES_GCM with a 16-byte tag at the end.
    AesGcm { iv: &'a [u8; 12], aad: &'a [u8] },
    /// CKM_AES_CBC, without padding.
    AesCbc { iv: &'a [u8; 16] },
    /// CKM_AES_ECB, without padding.
    AesEcb,
    /// CKM_RSA_PKCS_OAEP, empty label, one hash for label and MGF1.
    RsaOaep(OaepHash),
    /// CKM_RSA_X_509: RSADP of RFC 8017, section 5.1.2, and nothing else.
    RsaX509,
    /// CKM_RSA_PKCS: the data is a DigestInfo.
    RsaPkcs,
    /// CKM_RSA_PKCS_PSS over a SHA-256 digest, MGF1 with SHA-256, 32-byte salt.
    RsaPssSha256,
    /// CKM_ECDSA over a digest; the signature is r and s.
    Ecdsa,
    /// CKM_SHA224_HMAC and its siblings: the code is as long as the hash.
    Hmac(MacAlgorithm),
}

impl Mechanism<'_> {
    /// Runs `call` with the C form. The parameters live on this stack frame until `call` returns; C_xxxInit copies them
    /// (PKCS #11, section 5.2: the library must not keep pointers to its arguments).
    fn with_raw<T>(self, call: impl FnOnce(&mut CK_MECHANISM) -> T) -> T {
        let bare = |kind: CK_MECHANISM_TYPE| CK_MECHANISM { mechanism: kind, pParameter: ptr::null_mut(), ulParameterLen: 0 };
        match self {
            Self::AesGcm { iv, aad } => {
                let mut parameters = CK_GCM_PARAMS {
                    pIv: iv.as_ptr().cast_mut(),
                    ulIvLen: length(iv),
                    ulIvBits: length(iv) * 8,
                    pAAD: pointer(aad),
                    ulAADLen: length(aad),
                    ulTagBits: GCM_TAG_BITS,
                };
                call(&mut with_parameters(CKM_AES_GCM, &mut parameters))
            }
            Self::AesCbc { iv } => {
                let mut parameters = *iv;
                call(&mut with_parameters(CKM_AES_CBC, &mut parameters))
            }
            Self::RsaOaep(hash) => {
                let (hash, mgf) = match hash {
                    OaepHash::Sha256 => (CKM_SHA256, CKG_MGF1_SHA256),
                    OaepHash::Sha1 => (CKM_SHA_1, CKG_MGF1_SHA1),
                };
                let mut parameters = CK_RSA_PKCS_OAEP_PARAMS {
                    hashAlg: hash,
                    mgf,
                    source: CKZ_DATA_SPECIFIED,
                    pSourceData: ptr::null_mut(),
                    ulSourceDataLen: 0,
                };
                call(&mut with_parameters(CKM_RSA_PKCS_OAEP, &mut parameters))
            }
            Self::RsaPssSha256 => {
                let mut parameters = CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA256, mgf: CKG_MGF1_SHA256, sLen: 32 };
                call(&mut with_parameters(CKM_RSA_PKCS_PSS, &mut parameters))
            }
            Self::AesEcb => call(&mut bare(CKM_AES_ECB)),
            Self::RsaX509 => call(&mut bare(CKM_RSA_X_509)),
            Self::RsaPkcs => call(&mut bare(CKM_RSA_PKCS)),
            Self::Ecdsa => call(&mut bare(CKM_ECDSA)),
            Self::Hmac(algorithm) => call(&mut bare(match algorithm {
                MacAlgorithm::HmacSha224 => CKM_SHA224_HMAC,
                MacAlgorithm::HmacSha256 => CKM_SHA256_HMAC,
                MacAlgorithm::HmacSha384 => CKM_SHA384_HMAC,
                MacAlgorithm::HmacSha512 => CKM_SHA512_HMAC,
            })),
        }
    }
}

fn with_parameters<P>(kind: CK_MECHANISM_TYPE, parameters: &mut P) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: kind,
        pParameter: ptr::from_mut(parameters).cast::<c_void>(),
        ulParameterLen: size_of::<P>() as CK_ULONG,
    }
}

fn length(bytes: &[u8]) -> CK_ULONG {
    bytes.len() as CK_ULONG
}

/// A pointer for the module, null for no bytes: some modules look at the pointer rather than at the length.
fn pointer(bytes: &[u8]) -> *mut u8 {
    if bytes.is_empty() { ptr::null_mut() } else { bytes.as_ptr().cast_mut() }
}

/// A pointer to input data: never null, since C_Encrypt of no bytes is a call with a length of 0.
fn data(bytes: &[u8]) -> *mut u8 {
    bytes.as_ptr().cast_mut()
}

/// The functions of a loaded module. It must be initialised before any but [`Functions::load`].
pub(crate) struct Functions {
    list: CK_FUNCTION_LIST,
    /// Keeps the library mapped for as long as `list` is used.
    _library: Option<Pkcs11>,
}

type Init = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Work = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG) -> CK_RV;

impl Functions {
    /// Loads the library (or takes another reference to it) and its function list.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        // SAFETY: loading runs the library's constructors; the operator named it as the PKCS #11 module to be trusted with keys.
        let library = unsafe { Pkcs11::new(path) }.map_err(Failure::LibraryLoading)?;
        if library.C_GetFunctionList.is_err() {
            return Err(Failure::MissingSymbol("C_GetFunctionList"));
        }
        let mut list = ptr::null_mut();
        // SAFETY: the symbol is there, and `list` is a valid place for one pointer.
        check(unsafe { library.C_GetFunctionList(&mut list) }, Function::GetFunctionList)?;
        if list.is_null() {
            return Err(Failure::NullFunctionPointer);
        }
        // SAFETY: C_GetFunctionList succeeded: `list` points to the module's static CK_FUNCTION_LIST (PKCS #11, section 5.4).
        let list = unsafe { *list };
        Ok(Self { list, _library: Some(library) })
    }

    /// Those of a library that is not loaded: none, so that every call is [`Failure::NullFunctionPointer`].
    pub(crate) fn none() -> Self {
        Self { list: CK_FUNCTION_LIST::default(), _library: None }
    }

    /// C_EncryptInit and C_Encrypt. `output` is as long as the result can be; gives the length of the result.
    pub(crate) fn encrypt(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        how: Mechanism<'_>,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failure> {
        self.init(self.list.C_EncryptInit, Function::EncryptInit, session, key, how)?;
        self.work(self.list.C_Encrypt, Function::Encrypt, session, input, output)
    }

    /// C_DecryptInit and C_Decrypt. SoftHSM wants `output` as long as the ciphertext (RSA: the modulus), whatever the plaintext.
    pub(crate) fn decrypt(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        how: Mechanism<'_>,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failure> {
        self.init(self.list.C_DecryptInit, Function::DecryptInit, session, key, how)?;
        self.work(self.list.C_Decrypt, Function::Decrypt, session, input, output)
    }

    /// C_SignInit and C_Sign.
    pub(crate) fn sign(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        how: Mechanism<'_>,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failure> {
        self.init(self.list.C_SignInit, Function::SignInit, session, key, how)?;
        self.work(self.list.C_Sign, Function::Sign, session, input, output)
    }

    fn init(
        &self,
        init: Option<Init>,
        function: Function,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        how: Mechanism<'_>,
    ) -> Result<(), Failure> {
        let init = init.ok_or(Failure::NullFunctionPointer)?;
        // SAFETY: `init` is a C_xxxInit of the module; the mechanism and what it points to live until the call returns. A handle
        // that is not valid (any more) is an error of the call, not undefined behaviour.
        how.with_raw(|mechanism| check(unsafe { init(session, mechanism, key) }, function))
    }

    fn work(
        &self,
        work: Option<Work>,
        function: Function,
        session: CK_SESSION_HANDLE,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Failure> {
        let work = work.ok_or(Failure::NullFunctionPointer)?;
        let mut written = output.len() as CK_ULONG;
        // SAFETY: `work` is the C_xxx that belongs to the C_xxxInit before; it reads `input` within its length, although the C
        // type is not const (PKCS #11, section 5.2), and writes at most `written` bytes to `output`.
        check(unsafe { work(session, data(input), length(input), output.as_mut_ptr(), &mut written) }, function)?;
        // A module that claims more than there was room for is not believed.
        usize::try_from(written).ok().filter(|written| *written <= output.len()).ok_or(Failure::InvalidValue)
    }

    /// C_GenerateRandom.
    pub(crate) fn random(&self, session: CK_SESSION_HANDLE, output: &mut [u8]) -> Result<(), Failure> {
        let random = self.list.C_GenerateRandom.ok_or(Failure::NullFunctionPointer)?;
        // SAFETY: `output` is valid for writing its length.
        check(unsafe { random(session, output.as_mut_ptr(), length(output)) }, Function::GenerateRandom)
    }

    /// C_CloseAllSessions: ends the login, too. No call may run in a session of the slot.
    pub(crate) fn close_all_sessions(&self, slot: CK_SLOT_ID) -> Result<(), Failure> {
        let close_all = self.list.C_CloseAllSessions.ok_or(Failure::NullFunctionPointer)?;
        // SAFETY: the function takes a number; a slot that is not there is an error of the call.
        check(unsafe { close_all(slot) }, Function::CloseAllSessions)
    }

    /// C_GetTokenInfo, read without believing the parts that modules get wrong.
    pub(crate) fn token(&self, slot: CK_SLOT_ID) -> Result<TokenSummary, Failure> {
        let token_info = self.list.C_GetTokenInfo.ok_or(Failure::NullFunctionPointer)?;
        let mut info = CK_TOKEN_INFO::default();
        // SAFETY: `info` is a valid place for one CK_TOKEN_INFO.
        check(unsafe { token_info(slot, &mut info) }, Function::GetTokenInfo)?;
        let has = |flag| info.flags & flag != 0;
        Ok(TokenSummary {
            slot_id: slot,
            label: blank_padded(&info.label),
            manufacturer: blank_padded(&info.manufacturerID),
            model: blank_padded(&info.model),
            serial: blank_padded(&info.serialNumber),
            firmware: format!("{}.{}", info.firmwareVersion.major, info.firmwareVersion.minor),
            initialized: has(CKF_TOKEN_INITIALIZED),
            user_pin_initialized: has(CKF_USER_PIN_INITIALIZED),
            random_generator: has(CKF_RNG),
            pin_state: if has(CKF_USER_PIN_LOCKED) {
                PinState::Locked
            } else if has(CKF_USER_PIN_FINAL_TRY) {
                PinState::FinalTry
            } else if has(CKF_USER_PIN_COUNT_LOW) {
                PinState::CountLow
            } else {
                PinState::Fine
            },
            session_limit: [info.ulMaxSessionCount, info.ulMaxRwSessionCount].into_iter().filter_map(session_limit).min(),
        })
    }
}

/// CK_EFFECTIVELY_INFINITE is 0, CK_UNAVAILABLE_INFORMATION is all ones (PKCS #11, section 3.2).
fn session_limit(count: CK_ULONG) -> Option<usize> {
    if count == 0 || count == CK_ULONG::MAX { None } else { usize::try_from(count).ok() }
}

/// A CK_UTF8CHAR field: blank-padded and not terminated; some modules end it with a zero byte all the same.
fn blank_padded(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).trim_end().to_owned()
}

fn check(rv: CK_RV, function: Function) -> Result<(), Failure> {
    Rv::from(rv).into_result(function)
}

/// Ends the process at once: no exit handlers, no destructors of libraries. For a process in which a call still runs in a module:
/// SoftHSM and others crash when their library is taken down under it.
pub fn leave(status: i32) -> ! {
    unsafe extern "C" {
        fn _exit(status: std::ffi::c_int) -> !;
    }
    // SAFETY: _exit(2) may be called at any time, from any thread, and touches no memory of ours.
    unsafe { _exit(status) }
}
