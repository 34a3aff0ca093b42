//! Keys come and go: created, opened, destroyed, imported, and what is refused.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1, ECDSA_P256K1_SHA256_ASN1_SIGNING,
    EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use keystead::base::Kind;
use keystead::model::algorithm::{EncryptionAlgorithm, Family, KeySpec, KeyUsage, SignatureAlgorithm};
use keystead::model::key::Material;
use keystead::tier::public_key::{Validity, sha256};
use keystead::tier::{Ability, Share, TierKind};

use crate::bench::{
    Bench, Keeping, assert_refused, decrypt, decryption, encrypt, encryption, gcm_iv, new_key, round_trip, secret, text,
};
use crate::macs::code;

pub async fn every_key_is_made_opened_used_and_reopened(bench: &Bench) {
    for spec in KeySpec::ALL {
        for usage in spec.usages() {
            if bench.makes(*spec, *usage) {
                make_open_use_reopen(bench, *spec, *usage).await;
            }
        }
    }
}

async fn make_open_use_reopen(bench: &Bench, spec: KeySpec, usage: KeyUsage) {
    let key = new_key(spec, usage);
    let id = key.id.clone();
    let created = bench.tier.create(key).await.unwrap_or_else(|error| panic!("{spec} for {usage}: {error:?}"));
    match (bench.facts.keeping, &created.material) {
        (Keeping::Nothing, Material::Held { id: kept, secret }) => assert!(secret.len() >= 16 && *kept == id),
        (Keeping::ItsKeys, Material::Resident(resident)) => assert_eq!(*resident, id),
        (Keeping::Nothing, Material::Resident(_)) | (Keeping::ItsKeys, Material::Held { .. }) => panic!("material of another tier"),
    }
    match (bench.tier.describe().kind, created.attributes) {
        (TierKind::Software, None) => {}
        (TierKind::Hardware, Some(token)) => {
            assert!(token.local && token.sensitive && token.always_sensitive && !token.extractable && token.never_extractable);
        }
        (TierKind::Software, Some(_)) | (TierKind::Hardware, None) => panic!("attributes are a token's"),
    }
    assert_eq!(created.public_key.is_none(), spec.is_symmetric());

    let made = crate::bench::Made { spec, usage, id, material: created.material, public_key: created.public_key };
    let handle = bench.open(&made).await;
    assert_eq!(handle.spec(), spec);
    assert_eq!(handle.cipher().is_some(), usage == KeyUsage::EncryptDecrypt);
    assert_eq!(handle.signer().is_some(), usage == KeyUsage::SignVerify);
    assert_eq!(handle.mac().is_some(), usage == KeyUsage::GenerateVerifyMac);
    assert_eq!(handle.public_key().map(|key| key.spki()), made.public_key.as_ref());

    match usage {
        KeyUsage::EncryptDecrypt => {
            for algorithm in spec.encryption_algorithms() {
                if bench.can(spec, Ability::Encrypt(*algorithm)) {
                    round_trip(&*handle, *algorithm, b"before").await;
                }
            }
            let default = spec.encryption_algorithms()[0];
            let encrypted = encrypt(&*handle, encryption(default), b"kept").await.unwrap();
            drop(handle);
            let reopened = bench.open(&made).await;
            let decrypted = decrypt(&*reopened, decryption(default, encrypted.iv), &encrypted.ciphertext).await.unwrap();
            assert_eq!(decrypted.expose(), b"kept");
        }
        KeyUsage::GenerateVerifyMac => {
            let algorithm = spec.mac_algorithm().unwrap();
            let before = code(&*handle, algorithm, b"message").await.unwrap();
            drop(handle);
            let after = code(&*bench.open(&made).await, algorithm, b"message").await.unwrap();
            assert_eq!(before.expose(), after.expose());
        }
        KeyUsage::SignVerify => {
            drop(handle);
            let reopened = bench.open(&made).await;
            for algorithm in spec.signature_algorithms() {
                if bench.can(spec, Ability::Sign(*algorithm)) {
                    let digest = sha256(b"message");
                    let signature = reopened.signer().unwrap().sign(Share::default(), *algorithm, digest).await.unwrap();
                    let validity = reopened.public_key().unwrap().verify(*algorithm, &digest, &signature).unwrap();
                    assert_eq!(validity, Validity::Valid, "{algorithm} of {spec}");
                }
            }
        }
    }
    bench.tier.destroy(made.material).await.unwrap();
}

