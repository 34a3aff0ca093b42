//! The chain: how a record becomes a line that nobody changes, takes away or moves without its being seen.
//!
//! ```text
//! {"seq":7,"prev":"<SHA-256 of the line before>", …what is recorded… ,"mac":"<HMAC-SHA-256 of all that stands before it>"}
//! ```
//!
//! The MAC needs the key of the log, which is derived from the root key: who can write the files and has not that key cannot make a
//! line. The hash needs no key: who is given the files alone can see that they hang together. Both are base64 without padding.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::base::SecretBytes;

/// Length of a hash in bytes.
pub const HASH: usize = 32;
/// The same in base64.
const ENCODED: usize = 43;
/// What stands around the parts of a line.
const BEGIN: &[u8] = b"{\"seq\":";
const PREVIOUS: &[u8] = b",\"prev\":\"";
const MAC: &[u8] = b",\"mac\":\"";
const END: &[u8] = b"\"}";

/// Where a log has got to: the last record's number and the hash of its line. Number 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Its number, from 1.
    pub sequence: u64,
    /// SHA-256 of its line.
    pub hash: [u8; HASH],
}

/// Makes lines and tells whether they are genuine.
pub(super) struct Chain(hmac::Key);

/// What a genuine line says of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) here: Position,
    pub(super) previous: [u8; HASH],
}

impl Chain {
    pub(super) fn new(key: &SecretBytes) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, key.expose()))
    }

    /// Appends the line of a record, a JSON object with at least one field, to `out`, and moves on.
    pub(super) fn append(&self, position: &mut Position, record: &[u8], out: &mut Vec<u8>) {
        let fields = record.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or_default();
        let begin = out.len();
        let sequence = position.sequence + 1;
        out.extend_from_slice(BEGIN);
        out.extend_from_slice(sequence.to_string().as_bytes());
        out.extend_from_slice(PREVIOUS);
        encode(&position.hash, out);
        out.extend_from_slice(b"\",");
        out.extend_from_slice(fields);
        let mac = hmac::sign(&self.0, &out[begin..]);
        out.extend_from_slice(MAC);
        encode(mac.as_ref(), out);
        out.extend_from_slice(END);
        *position = Position { sequence, hash: hash(&out[begin..]) };
        out.push(b'\n');
    }

    /// What a line, without its line end, says, if it is one that was made with this key.
    pub(super) fn check(&self, line: &[u8]) -> Option<Link> {
        let rest = line.strip_suffix(END)?;
        let (rest, mac) = rest.split_at_checked(rest.len().checked_sub(ENCODED)?)?;
        let signed = rest.strip_suffix(MAC)?;
        let mac = STANDARD_NO_PAD.decode(mac).ok()?;
        hmac::verify(&self.0, signed, &mac).ok()?;
        let rest = signed.strip_prefix(BEGIN)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let sequence = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        let previous = rest[digits..].strip_prefix(PREVIOUS)?.get(..ENCODED)?;
        let previous = STANDARD_NO_PAD.decode(previous).ok()?.try_into().ok()?;
        Some(Link { here: Position { sequence, hash: hash(line) }, previous })
    }
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    out.resize(begin + ENCODED, 0);
    // 32 bytes have exactly that length.
    let _ = STANDARD_NO_PAD.encode_slice(bytes, &mut out[begin..]);
}

fn hash(line: &[u8]) -> [u8; HASH] {
    let mut hash = [0; HASH];
    hash.copy_from_slice(digest(&SHA256, line).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(byte: u8) -> Chain {
        Chain::new(&SecretBytes::new(vec![byte; 32]))
    }

    #[test]
    fn lines_hang_together_and_are_json() {
        let (chain, mut position, mut out) = (chain(1), Position::default(), Vec::new());
        chain.append(&mut position, br#"{"a":"\"}"}"#, &mut out);
        let first = position;
        chain.append(&mut position, br#"{"b":1}"#, &mut out);
        let lines: Vec<_> = out.split(|byte| *byte == b'\n').collect();
        assert_eq!((lines.len(), lines[2].len()), (3, 0));
        let json: serde_json::Value = serde_json::from_slice(lines[1]).unwrap();
        assert_eq!((json["seq"].as_u64(), json["b"].as_u64()), (Some(2), Some(1)));
        assert_eq!(chain.check(lines[0]), Some(Link { here: first, previous: [0; HASH] }));
        assert_eq!(chain.check(lines[1]), Some(Link { here: position, previous: first.hash }));
    }

    #[test]
    fn another_key_or_a_changed_line_is_no_line() {
        let mut out = Vec::new();
        chain(1).append(&mut Position::default(), br#"{"a":1}"#, &mut out);
        let line = &out[..out.len() - 1];
        assert!(chain(1).check(line).is_some() && chain(2).check(line).is_none());
        for at in 0..line.len() {
            let mut changed = line.to_vec();
            changed[at] ^= 1;
            assert!(chain(1).check(&changed).is_none(), "byte {at}");
            assert!(chain(1).check(&line[..at]).is_none(), "cut at {at}");
        }
    }
}
