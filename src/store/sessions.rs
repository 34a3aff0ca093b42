//! Temporary credentials: sealed and opened under keys out of the root key, kept nowhere, so that every node takes those of any other.
//!
//! An AccessKey of a session has a key and a secret of its own, derived from its id: what was sealed for another id, or was changed,
//! does not open. No two values are sealed under one key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{RootKey, Store};
use crate::base::{Error, Result, SecretBytes};
use crate::model::AccessKeyId;

/// The most characters of a token: a session policy and the names, twice over.
const TOKEN: usize = 8192;
/// The version of what is sealed, its first byte.
const VERSION: u8 = 1;
/// Each key seals one value.
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];
/// Length of a secret in bytes, before its encoding.
const SECRET: usize = 32;

/// What the keys of sessions are derived from.
pub(super) struct SessionKeys(Prk);

/// Why a token does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// It is no token.
    Malformed,
    /// It is another AccessKey's, or was changed, or was sealed under another root key.
    Foreign,
}

impl SessionKeys {
    pub(super) fn new(root: &RootKey) -> Result<Self> {
        let key = root.derive(&[b"temporary credentials, version 1"])?;
        Ok(Self(Prk::new_less_safe(HKDF_SHA256, key.expose())))
    }

    fn sealing(&self, id: &AccessKeyId) -> Result<LessSafeKey, Unspecified> {
        let key = UnboundKey::from(self.0.expand(&[b"sealing: ", id.as_str().as_bytes()], &AES_256_GCM)?);
        Ok(LessSafeKey::new(key))
    }
}

impl Store {
    /// The token of a session: what is sealed in it opens with the AccessKey of this id alone, for which nothing else may be sealed.
    ///
    /// # Errors
    /// None in practice.
    pub fn seal_session(&self, id: &AccessKeyId, session: &[u8]) -> Result<String> {
        let failed = |_: Unspecified| Error::internal("a session cannot be sealed");
        let key = self.session_keys.sealing(id).map_err(failed)?;
        let mut sealed = session.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(NONCE), Aad::from([VERSION]), &mut sealed).map_err(failed)?;
        sealed.insert(0, VERSION);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// What is sealed in a token.
    ///
    /// # Errors
    /// Why it does not open.
    pub fn open_session(&self, id: &AccessKeyId, token: &str) -> Result<Vec<u8>, Unopened> {
        if token.len() > TOKEN {
            return Err(Unopened::Malformed);
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Unopened::Malformed)?;
        let Some((&mut VERSION, sealed)) = bytes.split_first_mut() else { return Err(Unopened::Malformed) };
        let key = self.session_keys.sealing(id).map_err(|_| Unopened::Foreign)?;
        let opened = key.open_in_place(Nonce::assume_unique_for_key(NONCE), Aad::from([VERSION]), sealed);
        opened.map(|opened| opened.to_vec()).map_err(|_| Unopened::Foreign)
    }

    /// What requests of the AccessKey of a session are signed with, 43 letters, digits, `-` and `_`.
    ///
    /// # Errors
    /// None in practice.
    pub fn session_secret(&self, id: &AccessKeyId) -> Result<SecretBytes> {
        let failed = |_: Unspecified| Error::internal("a secret cannot be derived");
        let info = [b"secret: ", id.as_str().as_bytes()];
        let okm = self.session_keys.0.expand(&info, HKDF_SHA256).map_err(failed)?;
        let secret = SecretBytes::filled(SECRET, |bytes| okm.fill(bytes).map_err(failed))?;
        Ok(SecretBytes::new(URL_SAFE_NO_PAD.encode(secret.expose()).into_bytes()))
    }
}
