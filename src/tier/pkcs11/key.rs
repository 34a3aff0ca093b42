//! A key in the token, ready for use: each operation is one call of [`Slot::run`], in the place that its measured cost asks for.

use std::sync::Arc;
use std::time::Duration;

use cryptoki::object::ObjectHandle;
use tokio::time::Instant;

use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::{KeySpec, KeyUsage, MacAlgorithm, SignatureAlgorithm};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::identity::{KnownBy, Wanted};
use crate::tier::pkcs11::keys::known_good::KeyUse;
use crate::tier::pkcs11::keys::learnt::Learnt;
use crate::tier::pkcs11::keys::mechanism::{self, BlockMode};
use crate::tier::pkcs11::library::functions::Mechanism;
use crate::tier::pkcs11::session::known_good::Subject;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::pkcs11::slot::order::{Call, Order, Place};
use crate::tier::pkcs11::slot::slot::Slot;
use crate::tier::pkcs11::slot::status::Operation;
use crate::tier::{
    AAD_LIMIT, Ability, CheckValue, Cipher, Decryption, Encrypted, Encryption, KeyHandle, Mac, PublicKey, Sha256Digest, Share,
    Signer, Work, check_mac_message, does_not_fit, modulus_bytes, padding,
};

/// A call that takes less than this is cheaper where it is: handing it to a thread and back costs 30 to 75 µs.
const INLINE_COST: Duration = Duration::from_micros(100);

/// A call with more data than this takes longer than one was measured to take.
const INLINE_BYTES: usize = 8 * 1024;

/// Whether a call of this cost is cheaper where it is than on another thread.
pub(super) fn is_inline(cost: Option<Duration>) -> bool {
    cost.is_some_and(|cost| cost < INLINE_COST)
}

/// An operation with a key.
struct OnKey<F> {
    subject: KeyUse,
    operation: F,
}

