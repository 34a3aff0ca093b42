//! A token whose random numbers are none, and one that gives none: what is drawn is sound, and who looks after the token is told.

use std::collections::HashSet;
use std::time::Duration;

use keystead::base::SecretBytes;
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::status::Generator;
use keystead::tier::{Encryption, Iv, Share, Tier};

use crate::calls::until;
use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{connect, key, settings};

/// More IVs than one block of random bytes has.
const IVS: usize = 400;

/// Draws in every way that there is; nothing comes twice, and nothing is what a bad generator gives.
async fn draws_are_sound(tier: &Pkcs11Tier) {
    let (_, aes) = key(tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let mut drawn = HashSet::new();
    for _ in 0..IVS {
        let text = SecretBytes::new(vec![7; 32]);
        let sealed = aes.cipher().unwrap().encrypt(Share::default(), Encryption::AesGcm { aad: Vec::new() }, text).await.unwrap();
        let Iv::Gcm(iv) = sealed.iv else { panic!("no IV of GCM") };
        assert!(drawn.insert(iv.to_vec()), "an IV came twice");
    }
    for length in [16, 32, 33, 1024] {
        for _ in 0..4 {
            let bytes = tier.random(Share::default(), length).await.unwrap().expose().to_vec();
            let values: HashSet<_> = bytes.iter().collect();
            assert!(bytes.len() == length && values.len() > 8, "{bytes:?}");
            assert!(drawn.insert(bytes), "bytes came twice");
        }
    }
    tier.health().await.unwrap();
}

#[test]
fn a_token_that_gives_no_random_numbers_is_named_and_harms_nothing() {
    isolated("randomness::a_token_that_gives_no_random_numbers_is_named_and_harms_nothing", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            for lie in ["untouched", "zero", "repeat", "stuck"] {
                let rule = fault.rule(&format!("random {lie}"));
                let tier = connect(settings(&label)).await;
                draws_are_sound(&tier).await;
                let status = tier.status();
                assert_eq!(status.generator, Generator::Failing, "{lie}");
                assert!(status.generator_failures >= 2 && status.failed_recoveries == 0, "{lie}: {status:?}");
                drop(rule);
                draws_are_sound(&tier).await;
                assert_eq!(tier.status().generator, Generator::Failing, "it is named until the process is another");
                tier.close().await.unwrap();
            }
            let tier = connect(settings(&label)).await;
            draws_are_sound(&tier).await;
            assert_eq!((tier.status().generator, tier.status().generator_failures), (Generator::Sound, 0));
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_token_without_a_generator_serves() {
    isolated("randomness::a_token_without_a_generator_serves", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            for answer in ["CKR_RANDOM_NO_RNG", "CKR_FUNCTION_NOT_SUPPORTED"] {
                let _rule = fault.rule(&format!("fail C_GenerateRandom {answer}"));
                let tier = connect(Settings { keepalive: Duration::from_millis(200), ..settings(&label) }).await;
                draws_are_sound(&tier).await;
                // Sessions that are idle are looked after all the same.
                let looked = fault.calls("C_GetSessionInfo");
                until("idle sessions are used", Duration::from_secs(5), async || fault.calls("C_GetSessionInfo") > looked + 2)
                    .await;
                let status = tier.status();
                assert_eq!((status.generator, status.generator_failures), (Generator::Absent, 0));
                assert_eq!(status.recoveries.values().sum::<u64>() + status.failed_recoveries, 0, "{status:?}");
                tier.close().await.unwrap();
            }
        });
    });
}
