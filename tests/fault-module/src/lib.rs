//! A PKCS #11 module that stands in front of another one and lets it fail on command. Keystead's tests load it, and an operator
//! who wants to rehearse the outage of an HSM.

mod call;
mod control;
mod counts;
mod entries;
mod function;
mod gate;
mod handles;
mod hang;
mod module;
mod real;
mod rule;
mod rv;
mod session;
mod slot;

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CK_VERSION, CKR_GENERAL_ERROR};

use entries::general::*;
use entries::objects::*;
use entries::operations::*;
use entries::sessions::*;
use function::with_all_functions;
use module::Module;

macro_rules! define_list {
    ($($name:ident)*) => {
        /// What C_GetFunctionList gives. Nobody writes to it.
        static LIST: CK_FUNCTION_LIST = CK_FUNCTION_LIST { version: CK_VERSION { major: 2, minor: 40 }, $($name: Some($name),)* };
    };
}
with_all_functions!(define_list);

fn list() -> *mut CK_FUNCTION_LIST {
    (&raw const LIST).cast_mut()
}

static MODULE: OnceLock<Result<&'static Module, String>> = OnceLock::new();

/// What there is one of. Every function but C_GetFunctionList is known to the program from a list that was given out when it was
/// there.
fn module() -> &'static Module {
    MODULE.get().and_then(|module| module.as_ref().ok()).expect("the function list comes from C_GetFunctionList")
}

fn load() -> Result<&'static Module, String> {
    // For ever: calls and the control socket use it until the process ends.
    let module = Box::leak(Box::new(Module::new(real::Real::load()?)));
    control::listen(module)?;
    Ok(module)
}

thread_local! {
    /// Whether this thread is loading the real module.
    static LOADING: Cell<bool> = const { Cell::new(false) };
}

/// The one symbol that programs look for. The first call loads the real module and opens the control socket.
///
/// # Safety
/// `list` is null or a valid place for a pointer.
#[unsafe(export_name = "C_GetFunctionList")]
#[expect(unsafe_code, reason = "PKCS #11 is a C interface")]
pub unsafe extern "C" fn get_function_list(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if LOADING.replace(true) {
        eprintln!("keystead-fault-module: the module behind this one is this one");
        return CKR_GENERAL_ERROR;
    }
    let loaded = MODULE.get_or_init(load);
    LOADING.set(false);
    match loaded {
        // SAFETY: as this function's.
        Ok(_) => unsafe { C_GetFunctionList(list) },
        Err(failure) => {
            eprintln!("keystead-fault-module: {failure}");
            CKR_GENERAL_ERROR
        }
    }
}

/// A lock of what is whole even if a thread has panicked with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
