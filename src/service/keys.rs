//! The life of keys: CreateKey, DescribeKey, ListKeys.
//!
//! A key is made in three steps: an intent in the store, the object in the tier, the commit. A crash in between leaves something
//! that the next start finds and reports; a key that was answered for is in both.

use std::collections::HashSet;
use std::sync::Arc;

use super::aliases::no_key;
use super::requests::{CreateKey, KeyDescription, KeyFilter, Operator, Page, Paged};
use super::snapshot::KeyEntry;
use super::{Kms, Served};
use crate::base::{Error, Result, Timestamp, random};
use crate::model::algorithm::{KeySpec, KeyUsage};
use crate::model::instance::InstanceKind;
use crate::model::key::{
    CreatorType, DeletionProtection, DestructionOrders, Key, KeyState, Origin, Presence, StorageMechanism, fitting_usage,
};
use crate::model::tags::Tags;
use crate::model::{Alias, InstanceId, KeyId, KeyVersionId};
use crate::store::{ErasedObject, KeyIntent, KeyRow, KeyVersion, ObjectOrder};
use crate::tier::{Ability, Capability, Created, NewKey, Support, Tier, Work};

/// The most characters of a description (the API's limit).
const DESCRIPTION: usize = 8192;

impl Kms {
    /// CreateKey.
    ///
    /// # Errors
    /// InstanceNotFound; UnsupportedProtectionLevel when the instance, or every default one, has another level; MissingParameter when no
    /// instance is named and none is a default one; InvalidParameter; LimitExceeded when its quota is used up; UnsupportedOperation for
    /// what the tier lacks, with the reason, and for the rotation of a key that has none; those of store and tier. All are of
    /// [`Kind`](crate::base::Kind).
    pub async fn create_key(self: &Arc<Self>, operator: &Operator, request: CreateKey) -> Result<KeyDescription> {
        let served = self.home_of_new_key(request.instance.as_ref(), request.protection_level)?;
        check_storage(served, request.storage_mechanism)?;
        check_description("Description", &request.description)?;
        let spec = request.spec.unwrap_or(KeySpec::Aes256);
        let usage = fitting_usage(spec, request.usage)?;
        let origin = request.origin.unwrap_or(Origin::Service);
        let (ability, state, presence) = match origin {
            Origin::Service => (Ability::Generate, KeyState::Enabled, Presence::Present),
            Origin::External => (Ability::Import, KeyState::PendingImport, Presence::Absent),
        };
        served.tier.describe().capabilities.admits(spec, usage, ability)?;
        self.has_room(served)?;
        let id = KeyId::from_entropy(random::bytes());
        let version = KeyVersionId::from_entropy(&id, random::bytes());
        operator.trace.means(id.clone());
        operator.trace.uses(&version);
        let key = Key {
            instance: served.instance.id.clone(),
            spec,
            usage,
            origin,
            state,
            presence,
            delete_at: None,
            ordered: DestructionOrders::default(),
            deletion_protection: DeletionProtection::Disabled,
            rotation_interval: request.rotation,
            description: request.description,
            creator: operator.to_string(),
            created: self.now(),
            initial_version: version.clone(),
            primary_version: version,
            policy: request.policy.map(Arc::new),
            id,
        };
        if key.rotation_interval.is_some() {
            // The API has another code for what there never will be than for a key that is there.
            key.has_rotation(served.instance.kind).map_err(|error| Error::unsupported(error.message()))?;
        }
        // In a task of its own: a caller that goes away leaves no half of a key.
        let kms = Arc::clone(self);
        tokio::spawn(async move { kms.make_key(key, request.tags).await }).await.map_err(Error::internal)?
    }

    async fn make_key(&self, key: Key, tags: Tags) -> Result<KeyDescription> {
        let version = key.initial_version.clone();
        let quota = self.served(&key.instance)?.key_quota;
        let kept = match key.origin {
            Origin::Service => self.make_material(&key, &version, key.created, |tier, new| tier.create(new)).await?,
            Origin::External => awaited(version.clone(), key.created),
        };
        if let Err(error) = self.store.commit_key(&key, &kept, &tags, quota).await {
            // Nobody was told of the key. Whether the commit went through is not known, so the object stays when it might have.
            if let Ok(None) = self.store.key(&key.id).await {
                self.unmake_material(&key, &version, kept).await;
            }
            return Err(error);
        }
        let id = key.id.clone();
        self.snapshot.put_key(KeyRow { key, versions: vec![kept], unusable_versions: Vec::new(), tags });
        tracing::info!(key = %id, "a key was created");
        let entry = self.known(&id)?;
        self.description(&entry)
    }

