//! The sessions of a slot and the calls that run on them.
//!
//! One mutex, taken twice a call. Idle sessions are taken last in, first out. A call is on the list from its check-out to its
//! check-in, and is not checked in before the last function that it calls has returned; one that does not come back in time is
//! *written off*: its caller was answered, its permit goes to somebody else, and its session is closed when it comes back after
//! all. Sessions belong to an epoch: what comes back from an earlier one is not used again. It knows no PKCS #11 function: what is
//! to be closed is closed by `checkout`, while the call is on the list.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::session::Session;
use tokio::sync::Notify;

use crate::tier::pkcs11::queue::lane::Permit;
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::slot::order::Place;

/// A call that was checked out.
pub(crate) struct Ticket {
    number: u64,
    pub(crate) epoch: Epoch,
}

/// What becomes of the session of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It serves the next one.
    Keep,
    /// It is closed: an operation may be active in it.
    Close,
    /// The module may not know it any more, and its number may be somebody else's by now: it is closed with care.
    Doubt,
}

/// How a call came back.
pub(crate) struct Back {
    /// Whether somebody still counted on it.
    pub(crate) in_time: bool,
    /// Whether its epoch is still the present one.
    pub(crate) same_epoch: bool,
    /// That of the call, unless it was written off.
    pub(crate) permit: Option<Permit>,
}

/// What comes of a check-in.
pub(crate) enum CheckIn {
    /// The call is off the list.
    Done(Back),
    /// The call is still on the list: this session is closed first.
    CloseFirst(Session, Closing),
}

/// How a session is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// At once: it is known to be ours.
    Known,
    /// If the module says that it is ours: its number may be somebody else's by now.
    IfOurs,
}

/// A call that was written off.
pub(crate) struct WrittenOff {
    pub(crate) place: Place,
    /// Given back when this is dropped.
    pub(crate) _permit: Option<Permit>,
}

/// Sessions and calls as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupancy {
    pub(crate) idle: usize,
    pub(crate) busy: usize,
    pub(crate) hung: usize,
}

/// The sessions of a slot.
#[derive(Default)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    emptied: Condvar,
    freed: Notify,
}

#[derive(Default)]
struct Inner {
    epoch: Option<Epoch>,
    /// The present epoch or the last one.
    last: Option<Epoch>,
    idle: Vec<Idle>,
    running: Vec<Running>,
    hung: usize,
    calls: u64,
}

struct Idle {
    session: Session,
    used: Instant,
}

struct Running {
    number: u64,
    place: Place,
    begun: Instant,
    overdue: Instant,
    permit: Option<Permit>,
}

impl Pool {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a call on the list; it gets an idle session if there is one.
    ///
    /// # Errors
    /// No epoch: the permit comes back.
    pub(crate) fn check_out(
        &self,
        place: Place,
        begun: Instant,
        overdue: Instant,
        permit: Option<Permit>,
    ) -> Result<(Ticket, Option<Session>), Option<Permit>> {
        let mut inner = self.inner();
        let Some(epoch) = inner.epoch else { return Err(permit) };
        inner.calls += 1;
        let number = inner.calls;
        inner.running.push(Running { number, place, begun, overdue, permit });
        let session = inner.idle.pop().map(|idle| idle.session);
        Ok((Ticket { number, epoch }, session))
    }

    /// An idle session of the same epoch, for a call that lost its own.
    pub(crate) fn another(&self, ticket: &Ticket) -> Option<Session> {
        let mut inner = self.inner();
        if inner.epoch == Some(ticket.epoch) { inner.idle.pop().map(|idle| idle.session) } else { None }
    }

