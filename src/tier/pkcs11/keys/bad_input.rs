//! Input that is no good, sent to a token on purpose, on keys of the tests: what its module answers is remembered.

use cryptoki::object::ObjectHandle;

use crate::base::SecretBytes;
use crate::model::algorithm::{KeySpec, KeyUsage, MacAlgorithm};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::known_answers::{PLAINTEXT, test_key, wrong};
use crate::tier::pkcs11::keys::mechanism::{self, BlockMode, OaepDecoding};
use crate::tier::pkcs11::keys::template::{Made, Residence, Strictness};
use crate::tier::pkcs11::keys::unwrapping;
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::unwrapper::UNWRAPPING_BYTES;
use crate::tier::{Encryption, Iv, MAC_MESSAGE_LIMIT, OaepHash, PublicKey, modulus_bytes};

/// As long in bytes as plaintexts are that modules with a limit do not take; their limits are some KiB.
const LONG: usize = 256 * 1024;

fn long(bytes: usize) -> SecretBytes {
    SecretBytes::new(vec![0x5a; bytes])
}

/// A ciphertext of AES-GCM with a flipped bit.
pub(crate) fn forged_gcm(session: &OpenSession<'_>, key: ObjectHandle) -> Result<(), Fault> {
    let aad = b"aad";
    let mut encrypted = mechanism::gcm_encrypt(session, key, aad, &SecretBytes::new(PLAINTEXT.to_vec()))?;
    let Iv::Gcm(iv) = encrypted.iv else { return Err(wrong("gave no IV")) };
    encrypted.ciphertext[0] ^= 1;
    mechanism::gcm_decrypt(session, key, &iv, aad, &encrypted.ciphertext).map(drop)
}

/// A long plaintext under AES-GCM.
pub(crate) fn long_gcm(session: &OpenSession<'_>, key: ObjectHandle) -> Result<(), Fault> {
    mechanism::gcm_encrypt(session, key, b"", &long(LONG)).map(drop)
}

/// A long plaintext of whole blocks.
pub(crate) fn long_blocks(session: &OpenSession<'_>, key: ObjectHandle, mode: BlockMode) -> Result<(), Fault> {
    mechanism::blocks_encrypt(session, key, mode, &long(LONG)).map(drop)
}

/// The longest message that a caller may have authenticated.
pub(crate) fn long_mac(session: &OpenSession<'_>, key: ObjectHandle, algorithm: MacAlgorithm) -> Result<(), Fault> {
    mechanism::mac(session, key, algorithm, &long(MAC_MESSAGE_LIMIT)).map(drop)
}

/// What is wrong with a ciphertext of RSAES-OAEP. Modules have different words for the two.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OaepFlaw {
    /// A bit is flipped: the padding is wrong.
    Padding,
    /// It is a number above the modulus.
    Number,
}

impl OaepFlaw {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Padding, Self::Number];

    fn spoil(self, ciphertext: &mut [u8]) {
        match self {
            Self::Padding => ciphertext.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1),
            Self::Number => ciphertext.fill(0xff),
        }
    }
}

/// A ciphertext of RSAES-OAEP with a flaw.
pub(crate) fn flawed_oaep(
    session: &OpenSession<'_>,
    key: ObjectHandle,
    (spec, hash, decoding): (KeySpec, OaepHash, OaepDecoding),
    public: Option<&PublicKey>,
    flaw: OaepFlaw,
) -> Result<(), Fault> {
    let public = public.ok_or_else(|| wrong("shows no public key"))?;
    let modulus = modulus_bytes(spec).ok_or_else(|| wrong("has no modulus"))?;
    let mut ciphertext = public.encrypt(Encryption::RsaesOaep(hash), &SecretBytes::new(PLAINTEXT.to_vec()))?.ciphertext;
    flaw.spoil(&mut ciphertext);
    mechanism::oaep_decrypt(session, key, modulus, hash, decoding, &ciphertext).map(drop)
}

/// A wrapped key with a flaw.
pub(crate) fn flawed_wrapping(
    session: &OpenSession<'_>,
    pair: &Made,
    hash: OaepHash,
    strictness: Strictness,
    flaw: OaepFlaw,
) -> Result<(), Fault> {
    let public = pair.public_key.as_ref().ok_or_else(|| wrong("shows no public key"))?;
    let mut wrapped = public.encrypt(Encryption::RsaesOaep(hash), &SecretBytes::new(PLAINTEXT.to_vec()))?.ciphertext;
    debug_assert_eq!(wrapped.len(), UNWRAPPING_BYTES);
    flaw.spoil(&mut wrapped);
    let key = test_key(KeySpec::Aes256, KeyUsage::EncryptDecrypt);
    let made = unwrapping::unwrap(session, &key, pair.handle, hash, &wrapped, Residence::Session, strictness)?;
    Ok(session.binding().destroy_object(made.handle)?)
}
