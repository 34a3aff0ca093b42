//! A second reading of JSON objects: their members as they stand, so that one which stands twice shows.

use std::fmt;

use serde_json::Value;

/// The members of an object, in the order in which they stand; `None` when the text is no object, or has a key twice.
pub fn members(text: &str) -> Option<Vec<(String, Value)>> {
    let Members(members) = serde_json::from_str(text).ok()?;
    let mut keys: Vec<_> = members.iter().map(|(key, _)| key).collect();
    keys.sort();
    keys.windows(2).all(|pair| pair[0] != pair[1]).then_some(members)
}

struct Members(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}
