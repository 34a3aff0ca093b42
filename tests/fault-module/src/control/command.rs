//! The commands, and those that are not about slots.

use std::time::Duration;

use serde_json::{Value, json};

use super::slots::Action;
use super::state;
use crate::module::{Module, Stage};
use crate::rule::{NewRule, Place};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The commands.
    Help,
    /// A new rule.
    Rule(NewRule),
    /// One rule less.
    Drop(u64),
    /// Hanging calls go on.
    Release,
    /// An answer when so many calls hang.
    WaitHung(usize, Duration),
    /// Something about slots or the tokens in them.
    Slots(Place, Action),
    /// Handles are counted from 1, from the next C_Initialize on.
    RenumberOn,
    /// Handles are the real module's, from the next C_Initialize on.
    RenumberOff,
    /// Every call is told that the module is not initialised.
    Uninitialise,
    /// The calls there were.
    Counts,
    /// Counts from zero.
    ResetCounts,
    /// What there is.
    State,
    /// Undoes commands.
    Clear(Clear),
}

/// How much is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// Rules; hanging calls go on.
    Rules,
    /// These, and what was done to slots and numbers.
    All,
}

/// The commands for people. The front page of the library says more.
pub const HELP: &[(&str, &str)] = &[
    ("help", "this"),
    (
        "fail FUNCTION CKR_NAME|0xHEX [nth=N|every=N|times=N] [slot=ID|token=LABEL|session=HANDLE] [above=BYTES] [key=CKA_ID] [after] \
         [leave-active] [instead-of=CKR_NAME|0xHEX]",
        "calls are answered with that, instead of by the real module or after it",
    ),
    ("latency FUNCTION DURATION [jitter=DURATION] [nth=N|every=N|times=N] [slot=|token=|session=]", "calls take longer"),
    ("hang FUNCTION [nth=N|every=N|times=N] [slot=|token=|session=] [after]", "calls do not return until released"),
    ("crash FUNCTION [nth=N|every=N|times=N] [slot=|token=|session=] [after]", "the process aborts"),
    ("flip FUNCTION [nth=N|every=N|times=N] [slot=|token=|session=]", "one bit of what calls give is the other one"),
    (
        "random untouched|zero|repeat|stuck [nth=N|every=N|times=N] [slot=|token=|session=]",
        "C_GenerateRandom answers CKR_OK and gives no random numbers",
    ),
    ("drop RULE", "takes away one rule, by the number that its command was answered with"),
    ("release", "calls that hang go on"),
    ("wait-hung CALLS [timeout=DURATION]", "answers when so many calls hang"),
    ("lose-login [slot=|token=]", "the login is lost: C_Logout behind the program's back"),
    ("invalidate-sessions [slot=|token=]", "sessions, their objects and the login are lost"),
    ("invalidate-objects [slot=|token=]", "object handles given out so far mean nothing any more"),
    ("remove-token slot=|token= [until-reinit]", "the token is gone"),
    ("insert-token slot=|token= [as=ID]", "it is back, under another slot number if one is given"),
    ("cap-sessions N|off [slot=|token=] [announce]", "no more sessions than that"),
    ("pin-flags fine|count-low|final-try|locked|real [slot=|token=]", "what C_GetTokenInfo says of the user PIN"),
    (
        "serial per-call|on-insert|off [slot=|token=]",
        "C_GetTokenInfo tells another serial number, at each call or after insert-token",
    ),
    ("short-find [off] [slot=|token=]", "C_FindObjects gives fewer handles than asked for although more follow"),
    ("no-rng [off] [slot=|token=]", "C_GenerateRandom answers CKR_RANDOM_NO_RNG"),
    ("cut-id BYTES|off [slot=|token=]", "CKA_ID of objects that are made is cut to so many bytes"),
    (
        "no-session-objects [off] [slot=|token=]",
        "private and secret keys of the session are refused with CKR_TEMPLATE_INCONSISTENT",
    ),
    ("iv zero-only|by-module|off [slot=|token=]", "the module makes the IV of AES-GCM, and takes zeros for one, or ignores it"),
    ("swap-public [off] [slot=|token=]", "CKA_EC_POINT and CKA_MODULUS are another key's"),
    ("renumber on|off", "from the next C_Initialize on handles are counted from 1"),
    ("uninitialise", "calls are told CKR_CRYPTOKI_NOT_INITIALIZED until C_Initialize"),
    ("counts", "calls by function and by outcome"),
    ("reset-counts", "counts from zero"),
    ("state", "sessions, rules, hanging calls"),
    ("clear [all]", "drops the rules and releases what hangs; all: what was done to slots and numbers, too"),
];

impl Command {
    /// Does it. It has taken effect when this returns.
    ///
    /// # Errors
    /// A text for the person who wrote it; then nothing has changed, or as much as the text says.
    pub fn run(self, module: &Module) -> Result<Value, String> {
        match self {
            Self::Help => {
                Ok(json!({ "commands": HELP.iter().map(|(usage, does)| format!("{usage}: {does}")).collect::<Vec<_>>() }))
            }
            Self::Rule(rule) => Ok(json!({ "rule": module.rules.add(rule) })),
            Self::Drop(rule) => module.rules.drop_one(rule).map(|()| Value::Null),
            Self::Release => Ok(json!({ "released": module.hang.release() })),
            Self::WaitHung(calls, timeout) => match module.hang.wait_for(calls, timeout) {
                Ok(()) => Ok(Value::Null),
                Err(hung) => Err(format!("{hung} calls hang after {timeout:?}")),
            },
            Self::RenumberOn => {
                module.numbers.count();
                Ok(Value::Null)
            }
            Self::RenumberOff => {
                module.numbers.pass_through();
                Ok(Value::Null)
            }
            Self::Uninitialise => module.uninitialise().map(|()| Value::Null),
            Self::Counts => Ok(module.counts.json()),
            Self::ResetCounts => {
                module.counts.reset();
                Ok(Value::Null)
            }
            Self::State => Ok(state::of(module)),
            Self::Clear(how) => {
                module.rules.drop_all();
                module.hang.release();
                match how {
                    Clear::Rules => {}
                    Clear::All => {
                        let _held = module.hold();
                        module.slots.restore();
                        module.numbers.pass_through();
                        module.forget_pending();
                    }
                }
                Ok(Value::Null)
            }
            Self::Slots(place, action) => {
                let held = module.hold();
                match (*held, &place) {
                    // Which slot it is in only the real module can tell; no call gets anywhere before C_Initialize.
                    (Stage::Out | Stage::Lost, Place::Token(_)) => {
                        module.postpone(place, action);
                        Ok(json!({ "pending": "C_Initialize" }))
                    }
                    (Stage::Out | Stage::Lost, Place::Everywhere | Place::Slot(_)) | (Stage::In, _) => {
                        action.apply(&place, module, &held)
                    }
                }
            }
        }
    }
}
