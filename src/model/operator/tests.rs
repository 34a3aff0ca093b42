//! The decision: deny by default, an explicit Deny wins, what a key policy adds and takes; and what is no document.

use proptest::prelude::*;

use super::*;
use crate::base::Kind;

static UNTAGGED: std::sync::LazyLock<Tags> = std::sync::LazyLock::new(Tags::default);

const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);
const KEY: &str = "key/key-hzz62f1cb66fa42qo0001";

fn document(statements: &serde_json::Value) -> Document {
    serde_json::json!({ "Version": "1", "Statement": statements }).to_string().parse().unwrap()
}

fn key_policy(statements: &serde_json::Value) -> KeyPolicy {
    serde_json::json!({ "Version": "1", "Statement": statements }).to_string().parse().unwrap()
}

fn identity(kind: IdentityKind, documents: &[Document]) -> Identity {
    let custom = |(at, document): (usize, &Document)| AttachedPolicy::Custom {
        name: format!("p{at}").parse().unwrap(),
        document: document.clone(),
    };
    Identity {
        name: "alice".parse().unwrap(),
        kind,
        policies: documents.iter().enumerate().map(custom).collect(),
        description: String::new(),
        created: NOW,
    }
}

fn user(documents: &[Document]) -> Identity {
    identity(IdentityKind::User, documents)
}

fn demand<'a>(action: &'a str, resource: &'a str) -> Demand<'a> {
    Demand { action, resource, source: "10.1.2.3".parse().unwrap(), now: NOW, tags: &UNTAGGED, known: TagsKnown::All }
}

fn allow(actions: &[&str], resources: &[&str]) -> serde_json::Value {
    serde_json::json!([{ "Effect": "Allow", "Action": actions, "Resource": resources }])
}

const ALLOW: Decision = Decision::Allow;

#[test]
fn deny_is_the_default_and_an_explicit_deny_wins() {
    let encrypt = demand("kms:Encrypt", KEY);
    assert_eq!(user(&[]).decide(&encrypt, None), Decision::Deny(Reason::NotAllowed));
    let other = document(&allow(&["kms:Decrypt"], &["*"]));
    let this = document(&allow(&["kms:encrypt"], &["acs:kms:*:*:key/*"]));
    assert_eq!(user(std::slice::from_ref(&other)).decide(&encrypt, None), Decision::Deny(Reason::NotAllowed));
    assert_eq!(user(&[other, this.clone()]).decide(&encrypt, None), ALLOW, "policies add up, actions are read without case");
    let denies =
        document(&serde_json::json!([{ "Effect": "Deny", "Action": "kms:*", "Resource": "acs:kms:keystead:0:key/key-hzz*" }]));
    assert_eq!(user(&[this, denies]).decide(&encrypt, None), Decision::Deny(Reason::Denied));
    assert_eq!(identity(IdentityKind::Root, &[]).decide(&encrypt, None), ALLOW);
}

#[test]
fn wildcards_of_resources_stay_within_what_they_name() {
    let on = |pattern: &str, resource: &str| user(&[document(&allow(&["*"], &[pattern]))]).decide(&demand("kms:X", resource), None);
    for (pattern, resource, allowed) in [
        ("*", "*", true),
        ("acs:kms:*:*:*", "*", true),
        ("acs:kms:*:*:key/*", KEY, true),
        ("acs:kms:*:*:key/*", "key/*", true),
        ("acs:kms:*:*:key/*", "*", false),
        ("acs:kms:*:*:key/*", "alias/key/x", false),
        ("acs:kms:keystead:0:alias/team-?/*", "alias/team-1/x", true),
        ("acs:kms:keystead:0:alias/team-?/*", "alias/team-12/x", false),
        ("acs:kms:key*:?:key/key-hzz62f1cb66fa42qo0001", KEY, true),
        ("acs:*:*:*:key/key-hzz62f1cb66fa42qo0002", KEY, false),
    ] {
        assert_eq!(on(pattern, resource) == ALLOW, allowed, "{pattern} {resource}");
    }
}

