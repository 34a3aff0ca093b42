//! A token that loses its storage and gets it back: nobody is told that a key is gone or a ciphertext wrong, and everything is
//! there afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keystead::base::{Error, Kind, Result};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Material;
use keystead::tier::pkcs11::Pkcs11Tier;
use keystead::tier::{Encrypted, KeyHandle, Share, StoredKey, Tier};

use crate::calls::{round_trip, seal, sign, unseal, until};
use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, new_key, sessions_agree, settings};

/// How soon after the storage is back everything works.
const RECOVERY: Duration = Duration::from_secs(1);
/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it is away after it was noticed.
const AWAY: Duration = Duration::from_millis(1500);

/// A key with what it sealed before the storage went away.
#[derive(Clone)]
struct Kept {
    id: Vec<u8>,
    handle: Arc<dyn KeyHandle>,
    sealed: Option<Encrypted>,
}

const TEXT: &[u8] = b"sealed before";

impl Kept {
    async fn new(tier: &Pkcs11Tier, spec: KeySpec, usage: KeyUsage) -> Self {
        let (id, handle) = key(tier, spec, usage).await;
        let sealed = match usage {
            KeyUsage::EncryptDecrypt => Some(seal(&*handle, Share::default(), TEXT).await.unwrap()),
            KeyUsage::SignVerify | KeyUsage::GenerateVerifyMac => None,
        };
        Self { id, handle, sealed }
    }

    /// Uses it in every way that it has.
    async fn use_it(&self) -> Vec<Result<()>> {
        let key = &*self.handle;
        match &self.sealed {
            Some(sealed) => {
                let opened = unseal(key, Share::default(), TEXT, sealed).await;
                vec![opened.map(|opened| assert!(opened.constant_time_eq(TEXT))), round_trip(key, b"now").await]
            }
            None => vec![sign(key, b"now").await],
        }
    }

    fn stored(&self) -> StoredKey {
        let usage = if self.sealed.is_some() { KeyUsage::EncryptDecrypt } else { KeyUsage::SignVerify };
        let public_key = self.handle.public_key().map(|key| key.spki().clone());
        StoredKey { spec: self.handle.spec(), usage, material: Material::Resident(self.id.clone()), public_key, witness: None }
    }
}

/// Everything that can be asked of the keys; none of it may be answered but by a success or by "come again".
async fn ask_everything(tier: &Pkcs11Tier, keys: &[Kept]) -> Vec<Error> {
    let mut answers = Vec::new();
    for key in keys {
        answers.extend(key.use_it().await);
        answers.push(tier.open(key.stored()).await.map(drop));
    }
    let expected: BTreeSet<_> = keys.iter().map(|key| key.id.clone()).collect();
    let residents = tier.residents().await;
    answers
        .push(residents.map(|residents| assert_eq!(residents.into_iter().collect::<BTreeSet<_>>(), expected, "none is missing")));
    answers.into_iter().filter_map(Result::err).collect()
}

fn comes_and_goes(specs: &'static [(KeySpec, KeyUsage)]) {
    let label = softhsm::token();
    let fault = Fault::here();
    runtime().block_on(async {
        let tier = Arc::new(Pkcs11Tier::connect(settings(&label)).await.unwrap());
        let mut keys = Vec::new();
        for (spec, usage) in specs {
            keys.push(Kept::new(&tier, *spec, *usage).await);
        }
        for _ in 0..3 {
            assert_eq!(ask_everything(&tier, &keys).await.len(), 0, "before");
            let away = softhsm::take_storage_away();
            let back = Arc::new(AtomicBool::new(false));
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    let (tier, keys, back) = (Arc::clone(&tier), keys.clone(), Arc::clone(&back));
                    tokio::spawn(async move {
                        let mut refused = 0;
                        while !back.load(Ordering::SeqCst) {
                            let failures = ask_everything(&tier, &keys).await;
                            for failure in &failures {
                                assert_eq!(failure.kind(), Kind::Throttled, "{failure:?}");
                            }
                            refused += failures.len();
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        refused
                    })
                })
                .collect();
            until("it is noticed", PATIENCE, async || tier.health().await.is_err()).await;
            let destroyed = tier.destroy(Material::Resident(keys[0].id.clone())).await;
            assert_eq!(destroyed.unwrap_err().kind(), Kind::Throttled, "a key that cannot be seen is not known to be destroyed");
            let made = tier.create(new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt)).await;
            assert_eq!(made.err().map(|error| error.kind()), Some(Kind::Throttled));
            tokio::time::sleep(AWAY).await;
            away.put_back();
            let took = until("everything works", RECOVERY, async || ask_everything(&tier, &keys).await.is_empty()).await;
            println!("{took:?} after the storage came back everything works");
            back.store(true, Ordering::SeqCst);
            for caller in callers {
                assert!(caller.await.unwrap() > 0, "everybody was sent away at least once");
            }
            assert_eq!(ask_everything(&tier, &keys).await.len(), 0, "it stays so");
            sessions_agree(fault, &tier).await;
        }
        tier.close().await.unwrap();
    });
}

