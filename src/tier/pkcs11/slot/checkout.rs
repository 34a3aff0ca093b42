//! A call on the list of the pool: with a pass into the module, a place on the list and, most of the time, a session.
//!
//! Made for calls by `tries` and for the slot's own chores by `chores`. The call stays on the list until the last function
//! that it calls has returned, C_GetSessionInfo and C_CloseSession of its own session included: what is not on the list is not
//! given up when it hangs, and recovery would close sessions and finalise the module under it. A [`CheckedOut`] that is dropped
//! instead of concluded, as by a panic, leaves the list in the same way.

use std::time::Instant;

use cryptoki::session::Session;

use crate::base::lock;
use crate::tier::pkcs11::library::gate::Pass;
use crate::tier::pkcs11::library::module::Neighbour;
use crate::tier::pkcs11::queue::lane::Permit;
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::slot::order::Place;
use crate::tier::pkcs11::slot::sessions::{Back, CheckIn, Closing, Fate, Ticket};
use crate::tier::pkcs11::slot::slot::{Login, Slot, close_if_ours};

/// A call that is on the list.
pub(crate) struct CheckedOut<'a> {
    slot: &'a Slot,
    place: Place,
    pub(crate) ticket: Ticket,
    /// The session, once the call has one.
    pub(crate) session: Option<Session>,
    state: State,
    /// Given back last: the module is not finalised before.
    pass: Pass<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Listed,
    Concluded,
}

impl Slot {
    /// Puts a call on the list; it gets an idle session if there is one.
    ///
    /// # Errors
    /// There is no epoch at the moment: the permit comes back.
    pub(crate) fn check_out(
        &self,
        place: Place,
        begun: Instant,
        overdue: Instant,
        permit: Option<Permit>,
    ) -> Result<CheckedOut<'_>, Option<Permit>> {
        let Some(pass) = self.lease.gate().enter() else { return Err(permit) };
        let (ticket, session) = self.pool.check_out(place, begun, overdue, permit)?;
        self.checked_out(CheckedOut { slot: self, place, ticket, session, state: State::Listed, pass })
    }

    /// Puts a call of the slot itself on the list, with a session that nobody has used since; `None` when there is none.
    pub(crate) fn check_out_cold(&self, overdue: Instant, since: Instant) -> Option<CheckedOut<'_>> {
        let pass = self.lease.gate().enter()?;
        let (ticket, session) = self.pool.check_out_cold(overdue, since)?;
        let out = CheckedOut { slot: self, place: Place::Thread, ticket, session: Some(session), state: State::Listed, pass };
        self.checked_out(out).ok()
    }

    /// What was opened before the present C_Initialize is not used.
    fn checked_out<'a>(&self, out: CheckedOut<'a>) -> Result<CheckedOut<'a>, Option<Permit>> {
        if out.is_of_the_present_initialisation() {
            return Ok(out);
        }
        let back = out.conclude(Fate::Doubt, Instant::now());
        self.lost_everything();
        Err(back.permit)
    }
}

impl CheckedOut<'_> {
    /// The epoch that it belongs to.
    pub(crate) fn epoch(&self) -> Epoch {
        self.ticket.epoch
    }

    /// Takes the session that holds the login of this epoch, for as long as the call is on the list.
    pub(crate) fn borrow_login(&self) -> Option<BorrowedLogin<'_>> {
        let login = lock(&self.slot.login).take_if(|login| login.epoch == self.ticket.epoch);
        login.map(|login| BorrowedLogin { out: self, login: Some(login) })
    }

    fn is_of_the_present_initialisation(&self) -> bool {
        self.ticket.epoch.initialisation == self.pass.initialisation
    }

    /// Gives the session back or closes it, and takes the call off the list then.
    pub(crate) fn conclude(mut self, fate: Fate, now: Instant) -> Back {
        self.leave(fate, now)
    }

    fn leave(&mut self, fate: Fate, now: Instant) -> Back {
        self.state = State::Concluded;
        let mut session = self.session.take();
        loop {
            match self.slot.pool.check_in(&self.ticket, session.take(), fate, now) {
                CheckIn::Done(back) => {
                    if !back.in_time {
                        self.slot.came_back(self.place);
                    }
                    return back;
                }
                CheckIn::CloseFirst(session, how) => self.close(session, how),
            }
        }
    }

    fn close(&self, session: Session, how: Closing) {
        // Under another C_Initialize its number is that of another session.
        if !self.is_of_the_present_initialisation() {
            return;
        }
        match how {
            Closing::Known => drop(session.close()),
            Closing::IfOurs => close_if_ours(session, self.ticket.epoch.slot_id),
        }
    }
}

impl Drop for CheckedOut<'_> {
    fn drop(&mut self) {
        if self.state == State::Listed {
            // Nobody said what became of the session.
            self.leave(Fate::Doubt, Instant::now());
        }
    }
}

/// The session that holds the login, in the hands of a call. It goes back when this is dropped, unless its epoch is over: a newer
/// login may be there, or is on its way, and this session is closed.
pub(crate) struct BorrowedLogin<'a> {
    out: &'a CheckedOut<'a>,
    login: Option<Login>,
}

impl BorrowedLogin<'_> {
    pub(crate) fn session(&self) -> Option<&Session> {
        self.login.as_ref().map(|login| &login.session)
    }
}

impl Drop for BorrowedLogin<'_> {
    fn drop(&mut self) {
        let Some(login) = self.login.take() else { return };
        let slot = self.out.slot;
        let mut place = lock(&slot.login);
        // Attempts begin when the epoch has ended, and look for a login here: what is put back before that they find.
        if place.is_none() && slot.pool.epoch() == Some(login.epoch) {
            *place = Some(login);
            return;
        }
        drop(place);
        self.out.close(login.session, Closing::IfOurs);
    }
}
