//! C_Initialize, C_Finalize and `uninitialise`.

use crate::{World, apart};
use cryptoki_sys::*;

#[test]
fn calls_while_the_module_is_not_initialised_are_told_so() {
    apart(|| {
        let World { fault, raw } = World::here();
        let refused = Err(CKR_CRYPTOKI_NOT_INITIALIZED);
        for _ in 0..2 {
            assert_eq!(raw.slots().map(|_| ()), refused);
            assert_eq!(raw.open(1).map(|_| ()), refused);
            assert_eq!(raw.random(1), refused);
            assert_eq!(raw.finalise(), refused);
            assert_eq!(fault.state()["initialised"], false);
            raw.initialise().unwrap();
            assert_eq!(raw.initialise(), Err(CKR_CRYPTOKI_ALREADY_INITIALIZED));
            assert_eq!(fault.state()["initialised"], true);
            raw.open(raw.labelled("one")).unwrap();
            raw.finalise().unwrap();
            assert_eq!(fault.state()["sessions"], serde_json::json!({}));
        }
        assert_eq!(fault.state()["initialisations"], 2);
    });
}

#[test]
fn the_module_forgets_that_it_was_initialised() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        let refused = Err(CKR_CRYPTOKI_NOT_INITIALIZED);
        fault.tell("uninitialise");
        assert!(fault.ask("uninitialise").unwrap_err().contains("not initialised"));
        assert_eq!(raw.random(token.session), refused);
        assert_eq!(raw.slots().map(|_| ()), refused);
        assert_eq!(raw.finalise(), refused);
        assert_eq!(raw.close(token.session), refused);
        raw.initialise().unwrap();
        assert_eq!(raw.random(token.session), Err(CKR_SESSION_HANDLE_INVALID));
        let session = raw.open(token.slot).unwrap();
        // The real module was finalised: the login is lost.
        assert_eq!(raw.info(session), Ok((token.slot, CKS_RW_PUBLIC_SESSION)));
        raw.login(session).unwrap();
        raw.finalise().unwrap();
    });
}

#[test]
fn a_call_that_hangs_over_the_end_of_the_module_is_told_so() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        let closed = raw.open(token.slot).unwrap();
        fault.tell("hang C_GenerateRandom nth=1");
        fault.tell("hang C_GetTokenInfo nth=1 after");
        fault.tell("hang C_OpenSession nth=1 after");
        fault.tell("hang C_CloseSession nth=1 after");
        std::thread::scope(|scope| {
            let random = scope.spawn(|| raw.random(token.session));
            let info = scope.spawn(|| raw.token(token.slot).map(|_| ()));
            let open = scope.spawn(|| raw.open(token.slot).map(|_| ()));
            let close = scope.spawn(|| raw.close(closed));
            fault.wait_hung(4);
            raw.finalise().unwrap();
            fault.tell("release");
            assert_eq!(random.join().unwrap(), Err(CKR_CRYPTOKI_NOT_INITIALIZED));
            assert_eq!(info.join().unwrap(), Err(CKR_CRYPTOKI_NOT_INITIALIZED));
            assert_eq!(open.join().unwrap(), Err(CKR_CRYPTOKI_NOT_INITIALIZED));
            assert_eq!(close.join().unwrap(), Ok(()));
        });
        fault.tell("clear");
        fault.tell("hang C_Initialize nth=1");
        fault.tell("hang C_Finalize nth=1 after");
        std::thread::scope(|scope| {
            let initialise = scope.spawn(|| raw.initialise());
            fault.wait_hung(1);
            assert_eq!(raw.slots(), Err(CKR_CRYPTOKI_NOT_INITIALIZED));
            fault.tell("release");
            initialise.join().unwrap().unwrap();
            let finalise = scope.spawn(|| raw.finalise());
            fault.wait_hung(1);
            assert_eq!(raw.slots(), Err(CKR_CRYPTOKI_NOT_INITIALIZED));
            raw.initialise().unwrap();
            fault.tell("release");
            finalise.join().unwrap().unwrap();
            raw.slots().unwrap();
        });
    });
}

#[test]
fn the_module_is_initialised_and_finalised_under_commands() {
    apart(|| {
        let World { fault, raw } = World::here();
        std::thread::scope(|scope| {
            let life = scope.spawn(move || {
                for _ in 0..30 {
                    raw.initialise().unwrap();
                    let slot = raw.labelled("one");
                    if let Ok(session) = raw.open(slot) {
                        let _ = raw.login(session);
                        let _ = raw.random(session);
                    }
                    // Told so after `uninitialise`.
                    let _ = raw.finalise();
                }
            });
            while !life.is_finished() {
                for command in ["invalidate-sessions", "invalidate-objects", "lose-login", "state", "counts"] {
                    let _ = fault.ask(command);
                }
            }
            life.join().unwrap();
        });
        assert_eq!(fault.state()["initialisations"], 30);
    });
}
