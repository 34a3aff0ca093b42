//! Roles: identities without AccessKeys, which others assume for a while, as far as a trust policy says.
//!
//! ```json
//! {"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::0:user/alice"]},
//!   "Condition":{"IpAddress":{"acs:SourceIp":["10.0.0.0/8"]}}}]}
//! ```
//!
//! The trust policy alone decides who assumes the role: who is named there needs no permission besides. The account (`root`, `*`) cannot
//! be named, so that nobody is let in by a policy that was written for somewhere else.
//!
//! Whom an OIDC provider names is let in by a statement for the provider, with the subjects that are meant:
//!
//! ```json
//! {"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Federated":["acs:ram::0:oidc-provider/cluster"]},
//!   "Condition":{"StringEquals":{"oidc:aud":"keystead","oidc:sub":"system:serviceaccount:shop:payments"}}}
//! ```

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::condition::{Condition, Sense, TextComparison, text_comparison};
use super::document::{DOCUMENT_BYTES, Effect, Texts, check_sid};
use super::{Demand, Identity, IdentityKind, TagsKnown};
use crate::base::json::{Members, Object, complaint};
use crate::base::{Error, Result, Timestamp, excerpt};
use crate::model::arn::{ACCOUNT, ram_arn};
use crate::model::oidc::{FederatedIdentity, OidcProvider};
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

/// Who wants to assume a role.
#[derive(Clone, Copy, Debug)]
pub enum Assumer<'a> {
    /// A user, or a role that somebody has assumed.
    Identity(&'a Identity),
    /// Whom the token of an OIDC provider names.
    Federated(&'a FederatedIdentity),
}

/// Somebody who wants to assume a role, and under which circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Assumption<'a> {
    /// Who.
    pub assumer: Assumer<'a>,
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
    /// `acs:ram::<account>:oidc-provider/<name>`: whomever it names.
    OidcProvider(Name),
}

/// Which of the two a statement names: some conditions are of one of them alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PrincipalKind {
    /// Users and roles.
    Ram,
    /// OIDC providers.
    Federated,
}

/// What the token of an OIDC provider says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Issuer,
    Audience,
    Subject,
}

/// What must hold besides.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Circumstance {
    /// As in the policies of operators.
    Request(Condition),
    /// The ExternalId.
    ExternalId(TextCondition),
    /// A claim of the token.
    Claim(Claim, TextCondition),
}

