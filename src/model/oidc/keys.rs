//! Key sets of OIDC providers (JWKS, RFC 7517): what their tokens are verified by, and the text as it was given.
//!
//! | kty | verifies |
//! |---|---|
//! | RSA, 2048 to 8192 bits | RS256, RS384, RS512, PS256, PS384, PS512 |
//! | EC with the curve P-256, P-384 | ES256, ES384 |
//! | OKP with the curve Ed25519 | EdDSA |
//!
//! With an `alg` a key verifies by that alone. Keys that are for something else, or of another kind, are passed over (RFC 7517, section 5):
//! no token is verified by them. A secret has no place in a key set, and is refused.

use std::str::FromStr;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::base::json::{Object, complaint};
use crate::base::{Error, Result, excerpt};

/// The most bytes of a key set: some have certificates beside their keys.
pub const KEY_SET_BYTES: usize = 65_536;
/// The most keys of a key set: providers have two or three, and change them.
pub const KEYS: usize = 32;

/// The sizes of RSA keys in bits: what is shorter is weak, what is longer costs more than it gives.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The most bytes of a public exponent; 65537 has three.
const RSA_EXPONENT: usize = 4;

/// What the tokens of a provider are verified by.
#[derive(Clone, Debug)]
pub struct KeySet {
    text: String,
    keys: Vec<Key>,
}

/// A key, with the algorithms that it verifies by, all of one family.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for KeySet {}

impl KeySet {
    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The ids of the keys that tokens are verified by (`kid`), `-` for one without, and their algorithms.
    pub fn described(&self) -> impl Iterator<Item = (&str, String)> {
        self.keys.iter().map(|key| {
            let algorithms: Vec<_> = key.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
            (key.id.as_deref().unwrap_or("-"), algorithms.join(", "))
        })
    }

    /// The key of this id; a token that names none is of the only key.
    pub(super) fn key(&self, id: Option<&str>) -> Option<&Key> {
        match (id, &self.keys[..]) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

impl Key {
    /// Whether it verifies by this algorithm.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// The set as it is written; what else it has means nothing to us.
#[derive(Deserialize)]
struct SetForm {
    keys: Vec<Object<KeyForm>>,
}

/// A key as it is written.
#[derive(Deserialize)]
struct KeyForm {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// What only a private key has, and of RSA keys only some.
    d: Option<IgnoredAny>,
    /// A shared secret.
    k: Option<IgnoredAny>,
}

impl FromStr for KeySet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > KEY_SET_BYTES {
            return Err(Error::invalid(format!("A key set has at most {KEY_SET_BYTES} bytes.")));
        }
        let Object(form): Object<SetForm> = serde_json::from_str(text).map_err(|error| {
            Error::invalid(format!("The key set is not of the form {{\"keys\":[...]}} (RFC 7517): {}.", complaint(&error)))
        })?;
        if form.keys.len() > KEYS {
            return Err(Error::invalid(format!("A key set has at most {KEYS} keys.")));
        }
        let mut keys: Vec<Key> = Vec::new();
        for Object(form) in form.keys {
            let Some(key) = form.key()? else { continue };
            if keys.iter().any(|known| known.id == key.id) {
                return Err(Error::invalid(match &key.id {
                    Some(kid) => format!("Two keys of the key set have the kid {:?}.", excerpt(kid)),
                    None => "Two keys of the key set have no kid: no token could say which of them signed it.".to_owned(),
                }));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            let kinds = "RSA, EC with P-256 or P-384, or OKP with Ed25519, for signatures";
            return Err(Error::invalid(format!("The key set has no key that tokens are verified by: {kinds}.")));
        }
        Ok(Self { text: text.to_owned(), keys })
    }
}

impl KeyForm {
    /// The key, if tokens are verified by it.
    fn key(self) -> Result<Option<Key>> {
        if self.d.is_some() || self.k.is_some() {
            let kid = named(self.kid.as_deref());
            return Err(Error::invalid(format!("The key {kid} of the key set is a secret: give the public keys alone.")));
        }
        let verifies = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !verifies {
            return Ok(None);
        }
        let family: &[Algorithm] = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512]
            }
            ("EC", Some("P-256")) => &[Algorithm::ES256],
            ("EC", Some("P-384")) => &[Algorithm::ES384],
            ("OKP", Some("Ed25519")) => &[Algorithm::EdDSA],
            _ => return Ok(None),
        };
        let wanted = |algorithm: &Algorithm| self.alg.as_ref().is_none_or(|alg| alg.parse::<Algorithm>().ok() == Some(*algorithm));
        let algorithms: Vec<_> = family.iter().copied().filter(wanted).collect();
        let key = match algorithms.first() {
            None => return Ok(None),
            Some(Algorithm::ES256) => self.on_curve(&ECDSA_P256_SHA256_FIXED, 32)?,
            Some(Algorithm::ES384) => self.on_curve(&ECDSA_P384_SHA384_FIXED, 48)?,
            Some(Algorithm::EdDSA) => self.on_edwards_curve()?,
            Some(_) => self.rsa()?,
        };
        Ok(Some(Key { id: self.kid, algorithms, key }))
    }

    fn rsa(&self) -> Result<DecodingKey> {
        let (modulus, exponent) = (self.bytes("n", self.n.as_deref())?, self.bytes("e", self.e.as_deref())?);
        let leading = |bytes: &[u8]| bytes.iter().take_while(|byte| **byte == 0).count();
        let (modulus, exponent) = (&modulus[leading(&modulus)..], &exponent[leading(&exponent)..]);
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
            return Err(self.wrong(&format!("has {bits} bits; RSA keys have between {least} and {most}")));
        }
        let odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
        if !odd(modulus) || !odd(exponent) || exponent == [1] || exponent.len() > RSA_EXPONENT {
            return Err(self.wrong("is no RSA key"));
        }
        Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
    }

    /// A point of a curve whose coordinates have so many bytes.
    fn on_curve(&self, algorithm: &'static dyn VerificationAlgorithm, length: usize) -> Result<DecodingKey> {
        let (x, y) = (self.bytes("x", self.x.as_deref())?, self.bytes("y", self.y.as_deref())?);
        let point = [&[4], &x[..], &y[..]].concat();
        if (x.len(), y.len()) != (length, length) || ParsedPublicKey::new(algorithm, &point).is_err() {
            return Err(self.wrong("is no point of its curve"));
        }
        Ok(DecodingKey::from_ec_der(&point))
    }

    fn on_edwards_curve(&self) -> Result<DecodingKey> {
        let x = self.bytes("x", self.x.as_deref())?;
        if ParsedPublicKey::new(&ED25519, &x).is_err() {
            return Err(self.wrong("is no point of its curve"));
        }
        Ok(DecodingKey::from_ed_der(&x))
    }

    fn bytes(&self, member: &str, text: Option<&str>) -> Result<Vec<u8>> {
        let text = text.ok_or_else(|| self.wrong(&format!("has no {member}")))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| self.wrong(&format!("has in {member} what is not base64url without padding")))
    }

    fn wrong(&self, what: &str) -> Error {
        Error::invalid(format!("The key {} of the key set {what}.", named(self.kid.as_deref())))
    }
}

fn named(kid: Option<&str>) -> String {
    kid.map_or_else(|| "without kid".to_owned(), |kid| format!("{:?}", excerpt(kid)))
}
