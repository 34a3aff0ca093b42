//! Signatures: they verify, here and elsewhere, and nothing that was changed does.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256K1_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use der::asn1::UintRef;
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use keystead::base::Kind;
use keystead::model::algorithm::{KeySpec, KeyUsage, SignatureAlgorithm};
use keystead::tier::Ability;
use keystead::tier::Share;
use keystead::tier::public_key::{Validity, sha256};

use crate::bench::{Bench, assert_refused, cuts, flips};

const MESSAGE: &[u8] = b"message";

fn elsewhere(spec: KeySpec, algorithm: SignatureAlgorithm) -> &'static dyn VerificationAlgorithm {
    match (spec, algorithm) {
        (_, SignatureAlgorithm::RsaPssSha256) => &RSA_PSS_2048_8192_SHA256,
        (_, SignatureAlgorithm::RsaPkcs1Sha256) => &RSA_PKCS1_2048_8192_SHA256,
        (KeySpec::EcP256, SignatureAlgorithm::EcdsaSha256) => &ECDSA_P256_SHA256_ASN1,
        (_, SignatureAlgorithm::EcdsaSha256) => &ECDSA_P256K1_SHA256_ASN1,
    }
}

/// The specs and algorithms that the tier signs with, one RSA size: the others are tried when keys are made.
fn signing(bench: &Bench) -> Vec<(KeySpec, SignatureAlgorithm)> {
    let specs = [KeySpec::Rsa2048, KeySpec::EcP256, KeySpec::EcP256k];
    let pairs = specs.iter().flat_map(|spec| spec.signature_algorithms().iter().map(|algorithm| (*spec, *algorithm)));
    pairs.filter(|(spec, algorithm)| bench.can(*spec, Ability::Sign(*algorithm))).collect()
}

pub async fn signatures_verify_and_nothing_else_does(bench: &Bench) {
    for (spec, algorithm) in signing(bench) {
        let key = bench.fresh(spec, KeyUsage::SignVerify).await;
        let other = bench.fresh(spec, KeyUsage::SignVerify).await;
        let public = key.public_key().unwrap();
        let digest = sha256(MESSAGE);
        let signature = key.signer().unwrap().sign(Share::default(), algorithm, digest).await.unwrap();

        assert_eq!(public.verify(algorithm, &digest, &signature).unwrap(), Validity::Valid, "{algorithm} of {spec}");
        // aws-lc takes points as they are, and RSA keys as SubjectPublicKeyInfo.
        let encoded = match spec {
            KeySpec::EcP256 | KeySpec::EcP256k => &public.spki().as_der()[public.spki().as_der().len() - 65..],
            _ => public.spki().as_der(),
        };
        UnparsedPublicKey::new(elsewhere(spec, algorithm), encoded).verify(MESSAGE, &signature).unwrap();

        let longer = [&signature[..], &[0]].concat();
        for wrong in flips(&signature).chain(cuts(&signature)).chain([longer, vec![0; signature.len()]]) {
            assert_eq!(public.verify(algorithm, &digest, &wrong).unwrap(), Validity::Invalid, "{algorithm} of {spec}");
        }
        for wrong in flips(&digest) {
            assert_eq!(public.verify(algorithm, &wrong.try_into().unwrap(), &signature).unwrap(), Validity::Invalid);
        }
        assert_eq!(other.public_key().unwrap().verify(algorithm, &digest, &signature).unwrap(), Validity::Invalid);
        for digest in [[0; 32], [0xff; 32]] {
            let signature = key.signer().unwrap().sign(Share::default(), algorithm, digest).await.unwrap();
            assert_eq!(public.verify(algorithm, &digest, &signature).unwrap(), Validity::Valid, "digests are taken as they are");
        }
    }
}

pub async fn algorithms_that_do_not_fit_are_refused(bench: &Bench) {
    for spec in [KeySpec::Rsa2048, KeySpec::EcP256, KeySpec::EcP256k] {
        if !bench.makes(spec, KeyUsage::SignVerify) {
            continue;
        }
        let key = bench.fresh(spec, KeyUsage::SignVerify).await;
        for algorithm in SignatureAlgorithm::ALL.iter().filter(|algorithm| !spec.signature_algorithms().contains(algorithm)) {
            assert_refused(
                key.signer().unwrap().sign(Share::default(), *algorithm, sha256(MESSAGE)).await,
                Kind::UnsupportedOperation,
            );
            let verified = key.public_key().unwrap().verify(*algorithm, &sha256(MESSAGE), &[0; 64]);
            assert_refused(verified, Kind::UnsupportedOperation);
        }
    }
}

pub async fn ecdsa_is_der(bench: &Bench) {
    for (spec, algorithm) in signing(bench).into_iter().filter(|(spec, _)| *spec != KeySpec::Rsa2048) {
        let key = bench.fresh(spec, KeyUsage::SignVerify).await;
        // Often enough to meet numbers with a leading zero bit, and with a leading zero byte.
        for number in 0..300u32 {
            let digest = sha256(&number.to_be_bytes());
            let signature = key.signer().unwrap().sign(Share::default(), algorithm, digest).await.unwrap();
            let sequence = der::asn1::AnyRef::from_der(&signature).expect("one DER value and nothing after it");
            assert_eq!(sequence.tag(), Tag::Sequence);
            let mut reader = SliceReader::new(sequence.value()).unwrap();
            for _ in ["r", "s"] {
                let integer: UintRef<'_> = reader.decode().expect("a positive INTEGER in its shortest form");
                assert!(!integer.as_bytes().is_empty() && integer.as_bytes().len() <= 32);
            }
            assert!(reader.is_finished());
            assert_eq!(key.public_key().unwrap().verify(algorithm, &digest, &signature).unwrap(), Validity::Valid);
        }
    }
}

pub async fn only_pkcs1_repeats_itself(bench: &Bench) {
    for (spec, algorithm) in signing(bench).into_iter().filter(|(spec, _)| *spec == KeySpec::Rsa2048) {
        let key = bench.fresh(spec, KeyUsage::SignVerify).await;
        let one = key.signer().unwrap().sign(Share::default(), algorithm, sha256(MESSAGE)).await.unwrap();
        let two = key.signer().unwrap().sign(Share::default(), algorithm, sha256(MESSAGE)).await.unwrap();
        assert_eq!(one.len(), 256);
        assert_eq!(one == two, algorithm == SignatureAlgorithm::RsaPkcs1Sha256, "{algorithm}: salts are drawn anew");
    }
}
