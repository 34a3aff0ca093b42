//! What watches a slot: a thread that gives up overdue calls, begins attempts to recover, and looks after what is idle.
//!
//! A thread and not a task, so that it goes on when calls hold every worker of the runtime. It makes no call into the module
//! itself: what may hang runs on session threads, and is watched, too.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use cryptoki::session::Session;

use crate::base::Error;
use crate::base::lock;
use crate::tier::Share;
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::answer::{self, Level};
use crate::tier::pkcs11::library::registry;
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::slot::checkout::CheckedOut;
use crate::tier::pkcs11::slot::health::{Change, Condition, Failed, Machine, Why};
use crate::tier::pkcs11::slot::mend::{self, Ready};
use crate::tier::pkcs11::slot::order::Order;
use crate::tier::pkcs11::slot::order::Place;
use crate::tier::pkcs11::slot::pin::Answer;
use crate::tier::pkcs11::slot::sessions::{Fate, Occupancy, WrittenOff};
use crate::tier::pkcs11::slot::slot::{Slot, close_if_ours};
use crate::tier::pkcs11::slot::status::Operation;
use crate::tier::pkcs11::slot::tries::Attempt;

/// How often it looks: so much later than its deadline a call is given up.
const TICK: Duration = Duration::from_millis(50);
/// A call that holds a worker of the runtime for so long is not what was measured; later ones go to threads until it is back.
const INLINE_PATIENCE: Duration = Duration::from_millis(50);
/// And for so long it hangs: a machine that is too busy to run it does not hold it up for longer. The spare workers of the runtime
/// are let go.
const RELIEF_PATIENCE: Duration = Duration::from_millis(250);
/// How often idle sessions are looked at in the time that one may be idle.
const ROUNDS: u32 = 4;
/// The first and the longest pause before the token is asked again for the sessions that it refused.
const GROWTH_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// The first and the longest pause between two tries to destroy what nobody owns.
const CLEANING_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// The first and the longest pause between two new initialisations of a module while another slot of it serves.
const DISTURBANCE_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The most objects whose destruction is still due.
const ORPHANS: usize = 4096;

/// What the supervisor remembers.
pub(crate) struct Watch {
    attempt: Mutex<Option<Running>>,
    growth: Mutex<Pause>,
    cleaning: Mutex<Pause>,
    disturbance: Mutex<Pause>,
    kept_alive: Mutex<Instant>,
    chores: Mutex<Chores>,
}

/// One runs at a time, but for those that hang.
#[derive(Default)]
struct Chores {
    /// How many began.
    begun: u64,
    /// When the last one counts as hung; `None` when it has ended.
    overdue: Option<Instant>,
}

/// An attempt that runs.
struct Running {
    at: Whereabouts,
    overdue: Instant,
    /// Whether it was found to be overdue there.
    late: bool,
    /// Whether it was counted as hung.
    hung: bool,
}

/// Whom an attempt waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whereabouts {
    Module,
    /// The library is being loaded.
    Library,
    PinSource,
}

/// A pause that doubles.
struct Pause {
    until: Instant,
    length: Duration,
    bounds: (Duration, Duration),
}

impl Pause {
    fn new(bounds: (Duration, Duration)) -> Self {
        Self { until: Instant::now(), length: bounds.0, bounds }
    }

    /// Whether it is over; then the next one begins.
    fn take(&mut self, now: Instant) -> bool {
        let over = now >= self.until;
        if over {
            self.until = now + self.length;
            self.length = (self.length * 2).min(self.bounds.1);
        }
        over
    }

    fn reset(&mut self) {
        self.length = self.bounds.0;
        self.until = self.until.min(Instant::now() + self.length);
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            attempt: Mutex::default(),
            growth: Mutex::new(Pause::new(GROWTH_PAUSE)),
            cleaning: Mutex::new(Pause::new(CLEANING_PAUSE)),
            disturbance: Mutex::new(Pause::new(DISTURBANCE_PAUSE)),
            kept_alive: Mutex::new(Instant::now()),
            chores: Mutex::default(),
        }
    }
}

/// Watches the slot for as long as somebody has it.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn watch(slot: &Arc<Slot>) -> std::io::Result<()> {
    let watched = Arc::downgrade(slot);
    std::thread::Builder::new().name("pkcs11-watch".to_owned()).spawn(move || look_after(&watched)).map(drop)
}

