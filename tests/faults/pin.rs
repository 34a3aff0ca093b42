//! A token locks itself after a few wrong PINs: a wrong one costs one C_Login, whoever calls and however often the service starts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keystead::base::{Error, Kind, Pin, Result, SecretBytes};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::tier::Tier;
use keystead::tier::pkcs11::{
    FlagsPolicy, LoginNotes, LoginNotesFile, LoginNotesInMemory, Note, PinSource, Pkcs11Tier, Settings, TokenName, Why,
};
use keystead::tier::status::SlotState;

use crate::calls::{random, randoms, sign, until};
use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, settings};

/// How soon a person sees that what was mended is mended.
const NOTICED: Duration = Duration::from_secs(3);
/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A source that a person changes, and that tells when it was changed.
pub struct Changing {
    pin: Mutex<Option<&'static str>>,
    version: AtomicU64,
    asked: AtomicU64,
}

impl Changing {
    pub fn new(pin: Option<&'static str>) -> Arc<Self> {
        Arc::new(Self { pin: Mutex::new(pin), version: AtomicU64::new(0), asked: AtomicU64::new(0) })
    }

    pub fn becomes(&self, pin: &'static str) {
        *self.pin.lock().unwrap() = Some(pin);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// How often it was read.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl PinSource for Changing {
    fn read(&self) -> Result<Pin> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match *self.pin.lock().unwrap() {
            Some(pin) => Ok(Pin::new(pin.to_owned())),
            None => Err(Error::new(Kind::Unavailable, "There is no PIN.")),
        }
    }

    fn version(&self) -> Option<u64> {
        Some(self.version.load(Ordering::SeqCst))
    }
}

/// A slot that is down for this reason, while many call and it is tried again and again: all are refused at once.
pub async fn stays_down(tier: &Arc<Pkcs11Tier>, why: Why) {
    let state = SlotState::Down(why);
    until(&format!("it is {state}"), PATIENCE, async || tier.status().state == state).await;
    let tried = tier.status().failed_recoveries;
    // Down is looked at again every second at the latest; three times are enough to see what that costs.
    until("it was tried again", PATIENCE, async || {
        let (failures, slowest) = randoms(tier, 100).await;
        assert_eq!(failures.len(), 100, "nobody is served");
        for failure in failures {
            assert_eq!(failure.kind(), Kind::Unavailable, "{failure:?}");
        }
        assert!(slowest < settings("any").deadline, "refused at once, not after {slowest:?}");
        tier.status().failed_recoveries >= tried + 3
    })
    .await;
    assert_eq!(tier.status().state, state);
    assert!(!tier.status().logged_in);
}

/// Many at once call what needs a login, which is lost.
async fn notices(tier: &Arc<Pkcs11Tier>) {
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let tier = Arc::clone(tier);
            tokio::spawn(async move { tier.health().await.is_err() })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap(), "nobody is served without a login");
    }
}

pub async fn serves_soon(tier: &Pkcs11Tier) {
    until("it serves", NOTICED, async || random(tier).await.is_ok()).await;
    // That is found out by a call of its own, which makes pairs: who closes the slot would find it running.
    until("what it can do is known", PATIENCE, async || tier.describe().capabilities.iter().next().is_some()).await;
}

fn a_wrong_pin(notes: impl Fn() -> Arc<dyn LoginNotes>) {
    let label = softhsm::token();
    let fault = Fault::here();
    runtime().block_on(async {
        let source = Changing::new(Some("4321-wrong"));
        // Each start is a restart of the service: nothing is left of the one before but what was written down.
        for starts in 1..=3 {
            let settings = Settings { pin: Arc::clone(&source) as Arc<dyn PinSource>, login_notes: notes(), ..settings(&label) };
            let tier = Arc::new(Pkcs11Tier::start(settings).await.unwrap());
            stays_down(&tier, Why::Pin).await;
            assert_eq!(fault.calls("C_Login"), 1, "after {starts} starts");
            assert_eq!(source.asked(), starts, "once at each start");
            assert_eq!(tier.status().logins, u64::from(starts == 1));
            if starts < 3 {
                tier.close().await.unwrap();
                continue;
            }
            source.becomes(softhsm::PIN);
            serves_soon(&tier).await;
            assert_eq!(fault.calls("C_Login"), 2);
            until("what it can do is known", PATIENCE, async || tier.describe().capabilities.iter().next().is_some()).await;
            let (_, made) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            sign(&*made, b"after the PIN was mended").await.unwrap();
            tier.close().await.unwrap();
        }
    });
}

#[test]
fn a_wrong_pin_costs_one_login() {
    isolated("pin::a_wrong_pin_costs_one_login", 1, || {
        let notes = Arc::new(LoginNotesInMemory::default());
        a_wrong_pin(move || Arc::clone(&notes) as Arc<dyn LoginNotes>);
    });
}

#[test]
fn a_wrong_pin_costs_one_login_over_restarts() {
    isolated("pin::a_wrong_pin_costs_one_login_over_restarts", 1, || {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("refused_pins");
        a_wrong_pin(move || Arc::new(LoginNotesFile::new(&path, SecretBytes::new(vec![7; 32])).unwrap()));
    });
}

