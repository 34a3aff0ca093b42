//! Operations that succeed as long as the token is well. They tell a caller's input from its key, and the key from the slot.
//!
//! Of a *key*: an operation of the same algorithm under that very key, on input that the process made. Of a *family* of algorithms: the
//! same on a key of the process's own, which is brought into the session and destroyed at once; for AES the canary of the epoch does it,
//! and also for algorithms whose keys the token does not take.

use std::sync::{Arc, OnceLock};

use cryptoki::error::Error as Failure;
use cryptoki::object::ObjectHandle;

use crate::base::{Error, Kind, SecretBytes};
use crate::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, MacAlgorithm, SignatureAlgorithm};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::identity::Wanted;
use crate::tier::pkcs11::keys::known_answers::{
    known_key, new_pair, test_ecies, test_key, test_mac, test_oaep, test_signature, wrong,
};
use crate::tier::pkcs11::keys::learnt::{Answer, Learnt};
use crate::tier::pkcs11::keys::mechanism::OaepDecoding;
use crate::tier::pkcs11::keys::template::{self, Residence, Strictness};
use crate::tier::pkcs11::keys::unwrapping;
use crate::tier::pkcs11::library::functions::Mechanism;
use crate::tier::pkcs11::session::known_good::{Health, KnownGood, Subject};
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::unwrapper::UNWRAPPING_SPEC;
use crate::tier::{Ability, Encryption, OaepHash};

/// A key, what is asked of it, and what is known of its module.
pub(crate) struct KeyUse {
    pub(crate) key: Arc<Wanted>,
    pub(crate) ability: Ability,
    pub(crate) learnt: Arc<Learnt>,
}

/// A key of the process's own, and what it is tried with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Specimen {
    spec: KeySpec,
    ability: Ability,
    task: Task,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    Sign(SignatureAlgorithm),
    Oaep(OaepHash, OaepDecoding),
    Ecies,
    Mac(MacAlgorithm),
}

impl Specimen {
    /// The one for an ability; `decoding` is where its RSAES-OAEP is decoded. For AES there is the canary, and no other ability is a
    /// caller's operation.
    pub(crate) fn of(ability: Ability, decoding: impl Fn(KeySpec) -> OaepDecoding) -> Option<Self> {
        use EncryptionAlgorithm::{AesCbc, AesEcb, AesGcm, EciesDhSha1XorHmac, RsaesOaepSha1, RsaesOaepSha256};

        let (spec, task) = match ability {
            Ability::Sign(algorithm @ (SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::RsaPkcs1Sha256)) => {
                (KeySpec::Rsa2048, Task::Sign(algorithm))
            }
            Ability::Sign(algorithm @ SignatureAlgorithm::EcdsaSha256) => (KeySpec::EcP256, Task::Sign(algorithm)),
            Ability::Encrypt(RsaesOaepSha256) => (KeySpec::Rsa2048, Task::Oaep(OaepHash::Sha256, decoding(KeySpec::Rsa2048))),
            Ability::Encrypt(RsaesOaepSha1) => (KeySpec::Rsa2048, Task::Oaep(OaepHash::Sha1, decoding(KeySpec::Rsa2048))),
            Ability::Encrypt(EciesDhSha1XorHmac) => (KeySpec::EcP256, Task::Ecies),
            Ability::Mac(algorithm) => {
                (KeySpec::ALL.iter().copied().find(|spec| spec.mac_algorithm() == Some(algorithm))?, Task::Mac(algorithm))
            }
            Ability::Encrypt(AesGcm | AesCbc | AesEcb) | Ability::Generate | Ability::Import | Ability::Unwrap(_) => return None,
        };
        Some(Self { spec, ability, task })
    }

    pub(crate) fn ability(&self) -> Ability {
        self.ability
    }

    pub(crate) fn spec(&self) -> KeySpec {
        self.spec
    }

    /// Brings the key in, tries it, destroys it.
    pub(crate) fn works(&self, calling: &OpenSession<'_>, strictness: Strictness) -> Result<(), Fault> {
        let usage = match self.task {
            Task::Sign(_) => KeyUsage::SignVerify,
            Task::Oaep(..) | Task::Ecies => KeyUsage::EncryptDecrypt,
            Task::Mac(_) => KeyUsage::GenerateVerifyMac,
        };
        let material = material(self.spec)?;
        let made = template::import(calling.session(), &test_key(self.spec, usage), &material, Residence::Session, strictness)?;
        let (key, spec, public) = (made.handle, self.spec, made.public_key.as_ref());
        let tested = match self.task {
            Task::Sign(algorithm) => test_signature(calling, key, spec, algorithm, public),
            Task::Oaep(hash, decoding) => test_oaep(calling, key, spec, hash, decoding, public),
            Task::Ecies => test_ecies(calling, key, spec, public),
            Task::Mac(algorithm) => test_mac(calling, key, algorithm, None),
        };
        calling.session().destroy_object(key)?;
        tested.map(drop)
    }
}

