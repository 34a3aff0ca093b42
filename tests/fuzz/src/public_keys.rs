//! Public keys as SubjectPublicKeyInfo: a key is of one spec, and its encoding is one.

use keystead::base::SecretBytes;
use keystead::model::algorithm::{EncryptionAlgorithm, KeySpec, SignatureAlgorithm};
use keystead::model::key::SubjectPublicKeyInfo;
use keystead::tier::public_key::Validity;
use keystead::tier::{Encryption, OaepHash, PublicKey};

use super::{Verdict, tells};

pub fn check(input: &[u8]) -> Verdict {
    let given = SubjectPublicKeyInfo::from_der(input.to_vec());
    let mut read = None;
    for spec in KeySpec::ALL {
        match PublicKey::from_spki(*spec, &given) {
            Ok(key) => {
                assert!(read.is_none(), "{spec} and another");
                assert_eq!(key.spec(), *spec);
                works(&key, input);
                read = Some(key);
            }
            Err(error) => tells(&error),
        }
    }
    Verdict::of(read.as_ref())
}

fn works(key: &PublicKey, noise: &[u8]) {
    let again = PublicKey::from_spki(key.spec(), key.spki()).expect("its own encoding");
    assert_eq!(again.spki(), key.spki());
    let pem = key.pem();
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("-----END PUBLIC KEY-----\n"));

    for algorithm in SignatureAlgorithm::ALL {
        let fits = key.spec().signature_algorithms().contains(algorithm);
        match key.verify(*algorithm, &[7; 32], noise) {
            Ok(validity) => assert!(fits && validity == Validity::Invalid),
            Err(error) => {
                assert!(!fits);
                tells(&error);
            }
        }
    }
    for algorithm in EncryptionAlgorithm::ALL {
        let how = match algorithm {
            EncryptionAlgorithm::RsaesOaepSha1 => Encryption::RsaesOaep(OaepHash::Sha1),
            EncryptionAlgorithm::RsaesOaepSha256 => Encryption::RsaesOaep(OaepHash::Sha256),
            EncryptionAlgorithm::EciesDhSha1XorHmac => Encryption::Ecies,
            EncryptionAlgorithm::AesGcm | EncryptionAlgorithm::AesCbc | EncryptionAlgorithm::AesEcb => continue,
        };
        let fits = key.spec().encryption_algorithms().contains(algorithm);
        let encrypted = key.encrypt(how, &SecretBytes::new(b"42 EUR".to_vec()));
        assert_eq!(encrypted.inspect_err(tells).is_ok(), fits);
    }
}
