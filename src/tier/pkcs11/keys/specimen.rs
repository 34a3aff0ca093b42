//! Keys of the process's own, each of which is tried with one algorithm: a token that is well takes it and does what it should with it.

use std::sync::{Arc, OnceLock};

use crate::base::{Error, SecretBytes};
use crate::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, MacAlgorithm, SignatureAlgorithm};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::known_answers::{known_key, new_pair, test_ecies, test_key, test_mac, test_oaep, test_signature};
use crate::tier::pkcs11::keys::mechanism::OaepDecoding;
use crate::tier::pkcs11::keys::template::{self, Residence, Strictness};
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::{Ability, OaepHash};

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
    pub(crate) fn works(&self, session: &OpenSession<'_>, strictness: Strictness) -> Result<(), Fault> {
        let usage = match self.task {
            Task::Sign(_) => KeyUsage::SignVerify,
            Task::Oaep(..) | Task::Ecies => KeyUsage::EncryptDecrypt,
            Task::Mac(_) => KeyUsage::GenerateVerifyMac,
        };
        let material = material(self.spec)?;
        let made = template::import(session.binding(), &test_key(self.spec, usage), &material, Residence::Session, strictness)?;
        let (key, spec, public) = (made.handle, self.spec, made.public_key.as_ref());
        let tested = match self.task {
            Task::Sign(algorithm) => test_signature(session, key, spec, algorithm, public),
            Task::Oaep(hash, decoding) => test_oaep(session, key, spec, hash, decoding, public),
            Task::Ecies => test_ecies(session, key, spec, public),
            Task::Mac(algorithm) => test_mac(session, key, algorithm, None),
        };
        session.binding().destroy_object(key)?;
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
