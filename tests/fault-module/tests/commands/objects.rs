//! `invalidate-objects` and `renumber`.

use crate::{World, apart};
use cryptoki_sys::*;

#[test]
fn object_handles_become_invalid_and_finds_give_others() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        let mut old = one.key;
        for _ in 0..2 {
            fault.tell("invalidate-objects token=one");
            assert_eq!(raw.id(one.session, old), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_eq!(raw.destroy(one.session, old), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_eq!(raw.encrypt_init(one.session, old), Err(CKR_KEY_HANDLE_INVALID));
            let found = raw.find(one.session, 1).unwrap();
            assert!(found.len() == 1 && found[0] != old);
            assert_eq!(raw.find(one.session, 1).unwrap(), found);
            assert_eq!(raw.id(one.session, found[0]), Ok(1));
            raw.encrypt_init(one.session, found[0]).unwrap();
            raw.encrypt(one.session).unwrap();
            old = found[0];
        }
        let made = raw.generate(one.session, 2, CK_TRUE).unwrap();
        assert_eq!(raw.find(one.session, 2).unwrap(), [made]);
        raw.destroy(one.session, made).unwrap();
        assert_eq!(raw.id(one.session, made), Err(CKR_OBJECT_HANDLE_INVALID));
        raw.encrypt_init(two.session, two.key).unwrap();
        fault.tell("invalidate-objects");
        assert_eq!(raw.id(two.session, two.key), Err(CKR_OBJECT_HANDLE_INVALID));
        // The operation that was begun with it goes on.
        raw.encrypt(two.session).unwrap();
    });
}

#[test]
fn an_old_handle_is_another_object() {
    apart(|| {
        let World { fault, raw } = World::here();
        fault.tell("renumber on");
        raw.initialise().unwrap();
        let slot = raw.labelled("one");
        let session = raw.open(slot).unwrap();
        raw.login(session).unwrap();
        let keys = [1, 2].map(|id| raw.generate(session, id, CK_TRUE).unwrap());
        assert_eq!((session, keys), (1, [2, 3]));
        let other = raw.open(slot).unwrap();
        assert_eq!((other, raw.id(other, 2), raw.id(other, 3)), (4, Ok(1), Ok(2)));
        raw.finalise().unwrap();
        assert_eq!(raw.random(session), Err(CKR_CRYPTOKI_NOT_INITIALIZED));

        raw.initialise().unwrap();
        let session = raw.open(slot).unwrap();
        raw.login(session).unwrap();
        assert_eq!(raw.id(session, 2), Err(CKR_OBJECT_HANDLE_INVALID));
        assert_eq!((session, raw.find(session, 2).unwrap()), (1, vec![2]));
        assert_eq!(raw.find(session, 1).unwrap(), [3]);
        assert_eq!((raw.id(session, 2), raw.id(session, 3)), (Ok(2), Ok(1)));
        assert_eq!(raw.random(4), Err(CKR_SESSION_HANDLE_INVALID));
        assert_eq!(raw.random(2), Err(CKR_SESSION_HANDLE_INVALID));
        fault.tell("invalidate-objects");
        assert_eq!(raw.id(session, 2), Err(CKR_OBJECT_HANDLE_INVALID));
        assert_eq!(raw.find(session, 2).unwrap(), [4]);

        // A switch waits for C_Initialize.
        fault.tell("renumber off");
        assert_eq!(raw.id(session, 4), Ok(2));
        raw.finalise().unwrap();
        raw.initialise().unwrap();
        let session = raw.open(slot).unwrap();
        raw.login(session).unwrap();
        let found = raw.find(session, 2).unwrap();
        assert_eq!(raw.id(session, found[0]), Ok(2));
    });
}