pub async fn what_does_not_fit_is_refused_at_creation(bench: &Bench) {
    for spec in KeySpec::ALL {
        for usage in KeyUsage::ALL {
            let admitted = bench.tier.describe().capabilities.admits(*spec, *usage, Ability::Generate);
            assert!(spec.usages().contains(usage) || admitted.is_err());
            if let Err(reason) = admitted {
                let refused = bench.tier.create(new_key(*spec, *usage)).await.err().expect("refused");
                assert_eq!((refused.kind(), refused.message()), (Kind::UnsupportedOperation, reason.message()));
            }
        }
    }
}

pub async fn a_destroyed_key_is_gone(bench: &Bench) {
    let algorithm = EncryptionAlgorithm::AesGcm;
    let spec = KeySpec::Aes256;
    let (made, other) = (bench.make(spec, KeyUsage::EncryptDecrypt).await, bench.make(spec, KeyUsage::EncryptDecrypt).await);
    let (handle, second, kept) = (bench.open(&made).await, bench.open(&made).await, bench.open(&other).await);
    let encrypted = encrypt(&*handle, encryption(algorithm), b"text").await.unwrap();

    bench.tier.destroy(made.copy_of_material()).await.unwrap();
    bench.tier.destroy(made.copy_of_material()).await.expect("gone already is no error");

    for open in [&handle, &second] {
        assert_refused(encrypt(&**open, encryption(algorithm), b"text").await, Kind::KeyNotFound);
        let decrypted = decrypt(&**open, decryption(algorithm, encrypted.iv), &encrypted.ciphertext).await;
        assert_refused(decrypted, Kind::KeyNotFound);
    }
    match bench.facts.keeping {
        Keeping::ItsKeys => assert_refused(bench.try_open(&made).await, Kind::KeyNotFound),
        // Whoever still has the material still has the key: nothing to refuse by.
        Keeping::Nothing => {}
    }
    round_trip(&*kept, algorithm, b"another key is not touched").await;

    if bench.makes(KeySpec::EcP256, KeyUsage::SignVerify) {
        let made = bench.make(KeySpec::EcP256, KeyUsage::SignVerify).await;
        let handle = bench.open(&made).await;
        bench.tier.destroy(made.copy_of_material()).await.unwrap();
        let algorithm = KeySpec::EcP256.signature_algorithms()[0];
        assert_refused(handle.signer().unwrap().sign(Share::default(), algorithm, sha256(b"")).await, Kind::KeyNotFound);
    }
}

pub async fn residents_are_what_the_tier_holds(bench: &Bench) {
    let mut made = vec![bench.make(KeySpec::Aes128, KeyUsage::EncryptDecrypt).await];
    if bench.makes(KeySpec::EcP256, KeyUsage::SignVerify) {
        made.push(bench.make(KeySpec::EcP256, KeyUsage::SignVerify).await);
    }
    let residents = bench.tier.residents().await.unwrap();
    match bench.facts.keeping {
        Keeping::Nothing => assert!(residents.is_empty()),
        Keeping::ItsKeys => {
            for key in &made {
                assert_eq!(residents.iter().filter(|id| **id == key.id).count(), 1, "once, also for a pair");
            }
            for key in &made {
                bench.tier.destroy(key.copy_of_material()).await.unwrap();
            }
            let residents = bench.tier.residents().await.unwrap();
            assert!(made.iter().all(|key| !residents.contains(&key.id)));
        }
    }
}

