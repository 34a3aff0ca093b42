//! Access: access points, policies, network rules, client keys, and the decision. Deny is the default.
//!
//! ```text
//! NetworkRule  1..n <- Policy.rules
//! Policy       1..3 <- AccessPoint
//! ClientKey    0..3 -> AccessPoint      AuthenticationMethod ClientKey
//! Role         1    <- AccessPoint      AuthenticationMethod RAMRole
//! ```
//!
//! A caller gets what any policy of its access point grants on that policy's instance, from an address that the policy's rules
//! list. A policy without rules grants to any address; a policy whose rules are gone grants to none. A dangling reference
//! grants nothing.
//!
//! Whose callers are the sessions of a role adds to what the role's own policies allow, and takes nothing away.

mod resources;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::base::{Error, Result, Timestamp, excerpt};
use crate::model::session::Session;
use crate::model::{ClientKeyId, InstanceId, Name, RoleId};
pub use resources::{Glob, Resource, ResourcePattern, Resources};

/// The most policies of an access point.
pub const POLICIES_PER_ACCESS_POINT: usize = 3;
/// The most client keys of an access point.
pub const CLIENT_KEYS_PER_ACCESS_POINT: usize = 3;
/// The most addresses of a network rule, and resources of a policy: ours, the API names none.
pub const LIST_LIMIT: usize = 1000;

/// A named list of source addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRule {
    /// Its name.
    pub name: Name,
    /// Which endpoints it speaks of.
    pub kind: NetworkRuleKind,
    /// The addresses that it lists.
    pub sources: Vec<IpNet>,
    /// `sources` as they were given, so that an answer repeats them.
    pub sources_text: Vec<String>,
    /// Free text.
    pub description: String,
}

/// The API's `Type` of a network rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkRuleKind {
    /// Instance endpoints.
    Private,
    /// The shared gateway.
    Public,
    /// The shared gateway, from within a VPC.
    Vpc,
}

impl NetworkRuleKind {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "Private",
            Self::Public => "Public",
            Self::Vpc => "VPC",
        }
    }
}

impl FromStr for NetworkRuleKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Private, Self::Public, Self::Vpc]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| Error::invalid(format!("The Type {:?} is not known; it is Private, Public or VPC.", excerpt(text))))
    }
}

/// An address or a block of addresses, as `10.0.0.0/8` or `172.16.0.4`.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter), naming the text.
pub fn parse_source(text: &str) -> Result<IpNet> {
    block(text).ok_or_else(|| Error::invalid(format!("{:?} is not an IP address or a CIDR block.", excerpt(text))))
}

/// `010.0.0.0/8` is refused: some programs read it as 10.0.0.0/8, others, in octal, as 8.0.0.0/8.
fn block(text: &str) -> Option<IpNet> {
    let Some((address, length)) = text.split_once('/') else { return text.parse::<IpAddr>().ok().map(IpNet::from) };
    let plain = length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    IpNet::new(address.parse().ok()?, length.parse().ok().filter(|_| plain)?).ok()
}

/// What a policy grants on its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// The cryptographic operations of the instance endpoint on keys.
    CryptoServiceKeyUser,
    /// GetSecretValue at the instance endpoint.
    CryptoServiceSecretUser,
    /// GetSecretValue at the shared gateway.
    SecretUser,
}

impl Permission {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CryptoServiceKeyUser => "RbacPermission/Template/CryptoServiceKeyUser",
            Self::CryptoServiceSecretUser => "RbacPermission/Template/CryptoServiceSecretUser",
            Self::SecretUser => "RbacPermission/Template/SecretUser",
        }
    }

    /// What grants a session an operation of the OpenAPI on a key, by the action that RAM's policies call it: the cryptographic ones,
    /// and nothing else.
    pub fn of_action(action: &str) -> Option<Self> {
        match action {
            "kms:Encrypt"
            | "kms:Decrypt"
            | "kms:ReEncryptFrom"
            | "kms:ReEncryptTo"
            | "kms:GenerateDataKey"
            | "kms:GenerateDataKeyWithoutPlaintext"
            | "kms:GenerateAndExportDataKey"
            | "kms:ExportDataKey"
            | "kms:AsymmetricEncrypt"
            | "kms:AsymmetricDecrypt"
            | "kms:AsymmetricSign"
            | "kms:AsymmetricVerify"
            | "kms:GetPublicKey"
            | "kms:GenerateMac"
            | "kms:VerifyMac" => Some(Self::CryptoServiceKeyUser),
            _ => None,
        }
    }
}

impl FromStr for Permission {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::CryptoServiceKeyUser, Self::CryptoServiceSecretUser, Self::SecretUser]
            .into_iter()
            .find(|permission| permission.name() == text)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "The permission {:?} is not known; it is RbacPermission/Template/ and CryptoServiceKeyUser, \
                     CryptoServiceSecretUser or SecretUser.",
                    excerpt(text)
                ))
            })
    }
}

/// Where a policy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At the endpoint of one instance.
    Instance(InstanceId),
    /// At the shared gateway: `shared`.
    Shared,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => id.fmt(f),
            Self::Shared => f.write_str("shared"),
        }
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "shared" { Ok(Self::Shared) } else { text.parse().map(Self::Instance) }
    }
}

/// A permission policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: Name,
    /// Where it holds.
    pub scope: Scope,
    /// What it grants.
    pub permissions: Vec<Permission>,
    /// On what.
    pub resources: Resources,
    /// The names of its network rules; none means any address.
    pub rules: Vec<Name>,
    /// `AccessControlRules` as it was given: Terraform compares the text.
    pub rules_text: String,
    /// Free text.
    pub description: String,
}

