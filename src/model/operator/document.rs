//! Policy documents: RAM's JSON, read once into statements that cannot hold a wrong value, and its text as it was given.
//!
//! ```json
//! {"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:Encrypt","kms:List*"],"Resource":["acs:kms:*:*:key/*"],
//!   "Condition":{"IpAddress":{"acs:SourceIp":["10.0.0.0/8"]}}}]}
//! ```
//!
//! What is not known here is refused with its name, since a statement of which a part is not understood cannot be kept.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use super::condition::Condition;
use super::pattern::Pattern;
use super::{BuiltIn, Demand, TagsKnown};
use crate::base::json::{Members, Object, complaint};
use crate::base::{Error, Result, excerpt};
use crate::model::arn::{ACCOUNT, REGION};

/// The most bytes of a document (the API's limit of key policies).
pub const DOCUMENT_BYTES: usize = 32_768;
/// The most characters of a Sid (the API's limit).
const SID: usize = 128;

/// A policy of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    text: String,
    statements: Vec<Statement>,
}

/// What a statement does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It is granted, unless something denies it.
    Allow,
    /// It is not granted, whatever allows it.
    Deny,
}

impl FromStr for Effect {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "Allow" => Ok(Self::Allow),
            "Deny" => Ok(Self::Deny),
            _ => Err(Error::invalid(format!("The Effect of a statement is Allow or Deny, not {:?}.", excerpt(text)))),
        }
    }
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    /// In lower case.
    actions: Vec<Pattern>,
    /// The last part of their ARNs.
    resources: Vec<Pattern>,
    conditions: Vec<Condition>,
}

impl Statement {
    /// Whether it speaks of the demand.
    pub(super) fn matches(&self, demand: &Demand<'_>) -> bool {
        let action = demand.action.to_ascii_lowercase();
        self.actions.iter().any(|pattern| pattern.matches(&action))
            && self.resources.iter().any(|pattern| pattern.matches(demand.resource))
            && self.conditions.iter().all(|condition| self.is_met(condition, demand))
    }

    /// Of what is not known the worse is taken.
    fn is_met(&self, condition: &Condition, demand: &Demand<'_>) -> bool {
        match (condition, demand.known, self.effect) {
            (Condition::Tag { .. }, TagsKnown::Some, Effect::Deny) => true,
            (Condition::Tag { .. }, TagsKnown::Some, Effect::Allow) => false,
            (Condition::Tag { .. }, TagsKnown::All, _)
            | (Condition::Source(..) | Condition::CurrentTime(..) | Condition::SecureTransport(_), _, _) => condition.holds(demand),
        }
    }
}

impl Document {
    pub(super) fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The actions of its statements, in lower case and with their wildcards.
    pub fn actions(&self) -> impl Iterator<Item = &Pattern> {
        self.statements.iter().flat_map(|statement| &statement.actions)
    }
}

impl FromStr for Document {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let forms = read(text)?;
        let statements = forms.into_iter().map(|form| {
            if form.principal.is_some() {
                return Err(Error::invalid("The policy of an operator has no Principal: it is the operator's."));
            }
            form.statement(resource)
        });
        Ok(Self { statements: statements.collect::<Result<_>>()?, text: text.to_owned() })
    }
}

/// The built-in policies.
pub(super) fn built_in(policy: BuiltIn) -> &'static Document {
    static FULL: LazyLock<Document> = LazyLock::new(|| known(&["kms:*"]));
    static READ_ONLY: LazyLock<Document> = LazyLock::new(|| {
        known(&[
            "kms:Describe*",
            "kms:List*",
            "kms:GetClientKey",
            "kms:GetDefaultKmsInstance",
            "kms:GetKeyPolicy",
            "kms:GetKmsInstance*",
            "kms:GetPublicKey",
            "kms:GetSecretPolicy",
        ])
    });
    match policy {
        BuiltIn::FullAccess => &FULL,
        BuiltIn::ReadOnlyAccess => &READ_ONLY,
    }
}

fn known(actions: &[&str]) -> Document {
    let json = serde_json::json!({
        "Version": "1", "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": ["*"] }]
    });
    json.to_string().parse().expect("a built-in policy is well-formed")
}

