//! The file that is written is renamed, removed or cut by another program: it is noticed, recorded, and nothing that was acknowledged
//! afterwards is lost.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keystead::audit::{Finding, Log, Settings, WhenFull};
use keystead::base::Kind;

use crate::writing::until;
use crate::{World, write};

fn segments(world: &World) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect();
    segments.sort();
    segments
}

fn rename(segment: &Path) {
    std::fs::rename(segment, segment.with_extension("jsonl.1")).unwrap();
}

fn replace(segment: &Path) {
    rename(segment);
    std::fs::write(segment, "another's").unwrap();
}

fn remove(segment: &Path) {
    std::fs::remove_file(segment).unwrap();
}

fn cut(segment: &Path) {
    OpenOptions::new().write(true).open(segment).unwrap().set_len(0).unwrap();
}

#[tokio::test]
async fn it_is_noticed_without_a_request_and_recorded_in_a_new_segment() {
    for (how, displace) in [("renamed", rename as fn(&Path)), ("renamed", replace), ("removed", remove), ("cut", cut)] {
        let world = World::new();
        let log = Log::open(world.settings()).unwrap();
        write(&log, 1).await.unwrap();
        displace(&segments(&world)[0]);
        until("it is noticed", || log.position().sequence == 3).await;
        write(&log, 2).await.unwrap();
        let told = world.of_operation("AuditLogDisplaced");
        let reason = told[0]["reason"].as_str().unwrap();
        assert!(told.len() == 1 && reason.contains(how) && reason.contains("the records 1 to 2"), "{how}: {reason}");
        assert_eq!(world.of_operation("Encrypt").last().unwrap()["request_id"], "2");
        log.close().await;
        let findings = world.verify(log.position()).findings;
        let missing = |finding: &Finding| matches!(finding, Finding::Missing(range, _) if *range == (1..=2));
        assert!(findings.iter().any(missing), "{how}: {findings:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_put_back_makes_the_log_whole() {
    let world = World::new();
    let log = Log::open(world.settings()).unwrap();
    write(&log, 1).await.unwrap();
    let segment = segments(&world).remove(0);
    rename(&segment);
    write(&log, 2).await.unwrap();
    std::fs::rename(segment.with_extension("jsonl.1"), &segment).unwrap();
    log.close().await;
    let verdict = world.verify(log.position());
    assert!(verdict.is_whole() && verdict.segments == 2, "{verdict:?}");
    assert_eq!(world.of_operation("Encrypt").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_afterwards_is_in_the_log() {
    let world = Arc::new(World::new());
    let log = Log::open(world.settings()).unwrap();
    for round in 0..20 {
        // Some are on their way while the file is removed.
        let writing: Vec<_> = (0..20)
            .map(|number| {
                let log = Arc::clone(&log);
                tokio::spawn(async move { write(&log, number).await })
            })
            .collect();
        remove(segments(&world).last().unwrap());
        let after = 1000 + round;
        write(&log, after).await.unwrap();
        for written in writing {
            written.await.unwrap().unwrap();
        }
        let (found, after) = (world.of_operation("Encrypt"), after.to_string());
        assert!(found.iter().any(|record| record["request_id"] == after.as_str()), "round {round}");
    }
}

#[tokio::test]
async fn a_folder_that_is_away_is_a_refusal_until_it_is_back() {
    for when_full in [WhenFull::Refuse, WhenFull::Continue] {
        let world = World::new();
        let log = Log::open(Settings { when_full, ..world.settings() }).unwrap();
        write(&log, 1).await.unwrap();
        let away = world.directory.path().join("away");
        std::fs::rename(world.folder(), &away).unwrap();
        until("it says why", || log.status().failing.is_some()).await;
        match when_full {
            WhenFull::Refuse => assert_eq!(log.admit().err().unwrap().kind(), Kind::Unavailable),
            WhenFull::Continue => drop(log.admit().unwrap()),
        }
        std::fs::rename(&away, world.folder()).unwrap();
        until("it goes on", || log.status().failing.is_none()).await;
        write(&log, 2).await.unwrap();
        log.close().await;
        let verdict = world.verify(log.position());
        assert!(verdict.is_whole() && verdict.segments == 1, "{verdict:?}");
        assert_eq!(world.of_operation("AuditLogDisplaced").len(), 0);
    }
}
