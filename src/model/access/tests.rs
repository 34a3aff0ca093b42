//! The decision: deny by default, what adds up, what dangles.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::base::Kind;
use crate::model::KeyId;

#[derive(Default)]
struct Known {
    policies: HashMap<Name, Policy>,
    rules: HashMap<Name, NetworkRule>,
}

impl Directory for Known {
    fn policy(&self, name: &Name) -> Option<&Policy> {
        self.policies.get(name)
    }

    fn network_rule(&self, name: &Name) -> Option<&NetworkRule> {
        self.rules.get(name)
    }
}

const HERE: &str = "kst-aaaaaaaaaaaaaaaaaaaaa";
const KEY: &str = "key-hzz62f1cb66fa42qo0001";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn policy(scope: &str, permissions: &[Permission], resources: &[&str], rules: &[&str]) -> Policy {
    Policy {
        name: name("p"),
        scope: scope.parse().unwrap(),
        permissions: permissions.to_vec(),
        resources: resources.iter().map(|text| text.parse().unwrap()).collect(),
        rules: rules.iter().map(|text| name(text)).collect(),
        rules_text: String::new(),
        description: String::new(),
    }
}

fn rule(kind: NetworkRuleKind, sources: &[&str]) -> NetworkRule {
    NetworkRule {
        name: name("r"),
        kind,
        sources: sources.iter().map(|text| parse_source(text).unwrap()).collect(),
        sources_text: Vec::new(),
        description: String::new(),
    }
}

/// What an access point with these policies gets, from this address.
fn decision(policies: &[(&str, Policy)], rules: &[(&str, NetworkRule)], source: &str, resource: Resource<'_>) -> Decision {
    let known = Known {
        policies: policies.iter().map(|(called, policy)| (name(called), policy.clone())).collect(),
        rules: rules.iter().map(|(called, rule)| (name(called), rule.clone())).collect(),
    };
    let mut names: Vec<Name> = policies.iter().map(|(called, _)| name(called)).collect();
    names.push(name("dangling"));
    let access_point = AccessPoint { name: name("a"), callers: Callers::ClientKeys, policies: names, description: String::new() };
    let instance = HERE.parse().unwrap();
    let wish =
        Wish { instance: &instance, permission: Permission::CryptoServiceKeyUser, resource, source: source.parse().unwrap() };
    decide(&access_point, &known, &wish)
}

const USER: &[Permission] = &[Permission::CryptoServiceKeyUser];

#[test]
fn deny_is_the_default_and_the_closest_reason_is_told() {
    let key: KeyId = KEY.parse().unwrap();
    let wished = Resource::Key(&key);
    let denied = |policies: &[(&str, Policy)]| decision(policies, &[], "127.0.0.1", wished);
    assert_eq!(denied(&[]), Decision::Deny(Reason::NoPolicy));
    let elsewhere = policy("kst-bbbbbbbbbbbbbbbbbbbbb", USER, &["key/*"], &[]);
    assert_eq!(denied(&[("e", elsewhere.clone())]), Decision::Deny(Reason::OtherInstance));
    assert_eq!(denied(&[("s", policy("shared", USER, &["key/*"], &[]))]), Decision::Deny(Reason::OtherInstance));
    let secrets = policy(HERE, &[Permission::CryptoServiceSecretUser], &["key/*"], &[]);
    assert_eq!(denied(&[("s", secrets)]), Decision::Deny(Reason::NoPermission));
    let others = policy(HERE, USER, &["key/key-hzz62f1cb66fa42qo0002", "secret/*"], &[]);
    assert_eq!(denied(&[("e", elsewhere), ("o", others)]), Decision::Deny(Reason::OtherResource));
}

#[test]
fn policies_add_up() {
    let key: KeyId = KEY.parse().unwrap();
    let other = policy(HERE, USER, &["key/key-hzz62f1cb66fa42qo0002"], &[]);
    let this = policy(HERE, USER, &["key/key-hzz6*"], &[]);
    assert!(matches!(decision(&[("o", other), ("t", this)], &[], "127.0.0.1", Resource::Key(&key)), Decision::Allow(_)));
}

