//! Operators: who may call the OpenAPI, by which policies, and the decision. Deny is the default, an explicit Deny wins.
//!
//! ```text
//! AccessKey    0..2 -> Identity (the root, a user, a role)
//! Policy      0..10 -> Identity      built in, or a document of its own
//! KeyPolicy    0..1 -> Key
//! ```
//!
//! An operator's policies and the policy of the key that a request is about are looked at together:
//!
//! * A Deny that matches in either of them denies.
//! * An Allow of the key policy for the operator itself (`user/<name>`, `role/<name>`) is enough.
//! * An Allow of the key policy for the account (`root`, `*`) leaves it to the operator's policies. The default key policy is one
//!   such Allow, of everything.
//! * What the key policy does not allow at all is denied, whatever the operator's policies say.
//!
//! The root is allowed everything without a policy of its own. Key policies bind it like everybody, but for reading and setting
//! them: nobody loses a key by a policy.

mod condition;
mod document;
mod key_policy;
mod pattern;
mod role;
mod unclaimed;

use std::net::IpAddr;
use std::str::FromStr;

use crate::base::{Error, Result, Timestamp, excerpt};
use crate::model::tags::Tags;
use crate::model::{AccessKeyId, Name};
use document::Statement;
pub use document::{DOCUMENT_BYTES, Document, Effect};
pub use key_policy::KeyPolicy;
pub use pattern::Pattern;
pub use role::{Assumer, Assumption, LONGEST_LIMIT, Role, SHORTEST_LIMIT, TrustPolicy};
pub use unclaimed::UnclaimedPolicies;

/// The most identities of an installation, as RAM's default quota of users.
pub const IDENTITIES: usize = 1000;
/// The most policies of an identity: a bound on what a decision reads, 10 documents of 32 KB.
pub const POLICIES_PER_IDENTITY: usize = 10;
/// The most AccessKeys of an identity (RAM's limit): one in use and one to change to.
pub const ACCESS_KEYS_PER_IDENTITY: usize = 2;

/// What reads and sets key policies: for these the root needs no key policy.
const OF_KEY_POLICIES: [&str; 2] = ["kms:GetKeyPolicy", "kms:SetKeyPolicy"];

/// Somebody who may have permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name; users and roles share the names.
    pub name: Name,
    /// What it is.
    pub kind: IdentityKind,
    /// What it is permitted, at most [`POLICIES_PER_IDENTITY`], by name.
    pub policies: Vec<AttachedPolicy>,
    /// Free text.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
}

/// What an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// The account itself: everything is allowed to it, and it has no policies.
    Root,
    /// A user, with AccessKeys.
    User,
    /// A role, which others assume.
    Role,
}

impl IdentityKind {
    /// As it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "Root",
            Self::User => "User",
            Self::Role => "Role",
        }
    }
}

impl FromStr for IdentityKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = [Self::Root, Self::User, Self::Role].into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| Error::invalid(format!("{:?} is no kind of identity.", excerpt(text))))
    }
}

/// A policy of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachedPolicy {
    /// One that every installation has.
    BuiltIn(BuiltIn),
    /// One of its own.
    Custom {
        /// Its name, not that of a built-in one.
        name: Name,
        /// What it says.
        document: Document,
    },
}

impl AttachedPolicy {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(built_in) => built_in.name(),
            Self::Custom { name, .. } => name.as_str(),
        }
    }

    /// What it says.
    pub fn document(&self) -> &Document {
        match self {
            Self::BuiltIn(built_in) => built_in.document(),
            Self::Custom { document, .. } => document,
        }
    }
}

/// The policies that every installation has, by RAM's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuiltIn {
    /// Every operation on everything.
    FullAccess,
    /// Every operation that only reads, but no secret's value.
    ReadOnlyAccess,
}

impl BuiltIn {
    /// Every one of them.
    pub const ALL: [Self; 2] = [Self::FullAccess, Self::ReadOnlyAccess];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullAccess => "AliyunKMSFullAccess",
            Self::ReadOnlyAccess => "AliyunKMSReadOnlyAccess",
        }
    }

    /// What it says.
    pub fn document(self) -> &'static Document {
        document::built_in(self)
    }
}

impl FromStr for BuiltIn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|policy| policy.name()).collect();
            Error::invalid(format!("There is no built-in policy {:?}; there are {}.", excerpt(text), known.join(" and ")))
        })
    }
}

/// Whether an AccessKey may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessKeyState {
    /// It may.
    Active,
    /// It may not, until it is active again.
    Inactive,
}

