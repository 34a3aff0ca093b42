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

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
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

/// The signature in the instance protocol's Authorization: base64 after `Bearer` of the SDKs or `TOKEN` of the manual.
pub fn instance_signature(authorization: &str) -> Option<Vec<u8>> {
    let encoded = authorization.strip_prefix("Bearer ").or_else(|| authorization.strip_prefix("TOKEN "))?;
    STANDARD.decode(encoded.trim()).ok()
}

/// Whether `hash` is the SHA-256 of `bytes` in hex. The SDKs write upper-case hex.
pub fn is_sha256_of(hash: &str, bytes: &[u8]) -> bool {
    let actual = digest(&SHA256, bytes);
    let actual = actual.as_ref();
    hash.len() == 2 * actual.len()
        && hash.as_bytes().chunks(2).zip(actual).all(|(digits, byte)| {
            let value = |at: usize| char::from(digits[at]).to_digit(16);
            value(0).zip(value(1)).is_some_and(|(high, low)| high * 16 + low == u32::from(*byte))
        })
}

/// A request of the OpenAPI as ACS3-HMAC-SHA256 and ACS4-HMAC-SHA256 sign it.
pub struct Acs<'a> {
    /// By which of them.
    pub scheme: AcsScheme<'a>,
    /// GET or POST.
    pub method: &'a str,
    /// The query, decoded.
    pub query: &'a [(String, String)],
    /// The headers that `SignedHeaders` lists, names in lower case, values trimmed.
    pub headers: &'a [(String, String)],
    /// SHA-256 of the body, hex.
    pub content_sha256: &'a str,
}

/// A signature in headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcsScheme<'a> {
    /// ACS3-HMAC-SHA256: by the secret itself.
    V3,
    /// ACS4-HMAC-SHA256: by a key that is derived from the secret and good in this scope alone.
    V4(Acs4Scope<'a>),
}

/// Where a derived key is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acs4Scope<'a> {
    /// On this day, `yyyymmdd`, UTC.
    pub date: &'a str,
    /// In this region.
    pub region: &'a str,
    /// For this product.
    pub product: &'a str,
}

/// The end of an ACS4 scope.
const ACS4_REQUEST: &str = "aliyun_v4_request";

impl AcsScheme<'_> {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3 => "ACS3-HMAC-SHA256",
            Self::V4(_) => "ACS4-HMAC-SHA256",
        }
    }

    fn key(self, secret: &SecretBytes) -> hmac::Key {
        match self {
            Self::V3 => hmac::Key::new(HMAC_SHA256, secret.expose()),
            Self::V4(scope) => {
                let mut first = SecretBytes::new([b"aliyun_v4", secret.expose()].concat());
                for part in [scope.date, scope.region, scope.product, ACS4_REQUEST] {
                    let next = hmac::sign(&hmac::Key::new(HMAC_SHA256, first.expose()), part.as_bytes());
                    first = SecretBytes::new(next.as_ref().to_vec());
                }
                hmac::Key::new(HMAC_SHA256, first.expose())
            }
        }
    }
}

impl Acs<'_> {
    /// The string to sign: the scheme and the hash of the canonical request.
    pub fn string_to_sign(&self) -> String {
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort();
        let mut canonical = format!("{}\n/\n{}\n", self.method, canonical_query(self.query));
        for (name, value) in &headers {
            let _ = writeln!(canonical, "{name}:{value}");
        }
        let _ = write!(canonical, "\n{}\n{}", signed_headers(&headers), self.content_sha256);
        format!("{}\n{}", self.scheme.name(), sha256_hex(canonical.as_bytes()))
    }

    /// The signature, lower-case hex.
    pub fn sign(&self, secret: &SecretBytes) -> String {
        hex(hmac::sign(&self.scheme.key(secret), self.string_to_sign().as_bytes()).as_ref())
    }

    /// The value of the header Authorization.
    pub fn authorization(&self, access_key: &str, secret: &SecretBytes) -> String {
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.sort();
        let credential = match self.scheme {
            AcsScheme::V3 => access_key.to_owned(),
            AcsScheme::V4(Acs4Scope { date, region, product }) => {
                format!("{access_key}/{date}/{region}/{product}/{ACS4_REQUEST}")
            }
        };
        let (scheme, signed, signature) = (self.scheme.name(), signed_headers(&headers), self.sign(secret));
        format!("{scheme} Credential={credential},SignedHeaders={signed},Signature={signature}")
    }

    /// Whether `signature` is right; the comparison takes the same time whatever the answer.
    pub fn verifies(&self, secret: &SecretBytes, signature: &str) -> bool {
        SecretBytes::new(self.sign(secret).into_bytes()).constant_time_eq(signature.as_bytes())
    }
}

fn signed_headers(headers: &[&(String, String)]) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

/// The parts of an Authorization header of either scheme.
#[derive(Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// Which it is.
    pub scheme: AcsScheme<'a>,
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
        let (scheme, rest) = value.split_once(' ')?;
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
        let (scheme, credential) = match scheme {
            "ACS3-HMAC-SHA256" => (AcsScheme::V3, credential?),
            "ACS4-HMAC-SHA256" => scoped(credential?)?,
            _ => return None,
        };
        Some(Self { scheme, credential, signed_headers: signed_headers?.split(';').collect(), signature: signature? })
    }
}

/// An AccessKey's id with the scope of the key that is derived from its secret.
fn scoped(credential: &str) -> Option<(AcsScheme<'_>, &str)> {
    let mut parts = credential.split('/');
    let (id, date, region, product) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let ends = parts.next() == Some(ACS4_REQUEST) && parts.next().is_none();
    ends.then_some((AcsScheme::V4(Acs4Scope { date, region, product }), id))
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

/// By which function an RPC request is signed: `SignatureMethod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcMethod {
    /// HMAC-SHA1.
    HmacSha1,
    /// HMAC-SHA256.
    HmacSha256,
}

impl RpcMethod {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "HMAC-SHA1" => Some(Self::HmacSha1),
            "HMAC-SHA256" => Some(Self::HmacSha256),
            _ => None,
        }
    }

    const fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1 => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256 => HMAC_SHA256,
        }
    }
}

/// The signature of an RPC string to sign, base64.
pub fn rpc_sign(method: RpcMethod, string_to_sign: &str, secret: &SecretBytes) -> String {
    let mut key = SecretBytes::new(vec![b'&'; secret.len() + 1]);
    key.expose_mut()[..secret.len()].copy_from_slice(secret.expose());
    let key = hmac::Key::new(method.algorithm(), key.expose());
    STANDARD.encode(hmac::sign(&key, string_to_sign.as_bytes()))
}

/// Whether an RPC signature is right; the comparison takes the same time whatever the answer.
pub fn rpc_verifies(method: RpcMethod, string_to_sign: &str, secret: &SecretBytes, signature: &str) -> bool {
    SecretBytes::new(rpc_sign(method, string_to_sign, secret).into_bytes()).constant_time_eq(signature.as_bytes())
}
