//! Secrets in memory: the one file that owns how they are held, shown (never) and wiped.
//!
//! A secret has no `Debug` of its content, no `Clone`, no comparison but a constant-time one; what reads it says `expose`.

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Secret bytes, wiped when dropped: plaintexts, key material, data keys.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over without copying them. The vector must not have been reallocated while it held a secret: what
    /// it left behind elsewhere is not wiped.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// `length` bytes, filled in place by `fill`; wiped, too, when `fill` fails.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn filled<E>(length: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = Zeroizing::new(vec![0; length]);
        fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes, for the moment of their use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be changed in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// A second copy, on purpose; both are wiped.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(Zeroizing::new(self.0.to_vec()))
    }

    /// Gives the bytes away, as into an answer to the caller whose secret it is. They are not wiped any more.
    pub fn into_exposed(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// Shortens to `length` bytes and wipes the rest; nothing happens when it is shorter.
    pub fn truncate(&mut self, length: usize) {
        if let Some(rest) = self.0.get_mut(length..) {
            rest.zeroize();
            self.0.truncate(length);
        }
    }

    /// Length in bytes, which is not a secret.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Equality in a time that depends on the lengths alone.
    pub fn constant_time_eq(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

/// The PIN of a token's user, or another password out of a file.
pub struct Pin(SecretString);

impl Pin {
    /// A PIN from text; line ends at its end, as editors and `echo` leave them, do not belong to it.
    pub fn new(mut text: String) -> Self {
        let length = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(length);
        Self(SecretString::from(text))
    }

    /// A PIN out of the bytes of a text; `None` when they are none. Line ends at its end do not belong to it.
    pub fn from_utf8(bytes: &SecretBytes) -> Option<Self> {
        let text = std::str::from_utf8(bytes.expose()).ok()?;
        Some(Self(SecretString::from(text.trim_end_matches(['\r', '\n']))))
    }

    /// The text, for the moment of its use.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", SecretBytes::new(vec![1, 2, 3])), "SecretBytes(3 bytes)");
        assert_eq!(format!("{:?}", Pin::new("1234".into())), "Pin(..)");
    }

    #[test]
    fn a_pin_loses_its_line_end_only() {
        assert_eq!(Pin::new(" 12 34 \r\n".into()).expose(), " 12 34 ");
    }

    #[test]
    fn truncate_keeps_the_front() {
        let mut secret = SecretBytes::new(vec![1, 2, 3, 4]);
        secret.truncate(9);
        assert_eq!(secret.len(), 4);
        secret.truncate(2);
        assert!(secret.constant_time_eq(&[1, 2]));
    }
}
