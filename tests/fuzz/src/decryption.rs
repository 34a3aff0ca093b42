//! Ciphertexts of every algorithm: what does not decrypt is told in the one mute way. Two texts: how, and IV and ciphertext.

use std::sync::Arc;

use keystead::base::{Kind, Result, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage, PaddingMode};
use keystead::model::key::Material;
use keystead::tier::software::SoftwareTier;
use keystead::tier::{Decryption, Encryption, KeyHandle, OaepHash, Share, StoredKey, Tier};

use super::{Verdict, text};

const P256: &[u8] = include_bytes!("../seeds/private_keys/p256");
const P256K: &[u8] = include_bytes!("../seeds/private_keys/p256k");
const RSA: &[u8] = include_bytes!("../seeds/private_keys/rsa2048");

pub fn check(input: &[u8]) -> Verdict {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (how, rest) = (text(&input[..at]).unwrap_or_default(), input.get(at + 1..).unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let opened = match how {
            "AES_CBC" => padded(rest, 16, |iv, padding| Decryption::AesCbc { iv: iv.try_into().expect("16 bytes"), padding }).await,
            "AES_ECB" => padded(rest, 0, |_, padding| Decryption::AesEcb { padding }).await,
            "ECIES P256" => open(KeySpec::EcP256, P256, Decryption::Ecies, rest).await,
            "ECIES P256K" => open(KeySpec::EcP256k, P256K, Decryption::Ecies, rest).await,
            "OAEP SHA1" => open(KeySpec::Rsa2048, RSA, Decryption::RsaesOaep(OaepHash::Sha1), rest).await,
            "OAEP SHA256" => open(KeySpec::Rsa2048, RSA, Decryption::RsaesOaep(OaepHash::Sha256), rest).await,
            _ => match rest.split_first_chunk::<12>() {
                Some((iv, rest)) => open(KeySpec::Aes256, &[7; 32], Decryption::AesGcm { iv: *iv, aad: Vec::new() }, rest).await,
                None => None,
            },
        };
        Verdict::of(opened.as_ref())
    })
}

/// The plaintext; `None` when there is none, which is told as such.
async fn open(spec: KeySpec, material: &[u8], how: Decryption, ciphertext: &[u8]) -> Option<Vec<u8>> {
    let key = key(spec, material).await.expect("a key");
    match key.cipher().expect("it decrypts").decrypt(Share::default(), how, ciphertext.to_vec()).await {
        Ok(plaintext) => Some(plaintext.into_exposed()),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Undecryptable, "{error:?}");
            None
        }
    }
}

async fn key(spec: KeySpec, material: &[u8]) -> Result<Arc<dyn KeyHandle>> {
    let material = Material::Held { id: b"key".to_vec(), secret: SecretBytes::new(material.to_vec()) };
    SoftwareTier::new().open(StoredKey { spec, usage: KeyUsage::EncryptDecrypt, material, public_key: None, witness: None }).await
}

/// A mode that pads: with PKCS #7 it gives what it gives without, less the padding if that is right (RFC 5652, section 6.3).
async fn padded(rest: &[u8], iv: usize, how: impl Fn(&[u8], PaddingMode) -> Decryption) -> Option<Vec<u8>> {
    let (iv, ciphertext) = rest.split_at_checked(iv)?;
    let whole = open(KeySpec::Aes256, &[7; 32], how(iv, PaddingMode::NoPadding), ciphertext).await;
    assert_eq!(whole.is_some(), ciphertext.len().is_multiple_of(16));
    let content = open(KeySpec::Aes256, &[7; 32], how(iv, PaddingMode::Pkcs7), ciphertext).await;
    let expected = whole.and_then(|whole| {
        let fill = usize::from(*whole.last()?);
        let (content, padding) = whole.split_at_checked(whole.len().checked_sub(fill)?)?;
        ((1..=16).contains(&fill) && padding.iter().all(|byte| usize::from(*byte) == fill)).then(|| content.to_vec())
    });
    assert_eq!(content, expected);
    if let (Some(content), 0) = (&content, iv.len()) {
        // ECB draws nothing: what was taken apart goes together again.
        let key = key(KeySpec::Aes256, &[7; 32]).await.expect("a key");
        let how = Encryption::AesEcb { padding: PaddingMode::Pkcs7 };
        let plaintext = SecretBytes::new(content.clone());
        let again = key.cipher().expect("it encrypts").encrypt(Share::default(), how, plaintext).await.expect("it encrypts");
        assert_eq!(again.ciphertext, ciphertext);
    }
    content
}
