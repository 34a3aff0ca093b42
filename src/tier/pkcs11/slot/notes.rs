//! Notes of logins: what is known of a PIN that a token refused, or that it may have refused.
//!
//! A token locks itself after a few wrong PINs, so a wrong one is tried once, whoever asks and however often the process starts. A
//! note is written before C_Login is called and taken away when the login went well: what ends the process in between leaves it
//! there. [`Note::next`] says what a note allows. Notes are kept under a keyed fingerprint of the PIN, which tells nothing of the PIN to
//! whoever lacks the key. This file knows no slot and logs in nowhere.

mod file;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use crate::base::{Pin, Result, SecretBytes, Timestamp, random};
use crate::tier::pkcs11::library::token::{PinState, TokenName};

pub use file::LoginNotesFile;

/// The most notes of one token. The oldest goes when there is one more.
const MOST_OF_A_TOKEN: usize = 16;

/// What is known of a PIN at a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The token refused it.
    Refused,
    /// Logins with it got no answer, or one that does not say whether the PIN is right.
    Unclear(Unclear),
}

/// Logins in a row without a clear answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear {
    /// How many there were.
    pub logins: u8,
    /// When the last one began.
    pub last: Timestamp,
    /// What the token said of wrong PINs before the first.
    pub flags: PinState,
}

/// Why a login must not be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The token refused the PIN before.
    Refused,
    /// A login got no clear answer, and since then the token says that it was given a wrong PIN. To be noted as refused.
    CountedAsWrong,
    /// As many logins as may be got no clear answer.
    Unclear,
    /// A login that got no clear answer is not that long ago.
    Wait(Duration),
}

impl Note {
    /// After so many logins in a row without a clear answer nobody logs in before a person allowed it.
    pub(crate) const MOST_UNCLEAR: u8 = 2;

    /// What is to be noted before the next login with a PIN of which this is known, at a token that says this of wrong PINs.
    ///
    /// # Errors
    /// Why there must be no login, or not yet: after an unclear answer `pause` must pass.
    pub(crate) fn next(
        known: Option<Self>,
        flags: PinState,
        now: Timestamp,
        pause: Duration,
    ) -> std::result::Result<Unclear, Stop> {
        match known {
            None => Ok(Unclear { logins: 1, last: now, flags }),
            Some(Self::Refused) => Err(Stop::Refused),
            Some(Self::Unclear(before)) if flags > before.flags => Err(Stop::CountedAsWrong),
            Some(Self::Unclear(before)) if before.logins >= Self::MOST_UNCLEAR => Err(Stop::Unclear),
            // A clock that was put right since then makes the pause shorter at the worst.
            Some(Self::Unclear(before)) if before.last.distance(now) < pause => Err(Stop::Wait(pause - before.last.distance(now))),
            Some(Self::Unclear(before)) => Ok(Unclear { logins: before.logins + 1, last: now, ..before }),
        }
    }

    /// The one that allows less.
    pub(crate) fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refused, _) | (_, Self::Refused) => Self::Refused,
            (Self::Unclear(one), Self::Unclear(two)) if one.logins >= two.logins => self,
            (Self::Unclear(_), Self::Unclear(_)) => other,
        }
    }
}

/// Where notes of logins are kept.
///
/// Whoever cannot read them must not log in: an error of [`read`](Self::read) is no permission.
pub trait LoginNotes: Send + Sync {
    /// What is known of the PIN at the token.
    ///
    /// # Errors
    /// The notes cannot be read.
    fn read(&self, token: &TokenName, pin: &Pin) -> Result<Option<Note>>;

    /// Puts `note` in the place of what is known of the PIN at the token; `None` takes it away.
    ///
    /// # Errors
    /// The notes cannot be read or written.
    fn write(&self, token: &TokenName, pin: &Pin, note: Option<Note>) -> Result<()>;

