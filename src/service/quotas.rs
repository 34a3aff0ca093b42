//! What instances may hold and do hold: GetKmsInstanceQuotaInfos, and the room for another key version.

use super::requests::Operator;
use super::{Kms, Served};
use crate::base::Result;
use crate::model::InstanceId;
use crate::model::alert::{Alert, key_quota_ids};
use crate::model::quota::KeyQuota;

/// What of an instance may have a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaResource {
    /// Versions of its keys.
    Key,
    /// Its secrets.
    Secret,
    /// Requests of symmetric cryptography a second at its endpoint.
    Qps,
    /// VPCs that may use it.
    Vpc,
}

/// How much of something an instance may hold, and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// Of what.
    pub resource: QuotaResource,
    /// How much it may; `None` when nothing bounds it.
    pub quota: Option<u64>,
    /// How much it does; `None` when that is not counted.
    pub used: Option<u64>,
}

impl Kms {
    /// GetKmsInstanceQuotaInfos.
    ///
    /// # Errors
    /// [`Kind::InstanceNotFound`](crate::base::Kind::InstanceNotFound).
    pub fn instance_quotas(&self, _: &Operator, id: &InstanceId) -> Result<Vec<QuotaUse>> {
        let served = self.served(id)?;
        let of = |resource, quota, used| QuotaUse { resource, quota, used };
        Ok(vec![
            of(QuotaResource::Key, served.key_quota.map(KeyQuota::most), Some(self.key_versions_of(id))),
            of(QuotaResource::Qps, served.qps.map(|qps| qps.get().into()), None),
            // There are none of these.
            of(QuotaResource::Secret, None, Some(0)),
            of(QuotaResource::Vpc, None, Some(0)),
        ])
    }

    fn key_versions_of(&self, id: &InstanceId) -> u64 {
        let keys = self.snapshot.keys();
        let of_instance = keys.iter().filter(|entry| entry.key.instance == *id);
        of_instance.map(|entry| entry.versions().count() as u64).sum()
    }

    /// Whether an instance has room for another key version, as far as is known here: nothing is made in a tier that the store would
    /// refuse.
    pub(super) fn has_room(&self, served: &Served) -> Result<()> {
        let Some(quota) = served.key_quota else { return Ok(()) };
        quota.admits(&served.instance.id, self.key_versions_of(&served.instance.id))
    }

    /// Lets the alerts of quotas be told again that the instances do not have any more. At the start alone: another node may have them.
    pub(super) async fn forget_former_quotas(&self) -> Result<()> {
        let told = self.store.alerts_told().await?;
        let now = self.now();
        for served in self.instances.values() {
            let id = &served.instance.id;
            let ours = served.key_quota.map(|quota| Alert::key_quota(id, quota, 0, now).map(|(alert, _)| alert.id));
            let former = told.iter().filter(|alert| alert.starts_with(&key_quota_ids(id)));
            for alert in former.filter(|alert| ours.as_ref().is_none_or(|ours| !ours.contains(alert))) {
                self.store.forget_alert(alert).await?;
            }
        }
        Ok(())
    }

    /// The alerts of quotas that are nearly used up; and the ids of those that may be told again, since they are not any more.
    pub(super) fn quota_alerts(&self) -> (Vec<Alert>, Vec<String>) {
        let (mut reached, mut free) = (Vec::new(), Vec::new());
        for served in self.instances.values() {
            let Some(quota) = served.key_quota else { continue };
            let id = &served.instance.id;
            for (alert, holds) in Alert::key_quota(id, quota, self.key_versions_of(id), self.now()) {
                if holds { reached.push(alert) } else { free.push(alert.id) }
            }
        }
        (reached, free)
    }
}
