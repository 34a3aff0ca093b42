//! Sealing of columns: AES-256-GCM under a key derived from the root key, bound to table, row and column.
//!
//! The database is not trusted: a value that was changed, or moved to another row or column, does not open. That an old value
//! was put back in its own place is not seen.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};

use crate::base::{Error, Kind, Result, SecretBytes, durable, random};

/// Length of the root key in bytes.
const ROOT_KEY: usize = 32;

/// The key that everything secret in the store is sealed under.
pub struct RootKey(SecretBytes);

impl RootKey {
    /// A new one.
    pub fn generate() -> Self {
        let mut key = SecretBytes::new(vec![0; ROOT_KEY]);
        random::fill(key.expose_mut());
        Self(key)
    }

    /// Reads it from its file.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], naming the file and what to do, when it is not there, is readable by others, or is not 32 bytes.
    pub fn load(path: &Path) -> Result<Self> {
        let unavailable = |text: String| Error::new(Kind::Unavailable, text);
        let shown = path.display();
        let mut file = std::fs::File::open(path).map_err(|error| {
            unavailable(match error.kind() {
                ErrorKind::NotFound => {
                    format!("The root key file {shown} is not there: put back its copy; for a new installation `keystead init` makes one.")
                }
                _ => format!("The root key file {shown} cannot be read: {error}."),
            })
        })?;
        let mode = file.metadata().map_err(Error::internal)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(unavailable(format!("The root key file {shown} is open to others: chmod 600 {shown}.")));
        }
        // One byte more than it should have, to see whether it has more.
        let mut key = SecretBytes::new(vec![0; ROOT_KEY + 1]);
        let mut filled = 0;
        loop {
            let read = file
                .read(&mut key.expose_mut()[filled..])
                .map_err(|error| unavailable(format!("The root key file {shown} cannot be read: {error}.")))?;
            filled += read;
            if read == 0 {
                break;
            }
        }
        if filled != ROOT_KEY {
            return Err(unavailable(format!(
                "The root key file {shown} does not hold a root key: it has other than {ROOT_KEY} bytes."
            )));
        }
        key.truncate(ROOT_KEY);
        Ok(Self(key))
    }

    /// A key of its own for the fingerprints of refused PINs.
    ///
    /// # Errors
    /// None in practice: the length is fixed.
    pub fn pin_fingerprint_key(&self) -> Result<SecretBytes> {
        self.derive(&[b"fingerprints of refused PINs, version 1"])
    }

    /// A key of its own for the chain of the audit log of this name.
    ///
    /// # Errors
    /// None in practice: the length is fixed.
    pub fn audit_key(&self, log: &str) -> Result<SecretBytes> {
        self.derive(&[b"audit log, version 1: ", log.as_bytes()])
    }

    pub(super) fn derive(&self, info: &[&[u8]]) -> Result<SecretBytes> {
        let secret = Salt::new(HKDF_SHA256, b"keystead").extract(self.0.expose());
        let key = secret.expand(info, HKDF_SHA256);
        let failed = |_: aws_lc_rs::error::Unspecified| Error::internal("a key cannot be derived from the root key");
        SecretBytes::filled(ROOT_KEY, |bytes| key.map_err(failed)?.fill(bytes).map_err(failed))
    }

    /// Writes it to a new file that only the owner may read.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`] when the file is there: nothing is overwritten.
    pub fn write_new(&self, path: &Path) -> Result<()> {
        let failed = |error: std::io::Error| {
            let kind = if error.kind() == ErrorKind::AlreadyExists { Kind::ResourceExists } else { Kind::Unavailable };
            Error::new(kind, format!("The root key file {} cannot be written: {error}.", path.display()))
        };
        durable::write_new(path, self.0.expose()).map_err(failed)
    }
}

/// Where a sealed value belongs.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) table: &'a str,
    pub(super) row: &'a str,
    pub(super) column: &'a str,
}

impl Place<'_> {
    /// Each part with its length before it, so that no two places read alike.
    fn aad(self) -> Vec<u8> {
        let mut aad = Vec::new();
        for part in [self.table, self.row, self.column] {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part.as_bytes());
        }
        aad
    }
}

/// Length of a fingerprint in bytes: HMAC-SHA-256.
pub(super) const FINGERPRINT: usize = 32;

/// Seals and opens.
pub(super) struct Sealer {
    sealing: LessSafeKey,
    /// Of its own purpose, so that no fingerprint says anything of what is sealed.
    fingerprints: hmac::Key,
}

impl Sealer {
    pub(super) fn new(root: &RootKey) -> Result<Self> {
        let unspecified = |_: aws_lc_rs::error::Unspecified| Error::internal("the sealing key cannot be derived");
        let secret = Salt::new(HKDF_SHA256, b"keystead").extract(root.0.expose());
        let key = secret.expand(&[b"sealed columns, version 1"], &AES_256_GCM).map_err(unspecified)?;
        let fingerprints = secret.expand(&[b"fingerprints of imported material, version 1"], HMAC_SHA256).map_err(unspecified)?;
        Ok(Self { sealing: LessSafeKey::new(UnboundKey::from(key)), fingerprints: fingerprints.into() })
    }

    /// Nonce, ciphertext, tag.
    pub(super) fn seal(&self, place: Place<'_>, secret: &SecretBytes) -> Result<Vec<u8>> {
        // Random nonces: 2^32 values may be sealed under one key (SP 800-38D, section 8.3), far more than a store has.
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut sealed = Vec::with_capacity(NONCE_LEN + secret.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(secret.expose());
        let tag = self
            .sealing
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.aad()), &mut sealed[NONCE_LEN..])
            .map_err(|_| Error::internal("a value cannot be sealed"))?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// What tells two secrets of one place apart and says nothing else of them.
    pub(super) fn fingerprint(&self, place: Place<'_>, secret: &SecretBytes) -> [u8; FINGERPRINT] {
        let mut context = hmac::Context::with_key(&self.fingerprints);
        context.update(&place.aad());
        context.update(secret.expose());
        let mut fingerprint = [0; FINGERPRINT];
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }

    /// Seals what is no secret, to know later that it was written by us, and in this place.
    pub(super) fn prove(&self, place: Place<'_>, fact: &[u8]) -> Result<Vec<u8>> {
        self.seal(place, &SecretBytes::new(fact.to_vec()))
    }

    /// What was sealed as a proof for this place; nothing without a proof, or for another one.
    pub(super) fn proven(&self, place: Place<'_>, proof: Option<&[u8]>) -> Option<Vec<u8>> {
        Some(self.open(place, proof?).ok()?.expose().to_vec())
    }

    pub(super) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<SecretBytes> {
        let failed = || Error::internal(format!("{}.{} of {} does not open", place.table, place.column, place.row));
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(failed)?;
        let mut secret = SecretBytes::new(ciphertext.to_vec());
        let length = self
            .sealing
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place.aad()), secret.expose_mut())
            .map_err(|_| failed())?
            .len();
        secret.truncate(length);
        Ok(secret)
    }
}
