//! The self-contained ciphertext: what comes apart goes together again to the same bytes, in both of its forms.

use keystead::model::ciphertext::SelfContained;

use super::Verdict;

/// `$`, format 0 without padding, AES_GCM.
const HEADER: &[u8] = b"$\x00\x02";

pub fn check(input: &[u8]) -> Verdict {
    let whole = SelfContained::parse(input);
    assert_eq!(whole.is_some(), input.strip_prefix(HEADER).is_some_and(is_rest), "{input:?}");
    if let Some(parts) = &whole {
        assert_eq!(parts.to_bytes(), input);
        assert_eq!(SelfContained::parse_blob(input).as_ref(), Some(parts));
    }
    let blob = SelfContained::parse_blob(input);
    assert_eq!(blob.is_some(), is_rest(input.strip_prefix(HEADER).unwrap_or(input)), "{input:?}");
    if let Some(parts) = &blob {
        assert_eq!(parts.to_blob(), input.strip_prefix(HEADER).unwrap_or(input));
        assert_eq!(SelfContained::parse_blob(&parts.to_blob()).as_ref(), Some(parts));
        assert_eq!(parts.version.as_str().as_bytes(), &parts.to_blob()[..36]);
    }
    Verdict::of(blob.as_ref())
}

/// Key version id, 12 bytes of IV, at least a tag of 16.
fn is_rest(rest: &[u8]) -> bool {
    let lower = |bytes: &[u8]| bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    rest.len() >= 36 + 12 + 16 && rest.starts_with(b"key-") && lower(&rest[4..25]) && rest[25] == b'-' && lower(&rest[26..36])
}
