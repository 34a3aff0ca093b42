//! The keys and secrets that a policy names, and whether one is among them.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use crate::base::{Error, Result, excerpt};
use crate::model::KeyId;

/// What somebody wants to use.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// A key.
    Key(&'a KeyId),
    /// A secret.
    Secret(&'a str),
    /// Nothing that a policy names, as GenerateRandom: the permission on the instance is enough.
    None,
}

/// The keys and secrets that one entry of a policy's `Resources` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourcePattern {
    /// `key/<id>` or a prefix of the id and `*`.
    Key(Glob),
    /// `secret/<name>` or a prefix of the name and `*`.
    Secret(Glob),
}

/// An exact text, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glob {
    /// Exactly this.
    Exact(String),
    /// Everything that begins so: what stood before a trailing `*`.
    Prefix(String),
}

impl Glob {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some(prefix) if !prefix.contains('*') => Some(Self::Prefix(prefix.to_owned())),
            Some(_) => None,
            None if text.is_empty() || text.contains('*') => None,
            None => Some(Self::Exact(text.to_owned())),
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
        }
    }
}

impl FromStr for ResourcePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = if let Some(rest) = text.strip_prefix("key/") {
            Glob::parse(rest).map(Self::Key)
        } else if let Some(rest) = text.strip_prefix("secret/") {
            Glob::parse(rest).map(Self::Secret)
        } else {
            None
        };
        parsed.ok_or_else(|| {
            Error::invalid(format!(
                "{:?} is not a resource; it is key/ or secret/ and an id, a name, or a prefix with * at its end.",
                excerpt(text)
            ))
        })
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(glob) => write!(f, "key/{glob}"),
            Self::Secret(glob) => write!(f, "secret/{glob}"),
        }
    }
}

/// The resources of a policy, in the order in which they were listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    listed: Vec<ResourcePattern>,
    keys: Names,
    secrets: Names,
}

/// What the patterns of one type name: what is listed in full is found at once, however long the list is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    exact: HashSet<String>,
    prefixes: Vec<String>,
}

impl Names {
    fn add(&mut self, glob: &Glob) {
        match glob {
            Glob::Exact(text) => drop(self.exact.insert(text.clone())),
            Glob::Prefix(text) => self.prefixes.push(text.clone()),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) || self.exact.contains(name)
    }
}

impl Resources {
    /// Whether `resource` is among them.
    pub fn name(&self, resource: Resource<'_>) -> bool {
        match resource {
            Resource::Key(id) => self.keys.has(id.as_str()),
            Resource::Secret(name) => self.secrets.has(name),
            Resource::None => false,
        }
    }

    /// As they were listed.
    pub fn iter(&self) -> std::slice::Iter<'_, ResourcePattern> {
        self.listed.iter()
    }

    /// How many were listed.
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

impl FromIterator<ResourcePattern> for Resources {
    fn from_iter<I: IntoIterator<Item = ResourcePattern>>(patterns: I) -> Self {
        let mut resources = Self::default();
        for pattern in patterns {
            match &pattern {
                ResourcePattern::Key(glob) => resources.keys.add(glob),
                ResourcePattern::Secret(glob) => resources.secrets.add(glob),
            }
            resources.listed.push(pattern);
        }
        resources
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a ResourcePattern;
    type IntoIter = std::slice::Iter<'a, ResourcePattern>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
