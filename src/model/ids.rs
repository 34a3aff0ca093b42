//! Identifiers, each a type of its own that cannot hold a malformed value (keys.md: "Identifiers" of the API).

use std::fmt;
use std::str::FromStr;

use crate::base::{Error, Result, excerpt};

/// The random characters of an identifier: 32 of them, so that a byte maps onto one without bias.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

fn characters(entropy: &[u8]) -> String {
    entropy.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

fn is_lower_alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Error::invalid(format!("{:?} is not {}.", excerpt(text), $what)))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// An instance: `kst-` and 21 lower-case letters or digits.
    InstanceId,
    "an instance id (kst- and 21 lower-case letters or digits)",
    |text| text.strip_prefix("kst-").is_some_and(|rest| rest.len() == 21 && is_lower_alphanumeric(rest))
);

identifier!(
    /// A key: `key-` and 21 lower-case letters or digits.
    KeyId,
    "a key id (key- and 21 lower-case letters or digits)",
    |text| text.strip_prefix("key-").is_some_and(|rest| rest.len() == 21 && is_lower_alphanumeric(rest))
);

identifier!(
    /// A version of a key: the key's id, a hyphen and 10 lower-case letters or digits, 36 characters in all. Clients cut it out
    /// of the ciphertext by that length.
    KeyVersionId,
    "a key version id (the key id, a hyphen and 10 lower-case letters or digits)",
    |text| {
        text.len() == KeyVersionId::LENGTH
            && text.is_ascii()
            && text.as_bytes()[25] == b'-'
            && KeyId::from_str(&text[..25]).is_ok()
            && is_lower_alphanumeric(&text[26..])
    }
);

identifier!(
    /// A client key: `KAAP.` and a UUID in lower case.
    ClientKeyId,
    "a client key id (KAAP. and a UUID)",
    |text| {
        text.strip_prefix("KAAP.").is_some_and(|uuid| {
            uuid.len() == 36
                && uuid.bytes().enumerate().all(|(at, byte)| match at {
                    8 | 13 | 18 | 23 => byte == b'-',
                    _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
                })
        })
    }
);

identifier!(
    /// An AccessKey of an operator: 8 to 64 letters or digits; that of a session begins with `STS.`.
    AccessKeyId,
    "an AccessKey id (8 to 64 letters or digits)",
    |text| {
        let rest = text.strip_prefix(AccessKeyId::OF_SESSIONS).unwrap_or(text);
        (8..=64).contains(&text.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }
);

identifier!(
    /// A role: 18 digits. One that is made anew has another, whatever its name.
    RoleId,
    "a role id (18 digits)",
    |text| text.len() == 18 && text.bytes().all(|byte| byte.is_ascii_digit())
);

identifier!(
    /// What whoever assumes a role calls the session: 2 to 64 letters, digits and `.@-_` (the API's).
    SessionName,
    "a session name (2 to 64 letters, digits and . @ - _)",
    |text| (2..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".@-_".contains(&byte))
);

identifier!(
    /// The name of an access point, a policy or a network rule: 1 to 128 letters, digits and `_-./@+=`.
    Name,
    "a name (1 to 128 letters, digits and _ - . / @ + =)",
    |text| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./@+=".contains(&byte))
    }
);

identifier!(
    /// An alias of a key: `alias/` and letters, digits and `_-/`, 255 characters at most; `alias/acs` is reserved.
    Alias,
    "an alias (alias/ and 1 to 249 letters, digits and _ - /, not beginning with alias/acs)",
    |text| {
        text.len() <= 255
            && text.strip_prefix(Alias::PREFIX).is_some_and(|rest| {
                !rest.is_empty()
                    && !rest.starts_with("acs")
                    && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/".contains(&byte))
            })
    }
);

identifier!(
    /// Who issues the tokens of an OIDC provider: a URL as its tokens have it in `iss`, at most 255 characters (the API's).
    IssuerUrl,
    "an issuer (https:// and a host, perhaps a path, without user, query and fragment, at most 255 characters)",
    |text| {
        text.len() <= 255
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@".contains(&byte))
            && text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    }
);

