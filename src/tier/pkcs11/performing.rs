//! What a call does once it has its place: takes a session, calls, mends what is broken of operation and session, gives back.
//!
//! What a failure means is `rv`'s to say. A lost login, token or module is reported to `condition` and mended by `supervisor` and
//! `recovery`; the call is repeated after that, if its deadline allows. Blocks; runs on session threads and, for fast calls, on
//! workers of the runtime.

use std::time::Instant;

use cryptoki::error::Error as Failure;
use cryptoki::session::Session;

use super::calling::{Calling, Fault};
use super::condition;
use super::lane::Permit;
use super::module::Neighbour;
use super::pool::{Back, Fate, Place, Ticket};
use super::rv::{self, Level, Proof, Tell};
use super::slot::{Order, Probe, Slot, close_if_ours};
use crate::base::{Error, Result};

/// How an attempt at a call went.
pub(super) enum Attempt<T, F> {
    Ran(Result<T>),
    /// Something was lost and is being mended: the call may be repeated then.
    Broken(F, Error),
    /// There is no epoch at the moment.
    Between(F),
    /// The token has no session to give.
    NoSession(F),
}

enum Verdict<T> {
    Done(T),
    Refused(Error),
    Broken { level: Level, text: String, error: Error },
    NoSession,
}

enum Once<T> {
    Verdict(Verdict<T>),
    Failed(Failure),
}

