//! Instances: ListKmsInstances, GetKmsInstance, the certificates of their endpoints.

use super::Kms;
use super::certificates::{self, Leaf};
use super::requests::{InstanceDescription, Operator, Page, Paged};
use crate::base::{Error, Kind, Result};
use crate::model::InstanceId;
use crate::model::instance::Instance;

impl Kms {
    /// ListKmsInstances, by id.
    pub fn list_instances(&self, _: &Operator, page: Page) -> Paged<InstanceId> {
        let mut all: Vec<_> = self.instances.keys().cloned().collect();
        all.sort();
        Paged::cut(all, page)
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

    /// GetDefaultKmsInstance: where CreateKey without DKMSInstanceId makes its keys.
    ///
    /// # Errors
    /// [`Kind::InstanceNotFound`] when none is configured.
    pub fn default_instance(&self, _: &Operator) -> Result<&InstanceId> {
        let none = || Error::new(Kind::InstanceNotFound, "There is no default instance.");
        self.default_instance.as_ref().ok_or_else(none)
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
