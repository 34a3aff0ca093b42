//! Key pairs of the software tier in their stored form: made, checked, taken in; PKCS #8 (RFC 5208), DER.
//!
//! Called by the tier when it creates and imports. What uses a pair is in `signing.rs` and `decrypting.rs`.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RsaKeyPair,
};

use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::KeySpec;
use crate::model::key::SubjectPublicKeyInfo;
use crate::tier::PublicKey;

/// A pair that was made or checked.
pub(super) struct Pair {
    /// Both halves, PKCS #8.
    pub(super) material: SecretBytes,
    /// The public half.
    pub(super) public: PublicKey,
}

/// How aws-lc names what a spec asks for.
enum Kind {
    Rsa(KeySize),
    Ec(&'static EcdsaSigningAlgorithm),
}

/// Makes a pair. RSA takes long: 0.1 s for 2048 bits, seconds for 4096.
///
/// # Errors
/// [`Kind::Internal`](crate::base::Kind::Internal) when the library fails.
pub(super) fn generate(spec: KeySpec) -> Result<Pair> {
    match kind(spec)? {
        Kind::Rsa(size) => from_rsa(spec, &RsaKeyPair::generate(size).map_err(Error::internal)?),
        Kind::Ec(algorithm) => from_ec(spec, &EcdsaKeyPair::generate(algorithm).map_err(Error::internal)?),
    }
}

/// Checks a pair: well formed, consistent, of this spec. What comes out is encoded anew.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when it is not.
pub(super) fn parse(spec: KeySpec, pkcs8: &SecretBytes) -> Result<Pair> {
    match kind(spec)? {
        Kind::Rsa(_) => from_rsa(spec, &rsa(spec, pkcs8)?),
        Kind::Ec(_) => from_ec(spec, &ec(spec, pkcs8)?),
    }
}

/// An RSA pair, to sign with.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when the material is none of this spec.
pub(super) fn rsa(spec: KeySpec, pkcs8: &SecretBytes) -> Result<RsaKeyPair> {
    RsaKeyPair::from_pkcs8(pkcs8.expose()).map_err(|error| not_a_pair(spec).caused_by(error))
}

/// A pair on the spec's curve, to sign with.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when the material is none of this spec.
pub(super) fn ec(spec: KeySpec, pkcs8: &SecretBytes) -> Result<EcdsaKeyPair> {
    match kind(spec)? {
        Kind::Ec(algorithm) => {
            EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.expose()).map_err(|error| not_a_pair(spec).caused_by(error))
        }
        Kind::Rsa(_) => Err(not_a_pair(spec)),
    }
}

/// The public half of an RSA pair; this is where modulus length and exponent are checked.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when they do not fit.
pub(super) fn rsa_public(spec: KeySpec, pair: &RsaKeyPair) -> Result<PublicKey> {
    let spki = pair.public_key().as_der().map_err(Error::internal)?.as_ref().to_vec();
    PublicKey::from_spki(spec, &SubjectPublicKeyInfo::from_der(spki))
}

/// The public half of a pair on a curve.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when it is of another curve.
pub(super) fn ec_public(spec: KeySpec, pair: &EcdsaKeyPair) -> Result<PublicKey> {
    PublicKey::from_point(spec, pair.public_key().as_ref())
}

fn from_rsa(spec: KeySpec, pair: &RsaKeyPair) -> Result<Pair> {
    let public = rsa_public(spec, pair)?;
    let der = pair.as_der().map_err(Error::internal)?;
    Ok(Pair { material: SecretBytes::new(der.as_ref().to_vec()), public })
}

fn from_ec(spec: KeySpec, pair: &EcdsaKeyPair) -> Result<Pair> {
    let public = ec_public(spec, pair)?;
    let der = pair.to_pkcs8v1().map_err(Error::internal)?;
    Ok(Pair { material: SecretBytes::new(der.as_ref().to_vec()), public })
}

fn kind(spec: KeySpec) -> Result<Kind> {
    match spec {
        KeySpec::Rsa2048 => Ok(Kind::Rsa(KeySize::Rsa2048)),
        KeySpec::Rsa3072 => Ok(Kind::Rsa(KeySize::Rsa3072)),
        KeySpec::Rsa4096 => Ok(Kind::Rsa(KeySize::Rsa4096)),
        KeySpec::EcP256 => Ok(Kind::Ec(&ECDSA_P256_SHA256_ASN1_SIGNING)),
        KeySpec::EcP256k => Ok(Kind::Ec(&ECDSA_P256K1_SHA256_ASN1_SIGNING)),
        KeySpec::Aes256
        | KeySpec::Aes192
        | KeySpec::Aes128
        | KeySpec::HmacSha224
        | KeySpec::HmacSha256
        | KeySpec::HmacSha384
        | KeySpec::HmacSha512 => Err(Error::internal("a secret key is no pair")),
    }
}

fn not_a_pair(spec: KeySpec) -> Error {
    Error::invalid(format!("The key material is not a PKCS #8 private key (DER) of the KeySpec {spec}."))
}
