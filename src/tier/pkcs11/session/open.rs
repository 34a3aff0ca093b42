//! A session in the hands of one call: the operations that the algorithms are made of.
//!
//! Made by `slot` and `supervisor` alone, for as long as the call runs. It knows handles and lengths, and tells a key that is gone
//! from a login or a token that is; no algorithm.

use cryptoki::context::Function;
use cryptoki::error::{Error as Failure, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState};

use crate::base::lock;
use crate::base::{Error, Kind, Result, SecretBytes};
use crate::tier::pkcs11::answer;
use crate::tier::pkcs11::answer::Level;
use crate::tier::pkcs11::keys::identity::{Refusal, Seen, Wanted};
use crate::tier::pkcs11::keys::known_good::{Health, Subject};
use crate::tier::pkcs11::library::functions::{Functions, Mechanism};
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::find::{self, Form, Found};
use crate::tier::pkcs11::session::handles::{Known, Standing};
use crate::tier::pkcs11::session::random::{Discovery, Drawn, GRAIN, Part};
use crate::tier::pkcs11::slot::slot::Slot;

/// What went wrong inside a call: the module's answer, what it means, or ours.
pub(crate) enum Fault {
    /// A PKCS #11 function failed.
    Module(Failure),
    /// One failed that was called for a key.
    Key(Failure, Subject),
    /// No function failed, and yet this is broken.
    Broken(Level, &'static str),
    /// The input was refused, or the result did not hold.
    Ours(Error),
}

impl Fault {
    /// Says what the function that failed was called for.
    pub(crate) fn at(self, subject: &Subject) -> Self {
        match self {
            Self::Module(failure) => Self::Key(failure, subject.clone()),
            other @ (Self::Key(..) | Self::Broken(..) | Self::Ours(_)) => other,
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Module(failure)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Module(failure) | Fault::Key(failure, _) => answer::public(&failure),
            Fault::Broken(_, text) => crate::tier::pkcs11::slot::health::away().caused_by(text),
            Fault::Ours(error) => error,
        }
    }
}

/// A session in the hands of one call.
pub(crate) struct Calling<'a> {
    slot: &'a Slot,
    session: &'a Session,
    epoch: Epoch,
}

impl<'a> Calling<'a> {
    /// For one call.
    pub(crate) fn new(slot: &'a Slot, session: &'a Session, epoch: Epoch) -> Self {
        Self { slot, session, epoch }
    }

    pub(crate) fn functions(&self) -> &Functions {
        self.slot.functions()
    }

    pub(crate) fn slot(&self) -> &Slot {
        self.slot
    }

    /// The safe binding of the session.
    pub(crate) fn session(&self) -> &Session {
        self.session
    }

    /// Notes where an object is that was made here.
    pub(crate) fn remember(&self, id: &[u8], made: Found) {
        lock(&self.slot.handles).prove(self.epoch, id, made);
    }

    /// How the module behaves.
    pub(crate) fn profile(&self) -> answer::Profile {
        self.slot.profile()
    }

    /// The least and the most length of the keys of a mechanism, in the mechanism's own unit.
    pub(crate) fn key_sizes(&self, mechanism: MechanismType) -> Result<(usize, usize), Failure> {
        self.slot.key_sizes(self.epoch, mechanism)
    }

    /// Runs `operation` with the handle of a key: remembered or found, and looked at if this is its first use in the epoch. A handle
    /// that the module no longer knows is looked up again, once; the operation had not begun then.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`] when the token does not have it; [`Kind::Internal`] when it has several, or another one instead.
    pub(crate) fn with_key<T>(&self, wanted: &Wanted, operation: impl Fn(ObjectHandle) -> Result<T, Fault>) -> Result<T, Fault> {
        let id = &wanted.id;
        let known = lock(&self.slot.handles).get(self.epoch, id);
        if let Some(Known::At(found, standing @ (Standing::Alone | Standing::Proven))) = known
            && found.form == wanted.form()
        {
            let proven = if standing == Standing::Proven || !wanted.is_known() { Ok(()) } else { self.prove(wanted, found) };
            match proven.and_then(|()| operation(found.handle)) {
                Err(Fault::Module(failure)) if answer::is_stale_handle(&failure) => lock(&self.slot.handles).lose(self.epoch, id),
                result => return result,
            }
        }
        let found = self.look_up(wanted)?;
        if wanted.is_known() {
            self.prove(wanted, found)?;
        }
        operation(found.handle)
    }

    /// Finds a key and has it show which one it is, if it can.
    ///
    /// # Errors
    /// As [`Calling::with_key`].
    pub(crate) fn open(&self, wanted: &Wanted) -> Result<(), Fault> {
        let known = lock(&self.slot.handles).get(self.epoch, &wanted.id);
        if let Some(Known::At(found, Standing::Alone | Standing::Proven)) = known
            && found.form == wanted.form()
        {
            match self.prove(wanted, found) {
                Err(Fault::Module(failure)) if answer::is_stale_handle(&failure) => {
                    lock(&self.slot.handles).lose(self.epoch, &wanted.id);
                }
                result => return result,
            }
        }
        let found = self.look_up(wanted)?;
        self.prove(wanted, found)
    }

