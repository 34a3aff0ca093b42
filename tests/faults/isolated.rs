//! A process for a test: the test program runs itself again with this one test.

use std::io::{Read, Write};
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use keystead::tier::pkcs11::{Relief, Reserve};
use tokio::runtime::Runtime;

/// What the inner process is known by.
const INSIDE: &str = "KEYSTEAD_TEST_ISOLATED";

/// Of which of several cases the inner process is.
const CASE: &str = "KEYSTEAD_TEST_CASE";

/// How many cases run at a time: they wait for deadlines most of the time.
const AT_A_TIME: usize = 4;

/// When a case is ended that does not end by itself. No machine is so slow that a case takes as long.
const ENDLESS: Duration = Duration::from_secs(600);

/// How much of what a process wrote last is said again when it failed, in bytes.
const SAID: usize = 2048;

/// This program once more, with one of its tests. It says why it panics and not from where, so that the reason is in what is kept.
fn inner(test: &str, tokens: usize) -> Command {
    let mut inner = Command::new(std::env::current_exe().unwrap());
    inner.args(["--exact", test, "--nocapture", "--test-threads", "1"]).stderr(Stdio::piped());
    inner.env(INSIDE, "1").env("KEYSTEAD_TEST_TOKENS", tokens.to_string()).env("RUST_BACKTRACE", "0");
    inner
}

/// How a process ended.
struct End {
    /// `None` if it had to be killed.
    status: Option<ExitStatus>,
    /// What it wrote last to its standard error output, at most [`SAID`] bytes.
    said: String,
}

impl End {
    fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    fn told(&self) -> String {
        let how = self.status.map_or_else(|| format!("did not end within {ENDLESS:?}"), |status| status.to_string());
        format!("{how}; it said last:\n{}", self.said)
    }
}

/// Runs `body` in a process of its own, with so many tokens. `test` is the path of the test in this program.
pub fn isolated(test: &str, tokens: usize, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let end = run(&mut inner(test, tokens), |child| child.wait().ok());
    assert!(end.is_success(), "{test} failed in its process: {}", end.told());
}

/// Runs `body` for each case in a process of its own; some of them at a time. What a process said that failed stands at the end of what
/// this program says.
pub fn isolated_each(test: &str, tokens: usize, cases: &[&str], body: impl FnOnce(&str)) {
    if std::env::var_os(INSIDE).is_some() {
        return body(&std::env::var(CASE).unwrap());
    }
    let only = std::env::var(CASE).unwrap_or_default();
    let left = Mutex::new(cases.iter().filter(|case| case.contains(&only)));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = { left.lock().unwrap().next() } {
                    let end = run(inner(test, tokens).env(CASE, case), within_reason);
                    if !end.is_success() {
                        failed.lock().unwrap().push(format!("{case}: {}", end.told()));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of the processes of {test} failed\n{}", failed.len(), failed.join("\n"));
}

/// Runs a process until `wait` says how it ended. What it says on its standard error output is said here, too, as it comes.
fn run(program: &mut Command, wait: impl FnOnce(&mut Child) -> Option<ExitStatus>) -> End {
    let mut child = program.spawn().unwrap();
    let mut output = child.stderr.take().expect("it is a pipe");
    std::thread::scope(|scope| {
        let listener = scope.spawn(move || {
            let (mut piece, mut last) = ([0; 4096], Vec::new());
            while let Ok(length @ 1..) = output.read(&mut piece) {
                // That nobody hears it is no reason to fail.
                let _ = std::io::stderr().write_all(&piece[..length]);
                last.extend_from_slice(&piece[..length]);
                last.drain(..last.len().saturating_sub(SAID));
            }
            String::from_utf8_lossy(&last).into_owned()
        });
        let status = wait(&mut child);
        End { status, said: listener.join().unwrap() }
    })
}

/// How a process ended; it is killed when it is [`ENDLESS`].
fn within_reason(child: &mut Child) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < ENDLESS {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// A runtime as the service has it: two workers more than cores, which are kept back.
pub struct Workers {
    _reserve: Reserve,
    runtime: Runtime,
}

/// Of the runtime that was made last: a process has one at a time.
static RELIEF: Mutex<Option<Relief>> = Mutex::new(None);

impl Deref for Workers {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.runtime
    }
}

pub fn runtime() -> Workers {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores + 2).enable_all().build().unwrap();
    let reserve = Reserve::of(runtime.handle());
    *RELIEF.lock().unwrap() = Some(reserve.relief());
    Workers { _reserve: reserve, runtime }
}

/// What lets the workers go that are kept back.
pub fn relief() -> Option<Relief> {
    RELIEF.lock().unwrap().clone()
}
