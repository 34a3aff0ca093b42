//! Whether an object in the token is the key that it is taken for. Its id proves nothing: whoever is logged in may give it to another.
//!
//! A key is made to compute what no other key computes, its check value: when it is made, when it is opened, and at its first use in an
//! epoch. The blocks that AES encrypts for it are not of zeros: what those encrypt to is the hash key of AES-GCM (SP 800-38D, section
//! 6.3).

use std::sync::{Arc, OnceLock};

use cryptoki::error::{Error as Failure, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};

use crate::base::SecretBytes;
use crate::model::algorithm::{EncryptionAlgorithm, Family, KeySpec, KeyUsage, MacAlgorithm, SignatureAlgorithm};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::mechanism::{self, BlockMode};
use crate::tier::pkcs11::library::functions::Mechanism;
use crate::tier::pkcs11::session::find::Form;
use crate::tier::pkcs11::session::objects::{Recognise, Recognised};
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::public_key::{Validity, sha256};
use crate::tier::{Ability, Capabilities, CheckValue, Encryption, PublicKey, Witness};

/// What is encrypted, authenticated or signed for a check value: two blocks of AES.
const BLOCKS: &[u8; 32] = b"keystead: which key is this one?";
/// Room for the signature of another key than was expected: RSA-8192.
const SIGNATURE: usize = 1024;

/// A key as its owner knows it: what it is found by, and what it is known by when it was found.
pub(crate) struct Wanted {
    pub(crate) id: Vec<u8>,
    pub(crate) spec: KeySpec,
    pub(crate) usage: KeyUsage,
    pub(crate) public_key: Option<PublicKey>,
    pub(crate) way: Option<Way>,
    pub(crate) known_by: KnownBy,
}

/// What a key is known by.
pub(crate) enum KnownBy {
    /// Whoever keeps something of it.
    Witness(Arc<dyn Witness>),
    /// What it computed when it was opened; nothing before that, and of a key that cannot show which one it is.
    FirstSeen(OnceLock<CheckValue>),
}

/// How a key shows which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It encrypts two blocks: in ECB mode, or chained with an IV of zeros.
    Blocks(BlockMode),
    /// It authenticates them.
    Code(MacAlgorithm),
    /// It signs, and the public half verifies that.
    Signature(SignatureAlgorithm),
    /// It has the modulus of the public half.
    Modulus,
    /// It agrees with the public half on a secret.
    Agreement,
}

/// What an object showed.
pub(crate) enum Seen {
    Value(CheckValue),
    /// It is not the private half of the pair.
    NotThePair,
    /// Nothing: it does not do what the key does.
    Nothing,
}

impl Way {
    /// How a key of this spec and usage shows which one it is; `None` of a token that lacks what that takes.
    pub(crate) fn of(spec: KeySpec, usage: KeyUsage, capabilities: &Capabilities) -> Option<Self> {
        let can = |ability| capabilities.require(spec, ability).is_ok();
        match (spec.family(), usage) {
            (Family::Aes { .. }, _) if can(Ability::Encrypt(EncryptionAlgorithm::AesEcb)) => Some(Self::Blocks(BlockMode::Ecb)),
            (Family::Aes { .. }, _) if can(Ability::Encrypt(EncryptionAlgorithm::AesCbc)) => Some(Self::Blocks(BlockMode::Cbc)),
            (Family::Aes { .. }, _) => None,
            (Family::Hmac(algorithm), _) => can(Ability::Mac(algorithm)).then_some(Self::Code(algorithm)),
            (Family::Rsa { .. } | Family::Ec(_), KeyUsage::SignVerify) => {
                let algorithm = spec.signature_algorithms().iter().find(|algorithm| can(Ability::Sign(**algorithm)));
                algorithm.map(|algorithm| Self::Signature(*algorithm))
            }
            (Family::Rsa { .. }, KeyUsage::EncryptDecrypt) => Some(Self::Modulus),
            (Family::Ec(_), KeyUsage::EncryptDecrypt) => {
                can(Ability::Encrypt(EncryptionAlgorithm::EciesDhSha1XorHmac)).then_some(Self::Agreement)
            }
            // Such keys are not made.
            (Family::Rsa { .. } | Family::Ec(_), KeyUsage::GenerateVerifyMac) => None,
        }
    }
}

impl Wanted {
    /// Whether what was seen of an object is what this key is known by.
    fn is(&self, seen: &Seen) -> bool {
        match (seen, &self.known_by) {
            (Seen::Value(value), KnownBy::Witness(witness)) => witness.knows(value),
            (Seen::Value(value), KnownBy::FirstSeen(known)) => known.get().is_none_or(|known| known.is(value)),
            (Seen::Nothing, KnownBy::Witness(_)) | (Seen::NotThePair, _) => false,
            (Seen::Nothing, KnownBy::FirstSeen(known)) => known.get().is_none(),
        }
    }

    /// Remembers what the key computed, unless somebody else does.
    fn remember(&self, value: CheckValue) {
        match &self.known_by {
            KnownBy::Witness(_) => {}
            // Another call may have been faster, with the same.
            KnownBy::FirstSeen(known) => drop(known.set(value)),
        }
    }
}

impl Recognise for Wanted {
    fn id(&self) -> &[u8] {
        &self.id
    }

