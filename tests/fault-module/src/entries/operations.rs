//! Encrypting, decrypting, digesting, signing, verifying.
//!
//! Every one of these operations is begun by a C_xxxInit and ended by its last call, or by an error of any call. A rule that
//! answers such a call with an error, without the real module, leaves the operation there; so it is ended there with a call whose
//! result nobody sees.

use std::ptr;

use cryptoki_sys::{
    CK_BYTE, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKR_BUFFER_TOO_SMALL, CKR_KEY_HANDLE_INVALID,
    CKR_OK,
};

use super::pass_through;
use crate::call::{self, With};
use crate::function::Function;
use crate::iv;
use crate::module;
use crate::real::real;

/// C_xxxInit with a key.
macro_rules! begin {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`")]
            pub unsafe extern "C" fn $name(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) -> CK_RV {
                let module = module();
                call::keyed(module, Function::$name, session, key, |session| match session.slot.objects.real(key) {
                    Some(key) => real!(module, $name(session.real, mechanism, key)),
                    None => CKR_KEY_HANDLE_INVALID,
                })
            }
        )*
    };
}

begin! { C_DecryptInit C_SignInit C_SignRecoverInit C_VerifyInit C_VerifyRecoverInit }

/// `C_EncryptInit`, with an IV of the module's if it makes them.
pub unsafe extern "C" fn C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) -> CK_RV {
    let module = module();
    call::keyed(module, Function::C_EncryptInit, session, key, |session| match session.slot.objects.real(key) {
        // SAFETY: the mechanism is the program's, and so is the IV in it, until C_Encrypt.
        Some(key) => unsafe { iv::begin(module, session, mechanism, key) },
        None => CKR_KEY_HANDLE_INVALID,
    })
}

/// Calls with input and output that end the operation.
macro_rules! finish {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`")]
            pub unsafe extern "C" fn $name(
                session: CK_SESSION_HANDLE,
                input: *mut CK_BYTE,
                input_length: CK_ULONG,
                output: *mut CK_BYTE,
                output_length: *mut CK_ULONG,
            ) -> CK_RV {
                let module = module();
                call::result(
                    module,
                    Function::$name,
                    session,
                    With::Data(input_length),
                    |session| {
                        let answer = real!(module, $name(session.real, input, input_length, output, output_length));
                        if Function::$name == Function::C_Encrypt && answer == CKR_OK && !output.is_null() {
                            // SAFETY: the encryption ends here, and the program's place was to be good until then.
                            unsafe { session.iv.tell() };
                        }
                        answer
                    },
                    |session| end_with(|place, length| real!(module, $name(session.real, input, input_length, place, length))),
                    |lie| {
                        // Null asks for the length alone.
                        if !output.is_null() && !output_length.is_null() {
                            // SAFETY: the function has succeeded and has written so many bytes to the program's place.
                            let written = unsafe { std::slice::from_raw_parts_mut(output, *output_length as usize) };
                            let before = written.to_vec();
                            lie.tell(written, &before);
                        }
                    },
                )
            }
        )*
    };
}

finish! { C_Encrypt C_Decrypt C_Digest C_Sign C_SignRecover C_VerifyRecover }

/// Calls for a part of the data with a result of their own. Their errors end the operation, hence `$last`.
macro_rules! update {
    ($($name:ident ends with $last:ident;)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`")]
            pub unsafe extern "C" fn $name(
                session: CK_SESSION_HANDLE,
                input: *mut CK_BYTE,
                input_length: CK_ULONG,
                output: *mut CK_BYTE,
                output_length: *mut CK_ULONG,
            ) -> CK_RV {
                let module = module();
                call::operation(
                    module,
                    Function::$name,
                    session,
                    With::Data(input_length),
                    |session| real!(module, $name(session.real, input, input_length, output, output_length)),
                    |session| end_with(|place, length| real!(module, $last(session.real, place, length))),
                )
            }
        )*
    };
}

update! {
    C_EncryptUpdate ends with C_EncryptFinal;
    C_DecryptUpdate ends with C_DecryptFinal;
}

/// Calls for a part of the data without a result.
macro_rules! absorb {
    ($($name:ident ends with $last:ident;)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`")]
            pub unsafe extern "C" fn $name(session: CK_SESSION_HANDLE, input: *mut CK_BYTE, input_length: CK_ULONG) -> CK_RV {
                let module = module();
                call::operation(
                    module,
                    Function::$name,
                    session,
                    With::Data(input_length),
                    |session| real!(module, $name(session.real, input, input_length)),
                    |session| end_with(|place, length| real!(module, $last(session.real, place, length))),
                )
            }
        )*
    };
}

