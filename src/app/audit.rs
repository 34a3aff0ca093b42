//! The audit logs of an installation: the server's and that of the commands, where the store remembers them to end, and
//! `keystead audit ...`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::files::Files;
use super::output::{Lines, Shown};
use super::watched_clock::WatchedClock;
use super::{AuditCommand, FAILURE, SUCCESS, assembly};
use crate::app::output::say;
use crate::audit::{self, Author, Commit, Decision, Log, Plane, Position, Query, Record, Settings, WhenFull};
use crate::base::supervisor::Told;
use crate::base::{Clock, Error, Kind, Result, Timestamp, date};
use crate::config::Config;
use crate::server;
use crate::store::{RootKey, Store};

/// How often the store is told where the server's log ends.
const REMEMBER: Duration = Duration::from_secs(10);

fn folder(config: &Config, author: Author) -> PathBuf {
    config.audit.directory.join(author.name())
}

async fn remembered(store: &Store, author: Author) -> Result<Position> {
    let known = store.audit_position(author.name()).await?;
    Ok(known.map_or_else(Position::default, |(sequence, hash)| Position { sequence, hash }))
}

/// Takes up a log.
pub(super) async fn open(config: &Config, store: &Store, author: Author, clock: Arc<dyn Clock>) -> Result<Arc<Log>> {
    let settings = Settings {
        folder: folder(config, author),
        author,
        key: RootKey::load(&config.root_key_file)?.audit_key(author.name())?,
        clock,
        commit: match author {
            Author::Server => config.audit.commit,
            Author::Commands => Commit::BeforeAnswer,
        },
        when_full: config.audit.when_full,
        retention: config.audit.retention,
        segment: config.audit.segment,
        remembered: remembered(store, author).await?,
    };
    // It waits for a lock and reads the end of the log.
    tokio::task::spawn_blocking(move || Log::open(settings)).await.map_err(Error::internal)?
}

/// Tells the store where a log ends.
pub(super) async fn remember(store: &Store, author: Author, log: &Log) {
    let Position { sequence, hash } = log.position();
    if let Err(error) = store.remember_audit_position(author.name(), (sequence, hash)).await {
        tracing::warn!(?error, "the store could not be told where the audit log ends");
    }
}

/// Tells it again and again, when records were added. It ends with the task.
pub(super) async fn remember_on_and_on(store: Store, log: Arc<Log>) -> Told {
    let mut told = 0;
    loop {
        let sequence = log.position().sequence;
        if sequence > told {
            remember(&store, Author::Server, &log).await;
            told = sequence;
        }
        tokio::time::sleep(REMEMBER).await;
    }
}

/// The record of a command that works on the store itself.
pub(super) struct Witness {
    log: Option<Arc<Log>>,
}

impl Witness {
    /// Before the command does anything: what cannot be recorded is not done, unless it is configured so.
    pub(super) async fn begin(config: &Config, store: &Store) -> Result<Self> {
        let clock = Arc::new(WatchedClock::open(&Files::of(config)));
        match (open(config, store, Author::Commands, clock).await, config.audit.when_full) {
            (Ok(log), _) => Ok(Self { log: Some(log) }),
            (Err(error), WhenFull::Refuse) => Err(error),
            (Err(error), WhenFull::Continue) => {
                tracing::warn!(?error, "the command is not recorded in the audit log");
                Ok(Self { log: None })
            }
        }
    }

    /// After it: what was done, on what, and how it ended.
    pub(super) async fn end<T>(self, store: &Store, done: Done<'_>, result: Result<T>) -> Result<T> {
        let Some(log) = self.log else { return result };
        let caller = format!("uid:{}", rustix::process::getuid().as_raw());
        let record = Record {
            caller: Some(&caller),
            instance: done.instance,
            resource: done.resource,
            decision: Some(Decision::Allow),
            reason: result.as_ref().err().map(Error::message),
            ..Record::new(
                log.now(),
                Plane::Command,
                done.operation,
                result.as_ref().map_or_else(|error| server::code(error.kind()), |_| "OK"),
            )
        };
        let written = log.write(&record).await;
        log.close().await;
        remember(store, Author::Commands, &log).await;
        match (&written, log.when_full()) {
            (Err(error), WhenFull::Refuse) if result.is_ok() => {
                Err(Error::new(Kind::Unavailable, format!("It is done, but not recorded: {}", error.message())))
            }
            (Ok(()) | Err(_), WhenFull::Refuse | WhenFull::Continue) => result,
        }
    }
}

