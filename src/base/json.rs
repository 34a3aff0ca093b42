//! JSON as others write it, read strictly: an object is written as one, and has a name once.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// The most characters of what serde complains about.
const COMPLAINT: usize = 256;

/// A structure that is written as an object. Serde alone would read an array of its fields, too.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// An object whose names are not known beforehand, each at most once: which of two was meant is not for us to guess.
pub struct Members<T>(pub Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
                let mut members: Vec<(String, T)> = Vec::new();
                let mut names = HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

/// What is wrong with a text, for whoever wrote it: serde names what it does not know, however long that is.
pub fn complaint(error: &serde_json::Error) -> String {
    error.to_string().chars().flat_map(char::escape_debug).take(COMPLAINT).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        a: u8,
        b: u8,
    }

    #[test]
    fn a_structure_is_an_object() {
        let read = |text: &str| serde_json::from_str::<Object<Pair>>(text).map(|Object(pair)| (pair.a, pair.b));
        assert_eq!(read(r#"{"b":2,"a":1}"#).unwrap(), (1, 2));
        for text in ["[1,2]", r#"{"a":1}"#, r#"{"a":1,"b":2,"a":1}"#, r#"{"a":1,"b":2,"c":3}"#, "null"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn members_have_different_names() {
        let read = |text: &str| serde_json::from_str::<Members<u8>>(text).map(|Members(members)| members);
        assert_eq!(read(r#"{"b":2,"a":1}"#).unwrap(), [("b".to_owned(), 2), ("a".to_owned(), 1)]);
        assert!(read("{}").unwrap().is_empty());
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[["a",1]]"#, r#"{"a":"1"}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_complaint_is_short_and_in_one_line() {
        let text = serde_json::json!({ "\n".repeat(1000): 1 }).to_string();
        let complaint = complaint(&serde_json::from_str::<Pair>(&text).err().unwrap());
        assert!(complaint.starts_with("unknown field `\\n") && complaint.len() == COMPLAINT, "{complaint}");
    }
}
