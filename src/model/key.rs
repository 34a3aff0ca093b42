//! Keys: where their material is, what state they are in, what a state allows.

use crate::base::{Error, Kind, Result, SecretBytes, excerpt};
use crate::model::algorithm::{KeySpec, KeyUsage};
#[cfg(feature = "server")]
use crate::{
    base::Timestamp,
    model::rotation::RotationInterval,
    model::{InstanceId, KeyId, KeyVersionId, operator::KeyPolicy},
};
#[cfg(feature = "server")]
use std::sync::Arc;

/// Where the material of a key version is and how its tier finds it again.
pub enum Material {
    /// The software tier's.
    Held {
        /// The id that it was made with: two keys may have the same secret, and one of them may go.
        id: Vec<u8>,
        /// The secret itself. AES: the key; RSA and EC: PKCS #8 (RFC 5208), DER.
        secret: SecretBytes,
    },
    /// The hardware tier's: a token object with this CKA_ID, the id that it was made with.
    Resident(Vec<u8>),
}

impl Material {
    /// A second copy, for a tier to open.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match self {
            Self::Held { id, secret } => Self::Held { id: id.clone(), secret: secret.duplicate() },
            Self::Resident(id) => Self::Resident(id.clone()),
        }
    }

    /// Whether its id is that of a version of the key, or one that was made in the same way.
    #[cfg(feature = "server")]
    pub fn is_of(&self, key: &KeyId) -> bool {
        let id = std::str::from_utf8(self.id()).ok().and_then(|text| text.parse::<KeyVersionId>().ok());
        id.is_some_and(|id| id.key() == *key)
    }

    /// The id that it was made with.
    pub fn id(&self) -> &[u8] {
        match self {
            Self::Held { id, .. } | Self::Resident(id) => id,
        }
    }
}

/// A public key as SubjectPublicKeyInfo (RFC 5280, section 4.1), DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPublicKeyInfo(Vec<u8>);

impl SubjectPublicKeyInfo {
    /// Takes DER as it is; whoever uses the key parses it.
    pub fn from_der(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// The DER.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }
}

/// The API's `KeyState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// May be used.
    Enabled,
    /// May not be used until it is enabled.
    Disabled,
    /// Will be destroyed.
    PendingDeletion,
    /// Has no material yet.
    PendingImport,
}

impl KeyState {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingImport => "PendingImport",
        }
    }

    /// Whether a key in this state may be used for cryptography.
    ///
    /// # Errors
    /// The state's kind.
    pub fn usable(self, key: &str) -> Result<()> {
        match self {
            Self::Enabled => Ok(()),
            Self::Disabled => Err(Error::new(Kind::KeyDisabled, format!("The key {key} is disabled."))),
            Self::PendingDeletion => {
                Err(Error::new(Kind::KeyPendingDeletion, format!("The key {key} is waiting for its deletion.")))
            }
            Self::PendingImport => {
                Err(Error::new(Kind::KeyPendingImport, format!("The key {key} is waiting for its key material.")))
            }
        }
    }
}

impl std::str::FromStr for KeyState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Enabled, Self::Disabled, Self::PendingDeletion, Self::PendingImport]
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| Error::invalid(format!("The KeyState {:?} is not known.", excerpt(text))))
    }
}

/// The API's `Origin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Made by the service: `Aliyun_KMS`.
    Service,
    /// Imported: `EXTERNAL`.
    External,
}

/// The API's `KeyStorageMechanism`: where a hardware instance keeps the material of a key.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageMechanism {
    /// In the HSM, as an object of the token.
    HsmInternal,
    /// In the database, wrapped by a key of the HSM.
    HsmEncryptedDatabase,
}

#[cfg(feature = "server")]
impl StorageMechanism {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HsmInternal => "HsmInternal",
            Self::HsmEncryptedDatabase => "HsmEncryptedDatabase",
        }
    }
}

#[cfg(feature = "server")]
impl std::str::FromStr for StorageMechanism {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::HsmInternal, Self::HsmEncryptedDatabase].into_iter().find(|mechanism| mechanism.name() == text).ok_or_else(|| {
            let known = "it is HsmInternal or HsmEncryptedDatabase";
            Error::invalid(format!("The KeyStorageMechanism {:?} is not known; {known}.", excerpt(text)))
        })
    }
}

/// Whether the material of a key is there. That of an imported key may come and go.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is, for good.
    Present,
    /// It is, until then; from then on it is as good as absent, whoever has not erased it yet.
    Until(Timestamp),
    /// It is to be imported, for the first time or again.
    Absent,
}

impl Origin {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "Aliyun_KMS",
            Self::External => "EXTERNAL",
        }
    }
}

impl std::str::FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Service, Self::External]
            .into_iter()
            .find(|origin| origin.name() == text)
            .ok_or_else(|| Error::invalid(format!("The Origin {:?} is not known; it is Aliyun_KMS or EXTERNAL.", excerpt(text))))
    }
}

