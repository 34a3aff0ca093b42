//! Key specs, usages and algorithms, and which fits which: the one table that both protocols and both tiers consult.

use std::fmt;
use std::str::FromStr;

use crate::base::{Error, Result, excerpt};

/// Gives a closed set of API names its `name`, `Display` and `FromStr`.
macro_rules! api_names {
    ($type:ident, $parameter:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The API's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == text).ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|one| one.name()).collect();
                    Error::invalid(format!(
                        "The {} {:?} is not known; it is one of {}.",
                        $parameter,
                        excerpt(text),
                        names.join(", ")
                    ))
                })
            }
        }
    };
}

/// What kind of key: the API's `KeySpec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySpec {
    /// AES, 256 bits.
    Aes256,
    /// AES, 192 bits.
    Aes192,
    /// AES, 128 bits.
    Aes128,
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// The curve P-256 (secp256r1).
    EcP256,
    /// The curve secp256k1.
    EcP256k,
    /// A secret of 28 bytes for HMAC with SHA-224.
    HmacSha224,
    /// A secret of 32 bytes for HMAC with SHA-256.
    HmacSha256,
    /// A secret of 48 bytes for HMAC with SHA-384.
    HmacSha384,
    /// A secret of 64 bytes for HMAC with SHA-512.
    HmacSha512,
}

api_names!(KeySpec, "KeySpec", {
    Aes256 => "Aliyun_AES_256",
    Aes192 => "Aliyun_AES_192",
    Aes128 => "Aliyun_AES_128",
    Rsa2048 => "RSA_2048",
    Rsa3072 => "RSA_3072",
    Rsa4096 => "RSA_4096",
    EcP256 => "EC_P256",
    EcP256k => "EC_P256K",
    HmacSha224 => "HMAC_SHA_224",
    HmacSha256 => "HMAC_SHA_256",
    HmacSha384 => "HMAC_SHA_384",
    HmacSha512 => "HMAC_SHA_512",
});

/// What a key may do: the API's `KeyUsage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUsage {
    /// Encrypt and decrypt.
    EncryptDecrypt,
    /// Sign and verify.
    SignVerify,
    /// Generate and verify message authentication codes.
    GenerateVerifyMac,
}

api_names!(KeyUsage, "KeyUsage", {
    EncryptDecrypt => "ENCRYPT/DECRYPT",
    SignVerify => "SIGN/VERIFY",
    GenerateVerifyMac => "GENERATE_VERIFY_MAC",
});

/// An algorithm of Encrypt and Decrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncryptionAlgorithm {
    /// AES in Galois/Counter Mode (SP 800-38D): 12-byte IV, 16-byte tag at the end of the ciphertext.
    AesGcm,
    /// AES in CBC mode (SP 800-38A), 16-byte IV.
    AesCbc,
    /// AES in ECB mode (SP 800-38A).
    AesEcb,
    /// RSAES-OAEP (RFC 8017, section 7.1), SHA-256 for label and MGF1, empty label.
    RsaesOaepSha256,
    /// RSAES-OAEP (RFC 8017, section 7.1), SHA-1 for label and MGF1, empty label.
    RsaesOaepSha1,
    /// ECIES (SEC 1, section 5.1): ECDH, X9.63 KDF with SHA-1, XOR, HMAC-SHA-1.
    EciesDhSha1XorHmac,
}

api_names!(EncryptionAlgorithm, "Algorithm", {
    AesGcm => "AES_GCM",
    AesCbc => "AES_CBC",
    AesEcb => "AES_ECB",
    RsaesOaepSha256 => "RSAES_OAEP_SHA_256",
    RsaesOaepSha1 => "RSAES_OAEP_SHA_1",
    EciesDhSha1XorHmac => "ECIES_DH_SHA_1_XOR_HMAC",
});

/// How key material is wrapped to be imported: the API's `WrappingAlgorithm`. RSAES_PKCS1_V1_5 is not one of them: whether an import
/// succeeds would tell whether a padding is right, by which whoever may import decrypts what others wrapped (Bleichenbacher).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrappingAlgorithm {
    /// RSAES-OAEP (RFC 8017, section 7.1), SHA-256 for label and MGF1, empty label.
    RsaesOaepSha256,
    /// RSAES-OAEP (RFC 8017, section 7.1), SHA-1 for label and MGF1, empty label.
    RsaesOaepSha1,
}

api_names!(WrappingAlgorithm, "WrappingAlgorithm", {
    RsaesOaepSha256 => "RSAES_OAEP_SHA_256",
    RsaesOaepSha1 => "RSAES_OAEP_SHA_1",
});

/// An algorithm of Sign and Verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PSS (RFC 8017, section 8.1), SHA-256 for message and MGF1, 32-byte salt.
    RsaPssSha256,
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2) with SHA-256.
    RsaPkcs1Sha256,
    /// ECDSA with SHA-256, the signature in DER (RFC 3279, section 2.2.3).
    EcdsaSha256,
}

api_names!(SignatureAlgorithm, "Algorithm", {
    RsaPssSha256 => "RSA_PSS_SHA_256",
    RsaPkcs1Sha256 => "RSA_PKCS1_SHA_256",
    EcdsaSha256 => "ECDSA_SHA_256",
});

/// An algorithm of GenerateMac and VerifyMac: HMAC (FIPS 198-1), the code as long as the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacAlgorithm {
    /// With SHA-224.
    HmacSha224,
    /// With SHA-256.
    HmacSha256,
    /// With SHA-384.
    HmacSha384,
    /// With SHA-512.
    HmacSha512,
}

api_names!(MacAlgorithm, "Algorithm", {
    HmacSha224 => "HMAC_SHA_224",
    HmacSha256 => "HMAC_SHA_256",
    HmacSha384 => "HMAC_SHA_384",
    HmacSha512 => "HMAC_SHA_512",
});

