//! Roles: identities without AccessKeys, which others assume for a while, as far as a trust policy says.
//!
//! ```json
//! {"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::0:user/alice"]},
//!   "Condition":{"IpAddress":{"acs:SourceIp":["10.0.0.0/8"]}}}]}
//! ```
//!
//! The trust policy alone decides who assumes the role: who is named there needs no permission besides. The account (`root`, `*`) cannot
//! be named, so that nobody is let in by a policy that was written for somewhere else.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::condition::{Condition, Sense, TextComparison, text_comparison};
use super::document::{DOCUMENT_BYTES, Effect, Texts, check_sid};
use super::{Demand, Identity, IdentityKind};
use crate::base::json::{Members, Object, complaint};
use crate::base::{Error, Result, Timestamp, excerpt};
use crate::model::arn::{ACCOUNT, ram_arn};
use crate::model::tags::Tags;
use crate::model::{Name, RoleId};

/// The shortest limit of a role's sessions, which a role has unless another is given (the API's).
pub const SHORTEST_LIMIT: Duration = Duration::from_secs(3600);
/// The longest limit of a role's sessions (the API's).
pub const LONGEST_LIMIT: Duration = Duration::from_secs(12 * 3600);

/// The action of every statement.
const ACTION: &str = "sts:AssumeRole";
/// Condition key: the ExternalId that a request gives.
const EXTERNAL_ID: &str = "sts:ExternalId";

/// What a role has besides its permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name, that of an identity of the kind Role.
    pub name: Name,
    /// Its id; one that is made anew under the same name has another.
    pub id: RoleId,
    /// Who may assume it.
    pub trust: TrustPolicy,
    /// For how long at the most, between [`SHORTEST_LIMIT`] and [`LONGEST_LIMIT`].
    pub max_session: Duration,
}

/// Who may assume a role: the API's AssumeRolePolicyDocument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustPolicy {
    text: String,
    statements: Vec<Statement>,
}

/// Somebody who wants to assume a role, and under which circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Assumption<'a> {
    /// Who.
    pub assumer: &'a Identity,
    /// The ExternalId of the request.
    pub external_id: Option<&'a str>,
    /// From this address.
    pub source: IpAddr,
    /// At this time.
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    effect: Effect,
    trusted: Vec<Trusted>,
    conditions: Vec<Circumstance>,
}

/// Whom a statement speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trusted {
    /// `acs:ram::<account>:user/<name>`.
    User(Name),
    /// `acs:ram::<account>:role/<name>`.
    Role(Name),
}

/// What must hold besides.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Circumstance {
    /// As in the policies of operators.
    Request(Condition),
    /// The ExternalId.
    ExternalId { comparison: TextComparison, sense: Sense, values: Vec<String> },
}

impl Role {
    /// What requests call it by: `acs:ram::<account>:role/<name>`.
    pub fn arn(&self) -> String {
        ram_arn("role", &self.name)
    }
}

impl TrustPolicy {
    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it speaks of an identity, by name.
    pub fn names(&self, kind: IdentityKind, name: &Name) -> bool {
        self.statements.iter().flat_map(|statement| &statement.trusted).any(|trusted| trusted.names(kind, name))
    }

    /// Whether the role may be assumed; a Deny wins.
    pub fn trusts(&self, assumption: &Assumption<'_>) -> bool {
        let mut speaking = self.statements.iter().filter(|statement| statement.speaks_of(assumption)).peekable();
        speaking.peek().is_some() && speaking.all(|statement| statement.effect == Effect::Allow)
    }
}

impl Statement {
    fn speaks_of(&self, assumption: &Assumption<'_>) -> bool {
        self.trusted.iter().any(|trusted| trusted.is(assumption.assumer))
            && self.conditions.iter().all(|circumstance| circumstance.holds(assumption))
    }
}

impl Trusted {
    fn is(&self, identity: &Identity) -> bool {
        self.names(identity.kind, &identity.name)
    }

    fn names(&self, kind: IdentityKind, name: &Name) -> bool {
        match (self, kind) {
            (Self::User(named), IdentityKind::User) | (Self::Role(named), IdentityKind::Role) => named == name,
            (Self::User(_) | Self::Role(_), IdentityKind::Root | IdentityKind::User | IdentityKind::Role) => false,
        }
    }
}

