//! Rotation: UpdateRotationPolicy, and the rotation of the keys whose time has come.
//!
//! Every node looks for keys that are due. A node that begins claims the attempt in the store, and the new version is kept only if the
//! key is due still: so one version is made, whichever nodes try and whichever of them dies. An attempt that failed is followed by the
//! next after a pause that grows to an hour; it is logged and counted.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Kms;
use super::aliases::key_id;
use super::key_versions::takes_another;
use super::requests::Operator;
use super::snapshot::KeyEntry;
use crate::base::{Error, Kind, Result, Timestamp};
use crate::model::InstanceId;
use crate::model::key::Key;
use crate::model::rotation::{RotationAttempt, RotationInterval};
use crate::store::Versions;

/// Rotations of the keys of an instance by this node.
#[derive(Default)]
pub(super) struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
}

/// The rotations of the keys of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRotations {
    /// The instance.
    pub instance: InstanceId,
    /// Versions that were made by automatic rotation, by this node since its start.
    pub done: u64,
    /// Attempts that failed, of this node since its start.
    pub failed: u64,
    /// Keys that are to be rotated and are not yet.
    pub due: usize,
}

impl Kms {
    /// UpdateRotationPolicy, of a key by its id: switches automatic rotation on, with an interval, or off.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`]; [`Kind::UnsupportedByKey`] for a key that is asymmetric, imported or held inside the HSM; those of a
    /// state other than enabled.
    pub async fn update_rotation_policy(&self, operator: &Operator, key: &str, interval: Option<RotationInterval>) -> Result<()> {
        let id = key_id(key)?;
        let entry = self.known(&id)?;
        entry.key.has_rotation(self.served(&entry.key.instance)?.instance.kind)?;
        self.change(operator, "given its rotation policy", &id, |key| key.set_rotation(interval)).await
    }

    /// The rotations of every instance, by its id.
    pub fn rotations(&self) -> Vec<InstanceRotations> {
        let now = self.now();
        let due = self.snapshot.keys().into_iter().filter(|entry| is_due(entry, now)).map(|entry| entry.key.instance.clone());
        let due: Vec<_> = due.collect();
        let mut all: Vec<_> = self
            .instances
            .values()
            .map(|served| InstanceRotations {
                instance: served.instance.id.clone(),
                done: served.rotations.done.load(Ordering::Relaxed),
                failed: served.rotations.failed.load(Ordering::Relaxed),
                due: due.iter().filter(|instance| **instance == served.instance.id).count(),
            })
            .collect();
        all.sort_by(|a, b| a.instance.cmp(&b.instance));
        all
    }

    /// Rotates the keys that are due, those of instances that are served here.
    ///
    /// # Errors
    /// The store fails. What a tier fails at is logged and counted, and tried again later.
    pub(super) async fn rotate_due(self: &Arc<Self>) -> Result<()> {
        let now = self.now();
        let served = |entry: &KeyEntry| self.instances.contains_key(&entry.key.instance);
        let mut due = self.snapshot.keys();
        due.retain(|entry| is_due(entry, now) && served(entry));
        if due.is_empty() {
            return Ok(());
        }
        let attempts = self.store.rotation_attempts().await?;
        // A tier that is away fails at the other keys, too, and each takes its deadline.
        let mut failing = HashSet::new();
        for entry in due {
            let key = &entry.key;
            if failing.contains(&key.instance) || attempts.get(&key.id).is_some_and(|last| !last.is_over(now)) {
                continue;
            }
            match self.rotate(&entry).await? {
                Rotated::Failed => {
                    failing.insert(key.instance.clone());
                }
                Rotated::Done | Rotated::Needless | Rotated::Full => {}
            }
        }
        self.refresh().await
    }

    async fn rotate(self: &Arc<Self>, entry: &KeyEntry) -> Result<Rotated> {
        let (key, now) = (&entry.key, self.now());
        let claim = |key: &Key, versions: Versions, last| {
            if key.rotation_is_due(versions.newest, now) { RotationAttempt::next(last, now) } else { None }
        };
        let attempt = match self.store.claim_rotation(&key.id, claim).await {
            Ok(Some(attempt)) => attempt,
            Ok(None) => return Ok(Rotated::Needless),
            Err(error) if error.kind() == Kind::KeyNotFound => return Ok(Rotated::Needless),
            Err(error) => return Err(error),
        };
        let still_due = move |key: &Key, versions: Versions| {
            let text = || format!("The key {} is not to be rotated any more.", key.id);
            if key.rotation_is_due(versions.newest, now) {
                takes_another(key, versions)
            } else {
                Err(Error::new(Kind::StateForbids, text()))
            }
        };
        // Nothing is made in the tier that the store would refuse.
        if let Err(error) = takes_another(key, Versions { count: entry.versions().count(), newest: entry.rotated() }) {
            self.tell_failed(key, attempt, &error).await?;
            return Ok(Rotated::Full);
        }
        // In a task of its own: what ends the loop leaves no half of a version.
        let (kms, copy) = (Arc::clone(self), key.clone());
        let made = tokio::spawn(async move { kms.make_version(copy, still_due).await });
        let counts = &self.served(&key.instance)?.rotations;
        match made.await.map_err(Error::internal).flatten() {
            Ok(made) => {
                counts.done.fetch_add(1, Ordering::Relaxed);
                tracing::info!(key = %key.id, version = %made.version, attempt = attempt.number, "a key was rotated");
                Ok(Rotated::Done)
            }
            // It was disabled, deleted or given a version in the meantime.
            Err(error) if matches!(error.kind(), Kind::StateForbids | Kind::KeyNotFound) => Ok(Rotated::Needless),
            Err(error) => {
                self.tell_failed(key, attempt, &error).await?;
                Ok(Rotated::Failed)
            }
        }
    }

    async fn tell_failed(&self, key: &Key, attempt: RotationAttempt, error: &Error) -> Result<()> {
        self.served(&key.instance)?.rotations.failed.fetch_add(1, Ordering::Relaxed);
        let pause_s = attempt.ends_at.distance(self.now()).as_secs();
        tracing::warn!(
            key = %key.id, instance = %key.instance, attempt = attempt.number, pause_s, ?error,
            "a key could not be rotated; it is tried again"
        );
        self.raise_failed_rotation(key, attempt.number, error).await;
        Ok(())
    }
}

/// What became of an attempt.
enum Rotated {
    Done,
    /// Somebody else does it, or nobody need.
    Needless,
    /// The key has as many versions as it may; other keys may have room.
    Full,
    Failed,
}

fn is_due(entry: &KeyEntry, now: Timestamp) -> bool {
    entry.key.rotation_is_due(entry.rotated(), now)
}