fn look_after(watched: &Weak<Slot>) {
    loop {
        let Some(slot) = watched.upgrade() else { return };
        let Occupancy { busy, hung, .. } = slot.pool.occupancy();
        if slot.look(|machine| *machine.condition() == Condition::Closed) && busy + hung == 0 {
            return;
        }
        // One that panics is followed by the next one.
        slot.caught(|| slot.tick(Instant::now()));
        let wake = slot.watch.next_look(&slot);
        drop(slot);
        std::thread::sleep(wake);
    }
}

impl Watch {
    fn next_look(&self, slot: &Slot) -> Duration {
        // An attempt that just ended may be followed by another at once.
        if slot.look(|machine| matches!(machine.condition(), Condition::Serving)) { TICK } else { TICK / 10 }
    }
}

impl Slot {
    fn tick(self: &Arc<Self>, now: Instant) {
        self.give_up(now);
        self.watch_inline(now);
        self.watch_attempt(now);
        if !self.too_many_hang() && lock(&self.watch.attempt).is_none() {
            let mut due = None;
            self.change(|machine, now| {
                let before = machine.condition().clone();
                due = machine.begin_attempt(now);
                if *machine.condition() == before { Change::None } else { Change::Moved }
            });
            match due {
                Some(level) => self.begin_attempt(level, now),
                None => {
                    self.probe();
                    self.chores(now);
                }
            }
        }
    }

    /// Overdue calls are given up: their callers were answered, their permits go on.
    fn give_up(&self, now: Instant) {
        let off = self.pool.write_off(now);
        if off.is_empty() {
            return;
        }
        for WrittenOff { place, .. } in &off {
            self.lease.count_hung();
            self.counters.written_off();
            if *place == Place::Inline {
                self.hung_inline.fetch_add(1, Ordering::AcqRel);
            }
        }
        if let Some(epoch) = self.pool.epoch() {
            for _ in &off {
                self.failed(epoch.number, Level::Operation, "a call did not come back in time");
            }
        }
        let hung = self.pool.occupancy().hung;
        tracing::warn!(token = %self.name(), calls = off.len(), hung, "calls are overdue and given up");
    }

    /// More calls hang than may: as long as that lasts the slot is down, and no attempt makes another one hang.
    fn too_many_hang(&self) -> bool {
        let too_many = self.pool.occupancy().hung > self.settings.written_off;
        if too_many {
            self.change(Machine::too_many_hang);
        }
        too_many
    }

    fn watch_inline(&self, now: Instant) {
        let Some(inline) = self.inline() else { return };
        inline.lane.tell();
        let oldest = self.pool.oldest_inline(now);
        let hung = self.hung_inline.load(Ordering::Acquire) > 0;
        let stuck = hung || oldest.is_some_and(|held| held > INLINE_PATIENCE);
        if let Some(relief) = &self.settings.relief
            && (hung || oldest.is_some_and(|held| held > RELIEF_PATIENCE))
        {
            relief.call();
        }
        if self.look(|machine| *machine.condition() == Condition::Closed) || stuck {
            inline.lane.shut();
        } else {
            inline.lane.open();
        }
    }

    /// An attempt that hangs: nobody waits for it, and none is begun beside it, so that no PIN is tried twice.
    fn watch_attempt(&self, now: Instant) {
        let mut attempt = lock(&self.watch.attempt);
        let Some(running) = attempt.as_mut().filter(|running| !running.late && now >= running.overdue) else { return };
        running.late = true;
        match running.at {
            Whereabouts::Module => {
                let counted = std::mem::replace(&mut running.hung, true);
                drop(attempt);
                if !counted {
                    self.lease.count_hung();
                }
                self.change(Machine::attempt_hangs);
                self.lease.tell_if_initialisation_hangs();
                tracing::error!(token = %self.name(), "the recovery of the token hangs in the module");
            }
            Whereabouts::Library => {
                drop(attempt);
                self.tell_that_attempt_waits(Why::Configuration, registry::silent(self.lease.path()).message());
            }
            Whereabouts::PinSource => {
                drop(attempt);
                let text =
                    format!("{} has given no answer for {} s.", self.settings.pin.name(), self.settings.deadline.as_secs_f64());
                self.tell_that_attempt_waits(Why::Pin, &text);
            }
        }
    }

