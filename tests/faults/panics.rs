//! Panics: of a call, of an attempt to recover, of what looks after a slot. Each costs at most the call that it happens in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keystead::base::{Kind, Pin, Result};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::tier::Tier;
use keystead::tier::pkcs11::{PinSource, Pkcs11Tier, Settings};
use keystead::tier::status::SlotState;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

use crate::calls::{random, randoms, round_trip, sign, until};
use crate::fault::Fault;
use crate::isolated::{isolated, isolated_each, runtime};
use crate::softhsm;
use crate::world::{connect, key, sessions_agree, settings};

/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A log that panics once at an event whose message begins with a text, as one does that cannot be written.
struct Brittle {
    text: Mutex<&'static str>,
    panicked: AtomicUsize,
}

static LOG: Brittle = Brittle { text: Mutex::new("\0"), panicked: AtomicUsize::new(0) };

impl Brittle {
    fn panics_at(&self, text: &'static str) {
        *self.text.lock().unwrap() = text;
    }

    fn panicked(&self) -> usize {
        self.panicked.load(Ordering::SeqCst)
    }
}

/// The log of the process.
struct Log;

/// The message of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let fits = {
            let mut text = LOG.text.lock().unwrap();
            let fits = message.0.starts_with(*text);
            if fits {
                *text = "\0";
            }
            fits
        };
        if fits {
            LOG.panicked.fetch_add(1, Ordering::SeqCst);
            panic!("the log cannot be written: {}", message.0);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

async fn everything_is_in_order(fault: &Fault, tier: &Arc<Pkcs11Tier>, panics: u64) {
    until("it serves", PATIENCE, async || random(tier).await.is_ok()).await;
    let (failures, _) = randoms(tier, 2 * tier.sessions()).await;
    assert!(failures.is_empty(), "no permit is lost: {failures:?}");
    let status = tier.status();
    assert_eq!((status.state, status.panics), (SlotState::Serving, panics));
    until("no call is on the list", PATIENCE, async || {
        let sessions = tier.status().sessions;
        (sessions.busy, sessions.written_off) == (0, 0)
    })
    .await;
    sessions_agree(fault, tier).await;
}

/// A call panics in the middle.
fn in_a_call(kind: &str) {
    tracing::subscriber::set_global_default(Log).unwrap();
    let label = softhsm::token();
    let token = crate::fault::token(&label);
    let fault = Fault::here();
    runtime().block_on(async {
        let tier = connect(settings(&label)).await;
        let (_, aes) = key(&tier, KeySpec::Aes256, KeyUsage::EncryptDecrypt).await;
        let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
        for panics in 1..=20 {
            LOG.panics_at("a call failed, its session is replaced");
            let failure = match kind {
                "on a worker" => {
                    fault.tell(&format!("fail C_Encrypt CKR_DEVICE_ERROR nth=1 {token}"));
                    round_trip(&*aes, b"a text").await
                }
                "on a thread" => {
                    fault.tell(&format!("fail C_Sign CKR_DEVICE_ERROR nth=1 {token}"));
                    sign(&*ec, b"a text").await
                }
                other => panic!("{other}"),
            };
            assert_eq!(LOG.panicked(), panics);
            assert_eq!(failure.unwrap_err().kind(), Kind::Internal);
            everything_is_in_order(fault, &tier, panics as u64).await;
        }
        assert_eq!(tier.status().written_off, 0, "nobody takes it for a call that hangs");
        tier.close().await.unwrap();
    });
}

#[test]
fn a_call_that_panics_costs_its_caller_alone() {
    let cases = ["on a worker", "on a thread"];
    isolated_each("panics::a_call_that_panics_costs_its_caller_alone", 1, &cases, in_a_call);
}

/// A source of the PIN that panics once whenever it is told to.
struct Panicking(Arc<AtomicBool>);

impl PinSource for Panicking {
    fn read(&self) -> Result<Pin> {
        assert!(!self.0.swap(false, Ordering::SeqCst), "the source of the PIN panics");
        Ok(Pin::new(softhsm::PIN.to_owned()))
    }
}

#[test]
fn an_attempt_to_recover_that_panics_is_followed_by_another() {
    isolated("panics::an_attempt_to_recover_that_panics_is_followed_by_another", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let panics = Arc::new(AtomicBool::new(true));
            let pin = Arc::new(Panicking(Arc::clone(&panics)));
            // The first attempt panics, too.
            let tier = Arc::new(Pkcs11Tier::start(Settings { pin, ..settings(&label) }).await.unwrap());
            until("what it can do is known", PATIENCE, async || {
                tier.health().await.is_ok() && !tier.describe().name.contains("pkcs11:")
            })
            .await;
            let mut panicked = 1;
            everything_is_in_order(fault, &tier, panicked).await;
            for fault_of_login in ["lose-login", "invalidate-sessions"] {
                panics.store(true, Ordering::SeqCst);
                fault.tell(&format!("{fault_of_login} {token}"));
                until("it panics", PATIENCE, async || {
                    let _ = random(&tier).await;
                    !panics.load(Ordering::SeqCst)
                })
                .await;
                panicked += 1;
                everything_is_in_order(fault, &tier, panicked).await;
            }
            tier.close().await.unwrap();
        });
    });
}

/// What looks after a slot panics: when it says that a call is given up, and when it says that the slot serves.
fn in_what_looks_after(text: &'static str) {
    tracing::subscriber::set_global_default(Log).unwrap();
    let label = softhsm::token();
    let token = crate::fault::token(&label);
    let fault = Fault::here();
    runtime().block_on(async {
        let tier = connect(settings(&label)).await;
        let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
        LOG.panics_at(text);
        fault.tell(&format!("hang C_Sign nth=1 {token}"));
        assert_eq!(sign(&*ec, b"a text").await.unwrap_err().kind(), Kind::Unavailable);
        until("it is given up", PATIENCE, async || tier.status().sessions.written_off == 1).await;
        fault.tell("release");
        until("it is back", PATIENCE, async || tier.status().sessions.written_off == 0).await;
        fault.tell(&format!("lose-login {token}"));
        until("it serves", PATIENCE, async || sign(&*ec, b"a text").await.is_ok()).await;
        until("it panicked", PATIENCE, async || LOG.panicked() == 1 && tier.status().panics == 1).await;
        everything_is_in_order(fault, &tier, 1).await;
        // Whatever is to be initialised anew can be: nothing counts as hanging.
        fault.tell("uninitialise");
        until("it serves", PATIENCE, async || sign(&*ec, b"a text").await.is_ok()).await;
        everything_is_in_order(fault, &tier, 1).await;
        tier.close().await.unwrap();
    });
}

#[test]
fn what_looks_after_a_slot_goes_on_after_a_panic() {
    const TEXTS: [&str; 4] =
        ["calls are overdue and given up", "a fault of the token", "the token serves", "an attempt to recover begins"];
    let test = "panics::what_looks_after_a_slot_goes_on_after_a_panic";
    isolated_each(test, 1, &TEXTS, |text| in_what_looks_after(TEXTS.iter().find(|known| **known == text).unwrap()));
}
