//! Tests of the condition: what is told of a slot, and what becomes of it. Time is an argument.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::base::Kind;

const MS: Duration = Duration::from_millis(1);

/// A slot that serves, and served.
struct Served {
    machine: Machine,
    now: Instant,
    epochs: u64,
}

impl Served {
    fn new() -> Self {
        let now = Instant::now();
        let mut served = Self { machine: Machine::new(now), now, epochs: 0 };
        assert_eq!(served.machine.begin_attempt(now), Some(Level::Token));
        served.recover();
        assert!(served.goes());
        served.succeed();
        served
    }

    fn recover(&mut self) {
        self.epochs += 1;
        self.machine.recovered(self.epochs, self.now);
    }

    fn succeed(&mut self) {
        self.machine.succeeded(self.epochs, self.now);
    }

    fn fail(&mut self, level: Level) -> Change {
        self.machine.failed(self.epochs, level, "it fails", self.now)
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn goes(&mut self) -> bool {
        matches!(self.machine.admit(), Admission::Go)
    }

    /// Whether it is to be tried now, by nobody's call.
    fn probes(&mut self) -> bool {
        self.machine.begin_probe(self.now)
    }

    /// The kind that a caller is refused with.
    fn refused(&mut self) -> Option<Kind> {
        match self.machine.admit() {
            Admission::Refuse(error) => Some(error.kind()),
            Admission::Go | Admission::Wait => None,
        }
    }

    fn attempt_fails(&mut self, next: Level) {
        self.machine.attempt_failed(Failed::soon(next, "away".to_owned()), self.now);
    }

    /// Waits until an attempt is due, and gives its level.
    fn next_attempt(&mut self) -> Option<Level> {
        for _ in 0..2_000 {
            if let Some(level) = self.machine.begin_attempt(self.now) {
                return Some(level);
            }
            self.wait(MS);
        }
        None
    }
}

#[test]
fn a_lost_login_is_mended_while_callers_wait() {
    let mut slot = Served::new();
    assert_eq!(slot.fail(Level::Login), Change::Ended);
    assert!(matches!(slot.machine.admit(), Admission::Wait));
    assert_eq!(slot.machine.begin_attempt(slot.now), Some(Level::Login));
    assert_eq!(slot.machine.begin_attempt(slot.now), None, "one attempt at a time");
    slot.recover();
    assert!(slot.goes());
}

#[test]
fn nobody_waits_after_the_first_attempt_failed() {
    let mut slot = Served::new();
    slot.fail(Level::Token);
    assert_eq!(slot.next_attempt(), Some(Level::Token));
    slot.attempt_fails(Level::Module);
    assert_eq!(slot.refused(), Some(Kind::Throttled));
    let asked = slot.now;
    assert_eq!(slot.next_attempt(), Some(Level::Module));
    assert!(slot.now - asked <= PAUSE_CEILING);
    assert_eq!(slot.refused(), Some(Kind::Throttled), "not while the second one runs, either");
    // Well again: that is tried before anybody goes.
    slot.recover();
    assert!(slot.probes());
    assert_eq!(slot.refused(), Some(Kind::Throttled));
    slot.succeed();
    assert!(slot.goes());
}

#[test]
fn pauses_stay_below_half_a_second_however_long_it_takes() {
    let mut slot = Served::new();
    slot.fail(Level::Module);
    for _ in 0..100 {
        let before = slot.now;
        assert!(slot.next_attempt().is_some());
        assert!(slot.now - before <= PAUSE_CEILING + MS);
        slot.attempt_fails(Level::Module);
    }
}

#[test]
fn a_few_failures_open_nothing_and_a_row_of_them_does() {
    let mut slot = Served::new();
    for _ in 0..100 {
        for _ in 0..FAILURES - 1 {
            assert_eq!(slot.fail(Level::Operation), Change::None);
        }
        slot.succeed();
    }
    for _ in 0..FAILURES {
        slot.fail(Level::Operation);
    }
    assert_eq!(slot.refused(), Some(Kind::Throttled));
    // A pause, and it is tried whether calls go through. No attempt: nothing but calls failed.
    for _ in 0..1_000 {
        assert_eq!(slot.machine.begin_attempt(slot.now), None);
        slot.wait(MS);
    }
    assert!(slot.probes());
    slot.fail(Level::Operation);
    assert_eq!(slot.refused(), Some(Kind::Throttled));
}

#[test]
fn calls_that_fail_for_ever_bring_everything_down_and_up_again() {
    let mut slot = Served::new();
    for _ in 0..FAILURES {
        slot.fail(Level::Operation);
    }
    for _ in 0..STUBBORN {
        if let Some(level) = slot.next_attempt() {
            assert_eq!(level, Level::Module);
            return;
        }
        assert!(slot.probes());
        slot.fail(Level::Operation);
    }
    assert_eq!(slot.next_attempt(), Some(Level::Module));
}

#[test]
fn what_a_recovery_did_not_mend_is_not_recovered_at_every_call() {
    let mut slot = Served::new();
    let mut recoveries = 0;
    // Half of the calls fail by a fault of the module, for a minute.
    for _ in 0..6_000 {
        if slot.fail(Level::Module) == Change::Ended {
            recoveries += 1;
            assert!(slot.next_attempt().is_some());
            slot.recover();
        }
        slot.machine.admit();
        slot.succeed();
        slot.wait(10 * MS);
    }
    assert!((1..=8).contains(&recoveries), "{recoveries} recoveries in a minute");
}

#[test]
fn a_token_that_serves_nobody_is_recovered_however_soon() {
    let mut slot = Served::new();
    slot.fail(Level::Token);
    slot.next_attempt();
    slot.recover();
    slot.succeed();
    // Pulled again in the same second: all fail.
    let changes: Vec<_> = (0..STORM).map(|_| slot.fail(Level::Token)).collect();
    assert_eq!(changes.last(), Some(&Change::Ended));
}

#[test]
fn old_news_changes_nothing() {
    let mut slot = Served::new();
    let old = slot.epochs;
    slot.fail(Level::Login);
    slot.next_attempt();
    slot.recover();
    assert_eq!(slot.machine.failed(old, Level::Module, "late", slot.now), Change::None);
    assert_eq!(slot.machine.succeeded(old, slot.now), Change::None);
    assert!(slot.goes());
}

#[test]
fn who_needs_a_person_says_so_and_is_looked_at_again() {
    let mut slot = Served::new();
    slot.fail(Level::Login);
    slot.next_attempt();
    slot.machine.attempt_failed(Failed::down(Why::Pin, "the PIN is wrong".to_owned()), slot.now);
    let error = match slot.machine.admit() {
        Admission::Refuse(error) => error,
        Admission::Go | Admission::Wait => panic!("it is down"),
    };
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("PIN") && error.message().contains("operator"), "{error}");
    let before = slot.now;
    assert_eq!(slot.next_attempt(), Some(Level::Token));
    assert!(slot.now - before <= PATIENT_CEILING);
    assert_eq!(slot.refused(), Some(Kind::Unavailable), "it stays down while that attempt runs");
}

