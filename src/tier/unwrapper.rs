//! Material that comes in without being seen outside of the token: a pair that lives in it unwraps it there.

use super::{Created, NewKey, OaepHash, Work};
use crate::model::algorithm::KeySpec;
use crate::model::key::Material;

/// The spec of every pair that unwraps.
pub const UNWRAPPING_SPEC: KeySpec = KeySpec::Rsa2048;
/// Length of its modulus, and so of what it wraps, in bytes.
pub const UNWRAPPING_BYTES: usize = 256;

/// A tier whose token unwraps key material. What it unwraps is among its [`Capabilities`](super::Capabilities) as
/// [`Ability::Unwrap`](super::Ability::Unwrap).
pub trait Unwrapper: Send + Sync {
    /// Makes a pair of [`UNWRAPPING_SPEC`] that unwraps and does nothing else. Its id is as that of a [`NewKey`]; it is destroyed as
    /// a key is.
    fn create_pair(&self, id: Vec<u8>, label: String) -> Work<'_, Created>;

    /// Makes a key out of material that the public half of such a pair wrapped. What cannot be unwrapped is
    /// [`Kind::Undecryptable`](crate::base::Kind::Undecryptable), whatever the cause; material of another length
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter).
    fn unwrap(&self, key: NewKey, wrapped: Wrapped) -> Work<'_, Created>;
}

/// Key material on its way into a token: RSAES-OAEP (RFC 8017, section 7.1) with an empty label, by CKM_RSA_PKCS_OAEP (PKCS #11,
/// section 6.1.8).
pub struct Wrapped {
    /// The pair whose public half it was wrapped by.
    pub pair: Material,
    /// For label and MGF1 alike.
    pub hash: OaepHash,
    /// [`UNWRAPPING_BYTES`] long, or it cannot be unwrapped.
    pub ciphertext: Vec<u8>,
}