impl Circumstance {
    fn parse(operator: &str, key: &str, values: Vec<String>) -> Result<Self> {
        match key {
            EXTERNAL_ID => {
                let (comparison, sense) = text_comparison(operator).ok_or_else(|| {
                    let by = "StringEquals, StringLike, their IgnoreCase and their Not forms";
                    Error::invalid(format!("The condition key {key} is compared by {by}, not by {:?}.", excerpt(operator)))
                })?;
                if values.is_empty() {
                    let operator = excerpt(operator);
                    return Err(Error::invalid(format!("The condition {operator} of {key} has no value.")));
                }
                Ok(Self::ExternalId { comparison, sense, values })
            }
            "acs:SourceIp" | "acs:CurrentTime" | "acs:SecureTransport" => {
                Ok(Self::Request(Condition::parse(operator, key, &values)?))
            }
            _ => Err(Error::invalid(format!(
                "The condition key {:?} is not served in trust policies; acs:SourceIp, acs:CurrentTime, acs:SecureTransport and \
                 {EXTERNAL_ID} are.",
                excerpt(key)
            ))),
        }
    }

    fn holds(&self, assumption: &Assumption<'_>) -> bool {
        match self {
            Self::Request(condition) => condition.holds(&Demand {
                action: ACTION,
                resource: "*",
                source: assumption.source,
                now: assumption.now,
                tags: &Tags::default(),
            }),
            Self::ExternalId { comparison, sense, values } => sense.of_text(*comparison, values, assumption.external_id),
        }
    }
}

impl FromStr for Trusted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || {
            let text = excerpt(text);
            Error::invalid(format!(
                "The Principal {text:?} of a trust policy is not of the form acs:ram::{ACCOUNT}:user/<name> or \
                 acs:ram::{ACCOUNT}:role/<name>: users and roles are trusted by name."
            ))
        };
        let name = text.strip_prefix("acs:ram::").and_then(|rest| rest.strip_prefix(ACCOUNT)?.strip_prefix(':'));
        match name.and_then(|name| name.split_once('/')) {
            Some(("user", user)) => user.parse().map(Self::User).map_err(|_| malformed()),
            Some(("role", role)) => role.parse().map(Self::Role).map_err(|_| malformed()),
            Some(_) | None => Err(malformed()),
        }
    }
}

/// The trust policy as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Form {
    version: String,
    statement: Vec<Object<StatementForm>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct StatementForm {
    sid: Option<String>,
    effect: String,
    principal: Object<PrincipalForm>,
    action: Texts,
    condition: Option<Members<Members<Texts>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrincipalForm {
    #[serde(rename = "RAM")]
    ram: Texts,
}

impl FromStr for TrustPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > DOCUMENT_BYTES {
            return Err(Error::invalid(format!("A trust policy has at most {DOCUMENT_BYTES} bytes.")));
        }
        let Object(form): Object<Form> = serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("The trust policy is not understood: {}.", complaint(&error))))?;
        if form.version != "1" {
            return Err(Error::invalid(format!("The Version of a policy is \"1\", not {:?}.", excerpt(&form.version))));
        }
        if form.statement.is_empty() {
            return Err(Error::invalid("A trust policy has at least one Statement."));
        }
        let statements = form.statement.into_iter().map(|Object(statement)| statement.statement()).collect::<Result<_>>()?;
        Ok(Self { text: text.to_owned(), statements })
    }
}

impl StatementForm {
    fn statement(self) -> Result<Statement> {
        if let Some(sid) = &self.sid {
            check_sid(sid)?;
        }
        if self.action.0.is_empty() || self.action.0.iter().any(|action| !action.eq_ignore_ascii_case(ACTION)) {
            return Err(Error::invalid(format!("The Action of a trust policy is {ACTION}.")));
        }
        let trusted: Vec<Trusted> = self.principal.0.ram.0.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        if trusted.is_empty() {
            return Err(Error::invalid("A statement of a trust policy has a Principal: {\"RAM\":[\"acs:ram::...\"]}."));
        }
        let mut conditions = Vec::new();
        for (operator, keys) in self.condition.map_or_else(Vec::new, |members| members.0) {
            for (key, values) in keys.0 {
                conditions.push(Circumstance::parse(&operator, &key, values.0)?);
            }
        }
        Ok(Statement { effect: self.effect.parse()?, trusted, conditions })
    }
}

#[cfg(test)]
mod tests;
