//! Every command of the control socket is given and seen to work, with SoftHSM behind the module.
//!
//! A module's state belongs to the process, so each test runs in a process of its own: this program again, with one test.

#![allow(unsafe_code, reason = "the tests speak C to the module, as programs do")]

#[path = "../../../common/fault.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod fault;
mod raw;

mod latency;
mod lies;
mod life;
mod load;
mod manners;
mod objects;
mod protocol;
mod rules;
mod sessions;
mod tokens;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TRUE};
use fault::Fault;
use raw::Raw;

/// The user PIN of both tokens.
const PIN: &str = "1234-user";

/// Says that this process is for one test.
const MARK: &str = "KEYSTEAD_FAULT_TEST";

/// What a test has: the module, not yet initialised, and its control socket.
struct World {
    fault: &'static Fault,
    raw: Raw,
}

/// A token that is logged in to.
struct Token {
    slot: CK_SLOT_ID,
    /// The session that keeps the login.
    session: CK_SESSION_HANDLE,
    /// A key on the token.
    key: CK_OBJECT_HANDLE,
}

impl World {
    fn here() -> Self {
        let fault = Fault::here();
        Self { fault, raw: Raw::load(&fault::module()) }
    }

    /// Initialised, with the token "one" ready.
    fn ready() -> (Self, Token) {
        let world = Self::here();
        world.raw.initialise().unwrap();
        let token = world.log_in("one");
        (world, token)
    }

    fn log_in(&self, label: &str) -> Token {
        let slot = self.raw.labelled(label);
        let session = self.raw.open(slot).unwrap();
        self.raw.login(session).unwrap();
        let key = self.raw.generate(session, 1, CK_TRUE).unwrap();
        Token { slot, session, key }
    }
}

/// Runs a test in a process of its own.
#[track_caller]
fn apart(test: impl Fn()) {
    if let Some(output) = end_of(test) {
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert!(output.status.success() && said[0].contains("1 passed"), "{}\n{}", output.status, said.concat());
    }
}

/// Runs a test in a process of its own and gives its end; none in that process itself.
fn end_of<T: Fn()>(test: T) -> Option<Output> {
    if std::env::var_os(MARK).is_some() {
        test();
        None
    } else {
        Some(run_apart(&test))
    }
}

fn run_apart<T: Fn()>(_test: &T) -> Output {
    // The name of a closure is that of its function, which is the test.
    let name = std::any::type_name::<T>().trim_end_matches("::{{closure}}");
    let (_, name) = name.split_once("::").expect("a path");
    let folder = tempfile::tempdir().unwrap();
    copy(TOKENS.path(), folder.path());
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .env("SOFTHSM2_CONF", configuration(folder.path()))
        .output()
        .unwrap()
}

/// The tokens "one" and "two", from which each test gets a copy.
static TOKENS: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let configuration = configuration(folder.path());
    for label in ["one", "two"] {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345678"])
            .env("SOFTHSM2_CONF", &configuration)
            .output()
            .expect("softhsm2-util runs: install softhsm2");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    folder
});

fn configuration(folder: &Path) -> std::path::PathBuf {
    let tokens = folder.join("tokens");
    std::fs::create_dir_all(&tokens).unwrap();
    let path = folder.join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
    std::fs::write(&path, text).unwrap();
    path
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
