//! Parameters whose text is JSON: AccessControlRules of policies, Filters of lists.

use serde::Deserialize;

use crate::base::json::Object;
use crate::base::{Error, Result};
use crate::model::Name;

/// The most filters of a list, and the most values of one (the API's limits).
const FILTERS: usize = 10;

/// Reads AccessControlRules, `{"NetworkRules":["name",...]}`: the names; nothing when the text is empty or the object is.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when it is of another form, or no name is one.
pub fn access_control_rules(text: &str) -> Result<Option<Vec<Name>>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rules {
        #[serde(rename = "NetworkRules")]
        network_rules: Option<Vec<String>>,
    }
    if text.is_empty() {
        return Ok(None);
    }
    let Object(rules): Object<Rules> = serde_json::from_str(text)
        .map_err(|_| Error::invalid("The parameter AccessControlRules is {\"NetworkRules\":[\"name\",...]}."))?;
    rules.network_rules.map(|names| names.iter().map(|name| name.parse()).collect()).transpose()
}

/// Reads Filters, `[{"Key":"KeyState","Values":["Enabled"]}, ...]`: what to filter by, each once, with its values. Entries of one key
/// are one condition.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when it is of another form or too long.
pub fn filters(text: &str) -> Result<Vec<(String, Vec<String>)>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Entry {
        key: String,
        values: Vec<String>,
    }
    let malformed = |what: &str| Error::invalid(format!("The parameter Filters {what}."));
    let entries: Vec<Object<Entry>> =
        serde_json::from_str(text).map_err(|_| malformed("is not a JSON array of objects with Key and Values"))?;
    let entries: Vec<_> = entries.into_iter().map(|Object(entry)| entry).collect();
    if entries.len() > FILTERS || entries.iter().any(|entry| entry.values.is_empty() || entry.values.len() > FILTERS) {
        return Err(malformed("has at most 10 objects, each with 1 to 10 values"));
    }
    let mut by_key: Vec<(String, Vec<String>)> = Vec::new();
    for entry in entries {
        match by_key.iter_mut().find(|(key, _)| *key == entry.key) {
            Some((_, values)) => values.extend(entry.values),
            None => by_key.push((entry.key, entry.values)),
        }
    }
    Ok(by_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_an_object_with_the_one_list() {
        let names = |text: &str| access_control_rules(text).unwrap().map(|names| names.len());
        assert_eq!((names(""), names("{}"), names(r#"{"NetworkRules":null}"#)), (None, None, None));
        assert_eq!((names(r#"{"NetworkRules":[]}"#), names(r#"{"NetworkRules":["a","b.efkd"]}"#)), (Some(0), Some(2)));
        for bad in [
            "[]",
            r#"[["a"]]"#,
            r#"{"NetworkRules":"a"}"#,
            r#"{"NetworkRules":["a b"]}"#,
            r#"{"Rules":[]}"#,
            r#"{"NetworkRules":["a"],"NetworkRules":[]}"#,
            r#"{"NetworkRules":[]} {}"#,
        ] {
            assert!(access_control_rules(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_of_one_key_are_one_condition() {
        let read = filters(r#"[{"Key":"a","Values":["1"]},{"Values":["2"],"Key":"b"},{"Key":"a","Values":["3"]}]"#).unwrap();
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(read, [("a".to_owned(), texts(&["1", "3"])), ("b".to_owned(), texts(&["2"]))]);
        for bad in [
            "",
            "{}",
            r#"[["a",["1"]]]"#,
            r#"[{"Key":"a"}]"#,
            r#"[{"Key":"a","Values":[]}]"#,
            r#"[{"Key":"a","Values":["1"],"More":1}]"#,
            &format!("[{}]", [r#"{"Key":"a","Values":["1"]}"#; FILTERS + 1].join(",")),
            &format!(r#"[{{"Key":"a","Values":[{}]}}]"#, [r#""1""#; FILTERS + 1].join(",")),
        ] {
            assert!(filters(bad).is_err(), "{bad}");
        }
    }
}
