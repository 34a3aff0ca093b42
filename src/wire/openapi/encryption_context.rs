//! EncryptionContext: pairs of texts that become additional authenticated data (AAD).
//!
//! The transfer clients turn OpenAPI requests into calls of the instance protocol, and derive the AAD themselves, in three ways that do
//! not agree: the SHA-256 of the `k=v` pairs, sorted and joined by `&`, as 32 bytes (Java, Go), the same as 64 hex digits (Python), or
//! the JSON text itself (an older mode of Python). The gateway encrypts with the first; both doors try the others when they decrypt.
//!
//! Joined pairs are ambiguous where a key has `=` or `&`, or a value has `&`: `{"a":"1","b":"2"}` and `{"a":"1&b=2"}` give the same.
//! Such a context has another AAD: the SHA-256 of `&` and the pairs with all but `A-Z a-z 0-9 - _ . ~` as `%XX`, joined as before. No
//! joined pairs begin with `&`, so that no other context has the same.

mod reading;

use aws_lc_rs::digest::{SHA256, digest};

use crate::base::json::Members;
use crate::base::{Error, Result};
use crate::model::ciphertext::Binding;
use crate::wire::signing::{hex, percent_encode, sha256_hex};

use super::Parameters;
pub(super) use reading::contexts_of;
pub use reading::refuse_unread_contexts;
use reading::{Given, given};

/// The most characters of it (the API's limit): of the JSON text, or of all keys and values.
const LIMIT: usize = 8192;

/// A context, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptionContext {
    /// By key; each key once.
    pairs: Vec<(String, String)>,
    written: Written,
}

/// How a client wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Written {
    /// It did not.
    #[default]
    Not,
    /// As this JSON text.
    Json(String),
    /// As one parameter for each pair, or two.
    Flattened,
}

impl EncryptionContext {
    /// Reads the context of this name, in each of the forms that clients send: `NAME={"k":"v"}`; `NAME.k=v`; `NAME.1.Key=k` with
    /// `NAME.1.Value=v`. An empty JSON object, and an empty text, are a context without pairs, which binds nothing.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when it is no JSON object of texts, has a key twice, is too long
    /// or is given in two forms.
    pub fn read(parameters: &Parameters, name: &str) -> Result<Self> {
        match given(parameters, name)? {
            Given::Nothing => Ok(Self::default()),
            Given::Json(text) => Self::from_json(name, text),
            Given::Flattened(pairs) => Self::of(name, pairs, Written::Flattened),
        }
    }

    fn from_json(name: &str, text: &str) -> Result<Self> {
        if text.chars().count() > LIMIT {
            return Err(too_long(name));
        }
        let Members(pairs): Members<String> = serde_json::from_str(text)
            .map_err(|_| Error::invalid(format!("The parameter {name} is not a JSON object of strings, each key once.")))?;
        Self::of(name, pairs, Written::Json(text.to_owned()))
    }

    fn of(name: &str, mut pairs: Vec<(String, String)>, written: Written) -> Result<Self> {
        if pairs.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum::<usize>() > LIMIT {
            return Err(too_long(name));
        }
        // The order in which they come means nothing.
        pairs.sort();
        // Some clients take the first, others the last, and both would believe that they authenticate the same.
        if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(Error::invalid(format!("The parameter {name} has a key twice.")));
        }
        Ok(Self { pairs, written })
    }

    /// Whether it has no pairs, and so binds nothing.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// What is authenticated by an encryption.
    pub fn aad(&self) -> Vec<u8> {
        if self.is_empty() {
            Vec::new()
        } else if self.is_ambiguous() {
            let encoded = self.pairs.iter().map(|(key, value)| format!("{}={}", percent_encode(key), percent_encode(value)));
            sha256(&format!("&{}", encoded.collect::<Vec<_>>().join("&"))).to_vec()
        } else {
            sha256(&self.joined()).to_vec()
        }
    }

    /// What a ciphertext is bound to that is to be opened with it.
    pub fn binding(&self) -> Binding {
        let (mut aads, mut former_aads) = (vec![self.aad()], Vec::new());
        if self.written == Written::Not {
            return Binding { aads, former_aads };
        }
        // The transfer clients hash an empty text for a context without pairs.
        let joined = self.joined();
        let of_transfer_clients = [sha256(&joined).to_vec(), sha256_hex(joined.as_bytes()).into_bytes()];
        // Earlier versions of the gateway derived ambiguous contexts as the transfer clients do.
        if self.is_ambiguous() { &mut former_aads } else { &mut aads }.extend(of_transfer_clients);
        match &self.written {
            Written::Not => {}
            Written::Json(text) => aads.push(text.clone().into_bytes()),
            // Earlier versions of the gateway did not read this form.
            Written::Flattened => former_aads.push(Vec::new()),
        }
        aads.push(self.as_json().into_bytes());
        Binding { aads: without_repetitions(aads), former_aads }
    }

    /// As most clients write it: without blanks, by key.
    fn as_json(&self) -> String {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let members: Vec<_> = self.pairs.iter().map(|(key, value)| format!("{}:{}", text(key), text(value))).collect();
        format!("{{{}}}", members.join(","))
    }

    /// As the transfer clients join it.
    fn joined(&self) -> String {
        self.pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
    }

    /// Whether another context is joined to the same.
    fn is_ambiguous(&self) -> bool {
        self.pairs.iter().any(|(key, value)| key.contains(['=', '&']) || value.contains('&'))
    }
}