identifier!(
    /// Whom the tokens of an OIDC provider are for, as they have it in `aud`: 1 to 255 characters. Answers put commas between several.
    ClientId,
    "a client id (1 to 255 ASCII characters, no blank and no comma)",
    |text| (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
);

impl Alias {
    /// What every alias begins with, and no key id.
    pub const PREFIX: &str = "alias/";
}

impl InstanceId {
    /// A new id out of 21 random bytes (105 bits are used).
    pub fn from_entropy(entropy: [u8; 21]) -> Self {
        Self(format!("kst-{}", characters(&entropy)))
    }
}

impl KeyId {
    /// A new id out of 21 random bytes (105 bits are used).
    pub fn from_entropy(entropy: [u8; 21]) -> Self {
        Self(format!("key-{}", characters(&entropy)))
    }
}

impl KeyVersionId {
    /// Length in characters and bytes.
    pub const LENGTH: usize = 36;

    /// A new version of `key` out of 10 random bytes (50 bits are used).
    pub fn from_entropy(key: &KeyId, entropy: [u8; 10]) -> Self {
        Self(format!("{key}-{}", characters(&entropy)))
    }

    /// The key that this is a version of.
    pub fn key(&self) -> KeyId {
        KeyId(self.0[..25].to_owned())
    }
}

impl ClientKeyId {
    /// A new id out of 16 random bytes, as a version 4 UUID (RFC 9562, section 5.4).
    pub fn from_entropy(mut entropy: [u8; 16]) -> Self {
        entropy[6] = (entropy[6] & 0x0f) | 0x40;
        entropy[8] = (entropy[8] & 0x3f) | 0x80;
        let mut text = String::from("KAAP.");
        for (at, byte) in entropy.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text)
    }
}

impl AccessKeyId {
    /// What those of sessions begin with, and no others.
    pub const OF_SESSIONS: &str = "STS.";

    /// A new id for a session out of 24 random bytes (120 bits are used).
    pub fn of_session(entropy: [u8; 24]) -> Self {
        Self(format!("{}{}", Self::OF_SESSIONS, characters(&entropy)))
    }

    /// A new id out of 20 random bytes.
    pub fn from_entropy(entropy: [u8; 20]) -> Self {
        Self(format!("KSAK{}", characters(&entropy)))
    }
}

impl RoleId {
    /// A new id out of 8 random bytes (56 bits are used).
    pub fn from_entropy(entropy: [u8; 8]) -> Self {
        Self(format!("3{:017}", u64::from_be_bytes(entropy) % 100_000_000_000_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;

    #[test]
    fn made_ids_parse() {
        let key = KeyId::from_entropy(random::bytes());
        let version = KeyVersionId::from_entropy(&key, random::bytes());
        assert_eq!(key.as_str().len(), 25);
        assert_eq!(version.as_str().len(), KeyVersionId::LENGTH);
        assert_eq!(version.as_str().parse::<KeyVersionId>().unwrap().key(), key);
        InstanceId::from_entropy(random::bytes()).as_str().parse::<InstanceId>().unwrap();
        ClientKeyId::from_entropy(random::bytes()).as_str().parse::<ClientKeyId>().unwrap();
        AccessKeyId::from_entropy(random::bytes()).as_str().parse::<AccessKeyId>().unwrap();
        RoleId::from_entropy(random::bytes()).as_str().parse::<RoleId>().unwrap();
        AccessKeyId::of_session(random::bytes()).as_str().parse::<AccessKeyId>().unwrap();
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in [
            "",
            "key-",
            "key-hzz62f1cb66fa42qo000",
            "key-hzz62f1cb66fa42qo00011",
            "KEY-hzz62f1cb66fa42qo0001",
            "key-hzz62f1cb66fa42qo000é",
        ] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
        assert!("key-hzz62f1cb66fa42qo0001_abcdefghij".parse::<KeyVersionId>().is_err());
        assert!("KAAP.11111111-2222-4333-8444-55555555555g".parse::<ClientKeyId>().is_err());
        for text in ["STS.", "STS.a.aaaaaa", "KSAK.aaaaaaaaa", "sts.aaaaaaaaaa"] {
            assert!(text.parse::<AccessKeyId>().is_err(), "{text}");
        }
        for text in ["a", "a/b", "a b", "éé", &"a".repeat(65)] {
            assert!(text.parse::<SessionName>().is_err(), "{text}");
        }
        for text in ["alias/", "alias/acs", "alias/acs/x", "alias/a b", "a", &format!("alias/{}", "a".repeat(250))] {
            assert!(text.parse::<Alias>().is_err(), "{text}");
        }
        for text in ["alias/a", "alias/a/b_c-D9", &format!("alias/{}", "a".repeat(249))] {
            assert!(text.parse::<Alias>().is_ok(), "{text}");
        }
        for text in
            ["", "http://a", "https://", "https:///a", "https://a b", "https://u@a", "https://a?b", "https://a#b", "HTTPS://a"]
        {
            assert!(text.parse::<IssuerUrl>().is_err(), "{text}");
        }
        for text in ["https://a", "https://a:6443/b/", "https://kubernetes.default.svc.cluster.local"] {
            assert!(text.parse::<IssuerUrl>().is_ok(), "{text}");
        }
        for text in ["", "a b", "a,b", "é", &"a".repeat(256)] {
            assert!(text.parse::<ClientId>().is_err(), "{text}");
        }
        assert!("https://kubernetes.default.svc".parse::<ClientId>().is_ok());
        assert!("a b".parse::<Name>().is_err());
        assert!("kst-hzz634e67d126u9p9xxxx.efkd".parse::<Name>().is_ok());
    }
}
