//! A second reading of `application/x-www-form-urlencoded` and of strict percent-encoding (RFC 3986, section 2.3).

/// The pairs of a form (URL Standard, section 5.1).
pub fn pairs(form: &[u8]) -> Vec<(String, String)> {
    let parts = form.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let at = part.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((part, &[][..]), |at| (&part[..at], &part[at + 1..]));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// Whether every name and value is UTF-8.
pub fn is_text(form: &[u8]) -> bool {
    form.split(|byte| matches!(byte, b'&' | b'=')).all(|part| String::from_utf8(bytes(part)).is_ok())
}

fn decoded(text: &[u8]) -> String {
    String::from_utf8_lossy(&bytes(text)).into_owned()
}

fn bytes(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).filter(|digits| text[at] == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        if let Some(digits) = digits {
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).expect("two digits"), 16).expect("two digits"));
            at += 3;
        } else {
            bytes.push(if text[at] == b'+' { b' ' } else { text[at] });
            at += 1;
        }
    }
    bytes
}

/// Everything but `A-Z a-z 0-9 - _ . ~` as `%XX`.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Pairs encoded, sorted and joined: the canonical query of the OpenAPI.
pub fn canonical(pairs: &[(String, String)]) -> String {
    let mut encoded: Vec<_> = pairs.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
    encoded.sort();
    let joined: Vec<_> = encoded.into_iter().map(|(name, value)| name + "=" + &value).collect();
    joined.join("&")
}
