//! Instances: a named set of keys with an endpoint, a CA and a kind.

use std::fmt;
use std::str::FromStr;

use crate::base::{Error, Result, Timestamp, excerpt};
use crate::model::InstanceId;

/// What holds an instance's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceKind {
    /// Hardware Key Management: an HSM.
    Hardware,
    /// Software Key Management: the process.
    Software,
}

impl InstanceKind {
    /// The word in config, store and `quickstart.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hardware => "Hardware",
            Self::Software => "Software",
        }
    }

    /// The API's `ProtectionLevel` of the keys in it.
    pub const fn protection_level(self) -> &'static str {
        match self {
            Self::Hardware => "HSM",
            Self::Software => "SOFTWARE",
        }
    }
}

impl fmt::Display for InstanceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for InstanceKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Hardware, Self::Software].into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            Error::invalid(format!("The instance kind {:?} is not known; it is Hardware or Software.", excerpt(text)))
        })
    }
}

/// An instance as the service knows it.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// What a person calls it.
    pub name: String,
    /// What holds its keys.
    pub kind: InstanceKind,
    /// When it was first served.
    pub created: Timestamp,
}
