//! Where the PIN of a token comes from, and the memory of PINs that a token refused.
//!
//! A token locks itself after a few wrong PINs, so one that was refused is never tried again, not even by a restart: before a
//! login the slot asks whether the PIN was refused, after CKR_PIN_INCORRECT it has it remembered. What is kept is a keyed
//! fingerprint for each token, which tells nothing of the PIN to whoever lacks the key. It knows no slot and logs in nowhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use crate::base::{Error, Kind, Pin, Result, SecretBytes, random};

/// Where the PIN of a token's user comes from; read anew at every login, so that a new PIN needs no restart.
pub trait PinSource: Send + Sync {
    /// The PIN as it is now.
    ///
    /// # Errors
    /// The source has none; nobody logs in then.
    fn read(&self) -> Result<Pin>;

    /// What messages call the source, at the beginning of a sentence.
    fn name(&self) -> String {
        "The source of the PIN".to_owned()
    }

    /// A number that is another one when the source may give another PIN; `None` when only reading it can tell. Asked once a
    /// second while the PIN is of no use, so it must be cheap.
    fn version(&self) -> Option<u64> {
        None
    }
}

impl PinSource for Pin {
    /// A copy of itself: the one place that makes one.
    fn read(&self) -> Result<Pin> {
        Ok(Pin::new(self.expose().to_owned()))
    }
}

/// The memory of refused PINs: for each token the one that it refused last, until another is accepted.
///
/// Whoever cannot ask must not log in: an error of [`is_refused`](Self::is_refused) is no permission.
pub trait RefusedPins: Send + Sync {
    /// Whether the token of this serial number refused this PIN.
    ///
    /// # Errors
    /// The memory cannot be read.
    fn is_refused(&self, serial: &str, pin: &Pin) -> Result<bool>;

    /// Remembers that the token refused the PIN.
    ///
    /// # Errors
    /// The memory cannot be written.
    fn refuse(&self, serial: &str, pin: &Pin) -> Result<()>;

    /// Forgets what the token refused: it accepted a PIN, or a person said so.
    ///
    /// # Errors
    /// The memory cannot be read or written.
    fn forget(&self, serial: &str) -> Result<()>;
}

/// Length of the key of the fingerprints in bytes.
const KEY: usize = 32;
/// What else is ever signed under the same key begins otherwise.
const DOMAIN: &[u8] = b"keystead: a PIN that a token refused\0";

/// HMAC-SHA-256 of token and PIN.
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

/// What was refused, by serial number.
type Refused = BTreeMap<String, Fingerprint>;

fn has(refused: &Refused, serial: &str, fingerprint: &Fingerprint) -> bool {
    refused.get(serial).is_some_and(|known| known.is(fingerprint))
}

/// A memory that ends with the process.
pub struct RefusedInMemory {
    key: SecretBytes,
    refused: Mutex<Refused>,
}