#[test]
fn conditions_must_all_hold() {
    let tags = Tags::from_list([("team".parse().unwrap(), "Payments".parse().unwrap())]).unwrap();
    let with = |condition: serde_json::Value| {
        let statement = serde_json::json!([{ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition }]);
        user(&[document(&statement)]).decide(&Demand { tags: &tags, ..demand("kms:Encrypt", KEY) }, None) == ALLOW
    };
    for (condition, holds) in [
        (r#"{"IpAddress":{"acs:SourceIp":["192.168.0.0/16","10.0.0.0/8"]}}"#, true),
        (r#"{"IpAddress":{"acs:SourceIp":"10.1.2.4"}}"#, false),
        (r#"{"NotIpAddress":{"acs:SourceIp":["192.168.0.0/16","10.0.0.0/8"]}}"#, false),
        (r#"{"NotIpAddress":{"acs:SourceIp":"10.1.2.4"}}"#, true),
        // NOW is 2026-09-21T14:13:20Z.
        (r#"{"DateLessThan":{"acs:CurrentTime":"2026-09-21T22:13:21+08:00"}}"#, true),
        (r#"{"DateLessThan":{"acs:CurrentTime":"2026-09-21T14:13:20Z"}}"#, false),
        (r#"{"DateLessThanEquals":{"acs:CurrentTime":"2026-09-21T14:13:20Z"}}"#, true),
        (r#"{"DateGreaterThan":{"acs:CurrentTime":"2026-09-21T14:13:20Z"}}"#, false),
        (r#"{"DateGreaterThanEquals":{"acs:CurrentTime":"2026-09-21T14:13:20Z"}}"#, true),
        (r#"{"DateEquals":{"acs:CurrentTime":"2026-09-21T14:13:20Z"}}"#, true),
        (r#"{"DateNotEquals":{"acs:CurrentTime":"2026-09-21T14:13:20Z"}}"#, false),
        (r#"{"Bool":{"acs:SecureTransport":true}}"#, true),
        (r#"{"Bool":{"acs:SecureTransport":["false"]}}"#, false),
        (r#"{"StringEquals":{"kms:tag/team":["Ops","Payments"]}}"#, true),
        (r#"{"StringEquals":{"kms:tag/team":"payments"}}"#, false),
        (r#"{"StringNotEquals":{"kms:tag/team":["Ops","Payments"]}}"#, false),
        (r#"{"StringEqualsIgnoreCase":{"kms:tag/team":"payments"}}"#, true),
        (r#"{"StringNotEqualsIgnoreCase":{"kms:tag/team":"payments"}}"#, false),
        (r#"{"StringLike":{"kms:tag/team":"Pay*"}}"#, true),
        (r#"{"StringNotLike":{"kms:tag/team":"Pay*"}}"#, false),
        // A tag that is not there fits no value.
        (r#"{"StringLike":{"kms:tag/other":"*"}}"#, false),
        (r#"{"StringNotEquals":{"kms:tag/other":"x"}}"#, true),
        (r#"{"IpAddress":{"acs:SourceIp":"10.0.0.0/8"},"Bool":{"acs:SecureTransport":"false"}}"#, false),
        (r#"{"IpAddress":{"acs:SourceIp":"10.0.0.0/8"},"Bool":{"acs:SecureTransport":"true"}}"#, true),
    ] {
        assert_eq!(with(serde_json::from_str(condition).unwrap()), holds, "{condition}");
    }
}

#[test]
fn a_deny_under_a_condition_denies_when_it_holds() {
    let statements = serde_json::json!([
        { "Effect": "Allow", "Action": "kms:*", "Resource": "*" },
        { "Effect": "Deny", "Action": "kms:*", "Resource": "*", "Condition": { "NotIpAddress": { "acs:SourceIp": "10.0.0.0/8" } } },
    ]);
    let user = user(&[document(&statements)]);
    let from = |source: &str| Demand { source: source.parse().unwrap(), ..demand("kms:Encrypt", KEY) };
    assert_eq!(user.decide(&from("10.0.0.1"), None), ALLOW);
    assert_eq!(user.decide(&from("::ffff:10.0.0.1"), None), ALLOW);
    assert_eq!(user.decide(&from("11.0.0.1"), None), Decision::Deny(Reason::Denied));
}

#[test]
fn the_built_in_policies_give_what_they_say() {
    let decide = |policy, action| {
        let identity = Identity { policies: vec![AttachedPolicy::BuiltIn(policy)], ..user(&[]) };
        identity.decide(&demand(action, KEY), None) == ALLOW
    };
    for (action, reads) in [
        ("kms:DescribeKey", true),
        ("kms:ListKeys", true),
        ("kms:GetKmsInstance", true),
        ("kms:GetPublicKey", true),
        ("kms:GetKeyPolicy", true),
        ("kms:GetSecretValue", false),
        ("kms:Encrypt", false),
        ("kms:SetKeyPolicy", false),
        ("kms:CreateKey", false),
    ] {
        assert_eq!(decide(BuiltIn::ReadOnlyAccess, action), reads, "{action}");
        assert!(decide(BuiltIn::FullAccess, action), "{action}");
    }
}

/// (who may by its own policies, what the key policy says) -> the decision.
#[test]
fn a_key_policy_and_the_operators_policies_are_looked_at_together() {
    let statement = |effect: &str, principal: &str| {
        serde_json::json!({
            "Effect": effect, "Principal": { "RAM": [format!("acs:ram::0:{principal}")] }, "Action": "kms:Encrypt", "Resource": ["*"]
        })
    };
    let nobody = user(&[]);
    let permitted = user(&[document(&allow(&["kms:*"], &["*"]))]);
    let denied = user(&[document(&serde_json::json!([{ "Effect": "Deny", "Action": "kms:*", "Resource": "*" }]))]);
    let root = identity(IdentityKind::Root, &[]);
    let role = identity(IdentityKind::Role, &[]);
    let silent = Decision::Deny(Reason::NotAllowedByKeyPolicy);
    for (who, statements, decision) in [
        (&nobody, vec![statement("Allow", "user/alice")], ALLOW),
        (&nobody, vec![statement("Allow", "root")], Decision::Deny(Reason::NotAllowed)),
        (&nobody, vec![statement("Allow", "*")], Decision::Deny(Reason::NotAllowed)),
        (&nobody, vec![statement("Allow", "*"), statement("Allow", "user/alice")], ALLOW),
        (&nobody, vec![statement("Allow", "user/alice"), statement("Allow", "*")], ALLOW),
        (&nobody, vec![statement("Allow", "user/bob")], silent),
        (&nobody, vec![statement("Allow", "role/alice")], silent),
        (&role, vec![statement("Allow", "role/alice")], ALLOW),
        (&permitted, vec![statement("Allow", "root")], ALLOW),
        (&permitted, vec![statement("Allow", "user/bob")], silent),
        (&permitted, vec![statement("Allow", "root"), statement("Deny", "user/alice")], Decision::Deny(Reason::DeniedByKeyPolicy)),
        (&permitted, vec![statement("Allow", "user/alice"), statement("Deny", "*")], Decision::Deny(Reason::DeniedByKeyPolicy)),
        (&denied, vec![statement("Allow", "user/alice")], Decision::Deny(Reason::Denied)),
        (&root, vec![statement("Allow", "root")], ALLOW),
        (&root, vec![statement("Allow", "user/alice")], silent),
        (&root, vec![statement("Deny", "root")], Decision::Deny(Reason::DeniedByKeyPolicy)),
    ] {
        let policy = key_policy(&serde_json::json!(statements));
        assert_eq!(who.decide(&demand("kms:Encrypt", KEY), Some(&policy)), decision, "{who:?} {statements:?}");
    }
    let locked = key_policy(&serde_json::json!([statement("Deny", "root")]));
    for action in ["kms:GetKeyPolicy", "kms:SetKeyPolicy"] {
        assert_eq!(root.decide(&demand(action, KEY), Some(&locked)), ALLOW);
        assert_eq!(permitted.decide(&demand(action, KEY), Some(&locked)), silent);
    }
    for who in [&nobody, &permitted, &denied, &root, &role] {
        let encrypt = demand("kms:Encrypt", KEY);
        assert_eq!(who.decide(&encrypt, Some(KeyPolicy::default_policy())), who.decide(&encrypt, None), "{who:?}");
    }
}

#[test]
fn what_is_no_document_is_refused_by_name() {
    let statement = |text: &str| format!(r#"{{"Version":"1","Statement":[{text}]}}"#);
    let with = |more: &str| statement(&format!(r#"{{"Effect":"Allow","Action":"kms:*","Resource":"*"{more}}}"#));
    for (text, said) in [
        (String::new(), "not understood"),
        ("[]".to_owned(), "not understood"),
        (r#"{"Version":"1"}"#.to_owned(), "Statement"),
        (r#"{"Version":"1","Statement":[]}"#.to_owned(), "at least one Statement"),
        (r#"{"Version":"2","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#.to_owned(), "\"2\""),
        (r#"{"Version":"1","Id":"x","Statement":[]}"#.to_owned(), "`Id`"),
        (statement(r#"{"Effect":"allow","Action":"kms:*","Resource":"*"}"#), "\"allow\""),
        (statement(r#"{"Effect":"Allow","NotAction":"kms:*","Resource":"*"}"#), "`NotAction`"),
        (statement(r#"{"Effect":"Allow","Action":[],"Resource":"*"}"#), "at least one Action"),
        (statement(r#"{"Effect":"Allow","Action":["ecs:Run"],"Resource":"*"}"#), "\"ecs:Run\""),
        (statement(r#"{"Effect":"Allow","Action":["kms:"],"Resource":"*"}"#), "\"kms:\""),
        (statement(r#"{"Effect":"Allow","Action":[["kms:*","kms:X"]],"Resource":"*"}"#), "list in a list"),
        (statement(r#"{"Effect":"Allow","Action":"kms:*","Resource":"key/x"}"#), "\"key/x\""),
        (statement(r#"{"Effect":"Allow","Action":"kms:*","Resource":"acs:kms:*:*:"}"#), "acs:kms:*:*:"),
        (statement(r#"{"Effect":"Allow","Action":"kms:*","Resource":"acs:oss:*:*:x"}"#), "acs:oss"),
        (statement(r#"{"Effect":"Allow","Action":"kms:*","Resource":"acs:kms:cn-hangzhou:*:key/*"}"#), "keystead"),
        (statement(r#"{"Effect":"Allow","Action":"kms:*","Resource":"acs:kms:*:1234:key/*"}"#), "account"),
        (with(r#","Effect":"Deny""#), "duplicate field `Effect`"),
        (with(r#","Principal":{"RAM":"acs:ram::0:root"}"#), "no Principal"),
        (with(r#","Sid":"a:b""#), "Sid"),
        (with(r#","Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.256"}}"#), "10.0.0.256"),
        (with(r#","Condition":{"IpAddress":{"acs:SourceIp":[]}}"#), "no value"),
        (with(r#","Condition":{"StringEquals":{"acs:SourceIp":"10.0.0.1"}}"#), "StringEquals"),
        (with(r#","Condition":{"StringEquals":{"acs:SourceVpc":"vpc-1"}}"#), "acs:SourceVpc"),
        (with(r#","Condition":{"NumericEquals":{"kms:tag/x":"1"}}"#), "NumericEquals"),
        (with(r#","Condition":{"StringEquals":{"kms:tag/":"1"}}"#), "kms:tag/"),
        (with(r#","Condition":{"DateLessThan":{"acs:CurrentTime":"tomorrow"}}"#), "tomorrow"),
        (with(r#","Condition":{"Bool":{"acs:SecureTransport":"yes"}}"#), "yes"),
        (with(r#","Condition":{"Bool":{"acs:SecureTransport":"true"},"Bool":{}}"#), "duplicate field `Bool`"),
        (with(&" ".repeat(DOCUMENT_BYTES)), "32768 bytes"),
    ] {
        let error = text.parse::<Document>().unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidParameter);
        assert!(error.message().contains(said), "{said} is not in: {}", error.message());
    }
    let principal = |text: &str| {
        statement(&format!(r#"{{"Effect":"Allow","Action":"kms:*","Resource":"*"{text}}}"#)).parse::<KeyPolicy>().unwrap_err()
    };
    for (text, said) in [
        ("", "has a Principal"),
        (r#","Principal":{"RAM":[]}"#, "has a Principal"),
        (r#","Principal":{"Service":["x"]}"#, "`Service`"),
        (r#","Principal":{"RAM":["acs:ram::1234:root"]}"#, "another account"),
        (r#","Principal":{"RAM":["acs:ram::0:group/x"]}"#, "group/x"),
        (r#","Principal":{"RAM":["acs:ram::0:user/a b"]}"#, "user/a b"),
        (r#","Principal":{"RAM":["alice"]}"#, "alice"),
    ] {
        assert!(principal(text).message().contains(said), "{said} is not in: {}", principal(text).message());
    }
    let elsewhere = r#"{"Version":"1","Statement":[{"Effect":"Allow","Principal":{"RAM":"acs:ram::0:root"},"Action":"kms:*","Resource":"acs:kms:*:*:key/x"}]}"#;
    assert!(elsewhere.parse::<KeyPolicy>().unwrap_err().message().contains("the key"));
}

/// JSON with the words of policies in it, most of it wrong.
fn nearly_a_document() -> impl Strategy<Value = serde_json::Value> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "Version",
            "Statement",
            "Effect",
            "Action",
            "Resource",
            "Principal",
            "RAM",
            "Condition",
            "Sid",
            "1",
            "Allow",
            "Deny",
            "*",
            "kms:*",
            "acs:kms:*:*:key/*",
            "IpAddress",
            "acs:SourceIp",
            "10.0.0.0/8",
            "acs:ram::0:root",
            "kms:tag/x",
            "StringLike",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ];
    let leaf = prop_oneof![
        word.clone().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,80}") {
        let _ = text.parse::<Document>();
        let _ = text.parse::<KeyPolicy>();
    }

    #[test]
    fn nothing_like_a_document_panics_and_what_parses_keeps_its_text(value in nearly_a_document()) {
        let text = value.to_string();
        if let Ok(parsed) = text.parse::<Document>() {
            prop_assert_eq!(parsed.text(), text.as_str());
        }
        let _ = text.parse::<KeyPolicy>();
    }

    /// Whatever else is allowed and in whatever order, a Deny that matches denies.
    #[test]
    fn a_deny_that_matches_denies(before in 0usize..4, behind in 0usize..4) {
        let statement = |effect: &str| serde_json::json!({ "Effect": effect, "Action": "kms:Encrypt", "Resource": "*" });
        let mut statements = vec![statement("Allow"); before];
        statements.push(statement("Deny"));
        statements.extend(vec![statement("Allow"); behind]);
        let user = user(&[document(&serde_json::json!(statements))]);
        prop_assert_eq!(user.decide(&demand("kms:Encrypt", KEY), None), Decision::Deny(Reason::Denied));
    }
}
