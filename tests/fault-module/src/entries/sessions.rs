//! Sessions and logins.

use std::ffi::c_void;
use std::sync::Arc;

use cryptoki_sys::{
    CK_BYTE, CK_FLAGS, CK_INVALID_HANDLE, CK_NOTIFY, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_SESSION_INFO, CK_SLOT_ID,
    CK_ULONG, CK_USER_TYPE, CK_UTF8CHAR, CKR_ARGUMENTS_BAD, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_KEY_HANDLE_INVALID, CKR_OK,
    CKR_SESSION_COUNT, CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT,
};

use super::pass_through;
use crate::call;
use crate::function::Function;
use crate::module;
use crate::real::real;
use crate::session::Session;
use crate::slot::Presence;

pass_through! {
    C_InitPIN(pin: *mut CK_UTF8CHAR, length: CK_ULONG);
    C_SetPIN(old: *mut CK_UTF8CHAR, old_length: CK_ULONG, new: *mut CK_UTF8CHAR, new_length: CK_ULONG);
    C_GetOperationState(state: *mut CK_BYTE, length: *mut CK_ULONG);
    C_Login(user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, length: CK_ULONG);
    C_Logout();
    C_GetFunctionStatus();
    C_CancelFunction();
}

/// `C_OpenSession`, if the cap allows it.
pub unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let module = module();
    call::slot(module, Function::C_OpenSession, slot, |slot| {
        if slot.presence() != Presence::Present {
            return CKR_TOKEN_NOT_PRESENT;
        }
        if session.is_null() {
            return CKR_ARGUMENTS_BAD;
        }
        if slot.reserve(module.slots.defaults()).is_err() {
            return CKR_SESSION_COUNT;
        }
        let mut real = CK_INVALID_HANDLE;
        let answer = real!(module, C_OpenSession(slot.real, flags, application, notify, &mut real));
        if answer != CKR_OK {
            slot.release();
            return answer;
        }
        let opened = Arc::new(Session::new(module.numbers.session(real), real, Arc::clone(slot)));
        module.sessions.insert(Arc::clone(&opened));
        // The program finalises while it opens sessions: the number is worth nothing, or will be somebody else's.
        if module.gate.is_shut() {
            let _ = opened.gate.kill();
            module.sessions.remove(&opened);
            opened.gone();
            return CKR_CRYPTOKI_NOT_INITIALIZED;
        }
        // SAFETY: it is not null, and the caller's place for a handle.
        unsafe { *session = opened.visible };
        CKR_OK
    })
}

/// `C_CloseSession`
pub unsafe extern "C" fn C_CloseSession(session: CK_SESSION_HANDLE) -> CK_RV {
    let module = module();
    call::session(module, Function::C_CloseSession, session, |session| {
        // Whoever waits outside must not come in afterwards.
        if session.gate.closing().is_err() {
            return CKR_SESSION_HANDLE_INVALID;
        }
        let answer = real!(module, C_CloseSession(session.real));
        if answer == CKR_OK || answer == CKR_SESSION_HANDLE_INVALID {
            let _ = session.gate.kill();
            module.sessions.remove(session);
            session.gone();
        } else {
            session.gate.stay_open();
        }
        answer
    })
}

/// `C_CloseAllSessions`
pub unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    let module = module();
    call::slot(module, Function::C_CloseAllSessions, slot, |slot| {
        if slot.presence() != Presence::Present {
            return CKR_TOKEN_NOT_PRESENT;
        }
        let sessions: Vec<_> = module
            .sessions
            .all()
            .into_iter()
            .filter(|session| Arc::ptr_eq(&session.slot, slot) && session.gate.closing().is_ok())
            .collect();
        let answer = real!(module, C_CloseAllSessions(slot.real));
        for session in &sessions {
            if answer == CKR_OK {
                let _ = session.gate.kill();
                module.sessions.remove(session);
                session.gone();
            } else {
                session.gate.stay_open();
            }
        }
        answer
    })
}

/// `C_GetSessionInfo`, with the number of the slot that the program knows.
pub unsafe extern "C" fn C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) -> CK_RV {
    let module = module();
    call::session(module, Function::C_GetSessionInfo, session, |session| {
        let answer = real!(module, C_GetSessionInfo(session.real, info));
        if answer == CKR_OK {
            // SAFETY: the real module wrote to it.
            unsafe { (*info).slotID = session.slot.visible() };
        }
        answer
    })
}

/// `C_SetOperationState`
pub unsafe extern "C" fn C_SetOperationState(
    session: CK_SESSION_HANDLE,
    state: *mut CK_BYTE,
    length: CK_ULONG,
    encryption_key: CK_OBJECT_HANDLE,
    authentication_key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let module = module();
    call::session(module, Function::C_SetOperationState, session, |session| {
        // 0 says that the state needs no such key.
        let key = |visible| if visible == CK_INVALID_HANDLE { Some(visible) } else { session.slot.objects.real(visible) };
        match (key(encryption_key), key(authentication_key)) {
            (Some(encryption), Some(authentication)) => {
                real!(module, C_SetOperationState(session.real, state, length, encryption, authentication))
            }
            (None, _) | (_, None) => CKR_KEY_HANDLE_INVALID,
        }
    })
}
