//! The use of a module by one slot: loaded when that is asked for and possible, initialised while somebody uses it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::error::Error as Failure;

use crate::base::{Error, Kind, Result, lock};
use crate::tier::pkcs11::library::functions::Functions;
use crate::tier::pkcs11::library::gate::Gate;
use crate::tier::pkcs11::library::initialise::NotNow;
use crate::tier::pkcs11::library::module::{Module, Neighbour, Ours};
use crate::tier::pkcs11::library::registry;
use crate::tier::pkcs11::queue::lane::Lane;

/// A module that stays initialised until this is released or dropped. Its library is loaded when that is asked for and possible.
pub(crate) struct Lease {
    loaded: OnceLock<Arc<Module>>,
    /// What stands in for the module until its library is loaded: nobody passes its gate.
    absent: Arc<Module>,
    /// What the library's file was like when it was looked at last.
    seen: Mutex<Option<LibraryFile>>,
    pub(super) user: u64,
    neighbour: OnceLock<Weak<dyn Neighbour>>,
    released: AtomicBool,
}

/// What there is where a library should be.
#[derive(PartialEq, Eq)]
enum LibraryFile {
    Nothing,
    File { device: u64, inode: u64, length: u64, modified: (i64, i64) },
}

impl LibraryFile {
    fn at(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(file) => Self::File {
                device: file.dev(),
                inode: file.ino(),
                length: file.size(),
                modified: (file.mtime(), file.mtime_nsec()),
            },
            Err(_) => Self::Nothing,
        }
    }
}

impl Lease {
    /// Of the module in this file. Nothing is loaded yet.
    pub(crate) fn of(path: &Path) -> Self {
        static USERS: AtomicU64 = AtomicU64::new(0);
        Self {
            loaded: OnceLock::new(),
            absent: Arc::new(Module::new(path, Functions::none(), None)),
            seen: Mutex::default(),
            user: USERS.fetch_add(1, Ordering::Relaxed),
            neighbour: OnceLock::new(),
            released: AtomicBool::new(false),
        }
    }

    /// Says who the user is, for its neighbours. To be said before the library is loaded.
    pub(crate) fn introduce(&self, user: Weak<dyn Neighbour>) {
        let _ = self.neighbour.set(user);
    }

    /// Loads the library, if it is not loaded yet. Nothing is initialised. Blocks, for longer than until `until` if the library hangs
    /// here. A file that has changed since it could not be loaded is loaded at the next look, if it has not changed again by then:
    /// half a library ends the process.
    ///
    /// # Errors
    /// The library is not there, may not be complete or is no PKCS #11 module, or somebody else loads it and does not come to an end.
    pub(crate) fn load(&self, until: Instant) -> Result<()> {
        if self.is_loaded() {
            return Ok(());
        }
        let path = &self.absent.path;
        let file = LibraryFile::at(path);
        let is_nothing = file == LibraryFile::Nothing;
        let before = lock(&self.seen).replace(file);
        if !is_nothing && before.is_some_and(|before| Some(before) != *lock(&self.seen)) {
            let text = format!("The PKCS#11 module {} has just changed; it is loaded when it stays as it is.", path.display());
            return Err(Error::new(Kind::Unavailable, text));
        }
        let module = registry::module(path, until)?;
        let mut state = lock(&module.state);
        state.leases += 1;
        state.users.extend(self.neighbour.get().map(|user| (self.user, Weak::clone(user))));
        drop(state);
        // One attempt loads at a time.
        let _ = self.loaded.set(module);
        Ok(())
    }

