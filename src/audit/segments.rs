//! The files of a log: segments that are named by the number of their first record and the time at which they were begun.
//!
//! `00000000000000000001-1790000000.jsonl`; beside them `lock`, and `*.torn` with what a crash left at an end.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::base::Timestamp;
use crate::base::durable::sync_folder;

/// The longest line that is read: texts are cut, so a record has less.
pub(super) const LINE: usize = 64 * 1024;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    pub(super) begun: Timestamp,
}

/// What was done to the file of a segment that is written: from then on, what is written to it is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Displaced {
    /// No folder names it any more.
    Removed,
    /// Its name is another file's, or none's.
    Renamed,
    /// It is shorter than what was written.
    Cut,
}

impl Displaced {
    /// The participle, to be told.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Renamed => "renamed",
            Self::Cut => "cut",
        }
    }
}

impl Segment {
    /// Makes the file of a new segment, for its owner alone, in such a way that it is there after a crash.
    pub(super) fn create(folder: &Path, first: u64, begun: Timestamp) -> io::Result<(Self, File)> {
        let path = folder.join(format!("{first:020}-{}.jsonl", begun.unix().max(0)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        sync_folder(folder)?;
        Ok((Self { path, first, begun }, file))
    }

    /// What somebody did to the file while `length` bytes of it were written.
    ///
    /// # Errors
    /// It cannot be looked at; the folder is not there.
    pub(super) fn displaced(&self, file: &File, length: u64) -> io::Result<Option<Displaced>> {
        let written = file.metadata()?;
        if written.nlink() == 0 {
            return Ok(Some(Displaced::Removed));
        }
        match std::fs::symlink_metadata(&self.path) {
            Ok(named) if (named.dev(), named.ino()) != (written.dev(), written.ino()) => Ok(Some(Displaced::Renamed)),
            Ok(_) => Ok((written.len() < length).then_some(Displaced::Cut)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A folder that is away comes back with the file in it.
                self.path.parent().map(std::fs::metadata).transpose()?;
                Ok(Some(Displaced::Renamed))
            }
            Err(error) => Err(error),
        }
    }

    /// Its file's name, to be told.
    pub(super) fn name(&self) -> String {
        name_of(&self.path)
    }
}

/// The name of a file without its folder.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The file that the writer of a log holds a lock on.
pub(super) fn lock_file(folder: &Path) -> PathBuf {
    folder.join("lock")
}

/// The segments of a folder in their order; none when the folder is not there.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Segment>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Some((first, begun)) = parse(&name_of(&path)) {
            segments.push(Segment { path, first, begun });
        }
    }
    segments.sort_by_key(|segment| (segment.first, segment.begun));
    Ok(segments)
}

fn parse(name: &str) -> Option<(u64, Timestamp)> {
    let (first, begun) = name.strip_suffix(".jsonl")?.split_once('-')?;
    Some((first.parse().ok()?, Timestamp::from_unix(begun.parse().ok()?)))
}

/// The lines of a segment, one at a time, in a buffer that is used again.
pub(super) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Where the line that was read last begins.
    pub(super) at: u64,
    next: u64,
}

/// One line.
pub(super) enum Line<'a> {
    /// Without its line end.
    Whole(&'a [u8]),
    /// The file ends in it, or it is longer than any that we write.
    Torn,
}

impl Lines {
    pub(super) fn of(segment: &Segment) -> io::Result<Self> {
        Ok(Self { reader: BufReader::with_capacity(128 * 1024, File::open(&segment.path)?), line: Vec::new(), at: 0, next: 0 })
    }

    /// The next line; nothing at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.at = self.next;
        self.line.clear();
        let read = io::Read::take(&mut self.reader, LINE as u64).read_until(b'\n', &mut self.line)?;
        self.next += read as u64;
        if read == 0 {
            return Ok(None);
        }
        Ok(Some(self.line.strip_suffix(b"\n").map_or(Line::Torn, Line::Whole)))
    }

    /// Where the next line begins.
    pub(super) fn after(&self) -> u64 {
        self.next
    }
}
