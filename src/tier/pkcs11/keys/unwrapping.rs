//! C_UnwrapKey: pairs in the token that unwrap key material and do nothing else, and the keys that come out of it.
//!
//! Nobody outside of the token sees such material. Secret keys alone come in this way: of a pair the public half is needed, too, which
//! a token does not show of a private key that it unwrapped.

use std::sync::OnceLock;

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};

use crate::base::{Error, Kind};
use crate::model::algorithm::{Family, KeySpec, KeyUsage};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::keys::identity::{KnownBy, Wanted};
use crate::tier::pkcs11::keys::template::{self, Made, Residence, Strictness};
use crate::tier::pkcs11::session::open::OpenSession;
use crate::tier::unwrapper::{UNWRAPPING_BYTES, UNWRAPPING_SPEC};
use crate::tier::{NewKey, OaepHash};

/// The pair of this id.
pub(crate) fn pair(id: Vec<u8>, label: String) -> NewKey {
    NewKey { id, label, spec: UNWRAPPING_SPEC, usage: KeyUsage::EncryptDecrypt }
}

/// How a pair of this id is found. It need not show which one it is: what another one unwraps is no key material, or not the caller's.
pub(crate) fn wanted(id: Vec<u8>) -> Wanted {
    let (usage, known_by) = (KeyUsage::EncryptDecrypt, KnownBy::FirstSeen(OnceLock::new()));
    Wanted { id, spec: UNWRAPPING_SPEC, usage, public_key: None, way: None, known_by }
}

/// Makes a pair that unwraps: its private half does that alone, its public half leaves the token as every one does.
pub(crate) fn generate_pair(
    session: &OpenSession<'_>,
    new: &NewKey,
    residence: Residence,
    strictness: Strictness,
) -> Result<Made, Fault> {
    let swap = |attribute| match attribute {
        Attribute::Unwrap(_) => Attribute::Unwrap(true),
        Attribute::Decrypt(_) => Attribute::Decrypt(false),
        Attribute::AllowedMechanisms(_) => Attribute::AllowedMechanisms(vec![MechanismType::RSA_PKCS_OAEP]),
        other => other,
    };
    let private: Vec<_> = template::private_template(new, residence, strictness).into_iter().map(swap).collect();
    template::generate_rsa(session.binding(), new, UNWRAPPING_BYTES, &private)
}

/// Makes a key out of what `pair` unwraps.
///
/// # Errors
/// [`Kind::Undecryptable`] for a ciphertext of a wrong length, [`Kind::InvalidParameter`] for material of a wrong one: that is
/// destroyed.
pub(crate) fn unwrap(
    session: &OpenSession<'_>,
    new: &NewKey,
    pair: ObjectHandle,
    hash: OaepHash,
    ciphertext: &[u8],
    residence: Residence,
    strictness: Strictness,
) -> Result<Made, Fault> {
    // RFC 8017, section 7.1.2, step 1b.
    if ciphertext.len() != UNWRAPPING_BYTES {
        return Err(Error::undecryptable().into());
    }
    let binding = session.binding();
    let handle = binding.unwrap_key(&mechanism(hash), pair, ciphertext, &template(new, residence, strictness))?;
    match check_length(session, handle, new.spec) {
        Ok(()) => Ok(Made { handle, public_key: None }),
        Err(fault) => {
            binding.destroy_object(handle)?;
            Err(fault)
        }
    }
}

/// CKA_MODIFIABLE is left out: of a key that is unwrapped not every module lets it be false (SoftHSM: CKR_ATTRIBUTE_READ_ONLY).
fn template(new: &NewKey, residence: Residence, strictness: Strictness) -> Vec<Attribute> {
    let mut template = template::private_template(new, residence, strictness);
    template.retain(|attribute| !matches!(attribute, Attribute::Modifiable(_)));
    template
}

fn mechanism(hash: OaepHash) -> Mechanism<'static> {
    let (hash, mgf) = match hash {
        OaepHash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        OaepHash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
    };
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty()))
}

/// A token takes what comes out of the padding for a key; only CKA_VALUE_LEN tells whether it was one.
fn check_length(session: &OpenSession<'_>, key: ObjectHandle, spec: KeySpec) -> Result<(), Fault> {
    let bytes = match spec.family() {
        Family::Aes { key_bytes } => key_bytes,
        Family::Hmac(algorithm) => algorithm.bytes(),
        Family::Rsa { .. } | Family::Ec(_) => return Err(Error::unsupported(format!("{spec} is no secret key.")).into()),
    };
    let length =
        session.binding().get_attributes(key, &[AttributeType::ValueLen])?.into_iter().find_map(|attribute| match attribute {
            Attribute::ValueLen(length) => Some(usize::from(length)),
            _ => None,
        });
    match length {
        Some(length) if length == bytes => Ok(()),
        Some(length) => Err(template::wrong_length(spec, length).into()),
        None => Err(Error::new(Kind::Internal, "The token does not tell the length of the key that it unwrapped.").into()),
    }
}
