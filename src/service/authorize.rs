//! Whether a caller may: policies and rules decide, deny is the default. What a caller may not use it learns nothing about.

use std::sync::Arc;

use super::Kms;
use super::aliases::{is_alias, no_key, unknown_alias};
use super::requests::{Caller, KeyReference};
use super::snapshot::{Access, KeyEntry, VersionEntry};
use crate::base::{Error, Kind, Result};
use crate::model::access::{Decision, Permission, Resource, Wish, decide};
use crate::model::{KeyId, KeyVersionId};
use crate::tier::Share;

/// A key that a caller may use, and the version that is meant.
pub(super) struct Usable {
    pub(super) entry: Arc<KeyEntry>,
    pub(super) version: Arc<VersionEntry>,
    /// Whose share of a busy tier its use takes: that of the caller's access point.
    pub(super) share: Share,
}

/// Which version of a key an operation uses when none is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The first: Encrypt, Decrypt, Sign, Verify of the instance protocol.
    Initial,
    /// The newest: the Advance operations.
    Primary,
}

impl Kms {
    /// The key that a caller names, if it may use it: permission comes first, and a key of another instance is like one that
    /// does not exist.
    pub(super) fn usable_key(&self, caller: &Caller, key: &str) -> Result<Arc<KeyEntry>> {
        let id = self.resolve(key)?;
        self.permitted(caller, &id).map_err(|error| match error.kind() {
            // Which key an alias points to is told to those alone who may use it.
            Kind::NoPermission | Kind::KeyNotFound if is_alias(key) => unknown_alias(key).caused_by(error),
            _ => error,
        })
    }

    /// The same however it is named, with the version if that is named, too. Whether the key has the version is told to those alone
    /// who may use the key.
    pub(super) fn named(&self, caller: &Caller, reference: &KeyReference) -> Result<(Arc<KeyEntry>, Option<Arc<VersionEntry>>)> {
        match reference {
            KeyReference::Key(key) => Ok((self.usable_key(caller, key)?, None)),
            KeyReference::Version { key, version } => {
                let entry = match key {
                    Some(key) => self.usable_key(caller, key)?,
                    None => self.permitted(caller, &version.key())?,
                };
                let version = entry.named_version(version)?;
                Ok((entry, Some(version)))
            }
        }
    }

    /// The key that a caller names, if it may use it, with the version that is named, or else with the one that the operation uses.
    pub(super) fn usable(&self, caller: &Caller, reference: &KeyReference, unnamed: Version) -> Result<Usable> {
        let (entry, version) = self.named(caller, reference)?;
        let version = match (version, unnamed) {
            (Some(version), _) => version,
            (None, Version::Initial) => entry.named_version(&entry.key.initial_version)?,
            (None, Version::Primary) => entry.named_version(&entry.key.primary_version)?,
        };
        caller.trace.uses(&version.id);
        Ok(Usable { entry, version, share: self.share(caller) })
    }

    /// The key version that a ciphertext names, if the caller may use its key.
    pub(super) fn usable_version(&self, caller: &Caller, version: &KeyVersionId) -> Result<Usable> {
        let entry = self.permitted(caller, &version.key())?;
        let version = entry.named_version(version)?;
        caller.trace.uses(&version.id);
        Ok(Usable { entry, version, share: self.share(caller) })
    }

    /// Whose share of a busy tier a call takes: all client keys of an access point have one together.
    pub(super) fn share(&self, caller: &Caller) -> Share {
        let access = self.snapshot.access();
        access.access_point_of(&caller.client_key).map_or_else(Share::default, |point| Share::of(point.name.as_str().as_bytes()))
    }

    fn permitted(&self, caller: &Caller, id: &KeyId) -> Result<Arc<KeyEntry>> {
        caller.trace.means(id.clone());
        self.permit(caller, Permission::CryptoServiceKeyUser, Resource::Key(id))?;
        let entry = self.known(id)?;
        if entry.key.instance != caller.instance {
            return Err(no_key(id));
        }
        entry.key.usable(self.now())?;
        Ok(entry)
    }

    /// Whether any policy grants it.
    ///
    /// # Errors
    /// [`Kind::NoPermission`], naming the resource; the reason goes to the log and the audit.
    pub(super) fn permit(&self, caller: &Caller, permission: Permission, resource: Resource<'_>) -> Result<()> {
        let access = self.snapshot.judging()?;
        let wish = Wish { instance: &caller.instance, permission, resource, source: caller.source };
        let Some(decision) = decision(&access, caller, &wish) else {
            return Err(denied(resource).caused_by("the client key or its access point is gone"));
        };
        let permitted = match &decision {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) => Err(denied(resource).caused_by(format!("{reason:?}"))),
        };
        caller.trace.decided(decision);
        permitted
    }
}

fn decision(access: &Access, caller: &Caller, wish: &Wish<'_>) -> Option<Decision> {
    Some(decide(access.access_point_of(&caller.client_key)?, access, wish))
}

fn denied(resource: Resource<'_>) -> Error {
    let what = match resource {
        Resource::Key(id) => format!("key/{id}"),
        Resource::Secret(name) => format!("secret/{name}"),
        Resource::None => "this instance".to_owned(),
    };
    Error::new(Kind::NoPermission, format!("The client key is not permitted to use {what}."))
}
