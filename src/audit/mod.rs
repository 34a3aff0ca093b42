//! Floor 2: the audit log, an append-only file of records in a chain.
//!
//! A mechanism that knows no tier, no store and no protocol: the server and the command line hand it records, the assembly tells
//! it where the store remembers the log to end. A thread of its own writes them, many with one sync; whoever hands one over may wait for
//! that. No lock is held over I/O.
//!
//! What it protects against: somebody who can write the files, but has not the root key, can neither make a record nor change, take
//! away or move one without [`verify`] finding it. Records cut off at the end are found by the last [`Position`] that the store
//! remembers: those that came after it, a few seconds' worth, are not; and not by somebody who puts back the database of the same day.
//! Whoever has the root key can write another log: keep a copy elsewhere.

mod chain;
mod opening;
mod record;
mod search;
mod segments;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::base::supervisor::Supervisor;
use crate::base::{Clock, Error, Kind, Result, SecretBytes, Timestamp, durable};
pub use chain::Position;
pub use record::{Decision, Plane, Record};
pub use search::{Query, search};
pub use verify::{Finding, Place, Verdict, verify};
use writer::{Progress, Shared, Writer};

/// The most records that wait to be written, those of running requests included: some 16 MB.
pub const QUEUE: usize = 32_768;
/// How long an answer waits for its record before that counts as not written.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a command waits for another one that writes its record.
const COMMANDS: Duration = Duration::from_secs(30);
/// How large a segment gets unless it is said, in bytes.
pub const SEGMENT: u64 = 64 * 1024 * 1024;
/// For how many days records are kept unless it is said.
pub const RETENTION_DAYS: u32 = 180;

/// When a record is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Before its request is answered.
    BeforeAnswer,
    /// A moment later, unless whoever hands it over wants to wait.
    Buffered,
}

/// What happens while records cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Nothing is served that could not be recorded.
    Refuse,
    /// Requests are served; those without a record are counted, and the count is recorded.
    Continue,
}

/// Who writes a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A server, for as long as it runs; a second one is refused.
    Server,
    /// Commands, one after the other, each for a moment.
    Commands,
}

impl Author {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Server, Self::Commands];

    /// The name of its log: of its folder, in the store, and in the derivation of its key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Commands => "commands",
        }
    }
}

/// How a log is written.
pub struct Settings {
    /// Its folder.
    pub folder: PathBuf,
    /// Who writes.
    pub author: Author,
    /// The key of its chain.
    pub key: SecretBytes,
    /// What knows the date.
    pub clock: Arc<dyn Clock>,
    /// When a record is on the disk.
    pub commit: Commit,
    /// What happens while records cannot be written.
    pub when_full: WhenFull,
    /// For how long records are kept.
    pub retention: Duration,
    /// From how many bytes on a segment is followed by another.
    pub segment: u64,
    /// What the store remembers as the end of the log.
    pub remembered: Position,
}

/// Makes the folder of logs if it is not there, and a file in it that it takes away again.
///
/// # Errors
/// [`Kind::Unavailable`], with one line.
pub fn check_writable(folder: &Path) -> Result<()> {
    let probe = folder.join(format!("probe-{}", std::process::id()));
    let tried =
        durable::make_folder(folder).and_then(|()| std::fs::File::create_new(&probe)).and_then(|_| std::fs::remove_file(&probe));
    tried.map_err(|error| opening::failed(folder, error))
}

/// A log that is written.
pub struct Log {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    commit: Commit,
    when_full: WhenFull,
    supervisor: Supervisor,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How a log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Records written since it was opened.
    pub records: u64,
    /// Syncs that wrote them.
    pub commits: u64,
    /// Attempts to write that failed.
    pub failures: u64,
    /// Requests that were served without a record.
    pub unrecorded: u64,
    /// Requests that were refused because they could not have been recorded.
    pub refused: u64,
    /// Records that wait, those of running requests included.
    pub waiting: usize,
    /// Why nothing can be written, while that is so.
    pub failing: Option<String>,
}

