//! The algorithms of the model in terms of PKCS #11 mechanisms: what is done in the token, and what around it.
//!
//! Hashing and padding happen in the process, so that every operation is one mechanism, two calls, and a result of known length.

use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use der::asn1::UintRef;
use der::{Encode, Sequence};

use crate::base::{Error, Kind, SecretBytes};
use crate::model::algorithm::{KeySpec, MacAlgorithm, PaddingMode, SignatureAlgorithm};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::library::functions::Mechanism;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::{Encrypted, Iv, OaepHash, PublicKey, Sha256Digest, ecies, oaep, padding};

/// Length of an AES-GCM tag in bytes.
pub(crate) const TAG: usize = 16;

/// The DER before a SHA-256 digest in a DigestInfo (RFC 8017, section 9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// Length of a coordinate of P-256 and secp256k1, and so of ECDSA's r and s, in bytes.
const COORDINATE: usize = 32;

/// Where RSAES-OAEP is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OaepDecoding {
    /// In the token: CKM_RSA_PKCS_OAEP.
    Token,
    /// In the process, of the result of CKM_RSA_X_509.
    Process,
}

pub(crate) fn gcm_encrypt(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    aad: &[u8],
    plaintext: &SecretBytes,
) -> Result<Encrypted, Fault> {
    let iv = session.iv()?;
    let length = plaintext.len() + TAG;
    let ciphertext = session.encrypt(key, Mechanism::AesGcm { iv: &iv, aad }, plaintext.expose(), length)?;
    expect_length(&ciphertext, length)?;
    Ok(Encrypted { iv: Iv::Gcm(iv), ciphertext })
}

pub(crate) fn gcm_decrypt(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    iv: &[u8; 12],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<SecretBytes, Fault> {
    if ciphertext.len() < TAG {
        return Err(Error::undecryptable().into());
    }
    let plaintext = session.decrypt(key, Mechanism::AesGcm { iv, aad }, ciphertext, ciphertext.len())?;
    expect_length(plaintext.expose(), ciphertext.len() - TAG)?;
    Ok(plaintext)
}

/// Encrypts whole blocks: CBC with a fresh IV, or ECB.
pub(crate) fn blocks_encrypt(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    mode: BlockMode,
    padded: &SecretBytes,
) -> Result<Encrypted, Fault> {
    let iv = match mode {
        BlockMode::Cbc => Iv::Cbc(session.iv()?),
        BlockMode::Ecb => Iv::None,
    };
    let ciphertext = match &iv {
        // A module need not take C_Encrypt of nothing.
        _ if padded.is_empty() => Vec::new(),
        Iv::Cbc(iv) => session.encrypt(key, Mechanism::AesCbc { iv }, padded.expose(), padded.len())?,
        Iv::None | Iv::Gcm(_) => session.encrypt(key, Mechanism::AesEcb, padded.expose(), padded.len())?,
    };
    expect_length(&ciphertext, padded.len())?;
    Ok(Encrypted { iv, ciphertext })
}

/// Decrypts whole blocks and takes the padding off.
pub(crate) fn blocks_decrypt(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    how: Mechanism<'_>,
    ciphertext: &[u8],
    padding: PaddingMode,
) -> Result<SecretBytes, Fault> {
    if !ciphertext.len().is_multiple_of(16) {
        return Err(Error::undecryptable().into());
    }
    let padded = if ciphertext.is_empty() {
        SecretBytes::new(Vec::new())
    } else {
        session.decrypt(key, how, ciphertext, ciphertext.len())?
    };
    expect_length(padded.expose(), ciphertext.len())?;
    Ok(padding::unpad(padded, padding)?)
}

/// The modes of whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockMode {
    Cbc,
    Ecb,
}

pub(crate) fn oaep_decrypt(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    modulus_bytes: usize,
    hash: OaepHash,
    decoding: OaepDecoding,
    ciphertext: &[u8],
) -> Result<SecretBytes, Fault> {
    // RFC 8017, section 7.1.2, step 1b.
    if ciphertext.len() != modulus_bytes {
        return Err(Error::undecryptable().into());
    }
    match decoding {
        OaepDecoding::Token => session.decrypt(key, Mechanism::RsaOaep(hash), ciphertext, modulus_bytes),
        OaepDecoding::Process => {
            let encoded = session.decrypt(key, Mechanism::RsaX509, ciphertext, modulus_bytes)?;
            Ok(oaep::decode(left_padded(encoded, modulus_bytes), hash)?)
        }
    }
}

/// Some modules cut the leading zeros off what CKM_RSA_X_509 gives.
fn left_padded(number: SecretBytes, length: usize) -> SecretBytes {
    if number.len() >= length {
        return number;
    }
    let mut padded = SecretBytes::new(vec![0; length]);
    padded.expose_mut()[length - number.len()..].copy_from_slice(number.expose());
    padded
}

