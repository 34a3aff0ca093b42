//! `kill -9` during the creation of keys, at any point: the server starts again and has every key that was acknowledged.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keystead::base::{Pin, SecretBytes, random};
use keystead::model::algorithm::SignatureAlgorithm;
use keystead::store::{RootKey, Store};
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::{Encryption, Share, StoredKey, Tier};

use crate::installation::Installation;
use crate::softhsm;

/// How long the first key of a round may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the server is killed.
const ROUNDS: usize = 8;

#[test]
fn a_key_that_was_acknowledged_survives_a_kill() {
    let installation = Installation::new();
    let acknowledged = Mutex::new(BTreeSet::new());
    for _ in 0..ROUNDS {
        let server = installation.serve();
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for spec in ["Aliyun_AES_256", "EC_P256"] {
                let (acknowledged, killed, installation) = (&acknowledged, &killed, &installation);
                scope.spawn(move || {
                    while !killed.load(Ordering::SeqCst) {
                        if let Ok(made) = installation.api(&["CreateKey", "--KeySpec", spec]) {
                            let id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
                            acknowledged.lock().unwrap().insert(id);
                        }
                    }
                });
            }
            // On a machine that does other things, too, the first key takes its time.
            let before = acknowledged.lock().unwrap().len();
            let begun = Instant::now();
            while acknowledged.lock().unwrap().len() == before && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
            // At any point: the moment is drawn.
            let moment = u64::from(u16::from_be_bytes(random::bytes()) % 500);
            std::thread::sleep(Duration::from_millis(moment));
            server.kill();
            killed.store(true, Ordering::SeqCst);
        });
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= ROUNDS, "{} keys were made between the kills", acknowledged.len());
    let server = installation.serve();
    for id in &acknowledged {
        installation.api(&["DescribeKey", "--KeyId", id]).unwrap();
    }
    let listed = installation.api(&["ListKeys"]).unwrap()["TotalCount"].as_u64().unwrap();
    let (_, log) = server.end();
    assert!(!log.contains("does not hold the key"), "{log}");
    println!("{} keys were acknowledged, {listed} are there", acknowledged.len());
    every_key_works(&installation, &acknowledged);
}

/// Each acknowledged key is used, straight from store and token.
fn every_key_works(installation: &Installation, acknowledged: &BTreeSet<String>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let root = RootKey::load(&installation.path("root.key")).unwrap();
        let store = Store::open(&installation.path("data/keystead.db"), &root).await.unwrap();
        let uri = softhsm::uri(&installation.token).parse().unwrap();
        let tier = Pkcs11Tier::connect(Settings::new(softhsm::module(), uri, Pin::new(softhsm::PIN.to_owned()))).await.unwrap();
        let mut used = 0;
        for (key, versions) in store.keys().await.unwrap() {
            if !acknowledged.contains(key.id.as_str()) {
                continue;
            }
            for version in versions {
                let stored = StoredKey {
                    spec: key.spec,
                    usage: key.usage,
                    material: version.material.unwrap(),
                    public_key: version.public_key,
                    witness: None,
                };
                let handle = tier.open(stored).await.unwrap();
                match (handle.cipher(), handle.signer()) {
                    (Some(cipher), _) => drop(
                        cipher
                            .encrypt(Share::default(), Encryption::AesGcm { aad: Vec::new() }, SecretBytes::new(vec![1]))
                            .await
                            .unwrap(),
                    ),
                    (None, Some(signer)) => {
                        drop(signer.sign(Share::default(), SignatureAlgorithm::EcdsaSha256, [1; 32]).await.unwrap())
                    }
                    (None, None) => panic!("a key that can do nothing"),
                }
                used += 1;
            }
        }
        assert_eq!(used, acknowledged.len());
        tier.close().await.unwrap();
    });
}