    fn form(&self) -> Form {
        Form::of(self.spec)
    }

    fn must_be_recognised(&self) -> bool {
        match &self.known_by {
            KnownBy::Witness(_) => true,
            KnownBy::FirstSeen(value) => value.get().is_some(),
        }
    }

    fn recognise(&self, session: &OpenSession<'_>, object: ObjectHandle) -> Result<Recognised, Fault> {
        let seen = look_at(session, object, self.spec, self.way, self.public_key.as_ref())?;
        if !self.is(&seen) {
            return Ok(Recognised::Another);
        }
        Ok(match seen {
            Seen::Value(value) => {
                self.remember(value);
                Recognised::Yes
            }
            Seen::Nothing | Seen::NotThePair => Recognised::Unable,
        })
    }
}

/// Has an object show which key it is.
///
/// # Errors
/// The module fails, for another reason than that the object is another key.
pub(crate) fn look_at(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    spec: KeySpec,
    way: Option<Way>,
    public: Option<&PublicKey>,
) -> Result<Seen, Fault> {
    let Some(way) = way else { return Ok(Seen::Nothing) };
    let seen = match (way, public) {
        (Way::Blocks(mode), _) => blocks(session, key, mode),
        (Way::Code(algorithm), _) => code(session, key, algorithm),
        (Way::Signature(_) | Way::Modulus | Way::Agreement, None) => Ok(Seen::Nothing),
        (Way::Signature(algorithm), Some(public)) => signature(session, key, algorithm, public),
        (Way::Modulus, Some(public)) => modulus(session, key, spec, public),
        (Way::Agreement, Some(public)) => agreement(session, key, spec, public),
    };
    match seen {
        Err(Fault::Module(failure)) if is_of_the_key(&failure) => Ok(Seen::Nothing),
        // What the object gave is not what such a key gives.
        Err(Fault::Ours(_)) => Ok(Seen::NotThePair),
        seen => seen,
    }
}

/// PKCS #11 3.0, section 5.1.6: the key is one of another type or length, or is not allowed to do it.
fn is_of_the_key(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Pkcs11(
            RvError::KeyTypeInconsistent | RvError::KeyFunctionNotPermitted | RvError::KeySizeRange | RvError::MechanismInvalid,
            _
        )
    )
}

fn blocks(session: &OpenSession<'_>, key: ObjectHandle, mode: BlockMode) -> Result<Seen, Fault> {
    let how = match mode {
        BlockMode::Ecb => Mechanism::AesEcb,
        BlockMode::Cbc => Mechanism::AesCbc { iv: &[0; 16] },
    };
    Ok(Seen::Value(CheckValue::new(session.encrypt(key, how, BLOCKS, BLOCKS.len())?)))
}

fn code(session: &OpenSession<'_>, key: ObjectHandle, algorithm: MacAlgorithm) -> Result<Seen, Fault> {
    let code = mechanism::mac(session, key, algorithm, &SecretBytes::new(BLOCKS.to_vec()))?;
    Ok(Seen::Value(CheckValue::new(code.into_exposed())))
}

fn pair(shown: bool, public: &PublicKey) -> Seen {
    if shown { Seen::Value(CheckValue::new(public.spki().as_der().to_vec())) } else { Seen::NotThePair }
}

fn signature(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    algorithm: SignatureAlgorithm,
    public: &PublicKey,
) -> Result<Seen, Fault> {
    let digest = sha256(BLOCKS);
    let signature = mechanism::sign(session, key, algorithm, &digest, SIGNATURE)?;
    Ok(pair(public.verify(algorithm, &digest, &signature)? == Validity::Valid, public))
}

/// CKA_MODULUS is not secret (PKCS #11 3.0, section 6.1.3). What a decryption gives would tell a wrong key from a fault less surely.
fn modulus(session: &OpenSession<'_>, key: ObjectHandle, spec: KeySpec, public: &PublicKey) -> Result<Seen, Fault> {
    let (mut modulus, mut exponent) = (None, None);
    for attribute in session.binding().get_attributes(key, &[AttributeType::Modulus, AttributeType::PublicExponent])? {
        match attribute {
            Attribute::Modulus(value) => modulus = Some(value),
            Attribute::PublicExponent(value) => exponent = Some(value),
            _ => {}
        }
    }
    let Some(modulus) = modulus else { return Ok(Seen::Nothing) };
    // Not every token tells the exponent of a private key; then it is the one that all generated pairs have.
    let exponent = exponent
        .as_deref()
        .filter(|exponent| !exponent.is_empty())
        .unwrap_or(&crate::tier::pkcs11::keys::template::PUBLIC_EXPONENT);
    let found = PublicKey::from_rsa(spec, &modulus, exponent)?;
    Ok(pair(found.spki() == public.spki(), public))
}

fn agreement(session: &OpenSession<'_>, key: ObjectHandle, spec: KeySpec, public: &PublicKey) -> Result<Seen, Fault> {
    let sealed = public.encrypt(Encryption::Ecies, &SecretBytes::new(BLOCKS.to_vec()))?;
    let opened = mechanism::ecies_decrypt(session, key, spec, &sealed.ciphertext)?;
    Ok(pair(opened.constant_time_eq(BLOCKS), public))
}
