//! PKCS #11 URIs: what is read means the tokens that it says, and is shown in a form that reads the same.

use keystead::tier::pkcs11::{TokenSummary, TokenUri};

use super::{Verdict, tells, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    match (text.parse::<TokenUri>(), attributes(text)) {
        (Ok(uri), Some(token)) => {
            assert_eq!(uri.to_string().parse::<TokenUri>().expect("what is shown is one"), uri);
            assert!(uri.matches(&token), "{uri} does not mean {token:?}");
            // Something else than what is named is not meant.
            let other = TokenSummary {
                slot_id: token.slot_id.wrapping_add(1),
                label: format!("{}x", token.label),
                serial: format!("{}x", token.serial),
                model: format!("{}x", token.model),
                manufacturer: format!("{}x", token.manufacturer),
                ..token
            };
            assert!(!uri.matches(&other), "{uri} means {other:?}");
            Verdict::Taken
        }
        (Err(error), None) => {
            tells(&error);
            Verdict::Refused
        }
        (read, expected) => panic!("{text:?}: {read:?}, and not {expected:?}"),
    }
}

/// A token that has what the text names; `None` when it names nothing, something unknown, or something twice.
fn attributes(text: &str) -> Option<TokenSummary> {
    let path = text.strip_prefix("pkcs11:").filter(|path| !path.contains('?'))?;
    let mut token = TokenSummary::default();
    let mut seen = Vec::new();
    for part in path.split(';') {
        if part.is_empty() {
            continue;
        }
        let (name, value) = part.split_once('=')?;
        let value = decoded(value)?;
        match name {
            "token" => token.label = value,
            "serial" => token.serial = value,
            "model" => token.model = value,
            "manufacturer" => token.manufacturer = value,
            // RFC 7512, section 2.3: slot-id is digits.
            "slot-id" if value.bytes().all(|byte| byte.is_ascii_digit()) => token.slot_id = value.parse().ok()?,
            _ => return None,
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    (!seen.is_empty()).then_some(token)
}

fn decoded(value: &str) -> Option<String> {
    let mut pieces = value.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}
