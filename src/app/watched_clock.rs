//! The machine's clock under watch: what was seen of it is kept in the data folder, so that a service that is often restarted gets to rely on
//! it, too.
//!
//! `clock.json` is the server's: it writes it every minute, and whenever the clock was moved. Commands read it. `clock_confirmed.json` is
//! left by `keystead clock confirm` and taken in by the server.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::files::{self, Files, replace};
use crate::base::supervisor::Told;
use crate::base::{Clock, Error, Kind, Result, SystemClock, Timestamp, date, random};
use crate::model::settled_clock::{Needed, Reading, Verdict, Watch};

/// How often the server looks at the clock, and for a confirmation.
const LOOK: Duration = Duration::from_secs(5);
/// How often it writes what it saw, in its own time since boot.
const WRITE: Duration = Duration::from_secs(60);
/// Tells one start of the machine from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A reading in a file.
#[derive(Serialize, Deserialize)]
struct KeptReading {
    date: i64,
    since_boot: u64,
    boot: String,
}

impl From<&Reading> for KeptReading {
    fn from(reading: &Reading) -> Self {
        Self { date: reading.date.unix(), since_boot: reading.since_boot.as_secs(), boot: reading.boot.clone() }
    }
}

impl From<KeptReading> for Reading {
    fn from(kept: KeptReading) -> Self {
        Self { date: Timestamp::from_unix(kept.date), since_boot: Duration::from_secs(kept.since_boot), boot: kept.boot }
    }
}

