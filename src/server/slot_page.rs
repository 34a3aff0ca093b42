//! What a slot tells of itself, as the page says it, with who can mend it and how.

use std::time::Duration;

use crate::service;
use crate::tier::status::{Generator, Histogram, Operation, Outcome, PinState, SlotState, SlotStatus, TokenSummary, Why};
use crate::wire::slots::{
    Breaker, Calls, Down, Failures, InstanceSlots, LastFailure, Need, Pin, Queue, Sessions, Slot, State, Times, Token,
};

/// An instance with its slots.
pub(super) fn instance(of: &service::InstanceSlots) -> InstanceSlots {
    InstanceSlots {
        instance_id: of.instance.id.to_string(),
        name: of.instance.name.clone(),
        kind: of.instance.kind.to_string(),
        slots: of.slots.iter().map(slot).collect(),
    }
}

fn slot(of: &SlotStatus) -> Slot {
    let down = down(of.state);
    Slot {
        state: state(of.state),
        for_seconds: seconds(of.since),
        down,
        reason: of.reason.clone(),
        needs: down.map_or(Need::Nobody, need),
        advice: down.map(|down| advice(down).to_owned()),
        remarks: remarks(of),
        breaker: breaker(of.state),
        logged_in: of.logged_in,
        logins: of.logins,
        sessions: Sessions {
            configured: of.sessions.configured,
            allowed: of.sessions.allowed,
            open: of.sessions.open,
            busy: of.sessions.busy,
            written_off: of.sessions.written_off,
        },
        queue: Queue { waiting: of.queue.0, bound: of.queue.1, waited: times(&of.waited) },
        last_success_seconds: of.last_success.map(seconds),
        last_failure: of.last_failure.as_ref().map(|failure| LastFailure {
            function: failure.function.clone(),
            ckr: failure.ckr.clone(),
            seconds: seconds(failure.ago),
        }),
        token: of.token.as_ref().map(token),
        module: of.module.clone(),
        uri: of.uri.clone(),
        operations: Operation::ALL.into_iter().map(|operation| calls(of, operation)).collect(),
        failures: of
            .failures
            .iter()
            .map(|((function, ckr), count)| Failures { function: function.clone(), ckr: ckr.clone(), count: *count })
            .collect(),
        recoveries: of.recoveries.iter().map(|(level, count)| (level.to_string(), *count)).collect(),
        failed_recoveries: of.failed_recoveries,
        written_off: of.written_off,
        panics: of.panics,
    }
}

fn calls(of: &SlotStatus, operation: Operation) -> Calls {
    let count = |outcome| of.calls.get(&(operation, outcome)).copied().unwrap_or(0);
    Calls {
        operation: operation.name().to_owned(),
        ok: count(Outcome::Ok),
        refused: count(Outcome::Refused),
        throttled: count(Outcome::Throttled),
        unavailable: count(Outcome::Unavailable),
        failed: count(Outcome::Failed),
        module: of.worked.get(&operation).map(times).unwrap_or_default(),
    }
}

fn times(of: &Histogram) -> Times {
    Times { count: of.count, seconds: of.sum.as_secs_f64() }
}

fn token(of: &TokenSummary) -> Token {
    Token {
        label: of.label.clone(),
        serial: of.serial.clone(),
        slot_id: of.slot_id,
        manufacturer: of.manufacturer.clone(),
        model: of.model.clone(),
        firmware: of.firmware.clone(),
        pin_initialized: of.user_pin_initialized,
        pin: pin(of.pin_state),
        session_limit: of.session_limit,
    }
}

/// To the millisecond: more means nothing by the time it is read.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

pub(super) fn state(of: SlotState) -> State {
    match of {
        SlotState::Serving => State::Serving,
        SlotState::Probing => State::Probing,
        SlotState::Recovering => State::Recovering,
        SlotState::Open => State::Open,
        SlotState::Down(_) => State::Down,
        SlotState::Closed => State::Closed,
    }
}

/// Whether calls go through, or one at a time, or none.
pub(super) fn breaker(of: SlotState) -> Breaker {
    match of {
        SlotState::Serving => Breaker::Closed,
        SlotState::Probing => Breaker::HalfOpen,
        SlotState::Recovering | SlotState::Open | SlotState::Down(_) | SlotState::Closed => Breaker::Open,
    }
}

pub(super) fn down(of: SlotState) -> Option<Down> {
    match of {
        SlotState::Down(why) => Some(match why {
            Why::Pin => Down::Pin,
            Why::PinLocked => Down::PinLocked,
            Why::TooManyHung => Down::TooManyHung,
            Why::NeedsRestart => Down::NeedsRestart,
            Why::Configuration => Down::Configuration,
        }),
        SlotState::Serving | SlotState::Probing | SlotState::Recovering | SlotState::Open | SlotState::Closed => None,
    }
}

pub(super) fn pin(of: PinState) -> Pin {
    match of {
        PinState::Fine => Pin::Fine,
        PinState::CountLow => Pin::CountLow,
        PinState::FinalTry => Pin::FinalTry,
        PinState::Locked => Pin::Locked,
    }
}

pub(super) fn need(down: Down) -> Need {
    match down {
        Down::NeedsRestart => Need::Restart,
        Down::Pin | Down::PinLocked | Down::TooManyHung | Down::Configuration => Need::Person,
    }
}

/// So many keys that are not used are named; more would hide the rest of a page.
const NAMED: usize = 3;

/// What is not as it should be although the slot may serve.
pub(super) fn remarks(of: &SlotStatus) -> Vec<String> {
    let generator = match of.generator {
        Generator::Sound | Generator::Absent => None,
        Generator::Failing => Some(format!(
            "random numbers of the token failed health tests {} times since the start and were not used; what is drawn is the process's \
             own and sound; have the HSM looked after, and make no keys in it until then",
            of.generator_failures
        )),
    };
    let keys = of.failing_keys.iter().map(|id| {
        format!(
            "the token fails with the key {id} and serves others of its kind; look after this key, or make another version of it"
        )
    });
    let refused = of.refused.iter().take(NAMED).map(|(id, why)| format!("the key {id} is not used: {why}"));
    let more = of.refused.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!("{more} more keys are not used; the log names them"));
    generator.into_iter().chain(keys).chain(refused).chain(more).collect()
}

/// What whoever is called at night should do.
pub(super) fn advice(down: Down) -> &'static str {
    match down {
        Down::Pin => {
            "Put the right PIN where the configuration takes it from; it is noticed within a second, that of a pin_command within ten. If that PIN is right now \
             because the token's was changed to it: keystead hsm retry-pin."
        }
        Down::PinLocked => {
            "Unlock it: the token's security officer sets the user PIN anew; with one try left, log in once with another program \
             and the right PIN. It is noticed within a second."
        }
        Down::TooManyHung => "Look after the HSM and the way to it. If its calls do not come back then, restart the service.",
        Down::NeedsRestart => {
            "Restart the service: calls that hang keep the module from being initialised anew. Other slots serve until then."
        }
        Down::Configuration => {
            "Put the module's library where the configuration says, and make exactly one token match the slot's uri; both are noticed \
             within seconds. Or change the configuration and restart the service."
        }
    }
}
