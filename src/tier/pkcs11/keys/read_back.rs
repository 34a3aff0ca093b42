//! What a token says of a key object that it made, and whether that is what is claimed of the key.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;

use crate::base::{Error, Kind, Result};
use crate::model::key::{Arrival, KeyAttributes};
use crate::tier::pkcs11::answer::fault::Fault;

/// What the token says of a key object, which came into it this way.
pub(crate) fn read_back(session: &Session, handle: ObjectHandle, arrival: Arrival) -> Result<KeyAttributes, Fault> {
    let wanted = [
        AttributeType::Local,
        AttributeType::Sensitive,
        AttributeType::AlwaysSensitive,
        AttributeType::Extractable,
        AttributeType::NeverExtractable,
    ];
    // What the token does not tell counts as the worse answer.
    let mut read = KeyAttributes {
        arrival,
        local: false,
        sensitive: false,
        always_sensitive: false,
        extractable: true,
        never_extractable: false,
    };
    for attribute in session.get_attributes(handle, &wanted)? {
        match attribute {
            Attribute::Local(value) => read.local = value,
            Attribute::Sensitive(value) => read.sensitive = value,
            Attribute::AlwaysSensitive(value) => read.always_sensitive = value,
            Attribute::Extractable(value) => read.extractable = value,
            Attribute::NeverExtractable(value) => read.never_extractable = value,
            _ => {}
        }
    }
    Ok(read)
}

/// What is claimed of a key must be what the token says of it.
pub(crate) fn check(attributes: KeyAttributes) -> Result<()> {
    let KeyAttributes { arrival, local, sensitive, always_sensitive, extractable, never_extractable } = attributes;
    let holds = match arrival {
        Arrival::Generated => local && sensitive && always_sensitive && !extractable && never_extractable,
        Arrival::Created | Arrival::Unwrapped => sensitive && !extractable,
    };
    if holds {
        Ok(())
    } else {
        Err(Error::new(Kind::Internal, "The token made a key that it does not protect as it was told to; the key was destroyed.")
            .caused_by(format!("{attributes:?}")))
    }
}
