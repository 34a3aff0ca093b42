//! Sessions, the queue before them, deadlines, callers that go away, the end.

use std::sync::Arc;
use std::time::Duration;

use keystead::base::{Kind, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage, SignatureAlgorithm};
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::{Decryption, Encryption, Iv, KeyHandle, Share, Tier};

use crate::{aes_key, new_key, open, settings, tier};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_queue_refuses_at_once() {
    let settings = Settings { sessions: 1, queue: 0, ..settings() };
    let tier = Arc::new(Pkcs11Tier::connect(settings).await.unwrap());
    assert_eq!(tier.sessions(), 1);
    let new = new_key(KeySpec::Rsa2048, KeyUsage::SignVerify);
    let created = tier.create(new.clone()).await.unwrap();
    let key = open(&tier, &new, created).await;
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let key = Arc::clone(&key);
            tokio::spawn(async move {
                key.signer()
                    .unwrap()
                    .sign(Share::default(), SignatureAlgorithm::RsaPkcs1Sha256, [1; 32])
                    .await
                    .map_err(|e| e.kind())
            })
        })
        .collect();
    let mut served = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => served += 1,
            Err(kind) => assert_eq!(kind, Kind::Throttled),
        }
    }
    assert!((1..16).contains(&served), "{served} were served by one session and no queue");
    tier.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_served_in_time_is_throttled() {
    // One session signs for 100 ms; far more is asked for than it can do in that time.
    let settings = Settings { sessions: 1, queue: 10_000, deadline: Duration::from_millis(100), ..settings() };
    let tier = Arc::new(Pkcs11Tier::connect(settings).await.unwrap());
    let new = new_key(KeySpec::Rsa2048, KeyUsage::SignVerify);
    let created = tier.create(new.clone()).await.unwrap();
    let key = open(&tier, &new, created).await;
    let sign = |key: Arc<dyn KeyHandle>| async move {
        key.signer().unwrap().sign(Share::default(), SignatureAlgorithm::RsaPkcs1Sha256, [1; 32]).await
    };
    let calls: Vec<_> = (0..2_000).map(|_| tokio::spawn(sign(Arc::clone(&key)))).collect();
    let (mut served, mut throttled) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => served += 1,
            Err(error) if error.kind() == Kind::Throttled => throttled += 1,
            // On a busy machine a call itself may be overdue; it is not what is counted here.
            Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{error:?}"),
        }
    }
    assert!(served > 0 && throttled > 0, "{served} served, {throttled} throttled");
    // The session is free again.
    let mut tries = 0;
    while sign(Arc::clone(&key)).await.is_err() {
        tries += 1;
        assert!(tries < 50, "the session did not come back");
    }
    tier.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn making_a_key_keeps_nobody_waiting() {
    let settings = Settings { sessions: 1, ..settings() };
    let tier = Arc::new(Pkcs11Tier::connect(settings).await.unwrap());
    let (_, key) = aes_key(&tier).await;
    // Making an RSA-4096 pair takes seconds, and has a lane of its own.
    let maker = Arc::clone(&tier);
    let making = tokio::spawn(async move { maker.create(new_key(KeySpec::Rsa4096, KeyUsage::SignVerify)).await.map(drop) });
    let mut served = 0;
    while !making.is_finished() {
        key.cipher()
            .unwrap()
            .encrypt(Share::default(), Encryption::AesGcm { aad: Vec::new() }, SecretBytes::new(vec![1]))
            .await
            .unwrap();
        served += 1;
    }
    assert!(served > 100, "{served} were served while a key was made");
    making.await.unwrap().unwrap();
    tier.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_creation_that_nobody_waits_for_leaves_no_key() {
    let tier = tier().await;
    for spec in [KeySpec::Aes256, KeySpec::EcP256, KeySpec::Rsa2048] {
        for wait in [0, 1, 5, 50] {
            let creation = tier.create(new_key(spec, spec.usages()[0]));
            if tokio::time::timeout(Duration::from_millis(wait), creation).await.is_ok() {
                // It was faster: then it is ours, and stays.
                for id in tier.residents().await.unwrap() {
                    tier.destroy(keystead::model::key::Material::Resident(id)).await.unwrap();
                }
            }
        }
    }
    // What was abandoned is finished and undone behind the scenes: bounded by the time that making a key takes.
    let mut left = tier.residents().await.unwrap();
    for _ in 0..200 {
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        left = tier.residents().await.unwrap();
    }
    assert!(left.is_empty(), "{} keys are left", left.len());
    tier.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_go_away_cost_no_session() {
    let settings = Settings { sessions: 2, ..settings() };
    let tier = Pkcs11Tier::connect(settings).await.unwrap();
    let (_, key) = aes_key(&tier).await;
    for _ in 0..200 {
        let key = Arc::clone(&key);
        let call = tokio::spawn(async move {
            let _ = key
                .cipher()
                .unwrap()
                .encrypt(Share::default(), Encryption::AesGcm { aad: Vec::new() }, SecretBytes::new(vec![1; 100_000]))
                .await;
        });
        tokio::task::yield_now().await;
        call.abort();
        let _ = call.await;
    }
    // Both sessions are there: two calls at once go through, and the end finds every session again.
    let encrypt =
        || key.cipher().unwrap().encrypt(Share::default(), Encryption::AesGcm { aad: Vec::new() }, SecretBytes::new(vec![1]));
    let (one, two) = tokio::join!(encrypt(), encrypt());
    assert!(one.is_ok() && two.is_ok());
    tier.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_waits_for_the_calls_that_run_and_refuses_later_ones() {
    let tier = Arc::new(tier().await);
    let new = new_key(KeySpec::Rsa2048, KeyUsage::SignVerify);
    let created = tier.create(new.clone()).await.unwrap();
    let key = open(&tier, &new, created).await;
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let key = Arc::clone(&key);
            tokio::spawn(
                async move { key.signer().unwrap().sign(Share::default(), SignatureAlgorithm::RsaPkcs1Sha256, [1; 32]).await },
            )
        })
        .collect();
    tier.close().await.unwrap();
    for call in calls {
        if let Err(error) = call.await.unwrap() {
            assert_eq!(error.kind(), Kind::Unavailable);
        }
    }
    let error = key.signer().unwrap().sign(Share::default(), SignatureAlgorithm::RsaPkcs1Sha256, [1; 32]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(tier.health().await.unwrap_err().kind(), Kind::Unavailable);
    tier.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_at_once_get_their_own_answers() {
    let settings = Settings { sessions: 8, ..settings() };
    let tier = Pkcs11Tier::connect(settings).await.unwrap();
    let (_, key) = aes_key(&tier).await;
    let calls: Vec<_> = (0..64u8)
        .map(|number| {
            let key = Arc::clone(&key);
            tokio::spawn(async move {
                let cipher = key.cipher().unwrap();
                for round in 0..20 {
                    // Small ones run on the workers, large ones on threads.
                    let length = if round % 2 == 0 { 32 } else { 20_000 };
                    let aad = vec![number, round];
                    let plaintext = SecretBytes::new(vec![number; length]);
                    let sealed =
                        cipher.encrypt(Share::default(), Encryption::AesGcm { aad: aad.clone() }, plaintext).await.unwrap();
                    let Iv::Gcm(iv) = sealed.iv else { panic!("GCM has an IV") };
                    let opened = cipher.decrypt(Share::default(), Decryption::AesGcm { iv, aad }, sealed.ciphertext).await.unwrap();
                    assert!(opened.constant_time_eq(&vec![number; length]));
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    tier.close().await.unwrap();
}
