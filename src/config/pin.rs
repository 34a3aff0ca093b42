//! Where a PIN comes from: a file, a systemd credential, a command. Never the configuration itself.

mod command;

use std::collections::hash_map::DefaultHasher;
use std::fs::{File, Metadata};
use std::hash::{Hash, Hasher};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::{Error, Kind, Pin, Result, SecretBytes};
use crate::tier::pkcs11;

/// The most bytes of a PIN, its line end included.
const LIMIT: usize = 4096;

/// The source of a PIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A file that nobody but its owner may read.
    File(PathBuf),
    /// A credential that systemd passes to the service (LoadCredential=).
    Credential(String),
    /// What a program prints.
    Command(Vec<String>),
}

fn unavailable(text: String) -> Error {
    Error::new(Kind::Unavailable, text)
}

impl pkcs11::PinSource for PinSource {
    /// Reads the PIN now. A command has 10 s to print it.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], naming the source and what to do; never the PIN.
    fn read(&self) -> Result<Pin> {
        let bytes = match self {
            Self::File(path) => {
                let shown = path.display();
                if look(path)?.mode() & 0o077 != 0 {
                    return Err(unavailable(format!("The PIN file {shown} is open to others: chmod 600 {shown}.")));
                }
                read_file(path)?
            }
            Self::Credential(name) => {
                let path = credential(name).ok_or_else(|| {
                    unavailable(format!("The credential {name} is not there: systemd passed none (LoadCredential=)."))
                })?;
                look(&path)?;
                read_file(&path)?
            }
            Self::Command(command) => command::output(command, LIMIT, command::DEADLINE)?,
        };
        let source = pkcs11::PinSource::name(self);
        if bytes.len() > LIMIT {
            return Err(unavailable(format!("{source} has more than {LIMIT} bytes, which is no PIN.")));
        }
        let pin = Pin::from_utf8(&bytes).ok_or_else(|| unavailable(format!("{source} gives no text.")))?;
        if pin.expose().is_empty() { Err(unavailable(format!("{source} gives no PIN."))) } else { Ok(pin) }
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => format!("The PIN file {}", path.display()),
            Self::Credential(name) => format!("The credential {name}"),
            Self::Command(command) => command::name(command),
        }
    }

    fn version(&self) -> Option<u64> {
        match self {
            Self::File(path) => Some(stamp(std::fs::metadata(path))),
            Self::Credential(name) => Some(credential(name).map_or(0, |path| stamp(std::fs::metadata(path)))),
            Self::Command(_) => None,
        }
    }
}

fn credential(name: &str) -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(name))
}

/// What the system says of the file. A pipe or a device is refused: to read it may take for ever.
fn look(path: &Path) -> Result<Metadata> {
    let metadata = std::fs::metadata(path).map_err(|error| cannot_be_read(path, error))?;
    if metadata.is_file() { Ok(metadata) } else { Err(cannot_be_read(path, "it is no regular file")) }
}

/// Another number when the file is another one, was written, or may be read by others.
fn stamp(metadata: std::io::Result<Metadata>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match metadata {
        Ok(file) => {
            (file.dev(), file.ino(), file.size(), file.mode()).hash(&mut hasher);
            (file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()).hash(&mut hasher);
        }
        Err(error) => error.kind().hash(&mut hasher),
    }
    hasher.finish()
}

/// The file, at most one byte more than a PIN may have.
fn read_file(path: &Path) -> Result<SecretBytes> {
    let mut file = File::open(path).map_err(|error| cannot_be_read(path, error))?;
    let mut bytes = SecretBytes::new(vec![0; LIMIT + 1]);
    let mut filled = 0;
    loop {
        match file.read(&mut bytes.expose_mut()[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot_be_read(path, error)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn cannot_be_read(path: &Path, why: impl std::fmt::Display) -> Error {
    unavailable(format!("The PIN file {} cannot be read: {why}.", path.display()))
}

#[cfg(test)]
mod tests;
