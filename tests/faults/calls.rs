//! Single calls, for tests that look at one answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::base::{Error, Result, SecretBytes};
use keystead::model::algorithm::SignatureAlgorithm;
use keystead::tier::pkcs11::Pkcs11Tier;
use keystead::tier::public_key::{Validity, sha256};
use keystead::tier::{Decryption, Encrypted, Encryption, Iv, KeyHandle, Share, Tier};

/// Seals a text under a key, with the text as additional data.
pub async fn seal(key: &dyn KeyHandle, share: Share, text: &[u8]) -> Result<Encrypted> {
    let how = Encryption::AesGcm { aad: text.to_vec() };
    key.cipher().unwrap().encrypt(share, how, SecretBytes::new(text.to_vec())).await
}

/// Opens it.
pub async fn unseal(key: &dyn KeyHandle, share: Share, text: &[u8], sealed: &Encrypted) -> Result<SecretBytes> {
    let Iv::Gcm(iv) = sealed.iv else { panic!("no IV of GCM") };
    let how = Decryption::AesGcm { iv, aad: text.to_vec() };
    key.cipher().unwrap().decrypt(share, how, sealed.ciphertext.clone()).await
}

/// There and back; the plaintext must be the text.
pub async fn round_trip(key: &dyn KeyHandle, text: &[u8]) -> Result<()> {
    let sealed = seal(key, Share::default(), text).await?;
    let opened = unseal(key, Share::default(), text, &sealed).await?;
    assert!(opened.constant_time_eq(text), "a plaintext is wrong");
    Ok(())
}

/// Signs; the signature must be right.
pub async fn sign(key: &dyn KeyHandle, text: &[u8]) -> Result<()> {
    let algorithm = match key.spec().signature_algorithms() {
        algorithms if algorithms.contains(&SignatureAlgorithm::EcdsaSha256) => SignatureAlgorithm::EcdsaSha256,
        _ => SignatureAlgorithm::RsaPkcs1Sha256,
    };
    let digest = sha256(text);
    let signature = key.signer().unwrap().sign(Share::default(), algorithm, digest).await?;
    let verified = key.public_key().unwrap().verify(algorithm, &digest, &signature).unwrap();
    assert_eq!(verified, Validity::Valid, "a signature is wrong");
    Ok(())
}

/// The smallest call there is, which needs no key.
pub async fn random(tier: &Pkcs11Tier) -> Result<()> {
    tier.random(Share::default(), 1).await.map(drop)
}

/// So many of them at once: the failures, one for each caller that had one, and how long the slowest waited.
pub async fn randoms(tier: &Arc<Pkcs11Tier>, callers: usize) -> (Vec<Error>, Duration) {
    let calls: Vec<_> = (0..callers)
        .map(|_| {
            let tier = Arc::clone(tier);
            tokio::spawn(async move {
                let begun = Instant::now();
                (random(&tier).await.err(), begun.elapsed())
            })
        })
        .collect();
    let mut failures = Vec::new();
    let mut slowest = Duration::ZERO;
    for call in calls {
        let (failure, took) = call.await.unwrap();
        failures.extend(failure);
        slowest = slowest.max(took);
    }
    (failures, slowest)
}

/// Looks again and again until `is_so`, at most for `limit`, and says how long it took.
#[track_caller]
pub fn until(what: &str, limit: Duration, is_so: impl AsyncFn() -> bool) -> impl Future<Output = Duration> {
    let place = std::panic::Location::caller();
    async move {
        let begun = Instant::now();
        loop {
            if is_so().await {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < limit, "{place}: not so after {:?}: {what}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
