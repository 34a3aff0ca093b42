//! Operators and their AccessKeys, handed out to whoever has the root key.
//!
//! It needs the store and no running service; a service that runs on the same store sees it by the change counter.

use super::{Kms, certificates};
use crate::base::{Error, Kind, Result, Timestamp, random};
use crate::model::operator::{AccessKeyInfo, AccessKeyState, AttachedPolicy, BuiltIn, Document, Identity, Role};
use crate::model::{AccessKeyId, Name};
use crate::store::{AccessKey, Store};

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
