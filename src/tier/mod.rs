//! Floor 2: the tiers, what holds key material, and the contract they share.
//!
//! A tier gets a key spec, an id or a [`Material`], never a caller, a name or the store; the tiers do not know each other.
//! What a key can do shows by presence: [`KeyHandle::cipher`] and its siblings are `Option`s, and no method answers "not
//! supported". The conformance suite in `tests/` holds every tier to this contract:
//!
//! * Every call ends by its deadline, with [`Kind::Throttled`] when it could not be served in time.
//! * Every future may be dropped at any moment: no session is lost, no object leaked, and the work that already reached the
//!   token is finished or undone behind the scenes.
//! * A decryption that fails is [`Kind::Undecryptable`], whatever the cause, with one text.
//! * A create that was answered with success survives a crash of the process.
//! * What is not in [`Capabilities`] is refused by `create`, with the reason; it never appears at the first use.

#[cfg(feature = "software")]
pub mod envelope;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod public_key;
#[cfg(feature = "software")]
pub mod software;
pub mod unwrapper;

mod check_value;
mod ecies;
#[cfg(feature = "pkcs11")]
mod oaep;
#[cfg(any(feature = "pkcs11", feature = "software"))]
mod padding;

use std::future::Future;
use std::hash::{DefaultHasher, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Error, Kind, Result, SecretBytes};
use crate::model::algorithm::{EncryptionAlgorithm, Family, KeySpec, KeyUsage, MacAlgorithm, PaddingMode, SignatureAlgorithm};
use crate::model::key::{KeyAttributes, Material, SubjectPublicKeyInfo};

pub use check_value::{CheckValue, Witness};
#[cfg(feature = "pkcs11")]
pub use pkcs11::status;
pub use public_key::PublicKey;
pub use unwrapper::{Unwrapper, Wrapped};

/// The answer of a tier, to be awaited; it may be dropped at any moment.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What holds key material.
pub trait Tier: Send + Sync {
    /// What it is and what it can do; no call to a token. A tier that has not reached its token yet knows no capabilities.
    fn describe(&self) -> Arc<Description>;

    /// Makes a key. The id comes from the caller, so that a crash between token and store leaves something that can be found.
    fn create(&self, key: NewKey) -> Work<'_, Created>;

    /// Makes a key out of given material. AES and HMAC: the key; RSA and EC: PKCS #8, DER.
    fn import(&self, key: NewKey, material: SecretBytes) -> Work<'_, Created>;

    /// Makes keys out of material that only its token sees, when it has one that can.
    fn unwrapper(&self) -> Option<&dyn Unwrapper>;

    /// Gives a handle to a key, fails with [`Kind::KeyNotFound`] when the material is gone.
    fn open(&self, key: StoredKey) -> Work<'_, Arc<dyn KeyHandle>>;

    /// Destroys the material for good. Handles to it stop working. No error when it is gone already.
    fn destroy(&self, material: Material) -> Work<'_, ()>;

    /// The ids of all key material that this tier made and still holds; empty for a tier that keeps none itself.
    fn residents(&self) -> Work<'_, Vec<Vec<u8>>>;

    /// Random bytes, from the token where there is one; at most [`RANDOM_LIMIT`].
    fn random(&self, share: Share, length: usize) -> Work<'_, SecretBytes>;

    /// Whether it works: a real operation, not "configured".
    fn health(&self) -> Work<'_, ()>;

    /// How its tokens are, one by one; empty for a tier without tokens.
    #[cfg(feature = "pkcs11")]
    fn slots(&self) -> Vec<status::SlotStatus>;

    /// Ends everything in order: calls that run are waited for, sessions closed, logged out, finalised. Later calls are refused.
    fn close(&self) -> Work<'_, ()>;
}

/// Whose call it is, for a fair share of a busy token; a number that means nothing to a tier. The default is the service itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u64);

impl Share {
    /// The share of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The share of whoever has this name: the same for the same name, as long as the process runs.
    pub fn of(name: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(name);
        Self(hasher.finish())
    }
}

/// The most random bytes of one call.
pub const RANDOM_LIMIT: usize = 4096;

/// A key that can be used.
pub trait KeyHandle: Send + Sync {
    /// Its spec.
    fn spec(&self) -> KeySpec;

    /// Encrypts and decrypts, when usage and spec allow that.
    fn cipher(&self) -> Option<&dyn Cipher>;

    /// Signs, when usage and spec allow that.
    fn signer(&self) -> Option<&dyn Signer>;

    /// Computes message authentication codes, when usage and spec allow that.
    fn mac(&self) -> Option<&dyn Mac>;

    /// The public half of a pair: verifies, encrypts, is shown; needs no token.
    fn public_key(&self) -> Option<&PublicKey>;

