//! Operations that succeed as long as the token is well. They tell a caller's input from its key, and the key from the slot.
//!
//! Of a *key*: an operation of the same algorithm under that very key, on input that the process made. Of a *family* of algorithms: the
//! same on a key of the process's own, which is brought into the session and destroyed at once; for AES the canary of the epoch does it,
//! and also for algorithms whose keys the token does not take.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use cryptoki::object::ObjectHandle;
use lru::LruCache;

use crate::base::lock;
use crate::base::{Error, Kind, SecretBytes};
use crate::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, MacAlgorithm, SignatureAlgorithm};
use crate::tier::pkcs11::answer::{self, Tell};
use crate::tier::pkcs11::keys::identity::Wanted;
use crate::tier::pkcs11::keys::known_answers::{
    known_key, new_pair, test_ecies, test_key, test_mac, test_oaep, test_signature, wrong,
};
use crate::tier::pkcs11::keys::mechanism::OaepDecoding;
use crate::tier::pkcs11::keys::template::{self, Residence, Strictness};
use crate::tier::pkcs11::keys::unwrapping;
use crate::tier::pkcs11::library::functions::Mechanism;
use crate::tier::pkcs11::session::canary::Canary;
use crate::tier::pkcs11::session::open::{Calling, Fault};
use crate::tier::unwrapper::UNWRAPPING_SPEC;
use crate::tier::{Ability, Encryption, OaepHash};

/// For how long an operation that succeeded vouches for the next ones.
const VOUCHES: Duration = Duration::from_secs(1);
/// The most keys that are vouched for at once.
const VOUCHED: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// A key and what is asked of it.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) key: Arc<Wanted>,
    pub(crate) ability: Ability,
}

/// How an operation went that succeeds as long as the token is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Works,
    Fails,
    /// It could not be tried: the token is busy, or has no session to spare.
    Unknown,
}

/// When what must succeed did so, by key and ability.
pub(crate) struct Vouchers(Mutex<LruCache<(Vec<u8>, Ability), Instant>>);

impl Default for Vouchers {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(VOUCHED)))
    }
}

impl Vouchers {
    pub(crate) fn note(&self, subject: &Subject, now: Instant) {
        lock(&self.0).put((subject.key.id.clone(), subject.ability), now);
    }

