//! The messages of the instance protocol, byte by byte, and what is no message.

use keystead::wire::instance_protocol::{DecryptRequest, EncryptRequest, GenerateRandomRequest, Malformed, Operation, decode};
use keystead::wire::openapi::Action;
use proptest::prelude::*;
use prost::Message;

const ENCRYPT: &str = "0a196b65792d687a7a363266316362363666613432716f30303031120568656c6c6f1a074145535f47434d";

#[test]
fn the_documented_request_reads_and_writes_the_same() {
    let body = hex::decode(ENCRYPT).unwrap();
    let request: EncryptRequest = decode(&body).unwrap();
    assert_eq!(request.key_id, "key-hzz62f1cb66fa42qo0001");
    assert_eq!(request.plaintext, b"hello");
    assert_eq!(request.algorithm, "AES_GCM");
    assert!(request.aad.is_empty() && request.iv.is_empty() && request.padding_mode.is_empty());
    assert_eq!(request.encode_to_vec(), body);
}

#[test]
fn a_truncated_message_is_unreadable() {
    let body = hex::decode(ENCRYPT).unwrap();
    for length in 1..body.len() {
        // Cut between two fields it is another message, as protobuf has it.
        let whole = [27, 34].contains(&length);
        assert_eq!(decode::<EncryptRequest>(&body[..length]).is_ok(), whole, "{length} bytes");
    }
}

#[test]
fn an_unknown_field_is_named() {
    let mut body = hex::decode(ENCRYPT).unwrap();
    body.extend([0x3a, 0x01, 0x00]);
    assert_eq!(decode::<EncryptRequest>(&body).err(), Some(Malformed::UnknownField(7)));
    assert_eq!(decode::<GenerateRandomRequest>(&[0x10, 0x01]).err(), Some(Malformed::UnknownField(2)));
}

#[test]
fn a_field_of_another_type_or_no_utf8_is_unreadable() {
    for body in [&[0x08, 0x01][..], &[0x0a, 0x01, 0xff], &[0x00], &[0x07], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
        assert_eq!(decode::<EncryptRequest>(body).err(), Some(Malformed::Unreadable), "{body:?}");
    }
}

#[test]
fn names_are_the_apis() {
    for operation in Operation::ALL {
        assert_eq!(operation.name().parse(), Ok(operation));
    }
    for action in Action::ALL {
        assert_eq!(action.name().parse(), Ok(*action));
    }
    assert!("encrypt".parse::<Operation>().is_err() && "Hmac".parse::<Operation>().is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<EncryptRequest>(&bytes);
        let _ = decode::<DecryptRequest>(&bytes);
        let _ = decode::<GenerateRandomRequest>(&bytes);
    }

    #[test]
    fn what_is_written_reads(key_id in ".{0,40}", plaintext in proptest::collection::vec(any::<u8>(), 0..80)) {
        let request = EncryptRequest { key_id, plaintext, ..EncryptRequest::default() };
        let read: EncryptRequest = decode(&request.encode_to_vec()).unwrap();
        prop_assert!(read == request);
    }
}
