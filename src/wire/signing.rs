//! What is signed in each protocol, and the signatures of the OpenAPI: pure functions, for the gateways to verify with and for
//! `keystead api` to sign with.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::base::SecretBytes;

/// All but `A-Z a-z 0-9 - _ . ~` is encoded (RFC 3986, section 2.3).
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes all that is not unreserved.
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a client key signs in the instance protocol: method, three headers, the `x-kms-` headers by name, and a slash.
/// `kms_headers` are names in lower case with trimmed values, in any order.
pub fn instance_string_to_sign(
    method: &str,
    content_sha256: &str,
    content_type: &str,
    date: &str,
    kms_headers: &mut [(&str, &str)],
) -> String {
    kms_headers.sort_unstable();
    let mut text = format!("{method}\n{content_sha256}\n{content_type}\n{date}\n");
    for (name, value) in kms_headers {
        let _ = writeln!(text, "{name}:{value}");
    }
    text.push('/');
    text
}

/// A request of the OpenAPI as ACS3-HMAC-SHA256 signs it.
pub struct Acs3<'a> {
    /// GET or POST.
    pub method: &'a str,
    /// The query, decoded.
    pub query: &'a [(String, String)],
    /// The headers that `SignedHeaders` lists, names in lower case, values trimmed.
    pub headers: &'a [(String, String)],
    /// SHA-256 of the body, hex.
    pub content_sha256: &'a str,
}

/// The name of the scheme.
pub const ACS3: &str = "ACS3-HMAC-SHA256";

impl Acs3<'_> {
    /// The string to sign: the scheme and the hash of the canonical request.
    pub fn string_to_sign(&self) -> String {
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort();
        let mut canonical = format!("{}\n/\n{}\n", self.method, canonical_query(self.query));
        for (name, value) in &headers {
            let _ = writeln!(canonical, "{name}:{value}");
        }
        let _ = write!(canonical, "\n{}\n{}", signed_headers(&headers), self.content_sha256);
        format!("{ACS3}\n{}", sha256_hex(canonical.as_bytes()))
    }

    /// The signature, lower-case hex.
    pub fn sign(&self, secret: &SecretBytes) -> String {
        hex(hmac::sign(&hmac::Key::new(HMAC_SHA256, secret.expose()), self.string_to_sign().as_bytes()).as_ref())
    }

    /// The value of the header Authorization.
    pub fn authorization(&self, access_key: &str, secret: &SecretBytes) -> String {
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort();
        format!("{ACS3} Credential={access_key},SignedHeaders={},Signature={}", signed_headers(&headers), self.sign(secret))
    }

    /// Whether `signature` is right; the comparison takes the same time whatever the answer.
    pub fn verifies(&self, secret: &SecretBytes, signature: &str) -> bool {
        SecretBytes::new(self.sign(secret).into_bytes()).constant_time_eq(signature.as_bytes())
    }
}

fn signed_headers(headers: &[&(String, String)]) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

/// The parts of an ACS3 Authorization header.
#[derive(Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// The AccessKey's id.
    pub credential: &'a str,
    /// The names of the headers that are signed.
    pub signed_headers: Vec<&'a str>,
    /// Hex.
    pub signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads the header's value; `None` when it is of another scheme or malformed.
    pub fn parse(value: &'a str) -> Option<Self> {
        let rest = value.strip_prefix(ACS3)?.strip_prefix(' ')?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            let field = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if field.replace(value).is_some() {
                return None;
            }
        }
        Some(Self { credential: credential?, signed_headers: signed_headers?.split(';').collect(), signature: signature? })
    }
}

/// All parameters, strictly encoded, by name and value.
fn canonical_query(parameters: &[(String, String)]) -> String {
    let mut pairs: Vec<_> = parameters.iter().map(|(name, value)| (percent_encode(name), percent_encode(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// What RPC signatures of version 1.0 sign: all parameters of query and form body but `Signature`.
pub fn rpc_string_to_sign(method: &str, parameters: &[(String, String)]) -> String {
    let signed: Vec<_> = parameters.iter().filter(|(name, _)| name != "Signature").cloned().collect();
    format!("{method}&%2F&{}", percent_encode(&canonical_query(&signed)))
}

/// HMAC-SHA1 of an RPC string to sign, base64.
pub fn rpc_sign(string_to_sign: &str, secret: &SecretBytes) -> String {
    let mut key = SecretBytes::new(vec![b'&'; secret.len() + 1]);
    key.expose_mut()[..secret.len()].copy_from_slice(secret.expose());
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.expose());
    STANDARD.encode(hmac::sign(&key, string_to_sign.as_bytes()))
}

/// Whether an RPC signature is right; the comparison takes the same time whatever the answer.
pub fn rpc_verifies(string_to_sign: &str, secret: &SecretBytes, signature: &str) -> bool {
    SecretBytes::new(rpc_sign(string_to_sign, secret).into_bytes()).constant_time_eq(signature.as_bytes())
}
