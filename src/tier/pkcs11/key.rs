//! A key in the token, ready for use: each operation is one call of [`Slot::run`], in the place that its measured cost asks for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::{KeySpec, KeyUsage, MacAlgorithm, SignatureAlgorithm};
use crate::tier::pkcs11::keys::identity::{KnownBy, Wanted};
use crate::tier::pkcs11::keys::known_good::Subject;
use crate::tier::pkcs11::keys::mechanism::{self, BlockMode};
use crate::tier::pkcs11::library::functions::Mechanism;
use crate::tier::pkcs11::session::open::{Calling, Fault};
use crate::tier::pkcs11::slot::learnt::decoding;
use crate::tier::pkcs11::slot::sessions::Place;
use crate::tier::pkcs11::slot::slot::{Order, Slot};
use crate::tier::pkcs11::slot::status::Operation;
use crate::tier::{
    AAD_LIMIT, Ability, Capabilities, CheckValue, Cipher, Decryption, Encrypted, Encryption, KeyHandle, Mac, PublicKey,
    Sha256Digest, Share, Signer, Work, check_mac_message, does_not_fit, modulus_bytes, padding,
};

/// A call that takes less than this is cheaper where it is: handing it to a thread and back costs 30 to 75 µs.
const INLINE_COST: Duration = Duration::from_micros(100);

/// A call with more data than this takes longer than one was measured to take.
const INLINE_BYTES: usize = 8 * 1024;

/// Whether a call of this cost is cheaper where it is than on another thread.
pub(super) fn is_inline(cost: Option<Duration>) -> bool {
    cost.is_some_and(|cost| cost < INLINE_COST)
}

/// A key object of the token.
pub(super) struct TokenKey {
    pub(super) slot: Arc<Slot>,
    pub(super) capabilities: Arc<Capabilities>,
    pub(super) wanted: Arc<Wanted>,
}

impl TokenKey {
    /// Where a call of this ability on so many bytes runs.
    fn place(&self, ability: Ability, bytes: usize) -> Place {
        let cost = self.capabilities.of(self.wanted.spec, ability).and_then(|line| line.cost);
        if is_inline(cost) && bytes <= INLINE_BYTES { Place::Inline } else { Place::Thread }
    }

    /// Refuses what the token was found to lack; runs `operation` with the key otherwise.
    async fn operate<T, F>(&self, what: Operation, share: Share, ability: Ability, bytes: usize, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Calling<'_>, cryptoki::object::ObjectHandle) -> Result<T, Fault> + Send + 'static,
    {
        self.capabilities.require(self.wanted.spec, ability)?;
        let subject = Subject { key: Arc::clone(&self.wanted), ability };
        let deadline = Instant::now() + self.slot.settings.deadline;
        let order = Order { operation: what, share, place: self.place(ability, bytes), deadline };
        let call = move |calling: &Calling<'_>| {
            calling.with_key(&subject.key, |key| operation(calling, key)).map_err(|fault| fault.at(&subject))
        };
        let done = self.slot.run(order, call).await?;
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
                    self.operate(Operation::Encrypt, share, ability, bytes + aad.len(), move |calling, key| {
                        mechanism::gcm_encrypt(calling, key, &aad, &plaintext)
                    })
                    .await
                }
                Encryption::AesCbc { padding } => {
                    let padded = padding::pad(plaintext, padding)?;
                    self.operate(Operation::Encrypt, share, ability, bytes, move |calling, key| {
                        mechanism::blocks_encrypt(calling, key, BlockMode::Cbc, &padded)
                    })
                    .await
                }
                Encryption::AesEcb { padding } => {
                    let padded = padding::pad(plaintext, padding)?;
                    self.operate(Operation::Encrypt, share, ability, bytes, move |calling, key| {
                        mechanism::blocks_encrypt(calling, key, BlockMode::Ecb, &padded)
                    })
                    .await
                }
                // The public half does it; the token is not bothered.
                how @ (Encryption::RsaesOaep(_) | Encryption::Ecies) => {
                    self.capabilities.require(self.wanted.spec, ability)?;
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
                    self.operate(Operation::Decrypt, share, ability, bytes + aad.len(), move |calling, key| {
                        mechanism::gcm_decrypt(calling, key, &iv, &aad, &ciphertext)
                    })
                    .await
                }
                Decryption::AesCbc { iv, padding } => {
                    let call = move |calling: &Calling<'_>, key| {
                        mechanism::blocks_decrypt(calling, key, Mechanism::AesCbc { iv: &iv }, &ciphertext, padding)
                    };
                    self.operate(Operation::Decrypt, share, ability, bytes, call).await
                }
                Decryption::AesEcb { padding } => {
                    let call = move |calling: &Calling<'_>, key| {
                        mechanism::blocks_decrypt(calling, key, Mechanism::AesEcb, &ciphertext, padding)
                    };
                    self.operate(Operation::Decrypt, share, ability, bytes, call).await
                }
                Decryption::RsaesOaep(hash) => {
                    let modulus = modulus_bytes(spec).ok_or_else(|| does_not_fit(spec, algorithm))?;
                    let place = decoding(&self.capabilities, spec, ability);
                    let call =
                        move |calling: &Calling<'_>, key| mechanism::oaep_decrypt(calling, key, modulus, hash, place, &ciphertext);
                    self.operate(Operation::Decrypt, share, ability, bytes, call).await
                }
                Decryption::Ecies => {
                    self.operate(Operation::Decrypt, share, ability, bytes, move |calling, key| {
                        mechanism::ecies_decrypt(calling, key, spec, &ciphertext)
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
            let call = move |calling: &Calling<'_>, key| mechanism::sign(calling, key, algorithm, &digest, length);
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
            let call = move |calling: &Calling<'_>, key| mechanism::mac(calling, key, algorithm, &message);
            self.operate(Operation::Sign, share, Ability::Mac(algorithm), bytes, call).await
        })
    }
}

fn check_aad(aad: &[u8]) -> Result<()> {
    if aad.len() <= AAD_LIMIT { Ok(()) } else { Err(Error::invalid(format!("Aad has at most {AAD_LIMIT} bytes."))) }
}
