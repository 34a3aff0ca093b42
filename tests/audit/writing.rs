//! Writing: many records with one sync, segments, retention, crashes, disks that take nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keystead::audit::{Author, Commit, Finding, Log, Plane, Position, QUEUE, Query, Record, Settings, Urgency, WhenFull};
use keystead::base::{Clock, Error, FixedClock, Kind, Result, Timestamp};

use crate::{DAY, NOW, World, write};

/// How long something may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records_share_a_sync_and_each_is_there() {
    let world = World::new();
    let log = Log::open(world.settings()).unwrap();
    let writing: Vec<_> = (0..2000)
        .map(|number| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { write(&log, number).await })
        })
        .collect();
    for written in writing {
        written.await.unwrap().unwrap();
    }
    // Who waits is told before the room of the records is free again.
    until("nothing waits", || log.status().waiting == 0).await;
    let status = log.status();
    assert_eq!((status.records, status.failing), (2001, None));
    assert!(status.commits < 1000, "{} syncs", status.commits);
    // What was waited for is in the files, whatever happens to the process now.
    assert_eq!(world.of_operation("Encrypt").len(), 2000);
    let verdict = world.verify(log.position());
    assert!(verdict.is_whole() && verdict.segments > 1, "{verdict:?}");
    log.close().await;
    let verdict = world.verify(log.position());
    assert!(verdict.is_whole(), "{verdict:?}");
    assert_eq!((verdict.range, world.of_operation("AuditLogClosed").len()), (Some((1, 2002)), 1));
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_soon() {
    let world = World::new();
    let log = Log::open(Settings { commit: Commit::Buffered, ..world.settings() }).unwrap();
    let record = Record::new(log.now(), Plane::Instance, "Sign", "OK").to_json();
    drop(log.admit().unwrap().hand_over(&record, Urgency::Unawaited));
    until("it is written", || log.status().records == 2).await;
    assert_eq!(world.of_operation("Sign").len(), 1);
}

/// A clock that panics the next time it is asked, when it is told to.
struct Panicking(AtomicBool);

impl Clock for Panicking {
    fn now(&self) -> Timestamp {
        assert!(!self.0.swap(false, Ordering::SeqCst), "the clock was told to panic");
        NOW
    }

    fn latest(&self) -> Timestamp {
        NOW
    }

    fn settled(&self) -> Result<Timestamp> {
        Ok(NOW)
    }
}

#[tokio::test]
async fn a_writer_that_panics_is_started_again_and_loses_nothing() {
    let world = World::new();
    let clock = Arc::new(Panicking(AtomicBool::new(false)));
    let log = Log::open(Settings { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..world.settings() }).unwrap();
    let record = |id| Record { request_id: Some(id), ..Record::new(NOW, Plane::Instance, "Encrypt", "OK") };
    log.write(&record("1")).await.unwrap();
    clock.0.store(true, Ordering::SeqCst);
    // It waits until the writer is there again.
    log.write(&record("2")).await.unwrap();
    assert_eq!(log.supervisor().work()[0].restarts, 1);
    log.close().await;
    assert_eq!(world.of_operation("Encrypt").len(), 2);
    assert!(world.verify(log.position()).is_whole());
    assert_eq!(log.status().waiting, 0);
}

#[tokio::test]
async fn a_log_goes_on_where_it_ended_and_has_one_writer() {
    let world = World::new();
    let log = Log::open(world.settings()).unwrap();
    write(&log, 1).await.unwrap();
    let refused = Log::open(world.settings()).err().unwrap();
    assert!(refused.message().contains("Another process writes the audit log"), "{refused}");
    log.close().await;
    let end = log.position();
    drop(log);
    let log = Log::open(Settings { remembered: end, ..world.settings() }).unwrap();
    assert_eq!(log.position().sequence, end.sequence + 1);
    log.close().await;
    let verdict = world.verify(log.position());
    assert!(verdict.is_whole() && verdict.segments == 1, "{verdict:?}");
    // Who may read it: the owner alone.
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(world.folder()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn commands_write_one_after_the_other() {
    let world = Arc::new(World::new());
    let writing: Vec<_> = (0..8)
        .map(|number| {
            let world = Arc::clone(&world);
            tokio::task::spawn_blocking(move || {
                let log = Log::open(Settings { author: Author::Commands, ..world.settings() }).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    write(&log, number).await.unwrap();
                    log.close().await;
                    log.position()
                })
            })
        })
        .collect();
    let mut last = Position::default();
    for written in writing {
        let position = written.await.unwrap();
        last = if position.sequence > last.sequence { position } else { last };
    }
    let verdict = world.verify(last);
    assert!(verdict.is_whole() && verdict.records == 8, "{verdict:?}");
}

