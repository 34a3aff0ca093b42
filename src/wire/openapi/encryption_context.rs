//! EncryptionContext: a JSON object of texts that becomes additional authenticated data.
//!
//! The clients that turn OpenAPI requests into calls of the instance protocol derive the data in three ways that do not agree: the
//! SHA-256 of `k=v` pairs, sorted and joined by `&`, as 32 bytes (Java) or as 64 hex characters (Python), or the JSON text itself (an
//! older mode). We encrypt with the first and try all of them when we decrypt.

use aws_lc_rs::digest::{SHA256, digest};

use crate::base::json::Members;
use crate::base::{Error, Result};
use crate::wire::signing::sha256_hex;

/// The most characters of it (the API's limit).
const LIMIT: usize = 8192;

/// A context, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptionContext {
    /// Pairs joined, and the text as it came; `None` for no context.
    given: Option<(String, String)>,
}

impl EncryptionContext {
    /// Reads the parameter. An empty object is no context.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when it is no JSON object of texts, or too long.
    pub fn parse(parameter: &str, text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::default()) };
        if text.chars().count() > LIMIT {
            return Err(Error::invalid(format!("The parameter {parameter} has at most {LIMIT} characters.")));
        }
        // A key that stands twice is refused: some clients take the first, others the last, and both would believe that they
        // authenticate the same.
        let Members(mut pairs): Members<String> = serde_json::from_str(text)
            .map_err(|_| Error::invalid(format!("The parameter {parameter} is not a JSON object of strings, each key once.")))?;
        if pairs.is_empty() {
            return Ok(Self::default());
        }
        // The order in which they come means nothing.
        pairs.sort();
        let joined = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&");
        Ok(Self { given: Some((joined, text.to_owned())) })
    }

    /// What is authenticated by an encryption.
    pub fn aad(&self) -> Vec<u8> {
        self.given.as_ref().map_or_else(Vec::new, |(joined, _)| digest(&SHA256, joined.as_bytes()).as_ref().to_vec())
    }

    /// What may have been authenticated, the likeliest first.
    pub fn candidates(&self) -> Vec<Vec<u8>> {
        match &self.given {
            None => vec![Vec::new()],
            Some((joined, text)) => vec![self.aad(), sha256_hex(joined.as_bytes()).into_bytes(), text.clone().into_bytes()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(text: &str) -> EncryptionContext {
        EncryptionContext::parse("EncryptionContext", Some(text)).unwrap()
    }

    #[test]
    fn the_order_means_nothing_and_the_three_forms_are_those_of_the_clients() {
        let one = context(r#"{"k2":"v2","k1":"v 1"}"#);
        assert_eq!(one.aad(), context(r#"{ "k1" : "v 1", "k2":"v2" }"#).aad());
        // printf 'k1=v 1&k2=v2' | sha256sum
        let hash = "1ed755ae9df4102aafe94511b533f4d8badd3f3143e3b221be497793331f2d97";
        assert_eq!(hex::encode(one.aad()), hash);
        assert_eq!(one.candidates()[1], hash.as_bytes());
        assert_eq!(one.candidates()[2], br#"{"k2":"v2","k1":"v 1"}"#);
    }

    #[test]
    fn no_context_and_an_empty_one_authenticate_nothing() {
        for none in [EncryptionContext::parse("p", None).unwrap(), context("{}")] {
            assert_eq!((none.aad(), none.candidates()), (Vec::new(), vec![Vec::new()]));
        }
    }

    #[test]
    fn what_is_no_object_of_texts_is_refused() {
        for bad in [
            r#"{"a":"1","a":"2"}"#,
            "",
            "[]",
            "1",
            r#"{"a":1}"#,
            r#"{"a":{}}"#,
            "{",
            &format!(r#"{{"a":"{}"}}"#, "x".repeat(LIMIT)),
        ] {
            assert!(EncryptionContext::parse("p", Some(bad)).is_err(), "{bad:.20}");
        }
    }
}
