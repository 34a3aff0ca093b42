//! What a process does with modules outside of any slot: lists their tokens, and ends.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::base::{Error, Kind, Result};
use crate::tier::pkcs11::answer;
use crate::tier::pkcs11::library::functions;
use crate::tier::pkcs11::library::lease::Lease;
use crate::tier::pkcs11::library::registry;
use crate::tier::pkcs11::library::token::TokenSummary;
use crate::tier::pkcs11::queue::threads;
use crate::tier::pkcs11::settings::DEADLINE;
use crate::tier::pkcs11::slot::condition;

/// The tokens of a module, which is loaded and initialised if nobody did so yet.
///
/// # Errors
/// The library is not there or is no PKCS #11 module, or does not answer.
pub async fn list(module: &Path) -> Result<Vec<TokenSummary>> {
    let silent = Error::new(Kind::Unavailable, format!("The PKCS#11 module {} does not answer.", module.display()));
    let module = module.to_owned();
    let listed = move || {
        let lease = Lease::of(&module);
        lease.load(Instant::now() + DEADLINE)?;
        lease.initialise(0, Duration::ZERO).map_err(|not_now| Error::new(Kind::Unavailable, not_now.text(&module)))?;
        let tokens = {
            let _pass = lease.gate().enter().ok_or_else(condition::closed)?;
            lease.tokens().map_err(|failure| answer::to_caller(&failure, answer::Profile::default()))
        };
        lease.release();
        tokens
    };
    threads::apart(DEADLINE, listed).await?.unwrap_or(Err(silent))
}

/// Ends the process with this status, by `_exit` if a call still runs in a module: its library would be taken down under it.
/// `last` is called before, for what is still to be written.
pub fn end_process(status: i32, last: impl FnOnce()) -> ! {
    let runs = registry::any_call_runs();
    if runs {
        tracing::warn!("a call still runs in a PKCS#11 module; the process ends without it");
    }
    last();
    // Asked again: a call may have ended or begun meanwhile.
    if runs || registry::any_call_runs() {
        functions::leave(status);
    }
    std::process::exit(status)
}
