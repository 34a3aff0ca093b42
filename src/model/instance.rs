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

    /// The level of the keys in it.
    pub const fn protection_level(self) -> ProtectionLevel {
        match self {
            Self::Hardware => ProtectionLevel::Hsm,
            Self::Software => ProtectionLevel::Software,
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

/// The API's `ProtectionLevel`: what holds a key. A key has that of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtectionLevel {
    /// An HSM.
    Hsm,
    /// The process.
    Software,
}

impl ProtectionLevel {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hsm => "HSM",
            Self::Software => "SOFTWARE",
        }
    }

    /// The kind of instance whose keys have it.
    pub const fn instance_kind(self) -> InstanceKind {
        match self {
            Self::Hsm => InstanceKind::Hardware,
            Self::Software => InstanceKind::Software,
        }
    }
}

impl fmt::Display for ProtectionLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ProtectionLevel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Hsm, Self::Software]
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| Error::invalid(format!("The ProtectionLevel {:?} is not known; it is HSM or SOFTWARE.", excerpt(text))))
    }
}

/// The instances that get the keys for which no instance is named: at most one of each kind, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultInstances(Vec<(InstanceKind, InstanceId)>);

impl DefaultInstances {
    /// These, in this order.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) for two of one kind, naming both.
    pub fn new(instances: Vec<(InstanceKind, InstanceId)>) -> Result<Self> {
        for (number, (kind, id)) in instances.iter().enumerate() {
            if let Some((_, earlier)) = instances[..number].iter().find(|(known, _)| known == kind) {
                return Err(Error::invalid(format!(
                    "at most one default instance is of the kind {kind}, not both {earlier} and {id}"
                )));
            }
        }
        Ok(Self(instances))
    }

    /// The one for keys of no particular level.
    pub fn first(&self) -> Option<&InstanceId> {
        self.0.first().map(|(_, id)| id)
    }

    /// The one whose keys have this level.
    pub fn of(&self, level: ProtectionLevel) -> Option<&InstanceId> {
        self.0.iter().find(|(kind, _)| kind.protection_level() == level).map(|(_, id)| id)
    }

    /// Whether the instance is one of them.
    pub fn contains(&self, id: &InstanceId) -> bool {
        self.0.iter().any(|(_, known)| known == id)
    }

    /// Each with its kind.
    pub fn iter(&self) -> impl Iterator<Item = &(InstanceKind, InstanceId)> {
        self.0.iter()
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
