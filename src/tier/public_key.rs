//! What needs no private key: public keys, verification, public-key encryption, hashing.
//!
//! Used by both tiers, and by the service for the certificates of client keys. A key is parsed and checked once and then kept;
//! it is bound to a [`KeySpec`]. Knows neither tokens nor how private halves are held.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256K1_SHA256_ASN1, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use aws_lc_rs::{agreement, digest};
use der::asn1::ObjectIdentifier;
use der::pem::LineEnding;
use k256::elliptic_curve::sec1::ToSec1Point;
use pkcs8::SubjectPublicKeyInfoRef;

use crate::base::{Error, Result, SecretBytes, random};
use crate::model::algorithm::{Curve, Family, KeySpec, SignatureAlgorithm};
use crate::model::key::SubjectPublicKeyInfo;
use crate::tier::{Encrypted, Encryption, Iv, OaepHash, Sha256Digest, does_not_fit, ecies, modulus_bytes, oaep_plaintext_limit};

/// id-ecPublicKey (RFC 5480, section 2.1.1).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// secp256r1 (RFC 5480, section 2.1.1.1).
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// secp256k1 (SEC 2, section A.2.1).
const SECP256K1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");

/// The public half of a pair, parsed and checked.
pub struct PublicKey {
    spec: KeySpec,
    spki: SubjectPublicKeyInfo,
    parsed: Parsed,
}

enum Parsed {
    Rsa { pss: ParsedPublicKey, pkcs1: ParsedPublicKey, oaep: OaepPublicEncryptingKey },
    P256 { verifying: ParsedPublicKey, agreeing: agreement::ParsedPublicKey },
    P256k { verifying: ParsedPublicKey, agreeing: k256::PublicKey },
}

/// What a verification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// The key made this signature over this digest.
    Valid,
    /// It did not.
    Invalid,
}

/// SHA-256 of a message.
pub fn sha256(message: &[u8]) -> Sha256Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    bytes
}

impl PublicKey {
    /// From a SubjectPublicKeyInfo (RFC 5280, section 4.1; RFC 3279, section 2.3.1; RFC 5480, section 2).
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when it is malformed or of another spec.
    pub fn from_spki(spec: KeySpec, spki: &SubjectPublicKeyInfo) -> Result<Self> {
        let info = SubjectPublicKeyInfoRef::try_from(spki.as_der()).map_err(|error| malformed(spec).caused_by(error))?;
        let key = info.subject_public_key.as_bytes().ok_or_else(|| malformed(spec))?;
        let curve = match spec.family() {
            Family::Rsa { .. } if info.algorithm.oid == pkcs1::ALGORITHM_OID => {
                let rsa = pkcs1::RsaPublicKeyRef::try_from(key).map_err(|error| malformed(spec).caused_by(error))?;
                return Self::from_rsa(spec, rsa.modulus.as_bytes(), rsa.public_exponent.as_bytes());
            }
            Family::Ec(Curve::P256) => SECP256R1,
            Family::Ec(Curve::P256k) => SECP256K1,
            Family::Rsa { .. } | Family::Aes { .. } | Family::Hmac(_) => return Err(malformed(spec)),
        };
        match info.algorithm.assert_oids(EC_PUBLIC_KEY, curve) {
            Ok(()) => Self::from_point(spec, key),
            Err(error) => Err(malformed(spec).caused_by(error)),
        }
    }

