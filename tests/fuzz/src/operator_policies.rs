//! Policies of operators and of keys, and what they decide. The texts: an action, a resource, an address, and the policy's JSON.

use std::net::{IpAddr, Ipv4Addr};

use keystead::base::Timestamp;
use keystead::model::operator::{
    AttachedPolicy, BuiltIn, Decision, Demand, Document, Identity, IdentityKind, KeyPolicy, Reason, TagsKnown,
};
use keystead::model::tags::Tags;
use serde_json::Value;

use super::access_decisions::Block;
use super::{Verdict, json, tells, text};

/// The tag that the resource has, and who asks.
const TAG: (&str, &str) = ("team", "Payments");
const USER: &str = "u";
/// The same as a condition names it.
const TAG_KEY: [(&str, Option<&str>); 1] = [("kms:tag/team", Some(TAG.1))];

/// A request, and what is known of it.
pub struct Asked<'a> {
    /// `kms:` and an operation.
    pub action: &'a str,
    /// `key/<id>`.
    pub resource: &'a str,
    /// From where.
    pub source: IpAddr,
    /// The condition keys that texts are known for, and the texts.
    pub texts: &'a [(&'a str, Option<&'a str>)],
}

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let mut lines = text.splitn(4, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (action, resource) = (next(), next());
    let source = next().parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let (policy, asked) = (next(), Asked { action, resource, source, texts: &TAG_KEY });
    let tag = (TAG.0.parse().expect("a key"), TAG.1.parse().expect("a value"));
    let tags = Tags::from_list([tag]).expect("one tag");
    let demand = Demand { action, resource, source, now: Timestamp::from_unix(1_790_000_000), tags: &tags, known: TagsKnown::All };

    let of_operator = policy.parse::<Document>().inspect_err(tells).ok();
    if let Some(document) = &of_operator {
        assert_eq!(document.text(), policy);
        if let Some(said) = said(policy, &asked, PolicyOf::Operator) {
            let expected = match said {
                Said::Denied => Decision::Deny(Reason::Denied),
                Said::Allowed => Decision::Allow,
                Said::Nothing => Decision::Deny(Reason::NotAllowed),
            };
            let own = AttachedPolicy::Custom { name: "p".parse().expect("a name"), document: document.clone() };
            assert_eq!(user(own).decide(&demand, None), expected, "{text:?}");
        }
    }
    let of_key = policy.parse::<KeyPolicy>().inspect_err(tells).ok();
    if let Some(key_policy) = &of_key {
        assert_eq!(key_policy.text(), policy);
        if let Some(said) = said(policy, &asked, PolicyOf::Key) {
            let full = user(AttachedPolicy::BuiltIn(BuiltIn::FullAccess));
            let own = full.decide(&demand, None);
            let expected = match said {
                Said::Denied => Decision::Deny(Reason::DeniedByKeyPolicy),
                // What a key policy allows to the account is for the operator's policies to allow.
                Said::Allowed if own == Decision::Allow => Decision::Allow,
                Said::Allowed => return Verdict::Taken,
                Said::Nothing => Decision::Deny(Reason::NotAllowedByKeyPolicy),
            };
            assert_eq!(full.decide(&demand, Some(key_policy)), expected, "{text:?}");
        }
    }
    Verdict::of(of_operator.map(drop).or(of_key.map(drop)).as_ref())
}

/// Somebody who has this policy.
pub fn user(policy: AttachedPolicy) -> Identity {
    Identity {
        name: USER.parse().expect("a name"),
        kind: IdentityKind::User,
        policies: vec![policy],
        description: String::new(),
        created: Timestamp::from_unix(0),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PolicyOf {
    Operator,
    Key,
}

/// What all statements together say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Denied,
    Allowed,
    Nothing,
}

/// What a policy that was taken says of a request; `None` when it asks for the time, which is not read a second time here.
fn said(policy: &str, asked: &Asked<'_>, of: PolicyOf) -> Option<Said> {
    let policy = object(policy, &["Version", "Statement"], &[]);
    assert_eq!(policy[0], "1");
    let statements = policy[1].as_array().expect("a list");
    assert!(!statements.is_empty());
    let mut said = Said::Nothing;
    for statement in statements {
        let parts = object(&statement.to_string(), &["Effect", "Action", "Resource"], &["Sid", "Condition", "Principal"]);
        let [effect, actions, resources, _, condition, principal] = &parts[..] else { unreachable!("as many as were asked for") };
        assert_eq!(!principal.is_null(), of == PolicyOf::Key);
        let action = asked.action.to_ascii_lowercase();
        let mut matches = texts(actions).iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), &action));
        // The last part of an ARN; it may have colons of its own.
        let last = |pattern: &str| pattern.splitn(5, ':').last().expect("at least one").to_owned();
        matches &= texts(resources).iter().any(|pattern| fits(&last(pattern), asked.resource));
        matches &= principal.is_null() || speaks_of_user(principal);
        matches &= holds(condition, asked)?;
        said = match (effect.as_str(), matches) {
            (Some("Deny"), true) => Said::Denied,
            (Some("Allow"), true) if said != Said::Denied => Said::Allowed,
            (Some("Allow" | "Deny"), _) => said,
            _ => panic!("{effect}"),
        };
    }
    Some(said)
}