    fn tell_that_attempt_waits(&self, why: Why, text: &str) {
        self.change(|machine, now| machine.attempt_waits(why, text.to_owned(), now));
        tracing::warn!(token = %self.name(), reason = text, "the token cannot be recovered yet");
    }

    /// Loads the library if it is not loaded yet, for an attempt. While that hangs, no function of the module does.
    pub(crate) fn load_library(&self) -> Result<(), Error> {
        if self.lease.is_loaded() {
            return Ok(());
        }
        self.attempt_is_at(Whereabouts::Library);
        let loaded = self.lease.load(Instant::now() + self.settings.deadline);
        self.attempt_is_at(Whereabouts::Module);
        loaded
    }

    /// From now on the attempt that runs, if one does, waits for somebody else.
    fn attempt_is_at(&self, at: Whereabouts) {
        if let Some(running) = lock(&self.watch.attempt).as_mut() {
            (running.at, running.late, running.overdue) = (at, false, Instant::now() + self.settings.deadline);
        }
    }

    /// Asks the source of the PIN, for an attempt. That it takes its time is not the module's fault.
    pub(crate) fn ask_for_pin(&self) -> Answer {
        self.attempt_is_at(Whereabouts::PinSource);
        let answer = self.asked.ask(&*self.settings.pin);
        self.attempt_is_at(Whereabouts::Module);
        answer
    }

    /// What the source of the PIN said last, if it need not be asked again.
    pub(crate) fn pin_lately(&self) -> Option<Answer> {
        self.asked.lately(&*self.settings.pin, Instant::now())
    }

    fn begin_attempt(self: &Arc<Self>, level: Level, now: Instant) {
        *lock(&self.watch.attempt) =
            Some(Running { at: Whereabouts::Module, overdue: now + self.settings.deadline, late: false, hung: false });
        let slot = Arc::clone(self);
        let job = move || {
            // What it had begun is begun anew, and the module is left alone unless it was to be initialised anyway.
            let panicked = || Failed::soon(level.max(Level::Token), "an attempt to recover panicked".to_owned());
            let attempt = || {
                tracing::debug!(token = %slot.name(), %level, "an attempt to recover begins");
                mend::attempt(&slot, level)
            };
            let outcome = slot.caught(attempt).unwrap_or_else(|| Err(panicked()));
            if slot.caught(|| slot.conclude_attempt(outcome)).is_none() {
                // It may have got as far as to say how the attempt ended.
                slot.change(|machine, now| match machine.condition() {
                    Condition::Recovering(_) => machine.attempt_failed(panicked(), now),
                    Condition::Serving | Condition::Probing(_) | Condition::Open(_) | Condition::Down(..) | Condition::Closed => {
                        Change::None
                    }
                });
            }
            slot.end_attempt();
            None
        };
        if let Err(error) = self.threads.run(Box::new(job)) {
            let text = format!("the system gives no thread: {error}");
            self.conclude_attempt(Err(Failed::soon(level, text)));
            self.end_attempt();
        }
    }

    /// Another attempt may begin.
    fn end_attempt(&self) {
        let ended = lock(&self.watch.attempt).take();
        if ended.is_some_and(|running| running.hung) {
            self.lease.count_back();
        }
    }

    fn conclude_attempt(&self, outcome: Result<Ready, Failed>) {
        match outcome {
            Ok(ready) => {
                let level = ready.level;
                let mut ready = Some(ready);
                self.change(|machine, now| match ready.take() {
                    Some(ready) if *machine.condition() != Condition::Closed => {
                        let epoch = ready.begin(self);
                        machine.recovered(epoch, now)
                    }
                    other => {
                        ready = other;
                        Change::None
                    }
                });
                match ready {
                    Some(ready) => ready.discard(self),
                    None => {
                        self.counters.recovered(level);
                        tracing::info!(token = %self.name(), %level, sessions = self.capacity(), "the token serves");
                        lock(&self.watch.disturbance).reset();
                    }
                }
            }
            Err(failed) => {
                self.counters.recovery_failed();
                let text = failed.text.clone();
                let known = self.look(|machine| machine.reason() == text);
                self.change(|machine, now| machine.attempt_failed(failed, now));
                // The same reason again and again is said once.
                if known {
                    tracing::debug!(token = %self.name(), reason = text, "the token cannot be recovered yet");
                } else {
                    tracing::warn!(token = %self.name(), reason = text, "the token cannot be recovered yet");
                }
            }
        }
    }