    /// From modulus and public exponent, big-endian, as CKA_MODULUS and CKA_PUBLIC_EXPONENT give them; leading zeros are fine.
    /// The modulus has as many bits as the spec says, the exponent is odd, at least 3 and at most 33 bits long.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) otherwise.
    pub fn from_rsa(spec: KeySpec, modulus: &[u8], exponent: &[u8]) -> Result<Self> {
        let (n, e) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        let full_length = modulus_bytes(spec) == Some(n.len()) && n.first().is_some_and(|first| first & 0x80 != 0);
        let odd_from_three = e.last().is_some_and(|last| last & 1 == 1) && e != [1];
        if !full_length || !odd_from_three {
            return Err(malformed(spec));
        }
        let components = RsaPublicKeyComponents { n, e };
        let spki = components.as_der().map_err(|error| malformed(spec).caused_by(error))?.as_ref().to_vec();
        let rejected = |error| malformed(spec).caused_by(error);
        // Parsing, unlike assembling, checks the numbers.
        let pss = ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &spki).map_err(rejected)?;
        let pkcs1 = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &spki).map_err(rejected)?;
        let encrypting = PublicEncryptingKey::from_der(&spki).map_err(rejected)?;
        let oaep = OaepPublicEncryptingKey::new(encrypting).map_err(|error| malformed(spec).caused_by(error))?;
        Ok(Self { spec, spki: SubjectPublicKeyInfo::from_der(spki), parsed: Parsed::Rsa { pss, pkcs1, oaep } })
    }

    /// From a point, uncompressed (SEC 1, section 2.3.3: 65 bytes `04 || x || y`), which must lie on the curve.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) otherwise.
    pub fn from_point(spec: KeySpec, point: &[u8]) -> Result<Self> {
        if point.len() != ecies::POINT || point[0] != 4 {
            return Err(malformed(spec));
        }
        let verifying = |algorithm: &'static signature::EcdsaVerificationAlgorithm| {
            ParsedPublicKey::new(algorithm, point).map_err(|error| malformed(spec).caused_by(error))
        };
        let (spki, parsed) = match spec.family() {
            Family::Ec(Curve::P256) => {
                let verifying = verifying(&ECDSA_P256_SHA256_ASN1)?;
                let agreeing = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, point)
                    .try_into()
                    .map_err(|error: aws_lc_rs::error::KeyRejected| malformed(spec).caused_by(error))?;
                (verifying.as_der(), Parsed::P256 { verifying, agreeing })
            }
            Family::Ec(Curve::P256k) => {
                let verifying = verifying(&ECDSA_P256K1_SHA256_ASN1)?;
                let agreeing = k256::PublicKey::from_sec1_bytes(point).map_err(|error| malformed(spec).caused_by(error))?;
                (verifying.as_der(), Parsed::P256k { verifying, agreeing })
            }
            Family::Rsa { .. } | Family::Aes { .. } | Family::Hmac(_) => return Err(malformed(spec)),
        };
        let spki = spki.map_err(Error::internal)?.as_ref().to_vec();
        Ok(Self { spec, spki: SubjectPublicKeyInfo::from_der(spki), parsed })
    }

    /// Its spec.
    pub fn spec(&self) -> KeySpec {
        self.spec
    }

    /// The key as SubjectPublicKeyInfo, in the one encoding that DER has for it.
    pub fn spki(&self) -> &SubjectPublicKeyInfo {
        &self.spki
    }

    /// The same as PEM (RFC 7468, section 13): label `PUBLIC KEY`, 64 columns, a newline at the end.
    pub fn pem(&self) -> String {
        der::pem::encode_string("PUBLIC KEY", LineEnding::LF, self.spki.as_der()).expect("a key fits into a string")
    }

    /// Whether `signature` is the key's over `digest`. ECDSA signatures are DER.
    ///
    /// # Errors
    /// [`Kind::UnsupportedOperation`](crate::base::Kind::UnsupportedOperation) when the algorithm does not fit the key.
    pub fn verify(&self, algorithm: SignatureAlgorithm, digest: &Sha256Digest, signature: &[u8]) -> Result<Validity> {
        let key = match (&self.parsed, algorithm) {
            (Parsed::Rsa { pss, .. }, SignatureAlgorithm::RsaPssSha256) => pss,
            (Parsed::Rsa { pkcs1, .. }, SignatureAlgorithm::RsaPkcs1Sha256) => pkcs1,
            (Parsed::P256 { verifying, .. } | Parsed::P256k { verifying, .. }, SignatureAlgorithm::EcdsaSha256) => verifying,
            (Parsed::Rsa { .. }, SignatureAlgorithm::EcdsaSha256)
            | (Parsed::P256 { .. } | Parsed::P256k { .. }, SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::RsaPkcs1Sha256) =>
            {
                return Err(does_not_fit(self.spec, algorithm));
            }
        };
        let digest = digest::Digest::import_less_safe(digest, &digest::SHA256).map_err(Error::internal)?;
        Ok(match key.verify_digest_sig(&digest, signature) {
            Ok(()) => Validity::Valid,
            Err(_) => Validity::Invalid,
        })
    }

    /// Encrypts to the key: RSAES-OAEP (RFC 8017, section 7.1.1, empty label) or ECIES.
    ///
    /// # Errors
    /// [`Kind::UnsupportedOperation`](crate::base::Kind::UnsupportedOperation) when the algorithm does not fit the key,
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when the plaintext is too long for it.
    #[expect(clippy::needless_pass_by_value, reason = "an encryption is used up by what it encrypts, as with every cipher")]
    pub fn encrypt(&self, how: Encryption, plaintext: &SecretBytes) -> Result<Encrypted> {
        let ciphertext = match (&self.parsed, &how) {
            (Parsed::Rsa { oaep, .. }, Encryption::RsaesOaep(hash)) => self.encrypt_oaep(oaep, *hash, plaintext)?,
            (Parsed::P256 { agreeing, .. }, Encryption::Ecies) => encrypt_p256(agreeing, plaintext)?,
            (Parsed::P256k { agreeing, .. }, Encryption::Ecies) => encrypt_p256k(agreeing, plaintext),
            (Parsed::Rsa { .. }, Encryption::Ecies)
            | (Parsed::P256 { .. } | Parsed::P256k { .. }, Encryption::RsaesOaep(_))
            | (_, Encryption::AesGcm { .. } | Encryption::AesCbc { .. } | Encryption::AesEcb { .. }) => {
                return Err(does_not_fit(self.spec, how.algorithm()));
            }
        };
        Ok(Encrypted { iv: Iv::None, ciphertext })
    }

    fn encrypt_oaep(&self, key: &OaepPublicEncryptingKey, hash: OaepHash, plaintext: &SecretBytes) -> Result<Vec<u8>> {
        let limit = oaep_plaintext_limit(key.ciphertext_size(), hash);
        if plaintext.len() > limit {
            return Err(Error::invalid(format!(
                "The plaintext has {} bytes; {} with {} takes at most {limit}.",
                plaintext.len(),
                Encryption::RsaesOaep(hash).algorithm(),
                self.spec
            )));
        }
        let algorithm = match hash {
            OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
            OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        };
        let mut ciphertext = vec![0; key.ciphertext_size()];
        key.encrypt(algorithm, plaintext.expose(), &mut ciphertext, None).map_err(Error::internal)?;
        Ok(ciphertext)
    }
}

