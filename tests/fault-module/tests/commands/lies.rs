//! `random` and `flip`: calls that succeed and give what is not so.

use crate::{World, apart};

#[test]
fn random_numbers_are_none() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        let drawn = |before: u8| {
            let mut bytes = [before; 32];
            raw.random_into(token.session, &mut bytes).unwrap();
            bytes
        };
        assert_ne!(drawn(7), [7; 32]);
        let rule = fault.rule("random untouched");
        assert_eq!(drawn(7), [7; 32]);
        drop(rule);
        let rule = fault.rule("random zero times=1");
        assert_eq!(drawn(7), [0; 32]);
        assert_ne!(drawn(7), [0; 32]);
        drop(rule);
        let rule = fault.rule("random repeat");
        assert_eq!(drawn(7), drawn(8));
        drop(rule);
        let rule = fault.rule("random stuck");
        assert_eq!(drawn(7)[16..], [0xa5; 16]);
        drop(rule);
        assert_ne!(drawn(7), drawn(7));
    });
}

#[test]
fn a_bit_of_a_result_is_flipped() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        let encrypt = || {
            raw.encrypt_init(token.session, token.key).unwrap();
            raw.encrypt(token.session).unwrap()
        };
        let truth = encrypt();
        let _rule = fault.rule("flip C_Encrypt every=2");
        assert_eq!(encrypt(), truth);
        let lie = encrypt();
        assert_eq!((lie[0] ^ truth[0], &lie[1..]), (1, &truth[1..]));
        assert_eq!(encrypt(), truth);
    });
}
