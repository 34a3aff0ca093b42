//! Tags: pairs of texts that people put on keys (keys.md of the API: "Aliases, tags, list filters").

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::KeyId;
use crate::base::{Error, Kind, Result, excerpt};

/// The most characters of a tag's key, and of its value (the API's limit).
const LENGTH: usize = 128;
/// What may stand in both besides letters and digits.
const SIGNS: &str = "/\\_-.+=:@";
/// What no key begins with: such tags are the cloud's own.
const RESERVED: [&str; 2] = ["aliyun", "acs:"];

/// The key of a tag: 1 to 128 letters, digits and `/ \ _ - . + = : @`, not beginning with `aliyun` or `acs:`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagKey(String);

/// The value of a tag: as its key, but it may be empty and begin with anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagValue(String);

impl TagKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TagValue {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TagKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let reserved = RESERVED.iter().any(|prefix| text.starts_with(prefix));
        if text.is_empty() || reserved || !is_well_formed(text) {
            let shown = excerpt(text);
            let rule = format!("1 to {LENGTH} letters, digits and {SIGNS}, and does not begin with aliyun or acs:");
            return Err(Error::new(Kind::InvalidTagKey, format!("The tag key {shown:?} is refused: it has {rule}.")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for TagValue {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if !is_well_formed(text) {
            let shown = excerpt(text);
            let rule = format!("at most {LENGTH} letters, digits and {SIGNS}");
            return Err(Error::new(Kind::InvalidTagValue, format!("The tag value {shown:?} is refused: it has {rule}.")));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Letters and digits of any script.
fn is_well_formed(text: &str) -> bool {
    text.chars().count() <= LENGTH && text.chars().all(|c| c.is_alphanumeric() || SIGNS.contains(c))
}

impl fmt::Display for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tags of something, or some that are given to it: at most [`Tags::MOST`], each key once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<TagKey, TagValue>);

impl Tags {
    /// The most tags of one thing (the API's limit).
    pub const MOST: usize = 20;

    /// A list as a request gives it.
    ///
    /// # Errors
    /// [`Kind::DuplicateTagKey`]; [`Kind::InvalidParameter`] when they are too many.
    pub fn from_list(list: impl IntoIterator<Item = (TagKey, TagValue)>) -> Result<Self> {
        let mut tags = BTreeMap::new();
        for (key, value) in list {
            if tags.contains_key(&key) {
                return Err(Error::new(Kind::DuplicateTagKey, format!("The tag key {key} is given twice.")));
            }
            if tags.len() == Self::MOST {
                return Err(Error::invalid(format!("A list of tags has at most {} of them.", Self::MOST)));
            }
            tags.insert(key, value);
        }
        Ok(Self(tags))
    }

    /// Adds tags; one whose key is there already gets the new value.
    ///
    /// # Errors
    /// [`Kind::LimitExceeded`], and then nothing is added.
    pub fn add(&mut self, others: &Self) -> Result<()> {
        let new = others.0.keys().filter(|key| !self.0.contains_key(key)).count();
        if self.0.len() + new > Self::MOST {
            let text = format!("There would be {} tags, {} are the most; remove some first.", self.0.len() + new, Self::MOST);
            return Err(Error::new(Kind::LimitExceeded, text));
        }
        self.0.extend(others.0.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(())
    }

    /// Removes the tag of a key, if it is there.
    pub fn remove(&mut self, key: &TagKey) {
        self.0.remove(key);
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&TagValue> {
        self.iter().find(|(known, _)| known.as_str() == key).map(|(_, value)| value)
    }

    /// All, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&TagKey, &TagValue)> {
        self.0.iter()
    }
}

/// The sorts of things that have tags. The API has secrets, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceType {
    /// A key.
    Key,
}

impl ResourceType {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
        }
    }
}

impl FromStr for ResourceType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "key" => Ok(Self::Key),
            "secret" => Err(Error::unsupported("There are no secrets in this version; the ResourceType key has tags.")),
            _ => Err(Error::invalid("The ResourceType that has tags is key.")),
        }
    }
}

/// Something that has tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaggedResource {
    /// A key.
    Key(KeyId),
}

impl TaggedResource {
    /// What sort of thing.
    pub const fn resource_type(&self) -> ResourceType {
        match self {
            Self::Key(_) => ResourceType::Key,
        }
    }

    /// The API's `ResourceId`.
    pub fn id(&self) -> &str {
        match self {
            Self::Key(id) => id.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tags(keys: std::ops::Range<usize>) -> Tags {
        Tags::from_list(keys.map(|number| (format!("k{number}").parse().unwrap(), "v".parse().unwrap()))).unwrap()
    }

    #[test]
    fn keys_and_values_have_their_characters_and_lengths() {
        let long = "x".repeat(LENGTH);
        for text in ["a", "A/b\\c_d-e.f+g=h:i@9", "é", "预算", "my-aliyun", "acs", &long] {
            assert_eq!(text.parse::<TagKey>().unwrap().as_str(), text);
            assert_eq!(text.parse::<TagValue>().unwrap().as_str(), text);
        }
        let longer = "x".repeat(LENGTH + 1);
        for text in ["a b", "a,b", "a\"b", "a\nb", "a*", &longer] {
            assert_eq!(text.parse::<TagKey>().unwrap_err().kind(), Kind::InvalidTagKey, "{text}");
            assert_eq!(text.parse::<TagValue>().unwrap_err().kind(), Kind::InvalidTagValue, "{text}");
        }
        for text in ["", "aliyun", "aliyunx", "acs:", "acs:x"] {
            assert_eq!(text.parse::<TagKey>().unwrap_err().kind(), Kind::InvalidTagKey, "{text}");
            assert!(text.parse::<TagValue>().is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_key_that_is_taken_is_a_value_too(text in "\\PC{0,140}") {
            if let Ok(key) = text.parse::<TagKey>() {
                prop_assert_eq!(key.as_str(), text.as_str());
                prop_assert!(text.parse::<TagValue>().is_ok());
            }
        }
    }

    #[test]
    fn a_list_has_each_key_once_and_twenty_tags() {
        let tag = |key: &str| (key.parse().unwrap(), "v".parse().unwrap());
        assert_eq!(Tags::from_list([tag("a"), tag("b"), tag("a")]).unwrap_err().kind(), Kind::DuplicateTagKey);
        let many = (0..21).map(|number| tag(&number.to_string()));
        assert_eq!(Tags::from_list(many).unwrap_err().kind(), Kind::InvalidParameter);
    }

    #[test]
    fn what_would_be_too_many_adds_nothing_and_values_are_overwritten() {
        let mut all = tags(0..15);
        let before = all.clone();
        assert_eq!(all.add(&tags(14..21)).unwrap_err().kind(), Kind::LimitExceeded);
        assert_eq!(all, before);
        all.add(&tags(10..20)).unwrap();
        assert_eq!(all.iter().count(), 20);
        all.add(&Tags::from_list([("k3".parse().unwrap(), "new".parse().unwrap())]).unwrap()).unwrap();
        assert_eq!((all.get("k3").unwrap().as_str(), all.get("k4").unwrap().as_str(), all.get("none")), ("new", "v", None));
        all.remove(&"k3".parse().unwrap());
        all.remove(&"none".parse().unwrap());
        assert_eq!(all, {
            let mut rest = tags(0..3);
            rest.add(&tags(4..20)).unwrap();
            rest
        });
        all.clear();
        assert_eq!(all, Tags::default());
    }
}
