//! A PKCS #11 module that stands in front of another one and lets it fail on command. Keystead's tests load it, and so does an
//! operator who wants to rehearse the outage of an HSM.
//!
//! # Use
//!
//! Name the library (`libkeystead_fault_module.so`) where the program is told its PKCS #11 module, and give the program two variables:
//!
//! | variable | what |
//! |---|---|
//! | `KEYSTEAD_FAULT_TARGET` | the module behind this one; else `SOFTHSM2_MODULE`; else SoftHSM where it usually is |
//! | `KEYSTEAD_FAULT_CONTROL` | the path of the control socket, which only its owner may use; without it everything passes through |
//!
//! The socket is there when the program has loaded the module, before C_Initialize, and until the process ends. One line is a
//! command, one line its answer: `ok`, `ok` and JSON, or `error` and a text. A command has taken effect when it is answered.
//!
//! ```text
//! $ cargo build --release -p keystead-fault-module
//! $ grep module keystead.toml
//! module = "/opt/keystead/libkeystead_fault_module.so"
//! $ KEYSTEAD_FAULT_TARGET=/usr/lib/vendor/libhsm.so KEYSTEAD_FAULT_CONTROL=/run/keystead/fault keystead serve &
//! $ socat READLINE UNIX-CONNECT:/run/keystead/fault
//! fail C_Sign CKR_DEVICE_ERROR times=3                     three signatures fail
//! ok {"rule":1}
//! latency all 40ms jitter=20ms token="payments one"        the HSM is far away
//! ok {"rule":2}
//! hang C_Encrypt                                           and then it does not answer at all
//! ok {"rule":3}
//! wait-hung 1
//! ok
//! state
//! ok {"hung":1,"initialised":true,"inside":0,"rules":[…],"sessions":{"542911334":5},…}
//! clear                                                    it is as before
//! ok
//! remove-token token="payments one"                        somebody pulls it out
//! ok {"sessions":5}
//! insert-token token="payments one" as=7                   and puts it back, elsewhere
//! ok
//! ```
//!
//! Without `socat`: `nc -U /run/keystead/fault`. (The remarks on the right are not part of a line.)
//!
//! # Rules
//!
//! `fail FUNCTION CKR_NAME`, `latency FUNCTION DURATION`, `hang FUNCTION`, `crash FUNCTION`, `flip FUNCTION` and
//! `random untouched|zero|repeat|stuck` make rules, which last until `drop` or `clear`. FUNCTION is a name of the standard; `C_*Init` for C_EncryptInit, C_DecryptInit, C_SignInit, C_VerifyInit and C_DigestInit;
//! `C_GenerateKey*`; `C_FindObjects*`; or `all`. CKR_NAME is a name or `0x` and hexadecimal digits, DURATION something like `300us`,
//! `1.5ms`, `2s`.
//!
//! | option | a rule fires |
//! |---|---|
//! | | at every call it is for |
//! | `nth=N`, `every=N`, `times=N` | at the N-th of these calls from now, at every N-th, at the first N |
//! | `slot=ID`, `token=LABEL`, `session=HANDLE` | for calls about that only. A label is in quotation marks or has `%20` for a blank |
//! | `above=BYTES` | for calls with more data than that: C_Encrypt, C_Sign and their like |
//! | `key=CKA_ID` | for calls that begin an operation with that key: C_EncryptInit and its like |
//! | `after` | when the real function has done its work: a key is made, a session open, and the answer is lost |
//!
//! All rules for a call count it, and all that fire work together: latencies add up, then it hangs, then the process ends, then the
//! oldest `fail` answers. A call that fails without `after` is not made in the real module.
//!
//! A module ends an operation with every error but CKR_BUFFER_TOO_SMALL, so when C_Encrypt or the like fails here, the operation is
//! ended in the real module too. With `leave-active` it is not, and the next C_EncryptInit of the session gives CKR_OPERATION_ACTIVE.
//!
//! `flip` and `random` are lies: the call is answered with CKR_OK, and its result is wrong. `flip` turns one bit of what C_Encrypt,
//! C_Decrypt, C_Digest, C_Sign, C_SignRecover or C_VerifyRecover gave. `random` is for C_GenerateRandom: it leaves the buffer as it
//! was, gives zeros, the same bytes in every call, or one byte over and over from the middle on.
//!
//! `fail … instead-of=CKR_NAME` changes the words of the real module: calls that it answers by the second are answered by the first.
//!
//! A call that hangs is not inside the real module and hinders nobody. After `release` or `clear` it goes on as if nothing had been;
//! if its session was closed meanwhile, by whomever, it is told so and does not reach the real module, which may have given the
//! number to another session. `wait-hung N` answers when N calls hang.
//!
//! # Slots, tokens, sessions
//!
//! With `slot=ID` or `token=LABEL` these are for one slot; without, where that is possible, for all. Slot numbers are those that the
//! program sees. A command with `token=` that comes before C_Initialize takes effect in C_Initialize; if no token has that label
//! then, the standard error output says so.
//!
//! | command | what |
//! |---|---|
//! | `lose-login` | C_Logout behind the program's back |
//! | `invalidate-sessions` | sessions, their objects and the login are gone: CKR_SESSION_HANDLE_INVALID |
//! | `invalidate-objects` | handles given out so far are CKR_OBJECT_HANDLE_INVALID, or CKR_KEY_HANDLE_INVALID; finds give new ones |
//! | `remove-token` | the token is gone: CKR_TOKEN_NOT_PRESENT; for each session once CKR_DEVICE_REMOVED |
//! | `insert-token [as=ID]` | it is back; after `remove-token … until-reinit` it is seen at the next C_Initialize |
//! | `cap-sessions N\|off [announce]` | CKR_SESSION_COUNT when N are open; C_GetTokenInfo tells of it with `announce` only |
//! | `pin-flags fine\|count-low\|final-try\|locked\|real` | what C_GetTokenInfo says of the user PIN |
//! | `no-session-objects [off]` | private and secret keys that are to be of the session are refused: CKR_TEMPLATE_INCONSISTENT |
//! | `iv zero-only\|by-module\|off` | the module makes the IV of AES-GCM: see below |
//! | `swap-public [off]` | CKA_EC_POINT and CKA_MODULUS are those of another key of the same curve or length |
//! | `cut-id BYTES\|off` | objects that are made have so many bytes of CKA_ID at the most, and the program is not told |
//! | `serial per-call\|on-insert\|off` | C_GetTokenInfo tells another serial number at each call, or after each `insert-token` |
//! | `short-find [off]` | C_FindObjects gives half of the handles that it is asked for at the most, although more follow |
//! | `no-rng [off]` | C_GenerateRandom answers CKR_RANDOM_NO_RNG, whatever C_GetTokenInfo says of CKF_RNG |
//! | `renumber on\|off` | from the next C_Initialize on, handles of sessions and objects are counted from 1 by one counter |
//! | `uninitialise` | CKR_CRYPTOKI_NOT_INITIALIZED until C_Initialize, which initialises the real module anew |
//!
//! With `iv by-module` C_EncryptInit ignores the IV of CK_GCM_PARAMS; with `iv zero-only` one that is not all zeros is
//! CKR_MECHANISM_PARAM_INVALID. The IV that is used instead is written to `pIv` when C_Encrypt has succeeded, as AWS CloudHSM does; the
//! place must be good until then.
//!
//! Those that can be `off` again last until then, or until `clear all`.
//!
//! Commands that change something in the real module wait until no call is inside it that they could disturb, and let calls that
//! come in the meantime wait; if one stays inside for more than a minute, the command is refused. Sessions that the process has
//! opened past this module are closed with the others of their slot.
//!
//! # Looking on
//!
//! `counts` gives the calls by function, the outcomes by name, and by both those that were not CKR_OK; `reset-counts` begins at
//! zero. `state` gives the open sessions by slot, the calls that hang and those inside the real module, the rules and how often each
//! has counted and fired, and `overlaps`: calls that found another one inside their session, which no program should make. `help`
//! lists the commands. `clear` drops the rules and releases what hangs; `clear all` undoes what was done to slots and numbers, too.
//!
//! # What it adds
//!
//! CKA_VALUE_LEN of unwrapped keys where the token tells 0, as SoftHSM does: without it no program knows whether a key came out that is as
//! long as it should be.
//!
//! # What it does not do
//!
//! PKCS #11 3.0 (C_GetInterface). Handles inside mechanism parameters, and the session handle that a notify callback is given, are
//! the real module's with `renumber on` and after `invalidate-objects`.

mod call;
mod control;
mod counts;
mod entries;
mod function;
mod gate;
mod handles;
mod hang;
mod iv;
mod lie;
mod manners;
mod module;
mod other_public;
mod real;
mod rule;
mod rv;
mod session;
mod slot;
mod template;
mod value_length;

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
