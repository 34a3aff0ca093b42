//! What everything in Keystead that reads bytes from outside is held to, input by input.
//!
//! A target takes any bytes, lets the program read them, and compares what comes out with a second, simpler reading that is written
//! down here: that both take the same inputs, that what was read is written back as it came, that an order which means nothing changes
//! nothing. It panics when they differ. Two callers: libFuzzer, by `targets/` (scripts/fuzz), and an ordinary test that replays
//! `seeds/` and what was ever found (tests/seeds). Where a target reads several texts, a line feed ends each.

pub mod access_decisions;
pub mod authorization;
pub mod canonical_acs;
pub mod canonical_instance;
pub mod canonical_rpc;
pub mod ciphertext_blob;
pub mod client_addresses;
pub mod client_requests;
pub mod configuration;
pub mod dates;
pub mod decryption;
pub mod encryption_context;
mod forms;
pub mod identifiers;
pub mod import_tokens;
mod installation;
pub mod instance_messages;
mod json;
pub mod json_parameters;
pub mod oidc_tokens;
pub mod openapi_parameters;
pub mod operator_policies;
pub mod operator_requests;
pub mod pkcs11_uri;
pub mod private_keys;
pub mod public_keys;
pub mod session_tokens;
pub mod tag_parameters;
pub mod trust_policies;
pub mod webhook_urls;

use keystead::base::{Error, Kind};

/// What the program made of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It read it.
    Taken,
    /// It told what is wrong.
    Refused,
}

impl Verdict {
    fn of<T>(read: Option<&T>) -> Self {
        if read.is_some() { Self::Taken } else { Self::Refused }
    }
}

/// Something that reads bytes from outside.
pub struct Target {
    /// Its name: the program of libFuzzer, and the folder of its seeds.
    pub name: &'static str,
    /// Lets the program read an input; panics when it does so wrongly.
    pub check: fn(&[u8]) -> Verdict,
}

/// Names the targets: a module of that name with a function `check` each.
macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), check: $name::check }),+];
    };
}

targets![
    access_decisions,
    authorization,
    canonical_acs,
    canonical_instance,
    canonical_rpc,
    ciphertext_blob,
    client_addresses,
    client_requests,
    configuration,
    dates,
    decryption,
    encryption_context,
    identifiers,
    import_tokens,
    instance_messages,
    json_parameters,
    oidc_tokens,
    openapi_parameters,
    operator_policies,
    operator_requests,
    pkcs11_uri,
    private_keys,
    public_keys,
    session_tokens,
    tag_parameters,
    trust_policies,
    webhook_urls,
];

/// The most characters of an error's text: it names what was sent by its beginning, however long that is.
const LONGEST_ERROR: usize = 1000;

/// An error about what was sent: it blames the sender, in one short line that can be printed.
fn tells(error: &Error) {
    assert!(
        [Kind::InvalidParameter, Kind::MissingParameter, Kind::UnsupportedOperation, Kind::Undecryptable].contains(&error.kind()),
        "{error:?}"
    );
    let text = error.message();
    assert!(!text.is_empty() && text.chars().count() <= LONGEST_ERROR, "{} characters: {text:.200}", text.chars().count());
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// The input as text.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}
