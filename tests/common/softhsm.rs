// SoftHSM tokens for tests and benchmarks: one directory a process, one token a test.
//
// SoftHSM reads its configuration and its tokens at C_Initialize, once a process, so all tokens are made before the first is used.
// Plain comments, no inner attributes: the example on the front page of the library includes this file.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The user PIN of every token.
pub const PIN: &str = "1234-user";

/// Tokens that a process has, unless it says otherwise: more than it has tests.
const TOKENS: usize = 96;

/// A process that needs fewer says so in the environment: making one takes a while.
fn count() -> usize {
    std::env::var("KEYSTEAD_TEST_TOKENS").ok().and_then(|count| count.parse().ok()).unwrap_or(TOKENS)
}

static DIRECTORY: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a folder for tokens");
    let configuration = directory.path().join("softhsm2.conf");
    let tokens = directory.path().join("tokens");
    std::fs::create_dir(&tokens).expect("a folder for tokens");
    std::fs::write(
        &configuration,
        format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display()),
    )
    .expect("the configuration is written");
    for number in 0..count() {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", &label(number), "--pin", PIN, "--so-pin", "12345678"])
            .env("SOFTHSM2_CONF", &configuration)
            .output()
            .expect("softhsm2-util runs: install softhsm2");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    // SAFETY: Rust code reads the environment under the standard library's lock; the C code that reads this variable, SoftHSM, is
    // loaded after it is set, by whoever got a token from here.
    #[allow(unsafe_code, clippy::disallowed_methods, reason = "SoftHSM is configured by the environment alone")]
    unsafe {
        std::env::set_var("SOFTHSM2_CONF", &configuration);
    }
    directory
});

fn label(number: usize) -> String {
    format!("test token {number}")
}

/// The label of a token that nobody else has.
pub fn token() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    LazyLock::force(&DIRECTORY);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    assert!(number < count(), "more tests than tokens: raise TOKENS");
    label(number)
}

/// The folder of all tokens, which SoftHSM reads while it runs.
#[allow(dead_code, reason = "for the tests of faults")]
fn storage() -> PathBuf {
    DIRECTORY.path().join("tokens")
}

/// The storage of all tokens of this process while it is away; it is put back when this is dropped.
#[allow(dead_code, reason = "for the tests of faults")]
#[must_use = "it is put back when this is dropped"]
pub struct Away(());

/// Takes the storage of all tokens of this process away, as a disk that is not mounted any more.
#[allow(dead_code, reason = "for the tests of faults")]
pub fn take_storage_away() -> Away {
    std::fs::rename(storage(), storage().with_extension("away")).expect("the storage is there");
    Away(())
}

impl Away {
    /// Puts it back.
    #[allow(dead_code, reason = "for the tests of faults")]
    pub fn put_back(self) {}
}

impl Drop for Away {
    fn drop(&mut self) {
        // What was written where it was is lost, as on a disk that is mounted over it.
        let _ = std::fs::remove_dir_all(storage());
        std::fs::rename(storage().with_extension("away"), storage()).expect("the storage can be put back");
    }
}

/// The module, where Debian and others put it, or where SOFTHSM2_MODULE says. A missing one fails the test.
pub fn module() -> PathBuf {
    if let Some(path) = std::env::var_os("SOFTHSM2_MODULE") {
        return path.into();
    }
    [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|path| path.exists())
    .expect("SoftHSM is installed, or SOFTHSM2_MODULE names its library")
}

/// The RFC 7512 URI of a token.
pub fn uri(label: &str) -> String {
    format!("pkcs11:token={}", label.replace(' ', "%20"))
}
