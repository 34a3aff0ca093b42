//! One attempt to make a slot serve: from the level that is broken down to a new epoch.
//!
//! Run by `attempts`, one at a time, on a thread of its own, while no call of the slot begins. The first one that can loads the
//! library. Login: log in again. Token:
//! close all sessions, find the token by its URI, log in. Module: C_Finalize and C_Initialize first, and for all slots of the
//! module. Everything ends in one login, one canary and one sweep. It waits for nobody longer than [`DRAIN`].

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cryptoki::error::Error as Failure;
use cryptoki::session::{Session, SessionState};

use crate::base::lock;
use crate::tier::pkcs11::answer::{self, Level};
use crate::tier::pkcs11::library::choose::NoToken;
use crate::tier::pkcs11::library::initialise::NotNow;
use crate::tier::pkcs11::session::canary::Canary;
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::find::{self, Sweep};
use crate::tier::pkcs11::session::handles::{Oddities, Refusal};
use crate::tier::pkcs11::slot::condition::{Failed, Then, Why};
use crate::tier::pkcs11::slot::health::deeper;
use crate::tier::pkcs11::slot::login::{Halt, log_in};
use crate::tier::pkcs11::slot::pin::Answer;
use crate::tier::pkcs11::slot::slot::{Login, Slot, close_if_ours};

/// How long an attempt waits for the calls that run to end. One that has not ended by then is of an earlier epoch when it does.
const DRAIN: Duration = Duration::from_millis(250);
/// How long calls of all slots are waited for before C_Finalize.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same while another slot serves, whose callers wait meanwhile.
const PATIENCE_WITH_NEIGHBOURS: Duration = Duration::from_millis(500);
/// How long the sweep of a new epoch may take; what it did not reach is found at its first use.
const SWEEP: Duration = Duration::from_millis(500);

/// A session in the hands of an attempt: closed when the attempt fails or panics before the session is handed on.
struct Opened {
    epoch: Epoch,
    session: Option<Session>,
}

impl Opened {
    fn new(session: Session, epoch: Epoch) -> Self {
        Self { epoch, session: Some(session) }
    }

    /// As the session that holds the login.
    fn hand_on(mut self) -> Login {
        let session = self.session.take().expect("it is handed on once");
        Login { session, epoch: self.epoch }
    }
}

impl Deref for Opened {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("it is there until it is handed on")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            close_if_ours(session, self.epoch.slot_id);
        }
    }
}

/// A slot that is ready.
pub(crate) struct Ready {
    epoch: Epoch,
    login: Login,
    kept: Vec<Session>,
    sweep: Sweep,
    canary: Option<Canary>,
    /// How deep the attempt went.
    pub(crate) level: Level,
}

impl Ready {
    /// Begins the epoch. The condition follows.
    pub(crate) fn begin(self, slot: &Slot) -> u64 {
        let epoch = self.epoch.number;
        let Oddities { risen, several } = slot.memory.handles().begin(self.epoch, self.sweep);
        for id in several {
            slot.memory.tell_refusal(&id, Refusal::Several);
        }
        for id in risen {
            tracing::warn!(token = %slot.name(), cka_id = %String::from_utf8_lossy(&id), "a destroyed object is back in the token; it is destroyed again");
            slot.orphan(id);
        }
        slot.memory.keep_canary(self.canary);
        *lock(&slot.login) = Some(self.login);
        slot.fit_to_token();
        slot.pool.begin(self.epoch, self.kept);
        epoch
    }

    /// Gives up what was opened: the slot was closed meanwhile.
    pub(crate) fn discard(self, slot: &Slot) {
        // Under another C_Initialize the numbers are those of other sessions.
        let Some(_pass) = slot.lease.gate().enter().filter(|pass| pass.initialisation == self.epoch.initialisation) else { return };
        self.kept.into_iter().chain([self.login.session]).for_each(|session| close_if_ours(session, self.epoch.slot_id));
    }
}

fn new_epoch() -> u64 {
    static EPOCH: AtomicU64 = AtomicU64::new(1);
    EPOCH.fetch_add(1, Ordering::Relaxed)
}

