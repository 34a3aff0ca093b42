//! CKA_VALUE_LEN of keys that were unwrapped: PKCS #11 has every token tell it, SoftHSM tells 0.
//!
//! The length is measured by unwrapping a second time, into a session object that shows its value. With a token that tells lengths nothing
//! of this happens.

#![expect(unsafe_code, reason = "PKCS #11 is a C interface")]

use std::collections::HashMap;
use std::ptr;
use std::sync::Mutex;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FALSE, CK_MECHANISM, CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_TRUE, CK_ULONG, CKA_CLASS,
    CKA_EXTRACTABLE, CKA_KEY_TYPE, CKA_SENSITIVE, CKA_TOKEN, CKA_VALUE, CKA_VALUE_LEN, CKK_GENERIC_SECRET, CKO_SECRET_KEY, CKR_OK,
};

use crate::lock;
use crate::module::Module;
use crate::real::real;

/// The lengths of the unwrapped keys of a slot, by the real module's handles.
#[derive(Default)]
pub struct Lengths(Mutex<HashMap<CK_OBJECT_HANDLE, CK_ULONG>>);

impl Lengths {
    /// Of a key that was unwrapped just now; nothing of one whose length is not known. Handles may be given out again.
    pub fn keep(&self, key: CK_OBJECT_HANDLE, bytes: Option<CK_ULONG>) {
        let mut lengths = lock(&self.0);
        match bytes {
            Some(bytes) => drop(lengths.insert(key, bytes)),
            None => drop(lengths.remove(&key)),
        }
    }

    /// Writes the length where a program asked for it and was told 0.
    ///
    /// # Safety
    /// `template` has `count` attributes, filled by C_GetAttributeValue.
    pub unsafe fn tell(&self, key: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) {
        let Some(bytes) = lock(&self.0).get(&key).copied() else { return };
        for at in 0..count as usize {
            // SAFETY: the caller says that there are so many.
            let attribute = unsafe { &*template.add(at) };
            let whole = attribute.ulValueLen as usize == size_of::<CK_ULONG>() && !attribute.pValue.is_null();
            if attribute.type_ == CKA_VALUE_LEN && whole {
                let place = attribute.pValue.cast::<CK_ULONG>();
                // SAFETY: the place was filled with a number of this size.
                unsafe {
                    if place.read_unaligned() == 0 {
                        place.write_unaligned(bytes);
                    }
                }
            }
        }
    }
}

fn attribute<T>(type_: CK_ULONG, value: &mut T) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE { type_, pValue: ptr::from_mut(value).cast(), ulValueLen: size_of::<T>() as CK_ULONG }
}

/// Whether the token tells 0 bytes of a key.
pub fn is_hidden(module: &Module, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> bool {
    let mut bytes: CK_ULONG = CK_ULONG::MAX;
    let mut asked = attribute(CKA_VALUE_LEN, &mut bytes);
    real!(module, C_GetAttributeValue(session, key, &mut asked, 1)) == CKR_OK && bytes == 0
}

/// How long the key is that `wrapped` holds; nothing when it cannot be told.
pub fn measured(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    unwrapping_key: CK_OBJECT_HANDLE,
    (wrapped, length): (*mut CK_BYTE, CK_ULONG),
) -> Option<CK_ULONG> {
    let (mut class, mut kind) = (CKO_SECRET_KEY, CKK_GENERIC_SECRET);
    let (mut token, mut sensitive, mut extractable): (CK_BBOOL, CK_BBOOL, CK_BBOOL) = (CK_FALSE, CK_FALSE, CK_TRUE);
    let mut template = [
        attribute(CKA_CLASS, &mut class),
        attribute(CKA_KEY_TYPE, &mut kind),
        attribute(CKA_TOKEN, &mut token),
        attribute(CKA_SENSITIVE, &mut sensitive),
        attribute(CKA_EXTRACTABLE, &mut extractable),
    ];
    let (fields, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
    let mut key = 0;
    let unwrapped = real!(module, C_UnwrapKey(session, mechanism, unwrapping_key, wrapped, length, fields, count, &mut key));
    if unwrapped != CKR_OK {
        return None;
    }
    let mut value = CK_ATTRIBUTE { type_: CKA_VALUE, pValue: ptr::null_mut(), ulValueLen: 0 };
    let asked = real!(module, C_GetAttributeValue(session, key, &mut value, 1));
    let destroyed = real!(module, C_DestroyObject(session, key));
    (asked == CKR_OK && destroyed == CKR_OK).then_some(value.ulValueLen)
}