    /// What the key is known again by, of one that a token was asked for without a [`Witness`], and that can show it.
    fn check_value(&self) -> Option<&CheckValue>;
}

/// Encrypts and decrypts with one key.
pub trait Cipher: Send + Sync {
    /// Encrypts. IVs are the tier's, never the caller's. An `Encryption` that does not fit the key is
    /// [`Kind::UnsupportedOperation`], a plaintext of a wrong length
    /// [`Kind::InvalidParameter`].
    fn encrypt(&self, share: Share, how: Encryption, plaintext: SecretBytes) -> Work<'_, Encrypted>;

    /// Decrypts. All that can be wrong with the ciphertext is one mute kind.
    fn decrypt(&self, share: Share, how: Decryption, ciphertext: Vec<u8>) -> Work<'_, SecretBytes>;
}

/// Signs with one key.
pub trait Signer: Send + Sync {
    /// Signs a SHA-256 digest. ECDSA signatures are DER.
    fn sign(&self, share: Share, algorithm: SignatureAlgorithm, digest: Sha256Digest) -> Work<'_, Vec<u8>>;
}

/// Computes message authentication codes with one key.
pub trait Mac: Send + Sync {
    /// The code of a message of at most [`MAC_MESSAGE_LIMIT`] bytes, whole. An algorithm that is not the key's is
    /// [`Kind::UnsupportedOperation`]. It is a secret while it is compared with a given one.
    fn mac(&self, share: Share, algorithm: MacAlgorithm, message: SecretBytes) -> Work<'_, SecretBytes>;
}

/// The most bytes of a message for a code: what Encrypt takes, the API names no limit.
pub const MAC_MESSAGE_LIMIT: usize = 6 * 1024;

/// A SHA-256 digest (FIPS 180-4).
pub type Sha256Digest = [u8; 32];

/// How to encrypt: an algorithm with the parameters that only it has.
pub enum Encryption {
    /// AES-GCM with additional authenticated data.
    AesGcm {
        /// At most [`AAD_LIMIT`] bytes.
        aad: Vec<u8>,
    },
    /// AES-CBC.
    AesCbc {
        /// How the last block is filled.
        padding: PaddingMode,
    },
    /// AES-ECB.
    AesEcb {
        /// How the last block is filled.
        padding: PaddingMode,
    },
    /// RSAES-OAEP with one hash for label and MGF1.
    RsaesOaep(OaepHash),
    /// ECIES_DH_SHA_1_XOR_HMAC.
    Ecies,
}

/// How to decrypt: what [`Encryption`] said and the IV that it drew.
pub enum Decryption {
    /// AES-GCM; the tag is the ciphertext's last 16 bytes.
    AesGcm {
        /// As it was drawn.
        iv: [u8; 12],
        /// As it was given.
        aad: Vec<u8>,
    },
    /// AES-CBC.
    AesCbc {
        /// As it was drawn.
        iv: [u8; 16],
        /// As it was given.
        padding: PaddingMode,
    },
    /// AES-ECB.
    AesEcb {
        /// As it was given.
        padding: PaddingMode,
    },
    /// RSAES-OAEP.
    RsaesOaep(OaepHash),
    /// ECIES_DH_SHA_1_XOR_HMAC.
    Ecies,
}

/// The most bytes of additional authenticated data (the API's limit).
pub const AAD_LIMIT: usize = 8192;

/// The hash of RSAES-OAEP, for label and MGF1 alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OaepHash {
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
}

impl Encryption {
    /// The algorithm's name.
    pub fn algorithm(&self) -> EncryptionAlgorithm {
        match self {
            Self::AesGcm { .. } => EncryptionAlgorithm::AesGcm,
            Self::AesCbc { .. } => EncryptionAlgorithm::AesCbc,
            Self::AesEcb { .. } => EncryptionAlgorithm::AesEcb,
            Self::RsaesOaep(OaepHash::Sha256) => EncryptionAlgorithm::RsaesOaepSha256,
            Self::RsaesOaep(OaepHash::Sha1) => EncryptionAlgorithm::RsaesOaepSha1,
            Self::Ecies => EncryptionAlgorithm::EciesDhSha1XorHmac,
        }
    }
}

impl Decryption {
    /// The algorithm's name.
    pub fn algorithm(&self) -> EncryptionAlgorithm {
        match self {
            Self::AesGcm { .. } => EncryptionAlgorithm::AesGcm,
            Self::AesCbc { .. } => EncryptionAlgorithm::AesCbc,
            Self::AesEcb { .. } => EncryptionAlgorithm::AesEcb,
            Self::RsaesOaep(OaepHash::Sha256) => EncryptionAlgorithm::RsaesOaepSha256,
            Self::RsaesOaep(OaepHash::Sha1) => EncryptionAlgorithm::RsaesOaepSha1,
            Self::Ecies => EncryptionAlgorithm::EciesDhSha1XorHmac,
        }
    }
}

