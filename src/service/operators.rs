//! Operators and their AccessKeys, handed out to whoever has the root key.
//!
//! It needs the store and no running service; a service that runs on the same store sees it by the change counter.

use super::{Kms, certificates};
use crate::base::{Error, Kind, Result, Timestamp, random};
use crate::model::oidc::OidcProvider;
use crate::model::operator::{AccessKeyInfo, AccessKeyState, AttachedPolicy, BuiltIn, Document, Identity, IdentityKind, Role};
use crate::model::{AccessKeyId, KeyId, Name};
use crate::store::{AccessKey, Store};

/// Where an operator or a role is spoken of by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Keys whose policies do.
    pub keys: Vec<KeyId>,
    /// Roles whose trust policies do.
    pub roles: Vec<Name>,
}

/// A policy of an operator's own.
///
/// # Errors
/// [`Kind::InvalidParameter`] when it is called like a built-in one, or `text` is no document.
pub fn policy_of(name: Name, text: &str) -> Result<AttachedPolicy> {
    if BuiltIn::ALL.iter().any(|policy| policy.name() == name.as_str()) {
        return Err(Error::invalid(format!("{name} is the name of a built-in policy: choose another name.")));
    }
    Ok(AttachedPolicy::Custom { name, document: text.parse::<Document>()? })
}

impl Kms {
    /// The operator of this name.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`]; the store fails.
    pub async fn operator(store: &Store, name: &Name) -> Result<Identity> {
        let found = store.identities().await?.into_iter().find(|identity| identity.name == *name);
        found.ok_or_else(|| Error::new(Kind::ResourceNotFound, format!("There is no operator {name}.")))
    }

    /// The role of this name.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`]; the store fails.
    pub async fn role(store: &Store, name: &Name) -> Result<Role> {
        let found = store.roles().await?.into_iter().find(|role| role.name == *name);
        found.ok_or_else(|| Error::new(Kind::ResourceNotFound, format!("There is no role {name}.")))
    }

    /// What speaks of an operator or a role by its name. Names are all that policies know: when one is deleted, whoever is made under
    /// the name next gets what they say.
    ///
    /// # Errors
    /// The store fails.
    pub async fn mentions(store: &Store, kind: IdentityKind, name: &Name) -> Result<Mentions> {
        let key_policies = store.key_policies().await?.into_iter().filter(|(_, policy)| policy.names(kind, name));
        let roles = store.roles().await?.into_iter().filter(|role| role.name != *name && role.trust.names(kind, name));
        Ok(Mentions { keys: key_policies.map(|(key, _)| key).collect(), roles: roles.map(|role| role.name).collect() })
    }

    /// The same for an OIDC provider: trust policies name it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn mentions_of_oidc_provider(store: &Store, name: &Name) -> Result<Mentions> {
        let roles = store.roles().await?.into_iter().filter(|role| role.trust.oidc_providers().any(|named| named == name));
        Ok(Mentions { keys: Vec::new(), roles: roles.map(|role| role.name).collect() })
    }

    /// The OIDC provider of this name.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`]; the store fails.
    pub async fn oidc_provider(store: &Store, name: &Name) -> Result<OidcProvider> {
        let found = store.oidc_providers().await?.into_iter().find(|provider| provider.name == *name);
        found.ok_or_else(|| Error::new(Kind::ResourceNotFound, format!("There is no OIDC provider {name}.")))
    }

    /// Makes an AccessKey of an operator.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`] without the operator, [`Kind::LimitExceeded`] for a third; the store fails; what `keep` says, which keeps
    /// what is handed out before anything is in the store.
    pub async fn hand_out_access_key(
        store: &Store,
        owner: &Name,
        now: Timestamp,
        keep: impl FnOnce(&AccessKey) -> Result<()>,
    ) -> Result<AccessKey> {
        Self::operator(store, owner).await?;
        let new = new_access_key(owner.clone(), now);
        keep(&new)?;
        store.create_access_key(&new).await?;
        Ok(new)
    }
}

/// An AccessKey that nobody chose, not kept yet.
pub fn new_access_key(owner: Name, now: Timestamp) -> AccessKey {
    let id = AccessKeyId::from_entropy(random::bytes());
    let info = AccessKeyInfo { id, owner, state: AccessKeyState::Active, created: now };
    AccessKey { info, secret: certificates::generate_password() }
}
