//! A ciphertext that must open: tells a wrong ciphertext from a module that fails.
//!
//! SoftHSM and others answer a flipped byte as they answer a fault. The canary is one AES block under a key that lives in the
//! login session; it goes through the same C functions that are in doubt.

use cryptoki::error::Error as Failure;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::tier::pkcs11::library::functions::{Functions, Mechanism};

/// The block.
const SONG: [u8; 16] = *b"keystead canary.";

/// A key and what it made of the block.
#[derive(Clone, Copy)]
pub(crate) struct Canary {
    key: ObjectHandle,
    ciphertext: [u8; 16],
}

impl Canary {
    /// Makes the key in `session`, which it lives as long as.
    ///
    /// # Errors
    /// The token does no AES-ECB, or fails.
    pub(crate) fn hatch(functions: &Functions, session: &Session) -> Result<Self, Failure> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::ValueLen(32.into()),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        let key = session.generate_key(&cryptoki::mechanism::Mechanism::AesKeyGen, &template)?;
        encrypt(functions, session, key).map(|ciphertext| Self { key, ciphertext }).inspect_err(|_| {
            let _ = session.destroy_object(key);
        })
    }

    /// Destroys the key.
    pub(crate) fn let_go(self, session: &Session) {
        let _ = session.destroy_object(self.key);
    }

    /// Whether the block becomes what it was, and that the block, on this session.
    ///
    /// # Errors
    /// Not so.
    pub(crate) fn lives(&self, functions: &Functions, session: &Session) -> Result<(), Failure> {
        let mut block = [0; 16];
        let written = functions.decrypt(session.handle(), self.key.handle(), Mechanism::AesEcb, &self.ciphertext, &mut block)?;
        let encrypted = encrypt(functions, session, self.key)?;
        if written == 16 && block == SONG && encrypted == self.ciphertext { Ok(()) } else { Err(Failure::InvalidValue) }
    }
}

/// The block under a key.
fn encrypt(functions: &Functions, session: &Session, key: ObjectHandle) -> Result<[u8; 16], Failure> {
    let mut ciphertext = [0; 16];
    match functions.encrypt(session.handle(), key.handle(), Mechanism::AesEcb, &SONG, &mut ciphertext)? {
        16 => Ok(ciphertext),
        _ => Err(Failure::InvalidValue),
    }
}
