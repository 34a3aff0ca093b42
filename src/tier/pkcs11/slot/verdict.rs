//! Whose fault a failure is: the caller's input, one key, or the slot. What a caller can provoke is never a fault of the slot, whatever
//! the module calls it.

use std::time::Instant;

use cryptoki::error::Error as Failure;
use cryptoki::session::Session;

use crate::base::lock;
use crate::base::{Error, Kind};
use crate::model::algorithm::EncryptionAlgorithm;
use crate::tier::Ability;
use crate::tier::pkcs11::answer::{self, Level, Meaning, Proof, Tell};
use crate::tier::pkcs11::keys::known_good::{Health, Subject, health_of_failure};
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::open::Calling;
use crate::tier::pkcs11::slot::slot::Slot;
use crate::tier::pkcs11::slot::suspects::Standing;

/// Whose fault it is that a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The same key does what it should with other input.
    Input,
    /// Other keys of its kind do what they should.
    Key,
    /// What the call asked for: a key that cannot be made, more memory than there is.
    Request,
    /// Broken at this level.
    Slot(Level),
}

impl Slot {
    /// Whether a first answer is the module's word for bad input, as it was learnt, and something that must succeed just did.
    pub(crate) fn is_bad_input(&self, calling: &Calling<'_>, failure: &Failure, subject: &Subject) -> bool {
        let learnt = self.learnt().is_some_and(|learnt| learnt.is_of_bad_input(failure, subject.ability));
        if !learnt || self.stumbles.lately() {
            return false;
        }
        if self.vouchers.vouch(subject, Instant::now()) {
            return true;
        }
        match known_good(calling, subject) {
            Health::Works => {
                self.vouchers.note(subject, Instant::now());
                true
            }
            Health::Fails | Health::Unknown => false,
        }
    }

    /// Whether a failure is that of a key which was found to be at fault a moment ago.
    pub(crate) fn is_of_failing_key(&self, failure: &Failure, meaning: &Meaning, subject: Option<&Subject>) -> bool {
        is_open_to_doubt(failure, meaning)
            && subject.is_some_and(|subject| self.suspects.is_settled(&subject.key.id, Instant::now()))
    }

    /// Whose fault a failure is that no repetition helped with.
    pub(crate) fn blame(
        &self,
        (epoch, held): (Epoch, Option<&Session>),
        (failure, meaning): (&Failure, &Meaning),
        subject: Option<&Subject>,
        level: Level,
    ) -> Blame {
        let persistent = meaning.persistent.unwrap_or(level);
        if !is_open_to_doubt(failure, meaning) {
            return Blame::Slot(persistent);
        }
        if self.is_of_failing_key(failure, meaning, subject) {
            return Blame::Key;
        }
        let ability = subject.map(|subject| subject.ability);
        match self.health(epoch, held, |calling| calling.family_health(ability)) {
            Health::Works => {}
            Health::Unknown => return Blame::Slot(level),
            Health::Fails => {
                self.stumbles.note();
                *lock(&self.doubted) = ability;
                return Blame::Slot(persistent);
            }
        }
        // A token that is short of something is so for others, too, or for this call alone.
        let Some(subject) = subject.filter(|_| meaning.tell != Tell::Busy) else { return Blame::Request };
        if self.health(epoch, held, |calling| calling.key_health(subject)) == Health::Works {
            return Blame::Input;
        }
        let key = String::from_utf8_lossy(&subject.key.id);
        match self.suspects.note(&subject.key.id, Instant::now()) {
            Standing::Known => Blame::Key,
            Standing::New => {
                tracing::warn!(token = %self.name(), cka_id = %key, failure = answer::name(failure), "the token fails with this key and serves others");
                Blame::Key
            }
            Standing::Another => {
                tracing::warn!(token = %self.name(), cka_id = %key, failure = answer::name(failure), "the token fails with another key, too");
                Blame::Slot(persistent)
            }
        }
    }

    /// How something goes that must succeed: on this session or, since that may be what is broken, on another one.
    pub(crate) fn health(&self, epoch: Epoch, held: Option<&Session>, look: impl Fn(&Calling<'_>) -> Health) -> Health {
        if held.is_some_and(|session| look(&Calling::new(self, session, epoch)) == Health::Works) {
            return Health::Works;
        }
        match self.open(epoch) {
            Ok(session) => {
                let health = look(&Calling::new(self, &session, epoch));
                let _ = session.close();
                health
            }
            Err(failure) => health_of_failure(&failure, self.profile()),
        }
    }
}

/// Whether a failure may be about a key or an input: the function has to do with one, and the answer proves nothing more.
fn is_open_to_doubt(failure: &Failure, meaning: &Meaning) -> bool {
    let certain = meaning.proof == Proof::Answer && meaning.persistent.is_some();
    !certain && answer::is_about_an_object(failure)
}

/// What must succeed if bad input is to be told from a module that fails: of RSA decryption and its like under the same key, since the
/// process has the public half.
fn known_good(calling: &Calling<'_>, subject: &Subject) -> Health {
    use EncryptionAlgorithm::{AesCbc, AesEcb, AesGcm, EciesDhSha1XorHmac, RsaesOaepSha1, RsaesOaepSha256};

    match subject.ability {
        Ability::Encrypt(RsaesOaepSha256 | RsaesOaepSha1 | EciesDhSha1XorHmac) | Ability::Unwrap(_) => calling.key_health(subject),
        Ability::Encrypt(AesGcm | AesCbc | AesEcb) | Ability::Mac(_) | Ability::Sign(_) | Ability::Generate | Ability::Import => {
            calling.family_health(Some(subject.ability))
        }
    }
}

/// The key is at fault.
pub(crate) fn key_fails(failure: &Failure) -> Error {
    let text = "The hardware security module fails with this key and serves others; its operator must see to the key.";
    Error::new(Kind::Internal, text).caused_by(answer::name(failure))
}
