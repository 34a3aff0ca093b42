//! Key policies: documents whose statements name whom they speak of, and that speak of one key, the one that has them.

use std::str::FromStr;
use std::sync::LazyLock;

use super::document::{self, Effect, Statement, StatementForm};
use super::pattern::Pattern;
use super::{Demand, Identity, IdentityKind};
use crate::base::{Error, Result, excerpt};
use crate::model::Name;
use crate::model::arn::ACCOUNT;

/// The policy of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPolicy {
    text: String,
    statements: Vec<(Vec<Principal>, Statement)>,
}

/// Whom a statement speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Principal {
    /// Everybody in the account: `acs:ram::<account>:root`, `acs:ram::<account>:*`.
    Account,
    /// `acs:ram::<account>:user/<name>`.
    User(Name),
    /// `acs:ram::<account>:role/<name>`.
    Role(Name),
}

/// What a key policy says of a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Denied.
    Denied,
    /// Allowed to whoever asks, by name.
    AllowedItself,
    /// Allowed to the account: its policies say to whom in it.
    AllowedToAccount,
    /// Neither.
    Silent,
}

impl KeyPolicy {
    /// The only name of a key policy.
    pub const NAME: &str = "default";

    /// The policy of a key that was given none: its account may do everything.
    pub fn default_policy() -> &'static Self {
        static DEFAULT: LazyLock<KeyPolicy> = LazyLock::new(|| {
            let text = format!(
                "{{\"Version\":\"1\",\"Statement\":[{{\"Sid\":\"kms default key policy\",\"Effect\":\"Allow\",\
                 \"Principal\":{{\"RAM\":[\"acs:ram::{ACCOUNT}:*\"]}},\"Action\":[\"kms:*\"],\"Resource\":[\"*\"]}}]}}"
            );
            text.parse().expect("the default policy is well-formed")
        });
        &DEFAULT
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it speaks of an identity by name.
    pub fn names(&self, kind: IdentityKind, name: &Name) -> bool {
        self.statements.iter().flat_map(|(principals, _)| principals).any(|principal| principal.names(kind, name))
    }

    pub(super) fn verdict(&self, identity: &Identity, demand: &Demand<'_>) -> Verdict {
        let mut verdict = Verdict::Silent;
        for (principals, statement) in &self.statements {
            let spoken_of = |by: fn(&Principal, &Identity) -> bool| principals.iter().any(|principal| by(principal, identity));
            let (itself, account) = (spoken_of(Principal::is), spoken_of(|principal, _| *principal == Principal::Account));
            if !(itself || account) || !statement.matches(demand) {
                continue;
            }
            match (statement.effect, itself) {
                (Effect::Deny, _) => return Verdict::Denied,
                (Effect::Allow, true) => verdict = Verdict::AllowedItself,
                (Effect::Allow, false) if verdict == Verdict::AllowedItself => {}
                (Effect::Allow, false) => verdict = Verdict::AllowedToAccount,
            }
        }
        verdict
    }
}

impl Principal {
    /// Whether it is this one by name.
    fn is(&self, identity: &Identity) -> bool {
        self.names(identity.kind, &identity.name)
    }

    fn names(&self, kind: IdentityKind, name: &Name) -> bool {
        match (self, kind) {
            (Self::User(named), IdentityKind::User) | (Self::Role(named), IdentityKind::Role) => named == name,
            (Self::Account | Self::User(_) | Self::Role(_), IdentityKind::Root | IdentityKind::User | IdentityKind::Role) => false,
        }
    }
}

impl FromStr for Principal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || {
            let forms = "root, *, user/<name> or role/<name>";
            Error::invalid(format!("The Principal {:?} is not of the form acs:ram::{ACCOUNT}: and {forms}.", excerpt(text)))
        };
        let (account, name) = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(':')).ok_or_else(malformed)?;
        if account != ACCOUNT {
            return Err(Error::invalid(format!("The Principal {:?} is in another account: here it is {ACCOUNT}.", excerpt(text))));
        }
        match name.split_once('/') {
            None if name == "root" || name == "*" => Ok(Self::Account),
            Some(("user", user)) => user.parse().map(Self::User).map_err(|_| malformed()),
            Some(("role", role)) => role.parse().map(Self::Role).map_err(|_| malformed()),
            None | Some(_) => Err(malformed()),
        }
    }
}

impl FromStr for KeyPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let statements = document::read(text)?.into_iter().map(statement).collect::<Result<_>>()?;
        Ok(Self { text: text.to_owned(), statements })
    }
}

fn statement(mut form: StatementForm) -> Result<(Vec<Principal>, Statement)> {
    let principals = form.principal.take().map(|principal| principal.0.ram.0).unwrap_or_default();
    if principals.is_empty() {
        return Err(Error::invalid("A statement of a key policy has a Principal: {\"RAM\":[\"acs:ram::...\"]}."));
    }
    let principals = principals.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    let statement = form.statement(|resource| match resource {
        "*" => Ok(Pattern::new("*")),
        other => {
            let other = excerpt(other);
            Err(Error::invalid(format!("The Resource of a key policy is \"*\", the key, and not {other:?}.")))
        }
    })?;
    Ok((principals, statement))
}
