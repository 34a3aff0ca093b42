//! What the use cases take and give: parsed, without a trace of either protocol's wire format.

mod callers;
mod sessions;

use crate::base::{SecretBytes, Timestamp};
use crate::model::access::{AuthenticationMethod, ClientKey, NetworkRuleKind, Permission, ResourcePattern, Scope};
use crate::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, MessageType, PaddingMode, SignatureAlgorithm};
use crate::model::ciphertext::Binding;
use crate::model::instance::ProtectionLevel;
use crate::model::key::{CreatorType, Key, KeyAttributes, KeyState, Origin, StorageMechanism, SubjectPublicKeyInfo};
use crate::model::operator::KeyPolicy;
use crate::model::rotation::{AutomaticRotation, RotationInterval};
use crate::model::tags::{TagKey, TagValue, TaggedResource, Tags};
use crate::model::{Alias, InstanceId, KeyId, KeyVersionId, Name};
pub use crate::store::PolicyChange;
use crate::tier::public_key::Validity;
use crate::tier::{Capability, Iv, PublicKey, Support};
pub use callers::{Caller, FederatedCaller, Operator, Reach};
pub use sessions::{AssumeRole, Assumed, CallerIdentity, NewSession};

/// Whether a ciphertext describes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Encrypt and its siblings: the initial version of the key; IV and the rest apart.
    Plain,
    /// AdvanceEncrypt and its siblings: the primary version; all in one blob. Symmetric keys only.
    Advance,
}

/// Encrypt, AdvanceEncrypt.
#[derive(Debug)]
pub struct Encrypt {
    /// The key.
    pub key: KeyReference,
    /// The key's default without one.
    pub algorithm: Option<EncryptionAlgorithm>,
    /// PKCS #7 without one, for CBC and ECB; refused with any other algorithm.
    pub padding: Option<PaddingMode>,
    /// For AES-GCM only, at most 8192 bytes.
    pub aad: Vec<u8>,
    /// What to encrypt.
    pub plaintext: SecretBytes,
}

/// The answer to [`Encrypt`].
#[derive(Debug)]
pub struct Encrypted {
    /// The key used.
    pub key: KeyId,
    /// Its version used.
    pub version: KeyVersionId,
    /// The algorithm used.
    pub algorithm: EncryptionAlgorithm,
    /// The padding used, for CBC and ECB.
    pub padding: Option<PaddingMode>,
    /// The IV drawn.
    pub iv: Iv,
    /// The ciphertext; the whole blob for [`Form::Advance`].
    pub ciphertext: Vec<u8>,
}

/// By what a request of the instance protocol names its key.
#[derive(Clone, Debug)]
pub enum KeyReference {
    /// A key id or an alias: the operation chooses the version.
    Key(String),
    /// A version, as the header `x-kms-migrationkeyversionid` of the transfer clients names it.
    Version {
        /// A key id or an alias, of which it must be a version.
        key: Option<String>,
        /// The version.
        version: KeyVersionId,
    },
}

impl<T: Into<String>> From<T> for KeyReference {
    fn from(key: T) -> Self {
        Self::Key(key.into())
    }
}

/// Decrypt.
#[derive(Debug)]
pub struct Decrypt {
    /// The key.
    pub key: KeyReference,
    /// As in [`Encrypt`].
    pub algorithm: Option<EncryptionAlgorithm>,
    /// As in [`Encrypt`].
    pub padding: Option<PaddingMode>,
    /// The IV that [`Encrypted`] gave; empty for an algorithm without one.
    pub iv: Vec<u8>,
    /// What the `aad` of [`Encrypt`] may have been, the likeliest first; at least one.
    pub aads: Vec<Vec<u8>>,
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
}

/// AdvanceDecrypt: the blob says it all; key, algorithm and IV are needed only for what Encrypt or GenerateDataKey made.
#[derive(Debug)]
pub struct AdvanceDecrypt {
    /// The key; that of the blob without it.
    pub key: Option<KeyReference>,
    /// As in [`Encrypt`].
    pub algorithm: Option<EncryptionAlgorithm>,
    /// As in [`Encrypt`].
    pub padding: Option<PaddingMode>,
    /// Checked against the blob's when it is given with one.
    pub iv: Vec<u8>,
    /// As in [`Decrypt`].
    pub aads: Vec<Vec<u8>>,
    /// The blob.
    pub ciphertext: Vec<u8>,
}

