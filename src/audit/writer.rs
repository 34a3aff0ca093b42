//! The writer: a thread that takes all that waits, makes lines of it, writes and syncs them at once, and again.
//!
//! A batch that could not be written is tried again until it can; whoever waits for it is told at the first failure.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::chain::{Chain, Position};
use super::opening::{self, End};
use super::record::Event;
use super::segments::{self, Segment};
use super::{Author, Commit, QUEUE, Settings, Status, Urgency, WhenFull};
use crate::base::durable::sync_folder;
use crate::base::supervisor::{Supervisor, Told};
use crate::base::{Clock, Result, Timestamp};

/// How long records that nobody waits for are gathered before they are written.
const GATHERING: Duration = Duration::from_millis(50);
/// How many are gathered at the most.
const GATHERED: usize = QUEUE / 8;
/// How soon a batch that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// How long it is tried when the log is to be closed.
const CLOSING: Duration = Duration::from_secs(5);
/// How often it is looked, while nothing is written, whether the file is still there and whether records are to be deleted.
const IDLE: Duration = Duration::from_secs(1);
/// In how many new segments a batch is tried whose file is displaced while it is written.
const DISPLACED: usize = 3;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    Written,
    Failed,
}

/// What the writer and everybody else share.
pub(super) struct Shared {
    commit: Commit,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Records that wait and running requests, which may each leave one.
    places: AtomicUsize,
    pub(super) position: Mutex<Position>,
    pub(super) failing: AtomicBool,
    failure: Mutex<Option<String>>,
    records: AtomicU64,
    commits: AtomicU64,
    failures: AtomicU64,
    pub(super) unrecorded: AtomicU64,
    pub(super) refused: AtomicU64,
}

struct Queue {
    batch: Batch,
    writer: State,
    closed: bool,
}

/// What the writer does, so that it is woken only when it sleeps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Gathering,
    Busy,
}

/// Records that are written together.
struct Batch {
    /// One after the other.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    awaited: bool,
    progress: watch::Sender<Progress>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), awaited: false, progress: watch::Sender::new(Progress::Waiting) }
    }
}

