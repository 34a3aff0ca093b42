//! Handing out access: rule, policy, access point and client key in one go, and further client keys.
//!
//! It needs the store and no running service; a service that runs on the same store sees it by the change counter.

use super::access::{FIVE_YEARS, LAST_DATE};
use super::{Kms, authorities, certificates};
use crate::base::{Error, Kind, Result, SecretBytes, Timestamp, random};
use crate::model::access::{
    AccessPoint, AuthenticationMethod, ClientKey, Glob, NetworkRule, NetworkRuleKind, Permission, Policy, ResourcePattern, Scope,
    parse_source,
};
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
    /// How long the client key is valid, in seconds.
    pub seconds: i64,
    /// Free text.
    pub description: String,
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
    /// Quick creation: everything of one instance, from anywhere, for five years.
    ///
    /// # Errors
    /// None: the patterns are well-formed.
    pub fn everything(name: Name, instance: InstanceId) -> Result<Self> {
        Ok(Self {
            name,
            instance,
            resources: vec!["key/*".parse()?, "secret/*".parse()?],
            sources: Vec::new(),
            seconds: FIVE_YEARS,
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
}

impl Kms {
    /// Makes network rule, policy, access point and client key, or none of them.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`] when the name is taken; [`Kind::KeyNotFound`] for a key that is not in the instance;
    /// [`Kind::InvalidParameter`] for what is no address, or for no resources; the store fails; what `keep` says, which keeps what is
    /// handed out before anything is in the store: nobody gets it a second time.
    pub async fn create_access(
        store: &Store,
        new: NewAccess,
        now: Timestamp,
        keep: impl FnOnce(&HandedOut) -> Result<()>,
    ) -> Result<HandedOut> {
        if new.resources.is_empty() {
            return Err(Error::invalid("Access is to something: name a key or a secret."));
        }
        for pattern in &new.resources {
            if let ResourcePattern::Key(Glob::Exact(id)) = pattern {
                check_key(store, &new.instance, id).await?;
            }
        }
        check_unnamed(store, &new.name).await?;
        let rule = rule(&new)?;
        let rules: Vec<_> = rule.iter().map(|rule| rule.name.clone()).collect();
        let policy = Policy {
            name: new.name.clone(),
            scope: Scope::Instance(new.instance.clone()),
            permissions: new.permissions(),
            rules_text: if rules.is_empty() {
                String::new()
            } else {
                serde_json::json!({ "NetworkRules": [new.name.as_str()] }).to_string()
            },
            rules,
            resources: new.resources.into_iter().collect(),
            description: new.description.clone(),
        };
        let access_point = AccessPoint {
            name: new.name.clone(),
            method: AuthenticationMethod::ClientKey,
            policies: vec![new.name.clone()],
            description: new.description,
        };
        let handed_out = client_key(store, new.name, new.seconds, now).await?;
        keep(&handed_out)?;
        store.create_access(rule.as_ref(), &policy, &access_point, &handed_out.client_key).await?;
        Ok(handed_out)
    }

    /// Makes a further client key of an access point; those that there are stay valid.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`] without the access point, [`Kind::LimitExceeded`] for a fourth; the store fails; what `keep` says, as
    /// in [`Kms::create_access`].
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
