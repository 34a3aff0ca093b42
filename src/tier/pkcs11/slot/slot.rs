//! A slot in use: everything that belongs to one token, and the changes of its condition.
//!
//! Calls come by `door` and run in `tries`; `watchdog` and `mend` look after the slot. All of them change the condition by `admission`
//! here, so that whoever waits for a change is told, and the epoch ends before anybody is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use cryptoki::error::Error as Failure;
use cryptoki::session::Session;
use tokio::sync::watch;

use crate::tier::Ability;
use crate::tier::pkcs11::answer::Profile;
use crate::tier::pkcs11::library::computes::Computes;
use crate::tier::pkcs11::library::functions::Functions;
use crate::tier::pkcs11::library::lease::Lease;
use crate::tier::pkcs11::library::module::Neighbour;
use crate::tier::pkcs11::library::token::TokenSummary;
use crate::tier::pkcs11::queue::threads::Threads;
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::known_good::KnownGood;
use crate::tier::pkcs11::session::memory::TokenMemory;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::settings::Settings;
use crate::tier::pkcs11::slot::capacity::{Capacity, InlineCalls};
use crate::tier::pkcs11::slot::condition::Condition;
use crate::tier::pkcs11::slot::counters::Counters;
use crate::tier::pkcs11::slot::health::Machine;
use crate::tier::pkcs11::slot::notes::LoginNotesInMemory;
use crate::tier::pkcs11::slot::order::{Order, Place};
use crate::tier::pkcs11::slot::pin::Asked;
use crate::tier::pkcs11::slot::sessions::Pool;
use crate::tier::pkcs11::slot::stumbles::Stumbles;
use crate::tier::pkcs11::slot::suspects::Suspects;
use crate::tier::pkcs11::slot::vouchers::Vouchers;
use crate::tier::pkcs11::slot::watch::Watch;

/// A session that holds the login.
pub(crate) struct Login {
    pub(crate) session: Session,
    pub(crate) epoch: Epoch,
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
    pub(crate) capacity: Capacity,
    pub(super) machine: Mutex<Machine>,
    /// Whether a success changes nothing: saves the lock.
    pub(super) calm: AtomicBool,
    /// Counts the changes of the condition: whoever waits for one looks here.
    pub(super) changed: watch::Sender<u64>,
    me: Weak<Slot>,
}

impl Slot {
    /// The watchdog loads the module and connects to the token.
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let lease = Lease::of(&settings.module);
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
            capacity: Capacity::new(&settings),
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

    /// What the tests of the token taught; nothing before they ended.
    pub(crate) fn known_good(&self) -> Option<&dyn KnownGood> {
        self.known_good.get().map(|known_good| &**known_good)
    }

    /// Keeps what the tests taught, and spreads calls as fits the module.
    pub(crate) fn learn(&self, known_good: Arc<dyn KnownGood>, computes: Computes, inline: InlineCalls) {
        let _ = self.known_good.set(known_good);
        self.capacity.learn(computes, inline);
        self.fit_to_token();
    }

    /// Lets so many sessions work as the settings and the token allow; the token may refuse some all the same.
    pub(crate) fn fit_to_token(&self) {
        self.capacity.fit(&self.settings, self.token().as_deref());
    }

    /// Whether the token refused sessions that it is said to allow.
    pub(crate) fn is_below_allowance(&self) -> bool {
        self.capacity.is_below_allowance(&self.settings, self.token().as_deref())
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

    /// A session, read-write: some modules refuse read-only ones. It does not close itself when it is dropped.
    pub(crate) fn open(&self, epoch: Epoch) -> Result<Session, Failure> {
        self.lease.context()?.open_rw_session_no_drop(epoch.slot_id.try_into()?)
    }

    /// A call that was written off came back.
    pub(crate) fn came_back(&self, place: Place) {
        self.lease.count_back();
        if place == Place::Inline {
            self.hung_inline.fetch_sub(1, Ordering::AcqRel);
        }
        tracing::info!(token = %self.name(), "a call that was given up came back");
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