/// The last part of the ARNs that a text with wildcards names.
fn resource(text: &str) -> Result<Pattern> {
    if text == "*" {
        return Ok(Pattern::new("*"));
    }
    let parts: Vec<&str> = text.splitn(5, ':').collect();
    let [acs, service, region, account, name] = parts[..] else { return Err(no_resource(text)) };
    if acs != "acs" || !Pattern::new(service).matches("kms") || name.is_empty() {
        return Err(no_resource(text));
    }
    // What could match nothing is a mistake: a Deny of it would protect nothing.
    if !Pattern::new(region).matches(REGION) || !Pattern::new(account).matches(ACCOUNT) {
        return Err(Error::invalid(format!(
            "The Resource {:?} is in another region or account: here they are {REGION} and {ACCOUNT}; * stands for any.",
            excerpt(text)
        )));
    }
    Ok(Pattern::new(name))
}

fn no_resource(text: &str) -> Error {
    Error::invalid(format!(
        "The Resource {:?} is not * and not of the form acs:kms:<region>:<account>:key/<id>, or alias/<name>.",
        excerpt(text)
    ))
}

/// `*`, or what begins with `kms:`.
fn action(text: &str) -> Result<Pattern> {
    let lower = text.to_ascii_lowercase();
    if lower == "*" || lower.strip_prefix("kms:").is_some_and(|name| !name.is_empty()) {
        Ok(Pattern::new(lower))
    } else {
        Err(Error::invalid(format!(
            "The Action {:?} is not * and not kms: and an operation, which may have wildcards.",
            excerpt(text)
        )))
    }
}

/// The document as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DocumentForm {
    version: String,
    statement: Vec<Object<StatementForm>>,
}

/// A statement as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct StatementForm {
    sid: Option<String>,
    effect: String,
    pub(super) principal: Option<Object<PrincipalForm>>,
    action: Texts,
    resource: Texts,
    condition: Option<Members<Members<Texts>>>,
}

/// The principals of a key policy as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrincipalForm {
    #[serde(rename = "RAM")]
    pub(super) ram: Texts,
}

/// The statements of a document, as they are written.
pub(super) fn read(text: &str) -> Result<Vec<StatementForm>> {
    if text.len() > DOCUMENT_BYTES {
        return Err(Error::invalid(format!("A policy has at most {DOCUMENT_BYTES} bytes.")));
    }
    let Object(form): Object<DocumentForm> = serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("The policy is not understood: {}.", complaint(&error))))?;
    if form.version != "1" {
        return Err(Error::invalid(format!("The Version of a policy is \"1\", not {:?}.", excerpt(&form.version))));
    }
    if form.statement.is_empty() {
        return Err(Error::invalid("A policy has at least one Statement."));
    }
    Ok(form.statement.into_iter().map(|Object(statement)| statement).collect())
}

impl StatementForm {
    /// Parsed; `resource` reads one of its resources.
    pub(super) fn statement(self, resource: impl Fn(&str) -> Result<Pattern>) -> Result<Statement> {
        if let Some(sid) = &self.sid {
            check_sid(sid)?;
        }
        let effect = self.effect.parse()?;
        if self.action.0.is_empty() || self.resource.0.is_empty() {
            return Err(Error::invalid("A statement has at least one Action and one Resource."));
        }
        let mut conditions = Vec::new();
        for (operator, keys) in self.condition.map_or_else(Vec::new, |members| members.0) {
            for (key, values) in keys.0 {
                conditions.push(Condition::parse(&operator, &key, &values.0)?);
            }
        }
        Ok(Statement {
            effect,
            actions: self.action.0.iter().map(|text| action(text)).collect::<Result<_>>()?,
            resources: self.resource.0.iter().map(|text| resource(text)).collect::<Result<_>>()?,
            conditions,
        })
    }
}

pub(super) fn check_sid(sid: &str) -> Result<()> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "_/+=.@- ".contains(c);
    if sid.len() <= SID && sid.chars().all(valid) {
        Ok(())
    } else {
        Err(Error::invalid(format!("A Sid has at most {SID} letters, digits, blanks and _ / + = . @ -.")))
    }
}

/// A text or a list of texts; what is true or false is a text, too.
pub(super) struct Texts(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Texts, E> {
                Ok(Texts(vec![value.to_string()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(Texts(mut one)) = sequence.next_element()? {
                    match one.pop() {
                        Some(text) if one.is_empty() => texts.push(text),
                        Some(_) | None => return Err(A::Error::custom("a list in a list")),
                    }
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(TextsVisitor)
    }
}
