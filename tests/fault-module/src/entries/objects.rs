//! Objects, keys and random numbers.

use std::ptr;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKR_KEY_HANDLE_INVALID,
    CKR_OBJECT_HANDLE_INVALID, CKR_OK, CKR_RANDOM_NO_RNG, CKR_TEMPLATE_INCONSISTENT, CKR_UNWRAPPING_KEY_HANDLE_INVALID,
    CKR_WRAPPING_KEY_HANDLE_INVALID,
};

use super::{pass_through, publish};
use crate::call;
use crate::function::Function;
use crate::manners::{Generator, PublicHalf, SessionKeys};
use crate::module;
use crate::real::real;
use crate::session::Session;
use crate::template::Template;
use crate::value_length;

pass_through! {
    C_FindObjectsInit(template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_SeedRandom(seed: *mut CK_BYTE, length: CK_ULONG);
}

/// `C_GenerateRandom`
pub unsafe extern "C" fn C_GenerateRandom(session: CK_SESSION_HANDLE, random: *mut CK_BYTE, length: CK_ULONG) -> CK_RV {
    let module = module();
    let place = || {
        let length = if random.is_null() { 0 } else { length as usize };
        let place = if length == 0 { ptr::dangling_mut() } else { random };
        // SAFETY: the place is the program's, of this length, for as long as the call lasts; an empty one is never looked at.
        unsafe { std::slice::from_raw_parts_mut(place, length) }
    };
    let before = if module.rules.concern(Function::C_GenerateRandom) { place().to_vec() } else { Vec::new() };
    call::result(
        module,
        Function::C_GenerateRandom,
        session,
        call::With::Nothing,
        |session| match session.slot.manners().generator {
            Generator::Real => real!(module, C_GenerateRandom(session.real, random, length)),
            Generator::None => CKR_RANDOM_NO_RNG,
        },
        |_| {},
        |lie| {
            let written = place();
            // A rule that came while the call ran finds nothing kept.
            if before.len() == written.len() {
                lie.tell(written, &before);
            }
        },
    )
}

/// What a template is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// A private or secret key.
    Secret,
    /// A public key, or what there is already.
    Other,
    /// Whatever it says.
    Said,
}

/// A program's template as the token takes it.
///
/// # Errors
/// The token takes no such object.
///
/// # Safety
/// As of [`Template::of`].
unsafe fn taken(session: &Session, what: For, template: *const CK_ATTRIBUTE, count: CK_ULONG) -> Result<Template, CK_RV> {
    // SAFETY: the caller's.
    let mut taken = unsafe { Template::of(template, count) };
    let manners = session.slot.manners();
    let is_secret = what == For::Secret || what == For::Said && taken.says_secret();
    if is_secret && manners.session_keys == SessionKeys::Refused && taken.is_of_session() {
        return Err(CKR_TEMPLATE_INCONSISTENT);
    }
    if let Some(most) = manners.id_limit {
        taken.cut_id(most);
    }
    Ok(taken)
}

/// `C_CreateObject`
pub unsafe extern "C" fn C_CreateObject(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    object: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_CreateObject, session, |session| {
        // SAFETY: the template is the program's, for as long as the call lasts.
        let mut taken = match unsafe { taken(session, For::Said, template, count) } {
            Ok(taken) => taken,
            Err(refusal) => return refusal,
        };
        let answer = real!(module, C_CreateObject(session.real, taken.fields(), taken.count(), object));
        // SAFETY: the place is the program's for the new handle.
        unsafe { publish(module, session, answer, object) };
        answer
    })
}

/// `C_CopyObject`
pub unsafe extern "C" fn C_CopyObject(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    copy: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_CopyObject, session, |session| {
        let Some(object) = session.slot.objects.real(object) else { return CKR_OBJECT_HANDLE_INVALID };
        // SAFETY: the template is the program's, for as long as the call lasts.
        let mut taken = match unsafe { taken(session, For::Other, template, count) } {
            Ok(taken) => taken,
            Err(refusal) => return refusal,
        };
        let answer = real!(module, C_CopyObject(session.real, object, taken.fields(), taken.count(), copy));
        // SAFETY: the place is the program's for the new handle.
        unsafe { publish(module, session, answer, copy) };
        answer
    })
}

