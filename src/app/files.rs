//! The files of an installation, and how secret ones are written.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::base::{Error, Kind, Result, durable};
use crate::config::Config;
use crate::service::REFRESH;

/// The data folder.
pub(super) struct Files<'a>(&'a Path);

impl<'a> Files<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        Self(&config.data_dir)
    }

    /// Of a folder without a configuration.
    #[cfg(test)]
    pub(super) fn in_folder(folder: &'a Path) -> Self {
        Self(folder)
    }

    /// The SQLite database.
    pub(super) fn database(&self) -> PathBuf {
        self.0.join("keystead.db")
    }

    /// Locked while a server runs on the data.
    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Notes of logins: of the PINs that tokens refused, or may have refused.
    pub(super) fn login_notes(&self) -> PathBuf {
        self.0.join("refused_pins")
    }

    /// What the server saw of the clock.
    pub(super) fn clock(&self) -> PathBuf {
        self.0.join("clock.json")
    }

    /// The word of an operator that the date is right, until the server has taken it in.
    pub(super) fn clock_confirmed(&self) -> PathBuf {
        self.0.join("clock_confirmed.json")
    }

    /// The administrator's AccessKey.
    pub(super) fn access_key(&self) -> PathBuf {
        self.0.join("access_key.json")
    }

    /// What clients must trust: root, then issuing CA.
    pub(super) fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// Where the running server listens; it is there while one runs.
    pub(super) fn ready(&self) -> PathBuf {
        self.0.join("ready.json")
    }

    /// Makes the folder, for its owner alone.
    pub(super) fn make_folder(&self) -> Result<()> {
        durable::make_folder(self.0).map_err(|error| failed(self.0, &error))
    }

    /// Takes the lock, or says who has it: nobody but one server may write counts of the data.
    pub(super) fn take_lock(&self) -> Result<File> {
        if !self.0.is_dir() {
            return Err(Error::new(
                Kind::Unavailable,
                format!(
                    "There is no data folder {}: bring it back, or mount what it is on; for a new installation `keystead init` makes one.",
                    self.0.display()
                ),
            ));
        }
        let path = self.lock();
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open.map_err(|error| failed(&path, &error))?;
        file.try_lock()
            .map_err(|_| Error::new(Kind::Unavailable, format!("Another server runs on the data in {}.", self.0.display())))?;
        Ok(file)
    }

    /// Whether a server runs on the data.
    pub(super) fn is_served(&self) -> bool {
        File::open(self.lock()).is_ok_and(|file| file.try_lock_shared().is_err())
    }
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Unavailable, format!("{} cannot be written: {error}.", path.display()))
}

/// Writes a new file for its owner alone; one that is there is not touched.
pub(super) fn write_new_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    durable::write_new(path, bytes).map_err(|error| failed(path, &error))
}

/// Writes a file as a whole or not at all: readers see the former one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    durable::replace(path, bytes).map_err(|error| failed(path, &error))
}

/// That there is a folder for what is handed out.
pub(super) fn check_folder(out: &Path) -> Result<()> {
    if out.is_dir() { Ok(()) } else { Err(Error::invalid(format!("There is no folder {}.", out.display()))) }
}

/// A server that runs looks at the change counter this often; after twice that it knows what was written.
pub(super) async fn until_known(config: &Config) {
    if Files::of(config).is_served() {
        tokio::time::sleep(2 * REFRESH).await;
    }
}
