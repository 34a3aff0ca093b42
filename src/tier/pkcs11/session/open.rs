//! A session in the hands of one call: the operations that the algorithms are made of.
//!
//! Made by `slot` alone, for as long as the call runs. It knows handles and lengths; which object a key is stands in `objects`, and
//! what an algorithm is made of in `keys`.

use cryptoki::context::Function;
use cryptoki::error::{Error as Failure, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState};

use crate::base::SecretBytes;
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::answer::{Level, Profile};
use crate::tier::pkcs11::library::functions::{Functions, Mechanism};
use crate::tier::pkcs11::library::lease::Lease;
use crate::tier::pkcs11::session::epoch::Epoch;
use crate::tier::pkcs11::session::memory::TokenMemory;
use crate::tier::pkcs11::session::random::{Discovery, Drawn, GRAIN, Part};

/// A session in the hands of one call.
pub(crate) struct OpenSession<'a> {
    library: &'a Lease,
    memory: &'a TokenMemory,
    session: &'a Session,
    epoch: Epoch,
}

impl<'a> OpenSession<'a> {
    /// For one call.
    pub(crate) fn new(library: &'a Lease, memory: &'a TokenMemory, session: &'a Session, epoch: Epoch) -> Self {
        Self { library, memory, session, epoch }
    }

    /// The fast path into the module.
    pub(crate) fn functions(&self) -> &Functions {
        self.library.functions()
    }

    /// What is remembered of the token.
    pub(crate) fn memory(&self) -> &TokenMemory {
        self.memory
    }

    /// The safe binding of the session.
    pub(crate) fn binding(&self) -> &Session {
        self.session
    }

    /// The epoch that the session belongs to.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How the module behaves.
    pub(crate) fn profile(&self) -> Profile {
        self.memory.profile()
    }

    /// The least and the most length of the keys of a mechanism, in the mechanism's own unit.
    pub(crate) fn key_sizes(&self, mechanism: MechanismType) -> Result<(usize, usize), Failure> {
        let info = self.library.context()?.get_mechanism_info(self.epoch.slot_id.try_into()?, mechanism)?;
        Ok((info.min_key_size(), info.max_key_size()))
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
        let canary = self.memory.canary();
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

    /// Random bytes of the token and of the process.
    pub(crate) fn random(&self, length: usize) -> Result<SecretBytes, Fault> {
        Ok(self.draw(length)?.bytes)
    }

    /// `N` random bytes that nobody else gets, out of a block drawn ahead: for IVs.
    pub(crate) fn iv<const N: usize>(&self) -> Result<[u8; N], Fault> {
        self.memory.random().iv(|length| self.random(length))
    }

    fn draw(&self, length: usize) -> Result<Drawn, Fault> {
        let drawn = self.memory.random().draw(length, |block| self.token_random(block))?;
        match drawn.token {
            // At every doubling: a generator that fails does so at every draw.
            Part::LeftOut(flaw, failures) if failures.is_power_of_two() => {
                let (token, flaw) = (self.memory.name(), flaw.to_string());
                tracing::error!(token, flaw, failures, "random numbers of the token failed a health test and are not used");
            }
            Part::None(Discovery::New) => {
                let token = self.memory.name();
                tracing::info!(token, "the token has no random number generator; all random bytes are the process's own");
            }
            Part::Mixed | Part::LeftOut(..) | Part::None(Discovery::Known) => {}
        }
        Ok(drawn)
    }

    /// C_GenerateRandom, of a token that says that it can.
    fn token_random(&self, block: &mut [u8]) -> Result<(), Failure> {
        if self.memory.token().is_some_and(|token| !token.random_generator) {
            return Err(Failure::Pkcs11(RvError::RandomNoRng, Function::GenerateRandom));
        }
        self.functions().random(self.session.handle(), block)
    }
}
