//! C_Initialize and C_Finalize: one thread at a time, never under a call that runs, and anew when the module is broken.
//!
//! A slot that needs a new C_Initialize takes the module from its neighbours for as long as that takes, and tells them afterwards. Both
//! functions may hang: no lock is held over them, and whoever is at one of them counts as a call that runs ([`Initialising`]).

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags};
use cryptoki::error::{Error as Failure, RvError};

use crate::base::lock;
use crate::tier::pkcs11::answer;
use crate::tier::pkcs11::library::module::{Module, Ours};

/// How long the last user of a module waits at the end for calls that still run.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a module cannot be initialised anew at the moment.
pub(crate) enum NotNow {
    /// So many calls run that are not given up yet.
    Running(usize),
    /// So many calls hang in it; C_Finalize would crash the process.
    Hung(usize),
    /// Another slot is at it.
    Elsewhere,
    /// Another part of the process initialised it, and it alone may finalise it.
    Foreign,
    /// C_Initialize failed.
    Failed(Failure),
}

impl NotNow {
    /// For a person, of the module in this file.
    pub(crate) fn text(&self, module: &Path) -> String {
        let module = module.display();
        match self {
            Self::Running(calls) => format!("The PKCS#11 module {module} must be initialised anew, and {calls} calls run in it."),
            Self::Hung(calls) => format!("The PKCS#11 module {module} must be initialised anew, and {calls} calls hang in it."),
            Self::Elsewhere => format!("The PKCS#11 module {module} is being initialised for another slot."),
            Self::Foreign => {
                format!("The PKCS#11 module {module} was initialised by another part of the process, which alone can do so anew.")
            }
            Self::Failed(failure) => format!("The PKCS#11 module {module} cannot be initialised: {}.", answer::name(failure)),
        }
    }
}

impl Module {
    /// The right to call C_Initialize and C_Finalize, if nobody has it for longer than `patience`.
    pub(super) fn enter_initialisation(self: &Arc<Self>, patience: Duration) -> Option<Initialising> {
        let until = Instant::now() + patience;
        let mut busy = lock(&self.initialising);
        while *busy {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            busy = self.initialised.wait_timeout(busy, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *busy = true;
        Some(Initialising(Arc::clone(self)))
    }

    /// C_Finalize, if there is somebody to do it for: whoever was the last to use the module.
    pub(super) fn farewell(self: &Arc<Self>, right: Option<Initialising>) {
        let Some(right) = right.or_else(|| self.enter_initialisation(FAREWELL)) else { return };
        if self.hung.load(Ordering::Acquire) > 0 || self.gate.close(FAREWELL).is_err() {
            return;
        }
        let mut state = lock(&self.state);
        if state.leases == 0 {
            let ours = state.end();
            drop(state);
            right.finalise(ours);
        } else if state.initialised {
            // Somebody came meanwhile, and found the module initialised.
            drop(state);
            self.gate.reopen();
        }
    }
}

/// Somebody is at C_Initialize or C_Finalize: one at a time, and it counts as a call that runs.
pub(super) struct Initialising(Arc<Module>);

impl Initialising {
    /// C_Initialize; says whether it was the first in this process.
    pub(super) fn initialise(&self) -> Result<Ours, Failure> {
        match self.0.context()?.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => Ok(Ours::Yes),
            // Another part of the process uses it: then it is not ours to finalise.
            Err(Failure::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(Ours::No),
            Err(failure) => Err(failure),
        }
    }

    /// C_Finalize, if it is ours to call. The gate is closed.
    pub(super) fn finalise(&self, ours: Ours) {
        if ours == Ours::Yes
            && let Err(failure) = self.0.context().and_then(|context| context.clone().finalize())
        {
            tracing::warn!(module = %self.0.path.display(), %failure, "C_Finalize failed");
        }
    }
}

impl Drop for Initialising {
    fn drop(&mut self) {
        *lock(&self.0.initialising) = false;
        self.0.initialised.notify_all();
    }
}
