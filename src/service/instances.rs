//! Instances: ListKmsInstances, GetKmsInstance, the certificates of their endpoints.

use super::certificates::{self, Leaf};
use super::requests::{InstanceDescription, Operator, Page, Paged};
use super::{Kms, Served};
use crate::base::{Error, Kind, Result};
use crate::model::InstanceId;
use crate::model::instance::{Instance, ProtectionLevel};

impl Kms {
    /// ListKmsInstances, by id: all of them, or those that have one of these names.
    pub fn list_instances(&self, _: &Operator, names: Option<&[String]>, page: Page) -> Paged<InstanceId> {
        let mut all = self.instances();
        all.retain(|instance| names.is_none_or(|names| names.contains(&instance.name)));
        Paged::cut(all.into_iter().map(|instance| instance.id).collect(), page)
    }

    /// GetKmsInstance.
    ///
    /// # Errors
    /// [`Kind::InstanceNotFound`].
    pub fn describe_instance(&self, _: &Operator, id: &InstanceId) -> Result<InstanceDescription> {
        let instance = self.served(id)?.instance.clone();
        let keys = self.snapshot.keys().iter().filter(|entry| entry.key.instance == *id).count();
        Ok(InstanceDescription { instance, ca_chain_pem: self.ca_chain_pem(), keys })
    }

    /// GetDefaultKmsInstance: where CreateKey makes a key for which neither an instance nor a protection level is named.
    ///
    /// # Errors
    /// [`Kind::InstanceNotFound`] when none is configured.
    pub fn default_instance(&self, _: &Operator) -> Result<&InstanceId> {
        let none = || Error::new(Kind::InstanceNotFound, "There is no default instance.");
        self.default_instances.first().ok_or_else(none)
    }

    /// The instance that a new key is made in: the one that is named, else a default one.
    ///
    /// # Errors
    /// [`Kind::InstanceNotFound`]; [`Kind::UnsupportedProtectionLevel`] when the keys of the instance, or of all default ones, have
    /// another level than is asked for; [`Kind::MissingParameter`] when no instance is named and none is a default one.
    pub(super) fn home_of_new_key(&self, named: Option<&InstanceId>, level: Option<ProtectionLevel>) -> Result<&Served> {
        let Some(id) =
            named.or_else(|| level.map_or_else(|| self.default_instances.first(), |level| self.default_instances.of(level)))
        else {
            return Err(self.no_home(level));
        };
        let served = self.served(id)?;
        let kind = served.instance.kind;
        match level {
            Some(level) if level != kind.protection_level() => Err(Error::new(
                Kind::UnsupportedProtectionLevel,
                format!(
                    "The instance {id} is of the kind {kind}: its keys have the ProtectionLevel {}, not {level}. Say the ProtectionLevel {}, \
                     or name an instance of the kind {} by DKMSInstanceId.",
                    kind.protection_level(),
                    kind.protection_level(),
                    level.instance_kind()
                ),
            )),
            Some(_) | None => Ok(served),
        }
    }

    /// What is to be named where no default instance will do.
    fn no_home(&self, level: Option<ProtectionLevel>) -> Error {
        let (Some(level), Some(first)) = (level, self.default_instances.iter().next()) else {
            return Error::new(Kind::MissingParameter, "The parameter DKMSInstanceId is missing; there is no default instance.");
        };
        let (kind, other) = (level.instance_kind(), first.0.protection_level());
        let such = self.instances().into_iter().find(|instance| instance.kind == kind);
        let text = match such {
            Some(instance) => format!(
                "No default instance has keys of the ProtectionLevel {level}. Name one of the kind {kind} by DKMSInstanceId, such as {}, or \
                 say the ProtectionLevel {other}.",
                instance.id
            ),
            None => format!(
                "No instance here has keys of the ProtectionLevel {level}: none is of the kind {kind}. Say the ProtectionLevel {other}."
            ),
        };
        Error::new(Kind::UnsupportedProtectionLevel, text)
    }

    /// What is served.
    pub fn instances(&self) -> Vec<Instance> {
        let mut all: Vec<_> = self.instances.values().map(|served| served.instance.clone()).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// A certificate for an endpoint, good from now on.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] for a name that is none.
    pub fn leaf(&self, names: &[String]) -> Result<Leaf> {
        certificates::issue_leaf(&self.authorities, names, self.now())
    }

    /// What clients must trust: root, then issuing CA.
    pub fn ca_chain_pem(&self) -> String {
        certificates::ca_chain_pem(&self.authorities)
    }
}