/// A ciphertext and what its decryption needs besides the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// What was drawn for it.
    pub iv: Iv,
    /// The ciphertext; for AES-GCM with the 16-byte tag at its end.
    pub ciphertext: Vec<u8>,
}

/// The IV of an encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iv {
    /// ECB and asymmetric algorithms have none.
    None,
    /// AES-GCM.
    Gcm([u8; 12]),
    /// AES-CBC.
    Cbc([u8; 16]),
}

impl Iv {
    /// The bytes; none for [`Iv::None`].
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Gcm(iv) => iv,
            Self::Cbc(iv) => iv,
        }
    }
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// How the tier finds it again; becomes CKA_ID. The text of the key version id. Never that of an earlier key: what comes back to
    /// a token after its destruction is destroyed again.
    pub id: Vec<u8>,
    /// What a person sees; becomes CKA_LABEL. The key id.
    pub label: String,
    /// What kind.
    pub spec: KeySpec,
    /// What it may do, and nothing else.
    pub usage: KeyUsage,
}

/// A key that was made.
pub struct Created {
    /// How to find it again.
    pub material: Material,
    /// The public half of a pair.
    pub public_key: Option<SubjectPublicKeyInfo>,
    /// What the token says of the object, read back; `None` for a tier without a token.
    pub attributes: Option<KeyAttributes>,
    /// What it is known again by; `None` for a tier without a token, and of a token that lacks what that takes.
    pub check_value: Option<CheckValue>,
}

/// A key to be opened, as it was stored.
pub struct StoredKey {
    /// Its spec.
    pub spec: KeySpec,
    /// What it may do.
    pub usage: KeyUsage,
    /// Where its material is.
    pub material: Material,
    /// The public half of a pair.
    pub public_key: Option<SubjectPublicKeyInfo>,
    /// Knows the key by its check value: another key of its id is not used. Without one the key that is there now is taken for it.
    pub witness: Option<Arc<dyn Witness>>,
}

/// What a tier is.
#[derive(Clone, Debug)]
pub struct Description {
    /// Whether keys live in a token or in the process.
    pub kind: TierKind,
    /// What a person knows it by: the token's label, manufacturer, model, serial.
    pub name: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How long a call may take at the most, waiting included.
    pub deadline: Duration,
}

/// The two kinds of tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierKind {
    /// Keys in a token (the API's protection level HSM).
    Hardware,
    /// Keys in the process (the API's protection level SOFTWARE).
    Software,
}

/// Something that a key of some spec can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Be made.
    Generate,
    /// Be made out of given material.
    Import,
    /// Be made out of material that the token unwraps, RSAES-OAEP with this hash.
    Unwrap(OaepHash),
    /// Encrypt and decrypt.
    Encrypt(EncryptionAlgorithm),
    /// Sign.
    Sign(SignatureAlgorithm),
    /// Generate and verify message authentication codes.
    Mac(MacAlgorithm),
}

/// How far a tier supports an ability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// As the standard describes it; in a token where there is one.
    Full,
    /// Partly outside the token; the text says how, and is shown in DescribeKey.
    Assisted(String),
    /// Not at all; the text says why.
    Missing(String),
}

/// What known-answer tests of mechanism and parameters confirmed.
#[derive(Clone, Debug)]
pub struct Capabilities(Knowledge);

#[derive(Clone, Debug)]
enum Knowledge {
    Lines(Vec<Capability>),
    /// The token was not reached yet.
    None,
}

/// One line of [`Capabilities`].
#[derive(Clone, Debug)]
pub struct Capability {
    /// Of which keys.
    pub spec: KeySpec,
    /// What.
    pub ability: Ability,
    /// How far.
    pub support: Support,
    /// How long one round took when it was tested, there and back for a cipher; `None` when it was not timed.
    pub cost: Option<Duration>,
}

impl Capabilities {
    /// From its lines.
    pub fn new(lines: Vec<Capability>) -> Self {
        Self(Knowledge::Lines(lines))
    }

    /// Of a token that was not reached yet.
    pub fn unknown() -> Self {
        Self(Knowledge::None)
    }

    /// All that the table of algorithms has, for a tier that lacks nothing.
    pub fn everything() -> Self {
        let full = |spec, ability| Capability { spec, ability, support: Support::Full, cost: None };
        Self::new(KeySpec::ALL.iter().flat_map(|spec| abilities(*spec).map(|ability| full(*spec, ability))).collect())
    }

    /// The lines, in the order of the specs.
    pub fn iter(&self) -> impl Iterator<Item = &Capability> {
        match &self.0 {
            Knowledge::Lines(lines) => lines.iter(),
            Knowledge::None => [].iter(),
        }
    }

