//! Tests of one mechanism with its parameters on one key: an answer that is known, or a way there and back.
//!
//! `capability` makes the keys, decides which tests there are and what a failure says of the token; nothing here does.

use cryptoki::object::ObjectHandle;

use crate::base::{Error, Kind, SecretBytes, random};
use crate::model::algorithm::{KeySpec, KeyUsage, MacAlgorithm, PaddingMode, SignatureAlgorithm};
use crate::model::key::Arrival;
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::mechanism::{self, BlockMode, OaepDecoding};
use crate::tier::pkcs11::keys::read_back;
use crate::tier::pkcs11::keys::template::{Made, Residence, Strictness};
use crate::tier::pkcs11::keys::unwrapping;
use crate::tier::pkcs11::library::functions::Mechanism;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::public_key::{Validity, sha256};
use crate::tier::{Encryption, Iv, NewKey, OaepHash, PublicKey, Support, modulus_bytes, padding};

/// What the tests encrypt and sign.
pub(crate) const PLAINTEXT: &[u8; 32] = b"known-answer test of a mechanism";

/// A key of the tests.
pub(crate) fn test_key(spec: KeySpec, usage: KeyUsage) -> NewKey {
    NewKey { id: b"keystead-probe".to_vec(), label: "keystead-probe".to_owned(), spec, usage }
}

/// A secret key of the process's own, to be imported.
pub(crate) fn known_key(bytes: usize) -> SecretBytes {
    let mut key = SecretBytes::new(vec![0; bytes]);
    random::fill(key.expose_mut());
    key
}

/// A pair of the process's own, PKCS #8, to be imported.
pub(crate) fn new_pair(spec: KeySpec) -> Result<SecretBytes, Error> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    let pkcs8 = |der: Pkcs8V1Der<'static>| SecretBytes::new(der.as_ref().to_vec());
    let ec = |algorithm| {
        EcdsaKeyPair::generate(algorithm).and_then(|pair| pair.to_pkcs8v1()).map(|der| SecretBytes::new(der.as_ref().to_vec()))
    };
    let rsa =
        |size| aws_lc_rs::rsa::KeyPair::generate(size).and_then(|pair| AsDer::<Pkcs8V1Der<'static>>::as_der(&pair)).map(pkcs8);
    match spec {
        KeySpec::EcP256 => ec(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeySpec::EcP256k => ec(&ECDSA_P256K1_SHA256_ASN1_SIGNING),
        KeySpec::Rsa2048 => rsa(KeySize::Rsa2048),
        KeySpec::Rsa3072 => rsa(KeySize::Rsa3072),
        KeySpec::Rsa4096 => rsa(KeySize::Rsa4096),
        KeySpec::Aes256
        | KeySpec::Aes192
        | KeySpec::Aes128
        | KeySpec::HmacSha224
        | KeySpec::HmacSha256
        | KeySpec::HmacSha384
        | KeySpec::HmacSha512 => Err(aws_lc_rs::error::Unspecified),
    }
    .map_err(Error::internal)
}

/// What a token does wrong, as the reason why it is not used for it.
pub(crate) fn wrong(what: &str) -> Fault {
    Fault::Ours(Error::unsupported(format!("the token {what}")))
}

pub(crate) fn test_gcm(session: &OpenSession<'_>, key: ObjectHandle, reference: Option<&SecretBytes>) -> Result<Support, Fault> {
    let aad = b"aad";
    let plaintext = SecretBytes::new(PLAINTEXT.to_vec());
    let encrypted = mechanism::gcm_encrypt(session, key, aad, &plaintext)?;
    let Iv::Gcm(iv) = encrypted.iv else { return Err(wrong("gave no IV")) };
    if let Some(key) = reference
        && reference_gcm(key, &iv, aad) != Some(encrypted.ciphertext.clone())
    {
        return Err(wrong("encrypts AES-GCM in a way of its own"));
    }
    let decrypted = mechanism::gcm_decrypt(session, key, &iv, aad, &encrypted.ciphertext)?;
    if !decrypted.constant_time_eq(PLAINTEXT) {
        return Err(wrong("decrypts AES-GCM to something else"));
    }
    Ok(Support::Full)
}

/// AES-GCM of the test's plaintext in the process.
fn reference_gcm(key: &SecretBytes, iv: &[u8; 12], aad: &[u8]) -> Option<Vec<u8>> {
    use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    let algorithm = match key.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        _ => &AES_256_GCM,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key.expose()).ok()?);
    let mut sealed = PLAINTEXT.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(*iv), Aad::from(aad), &mut sealed).ok()?;
    Some(sealed)
}

