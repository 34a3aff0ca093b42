//! What is there of an installation: nothing, all of it, or a part. Of a part the rest is to be put back, and never made anew: a new root
//! key opens nothing of an old database, and a new database hides the loss of every key.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::files::Files;
use super::starter;
use crate::audit::Author;
use crate::base::{Error, Kind, Result};
use crate::config::Config;

fn unavailable(text: String) -> Error {
    Error::new(Kind::Unavailable, text)
}

/// Whether something of this name is there, if only a link to what is away.
///
/// # Errors
/// [`Kind::Unavailable`] when that cannot be known, as in a folder that may not be entered.
pub(super) fn is_there(path: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unavailable(format!("{} cannot be looked at: {error}.", path.display()))),
    }
}

/// Whether the database holds anything.
fn has_content(database: &Path) -> Result<bool> {
    match std::fs::metadata(database) {
        Ok(found) => Ok(found.len() > 0),
        Err(error) if error.kind() == ErrorKind::NotFound => is_there(database),
        Err(error) => Err(unavailable(format!("{} cannot be looked at: {error}.", database.display()))),
    }
}

/// What an installation leaves beside its database, if any of it is there.
fn trace(config: &Config) -> Result<Option<PathBuf>> {
    let files = Files::of(config);
    let logs = Author::ALL.map(|author| config.audit.directory.join(author.name()));
    for path in [files.ca(), files.access_key(), files.login_notes(), files.clock()].into_iter().chain(logs) {
        if is_there(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Where a new root key is until its database is made, beside where it belongs: a root key in its place has a database, and where that is
/// not found, it is away and not still to be made.
pub(super) fn new_root_key(config: &Config) -> PathBuf {
    config.root_key_file.with_added_extension("new")
}

/// Before `init` makes anything: what it would make is not the missing part of an installation that is there.
///
/// # Errors
/// [`Kind::Unavailable`], naming what is to be put back.
pub(super) fn check_nothing_is_missing(config: &Config) -> Result<()> {
    let database = Files::of(config).database();
    let (key, data) = (config.root_key_file.display(), database.display());
    let (data_dir, log) = (config.data_dir.display(), config.audit.directory.display());
    let begin_anew = format!("to begin anew, move {key}, {data_dir} and {log} elsewhere, as far as they are there");
    match (is_there(&config.root_key_file)?, has_content(&database)?, trace(config)?) {
        (true, true, _) | (false, false, None) => Ok(()),
        // A crash came between the database and the root key's move to its place.
        (false, true, _) if is_there(&new_root_key(config))? => Ok(()),
        (false, true, _) => Err(unavailable(format!(
            "The root key file {key} is not there, and the database {data} is: put back the copy of the root key. A new one would not \
             open the database; {begin_anew}."
        ))),
        (true, false, None) => Err(unavailable(format!(
            "The root key file {key} is there, and its database {data} is not there or empty: mount {data_dir}, or put it back from a \
             backup; {begin_anew}."
        ))),
        (true, false, Some(trace)) => Err(unavailable(format!(
            "The database {data} is not there or empty, and {} is of its installation: put the database back from a backup; \
             {begin_anew}.",
            trace.display()
        ))),
        (false, false, Some(trace)) => Err(unavailable(format!(
            "The root key file {key} and the database {data} are not there, and {} is of their installation: put both back; \
             {begin_anew}.",
            trace.display()
        ))),
    }
}

/// The text of a first configuration, unless there is an installation where it would put one.
///
/// # Errors
/// [`Kind::Unavailable`], naming what is to be put back.
pub(super) fn first_configuration(path: &Path) -> Result<String> {
    let text = starter::configuration();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let config = Config::parse(&text, folder)?;
    let mut found = trace(&config)?;
    for part in [config.root_key_file.clone(), Files::of(&config).database()] {
        if is_there(&part)? {
            found = Some(part);
        }
    }
    match found {
        None => Ok(text),
        Some(found) => Err(unavailable(format!(
            "The configuration {} is not there, and {} is of an installation: put the configuration back, or name it by --config. A new \
             one would not name the instances of the keys.",
            path.display(),
            found.display()
        ))),
    }
}
