//! Tokens that behave as no token should: one command each.

use cryptoki_sys::*;

use crate::{World, apart};

#[test]
fn a_token_has_no_random_numbers() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        fault.tell("no-rng token=one");
        assert_eq!(raw.random(one.session), Err(CKR_RANDOM_NO_RNG));
        raw.random(two.session).unwrap();
        assert_ne!(raw.token(one.slot).unwrap().flags & CKF_RNG, 0, "the token says that it has some");
        fault.tell("no-rng off token=one");
        raw.random(one.session).unwrap();
        fault.tell("no-rng");
        assert_eq!(raw.random(two.session), Err(CKR_RANDOM_NO_RNG));
        fault.tell("clear all");
        raw.random(two.session).unwrap();
    });
}

#[test]
fn a_search_goes_on_after_fewer_objects_than_asked_for() {
    apart(|| {
        let (World { fault, raw }, one) = World::ready();
        for _ in 1..8 {
            raw.generate(one.session, 1, CK_TRUE).unwrap();
        }
        // Eight are asked for.
        assert_eq!(raw.find(one.session, 1).unwrap().len(), 8);
        fault.tell("short-find");
        assert_eq!(raw.find(one.session, 1).unwrap().len(), 4);
        raw.find_init(one.session, 1).unwrap();
        let found: Vec<_> = (0..6).map(|_| raw.find_next::<3>(one.session).unwrap().len()).collect();
        assert_eq!(found, [2, 2, 2, 2, 0, 0]);
        raw.find_final(one.session).unwrap();
        fault.tell("short-find off");
        assert_eq!(raw.find(one.session, 1).unwrap().len(), 8);
    });
}

#[test]
fn the_serial_number_changes() {
    apart(|| {
        let (world, one) = World::ready();
        let two = world.log_in("two");
        let World { fault, raw } = world;
        let serial = |slot| raw.token(slot).unwrap().serialNumber;
        let (truth, other) = (serial(one.slot), serial(two.slot));
        fault.tell("serial per-call token=one");
        let told = [serial(one.slot), serial(one.slot)];
        assert!(told[0] != truth && told[0] != told[1] && told[1] != truth);
        assert_eq!(serial(two.slot), other);
        fault.tell("serial on-insert token=one");
        assert_eq!(serial(one.slot), truth);
        fault.tell("remove-token token=one");
        fault.tell("insert-token token=one");
        let told = serial(one.slot);
        assert_ne!(told, truth);
        assert_eq!(serial(one.slot), told);
        fault.tell("remove-token token=one until-reinit");
        fault.tell("insert-token token=one");
        raw.finalise().unwrap();
        raw.initialise().unwrap();
        assert!(serial(one.slot) != told && serial(one.slot) != truth);
        fault.tell("serial off");
        assert_eq!(serial(one.slot), truth);
    });
}

#[test]
fn an_id_is_cut() {
    apart(|| {
        let (World { fault, raw }, one) = World::ready();
        let long = b"an id of many bytes";
        fault.tell("cut-id 5");
        let made = [
            raw.create(one.session, long).unwrap(),
            raw.generate_aes(one.session, long, CK_TRUE).unwrap(),
            raw.generate_pair(one.session, long, CK_TRUE).unwrap().0,
            raw.generate_pair(one.session, long, CK_TRUE).unwrap().1,
        ];
        for object in made {
            assert_eq!(raw.attribute(one.session, object, CKA_ID).unwrap(), long[..5]);
        }
        let short = raw.create(one.session, b"abc").unwrap();
        assert_eq!(raw.attribute(one.session, short, CKA_ID).unwrap(), b"abc");
        fault.tell("cut-id off");
        let whole = raw.create(one.session, long).unwrap();
        assert_eq!(raw.attribute(one.session, whole, CKA_ID).unwrap(), long);
    });
}

#[test]
fn private_and_secret_keys_are_of_the_token() {
    apart(|| {
        let (World { fault, raw }, one) = World::ready();
        fault.tell("no-session-objects");
        assert_eq!(raw.create_secret(one.session, b"a", CK_FALSE), Err(CKR_TEMPLATE_INCONSISTENT));
        assert_eq!(raw.generate_aes(one.session, b"a", CK_FALSE), Err(CKR_TEMPLATE_INCONSISTENT));
        assert_eq!(raw.generate_pair(one.session, b"a", CK_FALSE), Err(CKR_TEMPLATE_INCONSISTENT));
        raw.create_secret(one.session, b"a", CK_TRUE).unwrap();
        raw.generate_aes(one.session, b"a", CK_TRUE).unwrap();
        let (public, private) = raw.generate_pair(one.session, b"a", CK_TRUE).unwrap();
        assert_eq!(raw.derive(one.session, (private, public), CK_FALSE), Err(CKR_TEMPLATE_INCONSISTENT));
        raw.derive(one.session, (private, public), CK_TRUE).unwrap();
        fault.tell("no-session-objects off");
        raw.create_secret(one.session, b"a", CK_FALSE).unwrap();
        raw.generate_pair(one.session, b"a", CK_FALSE).unwrap();
        raw.derive(one.session, (private, public), CK_FALSE).unwrap();
    });
}

#[test]
fn the_module_makes_the_iv() {
    apart(|| {
        let (World { fault, raw }, one) = World::ready();
        let seal = |iv: &mut [u8; 12]| raw.encrypt_gcm(one.session, one.key, iv);
        let open = |iv: [u8; 12], sealed: &[u8]| raw.decrypt_gcm(one.session, one.key, iv, sealed);
        let (mut mine, text) = ([3; 12], [7; 16]);
        let truth = seal(&mut mine).unwrap();
        assert_eq!(mine, [3; 12]);
        fault.tell("iv by-module");
        let sealed = seal(&mut mine).unwrap();
        assert!(mine != [3; 12] && sealed != truth);
        assert_eq!(open(mine, &sealed).unwrap(), text);
        assert!(open([3; 12], &sealed).is_err());
        let before = mine;
        seal(&mut mine).unwrap();
        assert_ne!(mine, before, "each encryption has its own");
        fault.tell("iv zero-only");
        assert_eq!(seal(&mut [3; 12]), Err(CKR_MECHANISM_PARAM_INVALID));
        let mut zeros = [0; 12];
        let sealed = seal(&mut zeros).unwrap();
        assert_ne!(zeros, [0; 12]);
        assert_eq!(open(zeros, &sealed).unwrap(), text);
        fault.tell("iv off");
        assert_eq!(seal(&mut [3; 12]).unwrap(), truth);
    });
}

#[test]
fn the_public_half_is_another_keys() {
    apart(|| {
        let (World { fault, raw }, one) = World::ready();
        let (ec, _) = raw.generate_pair(one.session, b"ec", CK_TRUE).unwrap();
        let (rsa, private) = raw.generate_rsa_pair(one.session).unwrap();
        let asked = [(ec, CKA_EC_POINT), (rsa, CKA_MODULUS), (private, CKA_MODULUS)];
        let told = || asked.map(|(object, attribute)| raw.attribute(one.session, object, attribute).unwrap());
        let truth = told();
        fault.tell("swap-public");
        let lies = told();
        for (truth, lie) in truth.iter().zip(&lies) {
            assert!(truth != lie && truth.len() == lie.len());
        }
        assert_eq!(told(), lies, "the other key is always the same");
        assert_eq!(raw.attribute(one.session, ec, CKA_ID).unwrap(), b"ec");
        assert_eq!(raw.find(one.session, 1).unwrap(), [one.key], "nothing is left on the token");
        fault.tell("swap-public off");
        assert_eq!(told(), truth);
    });
}
