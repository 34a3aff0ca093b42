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
    policy.trusts(&Assumption { assumer: Assumer::Identity(assumer), external_id, source: source.parse().unwrap(), now })
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

const CLUSTER: &str = "acs:ram::0:oidc-provider/cluster";

fn federated(effect: &str, providers: &[&str], conditions: &Value) -> Value {
    let more = json!({ "Principal": { "Federated": providers }, "Condition": conditions });
    statement(effect, &[], &more)
}

fn pod(provider: &str, subject: &str, audiences: &[&str]) -> FederatedIdentity {
    FederatedIdentity {
        provider: provider.parse().unwrap(),
        issuer: "https://cluster.example".to_owned(),
        subject: subject.to_owned(),
        audiences: audiences.iter().map(|&audience| audience.to_owned()).collect(),
        issued: Timestamp::from_unix(1_799_999_000),
        expires: Timestamp::from_unix(1_800_003_000),
    }
}

fn lets_in(policy: &TrustPolicy, pod: &FederatedIdentity) -> bool {
    let (source, now) = ("10.1.2.3".parse().unwrap(), Timestamp::from_unix(1_800_000_000));
    policy.trusts(&Assumption { assumer: Assumer::Federated(pod), external_id: None, source, now })
}

#[test]
fn a_provider_is_trusted_for_the_subjects_that_are_named() {
    let shop = "system:serviceaccount:shop:payments";
    let equals =
        |sub: &str| json!({"StringEquals": {"oidc:iss": "https://cluster.example", "oidc:aud": "keystead", "oidc:sub": sub}});
    let named = parse(&[federated("Allow", &[CLUSTER], &equals(shop))]).unwrap();
    for (of, trusted) in [
        (pod("cluster", shop, &["keystead"]), true),
        (pod("cluster", shop, &["other", "keystead"]), true),
        (pod("cluster", shop, &["other"]), false),
        (pod("cluster", "system:serviceaccount:shop:payments2", &["keystead"]), false),
        (pod("other", shop, &["keystead"]), false),
        (FederatedIdentity { issuer: "https://other".to_owned(), ..pod("cluster", shop, &["keystead"]) }, false),
    ] {
        assert_eq!(lets_in(&named, &of), trusted, "{of:?}");
    }
    // Neither is somebody else of the same name.
    assert!(!trusts(&named, &identity(IdentityKind::User, "cluster"), None, "10.1.2.3"));
    let of_users = parse(&[statement("Allow", &["acs:ram::0:user/cluster", "acs:ram::0:role/cluster"], &json!({}))]).unwrap();
    assert!(!lets_in(&of_users, &pod("cluster", shop, &["keystead"])));

    let namespace = json!({"StringLike": {"oidc:sub": "system:serviceaccount:shop:*"}});
    let but = json!({"StringLike": {"oidc:sub": "*:payments"}});
    let policy = parse(&[federated("Allow", &[CLUSTER], &namespace), federated("Deny", &[CLUSTER], &but)]).unwrap();
    assert!(lets_in(&policy, &pod("cluster", "system:serviceaccount:shop:web", &["keystead"])));
    assert!(!lets_in(&policy, &pod("cluster", shop, &["keystead"])));
    assert!(!lets_in(&policy, &pod("cluster", "system:serviceaccount:other:web", &["keystead"])));
    let none_for = json!({"StringLike": {"oidc:sub": "*"}, "StringNotEquals": {"oidc:aud": "other"}});
    let policy = parse(&[federated("Allow", &[CLUSTER], &none_for)]).unwrap();
    assert!(lets_in(&policy, &pod("cluster", shop, &["keystead"])));
    assert!(!lets_in(&policy, &pod("cluster", shop, &["keystead", "other"])), "one of them is named");
    // What denies need not say whom.
    parse(&[federated("Deny", &[CLUSTER], &json!({}))]).unwrap();
}

#[test]
fn nobody_trusts_everybody_of_a_provider_by_mistake() {
    let sub = json!({"StringEquals": {"oidc:sub": "a"}});
    for (statements, said) in [
        (vec![federated("Allow", &[CLUSTER], &json!({}))], "oidc:sub"),
        (vec![federated("Allow", &[CLUSTER], &json!({"StringEquals": {"oidc:aud": "keystead"}}))], "oidc:sub"),
        (vec![federated("Allow", &[CLUSTER], &json!({"StringNotEquals": {"oidc:sub": "a"}}))], "oidc:sub"),
        (vec![federated("Allow", &[CLUSTER], &json!({"StringEquals": {"oidc:sub": []}}))], "no value"),
        (vec![federated("Allow", &[CLUSTER], &json!({"IpAddress": {"oidc:sub": "10.0.0.0/8"}}))], "IpAddress"),
        (vec![federated("Allow", &[CLUSTER], &json!({"StringEquals": {"oidc:email": "a"}}))], "oidc:email"),
        (vec![federated("Allow", &[CLUSTER], &json!({"StringEquals": {"oidc:sub": "a", "sts:ExternalId": "b"}}))], "ExternalId"),
        (vec![federated("Allow", &["acs:ram::1:oidc-provider/cluster"], &sub)], "acs:ram::1:oidc-provider/cluster"),
        (vec![federated("Allow", &["acs:ram::0:saml-provider/a"], &sub)], "saml-provider"),
        (vec![federated("Allow", &["acs:ram::0:user/alice"], &sub)], "oidc-provider/<name>"),
        (vec![federated("Allow", &["acs:ram::0:oidc-provider/"], &sub)], "oidc-provider/<name>"),
        (vec![federated("Allow", &[], &sub)], "Principal"),
        (vec![statement("Allow", &[CLUSTER], &json!({"Condition": sub}))], "by name"),
        (vec![statement("Allow", &["acs:ram::0:user/alice"], &json!({"Condition": sub}))], "oidc:sub"),
        (
            vec![statement("Allow", &[], &json!({"Principal": {"RAM": "acs:ram::0:user/alice", "Federated": CLUSTER}}))],
            "a statement for each",
        ),
        (vec![statement("Allow", &[], &json!({"Principal": {}}))], "Principal"),
    ] {
        let text = parse(&statements).unwrap_err().message().to_owned();
        assert!(text.contains(said), "{said} is not in: {text}");
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
        prop_assert_eq!(parsed.is_ok(), Trusted::ram(&principal).is_ok());
    }
}