/// The answer to [`Decrypt`] and [`AdvanceDecrypt`].
#[derive(Debug)]
pub struct Decrypted {
    /// The key used.
    pub key: KeyId,
    /// Its version used.
    pub version: KeyVersionId,
    /// The algorithm used.
    pub algorithm: EncryptionAlgorithm,
    /// The padding used, for CBC and ECB.
    pub padding: Option<PaddingMode>,
    /// What was encrypted.
    pub plaintext: SecretBytes,
}

/// GenerateDataKey, AdvanceGenerateDataKey. Always AES_GCM.
#[derive(Debug)]
pub struct GenerateDataKey {
    /// The key.
    pub key: KeyReference,
    /// Only AES_GCM is served.
    pub algorithm: Option<EncryptionAlgorithm>,
    /// 1 to 1024; 32 without one.
    pub number_of_bytes: Option<i32>,
    /// At most 8192 bytes.
    pub aad: Vec<u8>,
}

/// The answer to [`GenerateDataKey`].
#[derive(Debug)]
pub struct DataKey {
    /// The data key encrypted.
    pub encrypted: Encrypted,
    /// The data key.
    pub plaintext: SecretBytes,
}

/// How a key of a pair is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// RFC 7468.
    Pem,
    /// Binary.
    Der,
}

/// GenerateDataKeyPair and its variants. Always AES_GCM.
#[derive(Debug)]
pub struct GenerateDataKeyPair {
    /// The key that encrypts the private key.
    pub key: KeyReference,
    /// Only AES_GCM is served.
    pub algorithm: Option<EncryptionAlgorithm>,
    /// What pair: RSA_* or EC_*.
    pub pair: KeySpec,
    /// How both halves are written.
    pub format: KeyFormat,
    /// At most 8192 bytes.
    pub aad: Vec<u8>,
}

/// The answer to [`GenerateDataKeyPair`].
#[derive(Debug)]
pub struct DataKeyPair {
    /// The private key (PKCS #8) encrypted.
    pub encrypted: Encrypted,
    /// The private key (PKCS #8).
    pub private_key: SecretBytes,
    /// The public key (SubjectPublicKeyInfo).
    pub public_key: Vec<u8>,
    /// What pair.
    pub pair: KeySpec,
}

/// Sign.
#[derive(Debug)]
pub struct Sign {
    /// The key.
    pub key: KeyReference,
    /// The key's default without one.
    pub algorithm: Option<SignatureAlgorithm>,
    /// Whether `message` is hashed already.
    pub message_type: MessageType,
    /// The message or its 32-byte digest.
    pub message: Vec<u8>,
}

/// The answer to [`Sign`].
#[derive(Debug)]
pub struct Signed {
    /// The key used.
    pub key: KeyId,
    /// Its version used.
    pub version: KeyVersionId,
    /// The algorithm used.
    pub algorithm: SignatureAlgorithm,
    /// The signature; ECDSA in DER.
    pub signature: Vec<u8>,
}

/// Verify.
#[derive(Debug)]
pub struct Verify {
    /// What was signed, and by what.
    pub sign: Sign,
    /// The signature.
    pub signature: Vec<u8>,
}

/// The answer to [`Verify`].
#[derive(Debug)]
pub struct Verified {
    /// The key used.
    pub key: KeyId,
    /// Its version used.
    pub version: KeyVersionId,
    /// The algorithm used.
    pub algorithm: SignatureAlgorithm,
    /// Whether the signature is right.
    pub value: bool,
}

/// The answer to GetPublicKey.
#[derive(Debug)]
pub struct PublicKeyOf {
    /// The key.
    pub key: KeyId,
    /// Its version.
    pub version: KeyVersionId,
    /// SubjectPublicKeyInfo in PEM, 64-column lines, line end at the end.
    pub pem: String,
}

/// CreateKey.
#[derive(Debug, Default)]
pub struct CreateKey {
    /// Without one a default instance: that of the protection level, the first without one.
    pub instance: Option<InstanceId>,
    /// That of the instance without one.
    pub protection_level: Option<ProtectionLevel>,
    /// For instances of the kind Hardware: HsmInternal without one.
    pub storage_mechanism: Option<StorageMechanism>,
    /// Aliyun_AES_256 without one.
    pub spec: Option<KeySpec>,
    /// The spec's default without one.
    pub usage: Option<KeyUsage>,
    /// Whether the material is made or imported; it is made without one.
    pub origin: Option<Origin>,
    /// At most 8192 characters.
    pub description: String,
    /// How often it is rotated automatically; never without one.
    pub rotation: Option<RotationInterval>,
    /// What people put on it.
    pub tags: Tags,
    /// The default one without it.
    pub policy: Option<KeyPolicy>,
}