    /// The one key of this id, class and type.
    fn look_up(&self, wanted: &Wanted) -> Result<Found, Fault> {
        let form = wanted.form();
        match find::keys(self.session, &wanted.id, form)?.as_slice() {
            [handle] => {
                let found = Found { handle: *handle, form };
                lock(&self.slot.handles).put(self.epoch, &wanted.id, found, Standing::Alone);
                Ok(found)
            }
            [] => {
                self.believe_absence(&wanted.id, Some(form))?;
                Err(Error::new(Kind::KeyNotFound, "The token does not have the key.").into())
            }
            [_, _, ..] => Err(self.refuse(&wanted.id, Refusal::Several)),
        }
    }

    /// Has an object show that it is the key that it is taken for.
    fn prove(&self, wanted: &Wanted, found: Found) -> Result<(), Fault> {
        let seen = wanted.look_at(self, found.handle)?;
        if !wanted.is(&seen) {
            return Err(self.refuse(&wanted.id, Refusal::Another));
        }
        if let Seen::Value(value) = seen {
            lock(&self.slot.handles).prove(self.epoch, &wanted.id, found);
            wanted.remember(value);
        }
        Ok(())
    }

    /// Names a key that is not used.
    fn refuse(&self, id: &[u8], why: Refusal) -> Fault {
        let new = lock(&self.slot.handles).refuse(self.epoch, id, why);
        if new {
            self.slot.tell_refusal(id, why);
        }
        why.error(id).into()
    }

    /// Whether the token has a key of this id, of whatever class and type.
    pub(crate) fn has_key(&self, id: &[u8]) -> Result<bool, Fault> {
        Ok(!find::keys_of_any_form(self.session, id)?.is_empty())
    }

    /// Destroys the key that the token has of this id. Of several nobody knows which is ours: none is destroyed.
    pub(crate) fn destroy(&self, id: &[u8]) -> Result<(), Fault> {
        // Before it is gone: who misses it meanwhile takes it for no loss.
        lock(&self.slot.handles).leaving(id);
        let destroyed = self.destroy_alone(id);
        let mut handles = lock(&self.slot.handles);
        match destroyed {
            Ok(()) => handles.destroy(id),
            Err(_) => handles.stays(id),
        }
        destroyed
    }

    /// Destroys what a try to make a key may have left. Its id was free before.
    pub(crate) fn destroy_leftover(&self, id: &[u8]) -> Result<(), Fault> {
        for left in find::keys_of_any_form(self.session, id)? {
            self.session.destroy_object(left)?;
        }
        self.check_login()
    }

    fn destroy_alone(&self, id: &[u8]) -> Result<(), Fault> {
        match find::keys_of_any_form(self.session, id)?.as_slice() {
            [] => self.believe_absence(id, None),
            [key] => Ok(self.session.destroy_object(*key)?),
            [_, _, ..] => Err(self.refuse(id, Refusal::Several)),
        }
    }

    /// An empty find is a lost login or a token without its storage as well as a key that is gone. A key that was there in this
    /// epoch does not vanish on its own; a token that has lost its storage shows none of the other keys either.
    ///
    /// `form` is the class and type that was looked for, if it was one: an object of another one may well be there.
    fn believe_absence(&self, id: &[u8], form: Option<Form>) -> Result<(), Fault> {
        self.check_login()?;
        if self.functions().token(self.epoch.slot_id).is_err() {
            return Err(Fault::Broken(Level::Module, "the token shows no key and tells nothing of itself"));
        }
        let (known, another) = {
            let mut handles = lock(&self.slot.handles);
            (handles.get(self.epoch, id), handles.another(self.epoch, id))
        };
        if let Some(another) = another {
            return match self.has_key(&another)? {
                true => Ok(()),
                false => Err(Fault::Broken(Level::Module, "the token shows none of its keys")),
            };
        }
        match known {
            Some(Known::At(found, _)) if form.is_some_and(|form| form != found.form) => Ok(()),
            Some(Known::Lost | Known::At(..)) => Err(Fault::Broken(Level::Module, "a key vanished that was there")),
            // An epoch does not begin with an empty token that was not empty before.
            Some(Known::Destroyed) | None => Ok(()),
        }
    }

    /// A token that shows no object has none, unless one is known to be there.
    pub(crate) fn believe_emptiness(&self) -> Result<(), Fault> {
        let known = lock(&self.slot.handles).any(self.epoch);
        match known {
            Some(id) if !self.has_key(&id)? => self.believe_absence(&id, None),
            Some(_) | None => Ok(()),
        }
    }

