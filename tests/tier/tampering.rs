//! Whatever was changed in a ciphertext, an IV or an AAD: one kind, one text, and the tier still works.

use keystead::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, PaddingMode};
use keystead::tier::{Ability, Decryption, Encryption, OaepHash};

use crate::bench::{Bench, assert_mute, cbc_iv, cuts, decrypt, decryption, encrypt, encryption, flips, gcm_iv, round_trip, text};

pub async fn gcm_is_mute(bench: &Bench) {
    let key = bench.fresh(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let other = bench.fresh(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let aad = b"additional".to_vec();
    for size in [0, 1, 40] {
        let encrypted = encrypt(&*key, Encryption::AesGcm { aad: aad.clone() }, &text(size)).await.unwrap();
        let iv = gcm_iv(encrypted.iv);
        let how = |iv, aad: &[u8]| Decryption::AesGcm { iv, aad: aad.to_vec() };

        let longer = [&encrypted.ciphertext[..], &[0]].concat();
        for ciphertext in flips(&encrypted.ciphertext).chain(cuts(&encrypted.ciphertext)).chain([longer]) {
            assert_mute(decrypt(&*key, how(iv, &aad), &ciphertext).await);
        }
        for iv in flips(&iv) {
            assert_mute(decrypt(&*key, how(iv.try_into().unwrap(), &aad), &encrypted.ciphertext).await);
        }
        for aad in flips(&aad).chain(cuts(&aad)).chain([[&aad[..], &[0]].concat()]) {
            assert_mute(decrypt(&*key, how(iv, &aad), &encrypted.ciphertext).await);
        }
        assert_mute(decrypt(&*other, how(iv, &aad), &encrypted.ciphertext).await);
    }
    round_trip(&*key, EncryptionAlgorithm::AesGcm, b"still works").await;
}

pub async fn cbc_is_mute(bench: &Bench) {
    if !bench.can(KeySpec::Aes256, Ability::Encrypt(EncryptionAlgorithm::AesCbc)) {
        return;
    }
    let key = bench.fresh(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let padding = PaddingMode::Pkcs7;
    // One byte of fill; the last byte of the IV becomes the fill, and no other value of it is right behind 0xff.
    let encrypted = encrypt(&*key, Encryption::AesCbc { padding }, &[0xff; 15]).await.unwrap();
    let iv = cbc_iv(encrypted.iv);
    for change in 1..=255 {
        let mut wrong = iv;
        wrong[15] ^= change;
        assert_mute(decrypt(&*key, Decryption::AesCbc { iv: wrong, padding }, &encrypted.ciphertext).await);
    }
    for ciphertext in cuts(&encrypted.ciphertext).chain([[&encrypted.ciphertext[..], &[0]].concat()]) {
        assert_mute(decrypt(&*key, Decryption::AesCbc { iv, padding }, &ciphertext).await);
    }
    // The mode has no tag: a flipped ciphertext may decrypt, to something else.
    for ciphertext in flips(&encrypted.ciphertext) {
        match decrypt(&*key, Decryption::AesCbc { iv, padding }, &ciphertext).await {
            Ok(plaintext) => assert_ne!(plaintext.expose(), [0xff; 15]),
            refused => assert_mute(refused),
        }
    }
    round_trip(&*key, EncryptionAlgorithm::AesCbc, b"still works").await;
}

pub async fn ecb_is_mute(bench: &Bench) {
    if !bench.can(KeySpec::Aes256, Ability::Encrypt(EncryptionAlgorithm::AesEcb)) {
        return;
    }
    let key = bench.fresh(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let (padding, none) = (PaddingMode::Pkcs7, PaddingMode::NoPadding);
    for fill in [0, 2, 16, 17, 255] {
        let mut block = [0xee; 16];
        block[15] = fill;
        let encrypted = encrypt(&*key, Encryption::AesEcb { padding: none }, &block).await.unwrap();
        assert_mute(decrypt(&*key, Decryption::AesEcb { padding }, &encrypted.ciphertext).await);
        for ciphertext in cuts(&encrypted.ciphertext) {
            assert_mute(decrypt(&*key, Decryption::AesEcb { padding }, &ciphertext).await);
        }
    }
    round_trip(&*key, EncryptionAlgorithm::AesEcb, b"still works").await;
}

pub async fn oaep_is_mute(bench: &Bench) {
    if !bench.makes(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt) {
        return;
    }
    let key = bench.fresh(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await;
    let other = bench.fresh(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await;
    for (algorithm, hash, another) in [
        (EncryptionAlgorithm::RsaesOaepSha256, OaepHash::Sha256, OaepHash::Sha1),
        (EncryptionAlgorithm::RsaesOaepSha1, OaepHash::Sha1, OaepHash::Sha256),
    ] {
        if !bench.can(KeySpec::Rsa2048, Ability::Encrypt(algorithm)) {
            continue;
        }
        let encrypted = encrypt(&*key, encryption(algorithm), b"message").await.unwrap().ciphertext;
        let cut = [0, 1, 128, 255].map(|length| encrypted[..length].to_vec());
        let longer = [[&encrypted[..], &[0]].concat(), [&[0], &encrypted[..]].concat()];
        // Not a residue of the modulus, and the two that encryption maps to themselves.
        let mut one = vec![0; 256];
        one[255] = 1;
        let odd = [vec![0xff; 256], vec![0; 256], one];
        for ciphertext in flips(&encrypted).chain(cut).chain(longer).chain(odd) {
            assert_mute(decrypt(&*key, Decryption::RsaesOaep(hash), &ciphertext).await);
        }
        assert_mute(decrypt(&*other, Decryption::RsaesOaep(hash), &encrypted).await);
        if bench.can(KeySpec::Rsa2048, Ability::Encrypt(Decryption::RsaesOaep(another).algorithm())) {
            assert_mute(decrypt(&*key, Decryption::RsaesOaep(another), &encrypted).await);
        }
        round_trip(&*key, algorithm, b"still works").await;
    }
}

pub async fn ecies_is_mute(bench: &Bench) {
    let algorithm = EncryptionAlgorithm::EciesDhSha1XorHmac;
    for spec in [KeySpec::EcP256, KeySpec::EcP256k] {
        if !bench.makes(spec, KeyUsage::EncryptDecrypt) {
            continue;
        }
        let key = bench.fresh(spec, KeyUsage::EncryptDecrypt).await;
        let other = bench.fresh(spec, KeyUsage::EncryptDecrypt).await;
        let encrypted = encrypt(&*key, encryption(algorithm), b"message").await.unwrap();
        let longer = [&encrypted.ciphertext[..], &[0]].concat();
        for ciphertext in flips(&encrypted.ciphertext).chain(cuts(&encrypted.ciphertext)).chain([longer]) {
            assert_mute(decrypt(&*key, decryption(algorithm, encrypted.iv), &ciphertext).await);
        }
        assert_mute(decrypt(&*other, decryption(algorithm, encrypted.iv), &encrypted.ciphertext).await);
        round_trip(&*key, algorithm, b"still works").await;
    }
}
