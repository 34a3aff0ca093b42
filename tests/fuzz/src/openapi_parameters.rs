//! The parameters of the OpenAPI: query and form body, and the forms of single values. Two texts: query, body.

use keystead::base::Error;
use keystead::model::Name;
use keystead::model::access::{Permission, ResourcePattern};
use keystead::model::algorithm::KeySpec;
use keystead::wire::openapi::Parameters;

use super::{Verdict, forms, tells};

/// The most parameters of one part.
const LIMIT: usize = 256;

pub fn check(input: &[u8]) -> Verdict {
    let (query, body) =
        input.iter().position(|byte| *byte == b'\n').map_or((input, &[][..]), |at| (&input[..at], &input[at + 1..]));
    let (Some(query), Some(body)) = (read(query), read(body)) else { return Verdict::Refused };
    let pairs = [query.pairs(), body.pairs()].concat();
    let mut names: Vec<_> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    match query.union(body) {
        Ok(all) => {
            assert!(!twice, "{names:?}");
            assert_eq!(all.pairs(), pairs);
            for (name, value) in all.pairs() {
                assert_eq!(all.maybe_empty(name), Some(value.as_str()));
                assert_eq!(all.optional(name), Some(value.as_str()).filter(|value| !value.is_empty()));
                values(&all, value);
            }
            Verdict::Taken
        }
        Err(error) => {
            assert!(twice, "{names:?}");
            tells(&error);
            Verdict::Refused
        }
    }
}

/// One part; what it has is what a second reading finds.
fn read(part: &[u8]) -> Option<Parameters> {
    let expected = forms::pairs(part);
    let parsed = Parameters::parse(part).inspect_err(tells);
    assert_eq!(parsed.is_ok(), expected.len() <= LIMIT && forms::is_text(part));
    parsed.ok().inspect(|parameters| assert_eq!(parameters.pairs(), expected))
}

/// Every form that a value may have; under a name of ours, as operations ask for it.
fn values(_: &Parameters, value: &str) {
    let one = Parameters::parse(format!("P={}", forms::encoded(value)).as_bytes()).expect("one parameter");
    assert_eq!(one.pairs(), [("P".to_owned(), value.to_owned())]);
    let number = told(one.number("P", 3..=100, 7));
    let expected = value.strip_prefix('+').unwrap_or(value).parse::<u32>();
    if value.is_empty() {
        assert_eq!(number, Some(7));
    } else {
        assert_eq!(number, expected.ok().filter(|number| (3..=100).contains(number)), "{value:?}");
    }
    let on = told(one.switch("P", "off", "on"));
    let expected = match value.to_ascii_lowercase().as_str() {
        "" => Some(None),
        "true" => Some(Some("on")),
        "false" => Some(Some("off")),
        _ => None,
    };
    assert_eq!(on, expected, "{value:?}");
    let list = told(one.list("P"));
    let expected = if value.is_empty() {
        Some(Vec::new())
    } else if value.trim_start().starts_with('[') {
        serde_json::from_str::<Vec<String>>(value).ok()
    } else {
        Some(value.split(',').map(|item| item.trim().to_owned()).collect())
    };
    assert_eq!(list, expected, "{value:?}");
    assert_eq!(told(one.required("P")).is_some(), !value.is_empty());
    told(one.optional_as::<Name>("P"));
    told(one.required_as::<KeySpec>("P"));
    told(one.list_as::<Permission>("P"));
    assert!(told(one.optional_list_as::<ResourcePattern>("P")).is_none_or(|_| !value.is_empty()));
}

fn told<T>(read: Result<T, Error>) -> Option<T> {
    read.inspect_err(tells).ok()
}
