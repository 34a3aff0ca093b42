//! A process for a test: the test program runs itself again with this one test.

use std::ops::Deref;
use std::process::{Command, ExitStatus};
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

/// This program once more, with one of its tests.
fn inner(test: &str, tokens: usize) -> Command {
    let mut inner = Command::new(std::env::current_exe().unwrap());
    inner.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    inner.env(INSIDE, "1").env("KEYSTEAD_TEST_TOKENS", tokens.to_string());
    inner
}

/// Runs `body` in a process of its own, with so many tokens. `test` is the path of the test in this program.
pub fn isolated(test: &str, tokens: usize, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let status = inner(test, tokens).status().unwrap();
    assert!(status.success(), "{test} failed in its process: {status}");
}

/// Runs `body` for each case in a process of its own, which must have ended within `limit`; some of them at a time.
pub fn isolated_each(test: &str, tokens: usize, cases: &[&str], limit: Duration, body: impl FnOnce(&str)) {
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
                    let ended = within(limit, inner(test, tokens).env(CASE, case));
                    if !ended.is_some_and(|status| status.success()) {
                        failed.lock().unwrap().push((*case, ended));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{test} failed in its processes, or they did not end: {failed:?}");
}

/// How the program ended; `None` if it had to be killed.
fn within(limit: Duration, program: &mut Command) -> Option<ExitStatus> {
    let mut child = program.spawn().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < limit {
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
