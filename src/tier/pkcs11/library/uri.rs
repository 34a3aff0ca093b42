//! PKCS #11 URIs (RFC 7512), as far as they name a token: which slot is meant.
//!
//! Path attributes of a token or slot are taken, those of an object or library refused, and so is a PIN: it belongs into a file.

use std::fmt;
use std::str::FromStr;

use crate::base::{Error, Result, excerpt};
use crate::tier::pkcs11::library::token::TokenName;
use crate::tier::pkcs11::library::token::TokenSummary;

/// What a token must look like to be meant. Every attribute that is given must be equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUri {
    label: Option<String>,
    manufacturer: Option<String>,
    serial: Option<String>,
    model: Option<String>,
    slot_id: Option<u64>,
}

impl TokenUri {
    /// Whether this token is meant.
    pub fn matches(&self, token: &TokenSummary) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        same(&self.label, &token.label)
            && same(&self.manufacturer, &token.manufacturer)
            && same(&self.serial, &token.serial)
            && same(&self.model, &token.model)
            && self.slot_id.is_none_or(|id| id == token.slot_id)
    }

    /// How notes of logins know a token that is meant, of this serial number and, if that is known, this label.
    pub fn name(&self, serial: &str, label: Option<&str>) -> TokenName {
        let label = match self.serial {
            Some(_) => None,
            None => label.or(self.label.as_deref()).map(str::to_owned),
        };
        TokenName { serial: serial.to_owned(), label }
    }

    /// Takes one `name=value`.
    fn set(&mut self, name: &str, value: String) -> Result<()> {
        let field = match name {
            "token" => &mut self.label,
            "manufacturer" => &mut self.manufacturer,
            "serial" => &mut self.serial,
            "model" => &mut self.model,
            "slot-id" => {
                // RFC 7512, section 2.3: digits alone. Rust would take a sign, too.
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let malformed = || Error::invalid(format!("slot-id={:?} in a PKCS#11 URI is not a number.", excerpt(&value)));
                let id = value.parse().ok().filter(|_| digits).ok_or_else(malformed)?;
                return once(name, &self.slot_id.replace(id));
            }
            _ => {
                return Err(Error::invalid(format!(
                    "{:?} in a PKCS#11 URI does not name a token; token, serial, model, manufacturer and slot-id do.",
                    excerpt(name)
                )));
            }
        };
        once(name, &field.replace(value))
    }
}

/// RFC 7512, section 2.3: an attribute stands at most once.
fn once<T>(name: &str, former: &Option<T>) -> Result<()> {
    match former {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!("{name} stands twice in a PKCS#11 URI."))),
    }
}

impl FromStr for TokenUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let path = text
            .strip_prefix("pkcs11:")
            .ok_or_else(|| Error::invalid(format!("{:?} is not a PKCS#11 URI (pkcs11:token=...).", excerpt(text))))?;
        if path.contains('?') {
            return Err(Error::invalid("A PKCS#11 URI here has no query: the module and the PIN are settings of their own."));
        }
        let mut uri = Self::default();
        for part in path.split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| Error::invalid(format!("{:?} in a PKCS#11 URI has no value.", excerpt(part))))?;
            uri.set(name, percent_decoded(value)?)?;
        }
        if uri == Self::default() {
            return Err(Error::invalid(
                "A PKCS#11 URI must name a token: pkcs11:token=LABEL, or by serial, model, manufacturer, slot-id.",
            ));
        }
        Ok(uri)
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts =
            [("token", &self.label), ("manufacturer", &self.manufacturer), ("serial", &self.serial), ("model", &self.model)];
        let mut parts: Vec<String> =
            texts.iter().filter_map(|(name, value)| Some(format!("{name}={}", percent_encoded(value.as_deref()?)))).collect();
        parts.extend(self.slot_id.map(|id| format!("slot-id={id}")));
        write!(f, "pkcs11:{}", parts.join(";"))
    }
}

fn percent_decoded(value: &str) -> Result<String> {
    let malformed = || Error::invalid(format!("{:?} in a PKCS#11 URI is not percent-encoded UTF-8.", excerpt(value)));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or_else(malformed);
            let (high, low) = (digit()?, digit()?);
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

fn percent_encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_uri_that_names_no_token_is_refused() {
        for text in [
            "",
            "pkcs11:",
            "token=a",
            "pkcs11:token",
            "pkcs11:object=k",
            "pkcs11:token=a;token=b",
            "pkcs11:slot-id=x",
            "pkcs11:slot-id=+7",
            "pkcs11:token=%4",
            "pkcs11:token=%ff",
            "pkcs11:token=a?pin-value=1",
        ] {
            assert!(text.parse::<TokenUri>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_attribute_counts() {
        let token = TokenSummary { label: "My token".into(), serial: "0a".into(), slot_id: 7, ..TokenSummary::default() };
        let matches = |text: &str| text.parse::<TokenUri>().unwrap().matches(&token);
        assert!(matches("pkcs11:token=My%20token"));
        assert!(matches("pkcs11:token=My%20token;serial=0a;slot-id=7"));
        assert!(!matches("pkcs11:token=My%20token;serial=0b"));
        assert!(!matches("pkcs11:token=My"));
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same(label in ".{1,40}", slot in proptest::option::of(any::<u64>())) {
            let uri = TokenUri { label: Some(label), slot_id: slot, ..TokenUri::default() };
            prop_assert_eq!(uri.to_string().parse::<TokenUri>().unwrap(), uri);
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = format!("pkcs11:{text}").parse::<TokenUri>();
        }
    }
}