    /// The token accepted the PIN: what is known of it is taken away, and what is known of other PINs at the token of this serial
    /// number. Should the token be given one of those, it may be tried again.
    ///
    /// # Errors
    /// The notes cannot be read or written.
    fn accepted(&self, token: &TokenName, pin: &Pin) -> Result<()>;

    /// A person says that the PINs of the token may be tried again: takes all of its notes away.
    ///
    /// # Errors
    /// The notes cannot be read or written.
    fn forget(&self, token: &TokenName) -> Result<()>;
}

/// Length of the key of the fingerprints in bytes.
const KEY: usize = 32;
/// What else is ever signed under the same key begins otherwise.
const DOMAIN: &[u8] = b"keystead: a PIN that a token refused\0";

/// HMAC-SHA-256 of the token's serial number and the PIN.
struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(key: &SecretBytes, serial: &str, pin: &Pin) -> Self {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
        context.update(DOMAIN);
        // The length says where the serial number ends and the PIN begins.
        context.update(&u64::try_from(serial.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(serial.as_bytes());
        context.update(pin.expose().as_bytes());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        Self(fingerprint)
    }

    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A note with its token, as it was when the note was written.
struct Entry {
    token: TokenName,
    fingerprint: Fingerprint,
    note: Note,
}

impl Entry {
    fn is_of(&self, token: &TokenName) -> bool {
        self.token.serial == token.serial || (token.label.is_some() && self.token.label == token.label)
    }

    fn is_about(&self, key: &SecretBytes, token: &TokenName, pin: &Pin) -> bool {
        self.is_of(token) && self.fingerprint.is(&Fingerprint::of(key, &self.token.serial, pin))
    }
}

/// Notes, the newest last.
#[derive(Default)]
struct Entries(Vec<Entry>);

impl Entries {
    fn read(&self, key: &SecretBytes, token: &TokenName, pin: &Pin) -> Option<Note> {
        self.0.iter().filter(|entry| entry.is_about(key, token, pin)).map(|entry| entry.note).reduce(Note::stricter)
    }

    fn write(&mut self, key: &SecretBytes, token: &TokenName, pin: &Pin, note: Option<Note>) {
        self.0.retain(|entry| !entry.is_about(key, token, pin));
        let Some(note) = note else { return };
        let of_the_token = |entry: &Entry| entry.token.serial == token.serial;
        if self.0.iter().filter(|entry| of_the_token(entry)).count() >= MOST_OF_A_TOKEN
            && let Some(oldest) = self.0.iter().position(of_the_token)
        {
            self.0.remove(oldest);
        }
        self.0.push(Entry { token: token.clone(), fingerprint: Fingerprint::of(key, &token.serial, pin), note });
    }

    fn accepted(&mut self, key: &SecretBytes, token: &TokenName, pin: &Pin) {
        self.0.retain(|entry| entry.token.serial != token.serial && !entry.is_about(key, token, pin));
    }

    fn forget(&mut self, token: &TokenName) {
        self.0.retain(|entry| !entry.is_of(token));
    }
}

/// Notes that end with the process.
pub struct LoginNotesInMemory {
    key: SecretBytes,
    entries: Mutex<Entries>,
}

impl LoginNotesInMemory {
    /// None yet.
    pub fn new() -> Self {
        let mut key = SecretBytes::new(vec![0; KEY]);
        random::fill(key.expose_mut());
        Self { key, entries: Mutex::default() }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LoginNotesInMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl LoginNotes for LoginNotesInMemory {
    fn read(&self, token: &TokenName, pin: &Pin) -> Result<Option<Note>> {
        Ok(self.entries().read(&self.key, token, pin))
    }

    fn write(&self, token: &TokenName, pin: &Pin, note: Option<Note>) -> Result<()> {
        self.entries().write(&self.key, token, pin, note);
        Ok(())
    }

    fn accepted(&self, token: &TokenName, pin: &Pin) -> Result<()> {
        self.entries().accepted(&self.key, token, pin);
        Ok(())
    }

    fn forget(&self, token: &TokenName) -> Result<()> {
        self.entries().forget(token);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
