//! The login to a token: C_Login, at most once an attempt, and never with a PIN that a note speaks against.
//!
//! A part of `recovery`, which calls [`log_in`] with an open session. A PIN that has to be asked for is asked for by `recovery`, outside
//! of the module: its source may be a program that takes its time. What an answer of C_Login says of the PIN is `rv`'s to say, what
//! follows from it for the next login is `notes`'.

use std::time::Duration;

use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::types::AuthPin;

use crate::base::{Clock as _, Pin, Result, SystemClock};
use crate::tier::pkcs11::answer::{self, Level, LoginAnswer, Refusal};
use crate::tier::pkcs11::library::token::{PinState, TokenName, TokenSummary};
use crate::tier::pkcs11::settings::FlagsPolicy;
use crate::tier::pkcs11::slot::condition::{Failed, Then, Why};
use crate::tier::pkcs11::slot::notes::{LoginNotes as _, Note, Stop};
use crate::tier::pkcs11::slot::pin::Answer;
use crate::tier::pkcs11::slot::slot::Slot;

/// How often it is looked whether a login may be tried again: somebody may have allowed it, or logged in meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// Why nobody logged in.
pub(crate) enum Halt {
    /// The PIN must be asked for first.
    PinNeeded,
    /// The attempt failed.
    Failed(Failed),
}

impl From<Failed> for Halt {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// Logs in on `session`, unless somebody is logged in. `answer` is what the source of the PIN said, if it was asked. The next attempt
/// begins at `next` when the module fails without having looked at the PIN.
pub(crate) fn log_in(
    slot: &Slot,
    session: &Session,
    token: &TokenSummary,
    answer: Option<&Answer>,
    next: Level,
) -> std::result::Result<(), Halt> {
    match session.get_session_info() {
        Ok(info) if matches!(info.session_state(), SessionState::RwUser | SessionState::RoUser) => return Ok(()),
        Ok(_) => {}
        Err(failure) => return Err(Failed::soon(next, answer::name(&failure)).into()),
    }
    look_at_flags(token, slot.settings.pin_flags)?;
    let Some(answer) = answer else { return Err(Halt::PinNeeded) };
    let pin = answer.pin.as_ref().map_err(|text| Failed::down(Why::Pin, text.clone()))?;
    let name = slot.settings.token.name(&token.serial, Some(&token.label));
    let login = Login { slot, token, name, pin };
    let known = login.known().map_err(|error| Failed::down(Why::Pin, error.message().to_owned()))?;
    match Note::next(known, token.pin_state, SystemClock.now(), slot.settings.login_pause) {
        Ok(_) if answer.stopped.is_some() => Err(Halt::PinNeeded),
        Ok(unclear) => {
            // Whatever ends the process from here on leaves a login that got no answer.
            let noted = login.note(Some(Note::Unclear(unclear)));
            if let Err(error) = noted {
                tracing::warn!(
                    token = token.label,
                    ?error,
                    "a login is noted in memory alone: it could not be noted where it outlives the process"
                );
            }
            Ok(login.call(session, known, unclear.logins, next)?)
        }
        Err(stop) => Err(login.stopped(stop, answer).into()),
    }
}

/// CKF_USER_PIN_FINAL_TRY and CKF_USER_PIN_LOCKED stop every login, unless the operator knows better.
fn look_at_flags(token: &TokenSummary, policy: FlagsPolicy) -> std::result::Result<(), Failed> {
    let text = match (token.pin_state, policy) {
        (PinState::Fine | PinState::CountLow, _) | (PinState::FinalTry | PinState::Locked, FlagsPolicy::Ignore) => return Ok(()),
        (PinState::FinalTry, FlagsPolicy::Obey) => format!(
            "The token {} has one PIN try left and is not logged in to: log in once with another program, with the right PIN.",
            token.label
        ),
        (PinState::Locked, FlagsPolicy::Obey) => {
            format!("The user PIN of the token {} is locked: its security officer must set it anew.", token.label)
        }
    };
    Err(Failed::down(Why::PinLocked, text))
}

/// A login to one token with one PIN.
struct Login<'a> {
    slot: &'a Slot,
    token: &'a TokenSummary,
    name: TokenName,
    pin: &'a Pin,
}

