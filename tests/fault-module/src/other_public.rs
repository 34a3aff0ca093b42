//! The public half of another key, which a token tells of in the place of the one that it is asked for.

#![expect(unsafe_code, reason = "PKCS #11 is a C interface")]

use std::collections::HashMap;
use std::ptr;
use std::sync::Mutex;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_ATTRIBUTE_TYPE, CK_BYTE, CK_MECHANISM, CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_ULONG, CKA_EC_PARAMS,
    CKA_EC_POINT, CKA_MODULUS, CKA_MODULUS_BITS, CKM_EC_KEY_PAIR_GEN, CKM_RSA_PKCS_KEY_PAIR_GEN, CKR_OK,
};

use crate::lock;
use crate::module::Module;
use crate::real::real;

/// What kind of key another one is needed for: its curve as in CKA_EC_PARAMS, or the bytes of its modulus.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Ec(Vec<CK_BYTE>),
    Rsa(usize),
}

/// The point or the modulus of one other key of each kind, made when it is needed first.
#[derive(Default)]
pub struct Others(Mutex<HashMap<Kind, Vec<CK_BYTE>>>);

impl Others {
    /// Puts the point or the modulus of another key in the place of the right one. With real numbers of session and object.
    ///
    /// # Safety
    /// `template` has `count` attributes, filled by C_GetAttributeValue.
    pub unsafe fn tell(
        &self,
        module: &Module,
        (session, object): (CK_SESSION_HANDLE, CK_OBJECT_HANDLE),
        template: *mut CK_ATTRIBUTE,
        count: CK_ULONG,
    ) {
        for at in 0..count as usize {
            // SAFETY: the caller says that there are so many.
            let attribute = unsafe { &*template.add(at) };
            if attribute.pValue.is_null() {
                continue;
            }
            let length = attribute.ulValueLen as usize;
            let kind = match attribute.type_ {
                CKA_EC_POINT => read(module, session, object, CKA_EC_PARAMS).map(Kind::Ec),
                CKA_MODULUS => Some(Kind::Rsa(length)),
                _ => None,
            };
            if let Some(other) = kind.and_then(|kind| self.of(module, session, kind)).filter(|other| other.len() == length) {
                // SAFETY: the place was filled with so many bytes.
                unsafe { attribute.pValue.cast::<CK_BYTE>().copy_from_nonoverlapping(other.as_ptr(), length) };
            }
        }
    }

    fn of(&self, module: &Module, session: CK_SESSION_HANDLE, kind: Kind) -> Option<Vec<CK_BYTE>> {
        let mut others = lock(&self.0);
        if let Some(other) = others.get(&kind) {
            return Some(other.clone());
        }
        let other = made(module, session, &kind)?;
        others.insert(kind, other.clone());
        Some(other)
    }
}

/// Makes a pair of the session, looks at its public half, and destroys it.
fn made(module: &Module, session: CK_SESSION_HANDLE, kind: &Kind) -> Option<Vec<CK_BYTE>> {
    let (mut curve, mut bits): (Vec<CK_BYTE>, CK_ULONG);
    let (mechanism, mut public, asked) = match kind {
        Kind::Ec(parameters) => {
            curve = parameters.clone();
            let length = curve.len() as CK_ULONG;
            let field = CK_ATTRIBUTE { type_: CKA_EC_PARAMS, pValue: curve.as_mut_ptr().cast(), ulValueLen: length };
            (CKM_EC_KEY_PAIR_GEN, field, CKA_EC_POINT)
        }
        Kind::Rsa(bytes) => {
            bits = *bytes as CK_ULONG * 8;
            let length = size_of::<CK_ULONG>() as CK_ULONG;
            let field = CK_ATTRIBUTE { type_: CKA_MODULUS_BITS, pValue: (&raw mut bits).cast(), ulValueLen: length };
            (CKM_RSA_PKCS_KEY_PAIR_GEN, field, CKA_MODULUS)
        }
    };
    let mut mechanism = CK_MECHANISM { mechanism, pParameter: ptr::null_mut(), ulParameterLen: 0 };
    let (mut of_public, mut of_private) = (0, 0);
    let places = (&raw mut of_public, &raw mut of_private);
    let none = ptr::null_mut();
    let answer = real!(module, C_GenerateKeyPair(session, &mut mechanism, &mut public, 1, none, 0, places.0, places.1));
    if answer != CKR_OK {
        return None;
    }
    let other = read(module, session, of_public, asked);
    for object in [of_public, of_private] {
        let _ = real!(module, C_DestroyObject(session, object));
    }
    other
}

/// An attribute of an object, if it shows it.
fn read(module: &Module, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, kind: CK_ATTRIBUTE_TYPE) -> Option<Vec<CK_BYTE>> {
    let mut asked = CK_ATTRIBUTE { type_: kind, pValue: ptr::null_mut(), ulValueLen: 0 };
    if real!(module, C_GetAttributeValue(session, object, &mut asked, 1)) != CKR_OK {
        return None;
    }
    let mut value = vec![0; asked.ulValueLen as usize];
    asked.pValue = value.as_mut_ptr().cast();
    let answer = real!(module, C_GetAttributeValue(session, object, &mut asked, 1));
    value.truncate(asked.ulValueLen as usize);
    (answer == CKR_OK).then_some(value)
}
