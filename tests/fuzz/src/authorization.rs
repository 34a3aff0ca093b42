//! The headers that carry signatures and hashes. Two texts: Authorization, and what its sender says is the SHA-256 of it.

use keystead::wire::signing::{Acs4Scope, AcsScheme, Authorization, instance_signature, is_sha256_of, sha256_hex};

use super::{Verdict, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let (header, hash) = text.split_once('\n').unwrap_or((text, ""));
    assert_eq!(is_sha256_of(hash, header.as_bytes()), hash.to_ascii_lowercase() == sha256_hex(header.as_bytes()), "{hash:?}");

    let acs = Authorization::parse(header);
    if let Some(read) = &acs {
        let written = written(read);
        assert_eq!(Authorization::parse(&written).as_ref(), Some(read), "{written:?}");
    }
    let bearer = instance_signature(header);
    if let Some(signature) = &bearer {
        let (_, encoded) = header.split_once(' ').expect("a scheme before it");
        assert_eq!(base64(signature), encoded.trim());
    }
    Verdict::of(acs.map(drop).or(bearer.map(drop)).as_ref())
}

fn written(read: &Authorization<'_>) -> String {
    let credential = match read.scheme {
        AcsScheme::V3 => read.credential.to_owned(),
        AcsScheme::V4(Acs4Scope { date, region, product }) => {
            format!("{}/{date}/{region}/{product}/aliyun_v4_request", read.credential)
        }
    };
    let (scheme, headers) = (read.scheme.name(), read.signed_headers.join(";"));
    format!("{scheme} Signature={},SignedHeaders={headers}, Credential={credential}", read.signature)
}

/// RFC 4648, section 4, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().chain([0, 0].iter()).take(3).fold(0usize, |bits, byte| bits << 8 | usize::from(*byte));
        for digit in 0..4 {
            text.push(if digit <= chunk.len() { char::from(ALPHABET[bits >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}