#[tokio::test]
async fn a_torn_end_is_put_aside_and_recorded() {
    for torn in [&b"{\"seq\":4,\"pre"[..], b"{\"seq\":4}\n\0\0\0", b"\n"] {
        let world = World::new();
        let log = Log::open(world.settings()).unwrap();
        write(&log, 1).await.unwrap();
        log.close().await;
        let end = log.position();
        drop(log);
        let segment = only_segment(&world);
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes.extend_from_slice(torn);
        std::fs::write(&segment, &bytes).unwrap();
        assert!(!world.verify(end).is_whole());
        let log = Log::open(Settings { remembered: end, ..world.settings() }).unwrap();
        log.close().await;
        let verdict = world.verify(log.position());
        assert!(verdict.is_whole(), "{verdict:?}");
        let told = world.of_operation("AuditLogMended");
        let reason = told[0]["reason"].as_str().unwrap();
        assert!(reason.starts_with(&format!("{} bytes", torn.len())), "{reason}");
        let aside = world.folder().join(reason.rsplit(' ').next().unwrap());
        assert_eq!(std::fs::read(aside).unwrap(), torn, "nothing of it is lost");
    }
}

fn only_segment(world: &World) -> std::path::PathBuf {
    let paths = std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    let segment = segments.next().unwrap();
    assert!(segments.next().is_none());
    segment
}

#[tokio::test]
async fn a_segment_without_a_whole_record_is_put_aside() {
    let world = World::new();
    let log = Log::open(world.settings()).unwrap();
    log.close().await;
    let end = log.position();
    drop(log);
    for (first, content) in [(3, "{\"se"), (4, "")] {
        std::fs::write(world.folder().join(format!("{first:020}-{}.jsonl", NOW.unix())), content).unwrap();
    }
    let log = Log::open(Settings { remembered: end, ..world.settings() }).unwrap();
    log.close().await;
    let verdict = world.verify(log.position());
    assert!(verdict.is_whole() && verdict.segments == 1, "{verdict:?}");
    assert_eq!(world.of_operation("AuditLogMended").len(), 1);
}

#[tokio::test]
async fn what_is_missing_at_the_start_stays_to_be_seen() {
    let world = World::new();
    let log = Log::open(world.settings()).unwrap();
    for number in 0..5 {
        write(&log, number).await.unwrap();
    }
    log.close().await;
    let end = log.position();
    drop(log);
    // Somebody cuts off the last three of seven.
    let segment = only_segment(&world);
    let bytes = std::fs::read(&segment).unwrap();
    let kept: Vec<u8> = bytes.split_inclusive(|byte| *byte == b'\n').take(4).flatten().copied().collect();
    std::fs::write(&segment, kept).unwrap();
    assert_eq!(world.verify(end).findings, [Finding::Cut { last: 4, remembered: 7 }]);
    let log = Log::open(Settings { remembered: end, ..world.settings() }).unwrap();
    log.close().await;
    assert_eq!(world.of_operation("AuditLogMissing").len(), 1);
    let findings = world.verify(log.position()).findings;
    assert!(matches!(&findings[..], [Finding::Missing(range, Some(_))] if *range == (5..=7)), "{findings:?}");
}