/// An application access point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPoint {
    /// Its name.
    pub name: Name,
    /// Whose requests it speaks of.
    pub callers: Callers,
    /// The names of its policies, at most [`POLICIES_PER_ACCESS_POINT`].
    pub policies: Vec<Name>,
    /// Free text.
    pub description: String,
}

/// Whose requests an access point speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Those that its client keys sign.
    ClientKeys,
    /// Those of sessions of the role of its name that had this id when it was made: a role that is made anew is another, and is granted
    /// nothing.
    SessionsOf(RoleId),
}

/// The API's `AuthenticationMethod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthenticationMethod {
    /// By a client key.
    ClientKey,
    /// By the temporary credentials of a role.
    RamRole,
}

impl Callers {
    /// How they prove who they are.
    pub const fn method(&self) -> AuthenticationMethod {
        match self {
            Self::ClientKeys => AuthenticationMethod::ClientKey,
            Self::SessionsOf(_) => AuthenticationMethod::RamRole,
        }
    }
}

impl AccessPoint {
    /// Whether it speaks of the requests of this session.
    pub fn is_of(&self, session: &Session) -> bool {
        match &self.callers {
            Callers::ClientKeys => false,
            Callers::SessionsOf(role) => *role == session.role_id && self.name == session.role,
        }
    }
}

impl AuthenticationMethod {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientKey => "ClientKey",
            Self::RamRole => "RAMRole",
        }
    }

    /// That an access point of this method has client keys.
    ///
    /// # Errors
    /// [`Kind::UnsupportedOperation`](crate::base::Kind::UnsupportedOperation), naming the access point.
    pub fn check_client_keys(self, access_point: &str) -> Result<()> {
        match self {
            Self::ClientKey => Ok(()),
            Self::RamRole => Err(Error::unsupported(format!(
                "The application access point {access_point} has no client keys: its AuthenticationMethod is RAMRole, and its callers \
                 are the sessions of the role {access_point}."
            ))),
        }
    }
}

impl FromStr for AuthenticationMethod {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = [Self::ClientKey, Self::RamRole].into_iter().find(|method| method.name() == text);
        found.ok_or_else(|| {
            Error::invalid(format!("The AuthenticationMethod {:?} is not served; ClientKey and RAMRole are.", excerpt(text)))
        })
    }
}

/// A client key: what the service keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey {
    /// Its id.
    pub id: ClientKeyId,
    /// The access point that it belongs to.
    pub access_point: Name,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// From when it may be used.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// When a request that it signed was last accepted, a quarter of a minute late at the most; `None` before the first one.
    pub last_used: Option<Timestamp>,
}

/// What somebody wants, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// At this instance's endpoint.
    pub instance: &'a InstanceId,
    /// Needing this.
    pub permission: Permission,
    /// On this.
    pub resource: Resource<'a>,
    /// From this address.
    pub source: IpAddr,
}

/// The answer to a [`Wish`], with its reason for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Granted by the policy of this name.
    Allow(Name),
    /// Not granted.
    Deny(Reason),
}

/// Why nothing granted it; of several the one that came closest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The access point has no policy that exists.
    NoPolicy,
    /// No policy holds at that instance.
    OtherInstance,
    /// No policy there has the permission.
    NoPermission,
    /// No policy with the permission names the resource.
    OtherResource,
    /// The policies that name the resource do not list the address.
    OtherAddress,
}

/// What [`decide`] looks policies and rules up in.
pub trait Directory {
    /// The policy of this name.
    fn policy(&self, name: &Name) -> Option<&Policy>;
    /// The network rule of this name.
    fn network_rule(&self, name: &Name) -> Option<&NetworkRule>;
}

/// Decides. Policies add up; there is no deny among them, so the first that grants is enough.
pub fn decide(access_point: &AccessPoint, directory: &impl Directory, wish: &Wish<'_>) -> Decision {
    let mut closest = Reason::NoPolicy;
    for policy in access_point.policies.iter().filter_map(|name| directory.policy(name)) {
        match grants(policy, directory, wish) {
            Ok(()) => return Decision::Allow(policy.name.clone()),
            Err(reason) => closest = closest.max(reason),
        }
    }
    Decision::Deny(closest)
}

fn grants(policy: &Policy, directory: &impl Directory, wish: &Wish<'_>) -> Result<(), Reason> {
    match &policy.scope {
        Scope::Instance(instance) if instance == wish.instance => {}
        Scope::Instance(_) | Scope::Shared => return Err(Reason::OtherInstance),
    }
    if !policy.permissions.contains(&wish.permission) {
        return Err(Reason::NoPermission);
    }
    let named = match wish.resource {
        Resource::None => true,
        Resource::Key(_) | Resource::Secret(_) => policy.resources.name(wish.resource),
    };
    if !named {
        return Err(Reason::OtherResource);
    }
    let listed = policy.rules.is_empty()
        || policy
            .rules
            .iter()
            .filter_map(|name| directory.network_rule(name))
            .filter(|rule| rule.kind == NetworkRuleKind::Private)
            .any(|rule| lists(&rule.sources, wish.source));
    if listed { Ok(()) } else { Err(Reason::OtherAddress) }
}

/// Whether an address is in one of the blocks. An IPv4 address that came in over an IPv6 socket is its IPv4 self.
pub fn lists(blocks: &[IpNet], source: IpAddr) -> bool {
    let source = match source {
        IpAddr::V6(v6) => unmapped(v6),
        v4 @ IpAddr::V4(_) => v4,
    };
    blocks.iter().any(|block| block.contains(&source))
}

fn unmapped(address: Ipv6Addr) -> IpAddr {
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}

#[cfg(test)]
mod tests;
