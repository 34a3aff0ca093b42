//! What the cryptographic path reads: keys, access and operators in memory, as of some value of the store's change counter.

mod following;
mod standing;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, OnceCell};

use super::last_use::LastUse;
use super::opening;
use super::unusable::{UnusableRows, cannot_be_used};
use crate::base::{Error, Kind, Result, SecretBytes, Timestamp};
use crate::model::access::{AccessPoint, Callers, ClientKey, Directory, NetworkRule, Policy};
use crate::model::algorithm::KeySpec;
use crate::model::key::{Key, KeyAttributes, Material, SubjectPublicKeyInfo};
use crate::model::oidc::OidcProvider;
use crate::model::operator::{AccessKeyInfo, Identity, Role, UnclaimedPolicies};
use crate::model::session::Session;
use crate::model::tags::Tags;
use crate::model::{AccessKeyId, Alias, ClientKeyId, KeyId, KeyVersionId, Name};
use crate::store::{AccessRows, Fingerprint, KeyRow, KeyVersion, Rows, Store, UnusableRow};
use crate::tier::{KeyHandle, PublicKey, StoredKey, Tier};

pub(super) use following::Changed;
use following::Unread;
pub use standing::Standing;

/// The most AES-GCM encryptions under one key version with random IVs (SP 800-38D, section 8.3).
pub(super) const ENCRYPTIONS: u64 = 1 << 32;
/// From here on the log warns.
const ENCRYPTIONS_WARNING: u64 = 1 << 31;
/// How far ahead of the real number the store's is written: so much of the 2^32 is lost by a restart. At 45,000 encryptions a
/// second half of it lasts three seconds, and the number is written every second.
const RESERVE: u64 = 1 << 18;

/// A client key with what its requests are verified by.
pub struct VerifiedClientKey {
    /// Its id.
    pub id: ClientKeyId,
    /// The access point that it belongs to.
    pub access_point: Name,
    /// From when it may be used.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// The RSA-2048 key of its certificate.
    pub public_key: PublicKey,
    /// When it was used.
    pub last_use: Arc<LastUse>,
}

/// An AccessKey with what its requests are verified by.
pub struct KnownAccessKey {
    /// Whose it is, and whether it may be used.
    pub info: AccessKeyInfo,
    /// What they are signed with.
    pub secret: SecretBytes,
}

/// All that is in memory.
pub(super) struct Snapshot {
    access: ArcSwap<Access>,
    /// Whether callers are judged by it.
    standing: ArcSwap<Standing>,
    keys: RwLock<HashMap<KeyId, Arc<KeyEntry>>>,
    revision: AtomicU64,
    /// When it was last known to be what the store has.
    current: std::sync::Mutex<Instant>,
    pub(super) unusable: UnusableRows,
    /// One refresh at a time: a slow one must not put an older state over a newer.
    refreshing: Mutex<Unread>,
}

/// What decides about access.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) network_rules: HashMap<Name, NetworkRule>,
    pub(super) policies: HashMap<Name, Policy>,
    pub(super) access_points: HashMap<Name, AccessPoint>,
    pub(super) client_keys: Vec<ClientKey>,
    /// The key of each alias.
    pub(super) aliases: BTreeMap<Alias, KeyId>,
    /// Who may have permissions at the shared gateway.
    pub(super) identities: HashMap<Name, Identity>,
    /// Policies of operators or roles that are not there.
    pub(super) unclaimed_policies: UnclaimedPolicies,
    roles: HashMap<Name, Role>,
    oidc_providers: HashMap<Name, OidcProvider>,
    verified: HashMap<String, Arc<VerifiedClientKey>>,
    access_keys: HashMap<String, Arc<KnownAccessKey>>,
}

/// A key with its versions and tags.
pub(super) struct KeyEntry {
    pub(super) key: Key,
    pub(super) tags: Tags,
    versions: Vec<Arc<VersionEntry>>,
    unusable_versions: Vec<KeyVersionId>,
}

/// A version with its material, opened at its first use.
pub(super) struct VersionEntry {
    pub(super) id: KeyVersionId,
    pub(super) created: Timestamp,
    pub(super) attributes: Option<KeyAttributes>,
    material: Option<Material>,
    public_key: Option<SubjectPublicKeyInfo>,
    fingerprint: Option<Fingerprint>,
    handle: OnceCell<Arc<dyn KeyHandle>>,
    encryptions: Arc<AtomicU64>,
    recorded: Arc<AtomicU64>,
}