#[tokio::test]
async fn another_key_does_not_go_on_with_a_log() {
    let world = World::new();
    let log = Log::open(world.settings()).unwrap();
    log.close().await;
    drop(log);
    let other = keystead::base::SecretBytes::new(vec![8; 32]);
    let refused = Log::open(Settings { key: other, ..world.settings() }).err().unwrap();
    assert!(refused.message().contains("root key") && refused.message().contains("audit verify"), "{refused}");
    assert!(world.verify(Position::default()).is_whole(), "nothing was touched");
}

#[tokio::test]
async fn records_are_kept_for_so_long_and_no_longer() {
    let world = World::new();
    let retention = Duration::from_secs(10 * DAY.unsigned_abs());
    let log = Log::open(Settings { retention, ..world.settings() }).unwrap();
    for day in 0..30 {
        world.days_later(day);
        write(&log, day as usize).await.unwrap();
    }
    log.close().await;
    let verdict = world.verify(log.position());
    assert!(verdict.is_whole(), "{verdict:?}");
    let days: Vec<usize> =
        world.of_operation("Encrypt").iter().map(|record| record["request_id"].as_str().unwrap().parse().unwrap()).collect();
    // What is ten days old is there, and what shares a segment with it.
    assert_eq!(days, (18..30).collect::<Vec<_>>());
    assert_eq!(verdict.range.unwrap().0, verdict.retired_through + 1);
    // Whoever deletes more than that is found out.
    let mut segments: Vec<_> = std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    std::fs::remove_file(&segments[0]).unwrap();
    let findings = world.verify(log.position()).findings;
    assert!(
        matches!(&findings[..], [Finding::Missing(range, None)] if *range.start() == verdict.retired_through + 1),
        "{findings:?}"
    );
}

/// A clock that is not relied on until it is told so.
struct Watched(FixedClock, AtomicBool);

impl Clock for Watched {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn latest(&self) -> Timestamp {
        self.now()
    }

    fn settled(&self) -> Result<Timestamp> {
        if self.1.load(Ordering::SeqCst) { Ok(self.now()) } else { Err(Error::new(Kind::Unavailable, "It was moved.")) }
    }
}

#[tokio::test]
async fn nothing_is_deleted_while_the_date_is_not_relied_on() {
    let world = World::new();
    let clock = Arc::new(Watched(FixedClock::at(NOW), AtomicBool::new(false)));
    let retention = Duration::from_secs(10 * DAY.unsigned_abs());
    let log = Log::open(Settings { retention, clock: Arc::clone(&clock) as Arc<dyn Clock>, ..world.settings() }).unwrap();
    // Years behind, years ahead, for a record each; then right, then it is relied on.
    for (number, days) in [(1, 0), (2, -4000), (3, 1), (4, 4000), (5, 2)] {
        clock.0.set(Timestamp::from_unix(NOW.unix() + days * DAY));
        write(&log, number).await.unwrap();
    }
    clock.1.store(true, Ordering::SeqCst);
    write(&log, 6).await.unwrap();
    // The writer has tidied up when it writes again.
    write(&log, 7).await.unwrap();
    assert_eq!((world.of_operation("Encrypt").len(), world.of_operation("AuditLogRetired").len()), (7, 0));
    // What was written after a date is not older than that date, whatever the clock showed.
    clock.0.set(Timestamp::from_unix(NOW.unix() + 20 * DAY));
    write(&log, 8).await.unwrap();
    until("the first two are deleted", || world.of_operation("AuditLogRetired").len() == 1).await;
    until("they are gone", || world.of_operation("Encrypt").len() == 6).await;
    log.close().await;
    assert!(world.verify(log.position()).is_whole());
}

