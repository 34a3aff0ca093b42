//! Many callers at once, and callers that go away in the middle.

use std::sync::Arc;
use std::task::{Context, Waker};

use keystead::base::{Kind, SecretBytes};
use keystead::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage};
use keystead::tier::public_key::{Validity, sha256};
use keystead::tier::{KeyHandle, Share, Work};
use tokio::task::JoinSet;

use crate::bench::{Bench, encryption, new_key, round_trip, secret, text};

const CALLERS: usize = 64;

async fn sign_and_verify(key: &dyn KeyHandle, message: &[u8]) {
    let (algorithm, digest) = (key.spec().signature_algorithms()[0], sha256(message));
    let signature = key.signer().unwrap().sign(Share::default(), algorithm, digest).await.unwrap();
    assert_eq!(key.public_key().unwrap().verify(algorithm, &digest, &signature).unwrap(), Validity::Valid);
}

/// One key of each kind that signs.
async fn signing_keys(bench: &Bench) -> Vec<Arc<dyn KeyHandle>> {
    let mut keys = Vec::new();
    for spec in [KeySpec::Rsa2048, KeySpec::EcP256, KeySpec::EcP256k] {
        if bench.makes(spec, KeyUsage::SignVerify) {
            keys.push(bench.fresh(spec, KeyUsage::SignVerify).await);
        }
    }
    keys
}

pub async fn sixty_four_callers(bench: &Bench) {
    let aes = bench.fresh(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let signing = signing_keys(bench).await;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (aes, signing, tier) = (Arc::clone(&aes), signing.clone(), Arc::clone(&bench.tier));
        callers.spawn(async move {
            for round in 0..10 {
                round_trip(&*aes, EncryptionAlgorithm::AesGcm, &text(caller * 10 + round)).await;
                assert_eq!(tier.random(Share::default(), caller + 1).await.unwrap().len(), caller + 1);
                for key in &signing {
                    sign_and_verify(&**key, &text(caller * 10 + round)).await;
                }
            }
        });
    }
    while let Some(result) = callers.join_next().await {
        result.unwrap();
    }
}

/// Polls a future once, as far as it goes, and drops it.
fn begin_and_drop<T>(mut work: Work<'_, T>) {
    drop(work.as_mut().poll(&mut Context::from_waker(Waker::noop())));
}

async fn still_works(bench: &Bench, aes: &dyn KeyHandle, signing: &[Arc<dyn KeyHandle>]) {
    bench.tier.health().await.unwrap();
    round_trip(aes, EncryptionAlgorithm::AesGcm, b"still works").await;
    for key in signing {
        sign_and_verify(&**key, b"still works").await;
    }
    bench.fresh(KeySpec::Aes128, KeyUsage::EncryptDecrypt).await;
}

pub async fn dropped_futures_harm_nothing(bench: &Bench) {
    let made = bench.make(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let aes = bench.open(&made).await;
    let signing = signing_keys(bench).await;
    for _ in 0..200 {
        let cipher = aes.cipher().unwrap();
        begin_and_drop(cipher.encrypt(Share::default(), encryption(EncryptionAlgorithm::AesGcm), secret(b"text")));
        begin_and_drop(cipher.encrypt(Share::default(), encryption(EncryptionAlgorithm::AesCbc), secret(b"text")));
        for key in &signing {
            begin_and_drop(key.signer().unwrap().sign(Share::default(), key.spec().signature_algorithms()[0], sha256(b"text")));
        }
        begin_and_drop(bench.tier.random(Share::default(), 32));
        begin_and_drop(bench.tier.health());
        begin_and_drop(bench.tier.residents());
    }
    for spec in [KeySpec::Aes256, KeySpec::EcP256] {
        for _ in 0..8 {
            begin_and_drop(bench.tier.create(new_key(spec, KeyUsage::EncryptDecrypt)));
        }
    }
    still_works(bench, &*aes, &signing).await;
}

pub async fn aborted_tasks_harm_nothing(bench: &Bench) {
    let aes = bench.fresh(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let signing = signing_keys(bench).await;
    for _ in 0..4 {
        let mut tasks = JoinSet::new();
        for number in 0..CALLERS * 2 {
            let (aes, signing, tier) = (Arc::clone(&aes), signing.clone(), Arc::clone(&bench.tier));
            tasks.spawn(async move {
                loop {
                    round_trip(&*aes, EncryptionAlgorithm::AesGcm, &text(number)).await;
                    for key in &signing {
                        sign_and_verify(&**key, b"text").await;
                    }
                    let _: SecretBytes = tier.random(Share::default(), 16).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
        }
        // Somewhere in the middle, a different place for every task.
        for _ in 0..20 {
            round_trip(&*aes, EncryptionAlgorithm::AesGcm, b"meanwhile").await;
            tokio::task::yield_now().await;
        }
        tasks.abort_all();
        while let Some(result) = tasks.join_next().await {
            assert!(result.unwrap_err().is_cancelled(), "no task failed by itself");
        }
        still_works(bench, &*aes, &signing).await;
    }
}

pub async fn closing_answers_everybody(bench: &Bench) {
    let signing = signing_keys(bench).await;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let signing = signing.clone();
        callers.spawn(async move {
            // Until the close: every call is either done or refused, none hangs and none is a fault.
            for key in signing.iter().cycle() {
                let (algorithm, digest) = (key.spec().signature_algorithms()[0], sha256(&text(caller)));
                match key.signer().unwrap().sign(Share::default(), algorithm, digest).await {
                    Ok(signature) => {
                        assert_eq!(key.public_key().unwrap().verify(algorithm, &digest, &signature).unwrap(), Validity::Valid);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
                        break;
                    }
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for key in &signing {
        sign_and_verify(&**key, b"while they run").await;
    }
    bench.tier.close().await.unwrap();
    while let Some(result) = callers.join_next().await {
        result.unwrap();
    }
}
