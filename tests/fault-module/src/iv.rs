//! IVs of AES-GCM that the module makes, as AWS CloudHSM has it: what the program gives is ignored, or must be zeros, and the IV of the
//! module is written to the program's place when the encryption has ended.

#![expect(unsafe_code, reason = "PKCS #11 is a C interface")]

use std::sync::Mutex;

use cryptoki_sys::{
    CK_BYTE, CK_GCM_PARAMS, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_ULONG, CKM_AES_GCM, CKR_MECHANISM_PARAM_INVALID, CKR_OK,
};

use crate::lock;
use crate::manners::Ivs;
use crate::module::Module;
use crate::real::real;
use crate::session::Session;

/// The IV that the module made for the encryption that is active in a session, if it made one.
#[derive(Default)]
pub struct Made(Mutex<Option<Iv>>);

struct Iv {
    /// The address of the program's place.
    place: usize,
    /// Kept here for the real module, too, which may look at it until the encryption has ended.
    bytes: Vec<CK_BYTE>,
}

impl Made {
    /// C_Encrypt has given its result.
    ///
    /// # Safety
    /// The place that the program gave to C_EncryptInit is still good.
    pub unsafe fn tell(&self) {
        if let Some(iv) = lock(&self.0).take() {
            let place = std::ptr::with_exposed_provenance_mut::<CK_BYTE>(iv.place);
            // SAFETY: the caller's; there were so many bytes.
            unsafe { place.copy_from_nonoverlapping(iv.bytes.as_ptr(), iv.bytes.len()) };
        }
    }
}

/// C_EncryptInit, with the real module's number of the key.
///
/// # Safety
/// As of C_EncryptInit; the IV of CK_GCM_PARAMS is good until the encryption has ended.
pub unsafe fn begin(module: &Module, session: &Session, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) -> CK_RV {
    let mut made = lock(&session.iv.0);
    *made = None;
    let ivs = session.slot.manners().ivs;
    // SAFETY: it is the program's mechanism, or null.
    let given = unsafe { mechanism.as_ref() };
    let is_gcm = |given: &&CK_MECHANISM| {
        given.mechanism == CKM_AES_GCM && !given.pParameter.is_null() && given.ulParameterLen as usize == size_of::<CK_GCM_PARAMS>()
    };
    let Some(given) = given.filter(is_gcm).filter(|_| ivs != Ivs::Program) else {
        return real!(module, C_EncryptInit(session.real, mechanism, key));
    };
    // SAFETY: it is not null, and of this size.
    let mut parameters = unsafe { given.pParameter.cast::<CK_GCM_PARAMS>().read_unaligned() };
    if parameters.pIv.is_null() || parameters.ulIvLen == 0 {
        return CKR_MECHANISM_PARAM_INVALID;
    }
    // SAFETY: there are so many bytes of the program.
    let theirs = unsafe { std::slice::from_raw_parts(parameters.pIv, parameters.ulIvLen as usize) };
    if ivs == Ivs::ZeroOnly && theirs.iter().any(|byte| *byte != 0) {
        return CKR_MECHANISM_PARAM_INVALID;
    }
    let mut iv = Iv { place: parameters.pIv.expose_provenance(), bytes: vec![0; theirs.len()] };
    let drawn = real!(module, C_GenerateRandom(session.real, iv.bytes.as_mut_ptr(), iv.bytes.len() as CK_ULONG));
    if drawn != CKR_OK {
        return drawn;
    }
    parameters.pIv = iv.bytes.as_mut_ptr();
    let mut taken = CK_MECHANISM { pParameter: (&raw mut parameters).cast(), ..*given };
    let answer = real!(module, C_EncryptInit(session.real, &mut taken, key));
    if answer == CKR_OK {
        *made = Some(iv);
    }
    answer
}
