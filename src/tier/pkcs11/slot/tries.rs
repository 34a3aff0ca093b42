//! What a call does once it has its place: takes a session, calls, mends what is broken of operation and session, gives back.
//!
//! What a failure means is `answer`'s to say. A lost login, token or module is reported to `health` and mended by `mend`; the call is repeated after that, if its deadline allows. Blocks; runs on session threads and, for fast calls, on
//! workers of the runtime.

use std::time::Instant;

use cryptoki::error::Error as Failure;
use cryptoki::session::Session;

use crate::base::{Error, Result};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::answer::{self, Level, Tell};
use crate::tier::pkcs11::queue::lane::Permit;
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::known_good::{Health, Subject};
use crate::tier::pkcs11::slot::checkout::CheckedOut;
use crate::tier::pkcs11::slot::order::Place;
use crate::tier::pkcs11::slot::order::{Call, Order};
use crate::tier::pkcs11::slot::sessions::{Back, Fate, Ticket};
use crate::tier::pkcs11::slot::slot::{Slot, close_if_ours};
use crate::tier::pkcs11::slot::verdict::{Blame, key_fails};

/// How an attempt at a call went.
pub(crate) enum Attempt<T, F> {
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
    /// Refused for what the caller sent.
    Input(Error),
    Broken {
        level: Level,
        text: String,
        error: Error,
    },
    NoSession,
}

enum Once<'a, T> {
    Verdict(Verdict<T>),
    /// A function failed; which key it was called for.
    Failed(Failure, Option<&'a dyn Subject>),
}

/// The first failure of a call that is repeated.
struct First {
    failure: Failure,
    /// What was replaced.
    level: Level,
    /// Whether it says that the input is no good.
    blames_input: bool,
}

impl Slot {
    /// Runs `call` here and now on a session of the pool, and gives the permit back unless somebody else has it by now.
    pub(crate) fn attempt<T, C: Call<T>>(&self, order: Order, permit: Option<Permit>, call: C) -> (Attempt<T, C>, Option<Permit>) {
        let begun = Instant::now();
        let mut out = match self.check_out(order.place, begun, self.overdue(order, begun), permit) {
            Ok(out) => out,
            Err(permit) => return (Attempt::Between(call), permit),
        };
        let epoch = out.epoch();
        let (verdict, fate) = self.perform(&mut out, order, &call);
        let ended = Instant::now();
        self.counters.worked(order.operation, ended - begun);
        let back = out.conclude(fate, ended);
        if !back.in_time {
            // Its caller was answered long ago; what it made is undone by whoever guards it.
            return (Attempt::Ran(Err(answer::away())), None);
        }
        self.judge(order, epoch, verdict, back, call)
    }

