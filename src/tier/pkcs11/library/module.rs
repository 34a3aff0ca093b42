//! PKCS #11 modules: each is initialised while somebody uses it, and anew when it is broken.
//!
//! C_Initialize and C_Finalize belong to the process (PKCS #11, section 5.4), so the modules do too: [`Lease`]s are counted, the
//! last one finalises. Every call into the module passes its [`Gate`]; a slot that needs a new C_Initialize takes it from its
//! neighbours for as long as that takes and tells them afterwards. C_Initialize and C_Finalize may hang: no lock is held over them,
//! and whoever is at one of them counts as a call that runs ([`Initialising`]).

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Failure, RvError};

use crate::base::lock;
use crate::base::{Error, Kind, Result};
use crate::tier::pkcs11::library::functions::Functions;
use crate::tier::pkcs11::library::gate::Gate;
use crate::tier::pkcs11::library::registry;
use crate::tier::pkcs11::library::token::TokenSummary;
use crate::tier::pkcs11::library::uri::TokenUri;
use crate::tier::pkcs11::queue::lane::Lane;

/// How long the last user of a module waits at the end for calls that still run.
const FAREWELL: Duration = Duration::from_secs(1);
/// Callers that may wait to make a key, for all slots of a module.
const GENERATION_QUEUE: usize = 64;

/// A module. Its library is loaded, except for the stand-in that a [`Lease`] has until then.
pub(crate) struct Module {
    path: PathBuf,
    /// `None` of a library that is not loaded.
    context: Option<Pkcs11>,
    functions: Functions,
    gate: Gate,
    state: Mutex<State>,
    /// Calls that were written off and have not come back: nothing is finalised under them.
    hung: AtomicUsize,
    /// Whether somebody is at C_Initialize or C_Finalize.
    initialising: Mutex<bool>,
    initialised: Condvar,
    /// C_GenerateKeyPair and C_GenerateKey run one at a time: SoftHSM 2.6.1 races with itself there (mended in 2.7.0).
    generation: Arc<Lane>,
}

#[derive(Default)]
struct State {
    leases: usize,
    initialised: bool,
    /// Whether this process's C_Initialize was ours.
    finalises: bool,
    /// What each user has.
    claims: HashMap<u64, Claim>,
    users: HashMap<u64, Weak<dyn Neighbour>>,
}

/// A token that somebody uses, where it was found and under which initialisation: tokens change places, and not all of them have a
/// serial number of their own.
#[derive(PartialEq, Eq)]
struct Claim {
    slot_id: u64,
    initialisation: u64,
    serial: String,
}

/// A slot of a module, as another slot sees it.
pub(crate) trait Neighbour: Send + Sync {
    /// Whether it has something to lose.
    fn is_serving(&self) -> bool;

    /// The module was initialised anew, or could not be: its sessions, handles and login are gone.
    fn lost_everything(&self);
}

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

/// A module that stays initialised until this is released or dropped. Its library is loaded when that is asked for and possible.
pub(crate) struct Lease {
    loaded: OnceLock<Arc<Module>>,
    /// What stands in for the module until its library is loaded: nobody passes its gate.
    absent: Arc<Module>,
    /// What the library's file was like when it was looked at last.
    seen: Mutex<Option<LibraryFile>>,
    user: u64,
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

    fn new(path: &Path, functions: Functions, context: Option<Pkcs11>) -> Self {
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
    fn context(&self) -> Result<&Pkcs11, Failure> {
        self.context.as_ref().ok_or(Failure::NullFunctionPointer)
    }

    fn users(&self) -> Vec<(u64, Arc<dyn Neighbour>)> {
        lock(&self.state).users.iter().filter_map(|(user, weak)| Some((*user, weak.upgrade()?))).collect()
    }

    /// Whether a function of it runs: a call, C_Initialize or C_Finalize.
    pub(crate) fn is_running(&self) -> bool {
        self.gate.inside() > 0 || *lock(&self.initialising)
    }

    /// The right to call C_Initialize and C_Finalize, if nobody has it for longer than `patience`.
    fn enter_initialisation(self: &Arc<Self>, patience: Duration) -> Option<Initialising> {
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
    fn farewell(self: &Arc<Self>, right: Option<Initialising>) {
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

/// Whether this process's C_Initialize is ours to undo.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ours {
    Yes,
    No,
}

impl State {
    /// The module counts as not initialised from now on.
    fn end(&mut self) -> Ours {
        if std::mem::take(&mut self.initialised) && self.finalises { Ours::Yes } else { Ours::No }
    }
}

/// Somebody is at C_Initialize or C_Finalize: one at a time, and it counts as a call that runs.
struct Initialising(Arc<Module>);

impl Initialising {
    /// C_Initialize; says whether it was the first in this process.
    fn initialise(&self) -> Result<Ours, Failure> {
        match self.0.context()?.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => Ok(Ours::Yes),
            // Another part of the process uses it: then it is not ours to finalise.
            Err(Failure::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(Ours::No),
            Err(failure) => Err(failure),
        }
    }

    /// C_Finalize, if it is ours to call. The gate is closed.
    fn finalise(&self, ours: Ours) {
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

    fn module(&self) -> &Arc<Module> {
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

    /// The tokens that are there. A slot whose token cannot be read is left out and logged.
    pub(crate) fn tokens(&self) -> Result<Vec<TokenSummary>, Failure> {
        let slots = self.context()?.get_slots_with_token()?;
        Ok(slots
            .into_iter()
            .filter_map(|slot| match self.module().functions.token(slot.into()) {
                Ok(token) => Some(token),
                Err(failure) => {
                    tracing::warn!(module = %self.module().path.display(), slot = slot.id(), %failure, "the token cannot be read");
                    None
                }
            })
            .collect())
    }

    /// The one token that `uri` means, for nobody else in this process: login and logout are states of the token, not of a
    /// session.
    ///
    /// # Errors
    /// The module fails; or none, several, or in use; each names what to do.
    pub(crate) fn claim(&self, uri: &TokenUri) -> Result<TokenSummary, NoToken> {
        let tokens = self.tokens()?;
        let mut matching = tokens.iter().filter(|token| token.initialized && uri.matches(token));
        let module = self.path().display();
        let token = match (matching.next(), matching.next()) {
            (Some(token), None) => token.clone(),
            (None, _) => {
                return Err(NoToken::None(format!("No token of {module} matches {uri}; there are: {}.", labels(&tokens))));
            }
            (Some(_), Some(_)) => {
                return Err(NoToken::Misconfigured(format!("Several tokens of {module} match {uri}: add serial= or slot-id=.")));
            }
        };
        let mut state = lock(&self.module().state);
        // Slots may be numbered anew by a C_Initialize: older claims say nothing.
        let initialisation = self.module().gate.initialisation();
        let wanted = Claim { slot_id: token.slot_id, initialisation, serial: token.serial.clone() };
        if state.claims.iter().any(|(user, claim)| *user != self.user && *claim == wanted) {
            return Err(NoToken::Misconfigured(format!(
                "The token {} is in use by another instance of this process.",
                token.label
            )));
        }
        state.claims.insert(self.user, wanted);
        Ok(token)
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

/// Why a token cannot be claimed.
pub(crate) enum NoToken {
    /// The module failed.
    Failed(Failure),
    /// There is none of that name: it may come back.
    None(String),
    /// The configuration must change.
    Misconfigured(String),
}

impl From<Failure> for NoToken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn labels(tokens: &[TokenSummary]) -> String {
    let labels: Vec<_> = tokens.iter().filter(|token| token.initialized).map(|token| format!("{:?}", token.label)).collect();
    if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }
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
