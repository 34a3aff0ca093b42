//! A slot in use: the login, the pool of working sessions, the queue before it, and where each call runs.
//!
//! One long-lived session holds the login, which is a state of the token. Working sessions are taken last in, first out, bounded
//! by the settings and by what the token allows. [`Slot::run`] is the only door to them: it admits, waits, runs and answers by
//! the deadline, and a caller that goes away leaves everything in order, since the job owns its permit and gives its session back
//! itself.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::error::{Error as Failure, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Settings;
use super::call::Functions;
use super::calling::{Calling, Fault};
use super::module::{Claim, Lease};
use super::random::RandomBlocks;
use super::rv::{self, SessionFate};
use super::threads::Threads;
use super::token::TokenSummary;
use crate::base::{Error, Kind, Result};

/// The most handles of token objects that a slot remembers.
const HANDLES: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// Spare workers of the runtime beyond those that inline calls may hold: they fire the deadlines when all of those hang.
const SPARE_WORKERS: usize = 2;

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a task on the runtime: for calls shorter than a hand-over between threads.
    Inline,
    /// On a session thread.
    Thread,
}

/// A token that is logged in to.
pub(super) struct Slot {
    // Fields drop in this order: sessions are closed by `close`, the module goes last.
    idle: Mutex<Vec<Session>>,
    login: Mutex<Option<Session>>,
    handles: Mutex<LruCache<Vec<u8>, ObjectHandle>>,
    random: RandomBlocks,
    permits: Arc<Semaphore>,
    capacity: AtomicUsize,
    inline: Option<Arc<Semaphore>>,
    overdue_inline: AtomicUsize,
    waiting: AtomicUsize,
    queue: usize,
    threads: Threads,
    closed: AtomicBool,
    token: TokenSummary,
    claim: Claim,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    /// Finds the token, logs in once. Blocks.
    ///
    /// # Errors
    /// No such module or token, a PIN that is wrong (it was tried once and is not tried again), a token without a session to spare.
    pub(super) fn connect(settings: &Settings) -> Result<Self> {
        let (claim, token) = Lease::acquire(&settings.module)?.claim(&settings.token)?;
        let slot = slot_of(&token)?;
        let login = claim.context().open_rw_session_no_drop(slot).map_err(|failure| rv::public(&failure))?;
        if let Err(failure) = log_in(&login, settings) {
            let _ = login.close();
            return Err(refused_login(failure, &token));
        }
        // One session of what the token allows holds the login.
        let sessions = token.session_limit.map_or(settings.sessions, |limit| settings.sessions.min(limit.saturating_sub(1))).max(1);
        Ok(Self {
            idle: Mutex::default(),
            login: Mutex::new(Some(login)),
            handles: Mutex::new(LruCache::new(HANDLES)),
            random: RandomBlocks::default(),
            permits: Arc::new(Semaphore::new(sessions)),
            capacity: AtomicUsize::new(sessions),
            inline: inline_permits().map(|permits| Arc::new(Semaphore::new(permits))),
            overdue_inline: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue: settings.queue,
            threads: Threads::new("pkcs11-session"),
            closed: AtomicBool::new(false),
            token,
            claim,
        })
    }

    /// What the token says of itself.
    pub(super) fn token(&self) -> &TokenSummary {
        &self.token
    }

    /// The module's one place for key generation.
    pub(super) fn generation(&self) -> Arc<tokio::sync::Mutex<()>> {
        self.claim.generation()
    }

    /// Runs `call` on a working session and gives its answer, at `deadline` at the latest. A call that has begun is finished
    /// behind the scenes when its caller is gone; the next caller waits for its session, not for the caller.
    ///
    /// # Errors
    /// [`Kind::Throttled`] when the queue is full or the deadline passes in it; [`Kind::Unavailable`] when the call itself is
    /// overdue or the slot closed; else what `call` said.
    pub(super) async fn run<T, F>(self: &Arc<Self>, place: Place, deadline: Instant, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Calling<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let mut call = call;
        loop {
            let inline = self.place_inline(place, deadline).await?;
            let permit = self.admit(deadline).await?;
            match self.attempt_somewhere(inline, deadline, permit, call).await? {
                Attempt::Ran(result) => return result.map_err(Error::from),
                // The token allows fewer sessions than it said: that permit is gone, another session will come free.
                Attempt::NoSession(back) => call = back,
            }
        }
    }

    /// A place on a worker of the runtime, for a call that is to run there and while anything may.
    async fn place_inline(&self, place: Place, deadline: Instant) -> Result<Option<OwnedSemaphorePermit>> {
        match (place, &self.inline) {
            (Place::Inline, Some(permits)) => self.wait_for(permits, deadline).await,
            (Place::Inline, None) | (Place::Thread, _) => Ok(None),
        }
    }

