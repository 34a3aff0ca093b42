//! Whether a log is whole: every line genuine, every number there and in its place, each record after the one that it was written
//! after, the beginning explained by what was deleted in time, the end as the store remembers it.

use std::fmt;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;

use super::chain::{Chain, HASH, Position};
use super::record::Found;
use super::segments::{self, Line, Lines, Segment, name_of};
use crate::base::{Error, Kind, Result, SecretBytes};

/// The most findings that are told one by one.
const FINDINGS: usize = 100;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment's file.
    pub file: String,
    /// From 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.file, self.line)
    }
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The line is not as it was written; it stands where that record belongs.
    Changed(Place, u64),
    /// Records of these numbers are not there; the next one stands at the place.
    Missing(RangeInclusive<u64>, Option<Place>),
    /// A genuine record stands where it does not belong.
    Misplaced(Place, u64),
    /// A genuine record stands there a second time.
    Repeated(Place, u64),
    /// A genuine record was not written after the one that stands before it.
    Unconnected(Place, u64),
    /// A genuine record, which is not the one that the store remembers by this number.
    NotRemembered(Place, u64),
    /// The file ends in the middle of a line.
    Torn(Place),
    /// The log ends before the record that the store remembers.
    Cut {
        /// The last record that is there.
        last: u64,
        /// What the store remembers.
        remembered: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(place, sequence) => {
                write!(f, "changed: {place}, where record {sequence} belongs, is not as it was written")
            }
            Self::Missing(range, place) => {
                if range.start() == range.end() {
                    write!(f, "missing: record {}", range.start())?;
                } else {
                    write!(f, "missing: records {} to {}", range.start(), range.end())?;
                }
                place.as_ref().map_or(Ok(()), |place| write!(f, ", before {place}"))
            }
            Self::Misplaced(place, sequence) => write!(f, "reordered: record {sequence} stands at {place}"),
            Self::Repeated(place, sequence) => write!(f, "repeated: record {sequence} stands again at {place}"),
            Self::Unconnected(place, sequence) => {
                write!(f, "replaced: record {sequence} at {place} was not written after the record that stands before it")
            }
            Self::NotRemembered(place, sequence) => {
                write!(f, "replaced: record {sequence} at {place} is not the one that the store remembers")
            }
            Self::Torn(place) => write!(f, "torn: {place} has no end; the next start puts it aside"),
            Self::Cut { last, remembered } => {
                write!(f, "cut: the log ends at record {last}, and the store remembers record {remembered}")
            }
        }
    }
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many genuine records there are.
    pub records: u64,
    /// The numbers of the first and the last of them.
    pub range: Option<(u64, u64)>,
    /// In how many segments.
    pub segments: usize,
    /// Up to which number records were deleted because their time had come; 0 when none were.
    pub retired_through: u64,
    /// What is wrong, the first hundred of it.
    pub findings: Vec<Finding>,
    /// How much more is.
    pub more: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty() && self.more == 0
    }

    fn find(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS { self.findings.push(finding) } else { self.more += 1 }
    }
}

/// Whether somebody is writing the log, so that its last line may be under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Yes,
    No,
}

/// Reads a whole log, a line at a time. `remembered` must have been read from the store before: a log that is written goes on meanwhile.
///
/// # Errors
/// [`Kind::Unavailable`] when there is no log or it cannot be read.
pub fn verify(folder: &Path, key: &SecretBytes, remembered: Position) -> Result<Verdict> {
    let unreadable = |error: std::io::Error| {
        Error::new(Kind::Unavailable, format!("The audit log in {} cannot be read: {error}.", folder.display()))
    };
    if !folder.is_dir() && remembered == Position::default() {
        return Err(Error::new(Kind::Unavailable, format!("There is no audit log in {}.", folder.display())));
    }
    let writing = match File::open(segments::lock_file(folder)) {
        Ok(file) if file.try_lock_shared().is_err() => Writing::Yes,
        Ok(_) | Err(_) => Writing::No,
    };
    let mut reading = Reading {
        chain: Chain::new(key),
        remembered,
        begin: 0,
        expected: None,
        last: [0; HASH],
        doubt: false,
        verdict: Verdict::default(),
    };
    let segments = segments::list(folder).map_err(unreadable)?;
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match reading.segment(segment, if last { writing } else { Writing::No }) {
            // Its time came while we read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && writing == Writing::Yes => {}
            result => result.map_err(unreadable)?,
        }
    }
    Ok(reading.finish())
}

