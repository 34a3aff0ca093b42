//! Encryption and decryption: what goes in comes out, sizes, limits, IVs, and which algorithm fits which key.

use std::collections::HashSet;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use keystead::base::Kind;
use keystead::model::algorithm::{EncryptionAlgorithm, Family, KeySpec, KeyUsage, PaddingMode};
use keystead::tier::{AAD_LIMIT, Ability, Decryption, Encryption, Iv};

use crate::bench::{
    Bench, assert_mute, assert_refused, cbc_iv, decrypt, decryption, encrypt, encryption, gcm_iv, round_trip, secret, text,
};

const SIZES: [usize; 6] = [0, 1, 15, 16, 17, 6144];
const AES: [KeySpec; 3] = [KeySpec::Aes128, KeySpec::Aes192, KeySpec::Aes256];

pub async fn aes_round_trips(bench: &Bench) {
    for spec in AES {
        let key = bench.fresh(spec, KeyUsage::EncryptDecrypt).await;
        for size in SIZES {
            let plaintext = text(size);
            if bench.can(spec, Ability::Encrypt(EncryptionAlgorithm::AesGcm)) {
                for aad in [0, 1, AAD_LIMIT] {
                    let aad = text(aad);
                    let encrypted = encrypt(&*key, Encryption::AesGcm { aad: aad.clone() }, &plaintext).await.unwrap();
                    assert_eq!(encrypted.ciphertext.len(), size + 16);
                    let Iv::Gcm(iv) = encrypted.iv else { panic!("an IV of AES-GCM") };
                    let decrypted = decrypt(&*key, Decryption::AesGcm { iv, aad }, &encrypted.ciphertext).await.unwrap();
                    assert_eq!(decrypted.expose(), plaintext);
                }
            }
            for padding in [PaddingMode::Pkcs7, PaddingMode::NoPadding] {
                let length = match padding {
                    PaddingMode::Pkcs7 => size / 16 * 16 + 16,
                    PaddingMode::NoPadding if size % 16 == 0 => size,
                    PaddingMode::NoPadding => continue,
                };
                if bench.can(spec, Ability::Encrypt(EncryptionAlgorithm::AesCbc)) {
                    let encrypted = encrypt(&*key, Encryption::AesCbc { padding }, &plaintext).await.unwrap();
                    assert_eq!(encrypted.ciphertext.len(), length);
                    let Iv::Cbc(iv) = encrypted.iv else { panic!("an IV of AES-CBC") };
                    let decrypted = decrypt(&*key, Decryption::AesCbc { iv, padding }, &encrypted.ciphertext).await.unwrap();
                    assert_eq!(decrypted.expose(), plaintext);
                }
                if bench.can(spec, Ability::Encrypt(EncryptionAlgorithm::AesEcb)) {
                    let encrypted = encrypt(&*key, Encryption::AesEcb { padding }, &plaintext).await.unwrap();
                    assert_eq!((encrypted.ciphertext.len(), encrypted.iv), (length, Iv::None));
                    let decrypted = decrypt(&*key, Decryption::AesEcb { padding }, &encrypted.ciphertext).await.unwrap();
                    assert_eq!(decrypted.expose(), plaintext);
                }
            }
        }
    }
}