impl Log {
    /// Takes up the log of a folder and starts its writer.
    ///
    /// # Errors
    /// [`Kind::Unavailable`], with one line: another process writes it, the folder cannot be written, or what is in it is no log under
    /// this key.
    pub fn open(settings: Settings) -> Result<Arc<Self>> {
        let (clock, commit, when_full) = (Arc::clone(&settings.clock), settings.commit, settings.when_full);
        let patience = match settings.author {
            Author::Server => Duration::ZERO,
            Author::Commands => COMMANDS,
        };
        let shared = Arc::new(Shared::new(commit));
        let writer = Writer::open(settings, Arc::clone(&shared), patience)?;
        let supervisor = Supervisor::default();
        let thread = writer.start(&supervisor).map_err(Error::internal)?;
        Ok(Arc::new(Self { shared, clock, commit, when_full, supervisor, thread: Mutex::new(Some(thread)) }))
    }

    /// The work that goes on for as long as the log is open.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The date.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Keeps a place for the record of a request that begins.
    ///
    /// # Errors
    /// When nothing may be served without a record: [`Kind::Unavailable`] while the log cannot be written, [`Kind::Throttled`] while
    /// the disk does not keep up.
    pub fn admit(&self) -> Result<Ticket> {
        let failing = self.shared.failing.load(Ordering::Acquire);
        let refused = match (self.when_full, failing) {
            (WhenFull::Refuse, true) => Kind::Unavailable,
            (WhenFull::Refuse | WhenFull::Continue, _) => {
                if self.shared.take_place() {
                    return Ok(Ticket { shared: Arc::clone(&self.shared), place: true });
                }
                match self.when_full {
                    WhenFull::Refuse => Kind::Throttled,
                    WhenFull::Continue => return Ok(Ticket { shared: Arc::clone(&self.shared), place: false }),
                }
            }
        };
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(refused, "The audit log cannot be written at the moment."))
    }

    /// Whether an answer waits for its record anyway.
    pub fn commit(&self) -> Commit {
        self.commit
    }

    /// What becomes of an answer whose record was not written.
    pub fn when_full(&self) -> WhenFull {
        self.when_full
    }

    /// Writes a record and waits for it.
    ///
    /// # Errors
    /// As [`Log::admit`]; [`Kind::Unavailable`] when it was not written.
    pub async fn write(&self, record: &Record<'_>) -> Result<()> {
        self.admit()?.hand_over(&record.to_json(), Urgency::Awaited).written().await
    }

    /// The last record that is on the disk.
    pub fn position(&self) -> Position {
        *self.shared.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Ends: what waits is written, for as long as a few seconds, and the writer is waited for.
    pub async fn close(&self) {
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Whether somebody waits for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It is written at once.
    Awaited,
    /// It is written with others, soon.
    Unawaited,
}

/// A place for one record. Dropped without one it is free again.
pub struct Ticket {
    shared: Arc<Shared>,
    place: bool,
}

impl Ticket {
    /// Hands over a record as [`Record::to_json`] makes it.
    pub fn hand_over(mut self, record: &[u8], urgency: Urgency) -> Pending {
        if !std::mem::take(&mut self.place) {
            self.shared.unrecorded.fetch_add(1, Ordering::Relaxed);
            return Pending(None);
        }
        Pending(Some(self.shared.push(record, urgency)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.place {
            self.shared.free_places(1);
        }
    }
}

/// A record that was handed over. Nobody needs to wait for it.
pub struct Pending(Option<watch::Receiver<Progress>>);

impl Pending {
    /// Waits until it is on the disk.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when it could not be written, or not in time. It may be written later.
    pub async fn written(self) -> Result<()> {
        let failed = || Error::new(Kind::Unavailable, "The request could not be recorded in the audit log.");
        let mut progress = self.0.ok_or_else(failed)?;
        let waiting = progress.wait_for(|progress| *progress != Progress::Waiting);
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(progress)) if *progress == Progress::Written => Ok(()),
            Ok(Ok(_) | Err(_)) | Err(_) => Err(failed()),
        }
    }
}