struct Reading {
    chain: Chain,
    remembered: Position,
    /// The number of the first record, as the name of its segment says; 0 without one.
    begin: u64,
    /// The number that comes next; unknown before the first record.
    expected: Option<u64>,
    /// The hash of the record before.
    last: [u8; HASH],
    /// The line before was no genuine record, so what follows cannot be held against it.
    doubt: bool,
    verdict: Verdict,
}

impl Reading {
    fn segment(&mut self, segment: &Segment, writing: Writing) -> std::io::Result<()> {
        let mut lines = Lines::of(segment)?;
        self.verdict.segments += 1;
        let mut number = 0;
        let place = |line| Place { file: name_of(&segment.path), line };
        // A segment begins with the record that its name says.
        if self.expected.is_none() {
            (self.begin, self.expected) = (segment.first, Some(segment.first));
        }
        while let Some(line) = lines.next()? {
            number += 1;
            match line {
                Line::Whole(line) => self.line(line, || place(number)),
                Line::Torn if writing == Writing::Yes => {}
                Line::Torn => {
                    self.verdict.find(Finding::Torn(place(number)));
                    self.doubt = true;
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], place: impl Fn() -> Place) {
        let expected = self.expected.unwrap_or(1);
        let Some(link) = self.chain.check(line) else {
            self.verdict.find(Finding::Changed(place(), expected));
            self.doubt = true;
            self.expected = Some(expected + 1);
            return;
        };
        let sequence = link.here.sequence;
        self.verdict.records += 1;
        let (first, last) = self.verdict.range.unwrap_or((sequence, sequence));
        self.verdict.range = Some((first.min(sequence), last.max(sequence)));
        if line.windows(RETIRED.len()).any(|bytes| bytes == RETIRED) {
            let found = serde_json::from_slice::<Found<'_>>(line).ok().and_then(|found| found.retired_through);
            self.verdict.retired_through = self.verdict.retired_through.max(found.unwrap_or(0));
        }
        if sequence == self.remembered.sequence && link.here.hash != self.remembered.hash {
            self.verdict.find(Finding::NotRemembered(place(), sequence));
        }
        // Before the first there is nothing, and what stood before one whose predecessors were deleted is not known.
        let known = self.verdict.records > 1 || sequence == 1;
        // After lines that are none of ours the count may be off by one: such a line was added.
        let doubt = std::mem::take(&mut self.doubt);
        if sequence < expected && !(doubt && sequence + 1 == expected) {
            let finding = if self.was_missed(sequence) {
                Finding::Misplaced(place(), sequence)
            } else {
                Finding::Repeated(place(), sequence)
            };
            self.verdict.find(finding);
            return;
        }
        if sequence > expected {
            self.verdict.find(Finding::Missing(expected..=sequence - 1, Some(place())));
        } else if !doubt && known && link.previous != self.last {
            self.verdict.find(Finding::Unconnected(place(), sequence));
        }
        self.last = link.here.hash;
        self.expected = Some(sequence + 1);
    }

    /// Takes a record out of those that were missed; it stands elsewhere.
    fn was_missed(&mut self, sequence: u64) -> bool {
        let holds = |finding: &Finding| matches!(finding, Finding::Missing(range, _) if range.contains(&sequence));
        let Some(at) = self.verdict.findings.iter().position(holds) else { return false };
        let Finding::Missing(range, place) = self.verdict.findings.remove(at) else { return false };
        let (start, end) = range.into_inner();
        for rest in [sequence + 1..=end, start..=sequence - 1] {
            if !rest.is_empty() {
                self.verdict.findings.insert(at, Finding::Missing(rest, place.clone()));
            }
        }
        true
    }

    fn finish(mut self) -> Verdict {
        let last = self.verdict.range.map_or(0, |(_, last)| last);
        // What is missing between the first segment's name and its first record was found there.
        if self.begin > self.verdict.retired_through + 1 {
            let missing = Finding::Missing(self.verdict.retired_through + 1..=self.begin - 1, None);
            self.verdict.findings.insert(0, missing);
        }
        if last < self.remembered.sequence {
            self.verdict.find(Finding::Cut { last, remembered: self.remembered.sequence });
        }
        self.verdict
    }
}

/// What only the log's own record of a deletion has, since a quote in a text is escaped.
const RETIRED: &[u8] = b"\"retired_through\":";