/// How a text must be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TextCondition {
    comparison: TextComparison,
    sense: Sense,
    values: Vec<String>,
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

    /// The OIDC providers that it names.
    pub fn oidc_providers(&self) -> impl Iterator<Item = &Name> {
        self.statements.iter().flat_map(|statement| &statement.trusted).filter_map(|trusted| match trusted {
            Trusted::OidcProvider(name) => Some(name),
            Trusted::User(_) | Trusted::Role(_) => None,
        })
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
    fn is(&self, assumer: Assumer<'_>) -> bool {
        match (self, assumer) {
            (Self::User(_) | Self::Role(_), Assumer::Identity(identity)) => self.names(identity.kind, &identity.name),
            (Self::OidcProvider(name), Assumer::Federated(federated)) => *name == federated.provider,
            (Self::User(_) | Self::Role(_), Assumer::Federated(_)) | (Self::OidcProvider(_), Assumer::Identity(_)) => false,
        }
    }

    fn names(&self, kind: IdentityKind, name: &Name) -> bool {
        match (self, kind) {
            (Self::User(named), IdentityKind::User) | (Self::Role(named), IdentityKind::Role) => named == name,
            (
                Self::User(_) | Self::Role(_) | Self::OidcProvider(_),
                IdentityKind::Root | IdentityKind::User | IdentityKind::Role,
            ) => false,
        }
    }

    /// A user or a role, by its ARN.
    fn ram(text: &str) -> Result<Self> {
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

    /// An OIDC provider, by its ARN.
    fn federated(text: &str) -> Result<Self> {
        OidcProvider::name_in(text).map(Self::OidcProvider).ok_or_else(|| {
            let text = excerpt(text);
            Error::invalid(format!(
                "The Federated Principal {text:?} of a trust policy is not of the form acs:ram::{ACCOUNT}:oidc-provider/<name>."
            ))
        })
    }
}

impl Claim {
    /// The claim of a condition key.
    fn of_key(key: &str) -> Option<Self> {
        match key {
            "oidc:iss" => Some(Self::Issuer),
            "oidc:aud" => Some(Self::Audience),
            "oidc:sub" => Some(Self::Subject),
            _ => None,
        }
    }
}

impl Circumstance {
    fn parse(kind: PrincipalKind, operator: &str, key: &str, values: Vec<String>) -> Result<Self> {
        match (kind, key, Claim::of_key(key)) {
            (PrincipalKind::Ram, EXTERNAL_ID, _) => TextCondition::parse(operator, key, values).map(Self::ExternalId),
            (PrincipalKind::Federated, _, Some(claim)) => {
                TextCondition::parse(operator, key, values).map(|condition| Self::Claim(claim, condition))
            }
            (_, "acs:SourceIp" | "acs:CurrentTime" | "acs:SecureTransport", _) => {
                Ok(Self::Request(Condition::parse(operator, key, &values)?))
            }
            (PrincipalKind::Ram | PrincipalKind::Federated, ..) => {
                let (principals, own) = match kind {
                    PrincipalKind::Ram => ("users and roles", EXTERNAL_ID),
                    PrincipalKind::Federated => ("OIDC providers", "oidc:iss, oidc:aud, oidc:sub"),
                };
                Err(Error::invalid(format!(
                    "The condition key {:?} is not served where {principals} are trusted; acs:SourceIp, acs:CurrentTime, \
                     acs:SecureTransport and {own} are.",
                    excerpt(key)
                )))
            }
        }
    }

    /// Whether it says which subjects of a provider are meant.
    fn names_subjects(&self) -> bool {
        match self {
            Self::Claim(Claim::Subject, condition) => condition.sense == Sense::One,
            Self::Claim(Claim::Issuer | Claim::Audience, _) | Self::Request(_) | Self::ExternalId(_) => false,
        }
    }

    fn holds(&self, assumption: &Assumption<'_>) -> bool {
        match (self, assumption.assumer) {
            (Self::Request(condition), _) => condition.holds(&Demand {
                action: ACTION,
                resource: "*",
                source: assumption.source,
                now: assumption.now,
                tags: &Tags::default(),
                known: TagsKnown::All,
            }),
            (Self::ExternalId(condition), _) => condition.holds(assumption.external_id),
            (Self::Claim(Claim::Issuer, condition), Assumer::Federated(is)) => condition.holds([is.issuer.as_str()]),
            (Self::Claim(Claim::Subject, condition), Assumer::Federated(is)) => condition.holds([is.subject.as_str()]),
            (Self::Claim(Claim::Audience, condition), Assumer::Federated(is)) => {
                condition.holds(is.audiences.iter().map(String::as_str))
            }
            // Statements with it name providers alone.
            (Self::Claim(..), Assumer::Identity(_)) => false,
        }
    }
}

impl TextCondition {
    fn parse(operator: &str, key: &str, values: Vec<String>) -> Result<Self> {
        let (comparison, sense) = text_comparison(operator).ok_or_else(|| {
            let by = "StringEquals, StringLike, their IgnoreCase and their Not forms";
            Error::invalid(format!("The condition key {key} is compared by {by}, not by {:?}.", excerpt(operator)))
        })?;
        if values.is_empty() {
            let operator = excerpt(operator);
            return Err(Error::invalid(format!("The condition {operator} of {key} has no value.")));
        }
        Ok(Self { comparison, sense, values })
    }

    fn holds<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        self.sense.of_texts(self.comparison, &self.values, texts)
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
    ram: Option<Texts>,
    #[serde(rename = "Federated")]
    federated: Option<Texts>,
}

impl PrincipalForm {
    fn trusted(self) -> Result<(PrincipalKind, Vec<Trusted>)> {
        let (kind, trusted) = match (self.ram, self.federated) {
            (Some(ram), None) => (PrincipalKind::Ram, ram.0.iter().map(|text| Trusted::ram(text)).collect::<Result<Vec<_>>>()?),
            (None, Some(federated)) => {
                (PrincipalKind::Federated, federated.0.iter().map(|text| Trusted::federated(text)).collect::<Result<_>>()?)
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid("The Principal of a statement is RAM or Federated: make a statement for each."));
            }
            (None, None) => (PrincipalKind::Ram, Vec::new()),
        };
        if trusted.is_empty() {
            return Err(Error::invalid(
                "A statement of a trust policy has a Principal: {\"RAM\":[\"acs:ram::...\"]} or {\"Federated\":[\"acs:ram::...\"]}.",
            ));
        }
        Ok((kind, trusted))
    }
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
        let effect: Effect = self.effect.parse()?;
        let (kind, trusted) = self.principal.0.trusted()?;
        let mut conditions = Vec::new();
        for (operator, keys) in self.condition.map_or_else(Vec::new, |members| members.0) {
            for (key, values) in keys.0 {
                conditions.push(Circumstance::parse(kind, &operator, &key, values.0)?);
            }
        }
        // A provider gives tokens to everybody it knows: all of a cluster, or all customers of a CI system.
        if (effect, kind) == (Effect::Allow, PrincipalKind::Federated) && !conditions.iter().any(Circumstance::names_subjects) {
            return Err(Error::invalid(
                "A statement that trusts an OIDC provider says whom of those that it knows: it has a condition of oidc:sub, by \
                 StringEquals, StringEqualsIgnoreCase or StringLike (of \"*\", if all are meant).",
            ));
        }
        Ok(Statement { effect, trusted, conditions })
    }
}

#[cfg(test)]
mod tests;
