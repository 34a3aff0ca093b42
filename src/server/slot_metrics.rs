//! The metrics of the slots: what each tells of itself, as families.
//!
//! Every label comes from a closed set, but for function and CKR, whose pairs the tier bounds, and for what a token says of itself,
//! which stands in one sample a slot.

use super::exposition::{Exposition, Family, Labels, Type};
use super::slot_page;
use crate::service::InstanceSlots;
use crate::tier::status::{Histogram, Operation, Outcome, SlotStatus};
use crate::wire::slots::{Breaker, Down, Pin, State};

/// Writes the families of all slots.
pub(super) fn write(instances: &[InstanceSlots], page: &mut Exposition) {
    let slots: Vec<(Labels, &SlotStatus)> = instances
        .iter()
        .flat_map(|of| {
            let instance = Labels::default().with("instance", &of.instance.id);
            of.slots.iter().enumerate().map(move |(number, slot)| (instance.with("slot", number), slot))
        })
        .collect();
    if slots.is_empty() {
        return;
    }
    calls(&slots, page);
    troubles(&slots, page);
    condition(&slots, page);
}

fn calls(slots: &[(Labels, &SlotStatus)], page: &mut Exposition) {
    let mut family = page.family("keystead_hsm_operations_total", Type::Counter, "Calls by kind and by how they ended.");
    for (labels, slot) in slots {
        for operation in Operation::ALL {
            for outcome in Outcome::ALL {
                let count = slot.calls.get(&(operation, outcome)).copied().unwrap_or(0);
                family.sample(&labels.with("operation", operation.name()).with("result", outcome.name()), count);
            }
        }
    }
    let mut family = page.family("keystead_hsm_queue_seconds", Type::Histogram, "Time from a call's arrival to its place.");
    for (labels, slot) in slots {
        histogram(&mut family, labels, &slot.waited);
    }
    let mut family = page.family("keystead_hsm_module_seconds", Type::Histogram, "Time of a call in the module.");
    for (labels, slot) in slots {
        for (operation, worked) in &slot.worked {
            histogram(&mut family, &labels.with("operation", operation.name()), worked);
        }
    }
    let mut family = page.family("keystead_hsm_last_success_age_seconds", Type::Gauge, "How long ago a call was served.");
    for (labels, slot) in slots {
        if let Some(ago) = slot.last_success {
            family.sample(labels, ago.as_secs_f64());
        }
    }
}

fn troubles(slots: &[(Labels, &SlotStatus)], page: &mut Exposition) {
    let mut family = page.family("keystead_hsm_errors_total", Type::Counter, "Answers of the module other than CKR_OK.");
    for (labels, slot) in slots {
        for ((function, ckr), count) in &slot.failures {
            family.sample(&labels.with("function", function).with("ckr", ckr), count);
        }
    }
    let mut family = page.family("keystead_hsm_recoveries_total", Type::Counter, "What was mended, by level.");
    for (labels, slot) in slots {
        for (level, count) in &slot.recoveries {
            family.sample(&labels.with("level", level), count);
        }
    }
    let mut total = |name, help, read: fn(&SlotStatus) -> u64| {
        let mut family = page.family(name, Type::Counter, help);
        slots.iter().for_each(|(labels, slot)| family.sample(labels, read(slot)));
    };
    total("keystead_hsm_failed_recoveries_total", "Attempts to mend a slot that failed.", |slot| slot.failed_recoveries);
    total("keystead_hsm_written_off_total", "Calls given up because they did not come back in time.", |slot| slot.written_off);
    total("keystead_hsm_panics_total", "Calls and attempts to mend a slot that panicked.", |slot| slot.panics);
    total("keystead_hsm_logins_total", "Calls of C_Login.", |slot| slot.logins);
    let help = "Random numbers of the token that failed a health test and were not used.";
    total("keystead_hsm_random_failures_total", help, |slot| slot.generator_failures);
}

fn condition(slots: &[(Labels, &SlotStatus)], page: &mut Exposition) {
    let mut family = page.family("keystead_hsm_state", Type::Gauge, "1 for what a slot does, 0 for what it does not.");
    for (labels, slot) in slots {
        family.one_of(labels, "state", &State::ALL, State::name, Some(slot_page::state(slot.state)));
    }
    let mut family = page.family("keystead_hsm_breaker", Type::Gauge, "1 for how the breaker of a slot stands.");
    for (labels, slot) in slots {
        family.one_of(labels, "state", &Breaker::ALL, Breaker::name, Some(slot_page::breaker(slot.state)));
    }
    let mut family = page.family("keystead_hsm_down", Type::Gauge, "1 for why a person must help.");
    for (labels, slot) in slots {
        family.one_of(labels, "why", &Down::ALL, Down::name, slot_page::down(slot.state));
    }
    let mut family = page.family("keystead_hsm_pin", Type::Gauge, "1 for what the token's flags say of wrong user PINs.");
    for (labels, slot) in slots {
        if let Some(token) = &slot.token {
            family.one_of(labels, "flag", &Pin::ALL, Pin::name, Some(slot_page::pin(token.pin_state)));
        }
    }
    let mut family = page.family("keystead_hsm_logged_in", Type::Gauge, "Whether the token is logged in to.");
    for (labels, slot) in slots {
        family.sample(labels, u8::from(slot.logged_in));
    }
    let mut family = page.family("keystead_hsm_sessions", Type::Gauge, "Sessions of a slot.");
    for (labels, slot) in slots {
        let sessions = slot.sessions;
        for (state, number) in [
            ("configured", sessions.configured),
            ("allowed", sessions.allowed),
            ("open", sessions.open),
            ("busy", sessions.busy),
            ("written_off", sessions.written_off),
        ] {
            family.sample(&labels.with("state", state), number);
        }
    }
    let mut family = page.family("keystead_hsm_queue_waiting", Type::Gauge, "Callers that wait for a session.");
    for (labels, slot) in slots {
        family.sample(labels, slot.queue.0);
    }
    let mut family = page.family("keystead_hsm_queue_bound", Type::Gauge, "Callers that may wait for a session.");
    for (labels, slot) in slots {
        family.sample(labels, slot.queue.1);
    }
    let mut family =
        page.family("keystead_hsm_refused_keys", Type::Gauge, "Keys that are not used: their CKA_ID has others in the token.");
    for (labels, slot) in slots {
        family.sample(labels, slot.refused.len());
    }
    let mut family = page.family("keystead_hsm_info", Type::Gauge, "What a slot is, in its labels.");
    for (labels, slot) in slots {
        let labels = labels.with("module", &slot.module).with("uri", &slot.uri);
        if let Some(token) = &slot.token {
            let labels = labels.with("token", &token.label).with("serial", &token.serial).with("model", &token.model);
            family.sample(&labels.with("firmware", &token.firmware), 1);
        } else {
            family.sample(&labels, 1);
        }
    }
}

fn histogram(family: &mut Family<'_>, labels: &Labels, of: &Histogram) {
    let edges = Histogram::EDGES.iter().map(|micros| *micros as f64 / 1e6);
    family.histogram(labels, edges.zip(of.buckets.iter().copied()), of.count, of.sum.as_secs_f64());
}
