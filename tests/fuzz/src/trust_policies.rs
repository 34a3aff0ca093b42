//! Trust policies of roles, and whom they let in. The texts: an address, an ExternalId, and the policy's JSON.

use std::net::{IpAddr, Ipv4Addr};

use keystead::base::Timestamp;
use keystead::model::operator::{Assumption, AttachedPolicy, BuiltIn, TrustPolicy};

use super::operator_policies::{Asked, holds, object, texts, user};
use super::{Verdict, tells, text};

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
    let asked = Asked { action: "sts:AssumeRole", resource: "*", source, text: ("sts:ExternalId", external_id) };
    if let Some(expected) = trusts(written, &asked) {
        let user = user(AttachedPolicy::BuiltIn(BuiltIn::FullAccess));
        let assumption = Assumption { assumer: &user, external_id, source, now: Timestamp::from_unix(1_790_000_000) };
        assert_eq!(policy.trusts(&assumption), expected, "{text:?}");
    }
    Verdict::Taken
}

/// Whether a policy that was taken lets the user in: an Allow that speaks of it, and no Deny; `None` when it asks for the time.
fn trusts(policy: &str, asked: &Asked<'_>) -> Option<bool> {
    let policy = object(policy, &["Version", "Statement"], &[]);
    assert_eq!(policy[0], "1");
    let (mut allowed, mut denied) = (false, false);
    for statement in policy[1].as_array().expect("a list") {
        let parts = object(&statement.to_string(), &["Effect", "Action", "Principal"], &["Sid", "Condition"]);
        let [effect, actions, principal, _, condition] = &parts[..] else { unreachable!("as many as were asked for") };
        assert!(texts(actions).iter().all(|action| action.eq_ignore_ascii_case(asked.action)));
        let names = texts(&object(&principal.to_string(), &["RAM"], &[])[0]);
        assert!(names.iter().all(|name| name.starts_with("acs:ram::0:user/") || name.starts_with("acs:ram::0:role/")), "{names:?}");
        let speaks = names.iter().any(|name| name == "acs:ram::0:user/u") && holds(condition, asked)?;
        match effect.as_str() {
            Some("Allow") => allowed |= speaks,
            Some("Deny") => denied |= speaks,
            _ => panic!("{effect}"),
        }
    }
    Some(allowed && !denied)
}
