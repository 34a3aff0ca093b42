//! What the running server says of its slots, laid out for a person. Pure: what is known goes in, text comes out.

use std::time::Duration;

use super::humane;
use crate::wire::slots::{Breaker, Calls, InstanceSlots, LastFailure, Pin, Slot, State, Times, Token};

/// Whether words have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Coloured,
}

impl Paint {
    fn word(self, word: &str, colour: Colour) -> String {
        match self {
            Self::Plain => word.to_owned(),
            Self::Coloured => format!("\x1b[{}m{word}\x1b[0m", colour as u8),
        }
    }
}

/// Colours of a terminal, by their codes.
#[derive(Clone, Copy)]
enum Colour {
    Bold = 1,
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// The look before, and how long ago that was.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) instances: &'a [InstanceSlots],
    pub(super) ago: Duration,
}

/// All instances, one below the other.
pub(super) fn page(instances: &[InstanceSlots], before: Option<Before<'_>>, paint: Paint) -> String {
    let pages: Vec<_> = instances
        .iter()
        .map(|instance| {
            let before = before.and_then(|Before { instances, ago }| {
                let same = instances.iter().find(|other| other.instance_id == instance.instance_id)?;
                Some((same, ago))
            });
            instance_page(instance, before, paint)
        })
        .collect();
    pages.join("\n")
}

fn instance_page(of: &InstanceSlots, before: Option<(&InstanceSlots, Duration)>, paint: Paint) -> String {
    let mut text = format!("{}  {}  {}\n", paint.word(&of.name, Colour::Bold), of.instance_id, of.kind);
    if of.slots.is_empty() {
        text.push_str("  no slots: its keys are held in the process\n");
    }
    for (number, slot) in of.slots.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let before = before.and_then(|(instance, ago)| Some((instance.slots.get(number)?, ago)));
        text.push_str(&slot_page(slot, before, paint));
    }
    text
}

fn slot_page(of: &Slot, before: Option<(&Slot, Duration)>, paint: Paint) -> String {
    let rates = before.and_then(|(slot, ago)| Rates::between(slot, of, ago));
    let mut text = String::new();
    let mut line = |name: &str, said: &str| text.push_str(&format!("  {name:<11} {said}\n"));
    line("state", &state(of, paint));
    match of.state {
        State::Serving => line("before", &of.reason),
        State::Probing | State::Recovering | State::Open | State::Down | State::Closed => line("reason", &of.reason),
    }
    if let Some(advice) = &of.advice {
        line("to do", advice);
    }
    for remark in &of.remarks {
        line("remark", &paint.word(remark, Colour::Yellow));
    }
    line("token", &of.token.as_ref().map_or_else(|| format!("not found yet: {}", of.uri), token));
    line("module", &of.module);
    line("login", &login(of, paint));
    line("sessions", &sessions(of, paint));
    line("queue", &queue(of, rates.as_ref()));
    line("breaker", breaker(of.breaker));
    line("last", &last(of));
    line("recoveries", &recoveries(of));
    if let Some(rates) = &rates {
        let errors = humane::rate(rates.errors);
        let errors = if rates.errors > 0.0 { paint.word(&errors, Colour::Red) } else { errors };
        line("at present", &format!("{} operations/s, {errors} errors/s", humane::rate(rates.operations)));
    }
    text.push_str(&calls(of, rates.as_ref()));
    text.push_str(&failures(of));
    text
}

fn state(of: &Slot, paint: Paint) -> String {
    let colour = match of.state {
        State::Serving => Colour::Green,
        State::Probing | State::Recovering => Colour::Yellow,
        State::Open | State::Down | State::Closed => Colour::Red,
    };
    format!("{} for {}", paint.word(of.state.name(), colour), humane::seconds(of.for_seconds))
}

fn token(of: &Token) -> String {
    let Token { label, serial, slot_id, manufacturer, model, firmware, .. } = of;
    format!("{label}, serial {serial}, in slot {slot_id}; {manufacturer} {model}, firmware {firmware}")
}

fn login(of: &Slot, paint: Paint) -> String {
    let state = if of.logged_in { "logged in".to_owned() } else { paint.word("not logged in", Colour::Red) };
    let times = match of.logins {
        1 => "1 C_Login".to_owned(),
        logins => format!("{} C_Logins", humane::number(logins)),
    };
    let pin = match &of.token {
        None => String::new(),
        Some(Token { pin_initialized: false, .. }) => "; the token has no user PIN".to_owned(),
        Some(Token { pin, .. }) => match pin {
            Pin::Fine => "; PIN fine".to_owned(),
            Pin::CountLow => format!("; {}", paint.word("a wrong PIN was tried since", Colour::Yellow)),
            Pin::FinalTry => format!("; {}", paint.word("one PIN try left", Colour::Red)),
            Pin::Locked => format!("; {}", paint.word("PIN locked", Colour::Red)),
        },
    };
    format!("{state}, {times} since the start{pin}")
}

fn sessions(of: &Slot, paint: Paint) -> String {
    let sessions = of.sessions;
    let off = format!("{} written off", sessions.written_off);
    let off = if sessions.written_off > 0 { paint.word(&off, Colour::Red) } else { off };
    let ever = match of.written_off {
        0 => String::new(),
        calls => format!(" ({} since the start)", humane::number(calls)),
    };
    format!(
        "{} open, {} busy, {off}{ever}; {} allowed of {} configured",
        sessions.open, sessions.busy, sessions.allowed, sessions.configured
    )
}

