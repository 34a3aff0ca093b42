//! The C functions that the program calls, by chapter of the standard. Each finds out what the call is for, and translates the
//! handles.

#![expect(unsafe_code, reason = "PKCS #11 is a C interface")]
#![allow(non_snake_case, reason = "the names of the standard")]

pub mod general;
pub mod objects;
pub mod operations;
pub mod sessions;

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_RV, CKR_OK};

use crate::module::Module;
use crate::session::Session;

/// Gives the program its number of an object that the real module has just given the real number of.
///
/// # Safety
/// `place` is the program's, where the real module has written an object handle, or null.
unsafe fn publish(module: &Module, session: &Session, answer: CK_RV, place: *mut CK_OBJECT_HANDLE) {
    if answer == CKR_OK && !place.is_null() {
        // SAFETY: it is not null, and the real module wrote to it.
        unsafe { *place = session.slot.objects.visible(*place, &module.numbers) };
    }
}

/// Functions with a session and nothing to translate.
macro_rules! pass_through {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`")]
            pub unsafe extern "C" fn $name(session: CK_SESSION_HANDLE $(, $argument: $kind)*) -> CK_RV {
                let module = module();
                call::session(module, Function::$name, session, |session| real!(module, $name(session.real $(, $argument)*)))
            }
        )*
    };
}
use pass_through;
