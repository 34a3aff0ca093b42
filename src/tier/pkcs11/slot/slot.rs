//! A slot in use: everything that belongs to one token, and the changes of its condition.
//!
//! Calls come by `serving` and run in `performing`; `supervisor` and `recovery` look after it. All of them change the condition
//! here, so that whoever waits for a change is told, and the epoch ends before anybody is.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use cryptoki::error::Error as Failure;
use cryptoki::session::Session;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::base::{Error, Kind, Result, lock};
use crate::tier::Ability;
use crate::tier::pkcs11::answer::{self, Level, Profile};
use crate::tier::pkcs11::library::computes::Computes;
use crate::tier::pkcs11::library::functions::Functions;
use crate::tier::pkcs11::library::module::{Lease, Neighbour};
use crate::tier::pkcs11::library::token::TokenSummary;
use crate::tier::pkcs11::queue::lane::Lane;
use crate::tier::pkcs11::queue::reserve::SPARE_WORKERS;
use crate::tier::pkcs11::queue::threads::Threads;
use crate::tier::pkcs11::queue::workers::Workers;
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::known_good::KnownGood;
use crate::tier::pkcs11::session::memory::TokenMemory;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::slot::counters::Counters;
use crate::tier::pkcs11::slot::health::{self, Admission, Change, Condition, Machine};
use crate::tier::pkcs11::slot::notes::LoginNotesInMemory;
use crate::tier::pkcs11::slot::order::{Order, Place};
use crate::tier::pkcs11::slot::pin::Asked;
use crate::tier::pkcs11::slot::sessions::Pool;
use crate::tier::pkcs11::slot::stumbles::Stumbles;
use crate::tier::pkcs11::slot::supervisor::Watch;
use crate::tier::pkcs11::slot::suspects::Suspects;
use crate::tier::pkcs11::slot::vouchers::Vouchers;
use crate::tier::pkcs11::{Oversubscription, Settings};

/// Sessions that a slot needs besides the working ones: for the login, and for making keys.
const OTHER_SESSIONS: usize = 2;

/// Session threads for each core that a module computes on: the next call is there when one ends.
const THREADS_PER_CORE: usize = 2;

/// A session that holds the login.
pub(crate) struct Login {
    pub(crate) session: Session,
    pub(crate) epoch: Epoch,
}

/// What was found out of the module when it was tested.
struct Spread {
    computes: Computes,
    inline: InlineCalls,
}

/// Whether any call is short enough for a worker of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InlineCalls {
    Some,
    /// Then all sessions are for session threads.
    None,
}

/// Places on the workers of a runtime.
pub(crate) struct Inline {
    pub(crate) lane: Arc<Lane>,
    /// Those that calls may hold, of this and of other tokens.
    pub(crate) workers: Arc<Workers>,
    pub(crate) runtime: Handle,
}

/// A token in use.
pub(crate) struct Slot {
    pub(crate) settings: Settings,
    pub(crate) lease: Lease,
    pub(crate) pool: Pool,
    pub(crate) login: Mutex<Option<Login>>,
    pub(crate) memory: TokenMemory,
    pub(crate) stumbles: Stumbles,
    pub(crate) vouchers: Vouchers,
    pub(crate) suspects: Suspects,
    /// Of whose family an operation failed last that must succeed.
    pub(crate) doubted: Mutex<Option<Ability>>,
    /// Ids of objects that nobody was told of and that are still to be destroyed.
    pub(crate) orphans: Mutex<Vec<Vec<u8>>>,
    pub(crate) counters: Counters,
    pub(crate) threads: Threads,
    /// What the source of the PIN said.
    pub(crate) asked: Asked,
    /// Notes of logins that could not be written to where they outlive the process.
    pub(crate) unnoted: LoginNotesInMemory,
    /// Calls on workers of the runtime that were written off and are not back.
    pub(crate) hung_inline: AtomicUsize,
    pub(crate) watch: Watch,
    /// What the tests of the token taught, once they ended.
    known_good: OnceLock<Arc<dyn KnownGood>>,
    /// How calls are spread, once that is known.
    spread: OnceLock<Spread>,
    sessions: Arc<Lane>,
    inline: Option<Inline>,
    machine: Mutex<Machine>,
    /// Whether a success changes nothing: saves the lock.
    calm: AtomicBool,
    changed: watch::Sender<u64>,
    me: Weak<Slot>,
}

