//! What client keys sign in the instance protocol. The texts: method, hash, content type, date, and headers as `name:value`.

use keystead::wire::signing::instance_string_to_sign;

use super::{Verdict, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let [method, hash, content_type, date] = [next(), next(), next(), next()];
    // The headers `x-kms-…`, each once, as the gateway sees to.
    let mut headers: Vec<(&str, &str)> = Vec::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if !headers.iter().any(|(known, _)| *known == name) {
            headers.push((name, value));
        }
    }
    let mut turned: Vec<_> = headers.iter().rev().copied().collect();
    let signed = instance_string_to_sign(method, hash, content_type, date, &mut headers);
    assert_eq!(instance_string_to_sign(method, hash, content_type, date, &mut turned), signed);

    // Taken apart again it says what was put in: two requests that differ are signed differently.
    let mut parts: Vec<_> = signed.split('\n').collect();
    assert_eq!(parts.pop(), Some("/"));
    assert_eq!(parts[..4], [method, hash, content_type, date]);
    let said: Vec<_> = parts[4..].iter().map(|line| line.split_once(':').expect("a header")).collect();
    let mut sorted = headers.clone();
    sorted.sort_by_key(|(name, _)| *name);
    assert_eq!(said, sorted);
    Verdict::of((!said.is_empty()).then_some(&()))
}
