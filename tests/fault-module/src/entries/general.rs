//! The library, slots and tokens.

use std::ffi::c_void;
use std::ptr;

use cryptoki_sys::{
    CK_BBOOL, CK_FALSE, CK_FLAGS, CK_FUNCTION_LIST, CK_INFO, CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_RV, CK_SLOT_ID, CK_SLOT_INFO,
    CK_TOKEN_INFO, CK_ULONG, CK_UTF8CHAR, CKF_TOKEN_PRESENT, CKR_ARGUMENTS_BAD, CKR_BUFFER_TOO_SMALL, CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_OK, CKR_TOKEN_NOT_PRESENT,
};

use crate::call;
use crate::function::Function;
use crate::module;
use crate::real::{Present, real};
use crate::slot::Presence;

/// `C_Initialize`
pub unsafe extern "C" fn C_Initialize(arguments: *mut c_void) -> CK_RV {
    let module = module();
    call::life(module, Function::C_Initialize, || module.initialise(arguments))
}

/// `C_Finalize`
pub unsafe extern "C" fn C_Finalize(reserved: *mut c_void) -> CK_RV {
    let module = module();
    call::life(module, Function::C_Finalize, || module.finalise(reserved))
}

/// `C_GetInfo`
pub unsafe extern "C" fn C_GetInfo(info: *mut CK_INFO) -> CK_RV {
    let module = module();
    call::library(module, Function::C_GetInfo, || real!(module, C_GetInfo(info)))
}

/// `C_GetFunctionList`, as an entry of the list: the module is loaded, so it cannot fail but by a rule.
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    let module = module();
    call::life(module, Function::C_GetFunctionList, || {
        if list.is_null() {
            return CKR_ARGUMENTS_BAD;
        }
        // SAFETY: it is not null, and the caller's place for a pointer.
        unsafe { *list = crate::list() };
        CKR_OK
    })
}

/// `C_GetSlotList`, without slots whose token was taken out, and with the numbers that the program knows.
pub unsafe extern "C" fn C_GetSlotList(token_present: CK_BBOOL, list: *mut CK_SLOT_ID, count: *mut CK_ULONG) -> CK_RV {
    let module = module();
    call::library(module, Function::C_GetSlotList, || {
        if count.is_null() || !module.slots.altered() {
            return real!(module, C_GetSlotList(token_present, list, count));
        }
        let present = if token_present == CK_FALSE { Present::Any } else { Present::Token };
        let slots = match module.real.slots(present) {
            Ok(slots) => slots,
            Err(answer) => return answer,
        };
        let slots: Vec<_> = slots
            .into_iter()
            .map(|number| module.slots.real(number, &module.numbers))
            .filter(|slot| present == Present::Any || slot.presence() == Presence::Present)
            .map(|slot| slot.visible())
            .collect();
        // SAFETY: it is not null, and the caller's place for a number.
        let room = unsafe { ptr::replace(count, slots.len() as CK_ULONG) };
        if list.is_null() {
            return CKR_OK;
        }
        if (room as usize) < slots.len() {
            return CKR_BUFFER_TOO_SMALL;
        }
        // SAFETY: the caller says that there is room for `room` numbers, which is enough.
        unsafe { ptr::copy_nonoverlapping(slots.as_ptr(), list, slots.len()) };
        CKR_OK
    })
}

/// `C_GetSlotInfo`, without CKF_TOKEN_PRESENT if the token was taken out.
pub unsafe extern "C" fn C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    let module = module();
    call::slot(module, Function::C_GetSlotInfo, slot, |slot| {
        let answer = real!(module, C_GetSlotInfo(slot.real, info));
        if answer == CKR_OK && slot.presence() != Presence::Present {
            // SAFETY: the real module wrote to it.
            unsafe { (*info).flags &= !CKF_TOKEN_PRESENT };
        }
        answer
    })
}

/// `C_GetTokenInfo`, with the caps and PIN flags that were asked for.
pub unsafe extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    let module = module();
    call::slot(module, Function::C_GetTokenInfo, slot, |slot| {
        if slot.presence() != Presence::Present {
            return CKR_TOKEN_NOT_PRESENT;
        }
        let answer = real!(module, C_GetTokenInfo(slot.real, info));
        if answer == CKR_OK {
            // SAFETY: the real module wrote to it.
            slot.disguise(unsafe { &mut *info }, module.slots.defaults());
        }
        answer
    })
}

/// `C_GetMechanismList`
pub unsafe extern "C" fn C_GetMechanismList(slot: CK_SLOT_ID, list: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG) -> CK_RV {
    let module = module();
    call::slot(module, Function::C_GetMechanismList, slot, |slot| match slot.presence() {
        Presence::Present => real!(module, C_GetMechanismList(slot.real, list, count)),
        Presence::Removed(_) | Presence::Awaited(_) => CKR_TOKEN_NOT_PRESENT,
    })
}

/// `C_GetMechanismInfo`
pub unsafe extern "C" fn C_GetMechanismInfo(slot: CK_SLOT_ID, kind: CK_MECHANISM_TYPE, info: *mut CK_MECHANISM_INFO) -> CK_RV {
    let module = module();
    call::slot(module, Function::C_GetMechanismInfo, slot, |slot| match slot.presence() {
        Presence::Present => real!(module, C_GetMechanismInfo(slot.real, kind, info)),
        Presence::Removed(_) | Presence::Awaited(_) => CKR_TOKEN_NOT_PRESENT,
    })
}

/// `C_InitToken`
pub unsafe extern "C" fn C_InitToken(slot: CK_SLOT_ID, pin: *mut CK_UTF8CHAR, length: CK_ULONG, label: *mut CK_UTF8CHAR) -> CK_RV {
    let module = module();
    call::slot(module, Function::C_InitToken, slot, |slot| match slot.presence() {
        Presence::Present => {
            let answer = real!(module, C_InitToken(slot.real, pin, length, label));
            slot.forget_label();
            answer
        }
        Presence::Removed(_) | Presence::Awaited(_) => CKR_TOKEN_NOT_PRESENT,
    })
}

/// `C_WaitForSlotEvent`. It may wait inside the real module for ever, so nothing waits for it.
pub unsafe extern "C" fn C_WaitForSlotEvent(flags: CK_FLAGS, slot: *mut CK_SLOT_ID, reserved: *mut c_void) -> CK_RV {
    let module = module();
    call::life(module, Function::C_WaitForSlotEvent, || {
        if module.gate.is_shut() {
            return CKR_CRYPTOKI_NOT_INITIALIZED;
        }
        let answer = real!(module, C_WaitForSlotEvent(flags, slot, reserved));
        if answer == CKR_OK && !slot.is_null() {
            // SAFETY: it is not null, and the real module wrote to it.
            unsafe { *slot = module.slots.real(*slot, &module.numbers).visible() };
        }
        answer
    })
}