/// Nothing can be written in a folder that is not there, once a new segment is due.
fn take_the_folder_away(world: &World, day: i64) -> impl Fn() {
    let (folder, away) = (world.folder(), world.directory.path().join("away"));
    std::fs::rename(&folder, &away).unwrap();
    world.days_later(day);
    move || std::fs::rename(&away, &folder).unwrap()
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused() {
    let world = World::new();
    let log = Log::open(world.settings()).unwrap();
    let begun_before = log.admit().unwrap();
    let bring_back = take_the_folder_away(&world, 1);
    let failed = write(&log, 1).await.unwrap_err();
    assert_eq!(failed.kind(), Kind::Unavailable);
    until("it says why", || log.status().failing.is_some()).await;
    // Nothing begins, and what had begun is not answered.
    assert_eq!(log.admit().err().unwrap().kind(), Kind::Unavailable);
    let record = Record::new(log.now(), Plane::Instance, "Sign", "OK").to_json();
    assert!(begun_before.hand_over(&record, Urgency::Awaited).written().await.is_err());
    assert!(log.status().failures > 0);
    bring_back();
    until("it goes on", || log.admit().is_ok()).await;
    write(&log, 2).await.unwrap();
    log.close().await;
    let verdict = world.verify(log.position());
    assert!(verdict.is_whole(), "{verdict:?}");
    // What happened all the same is recorded late, and that something was refused.
    assert_eq!((world.of_operation("Sign").len(), world.of_operation("Encrypt").len()), (1, 2));
    let told = world.of_operation("AuditLogUnrecorded");
    assert!(told[0]["reason"].as_str().unwrap().contains(" requests were refused"), "{told:?}");
}

#[tokio::test]
async fn or_it_is_served_and_recorded_late() {
    let world = World::new();
    let log = Log::open(Settings { when_full: WhenFull::Continue, commit: Commit::Buffered, ..world.settings() }).unwrap();
    let bring_back = take_the_folder_away(&world, 1);
    let record = Record::new(log.now(), Plane::Instance, "Sign", "OK").to_json();
    for _ in 0..QUEUE + 7 {
        drop(log.admit().unwrap().hand_over(&record, Urgency::Unawaited));
    }
    assert_eq!((log.status().unrecorded, log.status().waiting), (7, QUEUE));
    bring_back();
    until("it goes on", || log.status().waiting == 0).await;
    assert_eq!(log.status().failing, None);
    write(&log, 1).await.unwrap();
    log.close().await;
    assert!(world.verify(log.position()).is_whole());
    assert_eq!(world.of_operation("Sign").len(), QUEUE);
    let told = world.of_operation("AuditLogUnrecorded");
    assert!(told[0]["reason"].as_str().unwrap().contains(": 7 requests have no record, 0 "), "{told:?}");
}

#[tokio::test]
async fn records_are_found_by_what_they_say() {
    let world = World::new();
    let log = Log::open(world.settings()).unwrap();
    for (day, caller, key) in [(0, "KAAP.a", "key-a"), (1, "KAAP.b", "key-a"), (2, "KAAP.a", "key-b")] {
        world.days_later(day);
        let record = Record::new(log.now(), Plane::Instance, "Decrypt", "OK");
        let record = Record { caller: Some(caller), key: Some(key), resource: Some("alias/x"), ..record };
        log.write(&record).await.unwrap();
    }
    let claimed = Record { claimed_caller: Some("KAAP.b"), ..Record::new(log.now(), Plane::Instance, "Sign", "Unauthorized") };
    log.write(&claimed).await.unwrap();
    log.close().await;
    let some = |text: &str| Some(text.to_owned());
    let at = |days: i64| Some(Timestamp::from_unix(NOW.unix() + days * DAY));
    let all = Query::default();
    for (query, count) in [
        (Query { key: some("key-a"), ..all.clone() }, 2),
        (Query { key: some("alias/x"), ..all.clone() }, 3),
        (Query { key: some("key-"), ..all.clone() }, 0),
        (Query { caller: some("KAAP.b"), ..all.clone() }, 2),
        (Query { caller: some("KAAP.a"), key: some("key-a"), ..all.clone() }, 1),
        (Query { code: some("Unauthorized"), ..all.clone() }, 1),
        (Query { operation: some("Decrypt"), since: at(1), ..all.clone() }, 2),
        (Query { operation: some("Decrypt"), until: at(1), ..all.clone() }, 2),
        (Query { operation: some("Decrypt"), since: at(1), until: at(1), ..all.clone() }, 1),
        (Query { since: at(3), ..all.clone() }, 0),
    ] {
        assert_eq!(world.found(&query).len(), count, "{query:?}");
    }
}
