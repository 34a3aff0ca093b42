//! Each source gives its PIN, or says in one line what is wrong; none of them takes for ever, or all of the memory.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::*;
use crate::tier::pkcs11::PinSource as _;

/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn private(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

#[test]
fn a_file_is_the_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pin");
    let source = PinSource::File(path.clone());
    let refusal = || source.read().unwrap_err().message().to_owned();
    assert!(refusal().contains("cannot be read"));
    private(&path, b"1234\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal().contains("chmod 600"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(source.read().unwrap().expose(), "1234");
    private(&path, b"\n");
    assert!(refusal().contains("no PIN"));
    private(&path, b"\xff\xfe");
    assert!(refusal().contains("no text"));
    private(&path, &[b'1'; LIMIT + 1]);
    assert!(refusal().contains("more than 4096 bytes"));
    private(&path, &[b'1'; LIMIT]);
    assert_eq!(source.read().unwrap().expose().len(), LIMIT);
}

/// Nobody writes into the pipe: whoever opened it would wait for ever.
#[test]
fn a_pipe_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pin");
    let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&path).status().unwrap();
    assert!(made.success());
    let text = PinSource::File(path).read().unwrap_err().message().to_owned();
    assert!(text.contains("no regular file"), "{text}");
}

#[test]
fn a_file_that_changes_is_told_without_reading_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pin");
    let source = PinSource::File(path.clone());
    let mut versions = vec![source.version()];
    private(&path, b"1234");
    versions.push(source.version());
    assert_eq!(source.version(), versions[1], "nothing was changed");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    versions.push(source.version());
    private(&directory.path().join("new"), b"4321");
    std::fs::rename(directory.path().join("new"), &path).unwrap();
    versions.push(source.version());
    versions.dedup();
    assert_eq!(versions.len(), 4, "{versions:?}");
    assert_eq!(PinSource::Command(shell("true")).version(), None);
}

#[test]
fn a_command_prints_it() {
    let command = |arguments: &[&str]| PinSource::Command(arguments.iter().map(|text| (*text).to_owned()).collect());
    assert_eq!(command(&["printf", "1234"]).read().unwrap().expose(), "1234");
    for (arguments, said) in [
        (&["false"][..], "failed"),
        (&["no-such-program-anywhere"], "cannot be run"),
        (&["true"], "no PIN"),
        (&["printf", "\\377"], "no text"),
        (&["yes", "1"], "more than 4096 bytes"),
        (&["cat", "/dev/zero"], "more than 4096 bytes"),
    ] {
        let text = command(arguments).read().unwrap_err().message().to_owned();
        assert!(text.contains(said) && text.contains(&format!("pin_command {}", arguments[0])), "{text}");
    }
}

/// Whether a process runs, by the number that it wrote into a file: it does no more, at the latest when somebody reaped it.
fn ends(pid: &Path) {
    let begun = Instant::now();
    let number = loop {
        match std::fs::read_to_string(pid) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => assert!(begun.elapsed() < PATIENCE, "the command has not begun"),
        }
    };
    let stat = format!("/proc/{number}/stat");
    // Z: it has ended, and its parent has not asked for that.
    while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ")) {
        assert!(begun.elapsed() < PATIENCE, "process {number} goes on");
        std::thread::yield_now();
    }
}

#[test]
fn a_command_that_does_not_end_is_ended_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let (child, own) = (directory.path().join("child"), directory.path().join("own"));
    let deadline = Duration::from_millis(300);
    for script in ["wait", "exec >/dev/null; wait", "printf 1234; wait"] {
        let script = format!("sleep 600 & echo $! >{}; echo $$ >{}; {script}", child.display(), own.display());
        let begun = Instant::now();
        let text = command::output(&shell(&script), LIMIT, deadline).unwrap_err().message().to_owned();
        assert!(begun.elapsed() >= deadline);
        assert!(text.contains("pin_command sh did not end within 0.3 s"), "{text}");
        ends(&child);
        ends(&own);
    }
}

#[test]
fn what_a_command_leaves_behind_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let child = directory.path().join("child");
    let script = format!("sleep 600 & echo $! >{}; echo 1234", child.display());
    let begun = Instant::now();
    let output = command::output(&shell(&script), LIMIT, PATIENCE).unwrap();
    assert!(begun.elapsed() < PATIENCE / 2, "it holds the output open, which is nobody's matter");
    assert!(output.constant_time_eq(b"1234\n"));
    ends(&child);
}