impl Login<'_> {
    /// What is known of the PIN. Notes in memory are those that could not be written to where they outlive the process.
    fn known(&self) -> Result<Option<Note>> {
        let kept = self.slot.settings.login_notes.read(&self.name, self.pin)?;
        let in_memory = self.slot.unnoted.read(&self.name, self.pin)?;
        Ok(kept.into_iter().chain(in_memory).reduce(Note::stricter))
    }

    /// Notes it where it outlives the process; in memory when that fails, for which the error is given.
    fn note(&self, note: Option<Note>) -> Result<()> {
        let kept = self.slot.settings.login_notes.write(&self.name, self.pin, note);
        self.slot.unnoted.write(&self.name, self.pin, if kept.is_ok() { None } else { note })?;
        kept
    }

    /// C_Login, the number `logins` of those in a row without a clear answer unless this one gets one. `known` is what was noted before.
    fn call(&self, session: &Session, known: Option<Note>, logins: u8, next: Level) -> std::result::Result<(), Failed> {
        let Self { slot, token, .. } = self;
        slot.counters.login();
        let pin = AuthPin::new(self.pin.expose().to_owned().into_boxed_str());
        let Err(failure) = session.login(UserType::User, Some(&pin)) else {
            slot.asked.forget();
            self.log_if_not_noted(self.accepted());
            return Ok(());
        };
        let label = &token.label;
        let answered = answer::name(&failure);
        let failed = match answer::login_answer(&failure, slot.profile()) {
            LoginAnswer::LoggedIn => {
                slot.asked.forget();
                self.log_if_not_noted(self.note(known));
                return Ok(());
            }
            LoginAnswer::NotLookedAt => {
                self.log_if_not_noted(self.note(known));
                Failed::soon(next, format!("The login to the token {label} failed: {answered}."))
            }
            LoginAnswer::Refused(refusal) => {
                let noted = self.note(Some(Note::Refused));
                let unnoted = if noted.is_ok() { "" } else { " That could not be noted for the next start." };
                self.log_if_not_noted(noted);
                let (why, text) = refused(refusal, label);
                self.stop(why, text + unnoted)
            }
            LoginAnswer::Unclear => self.unclear(logins, &answered),
        };
        // Counted when everything is noted: whoever sees the count may allow another try, and that must not be undone.
        slot.counters.failed(&failure);
        Err(failed)
    }

    fn accepted(&self) -> Result<()> {
        self.slot.unnoted.accepted(&self.name, self.pin)?;
        self.slot.settings.login_notes.accepted(&self.name, self.pin)
    }

    fn log_if_not_noted(&self, noted: Result<()>) {
        if let Err(error) = noted {
            tracing::error!(
                token = self.token.label,
                ?error,
                "the answer of a login could not be noted where it outlives the process"
            );
        }
    }

    /// The answer does not say whether the PIN is right. The note that stands says so.
    fn unclear(&self, logins: u8, answered: &str) -> Failed {
        let label = &self.token.label;
        let said = format!("The login to the token {label} failed: {answered}, which does not say whether the PIN is right.");
        if logins < Note::MOST_UNCLEAR {
            let pause = self.slot.settings.login_pause;
            let text = format!("{said} It is tried once more after {} s.", pause.as_secs());
            // Whatever else is broken is mended before the one login that is left.
            return Failed { next: Level::Module, text, then: Then::After(pause) };
        }
        self.stop(Why::Pin, format!("{said} It was the second login in a row that ended so. {NOT_AGAIN}"))
    }

    /// Nobody logs in with the PIN before a person has helped.
    fn stop(&self, why: Why, text: String) -> Failed {
        self.slot.asked.stop(why, &text);
        Failed::down(why, text)
    }

    /// A note speaks against a login with the PIN that the source gave in `answer`.
    fn stopped(&self, stop: Stop, answer: &Answer) -> Failed {
        let label = &self.token.label;
        match (stop, &answer.stopped) {
            (Stop::Wait(rest), _) => {
                let text = format!(
                    "The last login to the token {label} got no answer that says whether the PIN is right. It is tried once more {} s \
                     after it.",
                    self.slot.settings.login_pause.as_secs()
                );
                Failed { next: Level::Token, text, then: Then::After(rest.min(LOOK)) }
            }
            (Stop::Refused | Stop::Unclear, Some((why, text))) => Failed::down(*why, text.clone()),
            (Stop::Refused, None) => {
                let not_again = "was refused before and is not tried again: mend its source, or allow another try.";
                self.stop(Why::Pin, format!("The PIN of the token {label} {not_again}"))
            }
            (Stop::Unclear, None) => {
                let logins = format!("The last two logins to the token {label} got no answer that says whether the PIN is right.");
                self.stop(Why::Pin, format!("{logins} {NOT_AGAIN}"))
            }
            (Stop::CountedAsWrong, _) => {
                self.log_if_not_noted(self.note(Some(Note::Refused)));
                let counted = format!("Since a login without a clear answer the token {label} says: {}.", self.token.pin_state);
                self.stop(Why::Pin, format!("{counted} {NOT_AGAIN}"))
            }
        }
    }
}

const NOT_AGAIN: &str = "The PIN is not tried again: make sure that it is right, then allow another try.";

fn refused(refusal: Refusal, label: &str) -> (Why, String) {
    match refusal {
        Refusal::Wrong => (
            Why::Pin,
            format!("The PIN of the token {label} is wrong. It was tried once and is not tried again; mend its source first."),
        ),
        Refusal::Expired => {
            (Why::Pin, format!("The user PIN of the token {label} has expired: set another one and give that to its source."))
        }
        Refusal::Locked => (
            Why::PinLocked,
            format!("The user PIN of the token {label} is locked: its security officer must set it anew. Then allow another try."),
        ),
        Refusal::NotInitialized => (
            Why::PinLocked,
            format!("The token {label} has no user PIN yet: its security officer must set it. Then allow another try."),
        ),
    }
}