/// A generated key gives codes, the same for the same message; a known one gives what the process computes.
pub(crate) fn test_mac(
    session: &OpenSession<'_>,
    generated: ObjectHandle,
    algorithm: MacAlgorithm,
    reference: Option<(ObjectHandle, &SecretBytes)>,
) -> Result<Support, Fault> {
    let message = SecretBytes::new(PLAINTEXT.to_vec());
    if let Some((key, known)) = reference {
        let code = mechanism::mac(session, key, algorithm, &message)?;
        return match code.constant_time_eq(reference_mac(algorithm, known).as_ref()) {
            true => Ok(Support::Full),
            false => Err(wrong("computes HMAC in a way of its own")),
        };
    }
    let [one, two] =
        [mechanism::mac(session, generated, algorithm, &message)?, mechanism::mac(session, generated, algorithm, &message)?];
    if one.constant_time_eq(two.expose()) { Ok(Support::Full) } else { Err(wrong("gives two codes for one message")) }
}

/// The code of the test's plaintext in the process.
fn reference_mac(algorithm: MacAlgorithm, key: &SecretBytes) -> aws_lc_rs::hmac::Tag {
    use aws_lc_rs::hmac::{HMAC_SHA224, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, Key, sign};

    let hash = match algorithm {
        MacAlgorithm::HmacSha224 => HMAC_SHA224,
        MacAlgorithm::HmacSha256 => HMAC_SHA256,
        MacAlgorithm::HmacSha384 => HMAC_SHA384,
        MacAlgorithm::HmacSha512 => HMAC_SHA512,
    };
    sign(&Key::new(hash, key.expose()), PLAINTEXT)
}

pub(crate) fn test_blocks(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    mode: BlockMode,
    reference: Option<&SecretBytes>,
) -> Result<Support, Fault> {
    let padded = padding::pad(SecretBytes::new(PLAINTEXT.to_vec()), PaddingMode::Pkcs7)?;
    let encrypted = mechanism::blocks_encrypt(session, key, mode, &padded)?;
    if let Some(key) = reference
        && reference_first_block(key, &encrypted.iv).is_none_or(|block| !encrypted.ciphertext.starts_with(&block))
    {
        return Err(wrong("encrypts blocks in a way of its own"));
    }
    let how = match &encrypted.iv {
        Iv::Cbc(iv) => Mechanism::AesCbc { iv },
        Iv::None | Iv::Gcm(_) => Mechanism::AesEcb,
    };
    let decrypted = mechanism::blocks_decrypt(session, key, how, &encrypted.ciphertext, PaddingMode::Pkcs7)?;
    if decrypted.constant_time_eq(PLAINTEXT) { Ok(Support::Full) } else { Err(wrong("decrypts blocks to something else")) }
}

/// The first block of the test's plaintext, chained with the IV if there is one, encrypted in the process.
fn reference_first_block(key: &SecretBytes, iv: &Iv) -> Option<Vec<u8>> {
    use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, EncryptingKey, UnboundCipherKey};

    let algorithm = match key.len() {
        16 => &AES_128,
        24 => &AES_192,
        _ => &AES_256,
    };
    let mut block = PLAINTEXT[..16].to_vec();
    block.iter_mut().zip(iv.as_bytes()).for_each(|(byte, iv)| *byte ^= iv);
    EncryptingKey::ecb(UnboundCipherKey::new(algorithm, key.expose()).ok()?).ok()?.encrypt(&mut block).ok()?;
    Some(block)
}

