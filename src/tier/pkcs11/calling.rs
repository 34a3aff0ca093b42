//! A session in the hands of one call: the operations that the algorithms are made of.
//!
//! Made by [`Slot::run`](super::slot::Slot::run) alone, for as long as the call runs. It knows handles and lengths, no algorithm.

use cryptoki::error::Error as Failure;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState};

use super::call::{Functions, Mechanism};
use super::slot::Slot;
use super::{objects, rv};
use crate::base::{Error, Kind, Result, SecretBytes};

/// What went wrong inside a call: the module's answer, or ours.
pub(super) enum Fault {
    /// A PKCS #11 function failed.
    Module(Failure),
    /// The input was refused, or the result did not hold.
    Ours(Error),
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
            Fault::Module(failure) => rv::public(&failure),
            Fault::Ours(error) => error,
        }
    }
}

/// A session in the hands of one call.
pub(super) struct Calling<'a> {
    slot: &'a Slot,
    session: &'a Session,
}

impl<'a> Calling<'a> {
    /// For one call.
    pub(super) fn new(slot: &'a Slot, session: &'a Session) -> Self {
        Self { slot, session }
    }

    fn functions(&self) -> &Functions {
        self.slot.functions()
    }

    /// The safe binding of the session.
    pub(super) fn session(&self) -> &Session {
        self.session
    }

    /// The slot, to remember and forget handles.
    pub(super) fn slot(&self) -> &Slot {
        self.slot
    }

    /// Runs `operation` with the handle of the object whose CKA_ID is `id`: remembered or found. A handle that the module no
    /// longer knows is looked up again, once; the operation had not begun then.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`] when the token does not have it.
    pub(super) fn with_key<T>(&self, id: &[u8], operation: impl Fn(ObjectHandle) -> Result<T, Fault>) -> Result<T, Fault> {
        let remembered = self.slot.remembered(id);
        if let Some(handle) = remembered {
            match operation(handle) {
                Err(Fault::Module(failure)) if rv::is_stale_handle(&failure) => self.slot.forget(id),
                result => return result,
            }
        }
        let Some(handle) = objects::find_key(self.session, id)? else { return Err(self.why_not_found()?.into()) };
        self.slot.remember(id.to_vec(), handle);
        operation(handle)
    }

    /// An empty find is a lost login as well as a key that is gone: the session's state tells them apart.
    fn why_not_found(&self) -> Result<Error, Failure> {
        Ok(match self.session.get_session_info()?.session_state() {
            SessionState::RwUser | SessionState::RoUser => Error::new(Kind::KeyNotFound, "The token does not have the key."),
            SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => lost_login(),
        })
    }

    /// C_EncryptInit and C_Encrypt into `length` bytes, the length of the result.
    pub(super) fn encrypt(&self, key: ObjectHandle, how: Mechanism<'_>, plaintext: &[u8], length: usize) -> Result<Vec<u8>, Fault> {
        let mut output = vec![0; length];
        let written = self.functions().encrypt(self.session.handle(), key.handle(), how, plaintext, &mut output)?;
        output.truncate(written);
        Ok(output)
    }

    /// C_DecryptInit and C_Decrypt into at most `length` bytes.
    pub(super) fn decrypt(
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
    pub(super) fn sign(&self, key: ObjectHandle, how: Mechanism<'_>, data: &[u8], length: usize) -> Result<Vec<u8>, Fault> {
        let mut output = vec![0; length];
        let written = self.functions().sign(self.session.handle(), key.handle(), how, data, &mut output)?;
        output.truncate(written);
        Ok(output)
    }

    /// A real operation, and the login is there.
    pub(super) fn check_health(&self) -> Result<(), Fault> {
        self.random(16)?;
        match self.session.get_session_info()?.session_state() {
            SessionState::RwUser | SessionState::RoUser => Ok(()),
            SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => Err(lost_login().into()),
        }
    }

    /// C_GenerateRandom.
    pub(super) fn random(&self, length: usize) -> Result<SecretBytes, Fault> {
        Ok(SecretBytes::filled(length, |output| self.functions().random(self.session.handle(), output))?)
    }

    /// `N` random bytes of the token that nobody else gets, out of a block drawn ahead: for IVs.
    pub(super) fn iv<const N: usize>(&self) -> Result<[u8; N], Fault> {
        self.slot.random().draw(|block| self.functions().random(self.session.handle(), block)).map_err(Fault::from)
    }
}

fn lost_login() -> Error {
    Error::new(Kind::Unavailable, "The login to the hardware security module is lost.")
}