/// `C_DestroyObject`
pub unsafe extern "C" fn C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
    let module = module();
    call::session(module, Function::C_DestroyObject, session, |session| {
        let Some(real) = session.slot.objects.real(object) else { return CKR_OBJECT_HANDLE_INVALID };
        let answer = real!(module, C_DestroyObject(session.real, real));
        if answer == CKR_OK {
            session.slot.objects.forget(object);
        }
        answer
    })
}

/// `C_GetObjectSize`
pub unsafe extern "C" fn C_GetObjectSize(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, size: *mut CK_ULONG) -> CK_RV {
    let module = module();
    call::session(module, Function::C_GetObjectSize, session, |session| {
        let Some(object) = session.slot.objects.real(object) else { return CKR_OBJECT_HANDLE_INVALID };
        real!(module, C_GetObjectSize(session.real, object, size))
    })
}

/// `C_GetAttributeValue`
pub unsafe extern "C" fn C_GetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_GetAttributeValue, session, |session| {
        let Some(object) = session.slot.objects.real(object) else { return CKR_OBJECT_HANDLE_INVALID };
        let answer = real!(module, C_GetAttributeValue(session.real, object, template, count));
        if answer == CKR_OK {
            // SAFETY: the template is the program's, and the function has filled it.
            unsafe { session.slot.lengths.tell(object, template, count) };
            if session.slot.manners().public_half == PublicHalf::Another {
                // SAFETY: as above.
                unsafe { session.slot.others.tell(module, (session.real, object), template, count) };
            }
        }
        answer
    })
}

/// `C_SetAttributeValue`
pub unsafe extern "C" fn C_SetAttributeValue(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_SetAttributeValue, session, |session| {
        let Some(object) = session.slot.objects.real(object) else { return CKR_OBJECT_HANDLE_INVALID };
        // SAFETY: the template is the program's, for as long as the call lasts.
        let mut taken = match unsafe { taken(session, For::Other, template, count) } {
            Ok(taken) => taken,
            Err(refusal) => return refusal,
        };
        real!(module, C_SetAttributeValue(session.real, object, taken.fields(), taken.count()))
    })
}

/// `C_FindObjects`, of fewer objects if the token is to give no more.
pub unsafe extern "C" fn C_FindObjects(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    room: CK_ULONG,
    found: *mut CK_ULONG,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_FindObjects, session, |session| {
        let room = session.slot.manners().finds.of(room);
        let answer = real!(module, C_FindObjects(session.real, objects, room, found));
        if answer == CKR_OK {
            // SAFETY: the real module wrote to both, at most `room` handles.
            for place in 0..unsafe { *found }.min(room) as usize {
                // SAFETY: as above.
                unsafe { publish(module, session, answer, objects.add(place)) };
            }
        }
        answer
    })
}

/// `C_FindObjectsFinal`
pub unsafe extern "C" fn C_FindObjectsFinal(session: CK_SESSION_HANDLE) -> CK_RV {
    let module = module();
    call::operation(
        module,
        Function::C_FindObjectsFinal,
        session,
        call::With::Nothing,
        |session| real!(module, C_FindObjectsFinal(session.real)),
        // An error of C_FindObjects leaves the search to C_FindObjectsFinal; after an error of this one nobody comes.
        |session| {
            let _ = real!(module, C_FindObjectsFinal(session.real));
        },
    )
}

/// `C_GenerateKey`
pub unsafe extern "C" fn C_GenerateKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_GenerateKey, session, |session| {
        // SAFETY: the template is the program's, for as long as the call lasts.
        let mut taken = match unsafe { taken(session, For::Secret, template, count) } {
            Ok(taken) => taken,
            Err(refusal) => return refusal,
        };
        let answer = real!(module, C_GenerateKey(session.real, mechanism, taken.fields(), taken.count(), key));
        // SAFETY: the place is the program's for the new handle.
        unsafe { publish(module, session, answer, key) };
        answer
    })
}