/// Tries once.
///
/// # Errors
/// Why it failed, and where the next attempt begins.
pub(crate) fn attempt(slot: &Arc<Slot>, level: Level) -> Result<Ready, Failed> {
    slot.load_library().map_err(|error| Failed::down(Why::Configuration, error.message().to_owned()))?;
    slot.pool.drain(Instant::now() + DRAIN);
    let seen = slot.lease.gate().initialisation();
    let hung = slot.lease.hung();
    if !slot.lease.is_initialised() {
        initialise(slot, seen)?;
    } else if level == Level::Module && hung > 0 {
        // Nothing is finalised under a call; what may have come back by itself is looked for all the same.
        return without_module(slot, Level::Token).map_err(|failed| needs_restart(failed, hung));
    } else if level == Level::Module {
        if slot.lease.has_serving_neighbours() && !slot.may_disturb() {
            return without_module(slot, Level::Token);
        }
        initialise(slot, seen)?;
    }
    without_module(slot, level)
}

/// Tries once, with the module as it is.
fn without_module(slot: &Arc<Slot>, level: Level) -> Result<Ready, Failed> {
    let mut answer = slot.pin_lately();
    loop {
        match reach(slot, level, answer.as_ref()) {
            Ok(ready) => return Ok(ready),
            Err(Halt::Failed(failed)) => return Err(failed),
            // Without a pass: while the source takes its time, other slots may have the module initialised anew.
            Err(Halt::PinNeeded) => answer = Some(slot.ask_for_pin()),
        }
    }
}

/// Reaches the token. `answer` is what the source of its PIN said, if it was asked.
fn reach(slot: &Arc<Slot>, level: Level, answer: Option<&Answer>) -> Result<Ready, Halt> {
    let mut level = level;
    let broken = |next: Level| move |failure: Failure| Failed::soon(next, answer::name(&failure));
    let Some(pass) = slot.lease.gate().enter() else {
        // C_Initialize failed, for us or for a neighbour.
        return Err(Failed::soon(Level::Module, "the module is not initialised".to_owned()).into());
    };
    let held = if level == Level::Login { lock(&slot.login).take() } else { None };
    if let Some(login) = held.filter(|login| login.epoch.initialisation == pass.initialisation) {
        let session = Opened::new(login.session, login.epoch);
        match relogin(slot, &session, answer) {
            Ok(()) => return Ok(ready(slot, session, Sessions::Keep, level)?),
            Err(Relogin::Halted(halt)) => {
                *lock(&slot.login) = Some(session.hand_on());
                return Err(halt);
            }
            // Then it is more than the login.
            Err(Relogin::Broken) => {
                *lock(&slot.login) = Some(session.hand_on());
                level = Level::Token;
            }
        }
    }
    close_all(slot, pass.initialisation);
    let next = deeper(level);
    let token = match slot.lease.claim(&slot.settings.token) {
        Ok(token) => token,
        Err(NoToken::Failed(failure)) => return Err(broken(Level::Module)(failure).into()),
        Err(NoToken::None(text)) => return Err(Failed::soon(Level::Module, text).into()),
        Err(NoToken::Misconfigured(text)) => return Err(Failed::down(Why::Configuration, text).into()),
    };
    slot.memory.found(token.clone());
    let epoch = Epoch { number: 0, initialisation: pass.initialisation, slot_id: token.slot_id };
    let session = Opened::new(slot.open(epoch).map_err(broken(next))?, epoch);
    log_in(slot, &session, &token, answer, next)?;
    Ok(ready(slot, session, Sessions::New, level.max(Level::Token))?)
}

/// Only a new initialisation would help, and calls hang in the module.
fn needs_restart(failed: Failed, hung: usize) -> Failed {
    match failed.then {
        // That helps without one.
        Then::Down(_) | Then::After(_) => failed,
        Then::Soon => Failed {
            next: Level::Module,
            text: format!(
                "the module must be initialised anew, and {hung} calls hang in it: restart the process ({})",
                failed.text
            ),
            then: Then::Down(Why::NeedsRestart),
        },
    }
}

/// What becomes of the sessions of the epoch before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sessions {
    Keep,
    New,
}