fn speaks_of_user(principal: &Value) -> bool {
    let names = object(&principal.to_string(), &["RAM"], &[]);
    let known = ["acs:ram::0:root", "acs:ram::0:*", "acs:ram::0:user/u"];
    texts(&names[0]).iter().any(|name| known.contains(&name.as_str()))
}

/// Whether a condition holds; `None` when it asks for the time.
pub fn holds(condition: &Value, asked: &Asked<'_>) -> Option<bool> {
    let mut holds = true;
    let Value::Object(operators) = condition else {
        assert!(condition.is_null());
        return Some(true);
    };
    for (operator, keys) in operators {
        for (key, values) in keys.as_object().expect("an object") {
            let values = texts(values);
            let any = |fit: &dyn Fn(&str) -> bool| values.iter().any(|value| fit(value));
            let is = match key.as_str() {
                "acs:CurrentTime" => return None,
                "acs:SourceIp" => any(&|value| Block::read(value).expect("a block").has(asked.source)),
                "acs:SecureTransport" => any(&|value| value == "true"),
                _ => {
                    let known = asked.texts.iter().find(|(known, _)| key == known);
                    assert!(key.starts_with("kms:tag/") || known.is_some(), "{key}");
                    known.and_then(|(_, text)| *text).is_some_and(|text| {
                        any(&|value| match operator.trim_start_matches("String").trim_start_matches("Not") {
                            "Equals" => value == text,
                            "EqualsIgnoreCase" => value.to_lowercase() == text.to_lowercase(),
                            "Like" => fits(value, text),
                            _ => panic!("{operator}"),
                        })
                    })
                }
            };
            holds &= is != operator.contains("Not");
        }
    }
    Some(holds)
}

/// The values of an object that has the first names, perhaps the others, and none besides; null for what it has not.
pub fn object(text: &str, names: &[&str], optional: &[&str]) -> Vec<Value> {
    let members = json::members(text).unwrap_or_else(|| panic!("an object, each name once: {text}"));
    let all = [names, optional].concat();
    assert!(members.iter().all(|(name, _)| all.contains(&name.as_str())), "{text}");
    assert!(names.iter().all(|name| members.iter().any(|(known, _)| known == name)), "{text}");
    let value = |name: &&str| members.iter().find(|(known, _)| known == name).map_or(Value::Null, |(_, value)| value.clone());
    all.iter().map(value).collect()
}

/// A text or a list of texts; what is true or false is a text, too.
pub fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Bool(value) => vec![value.to_string()],
        Value::Null | Value::Number(_) | Value::Object(_) => panic!("{value}"),
    }
}

/// `*` for any characters, `?` for one: which beginnings of the text each beginning of the pattern fits.
fn fits(pattern: &str, text: &str) -> bool {
    let text: Vec<_> = text.chars().collect();
    let mut fitting = vec![false; text.len() + 1];
    fitting[0] = true;
    for wanted in pattern.chars() {
        let before = fitting.clone();
        for length in 0..fitting.len() {
            fitting[length] = match (wanted, length.checked_sub(1)) {
                ('*', None) => before[0],
                ('*', Some(shorter)) => before[length] || fitting[shorter],
                (_, None) => false,
                (_, Some(shorter)) => before[shorter] && (wanted == '?' || wanted == text[shorter]),
            };
        }
    }
    fitting[text.len()]
}
