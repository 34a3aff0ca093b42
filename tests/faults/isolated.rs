//! A process for a test: the test program runs itself again with this one test.

use std::ops::Deref;
use std::process::Command;
use std::sync::Mutex;

use keystead::tier::pkcs11::{Relief, Reserve};
use tokio::runtime::Runtime;

/// What the inner process is known by.
const INSIDE: &str = "KEYSTEAD_TEST_ISOLATED";

/// Runs `body` in a process of its own, with so many tokens. `test` is the path of the test in this program.
pub fn isolated(test: &str, tokens: usize, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let program = std::env::current_exe().unwrap();
    let mut inner = Command::new(program);
    inner.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    let status = inner.env(INSIDE, "1").env("KEYSTEAD_TEST_TOKENS", tokens.to_string()).status().unwrap();
    assert!(status.success(), "{test} failed in its process: {status}");
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
