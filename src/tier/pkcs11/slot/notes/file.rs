//! Notes of logins in a file, which outlives the process and may be shared by several.
//!
//! One line for a note, the oldest first, with blanks between its parts: the token's serial number and the fingerprint, in hexadecimal;
//! `label:` with the token's label in hexadecimal, where the token is known by its label; `unclear:` with the number of logins, the
//! time of the last in seconds since 1970, and what the token said of wrong PINs. A line without the latter is of a PIN that was
//! refused. Fingerprints that were made under another key match nothing.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Entries, Entry, Fingerprint, KEY, LoginNotes, Note, TokenName, Unclear};
use crate::base::{Error, Kind, Pin, Result, SecretBytes, Timestamp, random};
use crate::tier::pkcs11::library::token::PinState;

/// The most bytes of the file: some four hundred notes.
pub(super) const FILE_LIMIT: usize = 64 * 1024;

/// Notes in a file. It is read at each question, so that what another process takes away is gone here, too. Without a file there are
/// no notes.
pub struct LoginNotesFile {
    path: PathBuf,
    key: SecretBytes,
}

impl LoginNotesFile {
    /// In the file of this path, whose folder must be there, with fingerprints under `key`, 32 bytes. Beside it a lock file
    /// appears, `.lock` at the end of its name.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] for a key of another length.
    pub fn new(path: impl Into<PathBuf>, key: SecretBytes) -> Result<Self> {
        if key.len() == KEY {
            Ok(Self { path: path.into(), key })
        } else {
            Err(Error::invalid(format!("The key of the notes of logins must have {KEY} bytes.")))
        }
    }

    fn load(&self) -> Result<Entries> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(FILE_LIMIT + 1).unwrap_or(u64::MAX);
        match File::open(&self.path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
            Ok(_) => {}
            // Notes that could not be written later are none: their folder must be there.
            Err(error) if error.kind() == ErrorKind::NotFound && self.folder().is_dir() => return Ok(Entries::default()),
            Err(error) => return Err(self.unavailable("read", error)),
        }
        if bytes.len() > FILE_LIMIT {
            return Err(self.damaged(&format!("it has more than {FILE_LIMIT} bytes")));
        }
        parse(&bytes).map_err(|line| self.damaged(&format!("its line {line} is none of ours")))
    }

    /// Reads, changes and writes while no other thread or process does.
    fn change(&self, change: impl FnOnce(&mut Entries)) -> Result<()> {
        let _lock = self.lock().map_err(|error| self.unavailable("locked", error))?;
        let mut entries = self.load()?;
        change(&mut entries);
        let text = render(&entries);
        if text.len() > FILE_LIMIT {
            return Err(self.unavailable("written", format!("it would have more than {FILE_LIMIT} bytes")));
        }
        self.replace(&text).map_err(|error| self.unavailable("written", error))
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

    /// Puts `text` in the place of the file, as a whole or not at all, so that it outlives a loss of power. Without notes there is no
    /// file: an empty one is a damaged one.
    fn replace(&self, text: &str) -> std::io::Result<()> {
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
        let text = format!("The notes of logins, {}, cannot be {what}: {why}.", self.path.display());
        Error::new(Kind::Unavailable, text)
    }

    fn damaged(&self, why: &str) -> Error {
        let path = self.path.display();
        let text = format!(
            "The notes of logins, {path}, are damaged: {why}. Nobody logs in, lest a wrong PIN be tried again: make sure that the \
             PINs are right, then delete {path}."
        );
        Error::new(Kind::Unavailable, text)
    }
}

impl LoginNotes for LoginNotesFile {
    fn read(&self, token: &TokenName, pin: &Pin) -> Result<Option<Note>> {
        Ok(self.load()?.read(&self.key, token, pin))
    }

    fn write(&self, token: &TokenName, pin: &Pin, note: Option<Note>) -> Result<()> {
        self.change(|entries| entries.write(&self.key, token, pin, note))
    }

    fn accepted(&self, token: &TokenName, pin: &Pin) -> Result<()> {
        self.change(|entries| entries.accepted(&self.key, token, pin))
    }

    fn forget(&self, token: &TokenName) -> Result<()> {
        self.change(|entries| entries.forget(token))
    }
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn render(entries: &Entries) -> String {
    let mut text = String::new();
    for Entry { token, fingerprint, note } in &entries.0 {
        let _ = write!(text, "{} {}", hex(token.serial.as_bytes()), hex(&fingerprint.0));
        if let Some(label) = &token.label {
            let _ = write!(text, " label:{}", hex(label.as_bytes()));
        }
        if let Note::Unclear(Unclear { logins, last, flags }) = note {
            let _ = write!(text, " unclear:{logins}:{}:{}", last.unix(), flags_name(*flags));
        }
        text.push('\n');
    }
    text
}

const FLAGS: [PinState; 4] = [PinState::Fine, PinState::CountLow, PinState::FinalTry, PinState::Locked];

fn flags_name(flags: PinState) -> &'static str {
    match flags {
        PinState::Fine => "fine",
        PinState::CountLow => "count-low",
        PinState::FinalTry => "final-try",
        PinState::Locked => "locked",
    }
}

/// Exactly what [`render`] gives, or the number of the first line that is otherwise: a file that was cut off is one.
pub(super) fn parse(bytes: &[u8]) -> Result<Entries, usize> {
    let mut entries = Entries::default();
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n')).ok_or(1usize)?;
    for (number, line) in (1..).zip(text.split('\n')) {
        let new = entry(line).ok_or(number)?;
        if entries.0.iter().any(|known| known.token == new.token && known.fingerprint.is(&new.fingerprint)) {
            return Err(number);
        }
        entries.0.push(new);
    }
    // Numbers and names have one form.
    match text.split('\n').zip(render(&entries).lines()).position(|(read, written)| read != written) {
        None => Ok(entries),
        Some(line) => Err(line + 1),
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut parts = line.split(' ').peekable();
    let serial = text_of(parts.next()?)?;
    let fingerprint = Fingerprint(unhex(parts.next()?)?.try_into().ok()?);
    let label = match parts.next_if(|part| part.starts_with("label:")) {
        Some(part) => Some(text_of(part.strip_prefix("label:")?)?),
        None => None,
    };
    let note = match parts.next() {
        None => Note::Refused,
        Some(part) => Note::Unclear(unclear(part.strip_prefix("unclear:")?)?),
    };
    parts.next().is_none().then_some(Entry { token: TokenName { serial, label }, fingerprint, note })
}

fn unclear(text: &str) -> Option<Unclear> {
    let mut parts = text.split(':');
    let logins = parts.next()?.parse().ok()?;
    let last = Timestamp::from_unix(parts.next()?.parse().ok()?);
    let name = parts.next()?;
    let flags = FLAGS.into_iter().find(|flags| flags_name(*flags) == name)?;
    parts.next().is_none().then_some(Unclear { logins, last, flags })
}

fn text_of(hex: &str) -> Option<String> {
    String::from_utf8(unhex(hex)?).ok()
}

pub(super) fn hex(bytes: &[u8]) -> String {
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
