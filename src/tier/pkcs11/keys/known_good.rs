//! Operations that succeed as long as the token is well. They tell a caller's input from its key, and the key from the slot.
//!
//! Of a *key*: an operation of the same algorithm under that very key, on input that the process made. Of a *family* of algorithms: the
//! same on a key of the process's own, which is brought into the session and destroyed at once; for AES the canary of the epoch does it,
//! and also for algorithms whose keys the token does not take.

use std::sync::Arc;

use cryptoki::error::Error as Failure;
use cryptoki::object::ObjectHandle;

use crate::base::{Error, Kind};
use crate::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::identity::Wanted;
use crate::tier::pkcs11::keys::known_answers::{known_key, test_ecies, test_key, test_mac, test_oaep, wrong};
use crate::tier::pkcs11::keys::learnt::{Answer, Learnt};
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
    let Ok(public) = template::read_public_key(session.binding(), pair, UNWRAPPING_SPEC) else {
        return Err(Error::new(Kind::KeyNotFound, "The token does not show the public half of the pair.").into());
    };
    let key = test_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
    let wrapped = public.encrypt(Encryption::RsaesOaep(hash), &known_key(32))?.ciphertext;
    let made = unwrapping::unwrap(session, &key, pair, hash, &wrapped, Residence::Session, strictness)?;
    Ok(session.binding().destroy_object(made.handle)?)
}