impl Batch {
    /// Empties it for other records; the memory is kept.
    fn reset(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.awaited = false;
        self.progress = watch::Sender::new(Progress::Waiting);
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[begin..*end])
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(commit: Commit) -> Self {
        Self {
            commit,
            queue: Mutex::new(Queue { batch: Batch::default(), writer: State::Busy, closed: false }),
            wake: Condvar::new(),
            places: AtomicUsize::new(0),
            position: Mutex::default(),
            failing: AtomicBool::new(false),
            failure: Mutex::default(),
            records: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            unrecorded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes a place, if one is free.
    pub(super) fn take_place(&self) -> bool {
        let taken = self.places.fetch_add(1, Ordering::AcqRel) < QUEUE;
        if !taken {
            self.free_places(1);
        }
        taken
    }

    pub(super) fn free_places(&self, count: usize) {
        self.places.fetch_sub(count, Ordering::AcqRel);
    }

    /// Adds a record to what is written next.
    pub(super) fn push(&self, record: &[u8], urgency: Urgency) -> watch::Receiver<Progress> {
        let mut queue = locked(&self.queue);
        queue.batch.bytes.extend_from_slice(record);
        let end = queue.batch.bytes.len();
        queue.batch.ends.push(end);
        let awaited = self.commit == Commit::BeforeAnswer || urgency == Urgency::Awaited;
        queue.batch.awaited |= awaited;
        let wake = match queue.writer {
            State::Idle => true,
            State::Gathering => awaited || queue.batch.ends.len() >= GATHERED,
            State::Busy => false,
        };
        if wake {
            queue.writer = State::Busy;
        }
        let progress = queue.batch.progress.subscribe();
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
        progress
    }

    pub(super) fn close(&self) {
        locked(&self.queue).closed = true;
        self.wake.notify_one();
    }

    pub(super) fn status(&self) -> Status {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            records: count(&self.records),
            commits: count(&self.commits),
            failures: count(&self.failures),
            unrecorded: count(&self.unrecorded),
            refused: count(&self.refused),
            waiting: self.places.load(Ordering::Acquire),
            failing: locked(&self.failure).clone(),
        }
    }

    /// Waits for records and takes them, or for the end.
    fn take(&self, batch: &mut Batch) -> Taken {
        let mut queue = locked(&self.queue);
        while queue.batch.ends.is_empty() {
            if queue.closed {
                return Taken::End;
            }
            queue.writer = State::Idle;
            let (woken, waited) = self.wake.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            if waited.timed_out() && queue.batch.ends.is_empty() {
                queue.writer = State::Busy;
                return Taken::Nothing;
            }
        }
        if !queue.batch.awaited && !queue.closed && queue.batch.ends.len() < GATHERED {
            queue.writer = State::Gathering;
            let more = |queue: &mut Queue| !queue.batch.awaited && !queue.closed && queue.batch.ends.len() < GATHERED;
            queue = self.wake.wait_timeout_while(queue, GATHERING, more).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.writer = State::Busy;
        batch.reset();
        std::mem::swap(&mut queue.batch, batch);
        Taken::Batch
    }

    /// Waits before another attempt. Those who wait for what was handed over meanwhile are told that it may take time.
    fn pause(&self, batch: &Batch) -> Ending {
        batch.progress.send_replace(Progress::Failed);
        let queue = locked(&self.queue);
        let going_on = |queue: &mut Queue| !queue.closed;
        let (queue, _) = self.wake.wait_timeout_while(queue, RETRY, going_on).unwrap_or_else(PoisonError::into_inner);
        // An empty one is for records that come when the log can be written again.
        if !queue.batch.ends.is_empty() {
            queue.batch.progress.send_replace(Progress::Failed);
        }
        if queue.closed { Ending::Ends } else { Ending::GoesOn }
    }
}

enum Taken {
    Batch,
    Nothing,
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    GoesOn,
    Ends,
}

/// Where records went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Landed {
    InTheLog,
    /// In a file that is not of the log any more.
    Elsewhere,
}

/// What the thread has.
pub(super) struct Writer {
    shared: Arc<Shared>,
    folder: PathBuf,
    author: Author,
    chain: Chain,
    clock: Arc<dyn Clock>,
    retention: Duration,
    limit: u64,
    position: Position,
    /// The segment that is written, with its length as far as it is good.
    segment: Option<(Segment, File, u64)>,
    /// The day of the last look for records that are to be deleted.
    tidied: Option<i64>,
    lines: Vec<u8>,
    /// What is recorded of the log itself with the next batch.
    events: Vec<Vec<u8>>,
    /// How many requests without a record were recorded as such.
    told: (u64, u64),
    _lock: File,
}

fn day(time: Timestamp) -> i64 {
    time.unix().div_euclid(DAY)
}

impl Writer {
    /// Takes up the log.
    pub(super) fn open(settings: Settings, shared: Arc<Shared>, patience: Duration) -> Result<Self> {
        let Settings { folder, author, key, clock, retention, segment, remembered, when_full, commit: _ } = settings;
        let lock = opening::take_lock(&folder, patience)?;
        let chain = Chain::new(&key);
        let End { position, segment: last, mended } = opening::find_end(&folder, &chain)?;
        let now = clock.now();
        let mut writer = Self {
            shared,
            author,
            chain,
            clock,
            retention,
            limit: segment,
            position,
            segment: last,
            tidied: None,
            lines: Vec::new(),
            events: Vec::new(),
            told: (0, 0),
            _lock: lock,
            folder,
        };
        if author == Author::Server {
            writer.events.push(Event::Opened.to_json(now));
        }
        if let Some((bytes, file)) = mended {
            tracing::warn!(bytes, file, folder = %writer.folder.display(), "the end of the audit log was no record and was put aside");
            writer.events.push(Event::Mended { bytes, file: &file }.to_json(now));
        }
        if position.sequence < remembered.sequence {
            let (expected, found) = (remembered.sequence, position.sequence);
            tracing::error!(expected, found, folder = %writer.folder.display(), "the audit log lacks records that the store remembers");
            writer.events.push(Event::Missing { expected, found }.to_json(now));
            // The numbers go on after those that are missing, so that the gap stays to be seen.
            writer.position = remembered;
        }
        // A log that cannot be written is told at once.
        match (writer.attempt(&Batch::default()), when_full) {
            (Ok(()), _) => {}
            (Err(error), WhenFull::Refuse) => return Err(opening::failed(&writer.folder, error)),
            (Err(error), WhenFull::Continue) => {
                tracing::error!(%error, folder = %writer.folder.display(), "the audit log cannot be written yet");
            }
        }
        Ok(writer)
    }

