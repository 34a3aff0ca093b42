//! Parameters whose text is JSON: AccessControlRules of policies, Filters of lists.

use serde::Deserialize;

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
    let rules: Rules = serde_json::from_str(text)
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
    let entries: Vec<Entry> =
        serde_json::from_str(text).map_err(|_| malformed("is not a JSON array of objects with Key and Values"))?;
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
