//! Tags and lists of resources as requests write them, and the token of the next page.
//!
//! The older operations take JSON: `[{"TagKey":"a","TagValue":"b"}]`. The newer ones take numbered parameters: `Tag.1.Key`,
//! `Tag.1.Value`, `ResourceId.1`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::Parameters;
use crate::base::json::Object;
use crate::base::{Error, Result};
use crate::model::tags::{TagKey, TagValue, Tags};

impl Parameters {
    /// Tags as JSON, or none. A tag without a value has an empty one.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when it is no such JSON; those of tags.
    pub fn json_tags(&self, name: &str) -> Result<Tags> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Tag {
            tag_key: String,
            #[serde(default)]
            tag_value: String,
        }
        let Some(text) = self.optional(name) else { return Ok(Tags::default()) };
        let list: Vec<Object<Tag>> = serde_json::from_str(text).map_err(|_| {
            Error::invalid(format!("The parameter {name} is a JSON array of objects {{\"TagKey\":\"a\",\"TagValue\":\"b\"}}."))
        })?;
        let list = list.into_iter().map(|Object(tag)| Ok((tag.tag_key.parse::<TagKey>()?, tag.tag_value.parse::<TagValue>()?)));
        Tags::from_list(list.collect::<Result<Vec<_>>>()?)
    }

    /// A list of numbered parameters, `ResourceId.1`, `ResourceId.2`, ...: in the order of their numbers. Numbers may be left out.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) for what is no number, for an empty value, for more than `most`.
    pub fn numbered(&self, name: &str, most: usize) -> Result<Vec<&str>> {
        let mut list = BTreeMap::new();
        for (rest, value) in self.under(name) {
            if list.insert(number(name, rest)?, value).is_some() {
                return Err(Error::invalid(format!("The parameters {name}.N have a number twice.")));
            }
        }
        if list.values().any(|value| value.is_empty()) {
            return Err(Error::invalid(format!("The parameters {name}.N are not empty.")));
        }
        bounded(name, list.into_values().collect(), most)
    }

    /// A list of numbered pairs, `Tag.1.Key`, `Tag.1.Value`, ...; the value may be absent.
    ///
    /// # Errors
    /// As [`Parameters::numbered`]; for a field of another name, and for a value without a key.
    pub fn numbered_pairs(&self, name: &str, most: usize) -> Result<Vec<(&str, Option<&str>)>> {
        let mut list = BTreeMap::<u32, (Option<&str>, Option<&str>)>::new();
        for (rest, value) in self.under(name) {
            let (digits, field) = rest.split_once('.').unwrap_or((rest, ""));
            let pair = list.entry(number(name, digits)?).or_default();
            let place = match field {
                "Key" => &mut pair.0,
                "Value" => &mut pair.1,
                _ => return Err(Error::invalid(format!("The parameters {name}.N are {name}.N.Key and {name}.N.Value."))),
            };
            if place.replace(value).is_some() {
                return Err(Error::invalid(format!("The parameters {name}.N have a number twice.")));
            }
        }
        let keyless = || Error::invalid(format!("A parameter {name}.N.Value has no {name}.N.Key."));
        let pairs = list.into_values().map(|(key, value)| Ok((key.ok_or_else(keyless)?, value))).collect::<Result<_>>()?;
        bounded(name, pairs, most)
    }

    /// What begins with a name and a point, without those.
    fn under<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pairs().iter().filter_map(move |(known, value)| Some((known.strip_prefix(name)?.strip_prefix('.')?, value.as_str())))
    }
}

fn number(name: &str, text: &str) -> Result<u32> {
    let number = text.parse::<u32>().ok().filter(|number| *number > 0 && text.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| Error::invalid(format!("The parameters {name}.N are numbered from 1.")))
}

fn bounded<T>(name: &str, list: Vec<T>, most: usize) -> Result<Vec<T>> {
    if list.len() <= most { Ok(list) } else { Err(Error::invalid(format!("There are at most {most} parameters {name}.N."))) }
}

/// The token of the page after this row of ListTagResources: opaque to clients.
pub fn page_token(resource_id: &str, key: &TagKey) -> String {
    URL_SAFE_NO_PAD.encode(format!("{resource_id}\n{key}"))
}