impl Directory for Access {
    fn policy(&self, name: &Name) -> Option<&Policy> {
        self.policies.get(name)
    }

    fn network_rule(&self, name: &Name) -> Option<&NetworkRule> {
        self.network_rules.get(name)
    }
}

impl Access {
    /// The owner of an AccessKey, if both are still there.
    pub(super) fn identity_of(&self, access_key: &AccessKeyId) -> Option<&Identity> {
        self.identities.get(&self.access_keys.get(access_key.as_str())?.info.owner)
    }

    /// The role of this name.
    pub(super) fn role(&self, name: &Name) -> Option<&Role> {
        self.roles.get(name)
    }

    /// The policies that name a network rule, whether it is there or not; in the order of their names.
    pub(super) fn policies_with_rule(&self, rule: &Name) -> Vec<&str> {
        sorted(self.policies.values().filter(|policy| policy.rules.contains(rule)).map(|policy| policy.name.as_str()))
    }

    /// The access points that name a policy, whether it is there or not; in the order of their names.
    pub(super) fn access_points_with_policy(&self, policy: &Name) -> Vec<&str> {
        sorted(self.access_points.values().filter(|point| point.policies.contains(policy)).map(|point| point.name.as_str()))
    }

    /// The OIDC provider of this name.
    pub(super) fn oidc_provider(&self, name: &Name) -> Option<&OidcProvider> {
        self.oidc_providers.get(name)
    }

    /// The access point of a client key, if both are still there.
    pub(super) fn access_point_of(&self, client_key: &ClientKeyId) -> Option<&AccessPoint> {
        let client_key = self.verified.get(client_key.as_str())?;
        self.access_points.get(&client_key.access_point).filter(|point| point.callers == Callers::ClientKeys)
    }