pub async fn imported_aes_keys_work(bench: &Bench) {
    for spec in [KeySpec::Aes128, KeySpec::Aes192, KeySpec::Aes256] {
        let Family::Aes { key_bytes } = spec.family() else { unreachable!() };
        if bench.can(spec, Ability::Import) {
            let (one, again) = (text(key_bytes), text(key_bytes));
            let one = bench.open(&bench.import(spec, KeyUsage::EncryptDecrypt, &one).await.unwrap()).await;
            let again = bench.open(&bench.import(spec, KeyUsage::EncryptDecrypt, &again).await.unwrap()).await;
            for algorithm in spec.encryption_algorithms().iter().filter(|algorithm| bench.can(spec, Ability::Encrypt(**algorithm)))
            {
                let encrypted = encrypt(&*one, encryption(*algorithm), b"text").await.unwrap();
                let decrypted = decrypt(&*again, decryption(*algorithm, encrypted.iv), &encrypted.ciphertext).await.unwrap();
                assert_eq!(decrypted.expose(), b"text", "the same material is the same key");
            }
            let default = spec.encryption_algorithms()[0];
            if bench.can(spec, Ability::Encrypt(default)) {
                let encrypted = encrypt(&*one, encryption(default), b"text").await.unwrap();
                let how = Aad::from(b"context");
                let outside = LessSafeKey::new(UnboundKey::new(gcm(key_bytes), &text(key_bytes)).unwrap());
                let mut opened = encrypted.ciphertext;
                let iv = Nonce::assume_unique_for_key(gcm_iv(encrypted.iv));
                assert_eq!(
                    outside.open_in_place(iv, how, &mut opened).unwrap(),
                    b"text",
                    "{spec} opens outside with what was imported"
                );
            }
        }
    }
}

fn gcm(key_bytes: usize) -> &'static Algorithm {
    match key_bytes {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        _ => &AES_256_GCM,
    }
}

/// What an imported key is protected by: it came from outside, and leaves the token no more.
pub async fn an_imported_key_stays_where_it_is(bench: &Bench) {
    let mut materials = pairs();
    materials.push((KeySpec::Aes256, text(32)));
    for (spec, material) in materials {
        if bench.can(spec, Ability::Import) {
            let new = new_key(spec, spec.usages()[0]);
            let id = new.id.clone();
            let created = bench.tier.import(new, secret(&material)).await.unwrap();
            match (bench.tier.describe().kind, created.attributes) {
                (TierKind::Software, None) => {}
                (TierKind::Hardware, Some(token)) => {
                    assert!(token.sensitive && !token.extractable, "{spec}");
                    assert!(!token.local && !token.always_sensitive && !token.never_extractable, "{spec}: the token does not lie");
                }
                (TierKind::Software, Some(_)) | (TierKind::Hardware, None) => panic!("attributes are a token's"),
            }
            assert_eq!(created.material.id(), id);
            bench.tier.destroy(created.material).await.unwrap();
        }
    }
}

/// One of two keys with the same material goes, the other stays.
pub async fn keys_with_the_same_material_are_two(bench: &Bench) {
    let spec = KeySpec::Aes256;
    if bench.can(spec, Ability::Import) {
        let one = bench.import(spec, KeyUsage::EncryptDecrypt, &text(32)).await.unwrap();
        let other = bench.import(spec, KeyUsage::EncryptDecrypt, &text(32)).await.unwrap();
        let (gone, kept) = (bench.open(&one).await, bench.open(&other).await);
        bench.tier.destroy(one.copy_of_material()).await.unwrap();
        assert_refused(encrypt(&*gone, encryption(EncryptionAlgorithm::AesGcm), b"text").await, Kind::KeyNotFound);
        round_trip(&*kept, EncryptionAlgorithm::AesGcm, b"text").await;
    }
}

/// PKCS #8 of pairs made by aws-lc, with the spec that they have.
fn pairs() -> Vec<(KeySpec, Vec<u8>)> {
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let p256k = EcdsaKeyPair::generate(&ECDSA_P256K1_SHA256_ASN1_SIGNING).unwrap();
    vec![
        (KeySpec::Rsa2048, KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap().as_ref().to_vec()),
        (KeySpec::EcP256, p256.to_pkcs8v1().unwrap().as_ref().to_vec()),
        (KeySpec::EcP256k, p256k.to_pkcs8v1().unwrap().as_ref().to_vec()),
    ]
}

pub async fn imported_pairs_work(bench: &Bench) {
    for (spec, pkcs8) in pairs() {
        if !bench.can(spec, Ability::Import) {
            continue;
        }
        let signing = bench.open(&bench.import(spec, KeyUsage::SignVerify, &pkcs8).await.unwrap()).await;
        let decrypting = bench.open(&bench.import(spec, KeyUsage::EncryptDecrypt, &pkcs8).await.unwrap()).await;
        let public = signing.public_key().unwrap();
        assert_eq!(public.spki(), decrypting.public_key().unwrap().spki());
        for algorithm in spec.signature_algorithms().iter().filter(|algorithm| bench.can(spec, Ability::Sign(**algorithm))) {
            let signature = signing.signer().unwrap().sign(Share::default(), *algorithm, sha256(b"message")).await.unwrap();
            assert_eq!(public.verify(*algorithm, &sha256(b"message"), &signature).unwrap(), Validity::Valid);
            let outside = UnparsedPublicKey::new(verification(*algorithm, spec), public_half(spec, &pkcs8));
            outside.verify(b"message", &signature).expect("the public half of what was imported verifies");
        }
        for algorithm in spec.encryption_algorithms().iter().filter(|algorithm| bench.can(spec, Ability::Encrypt(**algorithm))) {
            round_trip(&*decrypting, *algorithm, b"message").await;
        }
    }
}

