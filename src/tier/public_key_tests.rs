//! Tests of `public_key.rs`: what is refused, and that what is accepted agrees with other implementations.

use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};

use super::*;
use crate::base::Kind;
use crate::model::algorithm::EncryptionAlgorithm;

fn rsa() -> PublicKey {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let spki = pair.public_key().as_der().unwrap();
    PublicKey::from_spki(KeySpec::Rsa2048, &SubjectPublicKeyInfo::from_der(spki.as_ref().to_vec())).unwrap()
}

fn point(spec: KeySpec) -> Vec<u8> {
    let algorithm = match spec {
        KeySpec::EcP256 => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        _ => &signature::ECDSA_P256K1_SHA256_ASN1_SIGNING,
    };
    EcdsaKeyPair::generate(algorithm).unwrap().public_key().as_ref().to_vec()
}

fn refused(result: Result<PublicKey>) {
    assert_eq!(result.err().expect("refused").kind(), Kind::InvalidParameter);
}

#[test]
fn a_key_survives_its_encoding() {
    for key in [
        rsa(),
        PublicKey::from_point(KeySpec::EcP256, &point(KeySpec::EcP256)).unwrap(),
        PublicKey::from_point(KeySpec::EcP256k, &point(KeySpec::EcP256k)).unwrap(),
    ] {
        let again = PublicKey::from_spki(key.spec(), key.spki()).unwrap();
        assert_eq!(again.spki(), key.spki());
        let pem = key.pem();
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("-----END PUBLIC KEY-----\n"), "{pem}");
        assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
    }
}

#[test]
fn a_key_of_another_spec_is_refused() {
    let keys = [
        rsa(),
        PublicKey::from_point(KeySpec::EcP256, &point(KeySpec::EcP256)).unwrap(),
        PublicKey::from_point(KeySpec::EcP256k, &point(KeySpec::EcP256k)).unwrap(),
    ];
    for key in &keys {
        for spec in KeySpec::ALL.iter().filter(|spec| **spec != key.spec()) {
            refused(PublicKey::from_spki(*spec, key.spki()));
        }
    }
}

#[test]
fn cut_and_lengthened_encodings_are_refused() {
    let der = rsa().spki().as_der().to_vec();
    for length in 0..der.len() {
        refused(PublicKey::from_spki(KeySpec::Rsa2048, &SubjectPublicKeyInfo::from_der(der[..length].to_vec())));
    }
    refused(PublicKey::from_spki(KeySpec::Rsa2048, &SubjectPublicKeyInfo::from_der([&der[..], &[0]].concat())));
}

#[test]
fn rsa_numbers_are_checked() {
    let mut modulus = [0xc1; 256];
    for exponent in [&[3][..], &[17], &[1, 0, 1], &[0, 1, 0, 1]] {
        assert!(PublicKey::from_rsa(KeySpec::Rsa2048, &modulus, exponent).is_ok(), "{exponent:?}");
    }
    let padded = [&[0][..], &modulus].concat();
    assert!(PublicKey::from_rsa(KeySpec::Rsa2048, &padded, &[1, 0, 1]).is_ok());
    for exponent in [&[][..], &[0], &[1], &[2], &[4], &[1, 0, 0], &[1, 0, 0, 0, 0, 0, 1]] {
        refused(PublicKey::from_rsa(KeySpec::Rsa2048, &modulus, exponent));
    }
    refused(PublicKey::from_rsa(KeySpec::Rsa3072, &modulus, &[1, 0, 1]));
    refused(PublicKey::from_rsa(KeySpec::Rsa2048, &modulus[1..], &[1, 0, 1]));
    modulus[0] = 0x7f;
    refused(PublicKey::from_rsa(KeySpec::Rsa2048, &modulus, &[1, 0, 1]));
}

#[test]
fn points_must_be_uncompressed_and_on_the_curve() {
    for spec in [KeySpec::EcP256, KeySpec::EcP256k] {
        let good = point(spec);
        let mut off = good.clone();
        off[64] ^= 1;
        refused(PublicKey::from_point(spec, &off));
        refused(PublicKey::from_point(spec, &good[..64]));
        refused(PublicKey::from_point(spec, &[0]));
        refused(PublicKey::from_point(spec, &[]));
        refused(PublicKey::from_point(spec, &[&[2 + (good[64] & 1)], &good[1..33]].concat()));
        let mut hybrid = good.clone();
        hybrid[0] = 6 + (good[64] & 1);
        refused(PublicKey::from_point(spec, &hybrid));
    }
}

#[test]
fn an_algorithm_of_another_family_is_refused() {
    let key = rsa();
    let error = key.verify(SignatureAlgorithm::EcdsaSha256, &[0; 32], &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::UnsupportedOperation);
    assert!(error.message().contains(SignatureAlgorithm::EcdsaSha256.name()), "{error}");
    let error = key.encrypt(Encryption::Ecies, &SecretBytes::new(vec![])).unwrap_err();
    assert!(error.message().contains(EncryptionAlgorithm::EciesDhSha1XorHmac.name()), "{error}");
}

#[test]
fn ecies_on_secp256k1_opens_with_the_private_key() {
    let private = ephemeral_p256k();
    let key = PublicKey::from_point(KeySpec::EcP256k, private.public_key().to_sec1_point(false).as_bytes()).unwrap();
    let blob = key.encrypt(Encryption::Ecies, &SecretBytes::new(b"message".to_vec())).unwrap().ciphertext;
    let sealed = ecies::Sealed::parse(&blob).unwrap();
    let shared = agree_p256k(&private, &k256::PublicKey::from_sec1_bytes(sealed.ephemeral()).unwrap());
    assert_eq!(sealed.open(&shared).unwrap().expose(), b"message");
}