impl Slot {
    /// Runs `call` here and now on a session of the pool, and gives the permit back unless somebody else has it by now. The probe ends
    /// with it, after it told how it went.
    pub(super) fn attempt<T, F>(
        &self,
        order: Order,
        permit: Option<Permit>,
        _probe: Option<Probe>,
        call: F,
    ) -> (Attempt<T, F>, Option<Permit>)
    where
        F: Fn(&Calling<'_>) -> Result<T, Fault>,
    {
        let Some(pass) = self.lease.gate().enter() else { return (Attempt::Between(call), permit) };
        let begun = Instant::now();
        let (ticket, session) = match self.pool.check_out(order.place, begun, self.overdue(order, begun), permit) {
            Ok(out) => out,
            Err(permit) => return (Attempt::Between(call), permit),
        };
        if ticket.life.initialisation != pass.initialisation {
            let back = self.pool.check_in(&ticket, None, Fate::Doubt, begun);
            self.lost_everything();
            return (Attempt::Between(call), back.permit);
        }
        let mut held = session;
        let (verdict, fate) = self.perform(&ticket, &mut held, order, &call);
        let ended = Instant::now();
        self.counters.worked(order.operation, ended - begun);
        let back = self.conclude(order.place, &ticket, held, fate, ended);
        if !back.in_time {
            // Its caller was answered long ago; what it made is undone by whoever guards it.
            return (Attempt::Ran(Err(condition::away())), None);
        }
        self.judge(order, &ticket, verdict, back, call)
    }

    /// What came of a call, told to whoever has to know.
    fn judge<T, F>(
        &self,
        order: Order,
        ticket: &Ticket,
        verdict: Verdict<T>,
        back: Back,
        call: F,
    ) -> (Attempt<T, F>, Option<Permit>) {
        let Back { same_epoch, mut permit, .. } = back;
        let attempt = match verdict {
            Verdict::Done(_) | Verdict::Refused(_) if !same_epoch => {
                // A handle of the epoch before may have been another key, and what was not found may have been hidden by a login
                // that was lost: what came of it is not given out.
                Attempt::Broken(call, condition::away())
            }
            Verdict::Done(value) => {
                self.succeeded(ticket.life.epoch);
                Attempt::Ran(Ok(value))
            }
            Verdict::Refused(error) => {
                self.succeeded(ticket.life.epoch);
                Attempt::Ran(Err(error))
            }
            Verdict::Broken { level, text, error } => {
                self.failed(ticket.life.epoch, level, &text);
                match level {
                    Level::Operation | Level::Session => Attempt::Ran(Err(error)),
                    Level::Login | Level::Token | Level::Module => Attempt::Broken(call, error),
                }
            }
            Verdict::NoSession => {
                if order.place == Place::Thread
                    && let Some(permit) = permit.take()
                    && permit.forget()
                {
                    tracing::warn!(token = %self.name(), sessions = self.capacity(), "the token allows no more sessions");
                }
                Attempt::NoSession(call)
            }
        };
        (attempt, permit)
    }

    /// Gives the session of a call back.
    pub(super) fn conclude(&self, place: Place, ticket: &Ticket, held: Option<Session>, fate: Fate, now: Instant) -> Back {
        let mut back = self.pool.check_in(ticket, held, fate, now);
        if let Some(session) = back.to_close.take() {
            match fate {
                Fate::Keep | Fate::Close if back.same_epoch => drop(session.close()),
                Fate::Keep | Fate::Close | Fate::Doubt => close_if_ours(session, ticket.life.slot_id),
            }
        }
        if !back.in_time {
            self.came_back(place);
        }
        back
    }

    /// Runs `call`; mends what is broken of operation and session, and repeats it then, once.
    fn perform<T>(
        &self,
        ticket: &Ticket,
        held: &mut Option<Session>,
        order: Order,
        call: &dyn Fn(&Calling<'_>) -> Result<T, Fault>,
    ) -> (Verdict<T>, Fate) {
        let mut mended = false;
        loop {
            let failure = match self.once(ticket, held, order, call) {
                Once::Verdict(verdict) => return (verdict, Fate::Keep),
                Once::Failed(failure) => failure,
            };
            let meaning = rv::meaning_of(&failure, self.profile());
            if meaning.tell == Tell::Limit && held.is_none() {
                return (Verdict::NoSession, Fate::Doubt);
            }
            let level = match meaning.tell {
                // It was answered twice, and the canary died: no verdict on the input.
                Tell::BadInput => Some(Level::Session),
                // It was found a moment ago, and is refused: a login that was lost, or more.
                Tell::KeyGone => Some(self.why_gone(ticket, held.as_ref(), &meaning)),
                // Of a function without a session there is nothing to mend at first; that it fails again says more.
                Tell::Busy | Tell::Away => meaning.level.or(meaning.persistent.map(|_| Level::Operation)),
                Tell::Limit | Tell::Refused | Tell::Operator | Tell::Fault => meaning.level,
            };
            let Some(level) = level else { return (Verdict::Refused(rv::public(&failure)), Fate::Keep) };
            let fate = match level {
                Level::Operation => Fate::Close,
                Level::Session | Level::Token | Level::Module => Fate::Doubt,
                // The login is a state of the token; the session may well live on.
                Level::Login => Fate::Keep,
            };
            let level = match level {
                Level::Operation | Level::Session if !mended && self.may_repeat(&meaning, order) => {
                    mended = true;
                    tracing::debug!(token = %self.name(), failure = rv::name(&failure), meaning.reason, "a call failed, its session is replaced");
                    self.counters.mended(level);
                    self.replace(ticket, held, level);
                    continue;
                }
                Level::Operation | Level::Session => self.proven(ticket, &meaning, level),
                Level::Login | Level::Token | Level::Module => level,
            };
            return (Verdict::Broken { level, text: rv::name(&failure), error: rv::public_fault(&failure) }, fate);
        }
    }

    /// A handle that was found a moment ago is not known.
    fn why_gone(&self, ticket: &Ticket, held: Option<&Session>, meaning: &rv::Meaning) -> Level {
        let lost = held.is_some_and(|session| Calling::new(self, session, ticket.life).check_login().is_err());
        if lost { Level::Login } else { self.proven(ticket, meaning, Level::Operation) }
    }

    /// What is broken when the repeated call fails likewise: what one key or one input may be at fault for is not believed of the
    /// slot while its canary lives.
    fn proven(&self, ticket: &Ticket, meaning: &rv::Meaning, level: Level) -> Level {
        let Some(persistent) = meaning.persistent else { return level };
        match meaning.proof {
            Proof::Answer => persistent,
            Proof::Canary => match self.open(ticket.life) {
                Ok(session) => {
                    let lives = Calling::new(self, &session, ticket.life).canary_lives();
                    let _ = session.close();
                    if lives { level } else { persistent }
                }
                Err(_) => persistent,
            },
        }
    }

    fn may_repeat(&self, meaning: &rv::Meaning, order: Order) -> bool {
        // Calls that make objects look for what the first try left before they make another.
        meaning.repeat != rv::Repeat::Never && Instant::now() < order.deadline.into_std()
    }

    /// Another session for the call: an idle one when an operation is stuck, a new one when sessions die.
    fn replace(&self, ticket: &Ticket, held: &mut Option<Session>, level: Level) {
        if let Some(session) = held.take() {
            match level {
                Level::Operation => drop(session.close()),
                // What answers no more may have been replaced under its number.
                Level::Session | Level::Login | Level::Token | Level::Module => close_if_ours(session, ticket.life.slot_id),
            }
        }
        if level == Level::Operation {
            *held = self.pool.another(ticket);
        }
    }

    /// Runs `call` once; what looks like bad input is looked at twice.
    fn once<T>(
        &self,
        ticket: &Ticket,
        held: &mut Option<Session>,
        order: Order,
        call: &dyn Fn(&Calling<'_>) -> Result<T, Fault>,
    ) -> Once<T> {
        if held.is_none() {
            match self.open(ticket.life) {
                Ok(session) => *held = Some(session),
                Err(failure) => {
                    self.counters.failed(&failure);
                    return Once::Failed(failure);
                }
            }
        }
        let Some(session) = held.as_ref() else { return Once::Failed(Failure::InvalidValue) };
        let calling = Calling::new(self, session, ticket.life);
        let failure = match self.told(call(&calling)) {
            Once::Failed(failure) => failure,
            verdict @ Once::Verdict(_) => return verdict,
        };
        let is_bad_input = |failure: &Failure| rv::meaning_of(failure, self.profile()).tell == Tell::BadInput;
        if !is_bad_input(&failure) || Instant::now() >= order.deadline.into_std() {
            return Once::Failed(failure);
        }
        // Nobody is told that a ciphertext is wrong because a module stumbled: a known ciphertext must open on the same session,
        // the call must fail again after that, and no other caller may have seen it stumble just now. All of it is in the share of
        // the caller who sent the ciphertext.
        if !calling.canary_lives() {
            self.stumbles.note();
            return Once::Failed(failure);
        }
        match self.told(call(&calling)) {
            Once::Failed(second) if is_bad_input(&second) => {
                let told = if self.stumbles.lately() { rv::public_fault(&second) } else { rv::public(&second) };
                Once::Verdict(Verdict::Refused(told))
            }
            other => {
                self.stumbles.note();
                other
            }
        }
    }

    /// Sorts an answer, and counts a failure of the module.
    fn told<T>(&self, answer: Result<T, Fault>) -> Once<T> {
        match answer {
            Ok(value) => Once::Verdict(Verdict::Done(value)),
            Err(Fault::Ours(error)) => Once::Verdict(Verdict::Refused(error)),
            Err(Fault::Broken(level, text)) => {
                Once::Verdict(Verdict::Broken { level, text: text.to_owned(), error: condition::away().caused_by(text) })
            }
            Err(Fault::Module(failure)) => {
                self.counters.failed(&failure);
                Once::Failed(failure)
            }
        }
    }
}
