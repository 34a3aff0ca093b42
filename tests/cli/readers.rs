//! Whoever reads what the program writes: goes away, stops reading, has no room. Neither the server nor a command minds.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::installation::{Installation, text};

pub const PATIENCE: Duration = Duration::from_secs(60);
/// What is in a pipe that takes nothing any more, but for a last page: Linux gives it 64 KiB.
const FULL_PIPE: u64 = 60 * 1024;

/// A page of the telemetry.
pub fn page(installation: &Installation, path: &str) -> (String, String) {
    let ready = installation.ready();
    let mut stream = TcpStream::connect(ready["telemetry"]["endpoint"].as_str().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split_whitespace().nth(1).unwrap().to_owned(), body.to_owned())
}

fn dropped_lines(installation: &Installation) -> u64 {
    let (_, metrics) = page(installation, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("keystead_log_lines_dropped_total "));
    line.unwrap_or_else(|| panic!("it is not in {metrics}")).parse().unwrap()
}

/// Requests are answered, all of them, and nothing has panicked.
fn serves(installation: &Installation) {
    for _ in 0..5 {
        installation.api(&["CreateKey", "--DKMSInstanceId", installation.software.as_str()]).unwrap();
    }
    let (status, body) = page(installation, "/readyz");
    assert!(status == "200" && !body.contains("task"), "{body}");
}

#[test]
fn a_log_whose_reader_stops_holds_up_no_request() {
    let installation = Installation::new();
    let (server, stderr) = installation.serve_unread();
    let begun = Instant::now();
    while rustix::io::ioctl_fionread(&stderr).unwrap() < FULL_PIPE {
        assert!(begun.elapsed() < PATIENCE, "the log does not fill the pipe");
        installation.api(&["ListKeys"]).unwrap();
    }
    serves(&installation);
    assert_eq!(page(&installation, "/livez").0, "200");
    // Nor does the end wait for the reader.
    assert!(server.end().0);
    drop(stderr);
}

#[test]
fn a_log_whose_reader_goes_away_costs_its_lines_and_nothing_else() {
    let installation = Installation::new();
    let (server, stderr) = installation.serve_unread();
    drop(stderr);
    serves(&installation);
    assert!(dropped_lines(&installation) > 0);
    assert!(server.end().0);
}

#[test]
fn a_log_on_a_full_disk_costs_its_lines_and_nothing_else() {
    let installation = Installation::new();
    std::os::unix::fs::symlink("/dev/full", installation.path("log")).unwrap();
    let server = installation.serve_logging_to("log");
    serves(&installation);
    assert!(dropped_lines(&installation) > 0);
    assert!(server.end().0);
}

#[test]
fn a_terminal_that_is_closed_ends_no_server() {
    let installation = Installation::new();
    let server = installation.serve();
    server.signal(Signal::HUP);
    server.signal(Signal::HUP);
    serves(&installation);
    let (ended_well, log) = server.end();
    assert!(ended_well && log.contains("ended"), "{log}");
}

/// Commands of which each prints something, and none changes anything.
const COMMANDS: [&[&str]; 12] = [
    &["--help"],
    &["init"],
    &["check-config"],
    &["client-key", "list"],
    &["operator", "list"],
    &["role", "list"],
    &["hsm", "list"],
    &["hsm", "probe"],
    &["hsm", "status"],
    &["audit", "verify"],
    &["audit", "search"],
    &["api", "ListKeys"],
];

fn run_to(installation: &Installation, arguments: &[&str], stdout: impl Into<Stdio>) -> Output {
    let mut command = installation.command(&[&["--log", "off"], arguments].concat());
    command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let installation = Installation::new();
    let server = installation.serve();
    for arguments in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run_to(&installation, arguments, writer);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", text(&output));
    }
    assert!(server.end().0);
}

#[test]
fn output_that_has_no_room_is_a_failure_that_is_told() {
    let installation = Installation::new();
    let server = installation.serve();
    for arguments in COMMANDS {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = run_to(&installation, arguments, full);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        // The parser of the command line is not ours: it does not tell of it.
        if arguments != ["--help"] {
            assert!(
                told.lines().count() == 1 && told.starts_with("keystead: ") && told.contains("printed"),
                "{arguments:?}: {told}"
            );
        }
    }
    assert!(server.end().0);
}

#[test]
fn what_a_command_does_it_does_though_nobody_reads() {
    let installation = Installation::bare();
    let full: File = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(run_to(&installation, &["init"], full).status.code(), Some(1));
    // All of it was made, also what comes after the first line.
    let again = installation.run(&["init"]);
    assert!(again.status.success() && !text(&again).contains("(new"), "{}", text(&again));
    assert!(installation.path("data/access_key.json").exists());
}