#[test]
fn storage_with_one_key_comes_and_goes() {
    isolated("storage::storage_with_one_key_comes_and_goes", 1, || comes_and_goes(&[(KeySpec::Aes256, KeyUsage::EncryptDecrypt)]));
}

#[test]
fn storage_with_several_keys_comes_and_goes() {
    isolated("storage::storage_with_several_keys_comes_and_goes", 1, || {
        comes_and_goes(&[
            (KeySpec::Aes256, KeyUsage::EncryptDecrypt),
            (KeySpec::EcP256, KeyUsage::SignVerify),
            (KeySpec::Aes128, KeyUsage::EncryptDecrypt),
            (KeySpec::Rsa2048, KeyUsage::SignVerify),
        ]);
    });
}

#[test]
fn a_key_is_not_destroyed_while_the_storage_is_away() {
    isolated("storage::a_key_is_not_destroyed_while_the_storage_is_away", 1, || {
        let label = softhsm::token();
        Fault::here();
        runtime().block_on(async {
            let tier = Pkcs11Tier::connect(settings(&label)).await.unwrap();
            for keys in [1, 2] {
                let mut kept = Vec::new();
                for _ in 0..keys {
                    kept.push(Kept::new(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await);
                }
                let victim = kept[0].id.clone();
                let away = softhsm::take_storage_away();
                // The first to notice is whoever destroys.
                let destroyed = tier.destroy(Material::Resident(victim.clone())).await;
                away.put_back();
                assert_eq!(destroyed.unwrap_err().kind(), Kind::Throttled);
                until("everything works", RECOVERY, async || ask_everything(&tier, &kept).await.is_empty()).await;
                for key in kept {
                    tier.destroy(Material::Resident(key.id)).await.unwrap();
                }
                assert_eq!(tier.residents().await.unwrap().len(), 0);
            }
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_key_that_is_being_destroyed_is_no_lost_storage() {
    isolated("storage::a_key_that_is_being_destroyed_is_no_lost_storage", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Arc::new(Pkcs11Tier::connect(settings(&label)).await.unwrap());
            let before = tier.status().recoveries;
            let (id, _) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            fault.tell(&format!("hang C_DestroyObject nth=1 after {token}"));
            let destroying = {
                let tier = Arc::clone(&tier);
                tokio::spawn(async move { tier.destroy(Material::Resident(id)).await })
            };
            fault.wait_hung(1);
            // The last key is gone already, and nobody has been told yet.
            let absent = Material::Resident(new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt).id);
            tier.destroy(absent).await.unwrap();
            assert_eq!(tier.residents().await.unwrap().len(), 0);
            fault.tell("release");
            destroying.await.unwrap().unwrap();
            assert_eq!(tier.status().recoveries, before);
            // One that could not be destroyed is still one that must not vanish.
            let (id, _) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let rule = fault.rule(&format!("fail C_DestroyObject CKR_DEVICE_MEMORY {token}"));
            tier.destroy(Material::Resident(id.clone())).await.unwrap_err();
            drop(rule);
            let away = softhsm::take_storage_away();
            assert_eq!(tier.residents().await.unwrap_err().kind(), Kind::Throttled);
            away.put_back();
            until("it is there", RECOVERY, async || tier.residents().await.is_ok_and(|residents| residents == [id.clone()])).await;
            tier.close().await.unwrap();
        });
    });
}