impl AccessKeyState {
    /// RAM's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Inactive => "Inactive",
        }
    }
}

impl FromStr for AccessKeyState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = [Self::Active, Self::Inactive].into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| Error::invalid(format!("{:?} is no state of an AccessKey.", excerpt(text))))
    }
}

/// An AccessKey, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyInfo {
    /// Its id.
    pub id: AccessKeyId,
    /// Whose it is.
    pub owner: Name,
    /// Whether it may be used.
    pub state: AccessKeyState,
    /// When it was made.
    pub created: Timestamp,
}

/// What somebody wants to do, and under which circumstances. That a request came over TLS is not among them: all do.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// `kms:` and the operation.
    pub action: &'a str,
    /// `<kind>/<name>`, the last part of an ARN; `*` for everything.
    pub resource: &'a str,
    /// From this address.
    pub source: IpAddr,
    /// At this time.
    pub now: Timestamp,
    /// The tags of the resource.
    pub tags: &'a Tags,
    /// Whether it may have others.
    pub known: TagsKnown,
}

/// How much is known of the tags of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagsKnown {
    /// All of them.
    All,
    /// It may have others: which ones was damaged where they are stored. A condition on tags may hold and may not: it lets a Deny apply, and
    /// keeps an Allow from applying.
    Some,
}

/// The answer to a [`Demand`], with its reason for the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Granted.
    Allow,
    /// Not granted.
    Deny(Reason),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A Deny of the operator's policies.
    Denied,
    /// A Deny of the key policy.
    DeniedByKeyPolicy,
    /// Nothing in the operator's policies allows it, and the key policy does not allow it to the operator itself. Nothing denies it,
    /// and one more Allow among the operator's policies would do.
    NotAllowed,
    /// Nothing in the key policy allows it.
    NotAllowedByKeyPolicy,
    /// The policy of the session does not allow it, whatever the role may.
    NotAllowedBySession,
}

/// What statements say of a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    Silent,
}

impl Identity {
    /// Decides about a session of this role. Its policy takes away and gives nothing: both must allow.
    pub fn decide_in_session(&self, policy: Option<&Document>, demand: &Demand<'_>, key_policy: Option<&KeyPolicy>) -> Decision {
        match policy.map_or(Verdict::Allowed, |policy| verdict(policy.statements(), demand)) {
            Verdict::Allowed => self.decide(demand, key_policy),
            Verdict::Denied | Verdict::Silent => Decision::Deny(Reason::NotAllowedBySession),
        }
    }

    /// Decides. `key_policy` is that of the key that the demand is about; without one the default key policy holds.
    pub fn decide(&self, demand: &Demand<'_>, key_policy: Option<&KeyPolicy>) -> Decision {
        let own = self.own_verdict(demand);
        if own == Verdict::Denied {
            return Decision::Deny(Reason::Denied);
        }
        let Some(key_policy) = key_policy else { return allowed_by(own) };
        if self.kind == IdentityKind::Root && OF_KEY_POLICIES.contains(&demand.action) {
            return Decision::Allow;
        }
        match key_policy.verdict(self, demand) {
            key_policy::Verdict::Denied => Decision::Deny(Reason::DeniedByKeyPolicy),
            key_policy::Verdict::AllowedItself => Decision::Allow,
            key_policy::Verdict::AllowedToAccount => allowed_by(own),
            key_policy::Verdict::Silent => Decision::Deny(Reason::NotAllowedByKeyPolicy),
        }
    }

    fn own_verdict(&self, demand: &Demand<'_>) -> Verdict {
        if self.kind == IdentityKind::Root {
            return Verdict::Allowed;
        }
        verdict(self.policies.iter().flat_map(|policy| policy.document().statements()), demand)
    }
}

fn verdict<'a>(statements: impl IntoIterator<Item = &'a Statement>, demand: &Demand<'_>) -> Verdict {
    let mut verdict = Verdict::Silent;
    for statement in statements.into_iter().filter(|statement| statement.matches(demand)) {
        match statement.effect {
            Effect::Deny => return Verdict::Denied,
            Effect::Allow => verdict = Verdict::Allowed,
        }
    }
    verdict
}

fn allowed_by(own: Verdict) -> Decision {
    match own {
        Verdict::Allowed => Decision::Allow,
        Verdict::Denied => Decision::Deny(Reason::Denied),
        Verdict::Silent => Decision::Deny(Reason::NotAllowed),
    }
}

#[cfg(test)]
mod tests;
