//! Whatever is done to the files by somebody without the key is found, and named.

use std::path::Path;
use std::sync::OnceLock;

use keystead::audit::{Finding, Log, Position, Settings, Verdict, verify};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{World, key, write};

/// The lines of each segment, in order, and what the store remembers.
#[derive(Clone)]
struct Sample {
    segments: Vec<(String, Vec<Vec<u8>>)>,
    end: Position,
}

/// A closed log of fourteen records in some segments.
fn sample() -> Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| make_sample(0)).clone()
}

/// Requests are numbered from `first` on.
fn make_sample(first: usize) -> Sample {
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let end = runtime.block_on(async {
        let log = Log::open(Settings { segment: 700, ..world.settings() }).unwrap();
        for number in 0..12 {
            write(&log, first + number).await.unwrap();
        }
        log.close().await;
        log.position()
    });
    let mut names: Vec<_> = std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let mut segments = Vec::new();
    for name in names.into_iter().map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".jsonl")) {
        let bytes = std::fs::read(world.folder().join(&name)).unwrap();
        segments.push((name, bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()));
    }
    let sample = Sample { segments, end };
    assert!(sample.segments.len() >= 3 && sample.lines() == 14, "{} segments", sample.segments.len());
    assert!(sample.verdict().is_whole(), "{:?}", sample.verdict());
    sample
}

impl Sample {
    fn lines(&self) -> usize {
        self.segments.iter().map(|(_, lines)| lines.len()).sum()
    }

    fn line(&mut self, number: usize) -> &mut Vec<u8> {
        self.segments.iter_mut().flat_map(|(_, lines)| lines).nth(number).unwrap()
    }

    fn write_to(&self, folder: &Path) {
        for (name, lines) in &self.segments {
            std::fs::write(folder.join(name), lines.concat()).unwrap();
        }
    }

    fn verdict(&self) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        self.write_to(folder.path());
        verify(folder.path(), &key(), self.end).unwrap()
    }

    /// What is found, as it is told.
    fn told(&self) -> Vec<String> {
        self.verdict().findings.iter().map(ToString::to_string).collect()
    }
}

proptest! {
    #[test]
    fn a_changed_byte_is_found(line in 0_usize..14, at: Index, change in 1_u8..) {
        let mut sample = sample();
        let bytes = sample.line(line);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(!sample.verdict().is_whole());
    }

    #[test]
    fn a_byte_more_or_less_is_found(line in 0_usize..14, at: Index, added: Option<u8>) {
        let mut sample = sample();
        let before = sample.clone();
        let bytes = sample.line(line);
        let at = at.index(bytes.len());
        match added {
            Some(byte) => bytes.insert(at, byte),
            None => drop(bytes.remove(at)),
        }
        prop_assert!(!sample.verdict().is_whole(), "{:?}", before.segments);
    }

    #[test]
    fn a_record_that_is_taken_away_is_named(line in 0_usize..14) {
        let mut sample = sample();
        sample.line(line).clear();
        let told = sample.told().join("; ");
        let record = line + 1;
        if line == 13 {
            prop_assert_eq!(told, "cut: the log ends at record 13, and the store remembers record 14");
        } else {
            prop_assert!(told.contains(&format!("missing: record {record}")) && !told.contains(';'), "{}", told);
        }
    }

    #[test]
    fn records_that_change_places_are_named(one in 0_usize..14, other in 0_usize..14) {
        prop_assume!(one < other);
        let mut sample = sample();
        let lines = [sample.line(one).clone(), sample.line(other).clone()];
        sample.line(one).clone_from(&lines[1]);
        sample.line(other).clone_from(&lines[0]);
        let told = sample.told().join("; ");
        prop_assert!(told.contains(&format!("reordered: record {} ", one + 1)), "{}", told);
    }

    #[test]
    fn a_record_that_is_there_twice_is_named(line in 0_usize..14, at in 0_usize..14) {
        let mut sample = sample();
        let copy = sample.line(line).clone();
        sample.line(at).extend(copy);
        let told = sample.told().join("; ");
        // Before its place it is the later one that is too much.
        prop_assert!(told.contains(&format!("record {} ", line + 1)), "{}", told);
    }

    #[test]
    fn a_segment_that_is_taken_away_is_found(at: Index) {
        let mut sample = sample();
        let at = at.index(sample.segments.len());
        sample.segments.remove(at);
        prop_assert!(!sample.verdict().is_whole());
    }

    #[test]
    fn a_cut_is_found_wherever_it_is(line in 0_usize..14, at: Index) {
        let mut sample = sample();
        let kept = at.index(sample.line(line).len());
        sample.line(line).truncate(kept);
        for later in line + 1..14 {
            sample.line(later).clear();
        }
        sample.segments.retain(|(_, lines)| !lines.concat().is_empty());
        let findings = sample.verdict().findings;
        let cut = matches!(findings.last(), Some(Finding::Cut { remembered: 14, .. }));
        prop_assert!(cut, "{:?}", findings);
    }
}

#[test]
fn a_changed_record_is_named_with_its_place() {
    let mut sample = sample();
    let line = sample.line(4);
    let at = line.windows(7).position(|bytes| bytes == b"Encrypt").unwrap();
    line[at..at + 7].copy_from_slice(b"Decrypt");
    let told = sample.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("changed: ") && told[0].contains("where record 5 belongs"), "{told:?}");
}

#[test]
fn records_of_another_log_under_the_same_key_do_not_fit_in() {
    let mut sample = sample();
    let mut other = make_sample(100);
    for number in 5..14 {
        sample.line(number).clone_from(other.line(number));
    }
    let told = sample.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("record 6") && told[0].contains("was not written after the record"), "{told:?}");
    assert!(told[1].contains("record 14") && told[1].contains("not the one that the store remembers"), "{told:?}");
}

#[test]
fn a_log_under_another_key_is_none() {
    let sample = sample();
    let folder = tempfile::tempdir().unwrap();
    sample.write_to(folder.path());
    let verdict = verify(folder.path(), &keystead::base::SecretBytes::new(vec![8; 32]), sample.end).unwrap();
    assert_eq!((verdict.records, verdict.findings.len()), (0, 15));
}
