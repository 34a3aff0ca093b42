//! Handing out access: rule, policy, access point and client key in one go, or access for a role; and further client keys.
//!
//! It needs the store and no running service; a service that runs on the same store sees it by the change counter.

use super::access::{LAST_DATE, no_role};
use super::{Kms, authorities, certificates};
use crate::base::{Error, Kind, Result, SecretBytes, Timestamp, random};
use crate::model::access::{
    AccessPoint, Callers, ClientKey, Glob, NetworkRule, NetworkRuleKind, Permission, Policy, ResourcePattern, Scope, parse_source,
};
use crate::model::operator::Role;
use crate::model::{ClientKeyId, InstanceId, KeyId, Name};
use crate::store::Store;

/// Access that is to be made: network rule, policy and access point have one name.
#[derive(Clone, Debug)]
pub struct NewAccess {
    /// The name of all three.
    pub name: Name,
    /// Where it holds.
    pub instance: InstanceId,
    /// To what; it may use the keys and read the secrets that are named.
    pub resources: Vec<ResourcePattern>,
    /// From where, addresses and CIDR blocks; none means from anywhere, and no network rule.
    pub sources: Vec<String>,
    /// Free text.
    pub description: String,
}

/// What is made of [`NewAccess`] besides the access point.
struct Granted {
    rule: Option<NetworkRule>,
    policy: Policy,
}

/// What is handed to the one who runs the client.
pub struct HandedOut {
    /// What the service keeps.
    pub client_key: ClientKey,
    /// PKCS #12.
    pub private_key: SecretBytes,
    /// Its password.
    pub password: SecretBytes,
    /// What the client must trust.
    pub ca_chain_pem: String,
}

impl NewAccess {
    /// Quick creation: everything of one instance, from anywhere.
    ///
    /// # Errors
    /// None: the patterns are well-formed.
    pub fn everything(name: Name, instance: InstanceId) -> Result<Self> {
        Ok(Self {
            name,
            instance,
            resources: vec!["key/*".parse()?, "secret/*".parse()?],
            sources: Vec::new(),
            description: "Made by quick creation.".to_owned(),
        })
    }

    fn permissions(&self) -> Vec<Permission> {
        let names = |one: fn(&ResourcePattern) -> bool| self.resources.iter().any(one);
        let keys = names(|pattern| matches!(pattern, ResourcePattern::Key(_)));
        let secrets = names(|pattern| matches!(pattern, ResourcePattern::Secret(_)));
        let granted = [(keys, Permission::CryptoServiceKeyUser), (secrets, Permission::CryptoServiceSecretUser)];
        granted.into_iter().filter_map(|(named, permission)| named.then_some(permission)).collect()
    }

    /// What it needs, if that can be made.
    async fn granted(&self, store: &Store) -> Result<Granted> {
        if self.resources.is_empty() {
            return Err(Error::invalid("Access is to something: name a key or a secret."));
        }
        for pattern in &self.resources {
            if let ResourcePattern::Key(Glob::Exact(id)) = pattern {
                check_key(store, &self.instance, id).await?;
            }
        }
        check_unnamed(store, &self.name).await?;
        let rule = rule(self)?;
        let rules: Vec<_> = rule.iter().map(|rule| rule.name.clone()).collect();
        let policy = Policy {
            name: self.name.clone(),
            scope: Scope::Instance(self.instance.clone()),
            permissions: self.permissions(),
            rules_text: if rules.is_empty() {
                String::new()
            } else {
                serde_json::json!({ "NetworkRules": [self.name.as_str()] }).to_string()
            },
            rules,
            resources: self.resources.iter().cloned().collect(),
            description: self.description.clone(),
        };
        Ok(Granted { rule, policy })
    }

    fn access_point(self, callers: Callers) -> AccessPoint {
        AccessPoint { policies: vec![self.name.clone()], name: self.name, callers, description: self.description }
    }
}

impl Kms {
    /// Makes network rule, policy, access point and client key, which is valid for so many seconds from `now`, or none of them.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`] when the name is taken; [`Kind::KeyNotFound`] for a key that is not in the instance;
    /// [`Kind::InvalidParameter`] for what is no address, or for no resources; the store fails; what `keep` says, which keeps what is
    /// handed out before anything is in the store: nobody gets it a second time.
    pub async fn create_access(
        store: &Store,
        new: NewAccess,
        seconds: i64,
        now: Timestamp,
        keep: impl FnOnce(&HandedOut) -> Result<()>,
    ) -> Result<HandedOut> {
        let Granted { rule, policy } = new.granted(store).await?;
        let handed_out = client_key(store, new.name.clone(), seconds, now).await?;
        keep(&handed_out)?;
        let access_point = new.access_point(Callers::ClientKeys);
        store.create_access(rule.as_ref(), &policy, &access_point, Some(&handed_out.client_key)).await?;
        Ok(handed_out)
    }

