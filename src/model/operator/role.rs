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
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn identity(kind: IdentityKind, name: &str) -> Identity {
        let created = Timestamp::from_unix(0);
        Identity { name: name.parse().unwrap(), kind, policies: Vec::new(), description: String::new(), created }
    }

    fn statement(effect: &str, principals: &[&str], more: &Value) -> Value {
        let mut statement = json!({ "Effect": effect, "Action": "sts:AssumeRole", "Principal": { "RAM": principals } });
        statement.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        statement
    }

    fn parse(statements: &[Value]) -> Result<TrustPolicy> {
        json!({ "Version": "1", "Statement": statements }).to_string().parse()
    }

    fn trusts(policy: &TrustPolicy, assumer: &Identity, external_id: Option<&str>, source: &str) -> bool {
        let now = Timestamp::from_unix(1_800_000_000);
        policy.trusts(&Assumption { assumer, external_id, source: source.parse().unwrap(), now })
    }

    #[test]
    fn who_is_named_may_assume_it_and_nobody_else() {
        let none = json!({});
        let alice = identity(IdentityKind::User, "alice");
        let named = parse(&[statement("Allow", &["acs:ram::0:user/alice", "acs:ram::0:role/ci"], &none)]).unwrap();
        for (assumer, trusted) in [
            (&alice, true),
            (&identity(IdentityKind::Role, "ci"), true),
            (&identity(IdentityKind::User, "ci"), false),
            (&identity(IdentityKind::Role, "alice"), false),
            (&identity(IdentityKind::User, "bob"), false),
            (&identity(IdentityKind::Root, "alice"), false),
        ] {
            assert_eq!(trusts(&named, assumer, None, "192.0.2.1"), trusted, "{assumer:?}");
        }
        let denied = parse(&[
            statement("Deny", &["acs:ram::0:user/alice"], &json!({"Condition": {"NotIpAddress": {"acs:SourceIp": "10.0.0.0/8"}}})),
            statement("Allow", &["acs:ram::0:user/alice"], &none),
        ])
        .unwrap();
        assert!(trusts(&denied, &alice, None, "10.1.2.3") && !trusts(&denied, &alice, None, "192.0.2.1"));
        let denial = parse(&[statement("Deny", &["acs:ram::0:user/bob"], &none)]).unwrap();
        assert!(!trusts(&denial, &alice, None, "10.1.2.3"), "what denies others allows nobody");
    }

    #[test]
    fn an_external_id_may_be_asked_for() {
        let condition = json!({"Condition": {"StringEquals": {"sts:ExternalId": ["one", "two"]}}});
        let policy = parse(&[statement("Allow", &["acs:ram::0:user/alice"], &condition)]).unwrap();
        let alice = identity(IdentityKind::User, "alice");
        for (given, trusted) in [(Some("one"), true), (Some("two"), true), (Some("three"), false), (None, false)] {
            assert_eq!(trusts(&policy, &alice, given, "192.0.2.1"), trusted, "{given:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_its_name() {
        let alice = ["acs:ram::0:user/alice"];
        let none = json!({});
        for (statements, said) in [
            (vec![], "at least one Statement"),
            (vec![statement("allow", &alice, &none)], "allow"),
            (vec![statement("Allow", &alice, &json!({"Effect": {"Allow": null}}))], "expected a string"),
            (vec![statement("Allow", &[], &none)], "Principal"),
            (vec![statement("Allow", &["acs:ram::0:root"], &none)], "by name"),
            (vec![statement("Allow", &["acs:ram::0:*"], &none)], "by name"),
            (vec![statement("Allow", &["acs:ram::1:user/alice"], &none)], "acs:ram::1:user/alice"),
            (vec![statement("Allow", &["acs:ram::0:group/a"], &none)], "group/a"),
            (vec![statement("Allow", &["acs:ram::0:user/a b"], &none)], "user/a b"),
            (vec![statement("Allow", &alice, &json!({"Action": "sts:*"}))], "sts:AssumeRole"),
            (vec![statement("Allow", &alice, &json!({"Action": []}))], "sts:AssumeRole"),
            (vec![statement("Allow", &alice, &json!({"Resource": "*"}))], "Resource"),
            (vec![statement("Allow", &alice, &json!({"Sid": "é"}))], "Sid"),
            (vec![statement("Allow", &alice, &json!({"Principal": {"Service": ["ecs"]}}))], "Service"),
            (vec![statement("Allow", &alice, &json!({"Condition": {"StringEquals": {"kms:tag/a": "b"}}}))], "kms:tag/a"),
            (vec![statement("Allow", &alice, &json!({"Condition": {"IpAddress": {"sts:ExternalId": "b"}}}))], "IpAddress"),
            (vec![statement("Allow", &alice, &json!({"Condition": {"StringEquals": {"sts:ExternalId": []}}}))], "no value"),
        ] {
            let text = parse(&statements).unwrap_err().message().to_owned();
            assert!(text.contains(said), "{said} is not in: {text}");
        }
        let long = format!("{}{}", parse(&[statement("Allow", &alice, &none)]).unwrap().text(), " ".repeat(DOCUMENT_BYTES));
        assert!(long.parse::<TrustPolicy>().unwrap_err().message().contains("at most"));
    }

    proptest! {
        #[test]
        fn whatever_is_given_is_parsed_or_refused(text in r#"[\[\]{}":,a-zA-Z0-9/* ]{0,64}"#, principal in ".{0,40}") {
            prop_assert!(text.parse::<TrustPolicy>().is_err());
            let parsed = parse(&[statement("Allow", &[&principal], &json!({}))]);
            prop_assert_eq!(parsed.is_ok(), principal.parse::<Trusted>().is_ok());
        }
    }
}
