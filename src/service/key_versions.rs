//! The versions of keys: CreateKeyVersion, ListKeyVersions, DescribeKeyVersion.

use std::sync::Arc;

use super::Kms;
use super::requests::{Operator, Page, Paged, VersionOf};
use super::snapshot::{Changed, VersionEntry};
use crate::base::{Error, Kind, Result, random};
use crate::model::KeyVersionId;
use crate::model::key::Key;
use crate::store::{KeyVersion, Versions};

/// The most versions of an asymmetric key (the API's limit).
const ASYMMETRIC_VERSIONS: usize = 50;
/// The most versions of a symmetric key, whoever makes them, so that all of them can be kept in memory. Automatic rotation, 52 a year at
/// the most, ends there, too, and says so.
const SYMMETRIC_VERSIONS: usize = 1000;

impl Kms {
    /// CreateKeyVersion, of a key by id, alias or ARN. Of a symmetric key it is the primary version from then on: what earlier ones
    /// encrypted they decrypt.
    ///
    /// # Errors
    /// As [`Kms::list_key_versions`]; the key's state; [`Kind::UnsupportedByKey`] for a symmetric key inside an HSM, whose
    /// material does not change, and for an imported one; [`Kind::LimitExceeded`] after fifty, of a symmetric key a thousand, and when
    /// the instance's quota is used up; those of
    /// store and tier.
    pub async fn create_key_version(self: &Arc<Self>, operator: &Operator, key: &str) -> Result<VersionOf> {
        let entry = self.known(&self.resolve(key)?)?;
        let key = &entry.key;
        key.has_versions(self.served(&key.instance)?.instance.kind)?;
        takes_another(key, Versions { count: entry.versions().count(), newest: entry.rotated() })?;
        // In a task of its own: a caller that goes away leaves no half of a version.
        let (kms, key) = (Arc::clone(self), key.clone());
        let made = tokio::spawn(async move {
            let made = kms.make_version(key, takes_another).await?;
            kms.follow(Changed::Key(&made.version.key())).await;
            Ok::<_, Error>(made)
        });
        let made = made.await.map_err(Error::internal)??;
        operator.trace.uses(&made.version);
        tracing::info!(version = %made.version, by = %operator.access_key, "a key version was created");
        Ok(made)
    }

    /// Makes a version of a key and keeps it if `agrees` does, which sees the key and its versions as they are then. The snapshot has it
    /// after the next refresh.
    pub(super) async fn make_version(
        &self,
        key: Key,
        agrees: impl Fn(&Key, Versions) -> Result<()> + Send + Sync,
    ) -> Result<VersionOf> {
        let served = self.served(&key.instance)?;
        self.has_room(served)?;
        let version = KeyVersionId::from_entropy(&key.id, random::bytes());
        let created = self.now();
        let kept = self.make_material(&key, &version, created, |tier, new| tier.create(new)).await?;
        if let Err(error) = self.store.commit_version(&key.id, &kept, served.key_quota, agrees).await {
            // Nobody was told of it. Whether the commit went through is not known, so the object stays when it might have.
            let absent = |(_, versions): (Key, Vec<KeyVersion>)| versions.iter().all(|other| other.id != version);
            if self.store.key(&key.id).await.is_ok_and(|stored| stored.is_none_or(absent)) {
                self.unmake_material(&key, &version, kept).await;
            }
            return Err(error);
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

/// Whether a key with such versions takes another one now.
pub(super) fn takes_another(key: &Key, versions: Versions) -> Result<()> {
    key.state.usable(key.id.as_str())?;
    let most = if key.spec.is_symmetric() { SYMMETRIC_VERSIONS } else { ASYMMETRIC_VERSIONS };
    if versions.count < most {
        Ok(())
    } else {
        let text = format!(
            "The key {} has {} versions, {most} are the most: make another key, and let the alias point to that.",
            key.id, versions.count
        );
        Err(Error::new(Kind::LimitExceeded, text))
    }
}

fn described(version: &VersionEntry) -> VersionOf {
    VersionOf { version: version.id.clone(), created: version.created }
}
