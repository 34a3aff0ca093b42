//! AES keys of the software tier: GCM, CBC and ECB with expanded keys.
//!
//! Opened by the tier. Calls take microseconds and run where they are asked for. Knows no stored form but the raw key.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;

use crate::base::{Error, Result, SecretBytes, random};
use crate::model::algorithm::{KeySpec, PaddingMode};
use crate::tier::software::lives::Guard;
use crate::tier::{
    AAD_LIMIT, CheckValue, Cipher, Decryption, Encrypted, Encryption, Iv, KeyHandle, Mac, PublicKey, Share, Signer, Work,
    does_not_fit, padding,
};

/// The tag of AES-GCM (SP 800-38D), in bytes.
const TAG: usize = 16;

/// An AES key, expanded for all modes.
pub(super) struct AesKey {
    spec: KeySpec,
    guard: Guard,
    gcm: LessSafeKey,
    cbc: Block,
    ecb: Block,
}

struct Block {
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
}

impl AesKey {
    /// Expands a raw key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when its length is not the spec's.
    pub(super) fn expand(spec: KeySpec, raw: &SecretBytes, guard: Guard) -> Result<Self> {
        let (gcm, block) = match spec {
            KeySpec::Aes256 => (&AES_256_GCM, &AES_256),
            KeySpec::Aes192 => (&AES_192_GCM, &AES_192),
            KeySpec::Aes128 => (&AES_128_GCM, &AES_128),
            KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096 | KeySpec::EcP256 | KeySpec::EcP256k => {
                return Err(Error::internal("a key pair is no AES key"));
            }
            KeySpec::HmacSha224 | KeySpec::HmacSha256 | KeySpec::HmacSha384 | KeySpec::HmacSha512 => {
                return Err(Error::internal("a key of HMAC is no AES key"));
            }
        };
        let wrong_length = |error: aws_lc_rs::error::Unspecified| {
            Error::invalid(format!("The key material has {} bytes, which does not fit the KeySpec {spec}.", raw.len()))
                .caused_by(error)
        };
        let unbound = || UnboundCipherKey::new(block, raw.expose()).map_err(wrong_length);
        Ok(Self {
            spec,
            guard,
            gcm: LessSafeKey::new(UnboundKey::new(gcm, raw.expose()).map_err(wrong_length)?),
            cbc: Block {
                encrypting: EncryptingKey::cbc(unbound()?).map_err(Error::internal)?,
                decrypting: DecryptingKey::cbc(unbound()?).map_err(Error::internal)?,
            },
            ecb: Block {
                encrypting: EncryptingKey::ecb(unbound()?).map_err(Error::internal)?,
                decrypting: DecryptingKey::ecb(unbound()?).map_err(Error::internal)?,
            },
        })
    }

    /// Encrypts at once.
    ///
    /// # Errors
    /// Those of [`Cipher::encrypt`].
    pub(super) fn encrypt_now(&self, how: &Encryption, plaintext: SecretBytes) -> Result<Encrypted> {
        self.guard.check()?;
        match how {
            Encryption::AesGcm { aad } => self.encrypt_gcm(aad, &plaintext),
            Encryption::AesCbc { padding } => {
                let iv = random::bytes();
                let ciphertext = encrypt(&self.cbc, EncryptionContext::Iv128(FixedLength::from(iv)), *padding, plaintext)?;
                Ok(Encrypted { iv: Iv::Cbc(iv), ciphertext })
            }
            Encryption::AesEcb { padding } => {
                let ciphertext = encrypt(&self.ecb, EncryptionContext::None, *padding, plaintext)?;
                Ok(Encrypted { iv: Iv::None, ciphertext })
            }
            Encryption::RsaesOaep(_) | Encryption::Ecies => Err(does_not_fit(self.spec, how.algorithm())),
        }
    }