pub async fn aad_has_a_limit(bench: &Bench) {
    let key = bench.fresh(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let aad = text(AAD_LIMIT + 1);
    assert_refused(encrypt(&*key, Encryption::AesGcm { aad }, b"text").await, Kind::InvalidParameter);
}

pub async fn ivs_are_fresh(bench: &Bench) {
    let key = bench.fresh(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    for algorithm in [EncryptionAlgorithm::AesGcm, EncryptionAlgorithm::AesCbc] {
        if bench.can(KeySpec::Aes256, Ability::Encrypt(algorithm)) {
            let mut seen = HashSet::new();
            for _ in 0..2000 {
                let encrypted = encrypt(&*key, encryption(algorithm), b"the same").await.unwrap();
                assert!(seen.insert(encrypted.iv.as_bytes().to_vec()), "an IV came twice");
                assert!(seen.insert(encrypted.ciphertext), "a ciphertext came twice");
            }
        }
    }
}

pub async fn partial_blocks_need_padding(bench: &Bench) {
    let key = bench.fresh(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let padding = PaddingMode::NoPadding;
    for size in [1, 15, 17, 6143] {
        let plaintext = text(size);
        if bench.can(KeySpec::Aes256, Ability::Encrypt(EncryptionAlgorithm::AesCbc)) {
            assert_refused(encrypt(&*key, Encryption::AesCbc { padding }, &plaintext).await, Kind::InvalidParameter);
            assert_mute(decrypt(&*key, Decryption::AesCbc { iv: [0; 16], padding }, &plaintext).await);
        }
        if bench.can(KeySpec::Aes256, Ability::Encrypt(EncryptionAlgorithm::AesEcb)) {
            assert_refused(encrypt(&*key, Encryption::AesEcb { padding }, &plaintext).await, Kind::InvalidParameter);
            assert_mute(decrypt(&*key, Decryption::AesEcb { padding }, &plaintext).await);
        }
    }
}

pub async fn oaep_round_trips(bench: &Bench) {
    for spec in KeySpec::ALL {
        let Family::Rsa { modulus_bytes } = spec.family() else { continue };
        if !bench.makes(*spec, KeyUsage::EncryptDecrypt) {
            continue;
        }
        let key = bench.fresh(*spec, KeyUsage::EncryptDecrypt).await;
        for algorithm in spec.encryption_algorithms() {
            if !bench.can(*spec, Ability::Encrypt(*algorithm)) {
                continue;
            }
            // RFC 8017, section 7.1.1: k - 2 hLen - 2.
            let hash_bytes = if *algorithm == EncryptionAlgorithm::RsaesOaepSha1 { 20 } else { 32 };
            let limit = modulus_bytes - 2 * hash_bytes - 2;
            for size in [0, 1, 15, 16, 17, limit] {
                let plaintext = text(size);
                round_trip(&*key, *algorithm, &plaintext).await;
                let encrypted = key.public_key().unwrap().encrypt(encryption(*algorithm), &secret(&plaintext)).unwrap();
                assert_eq!((encrypted.ciphertext.len(), encrypted.iv), (modulus_bytes, Iv::None));
                let decrypted = decrypt(&*key, decryption(*algorithm, Iv::None), &encrypted.ciphertext).await.unwrap();
                assert_eq!(decrypted.expose(), plaintext);
            }
            for size in [limit + 1, modulus_bytes, 6144] {
                assert_refused(encrypt(&*key, encryption(*algorithm), &text(size)).await, Kind::InvalidParameter);
            }
        }
    }
}

pub async fn ecies_round_trips(bench: &Bench) {
    let algorithm = EncryptionAlgorithm::EciesDhSha1XorHmac;
    for spec in [KeySpec::EcP256, KeySpec::EcP256k] {
        if !bench.makes(spec, KeyUsage::EncryptDecrypt) {
            continue;
        }
        let key = bench.fresh(spec, KeyUsage::EncryptDecrypt).await;
        for size in SIZES {
            let plaintext = text(size);
            round_trip(&*key, algorithm, &plaintext).await;
            let one = key.public_key().unwrap().encrypt(Encryption::Ecies, &secret(&plaintext)).unwrap();
            let two = key.public_key().unwrap().encrypt(Encryption::Ecies, &secret(&plaintext)).unwrap();
            assert_eq!(one.ciphertext.len(), 65 + size + 20);
            assert_ne!(one.ciphertext[..65], two.ciphertext[..65], "an ephemeral point came twice");
            let decrypted = decrypt(&*key, Decryption::Ecies, &one.ciphertext).await.unwrap();
            assert_eq!(decrypted.expose(), plaintext);
        }
    }
}

pub async fn algorithms_that_do_not_fit_are_refused(bench: &Bench) {
    for spec in [KeySpec::Aes256, KeySpec::Rsa2048, KeySpec::EcP256, KeySpec::EcP256k] {
        if !bench.makes(spec, KeyUsage::EncryptDecrypt) {
            continue;
        }
        let key = bench.fresh(spec, KeyUsage::EncryptDecrypt).await;
        for algorithm in EncryptionAlgorithm::ALL.iter().filter(|algorithm| !spec.encryption_algorithms().contains(algorithm)) {
            assert_refused(encrypt(&*key, encryption(*algorithm), &text(16)).await, Kind::UnsupportedOperation);
            let decrypted = decrypt(&*key, decryption(*algorithm, Iv::None), &text(256)).await;
            assert_refused(decrypted, Kind::UnsupportedOperation);
            if let Some(public) = key.public_key() {
                assert_refused(public.encrypt(encryption(*algorithm), &secret(b"text")), Kind::UnsupportedOperation);
            }
        }
    }
}

pub async fn aes_agrees_with_another_implementation(bench: &Bench) {
    if !bench.can(KeySpec::Aes256, Ability::Import) {
        return;
    }
    let raw = text(32);
    let key = bench.open(&bench.import(KeySpec::Aes256, KeyUsage::EncryptDecrypt, &raw).await.unwrap()).await;

    let encrypted = encrypt(&*key, Encryption::AesGcm { aad: b"aad".to_vec() }, b"text").await.unwrap();
    let other = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &raw).unwrap());
    let mut buffer = encrypted.ciphertext.clone();
    let nonce = Nonce::assume_unique_for_key(gcm_iv(encrypted.iv));
    assert_eq!(other.open_in_place(nonce, Aad::from(b"aad"), &mut buffer).unwrap(), b"text");

    // CBC of one block is ECB of the block plus IV (SP 800-38A, section 6.2).
    let padding = PaddingMode::NoPadding;
    let block = text(16);
    if bench.can(KeySpec::Aes256, Ability::Encrypt(EncryptionAlgorithm::AesCbc))
        && bench.can(KeySpec::Aes256, Ability::Encrypt(EncryptionAlgorithm::AesEcb))
    {
        let chained = encrypt(&*key, Encryption::AesCbc { padding }, &block).await.unwrap();
        let mixed: Vec<u8> = block.iter().zip(cbc_iv(chained.iv)).map(|(byte, iv)| byte ^ iv).collect();
        let plain = encrypt(&*key, Encryption::AesEcb { padding }, &mixed).await.unwrap();
        assert_eq!(chained.ciphertext, plain.ciphertext);

        // FIPS 197, appendix C.3.
        let raw: Vec<u8> = (0..32).collect();
        let key = bench.open(&bench.import(KeySpec::Aes256, KeyUsage::EncryptDecrypt, &raw).await.unwrap()).await;
        let block = hex::decode("00112233445566778899aabbccddeeff").unwrap();
        let encrypted = encrypt(&*key, Encryption::AesEcb { padding }, &block).await.unwrap();
        assert_eq!(hex::encode(encrypted.ciphertext), "8ea2b7ca516745bfeafc49904b496089");
    }
}