/// The AADs that the gateway and the transfer clients derive from the context from which one of them derived `aad`. That comes first; it
/// is the only one where it has none of their forms.
pub fn aads_alike(aad: Vec<u8>) -> Vec<Vec<u8>> {
    let mut alike = Vec::new();
    if let Some(hash) = <[u8; 32]>::try_from(aad.as_slice()).ok().or_else(|| from_lower_hex(&aad)) {
        alike.extend([hash.to_vec(), hex(&hash).into_bytes()]);
        // The hash of a context without pairs, which binds nothing at the gateway.
        if hash == sha256("") {
            alike.push(Vec::new());
        }
    } else if let Some(context) = std::str::from_utf8(&aad).ok().and_then(|text| EncryptionContext::from_json("Aad", text).ok()) {
        alike = context.binding().aads;
    }
    let mut aads = vec![aad];
    aads.append(&mut alike);
    without_repetitions(aads)
}

/// What 64 digits in lower case stand for.
fn from_lower_hex(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut hash = [0; 32];
    let digits = <&[u8; 64]>::try_from(text).ok()?;
    for (byte, two) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(two[0])? << 4) | digit(two[1])?;
    }
    Some(hash)
}

fn too_long(name: &str) -> Error {
    Error::invalid(format!("The parameter {name} has at most {LIMIT} characters."))
}

