//! Trust policies of roles, and whom they let in. The texts: an address, an ExternalId, and the policy's JSON.

use std::net::{IpAddr, Ipv4Addr};

use keystead::base::Timestamp;
use keystead::model::oidc::FederatedIdentity;
use keystead::model::operator::{Assumer, Assumption, AttachedPolicy, BuiltIn, TrustPolicy};
use serde_json::Value;

use super::operator_policies::{Asked, holds, object, texts, user};
use super::{Verdict, tells, text};

const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);
const ISSUER: &str = "https://a";
const AUDIENCE: &str = "b";
const SUBJECT: &str = "c:d";

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let source = next().parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let external_id = Some(next()).filter(|id| !id.is_empty());
    let written = next();
    let policy = match written.parse::<TrustPolicy>() {
        Ok(policy) => policy,
        Err(error) => {
            tells(&error);
            return Verdict::Refused;
        }
    };
    assert_eq!(policy.text(), written);
    let user = user(AttachedPolicy::BuiltIn(BuiltIn::FullAccess));
    let pod = FederatedIdentity {
        provider: "p".parse().expect("a name"),
        issuer: ISSUER.to_owned(),
        subject: SUBJECT.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        issued: NOW,
        expires: NOW,
    };
    let claims = [("oidc:iss", Some(ISSUER)), ("oidc:aud", Some(AUDIENCE)), ("oidc:sub", Some(SUBJECT))];
    for (assumer, named, known) in [
        (Assumer::Identity(&user), ("RAM", "acs:ram::0:user/u"), &[("sts:ExternalId", external_id)][..]),
        (Assumer::Federated(&pod), ("Federated", "acs:ram::0:oidc-provider/p"), &claims),
    ] {
        let asked = Asked { action: "sts:AssumeRole", resource: "*", source, texts: known };
        if let Some(expected) = trusts(written, named, &asked) {
            assert_eq!(policy.trusts(&Assumption { assumer, external_id, source, now: NOW }), expected, "{text:?}");
        }
    }
    Verdict::Taken
}

/// Whether a policy that was taken lets in who is of this kind and has this name: an Allow that speaks of it, and no Deny; `None` when it
/// asks for the time.
fn trusts(policy: &str, (kind, called): (&str, &str), asked: &Asked<'_>) -> Option<bool> {
    let policy = object(policy, &["Version", "Statement"], &[]);
    assert_eq!(policy[0], "1");
    let (mut allowed, mut denied) = (false, false);
    for statement in policy[1].as_array().expect("a list") {
        let parts = object(&statement.to_string(), &["Effect", "Action", "Principal"], &["Sid", "Condition"]);
        let [effect, actions, principal, _, condition] = &parts[..] else { unreachable!("as many as were asked for") };
        assert!(texts(actions).iter().all(|action| action.eq_ignore_ascii_case(asked.action)));
        let principals = object(&principal.to_string(), &[], &["RAM", "Federated"]);
        let [ram, federated] = &principals[..] else { unreachable!("as many as were asked for") };
        assert!(ram.is_null() != federated.is_null(), "{principal}");
        let names = texts(if ram.is_null() { federated } else { ram });
        let prefixes: &[_] = if ram.is_null() { &["acs:ram::0:oidc-provider/"] } else { &["acs:ram::0:user/", "acs:ram::0:role/"] };
        assert!(names.iter().all(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))), "{names:?}");
        if !federated.is_null() && effect == "Allow" {
            assert!(names_subjects(condition), "{condition}");
        }
        let of_kind = (kind == "RAM") != ram.is_null();
        let speaks = of_kind && names.iter().any(|name| name == called) && holds(condition, asked)?;
        match effect.as_str() {
            Some("Allow") => allowed |= speaks,
            Some("Deny") => denied |= speaks,
            _ => panic!("{effect}"),
        }
    }
    Some(allowed && !denied)
}

/// Whether a condition says which subjects are meant, and not only which are not.
fn names_subjects(condition: &Value) -> bool {
    let operators = condition.as_object().into_iter().flatten();
    operators.filter(|(operator, _)| !operator.contains("Not")).any(|(_, keys)| keys.get("oidc:sub").is_some())
}
