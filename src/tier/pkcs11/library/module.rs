//! A module of the process: its library, its gate, and who uses it.
//!
//! C_Initialize and C_Finalize belong to the process (PKCS #11, section 5.4), so the modules do too: leases are counted, and the last one
//! finalises. Every call into the module passes its [`Gate`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, Weak};

use cryptoki::context::Pkcs11;
use cryptoki::error::Error as Failure;

use crate::base::{Error, Kind, Result, lock};
use crate::tier::pkcs11::library::functions::Functions;
use crate::tier::pkcs11::library::gate::Gate;
use crate::tier::pkcs11::queue::lane::Lane;

/// Callers that may wait to make a key, for all slots of a module.
const GENERATION_QUEUE: usize = 64;

/// A module. Its library is loaded, except for the stand-in that a [`Lease`] has until then.
pub(crate) struct Module {
    pub(super) path: PathBuf,
    /// `None` of a library that is not loaded.
    pub(super) context: Option<Pkcs11>,
    pub(super) functions: Functions,
    pub(super) gate: Gate,
    pub(super) state: Mutex<State>,
    /// Calls that were written off and have not come back: nothing is finalised under them.
    pub(super) hung: AtomicUsize,
    /// Whether somebody is at C_Initialize or C_Finalize.
    pub(super) initialising: Mutex<bool>,
    pub(super) initialised: Condvar,
    /// C_GenerateKeyPair and C_GenerateKey run one at a time: SoftHSM 2.6.1 races with itself there (mended in 2.7.0).
    pub(super) generation: Arc<Lane>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) leases: usize,
    pub(super) initialised: bool,
    /// Whether this process's C_Initialize was ours.
    pub(super) finalises: bool,
    /// What each user has.
    pub(super) claims: HashMap<u64, Claim>,
    pub(super) users: HashMap<u64, Weak<dyn Neighbour>>,
}

/// A token that somebody uses, where it was found and under which initialisation: tokens change places, and not all of them have a
/// serial number of their own.
#[derive(PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) slot_id: u64,
    pub(super) initialisation: u64,
    pub(super) serial: String,
}

/// A slot of a module, as another slot sees it.
pub(crate) trait Neighbour: Send + Sync {
    /// Whether it has something to lose.
    fn is_serving(&self) -> bool;

    /// The module was initialised anew, or could not be: its sessions, handles and login are gone.
    fn lost_everything(&self);
}

impl Module {
    /// Loads the library. Nothing is initialised yet.
    ///
    /// # Errors
    /// It is no PKCS #11 module.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let broken = |failure: Failure| {
            Error::new(Kind::Unavailable, format!("{} is not a PKCS#11 module that can be loaded: {failure}.", path.display()))
        };
        let functions = Functions::load(path).map_err(broken)?;
        Ok(Self::new(path, functions, Some(Pkcs11::new(path).map_err(broken)?)))
    }

    /// `context` is `None` of a library that is not loaded.
    pub(super) fn new(path: &Path, functions: Functions, context: Option<Pkcs11>) -> Self {
        Self {
            path: path.to_owned(),
            functions,
            context,
            gate: Gate::new(),
            state: Mutex::default(),
            hung: AtomicUsize::new(0),
            initialising: Mutex::default(),
            initialised: Condvar::new(),
            generation: Lane::new(1, GENERATION_QUEUE),
        }
    }

    /// The safe binding.
    pub(super) fn context(&self) -> Result<&Pkcs11, Failure> {
        self.context.as_ref().ok_or(Failure::NullFunctionPointer)
    }

    pub(super) fn users(&self) -> Vec<(u64, Arc<dyn Neighbour>)> {
        lock(&self.state).users.iter().filter_map(|(user, weak)| Some((*user, weak.upgrade()?))).collect()
    }

    /// Whether a function of it runs: a call, C_Initialize or C_Finalize.
    pub(crate) fn is_running(&self) -> bool {
        self.gate.inside() > 0 || *lock(&self.initialising)
    }
}

/// Whether this process's C_Initialize is ours to undo.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ours {
    Yes,
    No,
}

impl State {
    /// The module counts as not initialised from now on.
    pub(super) fn end(&mut self) -> Ours {
        if std::mem::take(&mut self.initialised) && self.finalises { Ours::Yes } else { Ours::No }
    }
}