/// The row that a token names: the id of its resource and its tag key.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) for what is no token of ours.
pub fn row_of_token(token: &str) -> Result<(String, TagKey)> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (id, key) = text.split_once('\n')?;
        Some((id.to_owned(), key.parse().ok()?))
    };
    read().ok_or_else(|| Error::invalid("The parameter NextToken is not one that ListTagResources answered."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Kind;

    fn parameters(text: &str) -> Parameters {
        Parameters::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn tags_in_json() {
        let read = |json: &str| {
            let encoded: String = form_urlencoded::byte_serialize(json.as_bytes()).collect();
            parameters(&format!("Tags={encoded}")).json_tags("Tags")
        };
        let tags = read(r#"[{"TagKey":"b","TagValue":"2"},{"TagKey":"a","TagValue":""},{"TagKey":"c"}]"#).unwrap();
        let pairs: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", ""), ("b", "2"), ("c", "")]);
        assert_eq!((parameters("").json_tags("Tags").unwrap(), read("[]").unwrap()), (Tags::default(), Tags::default()));
        for (json, kind) in [
            ("{}", Kind::InvalidParameter),
            (r#"[{"TagValue":"a"}]"#, Kind::InvalidParameter),
            (r#"[{"TagKey":"a","Value":"b"}]"#, Kind::InvalidParameter),
            (r#"[{"TagKey":"a"},{"TagKey":"a"}]"#, Kind::DuplicateTagKey),
            (r#"[{"TagKey":"acs:a"}]"#, Kind::InvalidTagKey),
            (r#"[{"TagKey":"a","TagValue":"*"}]"#, Kind::InvalidTagValue),
        ] {
            assert_eq!(read(json).unwrap_err().kind(), kind, "{json}");
        }
    }

    #[test]
    fn lists_come_by_number() {
        let read = parameters("Id.10=c&Id.2=b&Id.1=a&Ids.1=x&Id=y");
        assert_eq!(read.numbered("Id", 3).unwrap(), ["a", "b", "c"]);
        assert_eq!(read.numbered("Id", 2).unwrap_err().kind(), Kind::InvalidParameter);
        assert!(read.numbered("None", 3).unwrap().is_empty());
        for bad in ["Id.0=a", "Id.x=a", "Id.=a", "Id.-1=a", "Id.%2B1=a", "Id.1.2=a", "Id.1=", "Id.1=a&Id.01=b", "Id.4294967296=a"] {
            assert_eq!(parameters(bad).numbered("Id", 3).unwrap_err().kind(), Kind::InvalidParameter, "{bad}");
        }
        let read = parameters("Tag.2.Value=w&Tag.1.Key=a&Tag.2.Key=b&Tag.3.Key=c&Tag.3.Value=");
        assert_eq!(read.numbered_pairs("Tag", 3).unwrap(), [("a", None), ("b", Some("w")), ("c", Some(""))]);
        for bad in ["Tag.1.Value=a", "Tag.1=a", "Tag.1.key=a", "Tag.x.Key=a", "Tag.1.Key.x=a", "Tag.1.Key=a&Tag.01.Key=b"] {
            assert_eq!(parameters(bad).numbered_pairs("Tag", 3).unwrap_err().kind(), Kind::InvalidParameter, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_parameter_is_read_or_refused(name in "\\PC{0,12}", value in "\\PC{0,12}") {
            let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
            let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            let read = parameters(&format!("Tag.{name}={value}"));
            prop_assert!(read.numbered("Tag", 1).is_err() || !value.is_empty());
            let _ = read.numbered_pairs("Tag", 1);
        }

        #[test]
        fn a_token_names_its_row_and_others_are_refused(key in "[a-z/\\\\_.+=:@]{1,20}", token in "\\PC{0,40}") {
            if let Ok(key) = key.parse::<TagKey>() {
                let token = page_token("key-hzz62f1cb66fa42qo0001", &key);
                prop_assert_eq!(row_of_token(&token).unwrap(), ("key-hzz62f1cb66fa42qo0001".to_owned(), key));
            }
            if let Ok((id, key)) = row_of_token(&token) {
                prop_assert_eq!(page_token(&id, &key), token);
            }
        }
    }
}
