//! `fail`, `hang`, `crash`, `drop`, `clear`, and which calls they are for.

use std::os::unix::process::ExitStatusExt;

use crate::{World, apart, end_of, fault};
use cryptoki_sys::*;

#[test]
fn a_failing_function_fails_as_often_as_the_rule_says() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        let outcomes = |calls: usize| (0..calls).map(|_| raw.random(token.session).is_ok()).collect::<Vec<_>>();
        fault.tell("fail C_GenerateRandom CKR_DEVICE_ERROR nth=2");
        assert_eq!(outcomes(4), [true, false, true, true]);
        fault.tell("clear");
        fault.tell("fail C_GenerateRandom CKR_DEVICE_ERROR every=2");
        assert_eq!(outcomes(4), [true, false, true, false]);
        fault.tell("clear");
        fault.tell("fail C_GenerateRandom CKR_DEVICE_ERROR times=2");
        assert_eq!(outcomes(4), [false, false, true, true]);
        fault.tell("clear");
        fault.tell("fail C_GenerateRandom CKR_DEVICE_ERROR");
        assert_eq!(outcomes(4), [false; 4]);
        fault.tell("clear");
        assert_eq!(outcomes(2), [true; 2]);
    });
}

#[test]
fn any_answer_can_be_given() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        for (name, value) in [("CKR_SESSION_CLOSED", CKR_SESSION_CLOSED), ("0x80000123", 0x8000_0123)] {
            let _rule = fault.rule(&format!("fail C_GenerateRandom {name}"));
            assert_eq!(raw.random(token.session), Err(value));
        }
        assert_eq!(raw.random(token.session), Ok(()));
    });
}

#[test]
fn groups_of_functions_fail_together() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        let rule = fault.rule("fail C_*Init CKR_DEVICE_ERROR");
        assert_eq!(raw.encrypt_init(token.session, token.key), Err(CKR_DEVICE_ERROR));
        assert_eq!(raw.digest_init(token.session), Err(CKR_DEVICE_ERROR));
        assert_eq!(raw.find(token.session, 1).unwrap().len(), 1);
        drop(rule);
        let rule = fault.rule("fail C_FindObjects* CKR_DEVICE_ERROR");
        assert_eq!(raw.find(token.session, 1), Err(CKR_DEVICE_ERROR));
        drop(rule);
        let rule = fault.rule("fail C_GenerateKey* CKR_DEVICE_ERROR");
        assert_eq!(raw.generate(token.session, 1, CK_FALSE), Err(CKR_DEVICE_ERROR));
        drop(rule);
        let rule = fault.rule("fail all CKR_DEVICE_ERROR");
        assert_eq!(raw.slots(), Err(CKR_DEVICE_ERROR));
        assert_eq!(raw.finalise(), Err(CKR_DEVICE_ERROR));
        assert_eq!(rule.fired(), 2);
        drop(rule);
        assert!(raw.slots().is_ok());
    });
}

#[test]
fn a_rule_is_for_a_slot_a_token_or_a_session() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        let other = raw.open(one.slot).unwrap();
        let outcomes = || [one.session, other, two.session].map(|session| raw.random(session).is_ok());
        for (scope, expected) in [
            (format!("slot={}", two.slot), [true, true, false]),
            (fault::token("two"), [true, true, false]),
            ("token=\"one\"".to_owned(), [false, false, true]),
            (format!("session={other}"), [true, false, true]),
            (fault::token("three"), [true, true, true]),
            (String::new(), [false, false, false]),
        ] {
            let rule = fault.rule(&format!("fail C_GenerateRandom CKR_DEVICE_ERROR {scope}"));
            assert_eq!(outcomes(), expected, "{scope}");
            let failed = expected.iter().filter(|fine| !**fine).count() as u64;
            assert_eq!((rule.calls(), rule.fired()), (failed, failed));
        }
        let _rule = fault.rule("fail C_OpenSession CKR_DEVICE_ERROR token=two");
        assert_eq!(raw.open(two.slot), Err(CKR_DEVICE_ERROR));
        assert!(raw.open(one.slot).is_ok());
    });
}

#[test]
fn an_operation_whose_call_fails_is_over() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        let session = token.session;
        for begun in [0, 1] {
            for failing in ["C_Encrypt", "C_EncryptUpdate"] {
                let rule = fault.rule(&format!("fail {failing} CKR_DEVICE_ERROR"));
                raw.encrypt_init(session, token.key).unwrap();
                if failing == "C_EncryptUpdate" {
                    if begun == 1 {
                        drop(rule);
                        raw.encrypt_update(session).unwrap();
                        fault.tell("fail C_EncryptUpdate CKR_DEVICE_ERROR");
                    }
                    assert_eq!(raw.encrypt_update(session), Err(CKR_DEVICE_ERROR));
                } else {
                    assert_eq!(raw.encrypt(session), Err(CKR_DEVICE_ERROR));
                }
                fault.tell("clear");
                assert_eq!(raw.encrypt(session), Err(CKR_OPERATION_NOT_INITIALIZED), "{failing}");
                assert_eq!(raw.encrypt_init(session, token.key), Ok(()), "{failing}");
                raw.encrypt(session).unwrap();
            }
        }
        fault.tell("fail C_FindObjectsFinal CKR_DEVICE_ERROR times=1");
        assert_eq!(raw.find(session, 1), Err(CKR_DEVICE_ERROR));
        assert_eq!(raw.find(session, 1).unwrap().len(), 1);
        fault.tell("fail C_DigestUpdate CKR_DEVICE_ERROR times=1");
        raw.digest_init(session).unwrap();
        assert_eq!(raw.digest_update(session), Err(CKR_DEVICE_ERROR));
        assert_eq!(raw.digest_init(session), Ok(()));
    });
}

