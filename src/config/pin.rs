//! Where a PIN comes from: a file, a systemd credential, a command. Never the configuration itself.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::base::{Error, Kind, Pin, Result};
use crate::tier::pkcs11;

/// The most bytes of a PIN.
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
    /// Reads the PIN now.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], naming the source and what to do; never the PIN.
    fn read(&self) -> Result<Pin> {
        let text = match self {
            Self::File(path) => {
                let shown = path.display();
                let mode = std::fs::metadata(path)
                    .map_err(|error| unavailable(format!("The PIN file {shown} cannot be read: {error}.")))?
                    .permissions()
                    .mode();
                if mode & 0o077 != 0 {
                    return Err(unavailable(format!("The PIN file {shown} is open to others: chmod 600 {shown}.")));
                }
                read_file(path)?
            }
            Self::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    unavailable(format!("The credential {name} is not there: systemd passed none (LoadCredential=)."))
                })?;
                read_file(&Path::new(&folder).join(name))?
            }
            Self::Command(command) => run(command)?,
        };
        if text.trim_end_matches(['\r', '\n']).is_empty() || text.len() > LIMIT {
            return Err(unavailable(format!("{self:?} gives no PIN.")));
        }
        Ok(Pin::new(text))
    }
}

fn read_file(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| unavailable(format!("The PIN file {} cannot be read: {error}.", path.display())))
}

fn run(command: &[String]) -> Result<String> {
    let (program, arguments) = command.split_first().ok_or_else(|| unavailable("The pin_command is empty.".to_owned()))?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| unavailable(format!("The pin_command {program} cannot be run: {error}.")))?;
    if !output.status.success() {
        return Err(unavailable(format!("The pin_command {program} failed: {}.", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|_| unavailable(format!("The pin_command {program} did not print text.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::pkcs11::PinSource as _;

    #[test]
    fn a_file_is_the_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        let source = PinSource::File(path.clone());
        assert!(source.read().unwrap_err().message().contains("cannot be read"));
        std::fs::write(&path, "1234\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(source.read().unwrap_err().message().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(source.read().unwrap().expose(), "1234");
        std::fs::write(&path, "\n").unwrap();
        assert!(source.read().unwrap_err().message().contains("no PIN"));
    }

    #[test]
    fn a_command_prints_it() {
        let command = |arguments: &[&str]| PinSource::Command(arguments.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(command(&["printf", "1234"]).read().unwrap().expose(), "1234");
        assert!(command(&["false"]).read().unwrap_err().message().contains("failed"));
        assert!(command(&["no-such-program-anywhere"]).read().unwrap_err().message().contains("cannot be run"));
    }
}