impl<T, F> Call<T> for OnKey<F>
where
    F: Fn(&OpenSession<'_>, ObjectHandle) -> Result<T, Fault> + Send,
{
    fn run(&self, session: &OpenSession<'_>) -> Result<T, Fault> {
        session.with_key(&*self.subject.key, |key| (self.operation)(session, key)).map_err(Fault::of_key)
    }

    fn subject(&self) -> Option<&dyn Subject> {
        Some(&self.subject)
    }
}

/// A key object of the token.
pub(super) struct TokenKey {
    pub(super) slot: Arc<Slot>,
    pub(super) learnt: Arc<Learnt>,
    pub(super) wanted: Arc<Wanted>,
}

impl TokenKey {
    /// Where a call of this ability on so many bytes runs.
    fn place(&self, ability: Ability, bytes: usize) -> Place {
        let cost = self.learnt.capabilities.of(self.wanted.spec, ability).and_then(|line| line.cost);
        if is_inline(cost) && bytes <= INLINE_BYTES { Place::Inline } else { Place::Thread }
    }

    /// Refuses what the token was found to lack; runs `operation` with the key otherwise.
    async fn operate<T, F>(&self, what: Operation, share: Share, ability: Ability, bytes: usize, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&OpenSession<'_>, ObjectHandle) -> Result<T, Fault> + Send + 'static,
    {
        self.learnt.capabilities.require(self.wanted.spec, ability)?;
        let subject = KeyUse { key: Arc::clone(&self.wanted), ability, learnt: Arc::clone(&self.learnt) };
        let deadline = Instant::now() + self.slot.settings.deadline;
        let order = Order { operation: what, share, place: self.place(ability, bytes), deadline };
        let done = self.slot.run(order, OnKey { subject, operation }).await?;
        self.slot.suspects.clear(&self.wanted.id);
        Ok(done)
    }
}

impl KeyHandle for TokenKey {
    fn spec(&self) -> KeySpec {
        self.wanted.spec
    }

    fn cipher(&self) -> Option<&dyn Cipher> {
        match self.wanted.usage {
            KeyUsage::EncryptDecrypt => Some(self),
            KeyUsage::SignVerify | KeyUsage::GenerateVerifyMac => None,
        }
    }

    fn signer(&self) -> Option<&dyn Signer> {
        match self.wanted.usage {
            KeyUsage::SignVerify => Some(self),
            KeyUsage::EncryptDecrypt | KeyUsage::GenerateVerifyMac => None,
        }
    }

    fn mac(&self) -> Option<&dyn Mac> {
        match self.wanted.usage {
            KeyUsage::GenerateVerifyMac => Some(self),
            KeyUsage::EncryptDecrypt | KeyUsage::SignVerify => None,
        }
    }

    fn public_key(&self) -> Option<&PublicKey> {
        self.wanted.public_key.as_ref()
    }

    fn check_value(&self) -> Option<&CheckValue> {
        match &self.wanted.known_by {
            KnownBy::FirstSeen(value) => value.get(),
            KnownBy::Witness(_) => None,
        }
    }
}

impl Cipher for TokenKey {
    fn encrypt(&self, share: Share, how: Encryption, plaintext: SecretBytes) -> Work<'_, Encrypted> {
        Box::pin(async move {
            let algorithm = how.algorithm();
            if !self.wanted.spec.encryption_algorithms().contains(&algorithm) {
                return Err(does_not_fit(self.wanted.spec, algorithm));
            }
            let ability = Ability::Encrypt(algorithm);
            let bytes = plaintext.len();
            match how {
                Encryption::AesGcm { aad } => {
                    check_aad(&aad)?;
                    self.operate(Operation::Encrypt, share, ability, bytes + aad.len(), move |session, key| {
                        mechanism::gcm_encrypt(session, key, &aad, &plaintext)
                    })
                    .await
                }
                Encryption::AesCbc { padding } => {
                    let padded = padding::pad(plaintext, padding)?;
                    self.operate(Operation::Encrypt, share, ability, bytes, move |session, key| {
                        mechanism::blocks_encrypt(session, key, BlockMode::Cbc, &padded)
                    })
                    .await
                }
                Encryption::AesEcb { padding } => {
                    let padded = padding::pad(plaintext, padding)?;
                    self.operate(Operation::Encrypt, share, ability, bytes, move |session, key| {
                        mechanism::blocks_encrypt(session, key, BlockMode::Ecb, &padded)
                    })
                    .await
                }
                // The public half does it; the token is not bothered.
                how @ (Encryption::RsaesOaep(_) | Encryption::Ecies) => {
                    self.learnt.capabilities.require(self.wanted.spec, ability)?;
                    let public_key = self.wanted.public_key.as_ref().ok_or_else(|| does_not_fit(self.wanted.spec, algorithm))?;
                    public_key.encrypt(how, &plaintext)
                }
            }
        })
    }

    fn decrypt(&self, share: Share, how: Decryption, ciphertext: Vec<u8>) -> Work<'_, SecretBytes> {
        Box::pin(async move {
            let algorithm = how.algorithm();
            if !self.wanted.spec.encryption_algorithms().contains(&algorithm) {
                return Err(does_not_fit(self.wanted.spec, algorithm));
            }
            let ability = Ability::Encrypt(algorithm);
            let bytes = ciphertext.len();
            let spec = self.wanted.spec;
            match how {
                Decryption::AesGcm { iv, aad } => {
                    check_aad(&aad)?;
                    self.operate(Operation::Decrypt, share, ability, bytes + aad.len(), move |session, key| {
                        mechanism::gcm_decrypt(session, key, &iv, &aad, &ciphertext)
                    })
                    .await
                }
                Decryption::AesCbc { iv, padding } => {
                    let call = move |session: &OpenSession<'_>, key| {
                        mechanism::blocks_decrypt(session, key, Mechanism::AesCbc { iv: &iv }, &ciphertext, padding)
                    };
                    self.operate(Operation::Decrypt, share, ability, bytes, call).await
                }
                Decryption::AesEcb { padding } => {
                    let call = move |session: &OpenSession<'_>, key| {
                        mechanism::blocks_decrypt(session, key, Mechanism::AesEcb, &ciphertext, padding)
                    };
                    self.operate(Operation::Decrypt, share, ability, bytes, call).await
                }
                Decryption::RsaesOaep(hash) => {
                    let modulus = modulus_bytes(spec).ok_or_else(|| does_not_fit(spec, algorithm))?;
                    let place = self.learnt.decoding(spec, ability);
                    let call = move |session: &OpenSession<'_>, key| {
                        mechanism::oaep_decrypt(session, key, modulus, hash, place, &ciphertext)
                    };
                    self.operate(Operation::Decrypt, share, ability, bytes, call).await
                }
                Decryption::Ecies => {
                    self.operate(Operation::Decrypt, share, ability, bytes, move |session, key| {
                        mechanism::ecies_decrypt(session, key, spec, &ciphertext)
                    })
                    .await
                }
            }
        })
    }
}

impl Signer for TokenKey {
    fn sign(&self, share: Share, algorithm: SignatureAlgorithm, digest: Sha256Digest) -> Work<'_, Vec<u8>> {
        Box::pin(async move {
            if !self.wanted.spec.signature_algorithms().contains(&algorithm) {
                return Err(does_not_fit(self.wanted.spec, algorithm));
            }
            let length = mechanism::signature_length(self.wanted.spec);
            let call = move |session: &OpenSession<'_>, key| mechanism::sign(session, key, algorithm, &digest, length);
            self.operate(Operation::Sign, share, Ability::Sign(algorithm), digest.len(), call).await
        })
    }
}

impl Mac for TokenKey {
    fn mac(&self, share: Share, algorithm: MacAlgorithm, message: SecretBytes) -> Work<'_, SecretBytes> {
        Box::pin(async move {
            if self.wanted.spec.mac_algorithm() != Some(algorithm) {
                return Err(does_not_fit(self.wanted.spec, algorithm));
            }
            check_mac_message(&message)?;
            let bytes = message.len();
            let call = move |session: &OpenSession<'_>, key| mechanism::mac(session, key, algorithm, &message);
            self.operate(Operation::Sign, share, Ability::Mac(algorithm), bytes, call).await
        })
    }
}

fn check_aad(aad: &[u8]) -> Result<()> {
    if aad.len() <= AAD_LIMIT { Ok(()) } else { Err(Error::invalid(format!("Aad has at most {AAD_LIMIT} bytes."))) }
}
