//! `remove-token`, `insert-token`, `pin-flags`.

use crate::{World, apart, fault};
use cryptoki_sys::*;

#[test]
fn a_token_is_removed_and_inserted() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        let other = raw.open(one.slot).unwrap();
        assert_eq!(fault.tell("remove-token token=one")["sessions"], 2);
        let slots = raw.slots().unwrap();
        assert!(!slots.contains(&one.slot) && slots.contains(&two.slot));
        assert_eq!(raw.slot_flags(one.slot).unwrap() & CKF_TOKEN_PRESENT, 0);
        assert_ne!(raw.slot_flags(two.slot).unwrap() & CKF_TOKEN_PRESENT, 0);
        assert_eq!(raw.token(one.slot).err(), Some(CKR_TOKEN_NOT_PRESENT));
        assert_eq!(raw.mechanisms(one.slot), Err(CKR_TOKEN_NOT_PRESENT));
        assert_eq!(raw.open(one.slot), Err(CKR_TOKEN_NOT_PRESENT));
        assert_eq!(raw.close_all(one.slot), Err(CKR_TOKEN_NOT_PRESENT));
        for session in [one.session, other] {
            assert_eq!(raw.random(session), Err(CKR_DEVICE_REMOVED));
            assert_eq!(raw.random(session), Err(CKR_SESSION_HANDLE_INVALID));
        }
        raw.random(two.session).unwrap();
        assert!(fault.ask("remove-token token=one").unwrap_err().contains("already"));
        assert!(fault.ask("remove-token slot=4711").unwrap_err().contains("no slot 4711"));

        fault.tell("insert-token token=one");
        assert!(raw.slots().unwrap().contains(&one.slot));
        assert_eq!(raw.random(one.session), Err(CKR_SESSION_HANDLE_INVALID));
        let again = raw.open(one.slot).unwrap();
        assert_eq!(raw.info(again), Ok((one.slot, CKS_RW_PUBLIC_SESSION)));
        raw.login(again).unwrap();
        assert_eq!(raw.find(again, 1).unwrap().len(), 1);
        assert!(fault.ask("insert-token token=one").unwrap_err().contains("not removed"));
    });
}

#[test]
fn a_token_comes_back_under_another_slot_number() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        fault.tell(&format!("remove-token slot={}", one.slot));
        let taken = fault.ask(&format!("insert-token token=one as={}", two.slot));
        assert!(taken.unwrap_err().contains("already"));
        fault.tell("insert-token token=one as=77");
        let slots = raw.slots().unwrap();
        assert!(slots.contains(&77) && !slots.contains(&one.slot));
        assert_eq!(raw.labelled("one"), 77);
        assert_eq!(raw.token(one.slot).err(), Some(CKR_SLOT_ID_INVALID));
        assert_eq!(raw.open(one.slot), Err(CKR_SLOT_ID_INVALID));
        let again = raw.open(77).unwrap();
        raw.login(again).unwrap();
        assert_eq!(raw.info(again), Ok((77, CKS_RW_USER_FUNCTIONS)));
        assert_eq!((fault.sessions(77), fault.sessions(one.slot)), (1, 0));
        let _rule = fault.rule("fail C_GenerateRandom CKR_DEVICE_ERROR slot=77");
        assert_eq!(raw.random(again), Err(CKR_DEVICE_ERROR));
        // It keeps the number when the module is initialised anew.
        raw.finalise().unwrap();
        raw.initialise().unwrap();
        assert_eq!(raw.labelled("one"), 77);
        fault.tell("clear all");
        assert_eq!(raw.labelled("one"), one.slot);
    });
}

#[test]
fn a_token_is_seen_again_after_c_initialize() {
    apart(|| {
        let (World { fault, raw }, one) = World::ready();
        fault.tell("remove-token token=one until-reinit");
        raw.finalise().unwrap();
        raw.initialise().unwrap();
        assert!(!raw.slots().unwrap().contains(&one.slot));
        fault.tell("insert-token token=one as=78");
        assert_eq!(raw.open(one.slot), Err(CKR_TOKEN_NOT_PRESENT));
        raw.finalise().unwrap();
        raw.initialise().unwrap();
        assert_eq!(raw.labelled("one"), 78);
        assert!(raw.open(78).is_ok());
    });
}

#[test]
fn a_call_that_hangs_is_told_that_its_token_is_removed() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        fault.tell("hang C_GenerateRandom nth=1");
        fault.tell("hang C_OpenSession nth=1");
        std::thread::scope(|scope| {
            let call = scope.spawn(|| raw.random(token.session));
            let open = scope.spawn(|| raw.open(token.slot));
            fault.wait_hung(2);
            fault.tell("remove-token token=one");
            fault.tell("release");
            assert_eq!(call.join().unwrap(), Err(CKR_DEVICE_REMOVED));
            assert_eq!(open.join().unwrap(), Err(CKR_TOKEN_NOT_PRESENT));
        });
        assert_eq!(raw.random(token.session), Err(CKR_SESSION_HANDLE_INVALID));
    });
}

#[test]
fn commands_about_tokens_may_come_before_c_initialize() {
    apart(|| {
        let World { fault, raw } = World::here();
        fault.tell(&format!("remove-token {}", fault::token("one")));
        fault.tell("pin-flags locked token=two");
        assert_eq!(fault.state()["pending"], 2);
        raw.initialise().unwrap();
        assert_eq!(fault.state()["pending"], 0);
        let labels = raw.slots().unwrap().into_iter().map(|slot| raw.token(slot).unwrap().label);
        assert!(!labels.into_iter().any(|label| label.trim_ascii_end() == b"one"));
        let two = raw.token(raw.labelled("two")).unwrap();
        assert_ne!(two.flags & CKF_USER_PIN_LOCKED, 0);
    });
}

#[test]
fn pin_flags_are_what_was_asked_for() {
    apart(|| {
        let World { fault, raw } = World::here();
        raw.initialise().unwrap();
        let (one, two) = (raw.labelled("one"), raw.labelled("two"));
        let flags = |slot| raw.token(slot).unwrap().flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
        for (name, expected) in [
            ("count-low", CKF_USER_PIN_COUNT_LOW),
            ("final-try", CKF_USER_PIN_FINAL_TRY),
            ("locked", CKF_USER_PIN_LOCKED),
            ("fine", 0),
        ] {
            fault.tell(&format!("pin-flags {name} token=one"));
            assert_eq!((flags(one), flags(two)), (expected, 0));
        }
        fault.tell("pin-flags locked");
        assert_eq!((flags(one), flags(two)), (CKF_USER_PIN_LOCKED, CKF_USER_PIN_LOCKED));
        fault.tell("pin-flags real token=two");
        assert_eq!((flags(one), flags(two)), (CKF_USER_PIN_LOCKED, 0));
        fault.tell("pin-flags real");
        assert_eq!((flags(one), flags(two)), (0, 0));
        assert!(fault.ask("pin-flags locked token=three").unwrap_err().contains("no token"));
    });
}