    /// Starts the thread, which writes until the log is closed.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(mut self, supervisor: &Supervisor) -> io::Result<JoinHandle<()>> {
        let mut batch = Batch::default();
        supervisor.thread("audit log", move || self.run(&mut batch))
    }

    fn run(&mut self, batch: &mut Batch) -> Told {
        // What was taken and not written when it panicked.
        self.write_taken(batch);
        self.tidy();
        while let Taken::Batch | Taken::Nothing = self.shared.take(batch) {
            self.write_taken(batch);
            self.tidy();
        }
        if self.author == Author::Server {
            self.events.push(Event::Closed.to_json(self.clock.now()));
        }
        batch.reset();
        self.write(batch);
        Told
    }

    /// Writes the records that were taken and frees their places. Without any it looks whether the file is still there.
    fn write_taken(&mut self, batch: &mut Batch) {
        self.write(batch);
        let records = batch.ends.len();
        batch.reset();
        self.shared.free_places(records);
    }

    /// Writes a batch, however often it takes; given up only at the end.
    fn write(&mut self, batch: &Batch) {
        let mut given_up_at = None;
        while let Err(error) = self.attempt(batch) {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            if !self.shared.failing.swap(true, Ordering::AcqRel) {
                tracing::error!(%error, folder = %self.folder.display(), "the audit log cannot be written");
            }
            *locked(&self.shared.failure) = Some(error.to_string());
            if self.shared.pause(batch) == Ending::Ends {
                let at = *given_up_at.get_or_insert_with(|| Instant::now() + CLOSING);
                if Instant::now() >= at {
                    let records = batch.ends.len();
                    tracing::error!(records, "the audit log could not be written to its end: records are lost");
                    return;
                }
                // The condition variable does not wait any more.
                std::thread::sleep(RETRY);
            }
        }
        if self.shared.failing.swap(false, Ordering::AcqRel) {
            *locked(&self.shared.failure) = None;
            tracing::info!(folder = %self.folder.display(), "the audit log can be written again");
        }
        batch.progress.send_replace(Progress::Written);
    }

    /// Writes and syncs a batch with what is to be recorded of the log itself, or changes nothing.
    fn attempt(&mut self, batch: &Batch) -> io::Result<()> {
        for _ in 0..DISPLACED {
            self.leave_displaced()?;
            if self.attempt_in_segment(batch)? == Landed::InTheLog {
                return Ok(());
            }
        }
        Err(io::Error::other("its file is removed or renamed again and again"))
    }

    /// A segment whose file was displaced is left, which is recorded in the next one.
    fn leave_displaced(&mut self) -> io::Result<()> {
        let Some((segment, file, length)) = &self.segment else { return Ok(()) };
        let Some(how) = segment.displaced(file, *length)? else { return Ok(()) };
        let (file, first, last) = (segment.name(), segment.first, self.position.sequence);
        tracing::error!(file, how = how.name(), first, last, "the file of the audit log was displaced by another program");
        self.events.push(Event::Displaced { how, file: &file, first, last }.to_json(self.clock.now()));
        self.segment = None;
        Ok(())
    }

