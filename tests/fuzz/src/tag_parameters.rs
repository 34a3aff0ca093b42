//! Tags and lists of resources as requests write them, and rotation intervals. One text: parameters as in a query.

use std::collections::BTreeMap;

use keystead::model::rotation::RotationInterval;
use keystead::model::tags::{TagKey, TagValue};
use keystead::wire::openapi::Parameters;
use keystead::wire::openapi::tags::{page_token, row_of_token};
use serde_json::Value;

use super::{Verdict, json, tells};

/// The most of a list.
const MOST: usize = 50;

pub fn check(input: &[u8]) -> Verdict {
    let parameters = Parameters::parse(input).and_then(|parameters| parameters.union(Parameters::default()));
    let Ok(parameters) = parameters.inspect_err(tells) else { return Verdict::Refused };

    let list = parameters.numbered("ResourceId", MOST).inspect_err(tells).ok();
    assert_eq!(list, numbered(&parameters), "{:?}", parameters.pairs());
    let pairs = parameters.numbered_pairs("Tag", MOST).inspect_err(tells).ok();
    assert_eq!(pairs, numbered_pairs(&parameters), "{:?}", parameters.pairs());
    let tags = parameters.json_tags("Tags").inspect_err(tag_tells).ok();
    if let Some(tags) = &tags {
        let read: Vec<_> = tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        assert_eq!(read, json_tags(parameters.optional("Tags").unwrap_or("[]")));
    }
    for (_, value) in parameters.pairs() {
        single(value);
    }
    Verdict::of(list.and(pairs).map(drop).and(tags.map(drop)).as_ref())
}

/// Values that stand alone.
fn single(value: &str) {
    let signs = |c: char| c.is_alphanumeric() || "/\\_-.+=:@".contains(c);
    let well_formed = value.chars().count() <= 128 && value.chars().all(signs);
    let reserved = value.starts_with("aliyun") || value.starts_with("acs:");
    let key = value.parse::<TagKey>().inspect_err(tag_tells).ok();
    assert_eq!(key.as_ref().map(TagKey::as_str), Some(value).filter(|_| well_formed && !value.is_empty() && !reserved));
    let tag_value = value.parse::<TagValue>().inspect_err(tag_tells).ok();
    assert_eq!(tag_value.as_ref().map(TagValue::as_str), Some(value).filter(|_| well_formed));
    if let Some(key) = key {
        assert_eq!(row_of_token(&page_token("key-a", &key)).expect("a token"), ("key-a".to_owned(), key));
    }
    if let Ok((id, key)) = row_of_token(value).inspect_err(tells) {
        assert_eq!(page_token(&id, &key), value);
    }
    if let Ok(interval) = value.parse::<RotationInterval>().inspect_err(tells) {
        assert_eq!(interval.to_string().parse::<RotationInterval>().expect("what is shown is one"), interval);
        assert!((7 * 86_400..=730 * 86_400).contains(&interval.seconds()));
        let (number, unit) = value.split_at(value.len() - 1);
        let unit = BTreeMap::from([("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)])[unit];
        assert_eq!(number.parse::<u64>().expect("a number") * unit, interval.seconds());
        assert!(number.bytes().all(|byte| byte.is_ascii_digit()));
    }
}

/// Tags have kinds of their own.
fn tag_tells(error: &keystead::base::Error) {
    use keystead::base::Kind;
    match error.kind() {
        Kind::InvalidTagKey | Kind::InvalidTagValue | Kind::DuplicateTagKey => {
            tells(&keystead::base::Error::invalid(error.message()));
        }
        _ => tells(error),
    }
}

/// The number that a parameter of this list has; `Some(None)` for one that has none.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number > 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn numbered(parameters: &Parameters) -> Option<Vec<&str>> {
    let mut list = BTreeMap::new();
    for (name, value) in parameters.pairs() {
        if let Some(rest) = name.strip_prefix("ResourceId.")
            && (value.is_empty() || list.insert(number(rest)?, value.as_str()).is_some())
        {
            return None;
        }
    }
    (list.len() <= MOST).then(|| list.into_values().collect())
}

fn numbered_pairs(parameters: &Parameters) -> Option<Vec<(&str, Option<&str>)>> {
    let (mut keys, mut values) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in parameters.pairs() {
        let Some(rest) = name.strip_prefix("Tag.") else { continue };
        let (digits, field) = rest.split_once('.')?;
        let list = match field {
            "Key" => &mut keys,
            "Value" => &mut values,
            _ => return None,
        };
        if list.insert(number(digits)?, value.as_str()).is_some() {
            return None;
        }
    }
    let complete = keys.len() <= MOST && values.keys().all(|number| keys.contains_key(number));
    complete.then(|| keys.iter().map(|(number, key)| (*key, values.get(number).copied())).collect())
}

/// The tags that a text which was read must have, by key.
fn json_tags(text: &str) -> Vec<(String, String)> {
    let list: Vec<Value> = serde_json::from_str(text).expect("a list");
    let mut tags = BTreeMap::new();
    for tag in &list {
        let members = json::members(&tag.to_string()).expect("an object");
        assert!(members.iter().all(|(name, _)| name == "TagKey" || name == "TagValue"));
        let of = |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str().expect("a text"));
        let former = tags.insert(of("TagKey").expect("a key").to_owned(), of("TagValue").unwrap_or_default().to_owned());
        assert_eq!(former, None);
    }
    tags.into_iter().collect()
}
