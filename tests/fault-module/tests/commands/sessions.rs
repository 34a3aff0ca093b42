//! `lose-login`, `invalidate-sessions`, `cap-sessions`, and what is known of sessions.

use crate::{World, apart};
use cryptoki_sys::*;

#[test]
fn a_login_is_lost() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        assert_eq!(fault.tell("lose-login token=one")["slots"], 1);
        assert_eq!(raw.info(one.session), Ok((one.slot, CKS_RW_PUBLIC_SESSION)));
        assert_eq!(raw.info(two.session), Ok((two.slot, CKS_RW_USER_FUNCTIONS)));
        assert_eq!(raw.encrypt_init(one.session, one.key), Err(CKR_OBJECT_HANDLE_INVALID));
        assert_eq!(raw.find(one.session, 1), Ok(vec![]));
        raw.encrypt_init(two.session, two.key).unwrap();
        raw.login(one.session).unwrap();
        assert_eq!(raw.find(one.session, 1).unwrap().len(), 1);
        raw.close_all(one.slot).unwrap();
        assert!(fault.ask("lose-login token=one").unwrap_err().contains("no session"));
    });
}

#[test]
fn sessions_their_objects_and_the_login_are_gone() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        let other = raw.open(one.slot).unwrap();
        let object = raw.generate(other, 2, CK_FALSE).unwrap();
        assert_eq!(fault.tell("invalidate-sessions token=one")["sessions"], 2);
        for session in [one.session, other] {
            assert_eq!(raw.random(session), Err(CKR_SESSION_HANDLE_INVALID));
            assert_eq!(raw.close(session), Err(CKR_SESSION_HANDLE_INVALID));
        }
        raw.random(two.session).unwrap();
        assert_eq!((fault.sessions(one.slot), fault.sessions(two.slot)), (0, 1));
        let again = raw.open(one.slot).unwrap();
        assert_eq!(raw.info(again), Ok((one.slot, CKS_RW_PUBLIC_SESSION)));
        raw.login(again).unwrap();
        assert_eq!(raw.find(again, 1).unwrap().len(), 1);
        assert_eq!(raw.find(again, 2), Ok(vec![]));
        assert_eq!(raw.encrypt_init(again, object), Err(CKR_OBJECT_HANDLE_INVALID));
    });
}

#[test]
fn a_call_that_hangs_is_told_that_its_session_is_gone() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        for moment in ["", "after"] {
            let session = raw.open(token.slot).unwrap();
            let _rule = fault.rule(&format!("hang C_GenerateRandom session={session} {moment}"));
            std::thread::scope(|scope| {
                let call = scope.spawn(|| raw.random(session));
                fault.wait_hung(1);
                fault.tell(&format!("invalidate-sessions slot={}", token.slot));
                fault.tell("release");
                assert_eq!(call.join().unwrap(), Err(CKR_SESSION_HANDLE_INVALID));
            });
        }
    });
}

#[test]
fn sessions_are_capped() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        fault.tell("cap-sessions 2");
        fault.tell("cap-sessions 3 token=two announce");
        let second = raw.open(one.slot).unwrap();
        assert_eq!(raw.open(one.slot), Err(CKR_SESSION_COUNT));
        raw.close(second).unwrap();
        raw.open(one.slot).unwrap();
        assert_eq!(raw.open(one.slot), Err(CKR_SESSION_COUNT));
        let more = [(); 2].map(|()| raw.open(two.slot));
        assert!(more.iter().all(Result::is_ok) && raw.open(two.slot) == Err(CKR_SESSION_COUNT));
        let limits = |slot| {
            let info = raw.token(slot).unwrap();
            (info.ulMaxSessionCount, info.ulMaxRwSessionCount)
        };
        assert_eq!(limits(two.slot), (3, 3));
        let real = limits(one.slot);
        assert_ne!(real, (2, 2));
        fault.tell("cap-sessions off");
        assert!(raw.open(one.slot).is_ok() && raw.open(two.slot).is_ok());
        assert_eq!(limits(two.slot), real);
    });
}

#[test]
fn open_sessions_and_overlapping_calls_are_counted() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        let others = [(); 3].map(|()| raw.open(token.slot).unwrap());
        assert_eq!(fault.sessions(token.slot), 4);
        raw.close(others[0]).unwrap();
        assert_eq!(fault.sessions(token.slot), 3);
        assert_eq!(raw.close(others[0]), Err(CKR_SESSION_HANDLE_INVALID));
        assert_eq!(fault.sessions(token.slot), 3);
        let rule = fault.rule("fail C_CloseSession CKR_DEVICE_ERROR");
        assert_eq!(raw.close(others[1]), Err(CKR_DEVICE_ERROR));
        raw.random(others[1]).unwrap();
        drop(rule);
        raw.close_all(token.slot).unwrap();
        assert_eq!(fault.sessions(token.slot), 0);
        assert_eq!(raw.random(others[1]), Err(CKR_SESSION_HANDLE_INVALID));
    });
}