fn initialise(slot: &Slot, seen: u64) -> Result<(), Failed> {
    let patience = if slot.lease.has_serving_neighbours() { PATIENCE_WITH_NEIGHBOURS } else { PATIENCE };
    slot.lease.initialise(seen, patience).map_err(|not_now| {
        let text = not_now.text(slot.lease.path());
        match not_now {
            NotNow::Running(_) | NotNow::Failed(_) => Failed::soon(Level::Module, text),
            NotNow::Hung(calls) => needs_restart(Failed::soon(Level::Module, "the module is broken".to_owned()), calls),
            NotNow::Elsewhere | NotNow::Foreign => Failed::soon(Level::Token, text),
        }
    })
}

/// Closes what the epoch before left open, if nothing runs in it: C_CloseAllSessions, which also ends the login. While a call
/// hangs, only what is known to be idle is closed.
fn close_all(slot: &Slot, initialisation: u64) {
    let login = lock(&slot.login).take();
    let idle = slot.pool.take_idle();
    slot.memory.take_canary();
    let Some(epoch) = slot.pool.last_epoch().or(login.as_ref().map(|login| login.epoch)) else { return };
    if epoch.initialisation != initialisation || another_token_is_at(slot, epoch.slot_id) {
        return;
    }
    let occupancy = slot.pool.occupancy();
    let alone = occupancy.busy + occupancy.hung == 0;
    let closed = alone && slot.functions().close_all_sessions(epoch.slot_id).is_ok();
    if !closed {
        idle.into_iter().chain(login.map(|login| login.session)).for_each(|session| close_if_ours(session, epoch.slot_id));
    }
}

/// Whether the slot has another token by now: what is open there is somebody else's, and ours ended when the token went.
fn another_token_is_at(slot: &Slot, slot_id: u64) -> bool {
    let ours = slot.token();
    slot.functions().token(slot_id).is_ok_and(|now| ours.is_some_and(|ours| ours.serial != now.serial || ours.label != now.label))
}

enum Relogin {
    Broken,
    Halted(Halt),
}

/// The login session lives: logs in again if it has to.
fn relogin(slot: &Slot, session: &Session, answer: Option<&Answer>) -> Result<(), Relogin> {
    match session.get_session_info().map(|info| info.session_state()) {
        Ok(SessionState::RwUser | SessionState::RoUser) => Ok(()),
        Ok(SessionState::RwPublic | SessionState::RoPublic | SessionState::RwSecurityOfficer) => {
            let epoch = slot.token().ok_or(Relogin::Broken)?;
            let token = slot.functions().token(epoch.slot_id).map_err(|_| Relogin::Broken)?;
            log_in(slot, session, &token, answer, Level::Token).map_err(Relogin::Halted)
        }
        Err(_) => Err(Relogin::Broken),
    }
}

/// The new epoch: canary and sweep.
fn ready(slot: &Arc<Slot>, mut session: Opened, sessions: Sessions, level: Level) -> Result<Ready, Failed> {
    let known = slot.memory.handles().len();
    let epoch = Epoch { number: new_epoch(), ..session.epoch };
    session.epoch = epoch;
    let sweep = match find::sweep(&session, Some(Instant::now() + SWEEP)) {
        Ok(sweep) => sweep,
        Err(fault) => {
            let text = answer::fault::to_caller(fault, slot.profile());
            *lock(&slot.login) = Some(session.hand_on());
            return Err(Failed::soon(deeper(level), format!("the token's objects cannot be listed: {}", text.causes())));
        }
    };
    if known > 0 && sweep.found.is_empty() && level < Level::Module {
        // A token that lost its storage looks like this, until it is initialised anew.
        *lock(&slot.login) = Some(session.hand_on());
        return Err(Failed::soon(Level::Module, "the token shows none of its keys".to_owned()));
    }
    // Its key lives in the login session; that of the epoch before ended with the login, or is not trusted any more.
    if let (Sessions::Keep, Some(former)) = (sessions, slot.memory.take_canary()) {
        former.let_go(&session);
    }
    let canary = Canary::hatch(slot.functions(), &session).ok();
    let kept = match sessions {
        Sessions::Keep => slot.pool.take_idle(),
        Sessions::New => Vec::new(),
    };
    Ok(Ready { epoch, login: session.hand_on(), kept, sweep, canary, level })
}