fn encrypt_p256(recipient: &agreement::ParsedPublicKey, plaintext: &SecretBytes) -> Result<Vec<u8>> {
    let ephemeral = agreement::PrivateKey::generate(&agreement::ECDH_P256).map_err(Error::internal)?;
    let point = ephemeral.compute_public_key().map_err(Error::internal)?;
    let shared = agreement::agree(&ephemeral, recipient.clone(), (), |shared| Ok(SecretBytes::new(shared.to_vec())))
        .map_err(|()| Error::internal("ECDH with a checked point failed"))?;
    Ok(ecies::seal(point.as_ref(), &shared, plaintext))
}

fn encrypt_p256k(recipient: &k256::PublicKey, plaintext: &SecretBytes) -> Vec<u8> {
    let ephemeral = ephemeral_p256k();
    let point = ephemeral.public_key().to_sec1_point(false);
    ecies::seal(point.as_bytes(), &agree_p256k(&ephemeral, recipient), plaintext)
}

/// The x coordinate of the point that both sides share, 32 bytes (SEC 1, section 3.3.1).
pub(crate) fn agree_p256k(private: &k256::SecretKey, public: &k256::PublicKey) -> SecretBytes {
    SecretBytes::new(private.diffie_hellman(public).raw_secret_bytes().to_vec())
}

/// A scalar out of the process's DRBG: the group's order lies so close to 2^256 that the first draw does.
fn ephemeral_p256k() -> k256::SecretKey {
    loop {
        let mut draw = SecretBytes::new(vec![0; 32]);
        random::fill(draw.expose_mut());
        if let Ok(scalar) = k256::SecretKey::from_slice(draw.expose()) {
            return scalar;
        }
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn malformed(spec: KeySpec) -> Error {
    Error::invalid(format!("The public key is malformed or not a key of the KeySpec {spec}."))
}

#[cfg(test)]
#[path = "public_key_tests.rs"]
mod tests;