/// What is brought in, of the process's own and good for nothing else. An RSA pair takes a while and is made once a process.
pub(crate) fn material(spec: KeySpec) -> Result<Arc<SecretBytes>, Error> {
    static RSA: OnceLock<Arc<SecretBytes>> = OnceLock::new();
    match (spec, RSA.get()) {
        (KeySpec::Rsa2048, Some(made)) => Ok(Arc::clone(made)),
        (KeySpec::Rsa2048, None) => {
            let made = Arc::new(new_pair(spec)?);
            Ok(Arc::clone(RSA.get_or_init(|| made)))
        }
        (_, _) => Ok(Arc::new(match spec.mac_algorithm() {
            Some(algorithm) => known_key(algorithm.bytes()),
            None => new_pair(spec)?,
        })),
    }
}

/// A block under a key of AES: not zero, which some attacks on wrapped keys would like to see encrypted.
const BLOCK: &[u8; 16] = b"keystead-testing";

impl KnownGood for Learnt {
    fn is_of_bad_input(&self, failure: &Failure, ability: Ability) -> bool {
        Answer::of(failure, ability).is_some_and(|answer| self.answers.contains(&answer))
    }

    fn family_health(&self, session: &OpenSession<'_>, ability: Ability) -> Option<Health> {
        self.specimen(ability).map(|specimen| session.health_of(specimen.works(session, self.strictness)))
    }
}

impl Subject for KeyUse {
    fn id(&self) -> &[u8] {
        &self.key.id
    }

    fn ability(&self) -> Ability {
        self.ability
    }

    /// Nothing is signed for this: what is signed is a digest, which no module finds fault with.
    fn health(&self, session: &OpenSession<'_>) -> Health {
        use EncryptionAlgorithm::{AesCbc, AesEcb, AesGcm, EciesDhSha1XorHmac, RsaesOaepSha1, RsaesOaepSha256};

        let Self { key, ability, learnt } = self;
        let (spec, public) = (key.spec, key.public_key.as_ref());
        let oaep = |hash| {
            let decoding = learnt.decoding(spec, *ability);
            session.with_key(&**key, |handle| test_oaep(session, handle, spec, hash, decoding, public).map(drop))
        };
        let tested = match *ability {
            Ability::Encrypt(RsaesOaepSha256 | RsaesOaepSha1 | EciesDhSha1XorHmac) if public.is_none() => return Health::Unknown,
            Ability::Encrypt(RsaesOaepSha256) => oaep(OaepHash::Sha256),
            Ability::Encrypt(RsaesOaepSha1) => oaep(OaepHash::Sha1),
            Ability::Encrypt(EciesDhSha1XorHmac) => {
                session.with_key(&**key, |handle| test_ecies(session, handle, spec, public).map(drop))
            }
            Ability::Encrypt(AesGcm | AesCbc | AesEcb) => {
                if learnt.capabilities.require(spec, Ability::Encrypt(AesEcb)).is_err() {
                    return Health::Unknown;
                }
                session.with_key(&**key, |handle| block_there_and_back(session, handle))
            }
            Ability::Mac(algorithm) => session.with_key(&**key, |handle| test_mac(session, handle, algorithm, None).map(drop)),
            Ability::Unwrap(hash) => session.with_key(&**key, |pair| unwraps(session, pair, hash, learnt.unwrapping)),
            Ability::Sign(_) | Ability::Generate | Ability::Import => return Health::Unknown,
        };
        session.health_of(tested)
    }
}

fn block_there_and_back(session: &OpenSession<'_>, key: ObjectHandle) -> Result<(), Fault> {
    let encrypted = session.encrypt(key, Mechanism::AesEcb, BLOCK, BLOCK.len())?;
    let opened = session.decrypt(key, Mechanism::AesEcb, &encrypted, BLOCK.len())?;
    if opened.constant_time_eq(BLOCK) { Ok(()) } else { Err(wrong("decrypts a block to something else")) }
}

/// A key of the process's own comes out of what its public half wrapped, and is destroyed.
fn unwraps(session: &OpenSession<'_>, pair: ObjectHandle, hash: OaepHash, strictness: Strictness) -> Result<(), Fault> {
    let Ok(public) = template::read_public_key(session.session(), pair, UNWRAPPING_SPEC) else {
        return Err(Error::new(Kind::KeyNotFound, "The token does not show the public half of the pair.").into());
    };
    let key = test_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
    let wrapped = public.encrypt(Encryption::RsaesOaep(hash), &known_key(32))?.ciphertext;
    let made = unwrapping::unwrap(session, &key, pair, hash, &wrapped, Residence::Session, strictness)?;
    Ok(session.session().destroy_object(made.handle)?)
}