/// A known key that was wrapped in the process encrypts as it does there, and is protected.
pub(crate) fn test_unwrapping(
    session: &OpenSession<'_>,
    pair: &Made,
    (spec, known): (KeySpec, &SecretBytes),
    hash: OaepHash,
    strictness: Strictness,
) -> Result<Support, Fault> {
    let public = pair.public_key.as_ref().ok_or_else(|| wrong("shows no public key"))?;
    let wrapped = public.encrypt(Encryption::RsaesOaep(hash), known)?.ciphertext;
    let new = test_key(spec, KeyUsage::EncryptDecrypt);
    let made = unwrapping::unwrap(session, &new, pair.handle, hash, &wrapped, Residence::Session, strictness);
    let made = made.map_err(|fault| match fault {
        // SoftHSM tells 0: what a caller wrapped might be a key of any length.
        Fault::Ours(error) if error.kind() == Kind::InvalidParameter => wrong("does not tell the length of what it unwrapped"),
        other => other,
    })?;
    let tested = test_blocks(session, made.handle, BlockMode::Ecb, Some(known)).and_then(|support| {
        let attributes = read_back::read_back(session.binding(), made.handle, Arrival::Unwrapped)?;
        read_back::check(attributes).map_err(|_| wrong("does not protect what it unwraps"))?;
        Ok(support)
    });
    session.binding().destroy_object(made.handle)?;
    tested
}

pub(crate) fn test_signature(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    spec: KeySpec,
    algorithm: SignatureAlgorithm,
    public: Option<&PublicKey>,
) -> Result<Support, Fault> {
    let public = public.ok_or_else(|| wrong("shows no public key"))?;
    let digest = sha256(PLAINTEXT);
    let signature = mechanism::sign(session, key, algorithm, &digest, mechanism::signature_length(spec))?;
    match public.verify(algorithm, &digest, &signature)? {
        Validity::Valid => Ok(Support::Full),
        Validity::Invalid => Err(wrong("makes signatures that do not verify")),
    }
}

/// Whether what the process encrypted comes out of the token, decoded in this place.
pub(crate) fn test_oaep(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    spec: KeySpec,
    hash: OaepHash,
    decoding: OaepDecoding,
    public: Option<&PublicKey>,
) -> Result<Support, Fault> {
    let public = public.ok_or_else(|| wrong("shows no public key"))?;
    let modulus = modulus_bytes(spec).ok_or_else(|| wrong("has no modulus"))?;
    let encrypted = public.encrypt(Encryption::RsaesOaep(hash), &SecretBytes::new(PLAINTEXT.to_vec()))?;
    let text = mechanism::oaep_decrypt(session, key, modulus, hash, decoding, &encrypted.ciphertext)?;
    match (text.constant_time_eq(PLAINTEXT), decoding) {
        (true, OaepDecoding::Token) => Ok(Support::Full),
        (true, OaepDecoding::Process) => Ok(Support::Assisted("raw RSA in the token, OAEP decoded in the process".to_owned())),
        (false, _) => Err(wrong("decrypts RSA-OAEP to something else")),
    }
}

pub(crate) fn test_ecies(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    spec: KeySpec,
    public: Option<&PublicKey>,
) -> Result<Support, Fault> {
    let public = public.ok_or_else(|| wrong("shows no public key"))?;
    let encrypted = public.encrypt(Encryption::Ecies, &SecretBytes::new(PLAINTEXT.to_vec()))?;
    let decrypted = mechanism::ecies_decrypt(session, key, spec, &encrypted.ciphertext)?;
    if decrypted.constant_time_eq(PLAINTEXT) {
        Ok(Support::Assisted("key agreement in the token, the rest of ECIES in the process".to_owned()))
    } else {
        Err(wrong("agrees on another secret"))
    }
}
