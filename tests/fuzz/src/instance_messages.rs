//! The messages of the instance protocol. Two texts: an operation's name, and the protobuf of its request.

use keystead::wire::instance_protocol::*;

use super::{Verdict, text};

pub fn check(input: &[u8]) -> Verdict {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (name, body) = (text(&input[..at]).unwrap_or_default(), input.get(at + 1..).unwrap_or_default());
    // The types of the fields, by number: text (s), bytes (b), int32 (i).
    match name.parse().unwrap_or(Operation::Encrypt) {
        Operation::Encrypt => message::<EncryptRequest>(body, b"sbsbbs"),
        Operation::AdvanceEncrypt => message::<AdvanceEncryptRequest>(body, b"sbsbbs"),
        Operation::Decrypt => message::<DecryptRequest>(body, b"bssbbs"),
        Operation::AdvanceDecrypt => message::<AdvanceDecryptRequest>(body, b"bssbbs"),
        Operation::Sign => message::<SignRequest>(body, b"sbsbs"),
        Operation::Verify => message::<VerifyRequest>(body, b"sbbsbs"),
        Operation::GetPublicKey => message::<GetPublicKeyRequest>(body, b"s"),
        Operation::GenerateRandom => message::<GenerateRandomRequest>(body, b"i"),
        Operation::GenerateDataKey => message::<GenerateDataKeyRequest>(body, b"ssib"),
        Operation::AdvanceGenerateDataKey => message::<AdvanceGenerateDataKeyRequest>(body, b"sib"),
        Operation::GenerateDataKeyPair => message::<GenerateDataKeyPairRequest>(body, b"ssssb"),
        Operation::GenerateDataKeyPairWithoutPlaintext => message::<GenerateDataKeyPairWithoutPlaintextRequest>(body, b"ssssb"),
        Operation::AdvanceGenerateDataKeyPair => message::<AdvanceGenerateDataKeyPairRequest>(body, b"sssb"),
        Operation::AdvanceGenerateDataKeyPairWithoutPlaintext => {
            message::<AdvanceGenerateDataKeyPairWithoutPlaintextRequest>(body, b"sssb")
        }
        // It has no message yet.
        Operation::GetSecretValue => Verdict::Refused,
    }
}

fn message<M: Numbered>(body: &[u8], types: &[u8]) -> Verdict {
    assert_eq!(M::FIELDS as usize, types.len());
    match (decode::<M>(body), fields(body, types)) {
        (Ok(message), Ok(fields)) => {
            // Written, it has each field once, in order, and none that is empty.
            let written = message.encode_to_vec();
            assert_eq!(written, fields.concat());
            assert!(decode::<M>(&written).is_ok_and(|again| again.encode_to_vec() == written));
            Verdict::Taken
        }
        (Err(Malformed::UnknownField(number)), Err(_)) => {
            assert!(number as usize > types.len());
            Verdict::Refused
        }
        (Err(Malformed::Unreadable), Err(_)) => Verdict::Refused,
        (read, expected) => panic!("read: {:?}, expected: {expected:?}", read.err()),
    }
}

/// Why a body is no message, for whoever looks at a finding.
#[derive(Debug)]
struct NoMessage;

/// The fields of a body as they are written: key and value, empty for one that has its default. Of one that stands twice the last.
fn fields(mut body: &[u8], types: &[u8]) -> Result<Vec<Vec<u8>>, NoMessage> {
    let mut fields = vec![Vec::new(); types.len()];
    while !body.is_empty() {
        let key = u32::try_from(varint(&mut body)?).map_err(|_| NoMessage)?;
        let index = (key >> 3).checked_sub(1).ok_or(NoMessage)? as usize;
        let field = fields.get_mut(index).ok_or(NoMessage)?;
        field.clear();
        match (types[index], key & 7) {
            (b'i', 0) => {
                let value = varint(&mut body)? as u32 as i32;
                if value != 0 {
                    field.push(key as u8);
                    put_varint(field, i64::from(value) as u64);
                }
            }
            (b's' | b'b', 2) => {
                let length = usize::try_from(varint(&mut body)?).map_err(|_| NoMessage)?;
                let (value, rest) = body.split_at_checked(length).ok_or(NoMessage)?;
                body = rest;
                if types[index] == b's' && std::str::from_utf8(value).is_err() {
                    return Err(NoMessage);
                }
                if !value.is_empty() {
                    field.push(key as u8);
                    put_varint(field, length as u64);
                    field.extend_from_slice(value);
                }
            }
            _ => return Err(NoMessage),
        }
    }
    Ok(fields)
}

/// At most ten bytes, seven bits each, the least significant first; the tenth has one bit.
fn varint(body: &mut &[u8]) -> Result<u64, NoMessage> {
    let mut value = 0u64;
    for position in 0..10 {
        let (byte, rest) = body.split_first().ok_or(NoMessage)?;
        *body = rest;
        if position == 9 && *byte > 1 {
            return Err(NoMessage);
        }
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(NoMessage)
}

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