    fn attempt_in_segment(&mut self, batch: &Batch) -> io::Result<Landed> {
        let now = self.clock.now();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let untold = (count(&self.shared.unrecorded), count(&self.shared.refused));
        let (served, refused) = (untold.0 - self.told.0, untold.1 - self.told.1);
        let unrecorded = (served, refused) != (0, 0);
        let unrecorded = unrecorded.then(|| Event::Unrecorded { served, refused }.to_json(now));
        let own = self.events.iter().chain(unrecorded.as_ref()).map(Vec::as_slice);
        let mut position = self.position;
        self.lines.clear();
        let mut records = 0;
        for record in own.chain(batch.records()) {
            self.chain.append(&mut position, record, &mut self.lines);
            records += 1;
        }
        if records == 0 {
            *locked(&self.shared.position) = self.position;
            return Ok(Landed::InTheLog);
        }
        let full = |(segment, _, length): &(Segment, File, u64)| *length >= self.limit || day(segment.begun) != day(now);
        if self.segment.as_ref().is_none_or(full) {
            let (segment, file) = Segment::create(&self.folder, self.position.sequence + 1, now)?;
            self.segment = Some((segment, file, 0));
        }
        let Some((segment, file, length)) = &mut self.segment else { return Err(io::Error::other("there is no segment")) };
        let end = *length + self.lines.len() as u64;
        // Always from the last good byte on: what a failed attempt left behind is written over.
        let written = file.write_all_at(&self.lines, *length).and_then(|()| file.sync_data());
        match written.and_then(|()| segment.displaced(file, end)) {
            Ok(None) => {}
            // Nobody is told that these records are in the log: they are written again, to the next segment.
            Ok(Some(_)) => {
                let _ = file.set_len(*length);
                return Ok(Landed::Elsewhere);
            }
            Err(error) => {
                let _ = file.set_len(*length);
                return Err(error);
            }
        }
        *length = end;
        self.position = position;
        self.events.clear();
        self.told = untold;
        *locked(&self.shared.position) = position;
        self.shared.records.fetch_add(records, Ordering::Relaxed);
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(Landed::InTheLog)
    }

    /// Once a day deletes the segments whose records are all older than they are kept, when the date may be relied on. That they are deleted is
    /// recorded first.
    fn tidy(&mut self) {
        if self.tidied == Some(day(self.clock.now())) {
            return;
        }
        let Ok(now) = self.clock.settled() else { return };
        self.tidied = Some(day(now));
        if let Err(error) = self.retire(now) {
            tracing::warn!(%error, folder = %self.folder.display(), "old records of the audit log cannot be deleted yet");
            self.tidied = None;
        }
    }

    fn retire(&mut self, now: Timestamp) -> io::Result<()> {
        let kept = i64::try_from(self.retention.as_secs()).unwrap_or(i64::MAX);
        let oldest = Timestamp::from_unix(now.unix().saturating_sub(kept));
        let segments = segments::list(&self.folder)?;
        // A segment is as young as the beginning of the next one, and not older than one before it, whatever the clock showed.
        let begun = segments.iter().scan(Timestamp::from_unix(i64::MIN), |youngest, segment| {
            *youngest = segment.begun.max(*youngest);
            Some(*youngest)
        });
        let old = begun.skip(1).take_while(|begun| *begun < oldest).count();
        let Some(next) = segments.get(old).filter(|_| old > 0) else { return Ok(()) };
        self.events.push(Event::Retired { through: next.first - 1 }.to_json(now));
        self.attempt(&Batch::default()).inspect_err(|_| drop(self.events.pop()))?;
        for segment in &segments[..old] {
            std::fs::remove_file(&segment.path)?;
            tracing::info!(segment = segment.name(), "records of the audit log were deleted, because their time had come");
        }
        sync_folder(&self.folder)
    }
}