/// The API's `CreatorType`: who keys are made for.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreatorType {
    /// Whoever called CreateKey.
    User,
    /// Another service of the account; there are no such keys here.
    Service,
}

#[cfg(feature = "server")]
impl std::str::FromStr for CreatorType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "User" => Ok(Self::User),
            "Service" => Ok(Self::Service),
            _ => Err(Error::invalid(format!("The CreatorType {:?} is not known; it is User or Service.", excerpt(text)))),
        }
    }
}

/// How a key object came into its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The token made it: C_GenerateKey, C_GenerateKeyPair.
    Generated,
    /// The process brought it in: C_CreateObject.
    Created,
    /// The token unwrapped it: C_UnwrapKey.
    Unwrapped,
}

impl Arrival {
    /// As the store writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Created => "created",
            Self::Unwrapped => "unwrapped",
        }
    }
}

impl std::str::FromStr for Arrival {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Generated, Self::Created, Self::Unwrapped]
            .into_iter()
            .find(|arrival| arrival.name() == text)
            .ok_or_else(|| Error::invalid(format!("No key object comes into a token as {:?}.", excerpt(text))))
    }
}

/// What a tier reported of a key object after it was made, read back from the token (PKCS #11, section 4.9 and 4.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAttributes {
    /// How it came there.
    pub arrival: Arrival,
    /// CKA_LOCAL: generated in the token.
    pub local: bool,
    /// CKA_SENSITIVE: never shown in the clear.
    pub sensitive: bool,
    /// CKA_ALWAYS_SENSITIVE: never was otherwise.
    pub always_sensitive: bool,
    /// CKA_EXTRACTABLE: may leave, wrapped.
    pub extractable: bool,
    /// CKA_NEVER_EXTRACTABLE: never could leave.
    pub never_extractable: bool,
}

/// Whether a key may be deleted.
#[cfg(feature = "server")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeletionProtection {
    /// It may.
    #[default]
    Disabled,
    /// It may not; the text says why.
    Enabled(String),
}

/// What of a key is to be destroyed, as it was ordered through the service. A date that merely stands in the database is no order.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestructionOrders {
    /// That of the key.
    pub deletion: Option<DeletionOrder>,
    /// From when on its imported material is erased.
    pub expiry: Option<Timestamp>,
}

/// A deletion that was ordered through the service.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionOrder {
    /// The key is destroyed from this date on; until then, and until the destruction begins, it can be saved.
    Scheduled(Timestamp),
    /// The destruction that was ordered for this date was begun: the key is not saved any more.
    Begun(Timestamp),
}

#[cfg(feature = "server")]
impl DeletionOrder {
    /// From when on the key is destroyed.
    pub fn date(self) -> Timestamp {
        match self {
            Self::Scheduled(at) | Self::Begun(at) => at,
        }
    }
}

/// A key as the service knows it.
#[cfg(feature = "server")]
#[derive(Clone, Debug)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// The instance that it lives in.
    pub instance: InstanceId,
    /// What kind of key.
    pub spec: KeySpec,
    /// What it may do.
    pub usage: KeyUsage,
    /// Who made the material.
    pub origin: Origin,
    /// Its state, as it was written; [`Key::state_at`] is what holds.
    pub state: KeyState,
    /// Whether its material is there.
    pub presence: Presence,
    /// When it is destroyed; only while it waits for that, and no more when it was given up.
    pub delete_at: Option<Timestamp>,
    /// What of it may be destroyed. The dates in `presence` and `delete_at` end its use; they destroy nothing.
    pub ordered: DestructionOrders,
    /// Whether its deletion may be scheduled.
    pub deletion_protection: DeletionProtection,
    /// How often it is rotated automatically; `None` when it is not.
    pub rotation_interval: Option<RotationInterval>,
    /// Free text, at most 8192 characters.
    pub description: String,
    /// The AccessKey that made it.
    pub creator: String,
    /// When.
    pub created: Timestamp,
    /// The first version, which Encrypt, Decrypt, Sign and Verify of the instance protocol use.
    pub initial_version: KeyVersionId,
    /// The newest version, which the Advance operations and the OpenAPI encrypt with.
    pub primary_version: KeyVersionId,
    /// Its key policy; without one the default holds.
    pub policy: Option<Arc<KeyPolicy>>,
}

/// What fits together: a usage that the spec has.
///
/// # Errors
/// [`Kind::InvalidParameter`] when it has not.
pub fn fitting_usage(spec: KeySpec, usage: Option<KeyUsage>) -> Result<KeyUsage> {
    match usage {
        None => Ok(spec.usages()[0]),
        Some(usage) if spec.usages().contains(&usage) => Ok(usage),
        Some(usage) => Err(Error::invalid(format!("The KeyUsage {usage} does not fit the KeySpec {spec}."))),
    }
}