    /// The first two steps for a version of a key: the intent in the store, the object in the tier. The id is the object's, and of a
    /// version whose material is made with it the version's own.
    pub(super) async fn make_material(
        &self,
        key: &Key,
        id: &KeyVersionId,
        created: Timestamp,
        make: impl for<'t> FnOnce(&'t dyn Tier, NewKey) -> Work<'t, Created>,
    ) -> Result<KeyVersion> {
        let tier = &self.served(&key.instance)?.tier;
        let intent = KeyIntent {
            key: key.id.clone(),
            version: id.clone(),
            instance: key.instance.clone(),
            spec: key.spec,
            usage: key.usage,
            created,
        };
        self.store.intend_key(&intent).await?;
        let new = NewKey { id: id.as_str().as_bytes().to_vec(), label: key.id.to_string(), spec: key.spec, usage: key.usage };
        match make(tier.as_ref(), new).await {
            Ok(Created { material, public_key, attributes, check_value }) => Ok(KeyVersion {
                id: id.clone(),
                created,
                material: Some(material),
                public_key,
                attributes,
                fingerprint: check_value.map(|value| self.store.key_fingerprint(value.secret())),
                encryptions: 0,
            }),
            Err(error) => {
                // What a tier refuses or fails at leaves no object; an answer that came too late is undone by the tier.
                self.withdraw_intent(id).await;
                Err(error)
            }
        }
    }

    /// Takes them back, when the third was refused.
    pub(super) async fn unmake_material(&self, key: &Key, id: &KeyVersionId, kept: KeyVersion) {
        let Ok(served) = self.served(&key.instance) else { return };
        let Some(material) = kept.material else { return };
        if served.tier.destroy(material).await.is_ok() {
            self.withdraw_intent(id).await;
        }
    }

    async fn withdraw_intent(&self, version: &KeyVersionId) {
        if let Err(error) = self.store.withdraw_intent(version).await {
            tracing::warn!(%version, ?error, "the intent of a key that was not made stays until the next start");
        }
    }

    /// DescribeKey.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`](crate::base::Kind::KeyNotFound), [`Kind::AliasNotFound`](crate::base::Kind::AliasNotFound).
    pub fn describe_key(&self, _: &Operator, key: &str) -> Result<KeyDescription> {
        let entry = self.known(&self.resolve(key)?)?;
        self.description(&entry)
    }

    pub(super) fn known(&self, id: &KeyId) -> Result<Arc<KeyEntry>> {
        self.snapshot.key(id).ok_or_else(|| self.no_key(id))
    }

    /// That there is no such key, or that it cannot be used.
    pub(super) fn no_key(&self, id: &KeyId) -> Error {
        self.snapshot.unusable.or("keys", id.as_str(), || no_key(id))
    }

    fn description(&self, entry: &KeyEntry) -> Result<KeyDescription> {
        let served = self.served(&entry.key.instance)?;
        let version = entry.named_version(&entry.key.primary_version)?;
        let (mut key, now) = (entry.key.clone(), self.now());
        key.settle(now);
        if key.is_expired(now) {
            key.presence = Presence::Absent;
        }
        Ok(KeyDescription {
            protection_level: served.instance.kind.protection_level(),
            attributes: version.attributes,
            abilities: abilities(served, &key),
            import: import(served, &key),
            encryptions: version.encryptions(),
            rotated: entry.rotated(),
            rotation: key.automatic_rotation(entry.rotated()),
            key,
        })
    }

    /// ListKeys: the oldest first. Filters of different fields must all hold; of one field any value may. Keys that cannot be used come last, and
    /// no filter but that of ids leaves them out: whoever does not see them believes that they are gone.
    ///
    /// # Errors
    /// None so far; the store is not asked.
    pub fn list_keys(&self, _: &Operator, filters: &[KeyFilter], page: Page) -> Result<Paged<KeyId>> {
        let mut entries = self.snapshot.keys();
        entries.retain(|entry| filters.iter().all(|filter| self.matches(entry, filter)));
        entries.sort_by(|a, b| (a.key.created, &a.key.id).cmp(&(b.key.created, &b.key.id)));
        let unusable = self.snapshot.unusable_keys().into_iter().filter(|id| filters.iter().all(|filter| may_match(id, filter)));
        Ok(Paged::cut(entries.into_iter().map(|entry| entry.key.id.clone()).chain(unusable).collect(), page))
    }

    fn matches(&self, entry: &KeyEntry, filter: &KeyFilter) -> bool {
        let key = &entry.key;
        let has = |values: &[String], value: &str| values.iter().any(|wanted| wanted == value);
        match filter {
            KeyFilter::State(values) => values.contains(&key.state_at(self.now())),
            KeyFilter::Spec(values) => values.contains(&key.spec),
            KeyFilter::Usage(values) => values.contains(&key.usage),
            KeyFilter::ProtectionLevel(values) => {
                self.instances.get(&key.instance).is_some_and(|served| values.contains(&served.instance.kind.protection_level()))
            }
            KeyFilter::Instance(values) => has(values, key.instance.as_str()),
            KeyFilter::Id(values) => has(values, key.id.as_str()),
            KeyFilter::Creator(values) => has(values, &key.creator),
            KeyFilter::CreatorType(values) => values.contains(&CreatorType::User),
            KeyFilter::AliasName(values) => {
                let access = self.snapshot.access();
                let of_this = |name: &String| name.parse().is_ok_and(|alias: Alias| access.aliases.get(&alias) == Some(&key.id));
                values.iter().any(of_this)
            }
            KeyFilter::Tag { keys, values } => {
                let wanted = |list: &[String], text: &str| list.is_empty() || has(list, text);
                entry.tags.iter().any(|(key, value)| wanted(keys, key.as_str()) && wanted(values, value.as_str()))
            }
        }
    }

    /// What an interrupted creation left behind: reported, never deleted.
    pub(super) async fn report_intents(&self) -> Result<()> {
        for intent in self.store.intents().await? {
            tracing::warn!(
                key = %intent.key, version = %intent.version, instance = %intent.instance,
                "the creation of a key was interrupted and answered to nobody; the token may hold an object with this CKA_ID"
            );
        }
        Ok(())
    }

    /// Keys in the token of an instance that the store does not know, and the other way round: reported, never deleted.
    pub(super) async fn report_strangers(&self, instance: &InstanceId) -> Result<()> {
        let served = self.served(instance)?;
        let entries = self.snapshot.keys();
        let erased = self.store.erased_objects().await?;
        let held: HashSet<_> = served.tier.residents().await?.into_iter().collect();
        // Read after the token: whoever makes an object names it in the store before.
        let named = self.store.named_objects().await?;
        let mut strangers = held.difference(&named).peekable();
        let damaged = self.snapshot.unusable.all().into_iter().filter(|row| row.table == "key_versions").count();
        if damaged > 0 && strangers.peek().is_some() {
            tracing::warn!(
                %instance, damaged,
                "key versions cannot be read: a key that the store does not know may be one of theirs, and is not to be destroyed"
            );
        }
        for id in strangers {
            let id = String::from_utf8_lossy(id);
            tracing::warn!(%instance, cka_id = %id, "the token holds a key that the store does not know");
        }
        // Somebody destroyed it by hand. What was ordered to be destroyed is kept: it may be another token that answers.
        let by_hand = |erased: &&ErasedObject| erased.order == ObjectOrder::Unproven && !held.contains(&erased.id);
        for gone in erased.iter().filter(|erased| erased.instance == *instance).filter(by_hand) {
            self.store.forget_erased_object(&gone.id).await?;
        }
        self.report_missing(instance, &entries, &held);
        Ok(())
    }

    /// Keys that the store has and the token has not: their first use would tell, this tells earlier.
    fn report_missing(&self, instance: &InstanceId, entries: &[Arc<KeyEntry>], held: &HashSet<Vec<u8>>) {
        for entry in entries.iter().filter(|entry| entry.key.instance == *instance) {
            for id in entry.versions().filter_map(|version| version.resident()).filter(|id| !held.contains(*id)) {
                let id = String::from_utf8_lossy(id);
                tracing::error!(%instance, key = %entry.key.id, cka_id = %id, "the token does not hold the key");
            }
        }
    }
}