pub(crate) fn ecies_decrypt(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    spec: KeySpec,
    blob: &[u8],
) -> Result<SecretBytes, Fault> {
    let sealed = ecies::Sealed::parse(blob)?;
    // An off-curve point never reaches the token.
    PublicKey::from_point(spec, sealed.ephemeral()).map_err(|_| Error::undecryptable())?;
    let shared = agree(session, key, sealed.ephemeral())?;
    Ok(sealed.open(&shared)?)
}

/// CKM_ECDH1_DERIVE without a KDF (PKCS #11, section 6.3.17): the x coordinate of the shared point. It must come out of the token, since no
/// token knows the KDF of ECIES_DH_SHA_1_XOR_HMAC; it is good for one message.
fn agree(session: &OpenSession<'_>, key: ObjectHandle, point: &[u8]) -> Result<SecretBytes, Fault> {
    let how = cryptoki::mechanism::Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), point));
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::ValueLen((COORDINATE as u64).into()),
    ];
    let derived = session.binding().derive_key(&how, key, &template)?;
    let read = session.binding().get_attributes(derived, &[AttributeType::Value]);
    let destroyed = session.binding().destroy_object(derived);
    let shared = read?.into_iter().find_map(|attribute| match attribute {
        Attribute::Value(value) => Some(SecretBytes::new(value)),
        _ => None,
    });
    destroyed?;
    shared
        .filter(|shared| shared.len() == COORDINATE)
        .ok_or_else(|| Error::new(Kind::Internal, "The token gave no shared secret.").into())
}

/// What CKM_RSA_PKCS pads and signs.
pub(crate) fn digest_info(digest: &Sha256Digest) -> [u8; SHA256_DIGEST_INFO.len() + 32] {
    let mut info = [0; SHA256_DIGEST_INFO.len() + 32];
    info[..SHA256_DIGEST_INFO.len()].copy_from_slice(&SHA256_DIGEST_INFO);
    info[SHA256_DIGEST_INFO.len()..].copy_from_slice(digest);
    info
}

/// Signs a digest. `length` is that of the module's signature in bytes: the modulus, or r and s.
pub(crate) fn sign(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    algorithm: SignatureAlgorithm,
    digest: &Sha256Digest,
    length: usize,
) -> Result<Vec<u8>, Fault> {
    match algorithm {
        SignatureAlgorithm::RsaPssSha256 => session.sign(key, Mechanism::RsaPssSha256, digest, length),
        SignatureAlgorithm::RsaPkcs1Sha256 => session.sign(key, Mechanism::RsaPkcs, &digest_info(digest), length),
        SignatureAlgorithm::EcdsaSha256 => {
            let signature = session.sign(key, Mechanism::Ecdsa, digest, length)?;
            Ok(ecdsa_der(&signature)?)
        }
    }
}

/// The code of a message.
pub(crate) fn mac(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    algorithm: MacAlgorithm,
    message: &SecretBytes,
) -> Result<SecretBytes, Fault> {
    let code = SecretBytes::new(session.sign(key, Mechanism::Hmac(algorithm), message.expose(), algorithm.bytes())?);
    expect_length(code.expose(), algorithm.bytes())?;
    Ok(code)
}

/// Length of the module's signature in bytes.
pub(crate) fn signature_length(spec: KeySpec) -> usize {
    crate::tier::modulus_bytes(spec).unwrap_or(2 * COORDINATE)
}

/// r and s, each 32 bytes, as the DER that X.509 uses (RFC 3279, section 2.2.3).
fn ecdsa_der(signature: &[u8]) -> Result<Vec<u8>, Error> {
    #[derive(Sequence)]
    struct EcdsaSigValue<'a> {
        r: UintRef<'a>,
        s: UintRef<'a>,
    }
    expect_length(signature, 2 * COORDINATE)?;
    let (r, s) = signature.split_at(COORDINATE);
    let value = EcdsaSigValue { r: UintRef::new(r).map_err(Error::internal)?, s: UintRef::new(s).map_err(Error::internal)? };
    value.to_der().map_err(Error::internal)
}

fn expect_length(result: &[u8], length: usize) -> Result<(), Error> {
    if result.len() == length {
        Ok(())
    } else {
        Err(Error::new(Kind::Internal, "The token gave a result of an unexpected length."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_and_s_become_shortest_positive_integers() {
        let mut signature = [0u8; 64];
        signature[31] = 0x80;
        signature[63] = 1;
        assert_eq!(ecdsa_der(&signature).unwrap(), [0x30, 0x07, 0x02, 0x02, 0x00, 0x80, 0x02, 0x01, 0x01]);
        assert_eq!(ecdsa_der(&signature[1..]).unwrap_err().kind(), Kind::Internal);
    }
}