/// `C_GenerateKeyPair`
pub unsafe extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public_template: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private_template: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public: *mut CK_OBJECT_HANDLE,
    private: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_GenerateKeyPair, session, |session| {
        // SAFETY: the templates are the program's, for as long as the call lasts.
        let (of_public, of_private) = unsafe {
            (
                taken(session, For::Other, public_template, public_count),
                taken(session, For::Secret, private_template, private_count),
            )
        };
        let (mut of_public, mut of_private) = match (of_public, of_private) {
            (Ok(of_public), Ok(of_private)) => (of_public, of_private),
            (Err(refusal), _) | (_, Err(refusal)) => return refusal,
        };
        let (of_public, public_count) = (of_public.fields(), of_public.count());
        let (of_private, private_count) = (of_private.fields(), of_private.count());
        let answer = real!(
            module,
            C_GenerateKeyPair(session.real, mechanism, of_public, public_count, of_private, private_count, public, private)
        );
        // SAFETY: the places are the program's for the new handles.
        unsafe {
            publish(module, session, answer, public);
            publish(module, session, answer, private);
        }
        answer
    })
}

/// `C_WrapKey`
pub unsafe extern "C" fn C_WrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    wrapping_key: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    length: *mut CK_ULONG,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_WrapKey, session, |session| {
        let Some(wrapping_key) = session.slot.objects.real(wrapping_key) else { return CKR_WRAPPING_KEY_HANDLE_INVALID };
        let Some(key) = session.slot.objects.real(key) else { return CKR_KEY_HANDLE_INVALID };
        real!(module, C_WrapKey(session.real, mechanism, wrapping_key, key, wrapped, length))
    })
}

/// `C_UnwrapKey`
pub unsafe extern "C" fn C_UnwrapKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    unwrapping_key: CK_OBJECT_HANDLE,
    wrapped: *mut CK_BYTE,
    length: CK_ULONG,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_UnwrapKey, session, |session| {
        let Some(unwrapping_key) = session.slot.objects.real(unwrapping_key) else { return CKR_UNWRAPPING_KEY_HANDLE_INVALID };
        // SAFETY: the template is the program's, for as long as the call lasts.
        let mut taken = match unsafe { taken(session, For::Secret, template, count) } {
            Ok(taken) => taken,
            Err(refusal) => return refusal,
        };
        let answer = real!(
            module,
            C_UnwrapKey(session.real, mechanism, unwrapping_key, wrapped, length, taken.fields(), taken.count(), key)
        );
        if answer == CKR_OK {
            // SAFETY: the function has succeeded, so that the place holds the new handle.
            let made = unsafe { *key };
            let hidden = value_length::is_hidden(module, session.real, made);
            let measured = || value_length::measured(module, session.real, mechanism, unwrapping_key, (wrapped, length));
            session.slot.lengths.keep(made, hidden.then(measured).flatten());
        }
        // SAFETY: the place is the program's for the new handle.
        unsafe { publish(module, session, answer, key) };
        answer
    })
}

/// `C_DeriveKey`
pub unsafe extern "C" fn C_DeriveKey(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    base: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_DeriveKey, session, |session| {
        let Some(base) = session.slot.objects.real(base) else { return CKR_KEY_HANDLE_INVALID };
        // SAFETY: the template is the program's, for as long as the call lasts.
        let mut taken = match unsafe { taken(session, For::Secret, template, count) } {
            Ok(taken) => taken,
            Err(refusal) => return refusal,
        };
        let answer = real!(module, C_DeriveKey(session.real, mechanism, base, taken.fields(), taken.count(), key));
        // SAFETY: the place is the program's for the new handle.
        unsafe { publish(module, session, answer, key) };
        answer
    })
}
