//! What C_Login answers decides whether it is called again: every call may be a try that the token counts.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use keystead::base::{Pin, Result};
use keystead::tier::Tier;
use keystead::tier::pkcs11::{LoginNotes, LoginNotesInMemory, PinSource, Pkcs11Tier, Settings, Why};
use keystead::tier::status::SlotState;

use crate::calls::{random, until};
use crate::fault::{self, Fault};
use crate::isolated::{isolated, runtime};
use crate::pin::{Changing, serves_soon, stays_down};
use crate::softhsm;
use crate::world::settings;

/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long after a login without a clear answer another one is tried.
const PAUSE: Duration = Duration::from_secs(2);

/// Settings with this source and notes that outlive a start.
fn settings_with(label: &str, source: &Arc<Changing>, notes: &Arc<LoginNotesInMemory>) -> Settings {
    Settings {
        pin: Arc::clone(source) as Arc<dyn PinSource>,
        login_notes: Arc::clone(notes) as Arc<dyn LoginNotes>,
        login_pause: PAUSE,
        ..settings(label)
    }
}

/// What an operator says with `keystead hsm retry-pin`.
fn allow(tier: &Pkcs11Tier, notes: &LoginNotesInMemory, label: &str) {
    let serial = tier.token().unwrap().serial.clone();
    notes.forget(&softhsm::uri(label).parse::<keystead::tier::pkcs11::TokenUri>().unwrap().name(&serial, Some(label))).unwrap();
}

#[test]
fn an_answer_that_refuses_the_pin_costs_one_login() {
    isolated("login::an_answer_that_refuses_the_pin_costs_one_login", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            for (answer, why) in [
                ("CKR_PIN_INCORRECT", Why::Pin),
                ("CKR_PIN_LEN_RANGE", Why::Pin),
                ("CKR_PIN_EXPIRED", Why::Pin),
                ("CKR_PIN_LOCKED", Why::PinLocked),
                ("CKR_USER_PIN_NOT_INITIALIZED", Why::PinLocked),
            ] {
                fault.tell("reset-counts");
                let (source, notes) = (Changing::new(Some(softhsm::PIN)), Arc::default());
                let rule = fault.rule(&format!("fail C_Login {answer} {token}"));
                let tier = Arc::new(Pkcs11Tier::start(settings_with(&label, &source, &notes)).await.unwrap());
                stays_down(&tier, why).await;
                tier.close().await.unwrap();
                let tier = Arc::new(Pkcs11Tier::start(settings_with(&label, &source, &notes)).await.unwrap());
                stays_down(&tier, Why::Pin).await;
                assert_eq!((fault.calls("C_Login"), source.asked()), (1, 2), "{answer}: over a restart, too");
                assert_eq!(fault.calls("C_Finalize"), 1, "{answer}: that of the restart");
                drop(rule);
                allow(&tier, &notes, &label);
                serves_soon(&tier).await;
                assert_eq!(fault.calls("C_Login"), 2, "{answer}: once more when somebody says so");
                tier.close().await.unwrap();
            }
        });
    });
}

/// What does not say whether the token looked at the PIN, a vendor's code of which nothing is known among it.
const UNCLEAR: [&str; 6] =
    ["CKR_FUNCTION_FAILED", "CKR_DEVICE_ERROR", "CKR_GENERAL_ERROR", "CKR_ARGUMENTS_BAD", "CKR_USER_TYPE_INVALID", "0x80000067"];

#[test]
fn an_answer_that_is_not_clear_costs_one_more_login_after_a_pause() {
    isolated("login::an_answer_that_is_not_clear_costs_one_more_login_after_a_pause", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            for answer in UNCLEAR {
                fault.tell("reset-counts");
                let (source, notes) = (Changing::new(Some(softhsm::PIN)), Arc::default());
                let rule = fault.rule(&format!("fail C_Login {answer} {token}"));
                let tier = Arc::new(Pkcs11Tier::start(settings_with(&label, &source, &notes)).await.unwrap());
                let begun = Instant::now();
                until("it was answered", PATIENCE, async || tier.status().failures.values().sum::<u64>() == 1).await;
                assert_eq!(tier.status().state, SlotState::Open, "{answer}: nobody is needed yet");
                assert!(tier.status().reason.contains("tried once more after 2 s"), "{}", tier.status().reason);
                until("it is tried once more", PATIENCE, async || fault.calls("C_Login") == 2).await;
                assert!(begun.elapsed() >= PAUSE - Duration::from_millis(100), "{answer}: {:?}", begun.elapsed());
                stays_down(&tier, Why::Pin).await;
                tier.close().await.unwrap();
                let tier = Arc::new(Pkcs11Tier::start(settings_with(&label, &source, &notes)).await.unwrap());
                stays_down(&tier, Why::Pin).await;
                assert_eq!(fault.calls("C_Login"), 2, "{answer}: two in a row, and over a restart no more");
                assert!(source.asked() <= 3, "{answer}: asked {} times", source.asked());
                assert!(fault.calls("C_Finalize") <= 2, "{answer}: once before the second login, once at the restart");
                drop(rule);
                allow(&tier, &notes, &label);
                serves_soon(&tier).await;
                assert_eq!(fault.calls("C_Login"), 3, "{answer}");
                tier.close().await.unwrap();
            }
        });
    });
}