    /// Waits for a session to be free.
    async fn admit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        self.wait_for(&self.permits, deadline).await?.ok_or_else(closed)
    }

    /// Waits in the bounded queue; `None` when what is waited for was closed.
    async fn wait_for(&self, permits: &Arc<Semaphore>, deadline: Instant) -> Result<Option<OwnedSemaphorePermit>> {
        let throttled = |text: &str| Error::new(Kind::Throttled, text);
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Ok(Some(permit));
        }
        let _place = Waiting::enter(&self.waiting, self.queue)
            .ok_or_else(|| throttled("Too many requests wait for the hardware security module."))?;
        timeout_at(deadline, Arc::clone(permits).acquire_owned())
            .await
            .map(Result::ok)
            .map_err(|_| throttled("The hardware security module was too busy to serve the request in time."))
    }

    async fn attempt_somewhere<T, F>(
        self: &Arc<Self>,
        inline: Option<OwnedSemaphorePermit>,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
        call: F,
    ) -> Result<Attempt<T, F>>
    where
        T: Send + 'static,
        F: Fn(&Calling<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let overdue = || Error::new(Kind::Unavailable, "The hardware security module did not answer in time.");
        let slot = Arc::clone(self);
        if let Some(inline) = inline {
            let task = tokio::spawn(async move {
                let attempt = slot.attempt(permit, call);
                drop(inline);
                attempt
            });
            let Ok(done) = timeout_at(deadline, task).await else {
                self.count_overdue_inline();
                return Err(overdue());
            };
            return done.map_err(Error::internal);
        }
        let (answer, answered) = oneshot::channel();
        let job = move || drop(answer.send(slot.attempt(permit, call)));
        self.threads.run(Box::new(job)).map_err(Error::internal)?;
        timeout_at(deadline, answered).await.map_err(|_| overdue())?.map_err(Error::internal)
    }

    /// One of the workers is held by a call that does not come back. When as many are held as there are spares, nothing runs
    /// inline any more: whoever waits for a place there goes to a thread.
    fn count_overdue_inline(&self) {
        let held = self.overdue_inline.fetch_add(1, Ordering::AcqRel) + 1;
        tracing::warn!(token = %self.token.label, held, "a call on a worker of the runtime is overdue");
        if let Some(permits) = &self.inline
            && held >= SPARE_WORKERS
        {
            permits.close();
        }
    }

    /// Runs `call` here and now on a session of the pool.
    fn attempt<T, F: Fn(&Calling<'_>) -> Result<T, Fault>>(&self, permit: OwnedSemaphorePermit, call: F) -> Attempt<T, F> {
        let session = match self.check_out() {
            Ok(session) => session,
            Err(failure) if rv::is_session_limit(&failure) && self.shrink() => {
                permit.forget();
                return Attempt::NoSession(call);
            }
            Err(failure) => return Attempt::Ran(Err(failure.into())),
        };
        let result = call(&Calling::new(self, &session));
        match &result {
            Err(Fault::Module(failure)) if rv::session_fate(failure) == SessionFate::Close => {
                tracing::warn!(token = %self.token.label, failure = rv::name(failure), "a call failed, its session is replaced");
                let _ = session.close();
            }
            Ok(_) | Err(Fault::Module(_) | Fault::Ours(_)) => lock(&self.idle).push(session),
        }
        drop(permit);
        Attempt::Ran(result)
    }

    fn check_out(&self) -> Result<Session, Failure> {
        let idle = lock(&self.idle).pop();
        match idle {
            Some(session) => Ok(session),
            None => self.open(),
        }
    }

    /// A session, read-write: some modules refuse read-only ones. It does not close itself when it is dropped.
    fn open(&self) -> Result<Session, Failure> {
        self.claim.context().open_rw_session_no_drop(self.token.slot_id.try_into()?)
    }

    /// One session less from now on, unless it is the last.
    fn shrink(&self) -> bool {
        let less = |capacity: usize| (capacity > 1).then(|| capacity - 1);
        let shrunk = self.capacity.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        if let Ok(former) = shrunk {
            tracing::warn!(token = %self.token.label, sessions = former - 1, "the token allows no more sessions");
        }
        shrunk.is_ok()
    }

    /// The least and the most length of the keys of a mechanism, in the mechanism's own unit; `None` when the token lacks it.
    pub(super) fn key_sizes(&self, mechanism: MechanismType) -> Option<(usize, usize)> {
        let slot = self.token.slot_id.try_into().ok()?;
        let info = self.claim.context().get_mechanism_info(slot, mechanism).ok()?;
        Some((info.min_key_size(), info.max_key_size()))
    }

    /// How many sessions may work at once.
    pub(super) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Acquire)
    }

    /// The fast path.
    pub(super) fn functions(&self) -> &Functions {
        self.claim.functions()
    }

    /// Random bytes of the token, drawn ahead.
    pub(super) fn random(&self) -> &RandomBlocks {
        &self.random
    }

    /// Where an object is, if that is known.
    pub(super) fn remembered(&self, id: &[u8]) -> Option<ObjectHandle> {
        lock(&self.handles).get(id).copied()
    }

    /// Notes where objects are that were found or made.
    pub(super) fn remember(&self, id: Vec<u8>, handle: ObjectHandle) {
        lock(&self.handles).put(id, handle);
    }

    /// Forgets where an object is.
    pub(super) fn forget(&self, id: &[u8]) {
        lock(&self.handles).pop(id);
    }

    /// Runs `job` on a session thread without anybody waiting for it: to undo what nobody claimed.
    pub(super) fn run_behind<F>(self: &Arc<Self>, job: F)
    where
        F: Fn(&Calling<'_>) -> Result<(), Fault> + Send + 'static,
    {
        let slot = Arc::clone(self);
        let job = move || {
            if slot.closed.load(Ordering::Acquire) {
                return;
            }
            // Without a permit: whoever gave up may have given up because none came free.
            let Ok(session) = slot.check_out() else { return };
            if let Err(fault) = job(&Calling::new(&slot, &session)) {
                tracing::warn!(token = %slot.token.label, error = ?Error::from(fault), "what was left behind could not be removed");
            }
            let _ = session.close();
        };
        if let Err(error) = self.threads.run(Box::new(job)) {
            tracing::warn!(token = %self.token.label, %error, "what was left behind could not be removed");
        }
    }

    /// Ends: waits for the calls that run, at most until `deadline`, closes the sessions, logs out. The module is finalised when
    /// nobody else uses it. While a call still runs nothing is closed under it (that crashes modules); the end of the process must do.
    pub(super) async fn close(self: &Arc<Self>, deadline: Instant) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let all = u32::try_from(self.capacity()).unwrap_or(u32::MAX);
        let drained = timeout_at(deadline, Arc::clone(&self.permits).acquire_many_owned(all)).await;
        let Ok(Ok(all)) = drained else {
            return Err(Error::new(
                Kind::Unavailable,
                format!("A call to the token {} still runs; its sessions are left open.", self.token.label),
            ));
        };
        self.permits.close();
        let slot = Arc::clone(self);
        let (done, ended) = oneshot::channel();
        let job = move || {
            for session in lock(&slot.idle).drain(..) {
                let _ = session.close();
            }
            if let Some(login) = lock(&slot.login).take() {
                let _ = login.logout();
                let _ = login.close();
            }
            slot.claim.release();
            drop(all);
            let _ = done.send(());
        };
        self.threads.run(Box::new(job)).map_err(Error::internal)?;
        timeout_at(deadline, ended).await.ok();
        Ok(())
    }
}