#[test]
fn a_probe_that_tells_nothing_gives_its_place_back() {
    let mut slot = Served::new();
    slot.fail(Level::Token);
    slot.next_attempt();
    slot.attempt_fails(Level::Token);
    slot.next_attempt();
    slot.recover();
    assert!(slot.probes());
    slot.machine.probe_is_back();
    assert!(slot.probes());
    // One that hangs keeps the next one out for a while only.
    slot.wait(PROBE);
    assert!(slot.probes());
}

#[test]
fn closed_is_for_ever() {
    let mut slot = Served::new();
    assert_eq!(slot.machine.close(slot.now), Change::Moved);
    assert_eq!(slot.machine.close(slot.now), Change::None);
    slot.recover();
    slot.machine.lost_everything(slot.now);
    slot.machine.too_many_hang(slot.now);
    slot.attempt_fails(Level::Module);
    assert_eq!(slot.next_attempt(), None);
    assert_eq!(slot.refused(), Some(Kind::Unavailable));
}

#[derive(Clone, Debug)]
enum Event {
    Fail(Level),
    Succeed,
    Admit,
    Tick,
    AttemptEnds(Option<Level>),
    LostEverything,
    TooManyHang,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let level =
        || prop_oneof![Just(Level::Operation), Just(Level::Session), Just(Level::Login), Just(Level::Token), Just(Level::Module)];
    prop_oneof![
        level().prop_map(Event::Fail),
        Just(Event::Succeed),
        Just(Event::Admit),
        Just(Event::Tick),
        proptest::option::of(level()).prop_map(Event::AttemptEnds),
        Just(Event::LostEverything),
        Just(Event::TooManyHang),
        (0..600u64).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever happened: when the token is well from now on, the slot serves within a second.
    #[test]
    fn a_token_that_is_well_is_served_within_a_second(events in prop::collection::vec(event(), 0..60)) {
        let mut slot = Served::new();
        let mut runs = false;
        for event in events {
            match event {
                Event::Fail(level) => drop(slot.fail(level)),
                Event::Succeed => slot.succeed(),
                Event::Admit => drop(slot.machine.admit()),
                Event::Tick if !runs => runs = slot.machine.begin_attempt(slot.now).is_some(),
                Event::AttemptEnds(None) if runs => { slot.recover(); runs = false; }
                Event::AttemptEnds(Some(level)) if runs => { slot.attempt_fails(level); runs = false; }
                Event::Tick | Event::AttemptEnds(_) => {}
                Event::LostEverything => drop(slot.machine.lost_everything(slot.now)),
                Event::TooManyHang => drop(slot.machine.too_many_hang(slot.now)),
                Event::Wait(time) => slot.wait(Duration::from_millis(time)),
            }
        }
        let well = slot.now;
        let mut served = false;
        while !served && slot.now - well <= Duration::from_millis(1_100) {
            if runs || slot.machine.begin_attempt(slot.now).is_some() {
                slot.recover();
                runs = false;
            }
            if slot.probes() || slot.goes() {
                slot.succeed();
                served = slot.goes();
            }
            slot.wait(5 * MS);
        }
        prop_assert!(served, "{:?}", slot.machine.condition());
    }
}
