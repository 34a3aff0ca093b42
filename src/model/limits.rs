//! How many requests a second an endpoint serves, by groups of operations as the API has them.

use std::num::NonZeroU32;

use crate::model::InstanceId;

/// An endpoint that may have limits, whichever node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitedEndpoint {
    /// That of an instance; it is called by the instance's id.
    Instance(InstanceId),
    /// The shared gateway: `shared`.
    Shared,
    /// The Security Token Service: `sts`.
    Sts,
}

impl std::fmt::Display for LimitedEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance(instance) => instance.fmt(f),
            Self::Shared => f.write_str("shared"),
            Self::Sts => f.write_str("sts"),
        }
    }
}

/// Operations that share a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Cryptography with a symmetric key.
    Symmetric,
    /// Cryptography with an asymmetric key, and making pairs.
    Asymmetric,
    /// Public keys and random bytes at an instance endpoint.
    Other,
    /// CreateKey.
    CreateKey,
    /// What else changes nothing, at the shared gateway; GetCallerIdentity at the Security Token Service.
    Reads,
    /// What else changes something, at the shared gateway; AssumeRole at the Security Token Service.
    Writes,
    /// AssumeRoleWithOIDC: by itself, since whoever has a token may send it, and for as long as it is good.
    Tokens,
}

impl Group {
    /// All that there are.
    pub const ALL: [Self; 7] =
        [Self::Symmetric, Self::Asymmetric, Self::Other, Self::CreateKey, Self::Reads, Self::Writes, Self::Tokens];

    /// As the configuration calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Symmetric => "symmetric",
            Self::Asymmetric => "asymmetric",
            Self::Other => "other",
            Self::CreateKey => "create_key",
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Tokens => "tokens",
        }
    }
}

/// Requests a second, by group; a group that is not named has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(Vec<(Group, NonZeroU32)>);

impl Limits {
    /// The most that makes sense: beyond it a limit is none.
    pub const MOST: u32 = 1_000_000;

    /// With a limit for each of these groups.
    pub fn of(limits: impl IntoIterator<Item = (Group, NonZeroU32)>) -> Self {
        Self(limits.into_iter().collect())
    }

    /// The limit of a group.
    pub fn get(&self, group: Group) -> Option<NonZeroU32> {
        self.0.iter().find(|(limited, _)| *limited == group).map(|(_, limit)| *limit)
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
