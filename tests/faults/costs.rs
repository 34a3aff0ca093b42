//! What an operation costs: two calls of the module, counted by it. What needs no private key costs none.

use keystead::base::SecretBytes;
use keystead::model::algorithm::{KeySpec, KeyUsage, SignatureAlgorithm};
use keystead::tier::pkcs11::Pkcs11Tier;
use keystead::tier::public_key::{Validity, sha256};
use keystead::tier::{Decryption, Encryption, Iv, OaepHash, Share, Tier};
use serde_json::Value;

use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, settings};

/// How often each operation is done; fewer IVs than a block of random bytes has.
const TIMES: u64 = 20;

/// The calls that were made since the last look, by function, without those that look after idle sessions.
fn calls(fault: &Fault) -> Vec<(String, u64)> {
    let counts = fault.tell("counts");
    fault.tell("reset-counts");
    let calls = counts["calls"].as_object().unwrap().iter();
    calls.map(|(name, count)| (name.clone(), Value::as_u64(count).unwrap())).filter(|(_, count)| *count > 0).collect()
}

fn twice(init: &str, call: &str) -> Vec<(String, u64)> {
    let mut expected = vec![(init.to_owned(), TIMES), (call.to_owned(), TIMES)];
    expected.sort();
    expected
}

#[test]
fn an_operation_costs_two_calls_and_a_public_one_none() {
    isolated("costs::an_operation_costs_two_calls_and_a_public_one_none", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Pkcs11Tier::connect(settings(&label)).await.unwrap();
            let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
            let (_, signing) = key(&tier, KeySpec::Rsa2048, KeyUsage::SignVerify).await;
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            let (_, encrypting) = key(&tier, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await;
            let text = || SecretBytes::new(vec![7; 32]);
            let share = Share::default();
            let (cipher, digest) = (aes.cipher().unwrap(), sha256(b"a text"));

            // The first fills the block of random bytes that IVs are taken from, and finds its key.
            let sealed = cipher.encrypt(share, Encryption::AesGcm { aad: Vec::new() }, text()).await.unwrap();
            let Iv::Gcm(iv) = sealed.iv else { panic!("no IV of GCM") };
            calls(fault);
            for _ in 0..TIMES {
                cipher.encrypt(share, Encryption::AesGcm { aad: Vec::new() }, text()).await.unwrap();
            }
            assert_eq!(calls(fault), twice("C_EncryptInit", "C_Encrypt"));
            for _ in 0..TIMES {
                let how = Decryption::AesGcm { iv, aad: Vec::new() };
                cipher.decrypt(share, how, sealed.ciphertext.clone()).await.unwrap();
            }
            assert_eq!(calls(fault), twice("C_DecryptInit", "C_Decrypt"));
            for (key, algorithm) in [(&signing, SignatureAlgorithm::RsaPkcs1Sha256), (&ec, SignatureAlgorithm::EcdsaSha256)] {
                for _ in 0..TIMES {
                    key.signer().unwrap().sign(share, algorithm, digest).await.unwrap();
                }
                assert_eq!(calls(fault), twice("C_SignInit", "C_Sign"), "{algorithm:?}");
            }

            let signature = signing.signer().unwrap().sign(share, SignatureAlgorithm::RsaPkcs1Sha256, digest).await.unwrap();
            calls(fault);
            for _ in 0..TIMES {
                let public = signing.public_key().unwrap();
                assert_eq!(public.verify(SignatureAlgorithm::RsaPkcs1Sha256, &digest, &signature).unwrap(), Validity::Valid);
                let how = Encryption::RsaesOaep(OaepHash::Sha256);
                encrypting.cipher().unwrap().encrypt(share, how, text()).await.unwrap();
            }
            assert_eq!(calls(fault), [], "what needs no private key");
            for _ in 0..TIMES {
                tier.random(share, 32).await.unwrap();
            }
            assert_eq!(calls(fault), [("C_GenerateRandom".to_owned(), TIMES)]);
            tier.close().await.unwrap();
        });
    });
}
