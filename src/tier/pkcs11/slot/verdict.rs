//! Whose fault a failure is: the caller's input, one key, or the slot. What a caller can provoke is never a fault of the slot, whatever
//! the module calls it.

use std::time::Instant;

use cryptoki::error::Error as Failure;
use cryptoki::session::Session;

use crate::base::lock;
use crate::base::{Error, Kind};
use crate::model::algorithm::EncryptionAlgorithm;
use crate::tier::Ability;
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::answer::{self, Level, Meaning, Proof, Tell};
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::known_good::{Health, Subject, health_of_failure};
use crate::tier::pkcs11::session::open::OpenSession;
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
    pub(crate) fn is_bad_input(&self, session: &OpenSession<'_>, failure: &Failure, subject: &dyn Subject) -> bool {
        let learnt = self.known_good().is_some_and(|known_good| known_good.is_of_bad_input(failure, subject.ability()));
        if !learnt || self.stumbles.lately() {
            return false;
        }
        if self.vouchers.vouch(subject, Instant::now()) {
            return true;
        }
        match self.known_good_health(session, subject) {
            Health::Works => {
                self.vouchers.note(subject, Instant::now());
                true
            }
            Health::Fails | Health::Unknown => false,
        }
    }

    /// Whether a failure is that of a key which was found to be at fault a moment ago.
    pub(crate) fn is_of_failing_key(&self, failure: &Failure, meaning: &Meaning, subject: Option<&dyn Subject>) -> bool {
        is_open_to_doubt(failure, meaning) && subject.is_some_and(|subject| self.suspects.is_settled(subject.id(), Instant::now()))
    }

    /// Whose fault a failure is that no repetition helped with.
    pub(crate) fn blame(
        &self,
        (epoch, held): (Epoch, Option<&Session>),
        (failure, meaning): (&Failure, &Meaning),
        subject: Option<&dyn Subject>,
        level: Level,
    ) -> Blame {
        let persistent = meaning.persistent.unwrap_or(level);
        if !is_open_to_doubt(failure, meaning) {
            return Blame::Slot(persistent);
        }
        if self.is_of_failing_key(failure, meaning, subject) {
            return Blame::Key;
        }
        let ability = subject.map(Subject::ability);
        match self.health(epoch, held, |session| self.family_health(session, ability)) {
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
        if self.health(epoch, held, |session| subject.health(session)) == Health::Works {
            return Blame::Input;
        }
        let key = String::from_utf8_lossy(subject.id());
        match self.suspects.note(subject.id(), Instant::now()) {
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
    pub(crate) fn health(&self, epoch: Epoch, held: Option<&Session>, look: impl Fn(&OpenSession<'_>) -> Health) -> Health {
        if held.is_some_and(|session| look(&self.in_hand(session, epoch)) == Health::Works) {
            return Health::Works;
        }
        match self.open(epoch) {
            Ok(session) => {
                let health = look(&self.in_hand(&session, epoch));
                let _ = session.close();
                health
            }
            Err(failure) => health_of_failure(&failure, self.profile()),
        }
    }

    /// The family of what is asked of a key, on a key of the process's own; without one the canary's.
    fn family_health(&self, session: &OpenSession<'_>, ability: Option<Ability>) -> Health {
        let known = self.known_good().zip(ability).and_then(|(known_good, ability)| known_good.family_health(session, ability));
        known.unwrap_or_else(|| session.canary_health())
    }

    /// What must succeed if bad input is to be told from a module that fails: of RSA decryption and its like under the same key, since
    /// the process has the public half.
    fn known_good_health(&self, session: &OpenSession<'_>, subject: &dyn Subject) -> Health {
        use EncryptionAlgorithm::{AesCbc, AesEcb, AesGcm, EciesDhSha1XorHmac, RsaesOaepSha1, RsaesOaepSha256};

        match subject.ability() {
            Ability::Encrypt(RsaesOaepSha256 | RsaesOaepSha1 | EciesDhSha1XorHmac) | Ability::Unwrap(_) => subject.health(session),
            Ability::Encrypt(AesGcm | AesCbc | AesEcb)
            | Ability::Mac(_)
            | Ability::Sign(_)
            | Ability::Generate
            | Ability::Import => self.family_health(session, Some(subject.ability())),
        }
    }

    /// Real operations: random bytes, a block that is known, the login, the token itself, and what failed last of what must succeed.
    pub(crate) fn check_health(&self, session: &OpenSession<'_>) -> Result<(), Fault> {
        session.ping()?;
        session.functions().token(session.epoch().slot_id)?;
        expect_health(session.canary_health(), "a known block does not go through the token")?;
        let doubted = *lock(&self.doubted);
        if doubted.is_some() {
            expect_health(self.family_health(session, doubted), "an operation fails that must succeed")?;
            *lock(&self.doubted) = None;
        }
        Ok(())
    }
}

fn expect_health(health: Health, what: &'static str) -> Result<(), Fault> {
    match health {
        Health::Works => Ok(()),
        Health::Fails => Err(Fault::Broken(Level::Token, what)),
        Health::Unknown => Err(Fault::Broken(Level::Operation, "the token is too busy to say how it is")),
    }
}

/// Whether a failure may be about a key or an input: the function has to do with one, and the answer proves nothing more.
fn is_open_to_doubt(failure: &Failure, meaning: &Meaning) -> bool {
    let certain = meaning.proof == Proof::Answer && meaning.persistent.is_some();
    !certain && answer::is_about_an_object(failure)
}

/// The key is at fault.
pub(crate) fn key_fails(failure: &Failure) -> Error {
    let text = "The hardware security module fails with this key and serves others; its operator must see to the key.";
    Error::new(Kind::Internal, text).caused_by(answer::name(failure))
}
