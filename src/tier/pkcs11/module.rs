//! PKCS #11 modules: each library is loaded once a process and initialised while somebody uses it.
//!
//! C_Initialize and C_Finalize belong to the process (PKCS #11, section 5.4), so the modules do too: [`Lease`]s are counted, the
//! first initialises, the last finalises. A library stays mapped once it was loaded; unloading is not survived by all of them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Failure, RvError};

use super::call::Functions;
use super::token::{PinState, TokenSummary};
use super::uri::TokenUri;
use crate::base::{Error, Kind, Result};

static MODULES: LazyLock<Mutex<HashMap<PathBuf, Arc<Module>>>> = LazyLock::new(Mutex::default);

/// A loaded library.
pub(super) struct Module {
    path: PathBuf,
    context: Pkcs11,
    functions: Functions,
    state: Mutex<State>,
    /// Held around C_GenerateKeyPair and C_GenerateKey: SoftHSM 2.6.1 races with itself there (mended in 2.7.0).
    generation: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    leases: usize,
    finalises: bool,
    claimed: HashSet<u64>,
}

/// A module that is initialised until this is released or dropped.
pub(super) struct Lease {
    module: Arc<Module>,
    released: AtomicBool,
}

/// A slot that nobody else in this process uses: login and logout are states of the token, not of a session.
pub(super) struct Claim {
    lease: Lease,
    slot: u64,
}

/// Locks, whatever a thread that panicked left: every change of these states is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Module {
    fn load(path: &Path) -> Result<Self> {
        let broken = |failure: Failure| {
            Error::new(Kind::Unavailable, format!("{} is not a PKCS#11 module that can be loaded: {failure}.", path.display()))
        };
        Ok(Self {
            path: path.to_owned(),
            functions: Functions::load(path).map_err(broken)?,
            context: Pkcs11::new(path).map_err(broken)?,
            state: Mutex::default(),
            generation: Arc::default(),
        })
    }
}

impl Lease {
    /// Loads the library if this is the first time, initialises it if nobody uses it. Blocks; a module may take its time.
    ///
    /// # Errors
    /// The library is not there, is no PKCS #11 module, or C_Initialize fails.
    pub(super) fn acquire(path: &Path) -> Result<Self> {
        let found = path.canonicalize().map_err(|error| {
            Error::new(Kind::Unavailable, format!("The PKCS#11 module {} cannot be opened: {error}.", path.display()))
                .caused_by(error)
        })?;
        let mut modules = lock(&MODULES);
        let module = match modules.get(&found) {
            Some(module) => Arc::clone(module),
            None => {
                let module = Arc::new(Module::load(&found)?);
                modules.insert(found, Arc::clone(&module));
                module
            }
        };
        let mut state = lock(&module.state);
        if state.leases == 0 {
            state.finalises = match module.context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
                Ok(()) => true,
                // Another part of the process uses it: then it is not ours to finalise.
                Err(Failure::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => false,
                Err(failure) => {
                    return Err(Error::new(
                        Kind::Unavailable,
                        format!(
                            "The PKCS#11 module {} cannot be initialised: {}.",
                            module.path.display(),
                            super::rv::name(&failure)
                        ),
                    ));
                }
            };
        }
        state.leases += 1;
        drop(state);
        Ok(Self { module, released: AtomicBool::new(false) })
    }

    /// The safe binding.
    pub(super) fn context(&self) -> &Pkcs11 {
        &self.module.context
    }

    /// The fast path.
    pub(super) fn functions(&self) -> &Functions {
        &self.module.functions
    }

    /// The one place in the queue for key generation.
    pub(super) fn generation(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.module.generation)
    }

    /// The tokens that are there. A slot whose token cannot be read is left out and logged.
    pub(super) fn tokens(&self) -> Result<Vec<TokenSummary>> {
        let slots = self.module.context.get_slots_with_token().map_err(|failure| super::rv::public(&failure))?;
        Ok(slots
            .into_iter()
            .filter_map(|slot| match self.module.functions.token(slot.into()) {
                Ok(token) => Some(token),
                Err(failure) => {
                    tracing::warn!(module = %self.module.path.display(), slot = slot.id(), %failure, "the token cannot be read");
                    None
                }
            })
            .collect())
    }

    /// The one token that `uri` means, for nobody else in this process.
    ///
    /// # Errors
    /// None, several, not initialised, locked, or in use; each names what to do.
    pub(super) fn claim(self, uri: &TokenUri) -> Result<(Claim, TokenSummary)> {
        let unavailable = |text: String| Error::new(Kind::Unavailable, text);
        let tokens = self.tokens()?;
        let mut matching = tokens.iter().filter(|token| token.initialized && uri.matches(token));
        let token = match (matching.next(), matching.next()) {
            (Some(token), None) => token.clone(),
            (None, _) => {
                return Err(unavailable(format!(
                    "No token of {} matches {uri}; there are: {}.",
                    self.module.path.display(),
                    labels(&tokens)
                )));
            }
            (Some(_), Some(_)) => {
                return Err(unavailable(format!(
                    "Several tokens of {} match {uri}: add serial= or slot-id=.",
                    self.module.path.display()
                )));
            }
        };
        match token.pin_state {
            PinState::Fine | PinState::CountLow => {}
            PinState::FinalTry => {
                return Err(unavailable(format!(
                    "The token {} has one PIN try left and is not logged in to: log in once with another program, with the right PIN.",
                    token.label
                )));
            }
            PinState::Locked => {
                return Err(unavailable(format!(
                    "The user PIN of the token {} is locked: its security officer must set it anew.",
                    token.label
                )));
            }
        }
        if !lock(&self.module.state).claimed.insert(token.slot_id) {
            return Err(unavailable(format!("The token {} is in use by another instance of this process.", token.label)));
        }
        Ok((Claim { slot: token.slot_id, lease: self }, token))
    }
}

fn labels(tokens: &[TokenSummary]) -> String {
    let labels: Vec<_> = tokens.iter().filter(|token| token.initialized).map(|token| format!("{:?}", token.label)).collect();
    if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }
}

impl Lease {
    /// Gives the module back: the last one finalises it. No call may follow. A second time it does nothing.
    pub(super) fn release(&self) {
        if self.released.swap(true, Ordering::AcqRel) {
            return;
        }
        // The registry's lock is held, so that nobody initialises between the count and C_Finalize.
        let _modules = lock(&MODULES);
        let mut state = lock(&self.module.state);
        state.leases -= 1;
        if state.leases == 0
            && state.finalises
            && let Err(failure) = self.module.context.clone().finalize()
        {
            tracing::warn!(module = %self.module.path.display(), %failure, "C_Finalize failed");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}

impl std::ops::Deref for Claim {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl Claim {
    /// Gives the slot and its module back. No call may follow. A second time it does nothing.
    pub(super) fn release(&self) {
        if !self.lease.released.load(Ordering::Acquire) {
            lock(&self.lease.module.state).claimed.remove(&self.slot);
            self.lease.release();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}