/// Whether a key may match of which nothing is known but its id.
fn may_match(id: &KeyId, filter: &KeyFilter) -> bool {
    match filter {
        KeyFilter::Id(values) => values.iter().any(|wanted| wanted == id.as_str()),
        KeyFilter::State(_)
        | KeyFilter::Spec(_)
        | KeyFilter::Usage(_)
        | KeyFilter::ProtectionLevel(_)
        | KeyFilter::Instance(_)
        | KeyFilter::Creator(_)
        | KeyFilter::CreatorType(_)
        | KeyFilter::AliasName(_)
        | KeyFilter::Tag { .. } => true,
    }
}

/// Where the material of a new key is to be kept, if that is said: there is one place in each kind of instance.
fn check_storage(served: &Served, asked: Option<StorageMechanism>) -> Result<()> {
    match (asked, served.instance.kind) {
        (None, _) | (Some(StorageMechanism::HsmInternal), InstanceKind::Hardware) => Ok(()),
        (Some(StorageMechanism::HsmEncryptedDatabase), InstanceKind::Hardware) => {
            let text = "The KeyStorageMechanism HsmEncryptedDatabase is not served by this version; HsmInternal is.";
            Err(Error::unsupported(text))
        }
        (Some(_), InstanceKind::Software) => Err(Error::unsupported(format!(
            "The instance {} is of the kind Software: its keys have no KeyStorageMechanism. Leave the parameter out.",
            served.instance.id
        ))),
    }
}