#[test]
fn a_pin_that_becomes_wrong_costs_one_login() {
    isolated("pin::a_pin_that_becomes_wrong_costs_one_login", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let source = Changing::new(Some(softhsm::PIN));
            let settings = Settings { pin: Arc::clone(&source) as Arc<dyn PinSource>, ..settings(&label) };
            let tier = Arc::new(Pkcs11Tier::connect(settings).await.unwrap());
            source.becomes("4321-wrong");
            random(&tier).await.unwrap();
            assert_eq!(fault.calls("C_Login"), 1, "a new PIN is no reason to log in");
            fault.tell(&format!("invalidate-sessions {token}"));
            notices(&tier).await;
            stays_down(&tier, Why::Pin).await;
            assert_eq!(fault.calls("C_Login"), 2);
            source.becomes(softhsm::PIN);
            serves_soon(&tier).await;
            assert_eq!(fault.calls("C_Login"), 3);
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn without_a_pin_nobody_logs_in() {
    isolated("pin::without_a_pin_nobody_logs_in", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            let source = Changing::new(None);
            let settings = Settings { pin: Arc::clone(&source) as Arc<dyn PinSource>, ..settings(&label) };
            let tier = Arc::new(Pkcs11Tier::start(settings).await.unwrap());
            stays_down(&tier, Why::Pin).await;
            assert_eq!(fault.calls("C_Login"), 0);
            source.becomes(softhsm::PIN);
            serves_soon(&tier).await;
            assert_eq!(fault.calls("C_Login"), 1);
            tier.close().await.unwrap();
        });
    });
}

/// Notes that cannot be written, and cannot be read either or are none.
struct Unwritable {
    readable: bool,
}

fn full() -> Error {
    Error::new(Kind::Unavailable, "The notes cannot be written.")
}

impl LoginNotes for Unwritable {
    fn read(&self, _: &TokenName, _: &Pin) -> Result<Option<Note>> {
        if self.readable { Ok(None) } else { Err(Error::new(Kind::Unavailable, "The notes cannot be read.")) }
    }

    fn write(&self, _: &TokenName, _: &Pin, _: Option<Note>) -> Result<()> {
        Err(full())
    }

    fn accepted(&self, _: &TokenName, _: &Pin) -> Result<()> {
        Err(full())
    }

    fn forget(&self, _: &TokenName) -> Result<()> {
        Err(full())
    }
}

#[test]
fn who_cannot_ask_what_was_refused_does_not_log_in() {
    isolated("pin::who_cannot_ask_what_was_refused_does_not_log_in", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            let settings = Settings { login_notes: Arc::new(Unwritable { readable: false }), ..settings(&label) };
            let tier = Arc::new(Pkcs11Tier::start(settings).await.unwrap());
            stays_down(&tier, Why::Pin).await;
            assert_eq!(fault.calls("C_Login"), 0);
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn notes_that_cannot_be_written_are_kept_in_memory() {
    isolated("pin::notes_that_cannot_be_written_are_kept_in_memory", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        runtime().block_on(async {
            let source = Changing::new(Some("4321-wrong"));
            let login_notes = Arc::new(Unwritable { readable: true });
            let settings = Settings { pin: Arc::clone(&source) as Arc<dyn PinSource>, login_notes, ..settings(&label) };
            let tier = Arc::new(Pkcs11Tier::start(settings).await.unwrap());
            stays_down(&tier, Why::Pin).await;
            assert_eq!(fault.calls("C_Login"), 1, "a wrong one is tried once all the same");
            source.becomes(softhsm::PIN);
            serves_soon(&tier).await;
            assert_eq!(fault.calls("C_Login"), 2);
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn a_token_that_warns_of_its_pin_is_not_logged_in_to() {
    isolated("pin::a_token_that_warns_of_its_pin_is_not_logged_in_to", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            for flags in ["final-try", "locked"] {
                fault.tell("reset-counts");
                fault.tell(&format!("pin-flags {flags} {token}"));
                let tier = Arc::new(Pkcs11Tier::start(settings(&label)).await.unwrap());
                stays_down(&tier, Why::PinLocked).await;
                assert_eq!(fault.calls("C_Login"), 0, "{flags}");
                fault.tell(&format!("pin-flags fine {token}"));
                serves_soon(&tier).await;
                assert_eq!(fault.calls("C_Login"), 1, "{flags}");

                // The same when it warns while it serves: what is logged in stays so, and is not logged in anew.
                fault.tell(&format!("pin-flags {flags} {token}"));
                random(&tier).await.unwrap();
                fault.tell(&format!("lose-login {token}"));
                notices(&tier).await;
                stays_down(&tier, Why::PinLocked).await;
                assert_eq!(fault.calls("C_Login"), 1, "{flags}");
                fault.tell(&format!("pin-flags real {token}"));
                serves_soon(&tier).await;
                assert_eq!(fault.calls("C_Login"), 2, "{flags}");
                tier.close().await.unwrap();
            }
        });
    });
}

#[test]
fn an_operator_may_ignore_the_warning() {
    isolated("pin::an_operator_may_ignore_the_warning", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            for flags in ["final-try", "locked"] {
                fault.tell(&format!("pin-flags {flags} {token}"));
                let settings = Settings { pin_flags: FlagsPolicy::Ignore, ..settings(&label) };
                let tier = Pkcs11Tier::connect(settings).await.unwrap();
                random(&tier).await.unwrap();
                tier.close().await.unwrap();
            }
            assert_eq!(fault.calls("C_Login"), 2);
        });
    });
}

#[test]
fn that_somebody_failed_once_stops_nobody() {
    isolated("pin::that_somebody_failed_once_stops_nobody", 1, || {
        let label = softhsm::token();
        let fault = Fault::here();
        fault.tell(&format!("pin-flags count-low {}", crate::fault::token(&label)));
        runtime().block_on(async {
            let tier = Pkcs11Tier::connect(settings(&label)).await.unwrap();
            random(&tier).await.unwrap();
            assert_eq!(fault.calls("C_Login"), 1);
            tier.close().await.unwrap();
        });
    });
}
