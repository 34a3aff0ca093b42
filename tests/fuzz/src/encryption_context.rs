//! EncryptionContext: a JSON object of texts, and what is authenticated for it.

use keystead::wire::openapi::EncryptionContext;
use keystead::wire::signing::sha256_hex;
use serde_json::Value;

use super::{Verdict, json, tells, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    match (EncryptionContext::parse("EncryptionContext", Some(text)), pairs(text)) {
        (Ok(context), Some(pairs)) => {
            agrees(&context, text, &pairs);
            // Neither blanks nor the order mean anything.
            let object: Vec<_> = pairs
                .iter()
                .rev()
                .map(|(key, value)| format!(" {} :\n{}", Value::from(key.as_str()), Value::from(value.as_str())))
                .collect();
            let other = format!("{{{} }}", object.join(" ,\t"));
            if other.chars().count() <= 8192 {
                assert_eq!(EncryptionContext::parse("p", Some(&other)).expect("the same object").aad(), context.aad());
            }
            Verdict::Taken
        }
        (Err(error), None) => {
            tells(&error);
            Verdict::Refused
        }
        (read, expected) => panic!("{text:?}: {read:?}, and not {expected:?}"),
    }
}

fn agrees(context: &EncryptionContext, text: &str, pairs: &[(String, String)]) {
    if pairs.is_empty() {
        assert_eq!((context.aad(), context.candidates()), (Vec::new(), vec![Vec::new()]));
        return;
    }
    let joined: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let hash = sha256_hex(joined.join("&").as_bytes());
    let hex: String = context.aad().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, hash);
    assert_eq!(context.candidates(), [context.aad(), hash.into_bytes(), text.as_bytes().to_vec()]);
}

/// The pairs by key.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let member = |(key, value)| match value {
        Value::String(value) => Some((key, value)),
        _ => None,
    };
    let mut pairs = json::members(text)?.into_iter().map(member).collect::<Option<Vec<_>>>()?;
    pairs.sort();
    (text.chars().count() <= 8192).then_some(pairs)
}