/// The limit of the API for keys, and ours for whatever else is described by the parameter.
pub(super) fn check_description(parameter: &str, text: &str) -> Result<()> {
    if text.chars().count() <= DESCRIPTION {
        Ok(())
    } else {
        Err(Error::invalid(format!("The parameter {parameter} has at most {DESCRIPTION} characters.")))
    }
}

/// A version that waits for its material.
fn awaited(id: KeyVersionId, created: Timestamp) -> KeyVersion {
    KeyVersion { id, created, material: None, public_key: None, attributes: None, fingerprint: None, encryptions: 0 }
}

/// How the tier takes the material of an imported key.
fn import(served: &Served, key: &Key) -> Option<Support> {
    match key.origin {
        Origin::Service => None,
        Origin::External => served.tier.describe().capabilities.of(key.spec, Ability::Import).map(|line| line.support.clone()),
    }
}

/// What the tier can do with a key of this spec and usage.
fn abilities(served: &Served, key: &Key) -> Vec<Capability> {
    let belongs = |ability: Ability| match (ability, key.usage) {
        (Ability::Encrypt(_), KeyUsage::EncryptDecrypt)
        | (Ability::Sign(_), KeyUsage::SignVerify)
        | (Ability::Mac(_), KeyUsage::GenerateVerifyMac) => true,
        (Ability::Encrypt(_), KeyUsage::SignVerify | KeyUsage::GenerateVerifyMac)
        | (Ability::Sign(_), KeyUsage::EncryptDecrypt | KeyUsage::GenerateVerifyMac)
        | (Ability::Mac(_), KeyUsage::EncryptDecrypt | KeyUsage::SignVerify)
        | (Ability::Generate | Ability::Import | Ability::Unwrap(_), _) => false,
    };
    let description = served.tier.describe();
    let lines = description.capabilities.iter();
    lines.filter(|line| line.spec == key.spec && belongs(line.ability)).cloned().collect()
}

impl<T> Paged<T> {
    /// The part of a whole list that a page is.
    pub(super) fn cut(all: Vec<T>, page: Page) -> Self {
        let total = all.len();
        let first = (page.number as usize).saturating_sub(1).saturating_mul(page.size as usize);
        Self { items: all.into_iter().skip(first).take(page.size as usize).collect(), page, total }
    }
}
