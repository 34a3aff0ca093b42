//! What is measured: an operation, once through the tier and once as the bare calls of a session.

use std::fmt;

use cryptoki::error::Error as Failure;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::super::keys::mechanism;
use super::super::library::functions::{Functions, Mechanism};
use crate::base::{Result, SecretBytes, random};
use crate::model::algorithm::{KeySpec, KeyUsage, SignatureAlgorithm};
use crate::tier::{Encryption, KeyHandle, Share, Tier, does_not_fit};

/// An operation that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// AES-256-GCM encryption of so many bytes.
    AesGcm(usize),
    /// RSA signature, PKCS #1 v1.5 with SHA-256, by a key of 2048 bits.
    Rsa2048,
    /// The same by a key of 4096 bits.
    Rsa4096,
    /// ECDSA signature on P-256 with SHA-256.
    P256,
    /// So many random bytes.
    Random(usize),
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AesGcm(bytes) => write!(formatter, "AES-256-GCM {bytes} B encrypt"),
            Self::Rsa2048 => formatter.write_str("RSA-2048 sign"),
            Self::Rsa4096 => formatter.write_str("RSA-4096 sign"),
            Self::P256 => formatter.write_str("P-256 sign"),
            Self::Random(bytes) => write!(formatter, "random {bytes} B"),
        }
    }
}

/// What is signed: SHA-256 digests look like that.
const DIGEST: [u8; 32] = [7; 32];

impl Workload {
    /// The key that it needs.
    pub fn key(self) -> Option<(KeySpec, KeyUsage)> {
        match self {
            Self::AesGcm(_) => Some((KeySpec::Aes256, KeyUsage::EncryptDecrypt)),
            Self::Rsa2048 => Some((KeySpec::Rsa2048, KeyUsage::SignVerify)),
            Self::Rsa4096 => Some((KeySpec::Rsa4096, KeyUsage::SignVerify)),
            Self::P256 => Some((KeySpec::EcP256, KeyUsage::SignVerify)),
            Self::Random(_) => None,
        }
    }

    /// Once through the tier, with its key if it needs one.
    ///
    /// # Errors
    /// The tier's, and a key that does not fit.
    pub async fn through(self, tier: &dyn Tier, key: Option<&dyn KeyHandle>) -> Result<()> {
        let sign = async |spec, algorithm| {
            let signer = key.and_then(KeyHandle::signer).ok_or_else(|| does_not_fit(spec, algorithm))?;
            signer.sign(Share::default(), algorithm, DIGEST).await.map(drop)
        };
        match self {
            Self::AesGcm(bytes) => {
                let how = Encryption::AesGcm { aad: Vec::new() };
                let algorithm = how.algorithm();
                let cipher = key.and_then(KeyHandle::cipher).ok_or_else(|| does_not_fit(KeySpec::Aes256, algorithm))?;
                cipher.encrypt(Share::default(), how, SecretBytes::new(vec![7; bytes])).await.map(drop)
            }
            Self::Rsa2048 => sign(KeySpec::Rsa2048, SignatureAlgorithm::RsaPkcs1Sha256).await,
            Self::Rsa4096 => sign(KeySpec::Rsa4096, SignatureAlgorithm::RsaPkcs1Sha256).await,
            Self::P256 => sign(KeySpec::EcP256, SignatureAlgorithm::EcdsaSha256).await,
            Self::Random(bytes) => tier.random(Share::default(), bytes).await.map(drop),
        }
    }
}

/// A session with the module's own calls, and buffers that are used again.
pub(super) struct RawSession {
    session: Session,
    key: Option<ObjectHandle>,
    workload: Workload,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Begins somewhere, and counts: used once with a key.
    iv: u128,
}

impl RawSession {
    pub(super) fn new(session: Session, key: Option<ObjectHandle>, workload: Workload) -> Self {
        let (input, output) = match workload {
            Workload::AesGcm(bytes) => (vec![7; bytes], bytes + mechanism::TAG),
            Workload::Rsa2048 => (mechanism::digest_info(&DIGEST).to_vec(), 256),
            Workload::Rsa4096 => (mechanism::digest_info(&DIGEST).to_vec(), 512),
            Workload::P256 => (DIGEST.to_vec(), 64),
            Workload::Random(bytes) => (Vec::new(), bytes),
        };
        let iv = u128::from_be_bytes(random::bytes());
        Self { session, key, workload, input, output: vec![0; output], iv }
    }

    /// The calls of one operation and nothing else.
    pub(super) fn run(&mut self, functions: &Functions) -> Result<(), Failure> {
        self.iv = self.iv.wrapping_add(1);
        let session = self.session.handle();
        let key = || self.key.map(|key| key.handle()).ok_or(Failure::InvalidValue);
        match self.workload {
            Workload::AesGcm(_) => {
                let [_, _, _, _, iv @ ..] = self.iv.to_be_bytes();
                let how = Mechanism::AesGcm { iv: &iv, aad: &[] };
                functions.encrypt(session, key()?, how, &self.input, &mut self.output).map(drop)
            }
            Workload::Rsa2048 | Workload::Rsa4096 => {
                functions.sign(session, key()?, Mechanism::RsaPkcs, &self.input, &mut self.output).map(drop)
            }
            Workload::P256 => functions.sign(session, key()?, Mechanism::Ecdsa, &self.input, &mut self.output).map(drop),
            Workload::Random(_) => functions.random(session, &mut self.output),
        }
    }
}