    /// What came of a call, told to whoever has to know.
    fn judge<T, F>(&self, order: Order, epoch: Epoch, verdict: Verdict<T>, back: Back, call: F) -> (Attempt<T, F>, Option<Permit>) {
        let Back { same_epoch, mut permit, .. } = back;
        let attempt = match verdict {
            Verdict::Done(_) | Verdict::Refused(_) | Verdict::Input(_) if !same_epoch => {
                // A handle of the epoch before may have been another key, and what was not found may have been hidden by a login
                // that was lost: what came of it is not given out.
                Attempt::Broken(call, answer::away())
            }
            Verdict::Done(value) => {
                self.succeeded(epoch.number);
                Attempt::Ran(Ok(value))
            }
            Verdict::Refused(error) | Verdict::Input(error) => {
                self.succeeded(epoch.number);
                Attempt::Ran(Err(error))
            }
            Verdict::Broken { level, text, error } => {
                self.failed(epoch.number, level, &text);
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
                    tracing::warn!(token = %self.name(), sessions = self.capacity.sessions(), "the token allows no more sessions");
                }
                Attempt::NoSession(call)
            }
        };
        (attempt, permit)
    }

    /// Runs `call`; mends what is broken of operation and session, and repeats it then, once. Bad input is told from everything else, and
    /// is counted nowhere.
    fn perform<T>(&self, out: &mut CheckedOut<'_>, order: Order, call: &dyn Call<T>) -> (Verdict<T>, Fate) {
        let CheckedOut { ticket, session: held, .. } = out;
        let mut first: Option<First> = None;
        loop {
            let (failure, subject) = match self.once(ticket.epoch, held, call) {
                Once::Verdict(verdict) => {
                    if let Some(first) = &first {
                        self.count(first);
                        if first.blames_input && matches!(verdict, Verdict::Done(_)) {
                            self.stumbles.note();
                        }
                    }
                    return (verdict, Fate::Keep);
                }
                Once::Failed(failure, subject) => (failure, subject),
            };
            let meaning = answer::meaning_of(&failure, self.profile());
            if first.is_none()
                && !self.is_of_failing_key(&failure, &meaning, subject)
                && self.may_repeat(&meaning, order)
                && let Some(level) = self.breaks(ticket.epoch, held.as_ref(), &meaning)
                && level <= Level::Session
            {
                tracing::debug!(token = %self.name(), failure = answer::name(&failure), meaning.reason, "a call failed, its session is replaced");
                self.replace(ticket, held, level);
                first = Some(First { blames_input: answer::blames_input(&failure, self.profile()), failure, level });
                continue;
            }
            let (verdict, fate) = self.sentence((ticket.epoch, held.as_ref()), (&failure, &meaning), subject, first.as_ref());
            if !matches!(verdict, Verdict::Input(_)) {
                first.iter().for_each(|first| self.count(first));
                self.counters.failed(&failure);
            }
            return (verdict, fate);
        }
    }

    /// Counts a failure that was no caller's doing, and that its session was replaced.
    fn count(&self, first: &First) {
        self.counters.failed(&first.failure);
        self.counters.mended(first.level);
    }

    /// What is broken by a failure.
    fn breaks(&self, epoch: Epoch, held: Option<&Session>, meaning: &answer::Meaning) -> Option<Level> {
        match meaning.tell {
            Tell::BadInput => Some(Level::Operation),
            // It was found a moment ago, and is refused: a login that was lost, or more.
            Tell::KeyGone => Some(self.why_gone(epoch, held, meaning)),
            // Of a function without a session there is nothing to mend at first; that it fails again says more.
            Tell::Busy | Tell::Away => meaning.level.or(meaning.persistent.map(|_| Level::Operation)),
            Tell::Limit | Tell::Refused | Tell::Operator | Tell::Fault => meaning.level,
        }
    }

    /// What comes of a failure that is not repeated any more.
    fn sentence<T>(
        &self,
        (epoch, held): (Epoch, Option<&Session>),
        (failure, meaning): (&Failure, &answer::Meaning),
        subject: Option<&dyn Subject>,
        first: Option<&First>,
    ) -> (Verdict<T>, Fate) {
        if meaning.tell == Tell::Limit && held.is_none() {
            return (Verdict::NoSession, Fate::Doubt);
        }
        let Some(level) = self.breaks(epoch, held, meaning) else {
            return (Verdict::Refused(answer::to_caller(failure, self.profile())), Fate::Keep);
        };
        let fate = match level {
            Level::Operation => Fate::Close,
            Level::Session | Level::Token | Level::Module => Fate::Doubt,
            // The login is a state of the token; the session may well live on.
            Level::Login => Fate::Keep,
        };
        let blame = match level {
            Level::Operation | Level::Session if meaning.tell != Tell::KeyGone => {
                self.blame((epoch, held), (failure, meaning), subject, level)
            }
            Level::Operation | Level::Session | Level::Login | Level::Token | Level::Module => Blame::Slot(level),
        };
        let verdict = match blame {
            // Nobody is told that a ciphertext is wrong because a module stumbled: it was refused twice, on two sessions.
            Blame::Input
                if (first.is_some() || meaning.repeat == answer::Repeat::Never)
                    && answer::blames_input(failure, self.profile())
                    && !self.stumbles.lately() =>
            {
                Verdict::Input(answer::bad_input_to_caller(failure))
            }
            Blame::Input => Verdict::Input(answer::fault_to_caller(failure, self.profile())),
            Blame::Request => Verdict::Refused(answer::fault_to_caller(failure, self.profile())),
            Blame::Key => Verdict::Refused(key_fails(failure)),
            Blame::Slot(level) => {
                Verdict::Broken { level, text: answer::name(failure), error: answer::fault_to_caller(failure, self.profile()) }
            }
        };
        (verdict, fate)
    }

    /// A handle that was found a moment ago is not known: the login is lost; or, while what must succeed does, no more than this key is.
    fn why_gone(&self, epoch: Epoch, held: Option<&Session>, meaning: &answer::Meaning) -> Level {
        if held.is_some_and(|session| self.in_hand(session, epoch).check_login().is_err()) {
            return Level::Login;
        }
        let Some(persistent) = meaning.persistent else { return Level::Operation };
        match self.health(epoch, held, |session| session.canary_health()) {
            Health::Works | Health::Unknown => Level::Operation,
            Health::Fails => persistent,
        }
    }

    fn may_repeat(&self, meaning: &answer::Meaning, order: Order) -> bool {
        // Calls that make objects look for what the first try left before they make another.
        meaning.repeat != answer::Repeat::Never && Instant::now() < order.deadline.into_std()
    }

    /// Another session for the call: an idle one when an operation is stuck, a new one when sessions die.
    fn replace(&self, ticket: &Ticket, held: &mut Option<Session>, level: Level) {
        if let Some(session) = held.take() {
            match level {
                Level::Operation => drop(session.close()),
                // What answers no more may have been replaced under its number.
                Level::Session | Level::Login | Level::Token | Level::Module => close_if_ours(session, ticket.epoch.slot_id),
            }
        }
        if level == Level::Operation {
            *held = self.pool.another(ticket);
        }
    }

    /// Runs `call` once. A first answer that was learnt to be about input is believed.
    fn once<'c, T>(&self, epoch: Epoch, held: &mut Option<Session>, call: &'c dyn Call<T>) -> Once<'c, T> {
        if held.is_none() {
            match self.open(epoch) {
                Ok(session) => *held = Some(session),
                Err(failure) => return Once::Failed(failure, None),
            }
        }
        let Some(session) = held.as_ref() else { return Once::Failed(Failure::InvalidValue, None) };
        let open = self.in_hand(session, epoch);
        match call.run(&open) {
            Ok(value) => Once::Verdict(Verdict::Done(value)),
            Err(Fault::Ours(error)) => Once::Verdict(Verdict::Refused(error)),
            Err(Fault::Broken(level, text)) => {
                Once::Verdict(Verdict::Broken { level, text: text.to_owned(), error: answer::away().caused_by(text) })
            }
            Err(Fault::Module(failure)) => Once::Failed(failure, None),
            Err(Fault::Key(failure)) => match call.subject() {
                Some(subject) if self.is_bad_input(&open, &failure, subject) => {
                    Once::Verdict(Verdict::Input(answer::bad_input_to_caller(&failure)))
                }
                subject => Once::Failed(failure, subject),
            },
        }
    }
}
