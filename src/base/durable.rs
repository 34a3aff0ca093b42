//! Files and folders that are there after a crash: what is made, put in its place or taken away is synced with the folder that names it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Syncs the folder of a file: what was made or taken away there stays so.
///
/// # Errors
/// The folder cannot be read or synced.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => sync_folder(folder),
        Some(_) => sync_folder(Path::new(".")),
        None => Ok(()),
    }
}

/// Syncs a folder.
///
/// # Errors
/// The folder cannot be read or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder, and those above it that are missing, for its owner alone.
///
/// # Errors
/// One of them cannot be made.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => sync_folder_of(folder),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a new file for its owner alone; one that is there is not touched.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or it cannot be written; what was written of it then may be there.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_folder_of(path)
}

/// Writes a file as a whole or not at all, for its owner alone: readers see the former one or the new one.
///
/// # Errors
/// It cannot be written; then the former one is there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    write_new(&beside, bytes)?;
    rename(&beside, path)
}

/// Gives a file another name in its folder.
///
/// # Errors
/// It is not there, or cannot be renamed.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_folder_of(to)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_and_folders_are_their_owners_and_replaced_as_a_whole() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a/b");
        make_folder(&folder).unwrap();
        make_folder(&folder).unwrap();
        let file = folder.join("f");
        write_new(&file, b"1").unwrap();
        assert_eq!(write_new(&file, b"2").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        // What a crash left beside it is in nobody's way.
        std::fs::write(folder.join("f.new"), "half").unwrap();
        replace(&file, b"3").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"3");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&top.path().join("a")), mode(&folder), mode(&file)), (0o700, 0o700, 0o600));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        assert!(make_folder(&file).is_err(), "a file is no folder");
    }
}