    /// Whether an attempt may initialise the module anew although another slot of it serves.
    pub(crate) fn may_disturb(&self) -> bool {
        lock(&self.watch.disturbance).take(Instant::now())
    }

    /// Waits until no attempt runs, but for none that hangs. The source of a PIN does not: it ends by itself.
    pub(crate) fn await_attempt(&self, until: Instant) -> bool {
        loop {
            let late = match &*lock(&self.watch.attempt) {
                None => return true,
                Some(running) => running.late && running.at != Whereabouts::PinSource,
            };
            if late || Instant::now() >= until {
                return false;
            }
            std::thread::sleep(TICK / 10);
        }
    }

    /// Tries whether the slot is well again, by operations that must succeed: no caller's call has to fail for it.
    fn probe(self: &Arc<Self>) {
        let mut due = false;
        self.change(|machine, now| {
            due = machine.begin_probe(now);
            Change::None
        });
        if !due {
            return;
        }
        let ended = |slot: &Self| {
            slot.change(|machine, _| {
                machine.probe_is_back();
                Change::None
            });
        };
        let slot = Arc::clone(self);
        let job = move || {
            // How it went is told to the condition as that of any call is.
            let _ = slot.attempt(slot.own_order(), None, |session: &OpenSession<'_>| slot.check_health(session));
            ended(&slot);
            None
        };
        if self.threads.run(Box::new(job)).is_err() {
            ended(self);
        }
    }

    /// What is done for a slot that serves: keeping sessions alive, asking again for refused ones, destroying what nobody owns.
    fn chores(self: &Arc<Self>, now: Instant) {
        if !self.look(|machine| matches!(machine.condition(), Condition::Serving)) {
            return;
        }
        let mut chores = lock(&self.watch.chores);
        // One that hangs is counted with the calls that do, and does not keep the next from beginning.
        if chores.overdue.is_some_and(|overdue| now < overdue) {
            return;
        }
        let chore: fn(&Self, Instant) = if !lock(&self.orphans).is_empty() && lock(&self.watch.cleaning).take(now) {
            Self::destroy_orphans
        } else if self.is_below_allowance() && lock(&self.watch.growth).take(now) {
            Self::grow
        } else if now.saturating_duration_since(*lock(&self.watch.kept_alive)) >= self.settings.keepalive / ROUNDS {
            *lock(&self.watch.kept_alive) = now;
            Self::keep_alive
        } else {
            return;
        };
        // No call of it begins after that, so that it ends in time if its calls do.
        let last_call = now + self.settings.deadline;
        *chores = Chores { begun: chores.begun + 1, overdue: Some(last_call + self.settings.deadline) };
        let number = chores.begun;
        drop(chores);
        let slot = Arc::clone(self);
        let job = move || {
            slot.caught(|| chore(&slot, last_call));
            slot.end_chore(number);
            None
        };
        if self.threads.run(Box::new(job)).is_err() {
            self.end_chore(number);
        }
    }

    fn end_chore(&self, number: u64) {
        let mut chores = lock(&self.watch.chores);
        if chores.begun == number {
            chores.overdue = None;
        }
    }
}

impl Slot {
    /// Chores are calls of the service itself.
    fn own_order(&self) -> Order {
        let deadline = tokio::time::Instant::now() + self.settings.deadline;
        Order { operation: Operation::Upkeep, share: Share::default(), place: Place::Thread, deadline }
    }

    fn check_out_for_upkeep(&self) -> Option<CheckedOut<'_>> {
        let now = Instant::now();
        self.check_out(Place::Thread, now, now + self.settings.deadline, None).ok()
    }

