//! What is kept and must always be read. The installations of earlier releases; and the fuzz targets without a fuzzer: their seeds, and
//! with them all that was ever found, and what lies close to them. scripts/fuzz goes further.

#[path = "../common/client.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod client;
#[path = "../fuzz/src/lib.rs"]
mod fuzz;
#[path = "../common/installation.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod installation;
#[path = "../common/softhsm.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod softhsm;

mod installations;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target, Verdict};

/// Places of a seed where it is cut, and changed.
const PLACES: usize = 8;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// The seeds of a target with their names.
fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    std::fs::read_dir(folder().join("seeds").join(target.name)).unwrap().map(read).collect()
}

/// Runs every target on a thread of its own; whatever panics is named.
fn for_each_target(check: impl Fn(&Target) + Sync) {
    std::thread::scope(|scope| {
        let running: Vec<_> = TARGETS.iter().map(|target| (target.name, scope.spawn(|| check(target)))).collect();
        let failed: Vec<_> = running.into_iter().filter_map(|(name, thread)| thread.join().err().map(|_| name)).collect();
        assert!(failed.is_empty(), "{failed:?}");
    });
}

#[test]
fn every_seed_is_read_rightly_and_each_target_takes_some_and_refuses_some() {
    for_each_target(|target| {
        let verdicts: Vec<_> = seeds(target)
            .into_iter()
            .map(|(name, seed)| {
                println!("{} {name}", target.name);
                (target.check)(&seed)
            })
            .collect();
        for verdict in [Verdict::Taken, Verdict::Refused] {
            assert!(verdicts.contains(&verdict), "no seed of {} is {verdict:?}", target.name);
        }
    });
}

#[test]
fn what_lies_close_to_a_seed_is_read_rightly() {
    for_each_target(|target| {
        for (name, seed) in seeds(target) {
            println!("{} {name}", target.name);
            for place in (0..seed.len()).step_by(seed.len().div_ceil(PLACES).max(1)) {
                (target.check)(&seed[..place]);
                for byte in [seed[place] ^ 1, seed[place] ^ 0x80, b'+', b'\0'] {
                    let mut changed = seed.clone();
                    changed[place] = byte;
                    (target.check)(&changed);
                }
            }
        }
    });
}

/// A target that is added is run by the script, too, and has seeds.
#[test]
fn targets_programs_and_seeds_are_the_same() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let listed = |below: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder().join(below)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("seeds"), names);
    assert_eq!(listed("targets"), names);
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for name in &names {
        assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"\npath = \"targets/{name}.rs\"\n")), "{name}");
        let program = std::fs::read_to_string(folder().join(format!("targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("keystead_fuzz::{name}::check(input)")), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), names.len());
}