    /// Takes a call off the list, unless its session is to be closed: that is done before, and then it is checked in without one.
    pub(crate) fn check_in(&self, ticket: &Ticket, session: Option<Session>, fate: Fate, now: Instant) -> CheckIn {
        let mut inner = self.inner();
        let at = inner.running.iter().position(|running| running.number == ticket.number);
        let same_epoch = inner.epoch == Some(ticket.epoch);
        match (session, fate) {
            (None, _) => {}
            // A session that was given up is one more than there are permits.
            (Some(session), Fate::Keep) if same_epoch && at.is_some() => inner.idle.push(Idle { session, used: now }),
            (Some(session), Fate::Keep | Fate::Close) if same_epoch => return CheckIn::CloseFirst(session, Closing::Known),
            (Some(session), Fate::Keep | Fate::Close | Fate::Doubt) => return CheckIn::CloseFirst(session, Closing::IfOurs),
        }
        let permit = match at {
            Some(at) => inner.running.swap_remove(at).permit,
            None => {
                inner.hung -= 1;
                None
            }
        };
        let empty = inner.running.is_empty();
        drop(inner);
        if empty {
            self.emptied.notify_all();
        }
        self.freed.notify_one();
        CheckIn::Done(Back { in_time: at.is_some(), same_epoch, permit })
    }

    /// Waits until a call gives its session back; at once when one did since the last wait.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Gives up the calls that are overdue.
    pub(crate) fn write_off(&self, now: Instant) -> Vec<WrittenOff> {
        let mut inner = self.inner();
        let mut off = Vec::new();
        let mut at = 0;
        while let Some(running) = inner.running.get(at) {
            if running.overdue <= now {
                let Running { place, permit, .. } = inner.running.swap_remove(at);
                inner.hung += 1;
                off.push(WrittenOff { place, _permit: permit });
            } else {
                at += 1;
            }
        }
        let empty = inner.running.is_empty();
        drop(inner);
        if empty && !off.is_empty() {
            self.emptied.notify_all();
        }
        off
    }

    /// How long the oldest call has held its worker of the runtime.
    pub(crate) fn oldest_inline(&self, now: Instant) -> Option<Duration> {
        let inner = self.inner();
        let inline = inner.running.iter().filter(|running| running.place == Place::Inline);
        inline.map(|running| now.saturating_duration_since(running.begun)).max()
    }

    /// Begins an epoch, with the sessions that are still good.
    pub(crate) fn begin(&self, epoch: Epoch, kept: Vec<Session>) {
        let mut inner = self.inner();
        (inner.epoch, inner.last) = (Some(epoch), Some(epoch));
        let used = Instant::now();
        inner.idle.extend(kept.into_iter().map(|session| Idle { session, used }));
    }

    /// Ends the epoch: no call begins any more.
    pub(crate) fn end(&self) {
        self.inner().epoch = None;
    }

    /// The present epoch.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.inner().epoch
    }

    /// The present epoch, or the last one.
    pub(crate) fn last_epoch(&self) -> Option<Epoch> {
        self.inner().last
    }

    /// Takes all idle sessions.
    pub(crate) fn take_idle(&self) -> Vec<Session> {
        self.inner().idle.drain(..).map(|idle| idle.session).collect()
    }

    /// Puts a call on the list with a session that nobody has used since; `None` when there is none.
    pub(crate) fn check_out_cold(&self, overdue: Instant, since: Instant) -> Option<(Ticket, Session)> {
        let begun = Instant::now();
        let mut inner = self.inner();
        let epoch = inner.epoch?;
        let at = inner.idle.iter().position(|idle| idle.used <= since)?;
        let session = inner.idle.remove(at).session;
        inner.calls += 1;
        let number = inner.calls;
        inner.running.push(Running { number, place: Place::Thread, begun, overdue, permit: None });
        Some((Ticket { number, epoch }, session))
    }

    /// Adds an idle session of this epoch; gives it back when the epoch is over.
    pub(crate) fn add_idle(&self, epoch: Epoch, session: Session) -> Result<(), Session> {
        let mut inner = self.inner();
        if inner.epoch != Some(epoch) {
            return Err(session);
        }
        // At the cold end: what was used last is taken first.
        inner.idle.insert(0, Idle { session, used: Instant::now() });
        drop(inner);
        self.freed.notify_one();
        Ok(())
    }

    /// Waits until no call runs that somebody counts on, at most until `until`.
    pub(crate) fn drain(&self, until: Instant) -> bool {
        let mut inner = self.inner();
        while !inner.running.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            inner = self.emptied.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The numbers.
    pub(crate) fn occupancy(&self) -> Occupancy {
        let inner = self.inner();
        Occupancy { idle: inner.idle.len(), busy: inner.running.len(), hung: inner.hung }
    }
}