    /// Whether the library is loaded.
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.get().is_some()
    }

    pub(super) fn module(&self) -> &Arc<Module> {
        self.loaded.get().unwrap_or(&self.absent)
    }

    /// C_Initialize, after a C_Finalize if it is initialised; nothing when somebody did so since `seen`. Blocks: waits up to
    /// `patience` for the calls that run, and a module may take its time.
    ///
    /// # Errors
    /// Why it cannot be done at the moment.
    pub(crate) fn initialise(&self, seen: u64, patience: Duration) -> Result<(), NotNow> {
        let module = self.module();
        let hung = || module.hung.load(Ordering::Acquire);
        let Some(right) = module.enter_initialisation(patience) else {
            return Err(if hung() > 0 { NotNow::Hung(hung()) } else { NotNow::Elsewhere });
        };
        let initialised = self.is_initialised();
        if initialised && module.gate.initialisation() != seen {
            return Ok(());
        }
        if hung() > 0 {
            return Err(NotNow::Hung(hung()));
        }
        if initialised {
            module.gate.close(patience).map_err(NotNow::Running)?;
            let ours = lock(&module.state).end();
            right.finalise(ours);
        }
        let outcome = right.initialise();
        if let Ok(ours) = outcome {
            let mut state = lock(&module.state);
            state.initialised = true;
            state.finalises = ours == Ours::Yes;
            drop(state);
            module.gate.open_anew();
        }
        if initialised {
            self.tell_neighbours();
        }
        match outcome {
            Ok(Ours::No) if initialised => Err(NotNow::Foreign),
            Ok(Ours::Yes | Ours::No) => Ok(()),
            Err(failure) => Err(NotNow::Failed(failure)),
        }
    }

    fn tell_neighbours(&self) {
        self.module().users().iter().filter(|(user, _)| *user != self.user).for_each(|(_, user)| user.lost_everything());
    }

    /// Tells the neighbours at once that they have lost everything if C_Initialize or C_Finalize is what hangs: nobody gets into
    /// the module until it comes back.
    pub(crate) fn tell_if_initialisation_hangs(&self) {
        if *lock(&self.module().initialising) {
            self.tell_neighbours();
        }
    }

    /// Whether C_Initialize was called and not undone.
    pub(crate) fn is_initialised(&self) -> bool {
        lock(&self.module().state).initialised
    }

    /// Whether another slot of the module serves.
    pub(crate) fn has_serving_neighbours(&self) -> bool {
        self.module().users().iter().any(|(user, neighbour)| *user != self.user && neighbour.is_serving())
    }

    /// The safe binding.
    ///
    /// # Errors
    /// The library is not loaded.
    pub(crate) fn context(&self) -> Result<&Pkcs11, Failure> {
        self.module().context()
    }

    /// The fast path.
    pub(crate) fn functions(&self) -> &Functions {
        &self.module().functions
    }

    /// What every call passes.
    pub(crate) fn gate(&self) -> &Gate {
        &self.module().gate
    }

    /// The module's one place for key generation.
    pub(crate) fn generation(&self) -> &Arc<Lane> {
        &self.module().generation
    }

    /// How many calls hang in it.
    pub(crate) fn hung(&self) -> usize {
        self.module().hung.load(Ordering::Acquire)
    }

    /// A call was written off: it is still inside.
    pub(crate) fn count_hung(&self) {
        self.module().hung.fetch_add(1, Ordering::AcqRel);
    }

    /// A call that was written off came back.
    pub(crate) fn count_back(&self) {
        self.module().hung.fetch_sub(1, Ordering::AcqRel);
    }

    /// Where the library is.
    pub(crate) fn path(&self) -> &Path {
        &self.module().path
    }

    /// Gives the module back: the last one finalises it. No call may follow. A second time it does nothing. Blocks for as long as
    /// C_Finalize takes.
    pub(crate) fn release(&self) {
        if self.leave() == Leaving::Last {
            self.module().farewell(None);
        }
    }

    fn leave(&self) -> Leaving {
        if self.released.swap(true, Ordering::AcqRel) || !self.is_loaded() {
            return Leaving::NotLast;
        }
        let mut state = lock(&self.module().state);
        state.claims.remove(&self.user);
        state.users.remove(&self.user);
        state.leases -= 1;
        if state.leases == 0 { Leaving::Last } else { Leaving::NotLast }
    }
}

/// Whether others use the module.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Last,
    NotLast,
}

impl Drop for Lease {
    /// As [`Lease::release`], but does not wait for C_Finalize: whoever drops a slot may be a worker of a runtime.
    fn drop(&mut self) {
        if self.leave() == Leaving::NotLast {
            return;
        }
        let module = Arc::clone(self.module());
        // Taken here, so that the process does not end by its exit handlers before the thread has begun.
        let right = module.enter_initialisation(Duration::ZERO);
        let farewell = move || module.farewell(right);
        if let Err(error) = std::thread::Builder::new().name("pkcs11-finalise".to_owned()).spawn(farewell) {
            tracing::warn!(module = %self.path().display(), %error, "the system gives no thread for C_Finalize");
        }
    }
}
