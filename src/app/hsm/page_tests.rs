//! Pages of made-up slots.

use std::collections::BTreeMap;

use super::*;
use crate::wire::slots::{Down, Failures, Need, Queue, Sessions};

fn calls(operation: &str, ok: u64, throttled: u64, seconds: f64) -> Calls {
    let module = Times { count: ok, seconds };
    Calls { operation: operation.to_owned(), ok, refused: 0, throttled, unavailable: 0, failed: 0, module }
}

fn serving() -> Slot {
    Slot {
        state: State::Serving,
        for_seconds: 192.0,
        down: None,
        reason: "it was not connected yet".to_owned(),
        needs: Need::Nobody,
        advice: None,
        remarks: Vec::new(),
        breaker: Breaker::Closed,
        logged_in: true,
        logins: 1,
        sessions: Sessions { configured: 64, allowed: 62, open: 3, busy: 1, written_off: 0 },
        queue: Queue { waiting: 0, bound: 1024, waited: Times { count: 4, seconds: 48e-6 } },
        last_success_seconds: Some(0.2),
        last_failure: None,
        token: Some(Token {
            label: "keystead".to_owned(),
            serial: "58c4".to_owned(),
            slot_id: 7,
            manufacturer: "SoftHSM project".to_owned(),
            model: "SoftHSM v2".to_owned(),
            firmware: "2.6".to_owned(),
            pin_initialized: true,
            pin: Pin::Fine,
            session_limit: None,
        }),
        module: "/usr/lib/softhsm/libsofthsm2.so".to_owned(),
        uri: "pkcs11:token=keystead".to_owned(),
        operations: vec![calls("encrypt", 12_000, 0, 0.6), calls("sign", 100, 0, 0.12), calls("import", 0, 0, 0.0)],
        failures: Vec::new(),
        recoveries: BTreeMap::from([("login".to_owned(), 0), ("token".to_owned(), 0)]),
        failed_recoveries: 0,
        written_off: 0,
        panics: 0,
    }
}

fn instance(slots: Vec<Slot>) -> InstanceSlots {
    InstanceSlots { instance_id: "kst-a".to_owned(), name: "payments".to_owned(), kind: "Hardware".to_owned(), slots }
}

#[test]
fn a_slot_that_serves() {
    let expected = "\
payments  kst-a  Hardware
  state       serving for 3 min 12 s
  before      it was not connected yet
  token       keystead, serial 58c4, in slot 7; SoftHSM project SoftHSM v2, firmware 2.6
  module      /usr/lib/softhsm/libsofthsm2.so
  login       logged in, 1 C_Login since the start; PIN fine
  sessions    3 open, 1 busy, 0 written off; 62 allowed of 64 configured
  queue       0 waiting, 1,024 may; 12 µs on average
  breaker     closed: calls go through
  last        served just now; no failure of the module
  recoveries  none

  calls        ok  refused  throttled  unavailable  failed  average in module
  encrypt  12,000        0          0            0       0              50 µs
  sign        100        0          0            0       0             1.2 ms
";
    assert_eq!(page(&[instance(vec![serving()])], None, Paint::Plain), expected);
}

#[test]
fn a_slot_that_needs_somebody_says_so_first() {
    let down = Slot {
        state: State::Down,
        down: Some(Down::NeedsRestart),
        for_seconds: 7.0,
        reason: "3 calls hang in it".to_owned(),
        needs: Need::Restart,
        advice: Some("Restart the service.".to_owned()),
        breaker: Breaker::Open,
        logged_in: false,
        logins: 2,
        sessions: Sessions { configured: 64, allowed: 62, open: 3, busy: 0, written_off: 3 },
        last_success_seconds: None,
        last_failure: Some(LastFailure { function: "C_Sign".to_owned(), ckr: "CKR_DEVICE_ERROR".to_owned(), seconds: 75.0 }),
        token: None,
        operations: Vec::new(),
        failures: vec![Failures { function: "C_Sign".to_owned(), ckr: "CKR_DEVICE_ERROR".to_owned(), count: 1_200 }],
        recoveries: BTreeMap::from([("token".to_owned(), 2), ("login".to_owned(), 1)]),
        failed_recoveries: 9,
        written_off: 5,
        panics: 2,
        ..serving()
    };
    let text = page(&[instance(vec![down])], None, Paint::Plain);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[1..4],
        ["  state       down for 7.0 s", "  reason      3 calls hang in it", "  to do       Restart the service.",]
    );
    for part in [
        "not found yet: pkcs11:token=keystead",
        "not logged in, 2 C_Logins since the start\n",
        "3 written off (5 since the start)",
        "open: no call goes through",
        "nothing served yet; CKR_DEVICE_ERROR of C_Sign 1 min 15 s ago",
        "login 1, token 2; 9 attempts failed; 2 panics",
        "  CKR_DEVICE_ERROR of C_Sign  1,200",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn two_looks_give_rates() {
    let before = [instance(vec![serving()])];
    let mut now = serving();
    now.operations[0] = calls("encrypt", 14_000, 3, 0.8);
    now.queue.waited = Times { count: 6, seconds: 2.048e-3 };
    let before = Some(Before { instances: &before, ago: Duration::from_secs(2) });
    let text = page(&[instance(vec![now])], before, Paint::Plain);
    for part in [
        "  at present  1,002 operations/s, 1.5 errors/s",
        "0 waiting, 1,024 may; 1.0 ms on average",
        "  calls    per second      ok",
        "  encrypt       1,002  14,000        0          3            0       0             100 µs",
        "  sign              0     100        0          0            0       0                  -",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn counts_that_begin_anew_give_no_rates() {
    let before = [instance(vec![serving()])];
    let now = Slot { operations: vec![calls("encrypt", 1, 0, 0.0)], ..serving() };
    let before = Some(Before { instances: &before, ago: Duration::from_secs(2) });
    assert!(!page(&[instance(vec![now])], before, Paint::Plain).contains("per second"));
}

#[test]
fn an_instance_without_slots_says_why() {
    let software = InstanceSlots { kind: "Software".to_owned(), ..instance(Vec::new()) };
    let text = page(&[instance(vec![serving()]), software], None, Paint::Plain);
    assert!(text.ends_with("\n\npayments  kst-a  Software\n  no slots: its keys are held in the process\n"), "{text}");
}

#[test]
fn colours_are_for_terminals() {
    let coloured = page(&[instance(vec![serving()])], None, Paint::Coloured);
    assert!(coloured.contains("\x1b[32mserving\x1b[0m"), "{coloured:?}");
    assert!(!page(&[instance(vec![serving()])], None, Paint::Plain).contains('\x1b'));
}