#[test]
fn a_login_that_goes_well_ends_the_row() {
    isolated("login::a_login_that_goes_well_ends_the_row", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let (source, notes) = (Changing::new(Some(softhsm::PIN)), Arc::default());
            let tier = Arc::new(Pkcs11Tier::connect(settings_with(&label, &source, &notes)).await.unwrap());
            for round in 1..=3 {
                let rule = fault.rule(&format!("fail C_Login CKR_DEVICE_ERROR times=1 {token}"));
                fault.tell(&format!("lose-login {token}"));
                let _ = tier.health().await;
                until("it was answered", PATIENCE, async || rule.fired() == 1).await;
                serves_again(&tier).await;
                assert_eq!(fault.calls("C_Login"), 1 + 2 * round);
            }
            tier.close().await.unwrap();
        });
    });
}

async fn serves_again(tier: &Pkcs11Tier) {
    until("it serves", PATIENCE, async || random(tier).await.is_ok()).await;
}

#[test]
fn a_try_that_the_token_counted_is_the_last() {
    isolated("login::a_try_that_the_token_counted_is_the_last", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let (source, notes) = (Changing::new(Some(softhsm::PIN)), Arc::default());
            let rule = fault.rule(&format!("fail C_Login CKR_FUNCTION_FAILED {token}"));
            let tier = Arc::new(Pkcs11Tier::start(settings_with(&label, &source, &notes)).await.unwrap());
            until("it was answered", PATIENCE, async || fault.calls("C_Login") == 1).await;
            // The PIN was wrong, and the module has no better name for that.
            fault.tell(&format!("pin-flags count-low {token}"));
            stays_down(&tier, Why::Pin).await;
            // Somebody logs in, and the token says nothing of wrong PINs any more. This one stays as wrong as it was.
            fault.tell(&format!("pin-flags fine {token}"));
            stays_down(&tier, Why::Pin).await;
            assert_eq!(fault.calls("C_Login"), 1);
            drop(rule);
            allow(&tier, &notes, &label);
            serves_soon(&tier).await;
            tier.close().await.unwrap();
        });
    });
}

#[test]
fn what_never_came_to_the_pin_is_tried_as_often_as_needed() {
    isolated("login::what_never_came_to_the_pin_is_tried_as_often_as_needed", 1, || {
        let label = softhsm::token();
        let token = fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            for answer in ["CKR_TOKEN_NOT_PRESENT", "CKR_DEVICE_REMOVED", "CKR_SESSION_CLOSED", "CKR_HOST_MEMORY"] {
                fault.tell("reset-counts");
                let (source, notes) = (Changing::new(Some(softhsm::PIN)), Arc::default());
                let rule = fault.rule(&format!("fail C_Login {answer} {token}"));
                let tier = Arc::new(Pkcs11Tier::start(settings_with(&label, &source, &notes)).await.unwrap());
                until("it is tried again and again", PATIENCE, async || fault.calls("C_Login") >= 5).await;
                assert_eq!(source.asked(), 1, "{answer}: the PIN is known by now");
                drop(rule);
                serves_soon(&tier).await;
                tier.close().await.unwrap();
            }
        });
    });
}

/// A source that gives its PIN when it is told to.
struct Slow(Mutex<Receiver<()>>);

impl Slow {
    fn new() -> (Sender<()>, Arc<Self>) {
        let (give, told) = channel();
        (give, Arc::new(Self(Mutex::new(told))))
    }
}

impl PinSource for Slow {
    fn read(&self) -> Result<Pin> {
        let _ = self.0.lock().unwrap().recv();
        Ok(Pin::new(softhsm::PIN.to_owned()))
    }

    fn name(&self) -> String {
        "The slow source".to_owned()
    }
}

#[test]
fn a_source_that_takes_its_time_is_not_the_modules_fault() {
    isolated("login::a_source_that_takes_its_time_is_not_the_modules_fault", 2, || {
        let (label, other) = (softhsm::token(), softhsm::token());
        let fault = Fault::here();
        runtime().block_on(async {
            let neighbour = Arc::new(Pkcs11Tier::connect(settings(&other)).await.unwrap());
            let (give, source) = Slow::new();
            let tier = Pkcs11Tier::start(Settings { pin: source, ..settings(&label) }).await.unwrap();
            let down = SlotState::Down(Why::Pin);
            until("it is said to be down", PATIENCE, async || tier.status().state == down).await;
            assert!(tier.status().reason.starts_with("The slow source has given no answer"), "{}", tier.status().reason);
            // Nothing hangs in the module, which is initialised anew for whoever needs that.
            let initialised = fault.calls("C_Initialize");
            fault.tell("uninitialise");
            until("the neighbour serves", PATIENCE, async || random(&neighbour).await.is_ok()).await;
            assert!(fault.calls("C_Initialize") > initialised);
            assert_eq!(tier.status().state, down);
            give.send(()).unwrap();
            // What it was asked for is of no use any more, and the next attempt need not ask again.
            until("it serves", PATIENCE, async || random(&tier).await.is_ok()).await;
            tier.close().await.unwrap();
            neighbour.close().await.unwrap();
        });
    });
}