/// ImportKeyMaterial.
#[derive(Debug)]
pub struct ImportKeyMaterial {
    /// A key id.
    pub key: String,
    /// As [`ImportParameters`] gave it.
    pub token: Vec<u8>,
    /// What the public key wraps: the material, 256 bytes; or an AES key, 256 bytes, and the material wrapped by that (AES Key Wrap
    /// with Padding, RFC 5649), which is not for keys that a token unwraps.
    pub wrapped: Vec<u8>,
    /// When the material expires; never without one.
    pub expires: Option<Timestamp>,
}

/// The answer to GetParametersForImport.
#[derive(Debug)]
pub struct ImportParameters {
    /// The key.
    pub key: KeyId,
    /// Opaque; for this key and this public key alone.
    pub token: Vec<u8>,
    /// RSA-2048, to wrap the material by.
    pub public_key: SubjectPublicKeyInfo,
    /// Until when both serve.
    pub expires: Timestamp,
}

/// A key with all that DescribeKey tells.
#[derive(Clone, Debug)]
pub struct KeyDescription {
    /// The key.
    pub key: Key,
    /// That of its instance.
    pub protection_level: ProtectionLevel,
    /// What the token said of the object when it was made; `None` in a software instance.
    pub attributes: Option<KeyAttributes>,
    /// What the tier can do with a key of this spec and usage, with what is done outside the token.
    pub abilities: Vec<Capability>,
    /// How the material of an imported key gets to where it is used.
    pub import: Option<Support>,
    /// When the newest version was made.
    pub rotated: Timestamp,
    /// Whether it is rotated automatically, and when next.
    pub rotation: AutomaticRotation,
    /// How many AES-GCM encryptions were counted for the primary version; they end at 2^32 (SP 800-38D, section 8.3).
    pub encryptions: u64,
}

/// One condition of ListKeys: the field has one of the values.
#[derive(Clone, Debug)]
pub enum KeyFilter {
    /// `KeyState`.
    State(Vec<KeyState>),
    /// `KeySpec`.
    Spec(Vec<KeySpec>),
    /// `KeyUsage`.
    Usage(Vec<KeyUsage>),
    /// `ProtectionLevel`.
    ProtectionLevel(Vec<ProtectionLevel>),
    /// `DKMSInstanceId`.
    Instance(Vec<String>),
    /// `KeyId`.
    Id(Vec<String>),
    /// `Creator`.
    Creator(Vec<String>),
    /// `CreatorType`: `User`; keys of other services do not exist here.
    CreatorType(Vec<CreatorType>),
    /// `AliasName`: one of these points to the key.
    AliasName(Vec<String>),
    /// `TagKey` and `TagValue`: some tag has one of these keys and one of these values; no keys, or no values, mean any.
    Tag {
        /// `TagKey`.
        keys: Vec<String>,
        /// `TagValue`.
        values: Vec<String>,
    },
}

/// Which tags UntagResources removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untag {
    /// All that there are.
    All,
    /// Those with these keys.
    Keys(Vec<TagKey>),
}

/// One condition of ListTagResources: there is a tag of this key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFilter {
    /// The key.
    pub key: TagKey,
    /// Its value; any without one.
    pub value: Option<TagValue>,
}

/// One of ListTagResources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRow {
    /// What has the tag.
    pub resource: TaggedResource,
    /// The tag's key.
    pub key: TagKey,
    /// The tag's value.
    pub value: TagValue,
}

/// A page of ListTagResources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPage {
    /// At most 200.
    pub rows: Vec<TagRow>,
    /// The last of them, unless it is the last of all.
    pub next: Option<(TaggedResource, TagKey)>,
}

/// One of ListKeyVersions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionOf {
    /// Its id.
    pub version: KeyVersionId,
    /// When it was made.
    pub created: Timestamp,
}

/// The answer to an encryption of the OpenAPI.
#[derive(Debug)]
pub struct OperatorEncrypted {
    /// The key used.
    pub key: KeyId,
    /// Its version used.
    pub version: KeyVersionId,
    /// The CiphertextBlob; the bare ciphertext of an asymmetric key.
    pub ciphertext: Vec<u8>,
}

