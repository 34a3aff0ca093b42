//! Which objects of a token are keys of ours: finding them by id, class and type, and destroying them.
//!
//! Others have objects in the token, too, and some have ids of ours: a certificate that belongs to a key, a copy that was restored, a
//! key that somebody made. Every look names the class of what it looks for, and the type where that is known.

use std::time::Instant;

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::model::KeyVersionId;
use crate::model::algorithm::{Family, KeySpec};
use crate::tier::pkcs11::answer::fault::Fault;

/// Class and type of a key object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    class: ObjectClass,
    key_type: KeyType,
}

/// A key object that was found or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) handle: ObjectHandle,
    pub(crate) form: Form,
}

/// The keys of ours in the token, by id.
pub(crate) struct Sweep {
    pub(crate) found: Vec<(Vec<u8>, Found)>,
    pub(crate) extent: Extent,
}

/// How much of the token a sweep saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// Its time was over: another object may have an id that was seen once.
    Cut,
}

impl Form {
    const AES: Self = Self { class: ObjectClass::SECRET_KEY, key_type: KeyType::AES };
    /// More modules take it for every hash than know the types of the single ones.
    const HMAC: Self = Self { class: ObjectClass::SECRET_KEY, key_type: KeyType::GENERIC_SECRET };
    const RSA: Self = Self { class: ObjectClass::PRIVATE_KEY, key_type: KeyType::RSA };
    const EC: Self = Self { class: ObjectClass::PRIVATE_KEY, key_type: KeyType::EC };
    const ALL: [Self; 4] = [Self::AES, Self::HMAC, Self::RSA, Self::EC];

    /// That of a secret key, or of the private half of a pair.
    pub(crate) fn of(spec: KeySpec) -> Self {
        match spec.family() {
            Family::Aes { .. } => Self::AES,
            Family::Hmac(_) => Self::HMAC,
            Family::Rsa { .. } => Self::RSA,
            Family::Ec(_) => Self::EC,
        }
    }

    /// CKA_CLASS and CKA_KEY_TYPE.
    pub(crate) fn attributes(self) -> [Attribute; 2] {
        [Attribute::Class(self.class), Attribute::KeyType(self.key_type)]
    }
}

/// The keys in the token of this id and form: one, unless somebody else made another.
pub(crate) fn keys(session: &Session, id: &[u8], form: Form) -> Result<Vec<ObjectHandle>, Fault> {
    let mut template = vec![Attribute::Token(true), Attribute::Private(true), Attribute::Id(id.to_vec())];
    template.extend(form.attributes());
    Ok(session.find_objects(&template)?)
}

/// The secret and private keys in the token of this id.
pub(crate) fn keys_of_any_form(session: &Session, id: &[u8]) -> Result<Vec<ObjectHandle>, Fault> {
    let mut found = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        let template = [Attribute::Class(class), Attribute::Token(true), Attribute::Private(true), Attribute::Id(id.to_vec())];
        found.extend(session.find_objects(&template)?);
    }
    Ok(found)
}

/// All keys in the token that were made here, known by the form of their id; those reached until `until`.
pub(crate) fn sweep(session: &Session, until: Option<Instant>) -> Result<Sweep, Fault> {
    let mut found = Vec::new();
    for form in Form::ALL {
        let mut template = vec![Attribute::Token(true), Attribute::Private(true)];
        template.extend(form.attributes());
        for handle in session.find_objects(&template)? {
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Sweep { found, extent: Extent::Cut });
            }
            for attribute in session.get_attributes(handle, &[AttributeType::Id])? {
                if let Attribute::Id(id) = attribute
                    && std::str::from_utf8(&id).is_ok_and(|id| id.parse::<KeyVersionId>().is_ok())
                {
                    found.push((id, Found { handle, form }));
                }
            }
        }
    }
    Ok(Sweep { found, extent: Extent::Whole })
}