/// What a command did.
pub(super) struct Done<'a> {
    pub(super) operation: &'static str,
    pub(super) instance: Option<&'a str>,
    pub(super) resource: Option<&'a str>,
}

/// `keystead audit ...`
pub(super) async fn run(config: &std::path::Path, command: AuditCommand) -> Result<i32> {
    let config = Config::load(config)?;
    let under = |named: Option<PathBuf>| named.unwrap_or_else(|| config.audit.directory.clone());
    match command {
        AuditCommand::Verify { dir } => verify(&config, under(dir)).await,
        AuditCommand::Search { dir, key, caller, since, until, operation, code } => {
            search(&under(dir), &Query { key, caller, since, until, operation, code })
        }
    }
}

async fn verify(config: &Config, directory: PathBuf) -> Result<i32> {
    let root = RootKey::load(&config.root_key_file)?;
    let store = assembly::store(config).await?;
    let mut positions = Vec::new();
    for author in Author::ALL {
        // Before the files are read: a log that is written goes on meanwhile.
        positions.push((author, remembered(&store, author).await?));
    }
    store.close().await;
    let mut status = SUCCESS;
    for (author, position) in positions {
        let (folder, key) = (directory.join(author.name()), root.audit_key(author.name())?);
        if !folder.is_dir() && position == Position::default() {
            say!("{}: nothing was recorded yet", folder.display());
            continue;
        }
        let at = folder.clone();
        let verdict = tokio::task::spawn_blocking(move || audit::verify(&at, &key, position)).await.map_err(Error::internal)??;
        let range = verdict.range.map_or_else(String::new, |(first, last)| format!(", {first} to {last}"));
        say!("{}: {} records{range}, in {} segments", folder.display(), verdict.records, verdict.segments);
        if verdict.retired_through > 0 {
            say!("  up to {} they were deleted, because their time had come", verdict.retired_through);
        }
        say!("  the store remembers record {}", position.sequence);
        for finding in &verdict.findings {
            say!("  {finding}");
        }
        if verdict.more > 0 {
            say!("  and {} findings more", verdict.more);
        }
        if verdict.is_whole() {
            say!("  whole: nothing was changed, taken away or moved");
        } else {
            status = FAILURE;
        }
    }
    Ok(status)
}

fn search(directory: &std::path::Path, query: &Query) -> Result<i32> {
    let folders = Author::ALL.map(|author| directory.join(author.name()));
    if !folders.iter().any(|folder| folder.is_dir()) {
        return Err(Error::new(Kind::Unavailable, format!("There is no audit log in {}.", directory.display())));
    }
    let (mut lines, mut shown) = (Lines::default(), Shown::Yes);
    let searched = audit::search(&folders, query, |line| {
        shown = lines.line(line);
        match shown {
            Shown::Yes => Ok(()),
            // The search ends; why nothing can be printed is told at the program's end.
            Shown::Unread => Err(Error::new(Kind::Unavailable, "What was found is not read any more.")),
        }
    });
    if shown == Shown::Yes {
        searched?;
        lines.finish();
    }
    Ok(SUCCESS)
}

/// A date of the command line: `2026-11-25T08:00:00Z`, or a day, of which the first second is meant.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    time_at(text, "00:00:00")
}

/// The same, and of a day the last second.
pub(super) fn until(text: &str) -> Result<Timestamp, String> {
    time_at(text, "23:59:59")
}

fn time_at(text: &str, time: &str) -> Result<Timestamp, String> {
    date::from_iso_or_day(text, time).ok_or_else(|| "a date in UTC, as 2026-11-25 or 2026-11-25T08:00:00Z".to_owned())
}

/// For `check-config`: whether the logs could be written.
pub(super) fn check(config: &Config) -> Result<()> {
    let directory = &config.audit.directory;
    audit::check_writable(directory)?;
    say!("the audit log {} can be written", directory.display());
    Ok(())
}

/// When `init` has made what there was not.
pub(super) async fn record_init(config: &Config, store: &Store, operation: &'static str) -> Result<()> {
    let data = Files::of(config).database().display().to_string();
    let done = Done { operation, instance: None, resource: Some(&data) };
    Witness::begin(config, store).await?.end(store, done, Ok(())).await
}