absorb! {
    C_DigestUpdate ends with C_DigestFinal;
    C_SignUpdate ends with C_SignFinal;
}

/// Last calls with a result.
macro_rules! last {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`")]
            pub unsafe extern "C" fn $name(session: CK_SESSION_HANDLE, output: *mut CK_BYTE, output_length: *mut CK_ULONG) -> CK_RV {
                let module = module();
                call::operation(
                    module,
                    Function::$name,
                    session,
                    With::Nothing,
                    |session| real!(module, $name(session.real, output, output_length)),
                    |session| end_with(|place, length| real!(module, $name(session.real, place, length))),
                )
            }
        )*
    };
}

last! { C_EncryptFinal C_DecryptFinal C_DigestFinal C_SignFinal }

// Two operations at once; no error of theirs is made up for in the real module, which seldom has them.
pass_through! {
    C_DigestInit(mechanism: *mut CK_MECHANISM);
    C_DigestEncryptUpdate(input: *mut CK_BYTE, input_length: CK_ULONG, output: *mut CK_BYTE, output_length: *mut CK_ULONG);
    C_DecryptDigestUpdate(input: *mut CK_BYTE, input_length: CK_ULONG, output: *mut CK_BYTE, output_length: *mut CK_ULONG);
    C_SignEncryptUpdate(input: *mut CK_BYTE, input_length: CK_ULONG, output: *mut CK_BYTE, output_length: *mut CK_ULONG);
    C_DecryptVerifyUpdate(input: *mut CK_BYTE, input_length: CK_ULONG, output: *mut CK_BYTE, output_length: *mut CK_ULONG);
}

/// `C_DigestKey`
pub unsafe extern "C" fn C_DigestKey(session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> CK_RV {
    let module = module();
    call::operation(
        module,
        Function::C_DigestKey,
        session,
        With::Nothing,
        |session| match session.slot.objects.real(key) {
            Some(key) => real!(module, C_DigestKey(session.real, key)),
            None => CKR_KEY_HANDLE_INVALID,
        },
        |session| end_with(|place, length| real!(module, C_DigestFinal(session.real, place, length))),
    )
}

/// `C_Verify`
pub unsafe extern "C" fn C_Verify(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_length: CK_ULONG,
) -> CK_RV {
    let module = module();
    call::operation(
        module,
        Function::C_Verify,
        session,
        With::Data(data_length),
        |session| real!(module, C_Verify(session.real, data, data_length, signature, signature_length)),
        |session| {
            let _ = real!(module, C_Verify(session.real, data, data_length, signature, signature_length));
        },
    )
}

/// `C_VerifyUpdate`
pub unsafe extern "C" fn C_VerifyUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_length: CK_ULONG) -> CK_RV {
    let module = module();
    call::operation(
        module,
        Function::C_VerifyUpdate,
        session,
        With::Data(data_length),
        |session| real!(module, C_VerifyUpdate(session.real, data, data_length)),
        |session| {
            // No signature is one byte long.
            let mut signature = 0;
            let _ = real!(module, C_VerifyFinal(session.real, &mut signature, 1));
        },
    )
}

/// `C_VerifyFinal`
pub unsafe extern "C" fn C_VerifyFinal(session: CK_SESSION_HANDLE, signature: *mut CK_BYTE, signature_length: CK_ULONG) -> CK_RV {
    let module = module();
    call::operation(
        module,
        Function::C_VerifyFinal,
        session,
        With::Nothing,
        |session| real!(module, C_VerifyFinal(session.real, signature, signature_length)),
        |session| {
            let _ = real!(module, C_VerifyFinal(session.real, signature, signature_length));
        },
    )
}

/// Ends an operation by `call`, which takes a place for the result and its length.
fn end_with(call: impl Fn(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV) {
    let mut length = 0;
    let mut answer = call(ptr::null_mut(), &mut length);
    // A module may tell a length too small at first; one that never has enough keeps its operation.
    for _ in 0..4 {
        if answer != CKR_OK && answer != CKR_BUFFER_TOO_SMALL {
            return;
        }
        let mut scratch = vec![0; length as usize];
        // Never null, which would ask for the length again.
        answer = call(if scratch.is_empty() { ptr::dangling_mut() } else { scratch.as_mut_ptr() }, &mut length);
        if answer == CKR_OK {
            return;
        }
    }
}
