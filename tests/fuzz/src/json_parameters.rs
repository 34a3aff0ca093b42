//! The JSON of AccessControlRules and Filters: one way to write it, objects as objects, nothing twice.

use keystead::wire::openapi::{access_control_rules, filters};
use serde_json::Value;

use super::{Verdict, json, tells, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let rules = access_control_rules(text).inspect_err(tells).ok();
    if let Some(read) = &rules {
        let names = read.as_ref().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names, rules_of(text), "{text:?}");
    }
    let filters = filters(text).inspect_err(tells).ok();
    if let Some(read) = &filters {
        assert_eq!(*read, filters_of(text), "{text:?}");
    }
    Verdict::of(rules.map(drop).or(filters.map(drop)).as_ref())
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().expect("an array");
    items.iter().map(|item| item.as_str().expect("a text").to_owned()).collect()
}

/// The names that a text which was read must have.
fn rules_of(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return None;
    }
    match json::members(text).expect("an object").as_slice() {
        [] => None,
        [(key, names)] if key == "NetworkRules" => Some(names).filter(|names| !names.is_null()).map(texts),
        _ => panic!("{text:?}"),
    }
}

fn filters_of(text: &str) -> Vec<(String, Vec<String>)> {
    let value: Value = serde_json::from_str(text).expect("JSON");
    let mut by_key: Vec<(String, Vec<String>)> = Vec::new();
    let entries = value.as_array().expect("an array");
    assert!(entries.len() <= 10);
    for entry in entries {
        let object = entry.as_object().expect("an object");
        assert_eq!(object.len(), 2, "{text:?}");
        let values = texts(&object["Values"]);
        assert!((1..=10).contains(&values.len()));
        let key = object["Key"].as_str().expect("a text");
        match by_key.iter().position(|(known, _)| known == key) {
            Some(at) => by_key[at].1.extend(values),
            None => by_key.push((key.to_owned(), values)),
        }
    }
    by_key
}
