//! The commands about slots.

use std::sync::Arc;

use cryptoki_sys::{CK_RV, CK_SLOT_ID, CKR_OK, CKR_USER_NOT_LOGGED_IN};
use serde_json::{Value, json};

use crate::manners::Manner;
use crate::module::{Held, Module, Stage};
use crate::real::Present;
use crate::rule::Place;
use crate::rv;
use crate::session::Session;
use crate::slot::{Cap, PinFlags, Presence, Return, Slot};

/// What is done to slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// C_Logout behind the program's back.
    LoseLogin,
    /// Sessions are closed behind the program's back.
    InvalidateSessions,
    /// Object handles mean nothing any more.
    InvalidateObjects,
    /// The token is taken out.
    RemoveToken(Return),
    /// It is put back, under another slot number if one is given.
    InsertToken(Option<CK_SLOT_ID>),
    /// At most so many sessions; `None`: what the real module allows.
    CapSessions(Option<Cap>),
    /// The flags of C_GetTokenInfo; `None`: the real ones.
    PinFlags(Option<PinFlags>),
    /// The token behaves in another way.
    Manners(Manner),
}

impl Action {
    /// Does it, while `held` keeps the real module from being initialised or finalised.
    ///
    /// # Errors
    /// A text for the person who wrote the command.
    pub fn apply(self, place: &Place, module: &Module, held: &Held<'_>) -> Result<Value, String> {
        let slots = match (place, **held) {
            (Place::Everywhere, _) => module.slots.all(),
            (Place::Slot(number), stage) => vec![numbered(*number, module, stage)?],
            (Place::Token(label), Stage::In) => vec![labelled(label, module)?],
            (Place::Token(_), Stage::Out | Stage::Lost) => return Err("the module is not initialised".to_owned()),
        };
        match self {
            Self::LoseLogin => {
                let mut lost = 0;
                for slot in &slots {
                    lost += lose_login(module, slot)?;
                }
                if lost == 0 { Err("no session is open there".to_owned()) } else { Ok(json!({ "slots": lost })) }
            }
            Self::InvalidateSessions => {
                let mut ended = 0;
                for slot in &slots {
                    ended += module
                        .alone(Some(slot), |sessions| end(module, slot, sessions, |session| module.sessions.remove(session)))??;
                }
                Ok(json!({ "sessions": ended }))
            }
            Self::InvalidateObjects => {
                for slot in &slots {
                    module.alone(Some(slot), |_| slot.objects.invalidate())?;
                }
                Ok(Value::Null)
            }
            Self::RemoveToken(back) => {
                let mut ended = 0;
                for slot in &slots {
                    if slot.presence() != Presence::Present {
                        return Err(format!("the token in slot {} is removed already", slot.visible()));
                    }
                    ended += module.alone(Some(slot), |sessions| {
                        slot.remove(back);
                        end(module, slot, sessions, |session| session.removed())
                    })??;
                }
                Ok(json!({ "sessions": ended }))
            }
            Self::InsertToken(number) => {
                for slot in &slots {
                    if let Some(number) = number {
                        free(module, slot, number, **held)?;
                    }
                    slot.insert(number)?;
                }
                Ok(Value::Null)
            }
            Self::CapSessions(cap) => {
                match place {
                    Place::Everywhere => module.slots.set_cap(cap),
                    Place::Slot(_) | Place::Token(_) => slots.iter().for_each(|slot| slot.set_cap(cap)),
                }
                Ok(Value::Null)
            }
            Self::PinFlags(flags) => {
                match place {
                    Place::Everywhere => module.slots.set_pin_flags(flags),
                    Place::Slot(_) | Place::Token(_) => slots.iter().for_each(|slot| slot.set_pin_flags(flags)),
                }
                Ok(Value::Null)
            }
            Self::Manners(manner) => {
                match place {
                    Place::Everywhere => module.slots.change_manners(manner),
                    Place::Slot(_) | Place::Token(_) => slots.iter().for_each(|slot| slot.change_manners(manner)),
                }
                Ok(Value::Null)
            }
        }
    }
}

/// The slot that the program knows by a number; which of them there are is known only while the real module is initialised.
fn numbered(number: CK_SLOT_ID, module: &Module, stage: Stage) -> Result<Arc<Slot>, String> {
    let slot = module.slot(number).ok_or_else(|| format!("there is no slot {number} any more"))?;
    if stage == Stage::In && !real_slots(module, Present::Any)?.contains(&slot.real) {
        return Err(format!("there is no slot {number}"));
    }
    Ok(slot)
}

fn real_slots(module: &Module, present: Present) -> Result<Vec<CK_SLOT_ID>, String> {
    module.real.slots(present).map_err(|answer| refused("C_GetSlotList", answer))
}

/// The slot whose token has a label.
fn labelled(label: &str, module: &Module) -> Result<Arc<Slot>, String> {
    let numbers = real_slots(module, Present::Token)?;
    let mut found = numbers
        .into_iter()
        .map(|number| module.slots.real(number, &module.numbers))
        .filter(|slot| slot.label(&module.real).as_deref() == Some(label));
    match (found.next(), found.next()) {
        (Some(slot), None) => Ok(slot),
        (None, _) => Err(format!("no token has the label {label:?}")),
        (Some(_), Some(_)) => Err(format!("several tokens have the label {label:?}: use slot=")),
    }
}

/// Whether no other slot has a number.
fn free(module: &Module, slot: &Arc<Slot>, number: CK_SLOT_ID, stage: Stage) -> Result<(), String> {
    let mut others = module.slots.all();
    if stage == Stage::In {
        let numbers = real_slots(module, Present::Any)?;
        others.extend(numbers.into_iter().map(|number| module.slots.real(number, &module.numbers)));
    }
    match others.iter().any(|other| !Arc::ptr_eq(other, slot) && other.visible() == number) {
        true => Err(format!("there is a slot {number} already")),
        false => Ok(()),
    }
}

/// Logs out in the real module; gives 1, or 0 if there is no session to do it with.
fn lose_login(module: &Module, slot: &Arc<Slot>) -> Result<usize, String> {
    module.alone(Some(slot), |sessions| match sessions.iter().find(|session| !session.gate.is_shut()) {
        None => Ok(0),
        Some(session) => match module.real.log_out(session.real) {
            CKR_OK | CKR_USER_NOT_LOGGED_IN => Ok(1),
            answer => Err(refused("C_Logout", answer)),
        },
    })?
}

/// Ends the sessions of a slot, among which no call is inside the real module; gives how many there were. `tell` prepares what the
/// program is told of each.
fn end(module: &Module, slot: &Slot, sessions: &[Arc<Session>], tell: impl Fn(&Arc<Session>)) -> Result<usize, String> {
    let open: Vec<_> = sessions.iter().filter(|session| session.gate.kill().is_ok()).collect();
    if open.is_empty() {
        return Ok(0);
    }
    for session in &open {
        tell(session);
    }
    let answer = module.real.close_all_sessions(slot.real);
    for session in &open {
        session.gone();
    }
    if answer == CKR_OK { Ok(open.len()) } else { Err(refused("C_CloseAllSessions", answer)) }
}

fn refused(function: &str, answer: CK_RV) -> String {
    format!("the real {function} answers {}", rv::name(answer))
}