/// How a call went.
enum Attempt<T, F> {
    Ran(Result<T, Fault>),
    NoSession(F),
}

/// One of the callers that wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, bound: usize) -> Option<Self> {
        let entered = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| (waiting < bound).then_some(waiting + 1));
        entered.ok().map(|_| Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn slot_of(token: &TokenSummary) -> Result<cryptoki::slot::Slot> {
    token.slot_id.try_into().map_err(|failure: Failure| Error::internal(failure))
}

fn log_in(session: &Session, settings: &Settings) -> Result<(), Failure> {
    session.login(UserType::User, Some(&AuthPin::new(settings.pin.expose().to_owned().into_boxed_str())))
}

fn refused_login(failure: Failure, token: &TokenSummary) -> Error {
    let text = match &failure {
        Failure::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            format!(
                "The PIN of the token {} is wrong. It was tried once and is not tried again; mend its source first.",
                token.label
            )
        }
        Failure::Pkcs11(RvError::PinLocked, _) => format!("The user PIN of the token {} is locked.", token.label),
        Failure::Pkcs11(RvError::UserPinNotInitialized, _) => format!("The token {} has no user PIN yet.", token.label),
        Failure::Pkcs11(RvError::UserAlreadyLoggedIn, _) => {
            format!("The token {} is logged in to already by this process.", token.label)
        }
        _ => format!("The login to the token {} failed: {}.", token.label, rv::name(&failure)),
    };
    Error::new(Kind::Unavailable, text).caused_by(failure)
}

fn closed() -> Error {
    Error::new(Kind::Unavailable, "The hardware security module is being disconnected.")
}

/// How many calls may run inline: as many as there are cores, and never so many that the runtime has no spare workers. `None`
/// on a runtime that is too small, where a call that hangs would take the deadlines with it.
fn inline_permits() -> Option<usize> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    let spare = runtime.metrics().num_workers().checked_sub(SPARE_WORKERS)?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Some(spare.min(cores)).filter(|permits| *permits > 0)
}
