//! Policies and network rules, and what they decide. The texts: an address, a key id or secret's name, then entries of network rules
//! (`@10.0.0.0/8`) and of a policy's Resources (`key/…`, `secret/…`).

use std::net::{IpAddr, Ipv4Addr};

use keystead::model::access::{
    AccessPoint, Callers, Decision, Directory, NetworkRule, NetworkRuleKind, Permission, Policy, Reason, Resource, ResourcePattern,
    Scope, Wish, decide, parse_source,
};
use keystead::model::{InstanceId, KeyId, Name};

use super::{Verdict, tells, text};

/// One policy with one rule.
struct Installation {
    policy: Policy,
    rule: NetworkRule,
}

impl Directory for Installation {
    fn policy(&self, name: &Name) -> Option<&Policy> {
        Some(&self.policy).filter(|policy| policy.name == *name)
    }

    fn network_rule(&self, name: &Name) -> Option<&NetworkRule> {
        Some(&self.rule).filter(|rule| rule.name == *name)
    }
}

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let mut lines = text.split('\n');
    let source = lines.next().unwrap_or_default().parse::<IpAddr>().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let wanted = lines.next().unwrap_or_default();
    let key = wanted.parse::<KeyId>().ok();

    let (mut sources, mut resources) = (Vec::new(), Vec::new());
    let (mut listed, mut named) = (false, false);
    for line in lines {
        if let Some(text) = line.strip_prefix('@') {
            let block = Block::read(text);
            let parsed = parse_source(text).inspect_err(tells).ok();
            assert_eq!(parsed.is_some(), block.is_some(), "{text:?}: {parsed:?}");
            let (Some(parsed), Some(block)) = (parsed, block) else { continue };
            assert_eq!(parse_source(&parsed.to_string()).expect("what is shown is one"), parsed);
            listed |= block.has(source);
            sources.push(parsed);
        } else if let Ok(pattern) = line.parse::<ResourcePattern>().inspect_err(tells) {
            assert_eq!(pattern.to_string(), line);
            named |= names(line, wanted, key.is_some());
            resources.push(pattern);
        } else {
            assert!(!is_pattern(line), "{line:?}");
        }
    }
    let read = !sources.is_empty() || !resources.is_empty();

    let name = |text: &str| text.parse::<Name>().expect("a name");
    let (instance, any_address) = ("kst-aaaaaaaaaaaaaaaaaaaaa".parse::<InstanceId>().expect("an id"), sources.is_empty());
    let installation = Installation {
        policy: Policy {
            name: name("policy"),
            scope: Scope::Instance(instance.clone()),
            permissions: vec![Permission::CryptoServiceKeyUser],
            resources: resources.into_iter().collect(),
            rules: if any_address { Vec::new() } else { vec![name("rule")] },
            rules_text: String::new(),
            description: String::new(),
        },
        rule: NetworkRule {
            name: name("rule"),
            kind: NetworkRuleKind::Private,
            sources,
            sources_text: Vec::new(),
            description: String::new(),
        },
    };
    let point = AccessPoint {
        name: name("point"),
        callers: Callers::ClientKeys,
        policies: vec![name("policy")],
        description: String::new(),
    };
    let resource = key.as_ref().map_or(Resource::Secret(wanted), Resource::Key);
    let wish = Wish { instance: &instance, permission: Permission::CryptoServiceKeyUser, resource, source };
    let expected = match (named, any_address || listed) {
        (true, true) => Decision::Allow(name("policy")),
        (true, false) => Decision::Deny(Reason::OtherAddress),
        (false, _) => Decision::Deny(Reason::OtherResource),
    };
    assert_eq!(decide(&point, &installation, &wish), expected, "{text:?}");
    Verdict::of(read.then_some(&()))
}

/// `key/` or `secret/`, and a name or the beginning of one with `*` after it.
fn is_pattern(text: &str) -> bool {
    let name = text.strip_prefix("key/").or_else(|| text.strip_prefix("secret/"));
    name.is_some_and(|name| match name.matches('*').count() {
        0 => !name.is_empty(),
        1 => name.ends_with('*'),
        _ => false,
    })
}

/// Whether an entry of Resources names what is wanted: by its text, or by its beginning before a `*`.
fn names(entry: &str, wanted: &str, is_key: bool) -> bool {
    let wanted = format!("{}/{wanted}", if is_key { "key" } else { "secret" });
    entry.strip_suffix('*').map_or(entry == wanted, |beginning| wanted.starts_with(beginning))
}

/// An address or a block of addresses as bits.
pub struct Block {
    base: IpAddr,
    length: u32,
}

impl Block {
    /// `address` or `address/length`, the length in decimal digits without a zero before them.
    pub fn read(text: &str) -> Option<Self> {
        let (base, length) = text.split_once('/').map_or((text, None), |(base, length)| (base, Some(length)));
        let base: IpAddr = base.parse().ok()?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(digits) => digits.parse().ok().filter(|length: &u32| *length <= most && length.to_string() == digits)?,
        };
        Some(Self { base, length })
    }

    /// An IPv4 address that came in over an IPv6 socket is its IPv4 self.
    pub fn has(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => (32, u128::from(u32::from(v4))),
            IpAddr::V6(v6) => (128, u128::from(v6)),
        };
        let ((width, base), (other_width, other)) = (bits(self.base), bits(address.to_canonical()));
        let shift = width - self.length;
        width == other_width && (shift == 128 || base >> shift == other >> shift)
    }
}