    /// Makes network rule, policy and access point for the sessions of the role of their name, or none of them. Nothing is handed out.
    ///
    /// # Returns
    /// The role, and what its sessions must trust, PEM.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`] without the role; those of [`Kms::create_access`].
    pub async fn create_access_of_role(store: &Store, new: NewAccess) -> Result<(Role, String)> {
        let role = store.roles().await?.into_iter().find(|role| role.name == new.name).ok_or_else(|| no_role(&new.name))?;
        let Granted { rule, policy } = new.granted(store).await?;
        let ca_chain_pem = certificates::ca_chain_pem(&authorities(store).await?);
        let access_point = new.access_point(Callers::SessionsOf(role.id.clone()));
        store.create_access(rule.as_ref(), &policy, &access_point, None).await?;
        Ok((role, ca_chain_pem))
    }

    /// Makes a further client key of an access point; those that there are stay valid.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`] without the access point, [`Kind::UnsupportedOperation`] when that has no client keys,
    /// [`Kind::LimitExceeded`] for a fourth; the store fails; what `keep` says, as in [`Kms::create_access`].
    pub async fn hand_out_client_key(
        store: &Store,
        access_point: Name,
        seconds: i64,
        now: Timestamp,
        keep: impl FnOnce(&HandedOut) -> Result<()>,
    ) -> Result<HandedOut> {
        let handed_out = client_key(store, access_point, seconds, now).await?;
        keep(&handed_out)?;
        store.create_client_key(&handed_out.client_key).await?;
        Ok(handed_out)
    }
}

/// What was deleted and is still named comes back to life with a new one of its name: for whoever names it.
async fn check_unnamed(store: &Store, name: &Name) -> Result<()> {
    let tables = store.access().await?;
    let by_access_point = tables.access_points.iter().find(|point| point.name != *name && point.policies.contains(name));
    let by_policy = tables.policies.iter().find(|policy| policy.name != *name && policy.rules.contains(name));
    match by_access_point.map(|point| &point.name).or(by_policy.map(|policy| &policy.name)) {
        None => Ok(()),
        Some(other) => {
            Err(Error::new(Kind::ResourceExists, format!("{other} names something called {name} already: choose another name.")))
        }
    }
}

async fn check_key(store: &Store, instance: &InstanceId, text: &str) -> Result<()> {
    let unknown = || Error::new(Kind::KeyNotFound, format!("There is no key {text} in the instance {instance}."));
    let id: KeyId = text.parse().map_err(|_| unknown())?;
    match store.key(&id).await? {
        Some((key, _)) if key.instance == *instance => Ok(()),
        Some(_) | None => Err(unknown()),
    }
}

fn rule(new: &NewAccess) -> Result<Option<NetworkRule>> {
    if new.sources.is_empty() {
        return Ok(None);
    }
    Ok(Some(NetworkRule {
        name: new.name.clone(),
        kind: NetworkRuleKind::Private,
        sources: new.sources.iter().map(|text| parse_source(text)).collect::<Result<_>>()?,
        sources_text: new.sources.clone(),
        description: new.description.clone(),
    }))
}

/// A client key with a password that nobody chose, not kept yet.
async fn client_key(store: &Store, access_point: Name, seconds: i64, now: Timestamp) -> Result<HandedOut> {
    let authorities = authorities(store).await?;
    let id = ClientKeyId::from_entropy(random::bytes());
    let not_after = Timestamp::from_unix(now.unix().saturating_add(seconds));
    if not_after <= now || not_after > LAST_DATE {
        return Err(Error::invalid("A client key ends in the future, and before the year 10000."));
    }
    let password = certificates::generate_password();
    let (made, password) = {
        let id = id.clone();
        let make = move || certificates::new_client_key(&id, &password, now, not_after).map(|made| (made, password));
        tokio::task::spawn_blocking(make).await.map_err(Error::internal)??
    };
    let (certificate, not_before) = (made.certificate, now);
    let client_key = ClientKey { id, access_point, certificate, not_before, not_after, created: now, last_used: None };
    Ok(HandedOut { client_key, private_key: made.pkcs12, password, ca_chain_pem: certificates::ca_chain_pem(&authorities) })
}