/// What was seen, in its file.
#[derive(Serialize, Deserialize)]
struct KeptWatch {
    since: KeptReading,
    last: KeptReading,
    latest: i64,
    needed: KeptNeeded,
    /// The confirmation that was taken in last. Its file may be there still.
    #[serde(default)]
    taken_in: Option<KeptReading>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KeptNeeded {
    Nothing,
    Hour,
    Day,
}

impl KeptWatch {
    fn of(watch: &Watch, taken_in: Option<&Reading>) -> Self {
        let needed = match watch.needed {
            Needed::Nothing => KeptNeeded::Nothing,
            Needed::Hour => KeptNeeded::Hour,
            Needed::Day => KeptNeeded::Day,
        };
        let taken_in = taken_in.map(KeptReading::from);
        Self { since: (&watch.since).into(), last: (&watch.last).into(), latest: watch.latest.unix(), needed, taken_in }
    }
}

impl From<KeptWatch> for Watch {
    fn from(kept: KeptWatch) -> Self {
        let needed = match kept.needed {
            KeptNeeded::Nothing => Needed::Nothing,
            KeptNeeded::Hour => Needed::Hour,
            KeptNeeded::Day => Needed::Day,
        };
        let KeptWatch { since, last, latest, needed: _, taken_in: _ } = kept;
        Self { since: since.into(), last: last.into(), latest: Timestamp::from_unix(latest), needed }
    }
}

/// The file's content; nothing when it is not there.
fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>> {
    let failed = |why: &dyn std::fmt::Display| Error::new(Kind::Unavailable, format!("{} cannot be read: {why}.", path.display()));
    match std::fs::read(path) {
        Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|error| failed(&error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

fn write(path: &Path, content: &impl Serialize) -> Result<()> {
    replace(path, &serde_json::to_vec(content).map_err(Error::internal)?)
}

/// The files, and what is in the first of them.
struct Kept {
    written: Option<Watch>,
    /// A confirmation counts once, also where its file cannot be removed.
    taken_in: Option<Reading>,
    file: PathBuf,
    confirmed: PathBuf,
}

impl Kept {
    /// Takes up what was seen before. What cannot be read counts as nothing, after which a day is needed.
    fn take_up(files: &Files<'_>, now: Reading) -> (Self, Watch) {
        let (file, confirmed) = (files.clock(), files.clock_confirmed());
        let mut known = read::<KeptWatch>(&file).unwrap_or_else(|error| {
            tracing::warn!(?error, "what was seen of the clock before is not known");
            None
        });
        let taken_in = known.as_mut().and_then(|kept| kept.taken_in.take()).map(Reading::from);
        let kept = Self { written: known.map(Watch::from), taken_in, file, confirmed };
        let mut watch = kept.written.clone().unwrap_or_else(|| Watch::begin(now.clone()));
        watch.observe(now.clone());
        if let Some(confirmation) = kept.confirmation() {
            confirmation.take_in(&mut watch, now);
        }
        (kept, watch)
    }

    fn confirmation(&self) -> Option<Confirmation> {
        match read::<KeptReading>(&self.confirmed) {
            Ok(confirmed) => confirmed.map(Reading::from).map(|at| match &self.taken_in {
                Some(before) if *before == at => Confirmation::TakenIn,
                Some(_) | None => Confirmation::At(at),
            }),
            Err(error) => {
                tracing::warn!(?error, "the confirmation of the clock is not understood");
                Some(Confirmation::Unreadable)
            }
        }
    }

    /// Looks, and writes what is to be kept. Whoever asks for the date meanwhile does not wait for the disk.
    fn keep(&mut self, watch: &Mutex<Watch>, now: Reading) -> Result<()> {
        let confirmation = self.confirmation();
        let seen = {
            let mut watch = locked(watch);
            watch.observe(now.clone());
            if let Some(confirmation) = &confirmation {
                confirmation.take_in(&mut watch, now);
            }
            watch.clone()
        };
        let is_new = match &confirmation {
            Some(Confirmation::At(at)) => {
                self.taken_in = Some(at.clone());
                true
            }
            Some(Confirmation::TakenIn | Confirmation::Unreadable) | None => false,
        };
        let due = self.written.as_ref().is_none_or(|written| {
            let passed = seen.last.since_boot.saturating_sub(written.last.since_boot);
            (&written.since, written.needed) != (&seen.since, seen.needed) || passed >= WRITE
        });
        if due || is_new {
            write(&self.file, &KeptWatch::of(&seen, self.taken_in.as_ref()))?;
            self.written = Some(seen);
        }
        // After that is written: a crash in between does not lose it.
        match confirmation {
            Some(Confirmation::At(_) | Confirmation::TakenIn | Confirmation::Unreadable) => {
                std::fs::remove_file(&self.confirmed).map_err(|error| files::failed(&self.confirmed, &error))
            }
            None => Ok(()),
        }
    }
}

/// What an operator left.
enum Confirmation {
    /// The date of this reading is right.
    At(Reading),
    /// That was taken in before, and its file is there still.
    TakenIn,
    Unreadable,
}

impl Confirmation {
    fn take_in(&self, watch: &mut Watch, now: Reading) {
        match self {
            Self::At(confirmed) if now.agrees_with(confirmed) => {
                watch.confirm(confirmed.clone());
                watch.observe(now);
            }
            Self::At(_) => {
                tracing::warn!("the confirmation of the clock does not count: the clock was moved or the machine started since");
            }
            Self::TakenIn | Self::Unreadable => {}
        }
    }
}

/// The machine's clock, and whether it may be relied on.
pub(super) struct WatchedClock {
    watch: Mutex<Watch>,
    /// The server's task alone takes it.
    kept: Mutex<Kept>,
    boot: String,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WatchedClock {
    /// Takes up what was seen of the clock before.
    pub(super) fn open(files: &Files<'_>) -> Self {
        // Where the system does not tell, every process counts as another start of the machine.
        let boot = std::fs::read_to_string(BOOT_ID)
            .map_or_else(|_| random::bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect(), |id| id.trim().to_owned());
        let (kept, watch) = Kept::take_up(files, reading(&boot));
        Self { watch: Mutex::new(watch), kept: Mutex::new(kept), boot }
    }

    /// What is seen now.
    pub(super) fn look(&self) -> Watch {
        let mut watch = locked(&self.watch);
        watch.observe(reading(&self.boot));
        watch.clone()
    }

    /// Looks again and again, and keeps what was seen. It ends with the task.
    pub(super) async fn keep_on_and_on(self: Arc<Self>) -> Told {
        let mut failing = false;
        loop {
            let clock = Arc::clone(&self);
            let keep = move || locked(&clock.kept).keep(&clock.watch, reading(&clock.boot));
            let kept = tokio::task::spawn_blocking(keep).await;
            match kept.map_err(Error::internal).flatten() {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(?error, "what was seen of the clock cannot be kept");
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Leaves the word of an operator that the date is right, and gives that date.
    pub(super) fn confirm(&self, files: &Files<'_>) -> Result<Timestamp> {
        let now = reading(&self.boot);
        write(&files.clock_confirmed(), &KeptReading::from(&now))?;
        Ok(now.date)
    }
}

impl Clock for WatchedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn latest(&self) -> Timestamp {
        self.look().latest
    }

    fn settled(&self) -> Result<Timestamp> {
        let text = match self.look().verdict() {
            Verdict::Settled(date) => return Ok(date),
            Verdict::Agreeing { still } => {
                let minutes = still.as_secs().div_ceil(60);
                format!("The clock must go on for {minutes} minutes more without being moved")
            }
            Verdict::Behind { latest } => {
                format!("The clock shows a date before {}, which was seen already", date::to_iso(latest))
            }
        };
        Err(Error::new(Kind::Unavailable, format!("{text}; if the date is right, `keystead clock confirm` says so.")))
    }
}

fn reading(boot: &str) -> Reading {
    let since_boot = clock_gettime(ClockId::Boottime);
    let since_boot = Duration::from_secs(u64::try_from(since_boot.tv_sec).unwrap_or_default());
    Reading { date: SystemClock.now(), since_boot, boot: boot.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    const MINUTE: u64 = 60;

    fn at(minutes: u64) -> Reading {
        let seconds = minutes * MINUTE;
        let date = Timestamp::from_unix(1_790_000_000 + seconds.cast_signed());
        Reading { date, since_boot: Duration::from_secs(1000 + seconds), boot: "b".to_owned() }
    }

    fn settled(watch: &Watch) -> bool {
        matches!(watch.verdict(), Verdict::Settled(_))
    }

    #[test]
    fn a_service_that_is_restarted_every_fifty_minutes_gets_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folder(folder.path());
        let mut minute = 0;
        // Off for ten minutes each time.
        while minute < 24 * 60 {
            let (mut kept, watch) = Kept::take_up(&files, at(minute));
            let watch = Mutex::new(watch);
            for _ in 0..50 {
                minute += 1;
                kept.keep(&watch, at(minute)).unwrap();
                assert_eq!(settled(&locked(&watch)), minute >= 24 * 60, "minute {minute}");
            }
            minute += 10;
        }
        assert!(settled(&Kept::take_up(&files, at(minute)).1));
        // Away for more than a day it begins anew.
        assert_eq!(Kept::take_up(&files, at(minute + 25 * 60)).1.needed, Needed::Day);
        // What cannot be read is as if nothing had been seen.
        std::fs::write(files.clock(), "{").unwrap();
        assert_eq!(Kept::take_up(&files, at(minute)).1, Watch::begin(at(minute)));
    }

    #[test]
    fn a_confirmation_counts_once_and_for_the_clock_that_it_was_said_of() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folder(folder.path());
        let confirm = |at: &Reading| write(&files.clock_confirmed(), &KeptReading::from(at)).unwrap();
        let (mut kept, watch) = Kept::take_up(&files, at(0));
        let watch = Mutex::new(watch);
        let mut keep = |now| {
            kept.keep(&watch, now).unwrap();
            settled(&locked(&watch))
        };
        assert!(!keep(at(1)));
        // One that was said when the clock showed something else.
        confirm(&Reading { date: Timestamp::from_unix(0), ..at(1) });
        assert!(!keep(at(2)) && !files.clock_confirmed().exists());
        // One of another start of the machine.
        confirm(&Reading { boot: "a".to_owned(), ..at(2) });
        assert!(!keep(at(3)));
        confirm(&at(3));
        // A command that only looks takes it in, and leaves it to the server.
        assert!(settled(&Kept::take_up(&files, at(4)).1) && files.clock_confirmed().exists());
        assert!(keep(at(4)) && !files.clock_confirmed().exists());
        assert!(settled(&Kept::take_up(&files, at(5)).1), "it is kept");
        assert!(!keep(Reading { date: at(0).date, ..at(6) }), "a clock that is moved afterwards is another one");
    }

    #[test]
    fn a_confirmation_whose_file_cannot_be_removed_counts_once_too() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folder(folder.path());
        let (mut kept, watch) = Kept::take_up(&files, at(0));
        let watch = Mutex::new(watch);
        // A name that can be read and that nobody can remove.
        write(&files.clock_confirmed(), &KeptReading::from(&at(1))).unwrap();
        let open = std::fs::File::open(files.clock_confirmed()).unwrap();
        kept.confirmed = format!("/proc/self/fd/{}", open.as_raw_fd()).into();
        assert!(kept.keep(&watch, at(1)).is_err(), "it cannot be removed");
        assert!(settled(&locked(&watch)), "it is taken in");
        let ahead = Reading { date: at(600).date, ..at(2) };
        for now in [ahead, at(3)] {
            assert!(kept.keep(&watch, now).is_err());
        }
        let behind = Verdict::Behind { latest: at(600).date };
        assert_eq!(locked(&watch).verdict(), behind, "a later date was seen since");
        // Nor after a start.
        let (mut kept, watch) = Kept::take_up(&files, at(4));
        assert_eq!(watch.verdict(), behind);
        let watch = Mutex::new(watch);
        kept.keep(&watch, at(5)).unwrap();
        assert_eq!(locked(&watch).verdict(), behind);
        // Another one counts.
        write(&files.clock_confirmed(), &KeptReading::from(&at(5))).unwrap();
        kept.keep(&watch, at(6)).unwrap();
        assert!(settled(&locked(&watch)));
    }
}