impl Slot {
    /// The supervisor loads the module and connects to the token.
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let lease = Lease::of(&settings.module);
        let inline = inline_permits().filter(|(permits, _)| settings.sessions > permits + 1);
        let threads = settings.sessions - inline.as_ref().map_or(0, |(permits, _)| *permits);
        let slot = Arc::new_cyclic(|me: &Weak<Slot>| Self {
            pool: Pool::default(),
            login: Mutex::default(),
            memory: TokenMemory::new(settings.token.to_string()),
            stumbles: Stumbles::default(),
            vouchers: Vouchers::default(),
            suspects: Suspects::default(),
            doubted: Mutex::default(),
            known_good: OnceLock::new(),
            orphans: Mutex::default(),
            counters: Counters::default(),
            threads: Threads::new("pkcs11-session"),
            asked: Asked::default(),
            unnoted: LoginNotesInMemory::default(),
            hung_inline: AtomicUsize::new(0),
            watch: Watch::default(),
            spread: OnceLock::new(),
            sessions: Lane::new(threads, settings.queue),
            inline: inline.map(|(permits, runtime)| Inline {
                lane: Lane::new(permits, settings.queue),
                workers: Workers::of(&runtime, permits),
                runtime,
            }),
            machine: Mutex::new(Machine::new(Instant::now())),
            calm: AtomicBool::new(false),
            changed: watch::Sender::new(0),
            me: Weak::clone(me),
            lease,
            settings,
        });
        let me: Weak<dyn Neighbour> = slot.me.clone();
        slot.lease.introduce(me);
        slot
    }

    /// What the token said of itself when it was found last.
    pub(crate) fn token(&self) -> Option<Arc<TokenSummary>> {
        self.memory.token()
    }

    /// How a person knows the token, for the log.
    pub(crate) fn name(&self) -> String {
        self.memory.name()
    }

    /// How the module behaves.
    pub(crate) fn profile(&self) -> Profile {
        self.memory.profile()
    }

    /// A session in the hands of a call.
    pub(crate) fn in_hand<'a>(&'a self, session: &'a Session, epoch: Epoch) -> OpenSession<'a> {
        OpenSession::new(&self.lease, &self.memory, session, epoch)
    }

    /// How many sessions may work at once.
    pub(crate) fn capacity(&self) -> usize {
        self.sessions.capacity() + self.inline_capacity()
    }

    /// How many of them are for workers of the runtime.
    fn inline_capacity(&self) -> usize {
        match self.spread.get().map(|spread| spread.inline) {
            Some(InlineCalls::None) => 0,
            Some(InlineCalls::Some) | None => self.inline.as_ref().map_or(0, |inline| inline.lane.capacity()),
        }
    }

    /// What the tests of the token taught; nothing before they ended.
    pub(crate) fn known_good(&self) -> Option<&dyn KnownGood> {
        self.known_good.get().map(|known_good| &**known_good)
    }

    /// Keeps what the tests taught, and spreads calls as fits the module.
    pub(crate) fn learn(&self, known_good: Arc<dyn KnownGood>, computes: Computes, inline: InlineCalls) {
        let _ = self.known_good.set(known_good);
        let _ = self.spread.set(Spread { computes, inline });
        self.fit_to_token();
    }

    /// The most working sessions: by the settings and by what the token says that it allows.
    fn allowed(&self) -> usize {
        let limit = self.token().and_then(|token| token.session_limit);
        let sessions = self.settings.sessions;
        limit.map_or(sessions, |limit| sessions.min(limit.saturating_sub(OTHER_SESSIONS))).max(1)
    }

    /// How many of them may work on session threads.
    fn allowed_threads(&self) -> usize {
        let useful = match (self.spread.get().map(|spread| spread.computes), self.settings.oversubscription) {
            (Some(Computes::Here), Oversubscription::Avoid) => cores() * THREADS_PER_CORE,
            (Some(Computes::Here), Oversubscription::Allow) | (Some(Computes::Elsewhere) | None, _) => usize::MAX,
        };
        self.allowed().saturating_sub(self.inline_capacity()).min(useful).max(1)
    }

    /// Lets so many sessions work as are allowed; if the token refuses some, [`Slot::is_below_allowance`].
    pub(crate) fn fit_to_token(&self) {
        self.sessions.resize(self.allowed_threads());
    }

    /// Whether the token refused sessions that it is said to allow.
    pub(crate) fn is_below_allowance(&self) -> bool {
        self.sessions.capacity() < self.allowed_threads()
    }

    /// When a call that begins now is given up: not before it has been in the module for as long as a call may take. Who waited for
    /// a place for most of its deadline is answered at its end; that the module needs longer than the rest is no hang.
    pub(crate) fn overdue(&self, order: Order, begun: Instant) -> Instant {
        let patience = match order.place {
            Place::Generation => self.settings.generation_deadline,
            Place::Inline | Place::Thread => self.settings.deadline,
        };
        order.deadline.into_std().max(begun + patience)
    }

    /// Those who wait in front of the slot.
    pub(crate) fn waiting(&self) -> usize {
        self.sessions.waiting() + self.inline.as_ref().map_or(0, |inline| inline.lane.waiting())
    }

    /// A session, read-write: some modules refuse read-only ones. It does not close itself when it is dropped.
    pub(crate) fn open(&self, epoch: Epoch) -> Result<Session, Failure> {
        self.lease.context()?.open_rw_session_no_drop(epoch.slot_id.try_into()?)
    }

    /// Waits while the first attempt to recover runs.
    pub(crate) async fn admitted(&self, deadline: tokio::time::Instant) -> Result<()> {
        if self.calm.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let admission = lock(&self.machine).admit();
            match admission {
                Admission::Go => return Ok(()),
                Admission::Refuse(error) => return Err(error),
                Admission::Wait => {
                    timeout_at(deadline, changed.changed()).await.map_err(|_| answer::away())?.map_err(Error::internal)?;
                }
            }
        }
    }

    pub(crate) fn succeeded(&self, epoch: u64) {
        if self.calm.load(Ordering::Acquire) {
            return;
        }
        self.change(|machine, now| machine.succeeded(epoch, now));
    }

    /// A fault of this level, in this epoch.
    pub(crate) fn failed(&self, epoch: u64, level: Level, text: &str) {
        if self.change(|machine, now| machine.failed(epoch, level, text, now)) != Change::None {
            tracing::warn!(token = %self.name(), %level, failure = text, "a fault of the token");
        }
    }

    /// Changes the condition, and tells those who wait for that.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Machine, Instant) -> Change) -> Change {
        let mut machine = lock(&self.machine);
        let changed = change(&mut machine, Instant::now());
        if changed == Change::Ended {
            self.pool.end();
        }
        self.calm.store(machine.is_calm(), Ordering::Release);
        drop(machine);
        if changed != Change::None {
            self.changed.send_modify(|count| *count += 1);
        }
        changed
    }

    /// Looks at the condition.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Machine) -> T) -> T {
        look(&lock(&self.machine))
    }

    /// A call that was written off came back.
    pub(crate) fn came_back(&self, place: Place) {
        self.lease.count_back();
        if place == Place::Inline {
            self.hung_inline.fetch_sub(1, Ordering::AcqRel);
        }
        tracing::info!(token = %self.name(), "a call that was given up came back");
    }

    /// The places on workers of the runtime, if it has enough of them.
    pub(crate) fn inline(&self) -> Option<&Inline> {
        self.inline.as_ref()
    }

    /// The lane of the session threads.
    pub(crate) fn sessions(&self) -> &Arc<Lane> {
        &self.sessions
    }

    /// Waits until the slot serves, or the first attempt failed; says which.
    pub(crate) async fn connected(&self) -> Result<()> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let state = self.look(|machine| match machine.condition() {
                Condition::Serving | Condition::Probing(_) => Some(Ok(())),
                Condition::Closed => Some(Err(health::closed())),
                Condition::Open(_) | Condition::Down(..) => Some(Err(Error::new(Kind::Unavailable, machine.reason()))),
                Condition::Recovering(_) => None,
            });
            match state {
                Some(state) => return state,
                None => changed.changed().await.map_err(Error::internal)?,
            }
        }
    }

    /// Waits until the slot serves; for as long as it takes.
    pub(crate) async fn serving(&self) -> Result<()> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let state = self.look(|machine| machine.condition().clone());
            match state {
                Condition::Serving | Condition::Probing(_) => return Ok(()),
                Condition::Closed => return Err(health::closed()),
                Condition::Open(_) | Condition::Down(..) | Condition::Recovering(_) => {
                    changed.changed().await.map_err(Error::internal)?;
                }
            }
        }
    }

    /// The fast path.
    pub(crate) fn functions(&self) -> &Functions {
        self.lease.functions()
    }
}

impl Neighbour for Slot {
    fn is_serving(&self) -> bool {
        self.look(|machine| matches!(machine.condition(), Condition::Serving))
    }

    fn lost_everything(&self) {
        self.change(Machine::lost_everything);
    }
}

/// Closes a session whose number may have become somebody else's: only if the module says that it is one of this slot.
pub(crate) fn close_if_ours(session: Session, slot_id: u64) {
    if session.get_session_info().is_ok_and(|info| u64::from(info.slot_id()) == slot_id) {
        let _ = session.close();
    }
}

/// How many calls may run inline: as many as there are cores, and never so many that the runtime has no spare workers. `None`
/// on a runtime that is too small, where a call that hangs would take the deadlines with it.
fn inline_permits() -> Option<(usize, Handle)> {
    let runtime = Handle::try_current().ok()?;
    let spare = runtime.metrics().num_workers().checked_sub(SPARE_WORKERS)?;
    Some((spare.min(cores()), runtime)).filter(|(permits, _)| *permits > 0)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