impl RefusedInMemory {
    /// An empty one.
    pub fn new() -> Self {
        let mut key = SecretBytes::new(vec![0; KEY]);
        random::fill(key.expose_mut());
        Self { key, refused: Mutex::default() }
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RefusedInMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl RefusedPins for RefusedInMemory {
    fn is_refused(&self, serial: &str, pin: &Pin) -> Result<bool> {
        Ok(has(&self.refused(), serial, &Fingerprint::of(&self.key, serial, pin)))
    }

    fn refuse(&self, serial: &str, pin: &Pin) -> Result<()> {
        self.refused().insert(serial.to_owned(), Fingerprint::of(&self.key, serial, pin));
        Ok(())
    }

    fn forget(&self, serial: &str) -> Result<()> {
        self.refused().remove(serial);
        Ok(())
    }
}

/// The most bytes of the file, some four hundred tokens.
const FILE_LIMIT: usize = 64 * 1024;

/// A memory in a file, which outlives the process and may be shared by several. It is read at each question, so that what
/// another process forgets is forgotten here, too. Without a file nothing is refused.
///
/// One line for a token: its serial number and the fingerprint, in hexadecimal. Another key matches no fingerprint.
pub struct RefusedFile {
    path: PathBuf,
    key: SecretBytes,
}

impl RefusedFile {
    /// In the file of this path, whose folder must be there, with fingerprints under `key`, 32 bytes. Beside it a lock file
    /// appears, `.lock` at the end of its name.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] for a key of another length.
    pub fn new(path: impl Into<PathBuf>, key: SecretBytes) -> Result<Self> {
        if key.len() == KEY {
            Ok(Self { path: path.into(), key })
        } else {
            Err(Error::invalid(format!("The key of the refused PINs must have {KEY} bytes.")))
        }
    }

    fn read(&self) -> Result<Refused> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(FILE_LIMIT + 1).unwrap_or(u64::MAX);
        match File::open(&self.path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
            Ok(_) => {}
            // A memory that could not be written later is none: its folder must be there.
            Err(error) if error.kind() == ErrorKind::NotFound && self.folder().is_dir() => return Ok(Refused::new()),
            Err(error) => return Err(self.unavailable("read", error)),
        }
        if bytes.len() > FILE_LIMIT {
            return Err(self.damaged(&format!("it has more than {FILE_LIMIT} bytes")));
        }
        parse(&bytes).map_err(|line| self.damaged(&format!("its line {line} is none of ours")))
    }

    /// Reads, changes and writes while no other thread or process does.
    fn change(&self, change: impl FnOnce(&mut Refused)) -> Result<()> {
        let _lock = self.lock().map_err(|error| self.unavailable("locked", error))?;
        let mut refused = self.read()?;
        change(&mut refused);
        let text = render(&refused);
        if text.len() > FILE_LIMIT {
            return Err(self.unavailable("written", format!("it would have more than {FILE_LIMIT} bytes")));
        }
        self.write(&text).map_err(|error| self.unavailable("written", error))
    }

    /// The lock is a file of its own: the other one is replaced as a whole.
    fn lock(&self) -> std::io::Result<File> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.beside(".lock"))?;
        loop {
            match file.lock() {
                Ok(()) => return Ok(file),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts `text` in the place of the file, as a whole or not at all, so that it outlives a loss of power. Nothing to remember
    /// is no file: an empty one is a damaged one.
    fn write(&self, text: &str) -> std::io::Result<()> {
        if text.is_empty() {
            match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        } else {
            let new = self.beside(&format!(".{}.new", hex(&random::bytes::<8>())));
            let written = write_new(&new, text).and_then(|()| std::fs::rename(&new, &self.path));
            if let Err(error) = written {
                let _ = std::fs::remove_file(&new);
                return Err(error);
            }
        }
        File::open(self.folder())?.sync_all()
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            Some(_) | None => Path::new("."),
        }
    }

    /// The path with something at its end.
    fn beside(&self, end: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(end);
        path.into()
    }

    fn unavailable(&self, what: &str, why: impl std::fmt::Display) -> Error {
        let text = format!("The memory of refused PINs, {}, cannot be {what}: {why}.", self.path.display());
        Error::new(Kind::Unavailable, text)
    }

    fn damaged(&self, why: &str) -> Error {
        let path = self.path.display();
        let text = format!(
            "The memory of refused PINs, {path}, is damaged: {why}. Nobody logs in, lest a wrong PIN be tried again: make sure \
             that the PINs are right, then delete {path}."
        );
        Error::new(Kind::Unavailable, text)
    }
}

impl RefusedPins for RefusedFile {
    fn is_refused(&self, serial: &str, pin: &Pin) -> Result<bool> {
        Ok(has(&self.read()?, serial, &Fingerprint::of(&self.key, serial, pin)))
    }

    fn refuse(&self, serial: &str, pin: &Pin) -> Result<()> {
        self.change(|refused| {
            refused.insert(serial.to_owned(), Fingerprint::of(&self.key, serial, pin));
        })
    }

    fn forget(&self, serial: &str) -> Result<()> {
        // The usual case, after each good login, needs no lock.
        if !self.read()?.contains_key(serial) {
            return Ok(());
        }
        self.change(|refused| {
            refused.remove(serial);
        })
    }
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn render(refused: &Refused) -> String {
    let mut text = String::new();
    for (serial, fingerprint) in refused {
        let _ = writeln!(text, "{} {}", hex(serial.as_bytes()), hex(&fingerprint.0));
    }
    text
}

/// Exactly what [`render`] gives, or the number of the first line that is otherwise: a file that was cut off is one.
fn parse(bytes: &[u8]) -> Result<Refused, usize> {
    let mut refused = Refused::new();
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n')).ok_or(1usize)?;
    for (number, line) in (1..).zip(text.split('\n')) {
        let (serial, fingerprint) = entry(line).ok_or(number)?;
        if refused.insert(serial, fingerprint).is_some() {
            return Err(number);
        }
    }
    Ok(refused)
}

fn entry(line: &str) -> Option<(String, Fingerprint)> {
    let (serial, fingerprint) = line.split_once(' ')?;
    let serial = String::from_utf8(unhex(serial)?).ok()?;
    Some((serial, Fingerprint(unhex(fingerprint)?.try_into().ok()?)))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Lower case only.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests;