/// What ReEncrypt decrypts with.
pub enum ReEncryptSource<'a> {
    /// The key version that the blob names, bound to this.
    Symmetric(Binding),
    /// As AsymmetricDecrypt.
    Asymmetric {
        /// Id, alias or ARN.
        key: &'a str,
        /// Its version.
        version: KeyVersionId,
        /// RSAES_OAEP.
        algorithm: EncryptionAlgorithm,
    },
}

/// Whom ExportDataKey encrypts a data key to.
pub struct ExportTo {
    /// RSA.
    pub public_key: PublicKey,
    /// RSAES_OAEP.
    pub algorithm: EncryptionAlgorithm,
}

/// The answer to ExportDataKey.
#[derive(Debug)]
pub struct Exported {
    /// The key used.
    pub key: KeyId,
    /// Its version used.
    pub version: KeyVersionId,
    /// The data key, encrypted.
    pub data_key: Vec<u8>,
}

/// The answer to GenerateMac.
pub struct MacOf {
    /// The key used.
    pub key: KeyId,
    /// The code.
    pub code: SecretBytes,
}

/// The answer to VerifyMac.
#[derive(Debug)]
pub struct MacVerified {
    /// The key used.
    pub key: KeyId,
    /// Whether the code is right.
    pub validity: Validity,
}

/// The answer to a decryption of the OpenAPI.
#[derive(Debug)]
pub struct OperatorDecrypted {
    /// The key used.
    pub key: KeyId,
    /// Its version used.
    pub version: KeyVersionId,
    /// What was encrypted.
    pub plaintext: SecretBytes,
}

/// One of ListAliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasOf {
    /// The alias.
    pub alias: Alias,
    /// The key that it points to.
    pub key: KeyId,
}

/// Which part of a list: `number` from 1, `size` from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub number: u32,
    /// From 1 to 100.
    pub size: u32,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Paged<T> {
    /// The part.
    pub items: Vec<T>,
    /// Which part.
    pub page: Page,
    /// How many there are in all.
    pub total: usize,
}

/// CreateNetworkRule.
#[derive(Debug)]
pub struct CreateNetworkRule {
    /// Its name.
    pub name: Name,
    /// Which endpoints it speaks of.
    pub kind: NetworkRuleKind,
    /// The addresses as given, not yet parsed.
    pub sources: Vec<String>,
    /// Free text.
    pub description: String,
}

/// CreatePolicy.
#[derive(Debug)]
pub struct CreatePolicy {
    /// Its name.
    pub name: Name,
    /// Where it holds.
    pub scope: Scope,
    /// What it grants.
    pub permissions: Vec<Permission>,
    /// On what.
    pub resources: Vec<ResourcePattern>,
    /// The names of its network rules.
    pub rules: Vec<Name>,
    /// `AccessControlRules` as it was given.
    pub rules_text: String,
    /// Free text.
    pub description: String,
}

/// CreateApplicationAccessPoint.
#[derive(Debug)]
pub struct CreateAccessPoint {
    /// Its name.
    pub name: Name,
    /// How its callers prove who they are.
    pub method: AuthenticationMethod,
    /// The names of its policies, at most three; they must exist.
    pub policies: Vec<Name>,
    /// Free text.
    pub description: String,
}

/// CreateClientKey.
pub struct CreateClientKey {
    /// Of which access point.
    pub access_point: Name,
    /// Protects the private key: 8 to 64 characters out of digits, letters and `~!@#$%^&*?_-`, at least two of the three kinds.
    pub password: SecretBytes,
    /// From when and until when; now and five years without it.
    pub validity: Option<(Timestamp, Timestamp)>,
}

/// The answer to [`CreateClientKey`]: the only time that the private key is seen.
pub struct CreatedClientKey {
    /// What the service keeps.
    pub client_key: ClientKey,
    /// PKCS #12, protected by the password.
    pub private_key: SecretBytes,
}

/// An instance with all that GetKmsInstance tells.
#[derive(Clone, Debug)]
pub struct InstanceDescription {
    /// The instance.
    pub instance: crate::model::instance::Instance,
    /// Root, then issuing CA, PEM.
    pub ca_chain_pem: String,
    /// How many keys it has.
    pub keys: usize,
}
