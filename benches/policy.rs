//! How long a decision takes: with 1, 100 and 10,000 policies, network rules and keys, and with policies that list as many resources
//! and addresses as they may.

#[allow(dead_code, reason = "a part of it is used")]
mod harness;

use std::collections::HashMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use keystead::base::random;
use keystead::measure;
use keystead::model::access::{
    AccessPoint, Callers, Decision, Directory, LIST_LIMIT, NetworkRule, NetworkRuleKind, Permission, Policy, Resource, Scope, Wish,
    decide,
};
use keystead::model::{InstanceId, KeyId, Name};

use harness::{Asked, Rows};

struct Tables {
    policies: HashMap<Name, Policy>,
    rules: HashMap<Name, NetworkRule>,
    access_points: Vec<AccessPoint>,
    keys: Vec<KeyId>,
    instance: InstanceId,
}

impl Directory for Tables {
    fn policy(&self, name: &Name) -> Option<&Policy> {
        self.policies.get(name)
    }

    fn network_rule(&self, name: &Name) -> Option<&NetworkRule> {
        self.rules.get(name)
    }
}

fn name(kind: &str, number: usize) -> Name {
    format!("{kind}-{number}").parse().expect("a name")
}

impl Tables {
    /// So many of each: access point, policy, rule and key of a number belong together; each policy lists so many resources and
    /// each rule so many addresses, of which the last is meant.
    fn new(count: usize, listed: usize) -> Self {
        let instance = InstanceId::from_entropy(random::bytes());
        let keys: Vec<_> = (0..count).map(|_| KeyId::from_entropy(random::bytes())).collect();
        let other_keys: Vec<_> = (1..listed).map(|_| KeyId::from_entropy(random::bytes())).collect();
        let pattern = |key: &KeyId| format!("key/{key}").parse().expect("a pattern");
        let policy = |number: usize| Policy {
            name: name("policy", number),
            scope: Scope::Instance(instance.clone()),
            permissions: vec![Permission::CryptoServiceKeyUser],
            resources: other_keys.iter().chain([&keys[number]]).map(pattern).collect(),
            rules: vec![name("rule", number)],
            rules_text: String::new(),
            description: String::new(),
        };
        let rule = |number: usize| NetworkRule {
            name: name("rule", number),
            kind: NetworkRuleKind::Private,
            sources: (0..listed).rev().map(|at| Self::source(number, at).into()).collect(),
            sources_text: Vec::new(),
            description: String::new(),
        };
        let access_point = |number: usize| AccessPoint {
            name: name("access-point", number),
            callers: Callers::ClientKeys,
            // Of the three that it may have the last grants.
            policies: [number + 1, number + 2, number].map(|number| name("policy", number % count)).to_vec(),
            description: String::new(),
        };
        Self {
            policies: (0..count).map(|number| (name("policy", number), policy(number))).collect(),
            rules: (0..count).map(|number| (name("rule", number), rule(number))).collect(),
            access_points: (0..count).map(access_point).collect(),
            keys: keys.clone(),
            instance: instance.clone(),
        }
    }

    fn source(number: usize, at: usize) -> IpAddr {
        let [_, high, middle, low] = (number as u32).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10 + high, middle, low, 0).to_bits().wrapping_add(at as u32).into())
    }

    fn decide(&self, number: usize) -> Decision {
        let wish = Wish {
            instance: &self.instance,
            permission: Permission::CryptoServiceKeyUser,
            resource: Resource::Key(&self.keys[number]),
            source: Self::source(number, 0),
        };
        decide(&self.access_points[number], self, &wish)
    }
}

fn main() {
    let asked = Asked::of_arguments();
    if asked == Asked::List || harness::only_targets() {
        return;
    }
    let mut rows = Rows::new("decisions");
    let one = Tables::new(1, 1);
    for (count, listed) in [(100, 1), (10_000, 1), (100, LIST_LIMIT)] {
        let many = Tables::new(count, listed);
        let slice = |tables: &Tables, length: Duration| {
            let (begun, mut number) = (Instant::now(), 0);
            let times = measure::work(begun + length, || {
                // A thousand at once, since one takes hardly longer than looking at the clock.
                for _ in 0..1000 {
                    number = (number + 7919) % tables.keys.len();
                    match black_box(tables.decide(number)) {
                        Decision::Allow(_) => {}
                        Decision::Deny(reason) => return Err(reason),
                    }
                }
                Ok(())
            })?;
            Ok::<_, keystead::model::access::Reason>(measure::Slice { length: begun.elapsed(), times })
        };
        let effort = asked.effort();
        let measured =
            measure::compare(effort.pairs, || slice(&one, effort.slice), || slice(&many, effort.slice)).expect("all are granted");
        rows.compared(&format!("1000 decisions, {count} x {listed} listed"), 1, measured, None);
    }
}