    /// Login is a state of the token; every session shows it (PKCS #11, section 5.6.1).
    pub(crate) fn check_login(&self) -> Result<(), Fault> {
        match self.session.get_session_info()?.session_state() {
            SessionState::RwUser | SessionState::RoUser => Ok(()),
            SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => {
                Err(Fault::Broken(Level::Login, "the login is lost"))
            }
        }
    }

    /// Random bytes, and the login is there. Of a token without a generator a known ciphertext opens instead.
    pub(crate) fn ping(&self) -> Result<(), Fault> {
        let drawn = self.draw(GRAIN)?;
        self.check_login()?;
        let canary = *lock(&self.slot.canary);
        match (drawn.token, canary) {
            (Part::None(_), Some(canary)) if canary.lives(self.functions(), self.session).is_err() => {
                Err(Fault::Broken(Level::Session, "a known ciphertext does not open"))
            }
            (Part::None(_) | Part::Mixed | Part::LeftOut(..), _) => Ok(()),
        }
    }

    /// C_EncryptInit and C_Encrypt into `length` bytes, the length of the result.
    pub(crate) fn encrypt(&self, key: ObjectHandle, how: Mechanism<'_>, plaintext: &[u8], length: usize) -> Result<Vec<u8>, Fault> {
        let mut output = vec![0; length];
        let written = self.functions().encrypt(self.session.handle(), key.handle(), how, plaintext, &mut output)?;
        output.truncate(written);
        Ok(output)
    }

    /// C_DecryptInit and C_Decrypt into at most `length` bytes.
    pub(crate) fn decrypt(
        &self,
        key: ObjectHandle,
        how: Mechanism<'_>,
        ciphertext: &[u8],
        length: usize,
    ) -> Result<SecretBytes, Fault> {
        let mut written = 0;
        let mut output = SecretBytes::filled(length, |output| {
            written = self.functions().decrypt(self.session.handle(), key.handle(), how, ciphertext, output)?;
            Ok::<_, Failure>(())
        })?;
        output.truncate(written);
        Ok(output)
    }

    /// C_SignInit and C_Sign into `length` bytes, the length of the signature.
    pub(crate) fn sign(&self, key: ObjectHandle, how: Mechanism<'_>, data: &[u8], length: usize) -> Result<Vec<u8>, Fault> {
        let mut output = vec![0; length];
        let written = self.functions().sign(self.session.handle(), key.handle(), how, data, &mut output)?;
        output.truncate(written);
        Ok(output)
    }

    /// Real operations: random bytes, a block that is known, the login, the token itself, and what failed last of what must succeed.
    pub(crate) fn check_health(&self) -> Result<(), Fault> {
        self.ping()?;
        self.functions().token(self.epoch.slot_id)?;
        expect_health(self.canary_health(), "a known block does not go through the token")?;
        let doubted = *lock(&self.slot.doubted);
        if doubted.is_some() {
            expect_health(self.family_health(doubted), "an operation fails that must succeed")?;
            *lock(&self.slot.doubted) = None;
        }
        Ok(())
    }

    /// Random bytes of the token and of the process.
    pub(crate) fn random(&self, length: usize) -> Result<SecretBytes, Fault> {
        Ok(self.draw(length)?.bytes)
    }

    /// `N` random bytes that nobody else gets, out of a block drawn ahead: for IVs.
    pub(crate) fn iv<const N: usize>(&self) -> Result<[u8; N], Fault> {
        self.slot.random().iv(|length| self.random(length))
    }

    fn draw(&self, length: usize) -> Result<Drawn, Fault> {
        let drawn = self.slot.random().draw(length, |block| self.token_random(block))?;
        match drawn.token {
            // At every doubling: a generator that fails does so at every draw.
            Part::LeftOut(flaw, failures) if failures.is_power_of_two() => {
                let (token, flaw) = (self.slot.name(), flaw.to_string());
                tracing::error!(token, flaw, failures, "random numbers of the token failed a health test and are not used");
            }
            Part::None(Discovery::New) => {
                let token = self.slot.name();
                tracing::info!(token, "the token has no random number generator; all random bytes are the process's own");
            }
            Part::Mixed | Part::LeftOut(..) | Part::None(Discovery::Known) => {}
        }
        Ok(drawn)
    }

    /// C_GenerateRandom, of a token that says that it can.
    fn token_random(&self, block: &mut [u8]) -> Result<(), Failure> {
        if self.slot.token().is_some_and(|token| !token.random_generator) {
            return Err(Failure::Pkcs11(RvError::RandomNoRng, Function::GenerateRandom));
        }
        self.functions().random(self.session.handle(), block)
    }
}

fn expect_health(health: Health, what: &'static str) -> Result<(), Fault> {
    match health {
        Health::Works => Ok(()),
        Health::Fails => Err(Fault::Broken(Level::Token, what)),
        Health::Unknown => Err(Fault::Broken(Level::Operation, "the token is too busy to say how it is")),
    }
}