    /// The line of one ability.
    pub fn of(&self, spec: KeySpec, ability: Ability) -> Option<&Capability> {
        self.iter().find(|line| line.spec == spec && line.ability == ability)
    }

    /// Why the tier cannot do it, or nothing.
    ///
    /// # Errors
    /// [`Kind::UnsupportedOperation`] with the reason; [`Kind::Unavailable`] while nothing is known.
    pub fn require(&self, spec: KeySpec, ability: Ability) -> Result<()> {
        match self.of(spec, ability).map(|line| &line.support) {
            Some(Support::Full | Support::Assisted(_)) => Ok(()),
            Some(Support::Missing(reason)) => {
                Err(Error::unsupported(format!("{spec} cannot be used for {ability} here: {reason}.")))
            }
            None => match self.0 {
                Knowledge::Lines(_) => Err(Error::unsupported(format!("{ability} does not fit the KeySpec {spec}."))),
                Knowledge::None => Err(Error::new(Kind::Unavailable, "The hardware security module was not reached yet.")),
            },
        }
    }

    /// Whether a key of this spec and usage is worth making: it can be, and the default algorithm of its usage works.
    ///
    /// # Errors
    /// [`Kind::UnsupportedOperation`] with the reason.
    pub fn admits(&self, spec: KeySpec, usage: KeyUsage, origin: Ability) -> Result<()> {
        self.require(spec, origin)?;
        match usage {
            KeyUsage::EncryptDecrypt => match spec.encryption_algorithms() {
                [default, ..] => self.require(spec, Ability::Encrypt(*default)),
                [] => Err(Error::unsupported(format!("The KeySpec {spec} does not encrypt."))),
            },
            KeyUsage::SignVerify => match spec.signature_algorithms() {
                [default, ..] => self.require(spec, Ability::Sign(*default)),
                [] => Err(Error::unsupported(format!("The KeySpec {spec} does not sign."))),
            },
            KeyUsage::GenerateVerifyMac => match spec.mac_algorithm() {
                Some(algorithm) => self.require(spec, Ability::Mac(algorithm)),
                None => Err(Error::unsupported(format!("The KeySpec {spec} is for no message authentication codes."))),
            },
        }
    }
}

/// All that the table of algorithms has for a spec. [`Ability::Unwrap`] is none of it: what takes part in it is a token.
pub fn abilities(spec: KeySpec) -> impl Iterator<Item = Ability> {
    [Ability::Generate, Ability::Import]
        .into_iter()
        .chain(spec.encryption_algorithms().iter().map(|algorithm| Ability::Encrypt(*algorithm)))
        .chain(spec.signature_algorithms().iter().map(|algorithm| Ability::Sign(*algorithm)))
        .chain(spec.mac_algorithm().map(Ability::Mac))
}

impl std::fmt::Display for Ability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Generate => f.write_str("key generation"),
            Self::Import => f.write_str("import"),
            Self::Unwrap(OaepHash::Sha256) => f.write_str("unwrap, RSAES_OAEP_SHA_256"),
            Self::Unwrap(OaepHash::Sha1) => f.write_str("unwrap, RSAES_OAEP_SHA_1"),
            Self::Encrypt(algorithm) => algorithm.fmt(f),
            Self::Sign(algorithm) => algorithm.fmt(f),
            Self::Mac(algorithm) => algorithm.fmt(f),
        }
    }
}

/// The one answer to a message that is too long for a code.
pub(crate) fn check_mac_message(message: &SecretBytes) -> Result<()> {
    if message.len() <= MAC_MESSAGE_LIMIT {
        Ok(())
    } else {
        Err(Error::invalid(format!("The Message has {} bytes; at most {MAC_MESSAGE_LIMIT} are possible.", message.len())))
    }
}

/// The one answer to an algorithm that does not fit a key.
pub(crate) fn does_not_fit(spec: KeySpec, algorithm: impl std::fmt::Display) -> Error {
    Error::unsupported(format!("The algorithm {algorithm} does not fit the KeySpec {spec}."))
}

/// The most bytes of plaintext that RSAES-OAEP takes (RFC 8017, section 7.1.1).
pub(crate) fn oaep_plaintext_limit(modulus_bytes: usize, hash: OaepHash) -> usize {
    match hash {
        OaepHash::Sha256 => modulus_bytes - 2 * 32 - 2,
        OaepHash::Sha1 => modulus_bytes - 2 * 20 - 2,
    }
}

/// Length in bytes of the modulus or nothing.
pub(crate) fn modulus_bytes(spec: KeySpec) -> Option<usize> {
    match spec.family() {
        Family::Rsa { modulus_bytes } => Some(modulus_bytes),
        Family::Aes { .. } | Family::Ec(_) | Family::Hmac(_) => None,
    }
}