#[test]
fn an_operation_stays_active_if_asked_for_or_if_the_buffer_is_too_small() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        for rule in ["fail C_Encrypt CKR_DEVICE_ERROR leave-active", "fail C_Encrypt CKR_BUFFER_TOO_SMALL"] {
            let rule = fault.rule(rule);
            raw.encrypt_init(token.session, token.key).unwrap();
            assert!(raw.encrypt(token.session).is_err());
            assert_eq!(raw.encrypt_init(token.session, token.key), Err(CKR_OPERATION_ACTIVE));
            drop(rule);
            assert!(raw.encrypt(token.session).is_ok());
        }
    });
}

#[test]
fn an_answer_is_lost_on_its_way() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        fault.tell("fail C_GenerateKey CKR_DEVICE_ERROR after");
        fault.tell("fail C_OpenSession CKR_DEVICE_ERROR after nth=1");
        assert_eq!(raw.generate(token.session, 9, CK_TRUE), Err(CKR_DEVICE_ERROR));
        assert_eq!(raw.find(token.session, 9).unwrap().len(), 1);
        assert_eq!(raw.open(token.slot), Err(CKR_DEVICE_ERROR));
        assert_eq!(fault.sessions(token.slot), 2);
    });
}

#[test]
fn a_call_hangs_until_it_is_released() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        for moment in ["", "after"] {
            fault.tell(&format!("hang C_GenerateRandom nth=1 {moment}"));
            std::thread::scope(|scope| {
                let call = scope.spawn(|| raw.random(token.session));
                fault.wait_hung(1);
                assert_eq!((fault.hung(), fault.state()["inside"].as_u64()), (1, Some(0)));
                assert!(!call.is_finished());
                // Others go on.
                let other = raw.open(token.slot).unwrap();
                raw.random(other).unwrap();
                raw.close(other).unwrap();
                assert_eq!(fault.tell("release")["released"], 1);
                assert_eq!(call.join().unwrap(), Ok(()));
            });
            assert_eq!(fault.hung(), 0);
            raw.random(token.session).unwrap();
            fault.tell("clear");
        }
        assert!(fault.ask("wait-hung 1 timeout=1ms").unwrap_err().contains("0 calls"));
    });
}

#[test]
fn a_hanging_call_does_not_reach_a_session_that_was_closed() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        for moment in ["", "after"] {
            let session = raw.open(token.slot).unwrap();
            fault.tell(&format!("hang C_GenerateRandom nth=1 {moment}"));
            std::thread::scope(|scope| {
                let call = scope.spawn(|| raw.random(session));
                fault.wait_hung(1);
                raw.close(session).unwrap();
                fault.tell("release");
                assert_eq!(call.join().unwrap(), Err(CKR_SESSION_HANDLE_INVALID));
            });
            fault.tell("clear");
        }
    });
}

#[test]
fn a_hanging_call_does_not_reach_the_session_that_has_its_number_now() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        fault.tell("hang C_GenerateRandom nth=1");
        std::thread::scope(|scope| {
            let call = scope.spawn(|| raw.random(token.session));
            fault.wait_hung(1);
            raw.finalise().unwrap();
            raw.initialise().unwrap();
            let again = raw.open(token.slot).unwrap();
            assert_eq!(again, token.session, "SoftHSM begins again at 1");
            fault.tell("release");
            assert_eq!(call.join().unwrap(), Err(CKR_SESSION_HANDLE_INVALID));
            raw.random(again).unwrap();
        });
    });
}

#[test]
fn clear_releases_and_the_process_ends_with_calls_that_hang() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        fault.tell("hang C_GenerateRandom");
        std::thread::scope(|scope| {
            let calls = [(); 3].map(|()| {
                let session = raw.open(token.slot).unwrap();
                scope.spawn(move || raw.random(session))
            });
            fault.wait_hung(3);
            fault.tell("clear");
            assert!(calls.into_iter().all(|call| call.join().unwrap().is_ok()));
        });
        fault.tell("hang C_GenerateRandom");
        std::thread::spawn(move || raw.random(token.session));
        fault.wait_hung(1);
    });
}

#[test]
fn a_crash_ends_the_process() {
    let end = end_of(|| {
        let (World { fault, raw }, token) = World::ready();
        fault.tell("crash C_GenerateRandom nth=2");
        raw.random(token.session).unwrap();
        eprintln!("the first returned");
        let _ = raw.random(token.session);
        eprintln!("the second returned");
    });
    if let Some(end) = end {
        let said = String::from_utf8_lossy(&end.stderr);
        assert_eq!(end.status.signal(), Some(6), "{said}");
        assert!(said.contains("the first returned") && !said.contains("the second returned"), "{said}");
    }
}
