//! Commands while calls are under way. SoftHSM crashes if a session is closed or the module finalised under a call, so these tests
//! end with a signal if the module does so.

use crate::raw::Raw;
use crate::{World, apart};
use cryptoki_sys::*;

/// Logs in and encrypts until the session ends; gives how many encryptions there were and how it ended.
fn work(raw: Raw, session: CK_SESSION_HANDLE) -> (usize, CK_RV) {
    let mut done = 0;
    loop {
        let encrypted = raw.find(session, 1).and_then(|keys| match keys.first() {
            Some(key) => raw.encrypt_init(session, *key).and(raw.encrypt(session)).map(|_| ()),
            None => Err(CKR_OBJECT_HANDLE_INVALID),
        });
        match encrypted {
            Ok(()) => done += 1,
            // In between the object got another number, or the login was lost, or the session.
            Err(CKR_KEY_HANDLE_INVALID | CKR_OBJECT_HANDLE_INVALID) => {
                let _ = raw.login(session);
            }
            Err(end) => return (done, end),
        }
    }
}

#[test]
fn sessions_and_tokens_go_under_load() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        std::thread::scope(|scope| {
            let workers: Vec<_> = [one.slot, one.slot, two.slot, two.slot]
                .into_iter()
                .map(|slot| {
                    scope.spawn(move || {
                        let (mut ends, mut done) = (0, 0);
                        while ends < 20 {
                            // The token may be gone.
                            let Ok(session) = raw.open(slot) else { continue };
                            let (more, end) = work(raw, session);
                            assert!([CKR_SESSION_HANDLE_INVALID, CKR_DEVICE_REMOVED].contains(&end), "{end:#x}");
                            ends += 1;
                            done += more;
                        }
                        done
                    })
                })
                .collect();
            while workers.iter().any(|worker| !worker.is_finished()) {
                for command in [
                    "invalidate-sessions",
                    "invalidate-objects token=one",
                    "remove-token token=two",
                    "insert-token token=two",
                    "lose-login token=one",
                ] {
                    // There may be no session to log out with.
                    let _ = fault.ask(command);
                }
            }
            let done: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
            assert!(done > 0);
        });
        let state = fault.state();
        assert_eq!((&state["inside"], &state["overlaps"]), (&0.into(), &0.into()));
        fault.tell("invalidate-sessions");
        assert_eq!(fault.state()["sessions"], serde_json::json!({}));
    });
}

#[test]
fn the_module_forgets_under_load() {
    apart(|| {
        let (World { fault, raw }, one) = World::ready();
        for _ in 0..20 {
            // Nobody may use an old number afterwards: it is another session then.
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..3)
                    .map(|_| {
                        let session = raw.open(one.slot).unwrap();
                        scope.spawn(move || work(raw, session))
                    })
                    .collect();
                while fault.calls("C_Encrypt") < 20 {
                    std::thread::yield_now();
                }
                fault.tell("uninitialise");
                for worker in workers {
                    assert_eq!(worker.join().unwrap().1, CKR_CRYPTOKI_NOT_INITIALIZED);
                }
            });
            assert_eq!(fault.state()["inside"], 0);
            raw.initialise().unwrap();
            fault.tell("reset-counts");
        }
        assert_eq!(fault.state()["overlaps"], 0);
    });
}
