//! How a log is taken up again: who writes it alone, where it ends, and what of its end is no record.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::chain::{Chain, Position};
use super::segments::{self, Line, Lines, Segment, name_of};
use crate::base::durable::{make_folder, sync_folder};
use crate::base::{Error, Kind, Result};

/// How often a lock is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// Where a log goes on.
pub(super) struct End {
    pub(super) position: Position,
    /// The segment that it goes on in, with its length.
    pub(super) segment: Option<(Segment, File, u64)>,
    /// What was put aside: how many bytes, and the file that they are in.
    pub(super) mended: Option<(u64, String)>,
}

pub(super) fn failed(folder: &Path, error: io::Error) -> Error {
    Error::new(Kind::Unavailable, format!("The audit log in {} cannot be written: {error}.", folder.display())).caused_by(error)
}

/// Takes the lock of a log: one writer at a time. Whoever writes one record waits for another who does.
pub(super) fn take_lock(folder: &Path, patience: Duration) -> Result<File> {
    make_folder(folder).map_err(|error| failed(folder, error))?;
    let path = segments::lock_file(folder);
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = open.map_err(|error| failed(folder, error))?;
    let begun = Instant::now();
    while file.try_lock().is_err() {
        if begun.elapsed() >= patience {
            let text = format!("Another process writes the audit log in {}.", folder.display());
            return Err(Error::new(Kind::Unavailable, text));
        }
        std::thread::sleep(RETRY);
    }
    Ok(file)
}

/// Finds the end of a log, whose lock is held. What follows the last record of the last segment is put aside in a file of its own.
pub(super) fn find_end(folder: &Path, chain: &Chain) -> Result<End> {
    take_up(folder, chain).map_err(|error| failed(folder, error))?.ok_or_else(|| {
        let text = format!(
            "The audit log in {} was not written under this root key, or its last segment was changed from its beginning: \
             `keystead audit verify` tells which. Move it elsewhere, or let [audit] name another directory.",
            folder.display()
        );
        Error::new(Kind::Unavailable, text)
    })
}

/// Nothing when a whole segment is none of ours.
fn take_up(folder: &Path, chain: &Chain) -> io::Result<Option<End>> {
    let mut mended = None;
    for segment in segments::list(folder)?.into_iter().rev() {
        let mut lines = Lines::of(&segment)?;
        let (mut last, mut end, mut whole) = (None, 0, 0);
        while let Some(line) = lines.next()? {
            let Line::Whole(line) = line else { continue };
            whole += 1;
            if let Some(link) = chain.check(line) {
                last = Some(link.here);
                end = lines.after();
            }
        }
        let length = lines.after();
        match last {
            Some(position) => {
                let mut file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
                if end < length {
                    mended = Some((length - end, put_aside(&mut file, &segment, end)?));
                }
                return Ok(Some(End { position, segment: Some((segment, file, end)), mended }));
            }
            None if whole > 0 => return Ok(None),
            // The process ended between making the file and its first record.
            None if length == 0 => std::fs::remove_file(&segment.path)?,
            None => {
                let aside = free_name(&segment);
                std::fs::rename(&segment.path, &aside)?;
                mended = Some((length, name_of(&aside)));
            }
        }
        sync_folder(folder)?;
    }
    Ok(Some(End { position: Position::default(), segment: None, mended }))
}

/// Copies the end of a segment into a file beside it, then cuts it off.
fn put_aside(file: &mut File, segment: &Segment, end: u64) -> io::Result<String> {
    let aside = free_name(segment);
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.seek(SeekFrom::Start(end))?;
    io::copy(&mut Read::by_ref(file), &mut copy)?;
    copy.sync_all()?;
    file.set_len(end)?;
    file.sync_all()?;
    Ok(name_of(&aside))
}

fn free_name(segment: &Segment) -> PathBuf {
    (1..).map(|number| segment.path.with_extension(format!("{number}.torn"))).find(|path| !path.exists()).unwrap_or_default()
}
