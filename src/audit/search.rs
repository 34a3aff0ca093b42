//! Finding records: by key, caller, time, operation and code, a line at a time, of several logs in the order of time.
//!
//! Whether they are genuine is not looked at here: that is [`verify`](super::verify)'s.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::record::Found;
use super::segments::{self, Line, Lines, Segment};
use crate::base::{Error, Kind, Result, Timestamp, date};

/// How much later than its time a record may be in a segment: while a disk is full, records wait.
const LATE: Duration = Duration::from_secs(86_400);

/// What is wanted; all that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// A key by its id or the id of a version, or a resource in the caller's words: an alias, a name.
    pub key: Option<String>,
    /// A client key, an AccessKey, an OIDC provider, a user of the system, whether proven or claimed; an access point; whom a provider
    /// vouches for; a role, or one with its session; the AccessKey of a session, when it was handed out, too.
    pub caller: Option<String>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Up to then.
    pub until: Option<Timestamp>,
    /// An operation.
    pub operation: Option<String>,
    /// A code: `OK` or that of a failure.
    pub code: Option<String>,
}

impl Query {
    fn wants(&self, found: &Found<'_>) -> bool {
        let is = |wanted: &Option<String>, fields: &[Option<&str>]| {
            wanted.as_deref().is_none_or(|wanted| fields.contains(&Some(wanted)))
        };
        let time = date::from_iso(&found.time);
        let role = found.assumed_role.as_deref().and_then(|session| session.rsplit_once('/')).map(|(role, _)| role);
        let among = |wanted: &Option<String>| wanted.as_ref().is_some_and(|wanted| found.other_resources.contains(wanted));
        (is(&self.key, &[found.key.as_deref(), found.key_version.as_deref(), found.resource.as_deref()]) || among(&self.key))
            && is(
                &self.caller,
                &[
                    found.caller.as_deref(),
                    found.claimed_caller.as_deref(),
                    found.access_point.as_deref(),
                    found.subject.as_deref(),
                    found.assumed_role.as_deref(),
                    role,
                    found.issued.as_deref(),
                ],
            )
            && is(&self.operation, &[Some(&*found.operation)])
            && is(&self.code, &[Some(&*found.code)])
            && self.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| time.is_some_and(|time| time <= until))
    }

    /// Whether a segment, which another one follows, may have what is wanted.
    fn may_be_in(&self, segment: &Segment, next: Option<&Segment>) -> bool {
        let late = |time: Timestamp| time.after(LATE);
        self.until.is_none_or(|until| segment.begun <= late(until))
            && self.since.is_none_or(|since| next.is_none_or(|next| next.begun >= since))
    }
}

/// Gives the lines that are wanted to `show`, as long as that says `Ok`.
///
/// # Errors
/// [`Kind::Unavailable`] when a file cannot be read; those of `show`.
pub fn search(folders: &[PathBuf], query: &Query, mut show: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut cursors = folders.iter().map(|folder| Cursor::new(folder, query)).collect::<Result<Vec<_>>>()?;
    loop {
        let earliest = cursors.iter_mut().filter(|cursor| !cursor.line.is_empty()).min_by(|a, b| a.time.cmp(&b.time));
        let Some(cursor) = earliest else { return Ok(()) };
        show(&cursor.line)?;
        cursor.advance(query)?;
    }
}

/// Where the search is in one log.
struct Cursor {
    folder: PathBuf,
    segments: std::vec::IntoIter<Segment>,
    lines: Option<Lines>,
    /// The line that was found; empty at the end.
    line: Vec<u8>,
    time: String,
}

impl Cursor {
    fn new(folder: &Path, query: &Query) -> Result<Self> {
        let all = segments::list(folder).map_err(|error| unreadable(folder, &error))?;
        let wanted = all.iter().enumerate().filter(|(at, segment)| query.may_be_in(segment, all.get(at + 1)));
        let wanted: Vec<_> = wanted.map(|(_, segment)| segment.clone()).collect();
        let mut cursor =
            Self { folder: folder.to_owned(), segments: wanted.into_iter(), lines: None, line: Vec::new(), time: String::new() };
        cursor.advance(query)?;
        Ok(cursor)
    }

    /// Goes on to the next line that is wanted.
    fn advance(&mut self, query: &Query) -> Result<()> {
        self.line.clear();
        loop {
            let Some(lines) = &mut self.lines else {
                let Some(segment) = self.segments.next() else { return Ok(()) };
                match Lines::of(&segment) {
                    Ok(lines) => self.lines = Some(lines),
                    // Its time came while we read.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(unreadable(&self.folder, &error)),
                }
                continue;
            };
            match lines.next().map_err(|error| unreadable(&self.folder, &error))? {
                None => self.lines = None,
                Some(Line::Torn) => {}
                Some(Line::Whole(line)) => {
                    if let Ok(found) = serde_json::from_slice::<Found<'_>>(line)
                        && query.wants(&found)
                    {
                        self.time = found.time.into_owned();
                        self.line.extend_from_slice(line);
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn unreadable(folder: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Unavailable, format!("The audit log in {} cannot be read: {error}.", folder.display()))
}
