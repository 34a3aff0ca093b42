//! What the tests of a token taught of its module: its words for input that is no good, and which keys of the process's own it takes.

use cryptoki::context::Function;
use cryptoki::error::{Error as Failure, RvError};

use crate::model::algorithm::KeySpec;
use crate::tier::pkcs11::keys::mechanism::OaepDecoding;
use crate::tier::pkcs11::keys::specimen::Specimen;
use crate::tier::pkcs11::keys::template::Strictness;
use crate::tier::{Ability, Capabilities, Support};

/// What a module answered to input that is no good, while it served what is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    function: Function,
    ability: Ability,
    rv: RvError,
}

impl Answer {
    /// That of a failed function; nothing for a failure of the binding.
    pub(crate) fn of(failure: &Failure, ability: Ability) -> Option<Self> {
        match failure {
            Failure::Pkcs11(rv, function) => Some(Self { function: *function, ability, rv: *rv }),
            _ => None,
        }
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        let function = |answer: &Self| std::mem::discriminant(&answer.function);
        (function(self), self.ability, self.rv) == (function(other), other.ability, other.rv)
    }
}

/// What is known of a module once its token was tested.
pub(crate) struct Learnt {
    /// The module's words for input that is no good.
    pub(crate) answers: Vec<Answer>,
    /// Which keys of the process's own show whether the token is well.
    pub(crate) specimens: Vec<Specimen>,
    pub(crate) capabilities: Capabilities,
    pub(crate) strictness: Strictness,
    /// Of what is unwrapped.
    pub(crate) unwrapping: Strictness,
}

impl Learnt {
    /// The key of the process's own that an ability can be tried with.
    pub(crate) fn specimen(&self, ability: Ability) -> Option<Specimen> {
        self.specimens.iter().copied().find(|specimen| specimen.ability() == ability)
    }

    /// Where RSAES-OAEP of a key is decoded.
    pub(crate) fn decoding(&self, spec: KeySpec, ability: Ability) -> OaepDecoding {
        decoding(&self.capabilities, spec, ability)
    }
}

/// Where RSAES-OAEP of a key is decoded, by what its token was found to do.
pub(crate) fn decoding(capabilities: &Capabilities, spec: KeySpec, ability: Ability) -> OaepDecoding {
    match capabilities.of(spec, ability).map(|line| &line.support) {
        Some(Support::Assisted(_)) => OaepDecoding::Process,
        Some(Support::Full | Support::Missing(_)) | None => OaepDecoding::Token,
    }
}
