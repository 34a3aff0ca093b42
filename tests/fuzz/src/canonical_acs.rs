//! What ACS3 and ACS4 signatures of the OpenAPI sign. The texts: method, query, and headers as `name:value`.

use keystead::base::SecretBytes;
use keystead::wire::openapi::Parameters;
use keystead::wire::signing::{Acs, Acs4Scope, AcsScheme, Authorization, sha256_hex};

use super::{Verdict, forms, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let mut lines = text.split('\n');
    let method = lines.next().unwrap_or_default();
    let Ok(query) = Parameters::parse(lines.next().unwrap_or_default().as_bytes()) else { return Verdict::Refused };
    let headers = headers(lines);
    let turned: Vec<_> = headers.iter().rev().cloned().collect();
    let turned_query: Vec<_> = query.pairs().iter().rev().cloned().collect();
    let scope = Acs4Scope { date: "20261123", region: "keystead", product: "kms" };
    let secret = SecretBytes::new(b"testsecret".to_vec());
    for scheme in [AcsScheme::V3, AcsScheme::V4(scope)] {
        let content_sha256 = &sha256_hex(b"");
        let acs = Acs { scheme, method, query: query.pairs(), headers: &headers, content_sha256 };
        let signed = acs.string_to_sign();
        let canonical = canonical(method, query.pairs(), &headers, content_sha256);
        assert_eq!(signed, format!("{}\n{}", scheme.name(), sha256_hex(canonical.as_bytes())));
        // The order means nothing.
        let other = Acs { scheme, method, query: &turned_query, headers: &turned, content_sha256 };
        assert_eq!(other.string_to_sign(), signed);
        // Something more does.
        let more = [query.pairs(), &[("More".to_owned(), String::new())]].concat();
        assert_ne!(Acs { scheme, method, query: &more, headers: &headers, content_sha256 }.string_to_sign(), signed);

        let header = acs.authorization("testid", &secret);
        let read = Authorization::parse(&header).expect("a header that was written");
        assert_eq!((read.scheme, read.credential), (scheme, "testid"));
        let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(read.signed_headers.join(";"), names.join(";"));
        assert!(acs.verifies(&secret, read.signature));
        assert!(!acs.verifies(&SecretBytes::new(b"othersecret".to_vec()), read.signature));
    }
    Verdict::of((!headers.is_empty()).then_some(&()))
}

/// As HTTP hands them on: names are tokens in lower case (RFC 9110, section 5.6.2), values trimmed; each once, as the gateway sees to.
fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !name.is_empty() && name.bytes().all(token) && !headers.iter().any(|(known, _)| known == name) {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    headers
}

fn canonical(method: &str, query: &[(String, String)], headers: &[(String, String)], content_sha256: &str) -> String {
    let mut sorted = headers.to_vec();
    sorted.sort();
    let lines: String = sorted.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<_> = sorted.into_iter().map(|(name, _)| name).collect();
    [method, "/", &forms::canonical(query), &lines, &names.join(";"), content_sha256].join("\n")
}