#[test]
fn a_policy_whose_rules_are_gone_is_not_one_without_rules() {
    let key: KeyId = KEY.parse().unwrap();
    let wished = Resource::Key(&key);
    let with_rules = policy(HERE, USER, &["key/*"], &["gone"]);
    assert_eq!(decision(&[("p", with_rules)], &[], "127.0.0.1", wished), Decision::Deny(Reason::OtherAddress));
    let without = policy(HERE, USER, &["key/*"], &[]);
    assert!(matches!(decision(&[("p", without)], &[], "127.0.0.1", wished), Decision::Allow(_)));
}

#[test]
fn addresses_are_what_private_rules_list() {
    let key: KeyId = KEY.parse().unwrap();
    let ask = |kind, sources: &[&str], from| {
        let policy = policy(HERE, USER, &["key/*"], &["r"]);
        decision(&[("p", policy)], &[("r", rule(kind, sources))], from, Resource::Key(&key))
    };
    let allowed = |decision| matches!(decision, Decision::Allow(_));
    let sources = ["10.0.0.0/8", "172.16.0.4", "2001:db8::/32"];
    for from in ["10.255.255.255", "172.16.0.4", "::ffff:10.1.2.3", "2001:db8::1"] {
        assert!(allowed(ask(NetworkRuleKind::Private, &sources, from)), "{from}");
    }
    for from in ["11.0.0.0", "172.16.0.5", "::ffff:11.0.0.1", "::1", "2001:db9::1"] {
        assert!(!allowed(ask(NetworkRuleKind::Private, &sources, from)), "{from}");
    }
    for kind in [NetworkRuleKind::Public, NetworkRuleKind::Vpc] {
        assert!(!allowed(ask(kind, &sources, "10.0.0.1")), "rules of the shared gateway do not count here");
    }
}

#[test]
fn random_bytes_need_the_permission_on_the_instance_alone() {
    let grants = policy(HERE, USER, &["secret/x"], &[]);
    assert!(matches!(decision(&[("p", grants)], &[], "127.0.0.1", Resource::None), Decision::Allow(_)));
    let does_not = policy(HERE, &[Permission::CryptoServiceSecretUser], &["key/*"], &[]);
    assert_eq!(decision(&[("p", does_not)], &[], "127.0.0.1", Resource::None), Decision::Deny(Reason::NoPermission));
}

#[test]
fn what_is_no_resource_or_address_is_refused() {
    for text in ["", "key", "key/", "keys/x", "key/a*b", "key/**", "*", "secret/"] {
        assert_eq!(text.parse::<ResourcePattern>().unwrap_err().kind(), Kind::InvalidParameter, "{text}");
    }
    for text in ["key/*", "key/key-a", "secret/acs/ram/user/x", "secret/rds-ibm*"] {
        assert_eq!(text.parse::<ResourcePattern>().unwrap().to_string(), text);
    }
    for text in ["", "10.0.0.256", "10.0.0.0/33", "example.com", "10.0.0.0/", "/8", "010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/+8"] {
        assert!(parse_source(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_pattern_matches_what_begins_with_it(secret in "[a-z/]{1,12}", length in 0usize..12) {
        let prefix = &secret[..length.min(secret.len())];
        let pattern: Resources = [format!("secret/{prefix}*").parse::<ResourcePattern>().unwrap()].into_iter().collect();
        prop_assert!(pattern.name(Resource::Secret(&secret)));
        let other = format!("#{secret}");
        prop_assert_eq!(pattern.name(Resource::Secret(&other)), prefix.is_empty());
        let exact: Resources = [format!("secret/{secret}").parse::<ResourcePattern>().unwrap()].into_iter().collect();
        prop_assert!(exact.name(Resource::Secret(&secret)));
        let longer = format!("{secret}x");
        prop_assert!(!exact.name(Resource::Secret(&longer)));
    }

    #[test]
    fn no_text_panics(text in ".{0,40}") {
        let _ = text.parse::<ResourcePattern>();
        let _ = parse_source(&text);
        let _ = text.parse::<Scope>();
    }
}
