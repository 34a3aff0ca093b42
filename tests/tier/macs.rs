//! Message authentication codes: what another implementation computes, of the key that they are asked of, and of nothing else.

use aws_lc_rs::hmac;
use keystead::base::{Kind, Result, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage, MacAlgorithm};
use keystead::tier::{Ability, KeyHandle, MAC_MESSAGE_LIMIT, Share};

use crate::bench::{Bench, assert_refused, secret, text};

/// The specs of HMAC that the tier can do something with, and their algorithms.
fn specs(bench: &Bench, ability: impl Fn(MacAlgorithm) -> Ability) -> Vec<(KeySpec, MacAlgorithm)> {
    let specs = KeySpec::ALL.iter().filter_map(|spec| spec.mac_algorithm().map(|algorithm| (*spec, algorithm)));
    specs.filter(|(spec, algorithm)| bench.can(*spec, ability(*algorithm))).collect()
}

pub async fn code(key: &dyn KeyHandle, algorithm: MacAlgorithm, message: &[u8]) -> Result<SecretBytes> {
    key.mac().expect("a key of codes").mac(Share::default(), algorithm, secret(message)).await
}

pub async fn codes_agree_with_another_implementation(bench: &Bench) {
    for (spec, algorithm) in specs(bench, |_| Ability::Import) {
        let material = text(algorithm.bytes());
        let key = bench.open(&bench.import(spec, KeyUsage::GenerateVerifyMac, &material).await.unwrap()).await;
        let hash = match algorithm {
            MacAlgorithm::HmacSha224 => hmac::HMAC_SHA224,
            MacAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
            MacAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
            MacAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
        };
        let elsewhere = hmac::Key::new(hash, &material);
        // Around the blocks of the hashes, and the most.
        for length in [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, MAC_MESSAGE_LIMIT] {
            let message = text(length);
            let code = code(&*key, algorithm, &message).await.unwrap();
            assert_eq!(code.len(), algorithm.bytes());
            assert_eq!(code.expose(), hmac::sign(&elsewhere, &message).as_ref(), "{algorithm} of {length} bytes");
        }
    }
}

pub async fn a_code_is_of_its_key(bench: &Bench) {
    for (spec, algorithm) in specs(bench, |_| Ability::Generate) {
        let made = bench.make(spec, KeyUsage::GenerateVerifyMac).await;
        let (key, again) = (bench.open(&made).await, bench.open(&made).await);
        let other = bench.fresh(spec, KeyUsage::GenerateVerifyMac).await;
        let first = code(&*key, algorithm, b"message").await.unwrap();
        assert_eq!(first.expose(), code(&*again, algorithm, b"message").await.unwrap().expose());
        assert_ne!(first.expose(), code(&*key, algorithm, b"another message").await.unwrap().expose());
        assert_ne!(first.expose(), code(&*other, algorithm, b"message").await.unwrap().expose());
    }
}

pub async fn what_does_not_fit_is_refused(bench: &Bench) {
    for (spec, own) in specs(bench, |_| Ability::Generate) {
        let key = bench.fresh(spec, KeyUsage::GenerateVerifyMac).await;
        assert!(key.cipher().is_none() && key.signer().is_none() && key.public_key().is_none());
        for algorithm in MacAlgorithm::ALL.iter().filter(|algorithm| **algorithm != own) {
            assert_refused(code(&*key, *algorithm, b"").await, Kind::UnsupportedOperation);
        }
        assert_refused(code(&*key, own, &text(MAC_MESSAGE_LIMIT + 1)).await, Kind::InvalidParameter);
        for length in [0, own.bytes() - 1, own.bytes() + 1] {
            if bench.can(spec, Ability::Import) {
                let refused = bench.import(spec, KeyUsage::GenerateVerifyMac, &text(length)).await;
                assert_refused(refused, Kind::InvalidParameter);
            }
        }
    }
}
