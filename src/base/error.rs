//! The one error of the crate: a kind, a text for the caller, a source for the log.
//!
//! Which to use where: a function returns [`Error`] with the [`Kind`] of what went wrong as the caller of the service would
//! see it; `server/respond.rs` is the only place that knows which status and which code of the API a kind becomes.
//! The text is public: it names the thing and the way out, and never a secret, a path of the machine or a CKR. Those go into
//! the source, which is logged. Failures of cryptography are mute: [`Error::undecryptable`] and nothing else.

use std::fmt;

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value was refused.
    InvalidParameter,
    /// A value is absent.
    MissingParameter,
    /// The operation does not fit the key, the algorithm or the instance.
    UnsupportedOperation,
    /// The key is not of the sort that has versions or is rotated.
    UnsupportedByKey,
    /// A tag's key was refused.
    InvalidTagKey,
    /// A tag's value was refused.
    InvalidTagValue,
    /// Two tags of one list have the same key.
    DuplicateTagKey,
    /// Decryption failed, for whatever reason: wrong key, tag, padding, IV, AAD. One kind, one text.
    Undecryptable,
    /// There is no such key.
    KeyNotFound,
    /// The key has no such version.
    KeyVersionNotFound,
    /// There is no such alias.
    AliasNotFound,
    /// There is no such access point, policy, rule, client key or secret.
    ResourceNotFound,
    /// There is nothing of this id that could have tags.
    ResourceIdNotFound,
    /// There is no such instance.
    InstanceNotFound,
    /// The operation is for symmetric keys only.
    OnlySymmetricKeySupported,
    /// The name is taken.
    ResourceExists,
    /// The alias is taken.
    AliasExists,
    /// A quota is used up.
    LimitExceeded,
    /// The key is disabled.
    KeyDisabled,
    /// The key waits for its deletion.
    KeyPendingDeletion,
    /// The key waits for its material.
    KeyPendingImport,
    /// The state of the key forbids to change it so.
    StateForbids,
    /// The operation is for keys of another Origin.
    UnsupportedOrigin,
    /// No key of this ProtectionLevel can be where it is to be.
    UnsupportedProtectionLevel,
    /// What is to be imported cannot be unwrapped, is no material of the key, or is other material than the key had.
    InvalidKeyMaterial,
    /// The import token is not one of ours, or of another key.
    InvalidImportToken,
    /// The import token has had its time.
    ExpiredImportToken,
    /// The token is not one of the OIDC provider, or not for here.
    InvalidOidcToken,
    /// The token of the OIDC provider has had its time.
    ExpiredOidcToken,
    /// Nothing grants what was asked for.
    NoPermission,
    /// Too much at once, or the deadline cannot be kept: the same request may go through later.
    Throttled,
    /// A part that is needed is away for the moment.
    Unavailable,
    /// A fault of ours or of the module.
    Internal,
}

/// Whether the same request may go through when it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will fail again.
    Never,
    /// It may go through later.
    Later,
}

impl Kind {
    /// Whether a caller may try again; the clients do so for exactly the codes that these kinds become.
    pub fn retry(self) -> Retry {
        match self {
            Self::Throttled | Self::Unavailable | Self::Internal => Retry::Later,
            Self::InvalidParameter
            | Self::MissingParameter
            | Self::UnsupportedOperation
            | Self::UnsupportedByKey
            | Self::InvalidTagKey
            | Self::InvalidTagValue
            | Self::DuplicateTagKey
            | Self::Undecryptable
            | Self::KeyNotFound
            | Self::KeyVersionNotFound
            | Self::AliasNotFound
            | Self::ResourceNotFound
            | Self::ResourceIdNotFound
            | Self::InstanceNotFound
            | Self::OnlySymmetricKeySupported
            | Self::ResourceExists
            | Self::AliasExists
            | Self::StateForbids
            | Self::UnsupportedOrigin
            | Self::UnsupportedProtectionLevel
            | Self::InvalidKeyMaterial
            | Self::InvalidImportToken
            | Self::ExpiredImportToken
            | Self::InvalidOidcToken
            | Self::ExpiredOidcToken
            | Self::LimitExceeded
            | Self::KeyDisabled
            | Self::KeyPendingDeletion
            | Self::KeyPendingImport
            | Self::NoPermission => Retry::Never,
        }
    }
}

/// An error: what the caller is told, and what the log gets besides.
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that tells the caller `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same with its cause, which is logged and never shown to the caller.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The only answer to a decryption that fails.
    pub fn undecryptable() -> Self {
        Self::new(Kind::Undecryptable, "The ciphertext cannot be decrypted with the given key and parameters.")
    }

    /// [`Kind::InvalidParameter`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidParameter, message)
    }

    /// [`Kind::UnsupportedOperation`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::UnsupportedOperation, message)
    }

    /// [`Kind::Internal`], with one public text and its cause for the log.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, "The request failed because of an internal fault.").caused_by(source)
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        self.kind.retry()
    }

    /// What the caller is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The causes, first to last, for the log; empty without one.
    pub fn causes(&self) -> String {
        let mut text = String::new();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        let causes = self.causes();
        if causes.is_empty() { Ok(()) } else { write!(f, " ({causes})") }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Characters of a text in an error that names it.
const EXCERPT: usize = 64;

/// The beginning of a text that a caller sent, for an error to name it: an answer does not grow with what was sent. Show it by `{:?}`
/// unless it is known to have no control characters.
pub fn excerpt(text: &str) -> &str {
    text.char_indices().nth(EXCERPT).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_the_beginning_in_whole_characters() {
        let long = "é".repeat(EXCERPT + 1);
        assert_eq!(excerpt(&long), "é".repeat(EXCERPT));
        for whole in ["", "key-a", &long[2..]] {
            assert_eq!(excerpt(whole), whole);
        }
    }
}
