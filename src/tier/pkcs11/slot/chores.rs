//! What is done for a slot that nobody asked for: whether it is well again is tried, idle sessions are kept alive, sessions that the
//! token refused are asked for again, objects that nobody owns are destroyed.

use std::sync::Arc;
use std::time::Instant;

use cryptoki::session::Session;

use crate::base::lock;
use crate::tier::Share;
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::answer::{self, Level};
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::slot::checkout::CheckedOut;
use crate::tier::pkcs11::slot::condition::{Change, Condition};
use crate::tier::pkcs11::slot::order::{Order, Place};
use crate::tier::pkcs11::slot::sessions::Fate;
use crate::tier::pkcs11::slot::slot::{Slot, close_if_ours};
use crate::tier::pkcs11::slot::status::Operation;
use crate::tier::pkcs11::slot::tries::Attempt;
use crate::tier::pkcs11::slot::watch::Chores;

/// How often idle sessions are looked at in the time that one may be idle.
const ROUNDS: u32 = 4;
/// The most objects whose destruction is still due.
const ORPHANS: usize = 4096;

impl Slot {
    /// Tries whether the slot is well again, by operations that must succeed: no caller's call has to fail for it.
    pub(super) fn probe(self: &Arc<Self>) {
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
    pub(super) fn chores(self: &Arc<Self>, now: Instant) {
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
                    tracing::info!(token = %self.name(), sessions = self.capacity.sessions(), "the token allows more sessions again");
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