fn verification(algorithm: SignatureAlgorithm, spec: KeySpec) -> &'static dyn VerificationAlgorithm {
    match (algorithm, spec) {
        (SignatureAlgorithm::RsaPssSha256, _) => &RSA_PSS_2048_8192_SHA256,
        (SignatureAlgorithm::RsaPkcs1Sha256, _) => &RSA_PKCS1_2048_8192_SHA256,
        (SignatureAlgorithm::EcdsaSha256, KeySpec::EcP256k) => &ECDSA_P256K1_SHA256_ASN1,
        (SignatureAlgorithm::EcdsaSha256, _) => &ECDSA_P256_SHA256_ASN1,
    }
}

/// As aws-lc reads it out of the whole pair.
fn public_half(spec: KeySpec, pkcs8: &[u8]) -> Vec<u8> {
    let on = |curve| EcdsaKeyPair::from_pkcs8(curve, pkcs8).unwrap().public_key().as_ref().to_vec();
    match spec {
        KeySpec::EcP256 => on(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeySpec::EcP256k => on(&ECDSA_P256K1_SHA256_ASN1_SIGNING),
        _ => KeyPair::from_pkcs8(pkcs8).unwrap().public_key().as_ref().to_vec(),
    }
}

pub async fn material_that_does_not_fit_is_refused(bench: &Bench) {
    for spec in [KeySpec::Aes128, KeySpec::Aes192, KeySpec::Aes256] {
        let Family::Aes { key_bytes } = spec.family() else { unreachable!() };
        for length in [0, 1, 15, 16, 17, 24, 32, 33].into_iter().filter(|length| *length != key_bytes) {
            if bench.can(spec, Ability::Import) {
                assert_refused(bench.import(spec, KeyUsage::EncryptDecrypt, &text(length)).await, Kind::InvalidParameter);
            }
        }
    }
    for (own, pkcs8) in pairs() {
        for spec in KeySpec::ALL.iter().filter(|spec| !spec.is_symmetric() && bench.can(**spec, Ability::Import)) {
            for usage in spec.usages() {
                if *spec != own {
                    assert_refused(bench.import(*spec, *usage, &pkcs8).await, Kind::InvalidParameter);
                }
                for length in [0, 1, pkcs8.len() / 2, pkcs8.len() - 1] {
                    assert_refused(bench.import(*spec, *usage, &pkcs8[..length]).await, Kind::InvalidParameter);
                }
            }
        }
    }
}

pub async fn health_is_good(bench: &Bench) {
    bench.tier.health().await.unwrap();
}

pub async fn a_closed_tier_refuses(bench: &Bench) {
    let made = bench.make(KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
    let handle = bench.open(&made).await;
    let algorithm = EncryptionAlgorithm::AesGcm;
    let encrypted = encrypt(&*handle, encryption(algorithm), b"text").await.unwrap();

    bench.tier.close().await.unwrap();

    assert_refused(bench.tier.create(new_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt)).await, Kind::Unavailable);
    assert_refused(bench.try_open(&made).await, Kind::Unavailable);
    assert_refused(bench.tier.destroy(made.copy_of_material()).await, Kind::Unavailable);
    assert_refused(bench.tier.residents().await, Kind::Unavailable);
    assert_refused(bench.tier.random(Share::default(), 16).await, Kind::Unavailable);
    assert_refused(bench.tier.health().await, Kind::Unavailable);
    assert_refused(encrypt(&*handle, encryption(algorithm), b"text").await, Kind::Unavailable);
    assert_refused(decrypt(&*handle, decryption(algorithm, encrypted.iv), &encrypted.ciphertext).await, Kind::Unavailable);
}