fn queue(of: &Slot, rates: Option<&Rates<'_>>) -> String {
    let waited = rates.map_or(of.queue.waited, |rates| rates.waited);
    let waited = if waited.seconds > 0.0 { mean(waited) } else { None };
    let waited = waited.map_or_else(String::new, |mean| format!("; {mean} on average"));
    format!("{} waiting, {} may{waited}", of.queue.waiting, humane::number(of.queue.bound as u64))
}

fn breaker(of: Breaker) -> &'static str {
    match of {
        Breaker::Closed => "closed: calls go through",
        Breaker::HalfOpen => "half open: it is tried whether calls go through",
        Breaker::Open => "open: no call goes through",
    }
}

fn last(of: &Slot) -> String {
    let success = match of.last_success_seconds {
        Some(ago) => format!("served {}", humane::ago(ago)),
        None => "nothing served yet".to_owned(),
    };
    match &of.last_failure {
        Some(LastFailure { function, ckr, seconds }) => format!("{success}; {ckr} of {function} {}", humane::ago(*seconds)),
        None => format!("{success}; no failure of the module"),
    }
}

fn recoveries(of: &Slot) -> String {
    // From the least to the most.
    let levels = ["operation", "session", "login", "token", "module"];
    let counts = levels.iter().filter_map(|level| of.recoveries.get_key_value(*level)).filter(|(_, count)| **count > 0);
    let counts: Vec<_> = counts.map(|(level, count)| format!("{level} {}", humane::number(*count))).collect();
    let done = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    let done = match of.failed_recoveries {
        0 => done,
        failed => format!("{done}; {} attempts failed", humane::number(failed)),
    };
    match of.panics {
        0 => done,
        panics => format!("{done}; {} panics", humane::number(panics)),
    }
}

fn mean(of: Times) -> Option<String> {
    (of.count > 0).then(|| humane::seconds(of.seconds / of.count as f64))
}

/// The calls that there were, by kind.
fn calls(of: &Slot, rates: Option<&Rates<'_>>) -> String {
    let mut rows = Vec::new();
    for calls in of.operations.iter().filter(|calls| total(calls) > 0) {
        let rate = rates.map(|rates| rates.of(calls));
        let module = rate.as_ref().map_or(calls.module, |rate| rate.module);
        let mut row = vec![calls.operation.clone()];
        row.extend(rate.map(|rate| humane::rate(rate.per_second)));
        row.extend([calls.ok, calls.refused, calls.throttled, calls.unavailable, calls.failed].map(humane::number));
        row.push(mean(module).unwrap_or_else(|| "-".to_owned()));
        rows.push(row);
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut header = vec!["calls"];
    if rates.is_some() {
        header.push("per second");
    }
    header.extend(["ok", "refused", "throttled", "unavailable", "failed", "average in module"]);
    format!("\n{}", table(&header, &rows))
}

fn failures(of: &Slot) -> String {
    let rows: Vec<_> = of
        .failures
        .iter()
        .map(|failures| vec![format!("{} of {}", failures.ckr, failures.function), humane::number(failures.count)])
        .collect();
    if rows.is_empty() { String::new() } else { format!("\n{}", table(&["answers of the module", "times"], &rows)) }
}

/// The first column to the left, the others to the right.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::from(" ");
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            line.push_str(&if column == 0 { format!(" {cell:<width$}") } else { format!("  {cell:>width$}") });
        }
        line.push('\n');
        line
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

fn total(calls: &Calls) -> u64 {
    calls.ok + calls.refused + calls.throttled + calls.unavailable + calls.failed
}

/// Calls that a caller would complain of.
fn errors(calls: &Calls) -> u64 {
    calls.throttled + calls.unavailable + calls.failed
}

/// What went on between two looks.
struct Rates<'a> {
    before: &'a Slot,
    seconds: f64,
    operations: f64,
    errors: f64,
    waited: Times,
}

/// What went on of one kind.
struct Rate {
    per_second: f64,
    module: Times,
}

impl<'a> Rates<'a> {
    /// Nothing when the counts begin anew: then it is another process.
    fn between(before: &'a Slot, now: &Slot, ago: Duration) -> Option<Self> {
        let seconds = ago.as_secs_f64();
        let sum = |slot: &Slot, of: fn(&Calls) -> u64| slot.operations.iter().map(of).sum::<u64>();
        let more = |of: fn(&Calls) -> u64| sum(now, of).checked_sub(sum(before, of));
        let (all, errors) = (more(total)?, more(errors)?);
        let waited = difference(before.queue.waited, now.queue.waited)?;
        (seconds > 0.0).then(|| Self { before, seconds, operations: all as f64 / seconds, errors: errors as f64 / seconds, waited })
    }

    fn of(&self, now: &Calls) -> Rate {
        let before = self.before.operations.iter().find(|calls| calls.operation == now.operation);
        let (calls, module) = before.map_or((0, Times::default()), |before| (total(before), before.module));
        Rate {
            per_second: total(now).saturating_sub(calls) as f64 / self.seconds,
            module: difference(module, now.module).unwrap_or_default(),
        }
    }
}

fn difference(before: Times, now: Times) -> Option<Times> {
    Some(Times { count: now.count.checked_sub(before.count)?, seconds: (now.seconds - before.seconds).max(0.0) })
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