    /// Whether it was lately.
    pub(crate) fn vouch(&self, subject: &Subject, now: Instant) -> bool {
        let last = lock(&self.0).get(&(subject.key.id.clone(), subject.ability)).copied();
        last.is_some_and(|last| now.saturating_duration_since(last) < VOUCHES)
    }
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
    pub(crate) fn works(&self, calling: &Calling<'_>, strictness: Strictness) -> Result<(), Fault> {
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

impl Calling<'_> {
    /// Known blocks on the canary of the epoch, there and back. On a token that never made one a random byte must do.
    pub(crate) fn canary_health(&self) -> Health {
        let functions = self.functions();
        let canary = *lock(&self.slot().canary);
        if let Some(canary) = canary {
            return self.health_of(canary.lives(functions, self.session()).map_err(Fault::from));
        }
        match Canary::hatch(functions, self.session()) {
            Ok(canary) => {
                let lives = canary.lives(functions, self.session());
                canary.let_go(self.session());
                self.health_of(lives.map_err(Fault::from))
            }
            Err(failure) if self.slot().hatched.load(Ordering::Acquire) => self.health_of(Err(failure.into())),
            Err(_) => self.health_of(self.ping()),
        }
    }

    /// The family of what is asked of a key, on a key of the process's own; without one the canary's.
    pub(crate) fn family_health(&self, ability: Option<Ability>) -> Health {
        let learnt = self.slot().learnt();
        let specimen = learnt.and_then(|learnt| Some((learnt.specimen(ability?)?, learnt.strictness)));
        match specimen {
            Some((specimen, strictness)) => self.health_of(specimen.works(self, strictness)),
            None => self.canary_health(),
        }
    }

    /// The same key, on input that the process made. Nothing is signed for this: what is signed is a digest, which no module finds
    /// fault with.
    pub(crate) fn key_health(&self, subject: &Subject) -> Health {
        use EncryptionAlgorithm::{AesCbc, AesEcb, AesGcm, EciesDhSha1XorHmac, RsaesOaepSha1, RsaesOaepSha256};

        let Some(learnt) = self.slot().learnt() else { return Health::Unknown };
        let (key, ability) = (&subject.key, subject.ability);
        let (spec, public) = (key.spec, key.public_key.as_ref());
        let oaep = |hash| {
            let decoding = learnt.decoding(spec, ability);
            self.with_key(key, |handle| test_oaep(self, handle, spec, hash, decoding, public).map(drop))
        };
        let tested = match ability {
            Ability::Encrypt(RsaesOaepSha256 | RsaesOaepSha1 | EciesDhSha1XorHmac) if public.is_none() => return Health::Unknown,
            Ability::Encrypt(RsaesOaepSha256) => oaep(OaepHash::Sha256),
            Ability::Encrypt(RsaesOaepSha1) => oaep(OaepHash::Sha1),
            Ability::Encrypt(EciesDhSha1XorHmac) => self.with_key(key, |handle| test_ecies(self, handle, spec, public).map(drop)),
            Ability::Encrypt(AesGcm | AesCbc | AesEcb) => {
                if learnt.capabilities.require(spec, Ability::Encrypt(AesEcb)).is_err() {
                    return Health::Unknown;
                }
                self.with_key(key, |handle| self.block_there_and_back(handle))
            }
            Ability::Mac(algorithm) => self.with_key(key, |handle| test_mac(self, handle, algorithm, None).map(drop)),
            Ability::Unwrap(hash) => self.with_key(key, |pair| self.unwraps(pair, hash, learnt.unwrapping)),
            Ability::Sign(_) | Ability::Generate | Ability::Import => return Health::Unknown,
        };
        self.health_of(tested)
    }

    fn block_there_and_back(&self, key: ObjectHandle) -> Result<(), Fault> {
        let encrypted = self.encrypt(key, Mechanism::AesEcb, BLOCK, BLOCK.len())?;
        let opened = self.decrypt(key, Mechanism::AesEcb, &encrypted, BLOCK.len())?;
        if opened.constant_time_eq(BLOCK) { Ok(()) } else { Err(wrong("decrypts a block to something else")) }
    }

    /// A key of the process's own comes out of what its public half wrapped, and is destroyed.
    fn unwraps(&self, pair: ObjectHandle, hash: OaepHash, strictness: Strictness) -> Result<(), Fault> {
        let Ok(public) = template::read_public_key(self.session(), pair, UNWRAPPING_SPEC) else {
            return Err(Error::new(Kind::KeyNotFound, "The token does not show the public half of the pair.").into());
        };
        let key = test_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
        let wrapped = public.encrypt(Encryption::RsaesOaep(hash), &known_key(32))?.ciphertext;
        let made = unwrapping::unwrap(self, &key, pair, hash, &wrapped, Residence::Session, strictness)?;
        Ok(self.session().destroy_object(made.handle)?)
    }

    fn health_of(&self, answer: Result<(), Fault>) -> Health {
        match answer {
            Ok(()) => Health::Works,
            Err(Fault::Module(failure) | Fault::Key(failure, _)) => health_of_failure(&failure, self.profile()),
            Err(Fault::Ours(error)) if error.kind() == Kind::KeyNotFound => Health::Unknown,
            Err(Fault::Ours(_) | Fault::Broken(..)) => Health::Fails,
        }
    }
}

/// What it says of the token's health that a function failed: CKR_SESSION_COUNT and its like say nothing.
pub(crate) fn health_of_failure(failure: &cryptoki::error::Error, profile: answer::Profile) -> Health {
    match answer::meaning_of(failure, profile).tell {
        Tell::Busy | Tell::Limit => Health::Unknown,
        Tell::BadInput | Tell::KeyGone | Tell::Away | Tell::Refused | Tell::Operator | Tell::Fault => Health::Fails,
    }
}