impl MacAlgorithm {
    /// Length of a code, and of a key, in bytes: that of the hash, which is what a key must have at least to be as strong
    /// (SP 800-107, section 5.3.4).
    pub const fn bytes(self) -> usize {
        match self {
            Self::HmacSha224 => 28,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }
}

/// How CBC and ECB fill the last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaddingMode {
    /// PKCS #7 (RFC 5652, section 6.3).
    Pkcs7,
    /// None: the plaintext is a multiple of 16 bytes.
    NoPadding,
}

api_names!(PaddingMode, "PaddingMode", {
    Pkcs7 => "PKCS7_PADDING",
    NoPadding => "NO_PADDING",
});

/// Whether a message to be signed is whole or hashed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// The message; the service hashes it.
    Raw,
    /// The digest of the message.
    Digest,
}

api_names!(MessageType, "MessageType", {
    Raw => "RAW",
    Digest => "DIGEST",
});

/// What kind of cryptography a key spec belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A secret key of this many bytes.
    Aes {
        /// 16, 24 or 32.
        key_bytes: usize,
    },
    /// A key pair with a modulus of this many bytes.
    Rsa {
        /// 256, 384 or 512.
        modulus_bytes: usize,
    },
    /// A key pair on a curve.
    Ec(Curve),
    /// A secret key for one algorithm, of as many bytes as its codes have.
    Hmac(MacAlgorithm),
}

/// A named curve with a 256-bit field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp256k1.
    P256k,
}

impl KeySpec {
    /// The cryptography that it belongs to.
    pub const fn family(self) -> Family {
        match self {
            Self::Aes256 => Family::Aes { key_bytes: 32 },
            Self::Aes192 => Family::Aes { key_bytes: 24 },
            Self::Aes128 => Family::Aes { key_bytes: 16 },
            Self::Rsa2048 => Family::Rsa { modulus_bytes: 256 },
            Self::Rsa3072 => Family::Rsa { modulus_bytes: 384 },
            Self::Rsa4096 => Family::Rsa { modulus_bytes: 512 },
            Self::EcP256 => Family::Ec(Curve::P256),
            Self::EcP256k => Family::Ec(Curve::P256k),
            Self::HmacSha224 => Family::Hmac(MacAlgorithm::HmacSha224),
            Self::HmacSha256 => Family::Hmac(MacAlgorithm::HmacSha256),
            Self::HmacSha384 => Family::Hmac(MacAlgorithm::HmacSha384),
            Self::HmacSha512 => Family::Hmac(MacAlgorithm::HmacSha512),
        }
    }

    /// Whether the key is one secret rather than a pair.
    pub const fn is_symmetric(self) -> bool {
        match self.family() {
            Family::Aes { .. } | Family::Hmac(_) => true,
            Family::Rsa { .. } | Family::Ec(_) => false,
        }
    }

    /// The usages that it can have; the first is CreateKey's default.
    pub const fn usages(self) -> &'static [KeyUsage] {
        match self.family() {
            Family::Aes { .. } => &[KeyUsage::EncryptDecrypt],
            Family::Hmac(_) => &[KeyUsage::GenerateVerifyMac],
            Family::Rsa { .. } | Family::Ec(_) => &[KeyUsage::SignVerify, KeyUsage::EncryptDecrypt],
        }
    }

    /// The algorithms of Encrypt and Decrypt; the first is the default, none for a key of HMAC.
    pub const fn encryption_algorithms(self) -> &'static [EncryptionAlgorithm] {
        match self.family() {
            Family::Aes { .. } => &[EncryptionAlgorithm::AesGcm, EncryptionAlgorithm::AesCbc, EncryptionAlgorithm::AesEcb],
            Family::Rsa { .. } => &[EncryptionAlgorithm::RsaesOaepSha256, EncryptionAlgorithm::RsaesOaepSha1],
            Family::Ec(_) => &[EncryptionAlgorithm::EciesDhSha1XorHmac],
            Family::Hmac(_) => &[],
        }
    }

    /// The algorithms of Sign and Verify; the first is the default, none for a symmetric key.
    pub const fn signature_algorithms(self) -> &'static [SignatureAlgorithm] {
        match self.family() {
            Family::Aes { .. } | Family::Hmac(_) => &[],
            Family::Rsa { .. } => &[SignatureAlgorithm::RsaPssSha256, SignatureAlgorithm::RsaPkcs1Sha256],
            Family::Ec(_) => &[SignatureAlgorithm::EcdsaSha256],
        }
    }

    /// The one algorithm of GenerateMac and VerifyMac that a key of HMAC has.
    pub const fn mac_algorithm(self) -> Option<MacAlgorithm> {
        match self.family() {
            Family::Hmac(algorithm) => Some(algorithm),
            Family::Aes { .. } | Family::Rsa { .. } | Family::Ec(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_to_what_they_name() {
        for spec in KeySpec::ALL {
            assert_eq!(spec.name().parse::<KeySpec>().unwrap(), *spec);
        }
        let error = "AES_CTR".parse::<EncryptionAlgorithm>().unwrap_err();
        assert!(error.message().contains("AES_CTR") && error.message().contains("AES_GCM"), "{error}");
    }

    #[test]
    fn every_usage_has_an_algorithm() {
        for spec in KeySpec::ALL {
            for usage in spec.usages() {
                match usage {
                    KeyUsage::EncryptDecrypt => assert!(!spec.encryption_algorithms().is_empty()),
                    KeyUsage::SignVerify => assert!(!spec.signature_algorithms().is_empty()),
                    KeyUsage::GenerateVerifyMac => assert!(spec.mac_algorithm().is_some()),
                }
            }
        }
    }
}