fn sha256(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Each once, in their order.
fn without_repetitions(aads: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut once: Vec<Vec<u8>> = Vec::with_capacity(aads.len());
    for aad in aads {
        if !once.contains(&aad) {
            once.push(aad);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::openapi::Parameters;

    /// printf 'k1=v 1&k2=v2' | sha256sum
    const HASH: &str = "1ed755ae9df4102aafe94511b533f4d8badd3f3143e3b221be497793331f2d97";

    fn read(query: &str) -> Result<EncryptionContext> {
        EncryptionContext::read(&Parameters::parse(query.as_bytes())?, "EncryptionContext")
    }

    fn json(text: &str) -> EncryptionContext {
        read(&format!("EncryptionContext={}", percent_encode(text))).unwrap()
    }

    fn texts(aads: &[Vec<u8>]) -> Vec<String> {
        aads.iter().map(|aad| String::from_utf8(aad.clone()).unwrap_or_else(|_| format!("raw {}", hex(aad)))).collect()
    }

    #[test]
    fn the_order_means_nothing_and_every_form_is_the_same_context() {
        for other in [
            json(r#"{"k2":"v2","k1":"v 1"}"#),
            json(r#"{ "k1" : "v 1", "k2":"v2" }"#),
            read("EncryptionContext.k2=v2&EncryptionContext.k1=v+1").unwrap(),
            read("EncryptionContext.1.Key=k2&EncryptionContext.1.Value=v2&EncryptionContext.2.Key=k1&EncryptionContext.2.Value=v%201")
                .unwrap(),
        ] {
            assert_eq!(hex(&other.aad()), HASH);
        }
    }

    #[test]
    fn a_ciphertext_opens_in_whatever_form_a_client_derived_it() {
        let raw = format!("raw {HASH}");
        let binding = json(r#"{"k2":"v2","k1":"v 1"}"#).binding();
        assert_eq!(texts(&binding.aads), [&raw, HASH, r#"{"k2":"v2","k1":"v 1"}"#, r#"{"k1":"v 1","k2":"v2"}"#]);
        assert!(binding.former_aads.is_empty());
        // Earlier versions ignored parameters of this form.
        let binding = read("EncryptionContext.k2=v2&EncryptionContext.k1=v+1").unwrap().binding();
        assert_eq!(texts(&binding.aads), [&raw, HASH, r#"{"k1":"v 1","k2":"v2"}"#]);
        assert_eq!(texts(&binding.former_aads), [""]);
    }

    #[test]
    fn contexts_that_are_joined_to_the_same_authenticate_different_things() {
        let (two, one) = (json(r#"{"a":"1","b":"2"}"#), json(r#"{"a":"1&b=2"}"#));
        assert_eq!(two.joined(), one.joined());
        assert_ne!(two.aad(), one.aad());
        // printf '&a=1%%26b%%3D2' | sha256sum
        assert_eq!(hex(&one.aad()), "d9190a22296a0fcc9bfcf8efb9054e7f5ae724c99e73d152cbf182e4a8918f61");
        let joined = sha256("a=1&b=2");
        assert!(!one.binding().aads.contains(&joined.to_vec()), "{:?}", texts(&one.binding().aads));
        assert_eq!(one.binding().former_aads, [joined.to_vec(), hex(&joined).into_bytes()]);
        let aads = [
            "{\"a\":\"=\"}",
            "{\"a=\":\"\"}",
            "{\"a\":\"\",\"b\":\"\"}",
            "{\"a\":\"&b=\"}",
            "{\"a=&b\":\"\"}",
            "{\"\":\"\"}",
            "{\"&a\":\"%3D\"}",
        ];
        let different: std::collections::HashSet<_> = aads.iter().map(|text| json(text).aad()).collect();
        assert_eq!(different.len(), aads.len());
    }

    #[test]
    fn no_context_and_an_empty_one_authenticate_nothing() {
        // printf '' | sha256sum
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for none in ["", "EncryptionContext=", "EncryptionContext=%7B%7D"] {
            let context = read(none).unwrap();
            assert!(context.is_empty() && context.aad().is_empty(), "{none}");
            assert!(context.binding().former_aads.is_empty());
        }
        assert_eq!(texts(&read("").unwrap().binding().aads), [""]);
        // What the transfer clients of Java, Go and Python make of it.
        assert_eq!(texts(&json("{}").binding().aads), ["", &format!("raw {nothing}"), nothing, "{}"]);
    }

    #[test]
    fn what_is_no_object_of_texts_or_too_long_or_given_twice_is_refused() {
        let long = "x".repeat(LIMIT);
        for bad in [r#"{"a":"1","a":"2"}"#, "[]", "1", "null", r#"{"a":1}"#, r#"{"a":{}}"#, "{", &format!(r#"{{"a":"{long}"}}"#)] {
            assert!(read(&format!("EncryptionContext={}", percent_encode(bad))).is_err(), "{bad:.20}");
        }
        for bad in [
            "EncryptionContext=%7B%7D&EncryptionContext.a=b",
            "EncryptionContext.1.Key=a&EncryptionContext.1.Value=1&EncryptionContext.a=2",
            &format!("EncryptionContext.a={long}"),
        ] {
            assert!(read(bad).is_err(), "{bad:.50}");
        }
        assert!(read(&format!("EncryptionContext.a={}", &long[1..])).is_ok());
    }

    #[test]
    fn a_transfer_client_opens_what_was_derived_otherwise_from_the_same_context() {
        let raw = format!("raw {HASH}");
        let alike = |aad: &[u8]| texts(&aads_alike(aad.to_vec()));
        assert_eq!(alike(&json(r#"{"k2":"v2","k1":"v 1"}"#).aad()), [&raw, HASH]);
        assert_eq!(alike(HASH.as_bytes()), [HASH, &raw]);
        let text = r#"{"k2":"v2","k1":"v 1"}"#;
        assert_eq!(alike(text.as_bytes()), [text, &raw, HASH, r#"{"k1":"v 1","k2":"v2"}"#]);
        // A context without pairs binds nothing at the gateway.
        let (nothing, digits) = (sha256(""), hex(&sha256("")));
        for aad in [&nothing[..], digits.as_bytes(), b"{}"] {
            assert!(aads_alike(aad.to_vec()).contains(&Vec::new()), "{aad:?}");
            assert_eq!(aads_alike(aad.to_vec())[0], aad);
        }
        // All else is what it is.
        for aad in
            [&b""[..], b"text", HASH.to_uppercase().as_bytes(), &HASH.as_bytes()[1..], br#"["a"]"#, br#"{"a":1}"#, &[0xff; 31]]
        {
            assert_eq!(aads_alike(aad.to_vec()), [aad.to_vec()]);
        }
    }
}
