//! How the instances are: whether a real operation works in each, and what its slots tell of themselves.
//!
//! Asked by the telemetry of the server, by anybody and at any time, so nothing here may hang or pile up: a module that hangs
//! answers late or never. Of each instance one check runs at a time; whoever asks meanwhile waits for that one, and only as long
//! as he says. What slots tell of themselves is looked up without a call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{Kms, Served};
use crate::base::Result;
use crate::model::InstanceId;
use crate::model::instance::Instance;
use crate::tier::Tier;
use crate::tier::status::SlotStatus;

/// An instance and its slots.
pub struct InstanceSlots {
    /// The instance.
    pub instance: Instance,
    /// Its slots; none for an instance whose keys are in the process.
    pub slots: Vec<SlotStatus>,
}

/// What a check of an instance found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// A real operation worked.
    Works,
    /// It failed, with this text.
    Fails(String),
    /// It is not back yet.
    Overdue,
}

/// The check that runs, or ran last.
#[derive(Default)]
pub(super) struct Check(Mutex<Option<watch::Receiver<Option<Health>>>>);

impl Check {
    /// Begins a check, unless one runs.
    fn begin(&self, tier: &Arc<dyn Tier>) -> watch::Receiver<Option<Health>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = last.as_ref().filter(|check| check.borrow().is_none() && check.has_changed().is_ok()) {
            return running.clone();
        }
        let (found, finding) = watch::channel(None);
        *last = Some(finding.clone());
        let tier = Arc::clone(tier);
        tokio::spawn(async move {
            let health = tier.health().await.map_or_else(|error| Health::Fails(error.message().to_owned()), |()| Health::Works);
            found.send_replace(Some(health));
        });
        finding
    }
}

impl Kms {
    /// Whether a real operation works in each instance, found out in all of them at once; what is not known by then is overdue.
    pub async fn readiness(&self, patience: Duration) -> Vec<(InstanceSlots, Health)> {
        let until = Instant::now() + patience;
        let checks: Vec<_> = self.by_id().into_iter().map(|served| (served, served.check.begin(&served.tier))).collect();
        let mut all = Vec::new();
        for (served, mut check) in checks {
            let health = match timeout_at(until, check.wait_for(Option::is_some)).await {
                Ok(Ok(found)) => found.clone().unwrap_or(Health::Overdue),
                Ok(Err(_)) => Health::Fails("The check broke off.".to_owned()),
                Err(_) => Health::Overdue,
            };
            all.push((served.slots(), health));
        }
        all
    }

    /// Every instance with its slots.
    pub fn slots(&self) -> Vec<InstanceSlots> {
        self.by_id().into_iter().map(Served::slots).collect()
    }

    /// One instance with its slots.
    ///
    /// # Errors
    /// [`Kind::InstanceNotFound`](crate::base::Kind::InstanceNotFound).
    pub fn slots_of(&self, id: &InstanceId) -> Result<InstanceSlots> {
        Ok(self.served(id)?.slots())
    }

    fn by_id(&self) -> Vec<&Served> {
        let mut all: Vec<_> = self.instances.values().collect();
        all.sort_by(|a, b| a.instance.id.cmp(&b.instance.id));
        all
    }
}

impl Served {
    fn slots(&self) -> InstanceSlots {
        InstanceSlots { instance: self.instance.clone(), slots: self.tier.slots() }
    }
}
