//! Trust policies: whom they let in, and what is refused when they are written.

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
