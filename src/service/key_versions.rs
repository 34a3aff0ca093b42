//! The versions of keys: CreateKeyVersion, ListKeyVersions, DescribeKeyVersion.

use std::sync::Arc;

use super::Kms;
use super::requests::{Operator, Page, Paged, VersionOf};
use super::snapshot::VersionEntry;
use crate::base::{Error, Kind, Result, random};
use crate::model::KeyVersionId;
use crate::model::algorithm::KeyUsage;
use crate::model::instance::InstanceKind;
use crate::model::key::{Key, Origin};
use crate::store::KeyVersion;

/// The most versions of a key (the API's limit).
const VERSIONS: usize = 50;

impl Kms {
    /// CreateKeyVersion, of a key by id, alias or ARN. Of a symmetric key it is the primary version from then on: what earlier ones
    /// encrypted they decrypt.
    ///
    /// # Errors
    /// As [`Kms::list_key_versions`]; the key's state; [`Kind::UnsupportedOperation`] for a symmetric key inside an HSM, whose
    /// material does not change, and for an imported one; [`Kind::LimitExceeded`] after fifty; those of store and tier.
    pub async fn create_key_version(self: &Arc<Self>, operator: &Operator, key: &str) -> Result<VersionOf> {
        let entry = self.known(&self.resolve(key)?)?;
        let key = &entry.key;
        let kind = self.served(&key.instance)?.instance.kind;
        may_have_versions(key, kind)?;
        takes_another(key, entry.versions().count())?;
        // In a task of its own: a caller that goes away leaves no half of a version.
        let (kms, key) = (Arc::clone(self), key.clone());
        let made = tokio::spawn(async move { kms.make_version(key).await }).await.map_err(Error::internal)??;
        tracing::info!(version = %made.version, by = %operator.access_key, "a key version was created");
        Ok(made)
    }

    async fn make_version(&self, key: Key) -> Result<VersionOf> {
        let version = KeyVersionId::from_entropy(&key.id, random::bytes());
        let created = self.now();
        let kept = self.make_material(&key, version.clone(), created).await?;
        if let Err(error) = self.store.commit_version(&key.id, &kept, takes_another).await {
            // Nobody was told of it. Whether the commit went through is not known, so the object stays when it might have.
            let absent = |(_, versions): (Key, Vec<KeyVersion>)| versions.iter().all(|other| other.id != version);
            if self.store.key(&key.id).await.is_ok_and(|stored| stored.is_none_or(absent)) {
                self.unmake_material(&key, kept).await;
            }
            return Err(error);
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!(%version, ?error, "a key version was created and is used here as soon as the store answers");
        }
        Ok(VersionOf { version, created })
    }

    /// ListKeyVersions, of a key by id, alias or ARN; the oldest first.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`], [`Kind::AliasNotFound`].
    pub fn list_key_versions(&self, _: &Operator, key: &str, page: Page) -> Result<Paged<VersionOf>> {
        let entry = self.known(&self.resolve(key)?)?;
        Ok(Paged::cut(entry.versions().map(|version| described(version)).collect(), page))
    }

    /// DescribeKeyVersion.
    ///
    /// # Errors
    /// As [`Kms::list_key_versions`]; [`Kind::KeyVersionNotFound`].
    pub fn describe_key_version(&self, _: &Operator, key: &str, version: &KeyVersionId) -> Result<VersionOf> {
        let entry = self.known(&self.resolve(key)?)?;
        Ok(described(&*entry.named_version(version)?))
    }
}

/// Whether a key with so many versions takes another one now.
fn takes_another(key: &Key, versions: usize) -> Result<()> {
    key.state.usable(key.id.as_str())?;
    if versions < VERSIONS {
        Ok(())
    } else {
        Err(Error::new(Kind::LimitExceeded, format!("The key {} has {VERSIONS} versions already.", key.id)))
    }
}

/// keys.md of the API, "Versions and rotation".
fn may_have_versions(key: &Key, kind: InstanceKind) -> Result<()> {
    match key.usage {
        KeyUsage::EncryptDecrypt | KeyUsage::SignVerify => {}
        // A code names no version.
        KeyUsage::GenerateVerifyMac => {
            return Err(Error::unsupported(format!("The key {} is for {}: it has one version.", key.id, key.usage)));
        }
    }
    match (key.origin, kind) {
        (Origin::External, _) => {
            Err(Error::unsupported(format!("The material of the key {} was imported: it has one version.", key.id)))
        }
        (Origin::Service, InstanceKind::Hardware) if key.spec.is_symmetric() => {
            Err(Error::unsupported(format!("The key {} is held inside the HSM and symmetric: it has one version.", key.id)))
        }
        (Origin::Service, InstanceKind::Hardware | InstanceKind::Software) => Ok(()),
    }
}

fn described(version: &VersionEntry) -> VersionOf {
    VersionOf { version: version.id.clone(), created: version.created }
}