    /// Decrypts at once, in place.
    ///
    /// # Errors
    /// Those of [`Cipher::decrypt`].
    pub(super) fn decrypt_now(&self, how: &Decryption, ciphertext: Vec<u8>) -> Result<SecretBytes> {
        self.guard.check()?;
        let ciphertext = SecretBytes::new(ciphertext);
        match how {
            Decryption::AesGcm { iv, aad } => self.decrypt_gcm(*iv, aad, ciphertext),
            Decryption::AesCbc { iv, padding } => {
                decrypt(&self.cbc, DecryptionContext::Iv128(FixedLength::from(*iv)), *padding, ciphertext)
            }
            Decryption::AesEcb { padding } => decrypt(&self.ecb, DecryptionContext::None, *padding, ciphertext),
            Decryption::RsaesOaep(_) | Decryption::Ecies => Err(does_not_fit(self.spec, how.algorithm())),
        }
    }

    fn encrypt_gcm(&self, aad: &[u8], plaintext: &SecretBytes) -> Result<Encrypted> {
        check_aad(aad)?;
        let iv = random::bytes();
        let nonce = Nonce::assume_unique_for_key(iv);
        let sealed = SecretBytes::filled(plaintext.len() + TAG, |buffer| {
            let (content, tag) = buffer.split_at_mut(plaintext.len());
            content.copy_from_slice(plaintext.expose());
            let made = self.gcm.seal_in_place_separate_tag(nonce, Aad::from(aad), content).map_err(Error::internal)?;
            tag.copy_from_slice(made.as_ref());
            Ok::<_, Error>(())
        })?;
        Ok(Encrypted { iv: Iv::Gcm(iv), ciphertext: sealed.into_exposed() })
    }

    fn decrypt_gcm(&self, iv: [u8; 12], aad: &[u8], mut ciphertext: SecretBytes) -> Result<SecretBytes> {
        check_aad(aad)?;
        let nonce = Nonce::assume_unique_for_key(iv);
        let opened = self.gcm.open_in_place(nonce, Aad::from(aad), ciphertext.expose_mut());
        let length = opened.map_err(|_| Error::undecryptable())?.len();
        ciphertext.truncate(length);
        Ok(ciphertext)
    }
}

fn check_aad(aad: &[u8]) -> Result<()> {
    if aad.len() > AAD_LIMIT {
        return Err(Error::invalid(format!("The Aad has {} bytes; at most {AAD_LIMIT} are possible.", aad.len())));
    }
    Ok(())
}

fn encrypt(key: &Block, context: EncryptionContext, mode: PaddingMode, plaintext: SecretBytes) -> Result<Vec<u8>> {
    let mut blocks = padding::pad(plaintext, mode)?;
    key.encrypting.less_safe_encrypt(blocks.expose_mut(), context).map_err(Error::internal)?;
    Ok(blocks.into_exposed())
}

fn decrypt(key: &Block, context: DecryptionContext, mode: PaddingMode, mut blocks: SecretBytes) -> Result<SecretBytes> {
    key.decrypting.decrypt(blocks.expose_mut(), context).map_err(|_| Error::undecryptable())?;
    padding::unpad(blocks, mode)
}

impl KeyHandle for AesKey {
    fn spec(&self) -> KeySpec {
        self.spec
    }

    fn cipher(&self) -> Option<&dyn Cipher> {
        Some(self)
    }

    fn signer(&self) -> Option<&dyn Signer> {
        None
    }

    fn mac(&self) -> Option<&dyn Mac> {
        None
    }

    fn public_key(&self) -> Option<&PublicKey> {
        None
    }

    fn check_value(&self) -> Option<&CheckValue> {
        None
    }
}

impl Cipher for AesKey {
    fn encrypt(&self, _: Share, how: Encryption, plaintext: SecretBytes) -> Work<'_, Encrypted> {
        Box::pin(async move { self.encrypt_now(&how, plaintext) })
    }

    fn decrypt(&self, _: Share, how: Decryption, ciphertext: Vec<u8>) -> Work<'_, SecretBytes> {
        Box::pin(async move { self.decrypt_now(&how, ciphertext) })
    }
}
