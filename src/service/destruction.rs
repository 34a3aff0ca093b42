//! Destruction: of keys whose window has ended, of imported material that has expired, of objects that no key has any more. This is the only
//! place that destroys in a tier what the store says is to be destroyed, and it does so for what was ordered through the service alone:
//! whoever can write the database cannot order anything. What stands there without a proof is told of, and stays.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};

use super::Kms;
use super::snapshot::{Changed, KeyEntry};
use crate::base::{Error, Kind, Result, Timestamp};
use crate::model::KeyId;
use crate::model::alert::Alert;
use crate::model::key::Material;
use crate::store::{ErasedObject, ObjectOrder, RefusedOrder};

impl Kms {
    /// Destroys what is due: imported material and keys whose dates have come, when the date may be relied on.
    ///
    /// # Errors
    /// As [`Kms::settled_date`], when something is due; else the first failure; the others are destroyed all the same, and what is left the
    /// next time.
    pub(super) async fn destroy_due(&self) -> Result<()> {
        let (now, entries) = (self.now(), self.snapshot.keys());
        if !entries.iter().any(|entry| entry.key.material_is_due(now) || entry.key.is_due(now)) {
            return Ok(());
        }
        let (now, mut result) = (self.settled_date()?, Ok(()));
        // What waits for no tier comes first.
        for entry in entries.iter().filter(|entry| entry.key.material_is_due(now)) {
            result = result.and(self.expire(&entry.key.id, now).await);
        }
        for entry in entries.iter().filter(|entry| entry.key.is_due(now)) {
            result = result.and(self.destroy(entry, now).await);
        }
        result
    }

    async fn expire(&self, id: &KeyId, now: Timestamp) -> Result<()> {
        match self.store.erase_material(id, |key| key.expire_material(now)).await {
            Ok(_) => {
                self.follow(Changed::Key(id)).await;
                tracing::info!(key = %id, "key material has expired");
                Ok(())
            }
            // It was imported again, or another node was faster: the snapshot is older.
            Err(error) if matches!(error.kind(), Kind::StateForbids | Kind::KeyNotFound) => self.refresh().await,
            Err(error) => Err(error),
        }
    }

    /// First the key is given up in the store, then its material, then the row: what a crash or a token that is away leaves in between
    /// is due as before, and whoever cancels at the same moment, by whichever clock, comes before the first of them or not at all.
    async fn destroy(&self, entry: &Arc<KeyEntry>, now: Timestamp) -> Result<()> {
        let id = &entry.key.id;
        match self.store.change_key(id, |key| key.give_up(now)).await {
            Ok(_) => {}
            // It was saved, or another node was faster: the snapshot is older.
            Err(error) if matches!(error.kind(), Kind::StateForbids | Kind::KeyNotFound) => return self.refresh().await,
            Err(error) => return Err(error),
        }
        let Some((key, versions)) = self.store.key(id).await? else { return self.refresh().await };
        let tier = &self.served(&key.instance)?.tier;
        let materials: Vec<_> = versions.into_iter().filter_map(|version| version.material).collect();
        if let Some(strange) = materials.iter().find(|material| !material.is_of(id)) {
            let object = String::from_utf8_lossy(strange.id()).into_owned();
            return Err(Error::internal(format!(
                "the key {id} is not destroyed: the object {object} is called as none of its own"
            )));
        }
        for material in materials {
            tier.destroy(material).await?;
        }
        let alert = Alert::key_deleted(&key, now);
        match self.store.delete_key(id, (&alert, self.alerts.sending()), |key| key.clone().give_up(now)).await {
            Ok(raised) => self.alerts.told(&alert, raised),
            // Another node was faster.
            Err(error) if error.kind() == Kind::KeyNotFound => {}
            Err(error) => return Err(error),
        }
        self.follow(Changed::Key(id)).await;
        tracing::info!(key = %id, "a key was destroyed, its window has ended");
        Ok(())
    }

    /// Ends what imports leave behind: wrapping keys that have had their time, when the date may be relied on, and objects that are still to be
    /// destroyed.
    ///
    /// # Errors
    /// The first failure; the rest is done all the same, and what is left the next time.
    pub(super) async fn end_imports(&self) -> Result<()> {
        let result = match self.settled_date() {
            Ok(now) => self.store.drop_wrapping_keys(now).await,
            // They are not used any more, whatever the date is.
            Err(_) => Ok(()),
        };
        let erased = self.store.erased_objects().await?;
        self.note_refused_orders(&erased);
        result.and(self.destroy_objects(erased).await)
    }

    /// Destroys the objects of a key that it has lost.
    ///
    /// # Errors
    /// As [`Kms::destroy_due`].
    pub(super) async fn destroy_erased_of(&self, key: &KeyId) -> Result<()> {
        let mut erased = self.store.erased_objects().await?;
        erased.retain(|erased| erased.key == *key);
        self.destroy_objects(erased).await
    }

    /// Destroys those of the objects for which that is ordered, as far as their instances are served. An instance that fails is left alone
    /// until the next time: each of its objects would take its deadline, and those of other instances would wait for that.
    async fn destroy_objects(&self, objects: Vec<ErasedObject>) -> Result<()> {
        let (mut result, mut failing) = (Ok(()), HashSet::new());
        for erased in objects {
            match erased.order {
                ObjectOrder::Proven => {}
                ObjectOrder::Unproven | ObjectOrder::Named(_) => continue,
            }
            let Ok(served) = self.served(&erased.instance) else { continue };
            if failing.contains(&erased.instance) {
                continue;
            }
            match served.tier.destroy(Material::Resident(erased.id.clone())).await {
                Ok(()) => result = result.and(self.store.forget_erased_object(&erased.id).await),
                Err(error) => {
                    // One object that is not destroyed for a reason of its own does not keep the others.
                    if matches!(error.kind(), Kind::Throttled | Kind::Unavailable) {
                        failing.insert(erased.instance);
                    }
                    result = result.and(Err(error));
                }
            }
        }
        result
    }

    /// What stands in the store as if it were to be destroyed, and is not obeyed.
    pub fn refused_orders(&self) -> Vec<RefusedOrder> {
        self.refused_orders.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Notes the orders that are refused; those that were not there the last time are logged.
    pub(super) fn note_refused_orders(&self, erased: &[ErasedObject]) {
        let entries = self.snapshot.keys();
        let of_keys = entries.iter().flat_map(|entry| RefusedOrder::of_key(&entry.key));
        let now: BTreeSet<_> = of_keys.chain(erased.iter().filter_map(RefusedOrder::of_object)).collect();
        let mut before = self.refused_orders.lock().unwrap_or_else(PoisonError::into_inner);
        for order in now.difference(&before) {
            tracing::error!("{order}");
        }
        *before = now;
    }
}