    /// The access point whose callers are the sessions of this one's role.
    pub(super) fn access_point_of_session(&self, session: &Session) -> Option<&AccessPoint> {
        self.access_points.get(&session.role).filter(|point| point.is_of(session))
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

impl Snapshot {
    /// Reads everything that can be used.
    pub(super) async fn load(store: &Store) -> Result<Self> {
        // The counter first: what is written in between is read again by the next refresh.
        let counter = store.revision().await?;
        let revision = counter.unwrap_or_default();
        let mut unread = Unread::nothing(revision);
        let unusable = UnusableRows::default();
        let access = load_access(store, None, (&unusable, unread.counter_fault(counter))).await?;
        let Rows { usable, unusable: of_keys } = store.key_rows().await?;
        let keys = usable.into_iter().map(|row| (row.key.id.clone(), Arc::new(KeyEntry::new(row))));
        let keys = RwLock::new(keys.collect());
        unusable.keys_were_read(of_keys);
        unusable.unclaimed_were_read(store.unclaimed_of_keys().await?);
        Ok(Self {
            access: ArcSwap::from_pointee(access),
            standing: ArcSwap::from_pointee(Standing::Current),
            keys,
            revision: AtomicU64::new(revision),
            current: std::sync::Mutex::new(Instant::now()),
            unusable,
            refreshing: Mutex::new(unread),
        })
    }

    /// How long ago it was last known to be what the store has.
    pub(super) fn age(&self) -> Duration {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Adds a key or replaces what is known of it; versions that are there keep their counts, and their handles if they have the same
    /// material.
    pub(super) fn put_key(&self, row: KeyRow) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut entry = KeyEntry::new(row);
        if let Some(known) = keys.get(&entry.key.id) {
            for version in &mut entry.versions {
                if let Some(known) = known.version(&version.id) {
                    *version = known.followed_by(version);
                }
            }
        }
        keys.insert(entry.key.id.clone(), Arc::new(entry));
    }

    pub(super) fn key(&self, id: &KeyId) -> Option<Arc<KeyEntry>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn keys(&self) -> Vec<Arc<KeyEntry>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The ids of the keys that are there and cannot be used, in their order.
    pub(super) fn unusable_keys(&self) -> Vec<KeyId> {
        let mut ids = self.unusable.keys();
        let known = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        ids.retain(|id| !known.contains_key(id));
        ids.into_iter().collect()
    }

    /// What is known of access, for what comes after a decision. Nobody is judged by it: see [`Snapshot::judging`].
    pub(super) fn access(&self) -> arc_swap::Guard<Arc<Access>> {
        self.access.load()
    }

    pub(super) fn client_key(&self, id: &str) -> Result<Option<Arc<VerifiedClientKey>>> {
        Ok(self.judging()?.verified.get(id).cloned())
    }

    pub(super) fn client_keys(&self) -> Vec<Arc<VerifiedClientKey>> {
        self.access.load().verified.values().cloned().collect()
    }

    pub(super) fn access_key(&self, id: &str) -> Result<Option<Arc<KnownAccessKey>>> {
        Ok(self.judging()?.access_keys.get(id).cloned())
    }
}

/// Reads anew; uses of client keys that the store does not know yet are taken over from what was known.
async fn load_access(
    store: &Store,
    known: Option<&Access>,
    (unusable, counter_fault): (&UnusableRows, Option<UnusableRow>),
) -> Result<Access> {
    let AccessRows { tables, identities, unclaimed_policies, roles, oidc_providers, access_keys, aliases, unusable: mut found } =
        store.access_rows().await?;
    let mut verified_keys = HashMap::new();
    for key in &tables.client_keys {
        match verified(key, known.and_then(|known| known.verified.get(key.id.as_str()))) {
            Ok(verified) => drop(verified_keys.insert(key.id.to_string(), Arc::new(verified))),
            Err(row) => found.push(row),
        }
    }
    found.extend(counter_fault);
    found.extend(store.false_deletions().await?);
    unusable.access_was_read(found);
    let access_keys = access_keys.into_iter().map(|key| KnownAccessKey { info: key.info, secret: key.secret });
    Ok(Access {
        verified: verified_keys,
        network_rules: tables.network_rules.into_iter().map(|rule| (rule.name.clone(), rule)).collect(),
        policies: tables.policies.into_iter().map(|policy| (policy.name.clone(), policy)).collect(),
        access_points: tables.access_points.into_iter().map(|point| (point.name.clone(), point)).collect(),
        client_keys: tables.client_keys,
        aliases: aliases.into_iter().collect(),
        identities: identities.into_iter().map(|identity| (identity.name.clone(), identity)).collect(),
        unclaimed_policies,
        roles: roles.into_iter().map(|role| (role.name.clone(), role)).collect(),
        oidc_providers: oidc_providers.into_iter().map(|provider| (provider.name.clone(), provider)).collect(),
        access_keys: access_keys.map(|key| (key.info.id.to_string(), Arc::new(key))).collect(),
    })
}

/// A certificate that does not parse verifies nothing.
fn verified(client_key: &ClientKey, known: Option<&Arc<VerifiedClientKey>>) -> Result<VerifiedClientKey, UnusableRow> {
    let parsed = x509_parser::parse_x509_certificate(&client_key.certificate).ok().and_then(|(_, certificate)| {
        let spki = SubjectPublicKeyInfo::from_der(certificate.public_key().raw.to_vec());
        PublicKey::from_spki(KeySpec::Rsa2048, &spki).ok()
    });
    let Some(public_key) = parsed else {
        let why = "its certificate does not parse".to_owned();
        return Err(UnusableRow { table: "client_keys", row: client_key.id.to_string(), why });
    };
    Ok(VerifiedClientKey {
        id: client_key.id.clone(),
        access_point: client_key.access_point.clone(),
        not_before: client_key.not_before,
        not_after: client_key.not_after,
        public_key,
        last_use: known.map_or_else(|| Arc::new(LastUse::recorded(client_key.last_used)), |known| Arc::clone(&known.last_use)),
    })
}

impl KeyEntry {
    fn new(KeyRow { key, versions, unusable_versions, tags }: KeyRow) -> Self {
        let versions = versions.into_iter().map(|version| Arc::new(VersionEntry::new(version))).collect();
        Self { key, tags, versions, unusable_versions }
    }

    pub(super) fn version(&self, id: &KeyVersionId) -> Option<Arc<VersionEntry>> {
        self.versions.iter().find(|version| version.id == *id).cloned()
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = &Arc<VersionEntry>> {
        self.versions.iter()
    }

    /// When the newest version was made.
    pub(super) fn rotated(&self) -> Timestamp {
        self.versions.iter().map(|version| version.created).max().unwrap_or(self.key.created)
    }

    /// A version that the key names.
    pub(super) fn named_version(&self, id: &KeyVersionId) -> Result<Arc<VersionEntry>> {
        self.version(id).ok_or_else(|| {
            if self.unusable_versions.contains(id) {
                return cannot_be_used(id.as_str());
            }
            Error::new(Kind::KeyVersionNotFound, format!("There is no key version {id}."))
        })
    }
}

impl VersionEntry {
    fn new(version: KeyVersion) -> Self {
        Self {
            id: version.id,
            created: version.created,
            attributes: version.attributes,
            material: version.material,
            public_key: version.public_key,
            fingerprint: version.fingerprint,
            handle: OnceCell::new(),
            encryptions: Arc::new(AtomicU64::new(version.encryptions)),
            recorded: Arc::new(AtomicU64::new(version.encryptions)),
        }
    }

    /// Itself if the material is the same, else the other with the counts of this one: it is the same key, whatever came and went.
    fn followed_by(self: Arc<Self>, next: &Arc<Self>) -> Arc<Self> {
        let id = |entry: &Self| entry.material.as_ref().map(|material| material.id().to_vec());
        if id(&self) == id(next) {
            return self;
        }
        Arc::new(Self {
            id: next.id.clone(),
            created: next.created,
            attributes: next.attributes,
            material: next.material.as_ref().map(Material::duplicate),
            public_key: next.public_key.clone(),
            fingerprint: next.fingerprint,
            handle: OnceCell::new(),
            encryptions: Arc::clone(&self.encryptions),
            recorded: Arc::clone(&self.recorded),
        })
    }

    /// The handle, opened now if this is the first use; callers at once wait for one opening.
    pub(super) async fn handle(&self, key: &Key, tier: &dyn Tier, store: &Store) -> Result<&Arc<dyn KeyHandle>> {
        self.handle
            .get_or_try_init(async || {
                // What erased it came between the look at the key's state and this.
                let Some(material) = &self.material else { return Err(key.awaits_material()) };
                let (material, public_key) = (material.duplicate(), self.public_key.clone());
                let stored = StoredKey { spec: key.spec, usage: key.usage, material, public_key, witness: None };
                opening::open(store, tier, &self.id, stored, self.fingerprint).await
            })
            .await
    }

    /// The id of the token object, of a key in a token.
    pub(super) fn resident(&self) -> Option<&[u8]> {
        match &self.material {
            Some(Material::Resident(id)) => Some(id),
            Some(Material::Held { .. }) | None => None,
        }
    }

    /// Counts one AES-GCM encryption.
    ///
    /// # Errors
    /// [`Kind::LimitExceeded`] when there were 2^32.
    pub(super) fn count_encryption(&self) -> Result<()> {
        let before = self.encryptions.fetch_add(1, Ordering::AcqRel);
        if before >= ENCRYPTIONS {
            self.encryptions.fetch_sub(1, Ordering::AcqRel);
            let text = format!("The key version {} has made 2^32 encryptions and makes no more; create another key.", self.id);
            return Err(Error::new(Kind::LimitExceeded, text));
        }
        if before == ENCRYPTIONS_WARNING {
            tracing::warn!(version = %self.id, "the key version has made half of the encryptions that it may make");
        }
        Ok(())
    }

    /// How many AES-GCM encryptions were counted.
    pub(super) fn encryptions(&self) -> u64 {
        self.encryptions.load(Ordering::Acquire)
    }

    /// What the store is to note, when its number is not far enough ahead any more.
    pub(super) fn reserve(&self) -> Option<u64> {
        let (counted, recorded) = (self.encryptions(), self.recorded.load(Ordering::Acquire));
        (counted > 0 && counted + RESERVE / 2 > recorded && recorded < ENCRYPTIONS).then_some(counted + RESERVE)
    }

    /// The store has noted that number.
    pub(super) fn reserved(&self, count: u64) {
        self.recorded.store(count, Ordering::Release);
    }
}
