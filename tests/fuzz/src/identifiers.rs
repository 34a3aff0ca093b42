//! Identifiers and the closed sets of names: a text is one, exactly as it is written, or none.

use std::fmt::Display;
use std::str::FromStr;

use keystead::base::Error;
use keystead::model::access::{AuthenticationMethod, NetworkRuleKind, Permission, Scope};
use keystead::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, MessageType, PaddingMode, SignatureAlgorithm};
use keystead::model::instance::InstanceKind;
use keystead::model::key::KeyState;
use keystead::model::{
    AccessKeyId, Alias, ClientId, ClientKeyId, InstanceId, IssuerUrl, KeyId, KeyVersionId, Name, RoleId, SessionName,
};
use keystead::wire::instance_protocol::Operation;
use keystead::wire::openapi::Action;

use super::{Verdict, tells, text};

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &str = "0123456789abcdef";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let instance = shaped(text, &[("kst-", 0), (LOWER, 21)]);
    let uuid = [("KAAP.", 0), (HEX, 8), ("-", 0), (HEX, 4), ("-", 0), (HEX, 4), ("-", 0), (HEX, 4), ("-", 0), (HEX, 12)];
    let among = |more: &str, least: usize, most: usize| {
        let count = text.chars().count();
        (least..=most).contains(&count) && text.chars().all(|c| LETTERS.contains(c) || more.contains(c))
    };
    let graphic = |but: &str| text.chars().count() <= 255 && text.chars().all(|c| ('!'..='~').contains(&c) && !but.contains(c));
    let host = text.strip_prefix("https://").and_then(|rest| rest.split('/').next()).is_some_and(|host| !host.is_empty());
    let alias = text.starts_with("alias/") && text.len() > 6 && !text.starts_with("alias/acs") && among("_-/", 1, 255);
    let read = [
        same::<KeyId>(text, shaped(text, &[("key-", 0), (LOWER, 21)])),
        same::<KeyVersionId>(text, shaped(text, &[("key-", 0), (LOWER, 21), ("-", 0), (LOWER, 10)])),
        same::<InstanceId>(text, instance),
        same::<Scope>(text, instance || text == "shared"),
        same::<ClientKeyId>(text, shaped(text, &uuid)),
        same::<AccessKeyId>(text, among("", 8, 64) || text.starts_with("STS.") && among(".", 8, 64) && !text[4..].contains('.')),
        same::<RoleId>(text, shaped(text, &[("0123456789", 18)])),
        same::<SessionName>(text, among(".@-_", 2, 64)),
        same::<Name>(text, among("_-./@+=", 1, 128)),
        same::<Alias>(text, alias),
        same::<IssuerUrl>(text, host && graphic("?#@")),
        same::<ClientId>(text, !text.is_empty() && graphic(",")),
        named(text, KeySpec::name),
        named(text, KeyUsage::name),
        named(text, EncryptionAlgorithm::name),
        named(text, SignatureAlgorithm::name),
        named(text, PaddingMode::name),
        named(text, MessageType::name),
        named(text, KeyState::name),
        named(text, InstanceKind::name),
        named(text, Permission::name),
        named(text, NetworkRuleKind::name),
        named(text, AuthenticationMethod::name),
        text.parse().ok().inspect(|operation: &Operation| assert_eq!(operation.name(), text)).is_some(),
        text.parse().ok().inspect(|action: &Action| assert_eq!(action.name(), text)).is_some(),
    ];
    if let Ok(version) = text.parse::<KeyVersionId>() {
        assert_eq!(version.key().to_string(), text[..25]);
    }
    Verdict::of(read.contains(&true).then_some(&()))
}

/// Whether a text consists of these parts: literally the text where the number is 0, else so many of the characters.
fn shaped(text: &str, parts: &[(&str, usize)]) -> bool {
    let mut rest = text;
    for (part, count) in parts {
        let matched = match count {
            0 => rest.strip_prefix(part),
            _ => rest.get(..*count).filter(|chosen| chosen.chars().all(|c| part.contains(c))).map(|_| &rest[*count..]),
        };
        match matched {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// A text that is one is shown as it was written.
fn same<T: FromStr<Err = Error> + Display>(text: &str, expected: bool) -> bool {
    let parsed = text.parse::<T>();
    assert_eq!(parsed.is_ok(), expected, "{} {text:?}", std::any::type_name::<T>());
    match parsed {
        Ok(one) => assert_eq!(one.to_string(), text),
        Err(error) => tells(&error),
    }
    expected
}

/// A name of a closed set is the name of what it was read as.
fn named<T: FromStr<Err = Error>>(text: &str, name: fn(T) -> &'static str) -> bool {
    match text.parse::<T>() {
        Ok(one) => {
            assert_eq!(name(one), text);
            true
        }
        Err(error) => {
            tells(&error);
            false
        }
    }
}