    /// Objects that nobody was told of. Without a permit: whoever gave up may have given up because none came free.
    fn destroy_orphans(&self, last_call: Instant) {
        let due: Vec<_> = lock(&self.orphans).clone();
        for id in due {
            if Instant::now() >= last_call {
                return;
            }
            let call = |session: &OpenSession<'_>| session.destroy(&id);
            match self.attempt(self.own_order(), None, call).0 {
                Attempt::Ran(Ok(())) => {
                    lock(&self.orphans).retain(|other| *other != id);
                    lock(&self.watch.cleaning).reset();
                }
                Attempt::Ran(Err(_)) | Attempt::Broken(..) | Attempt::Between(_) | Attempt::NoSession(_) => return,
            }
        }
    }

    /// Asks for one of the sessions that the token refused; when it gives it, it may give the others.
    fn grow(&self, _last_call: Instant) {
        let Some(out) = self.check_out_for_upkeep() else { return };
        if let Ok(session) = self.open(out.epoch()) {
            match self.pool.add_idle(out.epoch(), session) {
                Ok(()) => {
                    self.fit_to_token();
                    lock(&self.watch.growth).reset();
                    tracing::info!(token = %self.name(), sessions = self.capacity(), "the token allows more sessions again");
                }
                Err(session) => close_if_ours(session, out.epoch().slot_id),
            }
        }
        out.conclude(Fate::Keep, Instant::now());
    }

    /// A real operation on every session that was idle for long, so that nothing between here and the token drops it; the
    /// login is looked at on the way.
    fn keep_alive(&self, last_call: Instant) {
        // What is not due now must last until the next round.
        let Some(since) = Instant::now().checked_sub(self.settings.keepalive - self.settings.keepalive / ROUNDS) else { return };
        while Instant::now() < last_call
            && let Some(out) = self.check_out_cold(Instant::now() + self.settings.deadline, since)
        {
            let epoch = out.epoch();
            let Some((fate, fault)) = out.session.as_ref().map(|session| self.ping(session, epoch)) else { return };
            out.conclude(fate, Instant::now());
            if let Some((level, text)) = fault {
                self.failed(epoch.number, level, &text);
                return;
            }
        }
        self.keep_login_alive();
    }

    fn keep_login_alive(&self) {
        let Some(out) = self.check_out_for_upkeep() else { return };
        let epoch = out.epoch();
        let login = out.borrow_login();
        let pinged = login.as_ref().and_then(|login| login.session()).map(|session| self.ping(session, epoch));
        drop(login);
        let fault = match pinged {
            None => None,
            Some((Fate::Keep, fault) | (Fate::Close | Fate::Doubt, fault @ Some(_))) => fault,
            // Nobody replaces it but a login, and with it went the canary.
            Some((Fate::Close | Fate::Doubt, None)) => Some((Level::Login, "the session that holds the login is gone".to_owned())),
        };
        out.conclude(Fate::Keep, Instant::now());
        if let Some((level, text)) = fault {
            self.failed(epoch.number, level, &text);
        }
    }

    /// What becomes of a session that was asked for random bytes, and what is broken.
    fn ping(&self, session: &Session, epoch: Epoch) -> (Fate, Option<(Level, String)>) {
        match self.in_hand(session, epoch).ping() {
            Ok(()) => (Fate::Keep, None),
            Err(Fault::Ours(_)) => (Fate::Close, None),
            Err(Fault::Broken(level, text)) => (Fate::Keep, Some((level, text.to_owned()))),
            Err(Fault::Module(failure) | Fault::Key(failure)) => {
                self.counters.failed(&failure);
                match answer::meaning_of(&failure, self.profile()).level {
                    None | Some(Level::Operation) => (Fate::Close, None),
                    // A session that died of idleness is replaced; that is what this is for.
                    Some(Level::Session) => (Fate::Doubt, None),
                    Some(level @ (Level::Login | Level::Token | Level::Module)) => {
                        (Fate::Doubt, Some((level, answer::name(&failure))))
                    }
                }
            }
        }
    }

    /// An object of this id is to be destroyed as soon as that is possible.
    pub(crate) fn orphan(&self, id: Vec<u8>) {
        let mut orphans = lock(&self.orphans);
        if orphans.len() < ORPHANS {
            orphans.push(id);
        } else {
            let id = String::from_utf8_lossy(&id).into_owned();
            tracing::error!(token = %self.name(), cka_id = id, "an object that nobody owns may stay in the token");
        }
    }
}
