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
