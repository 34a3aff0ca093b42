//! A tier that says of itself what it is told to, and else is the software tier.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keystead::base::{Error, Kind, SecretBytes};
use keystead::model::key::Material;
use keystead::tier::software::SoftwareTier;
use keystead::tier::status::{
    Generator, Histogram, LastFailure, Level, Operation, Outcome, PinState, Sessions, SlotState, SlotStatus, TokenSummary,
};
use keystead::tier::{Created, Description, KeyHandle, NewKey, Share, StoredKey, Tier, Unwrapper, Work};

/// What a check of its health does.
#[derive(Clone, Copy)]
pub enum Check {
    Works,
    Fails,
    Hangs,
}

pub struct Puppet {
    inner: SoftwareTier,
    slots: Mutex<Vec<SlotStatus>>,
    check: Mutex<Check>,
    checks: AtomicUsize,
}

impl Puppet {
    pub fn new(slots: Vec<SlotStatus>, check: Check) -> Arc<Self> {
        let inner = SoftwareTier::new();
        Arc::new(Self { inner, slots: Mutex::new(slots), check: Mutex::new(check), checks: AtomicUsize::new(0) })
    }

    pub fn say(&self, slots: Vec<SlotStatus>, check: Check) {
        *self.slots.lock().unwrap() = slots;
        *self.check.lock().unwrap() = check;
    }

    /// How many checks were begun.
    pub fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }
}

/// A slot that serves, with something of everything.
pub fn slot(state: SlotState, reason: &str) -> SlotStatus {
    let mut buckets = vec![0; Histogram::EDGES.len()];
    buckets[0] = 3;
    buckets[11] = 1;
    let times = Histogram { buckets, count: 5, sum: Duration::from_secs(21) };
    SlotStatus {
        module: "/usr/lib/a module.so".to_owned(),
        uri: "pkcs11:token=test".to_owned(),
        state,
        since: Duration::from_millis(12_345),
        reason: reason.to_owned(),
        token: Some(TokenSummary {
            slot_id: 7,
            label: "a \"token\" \\ of\nours".to_owned(),
            manufacturer: "Somebody".to_owned(),
            model: "One".to_owned(),
            serial: "58c4".to_owned(),
            firmware: "2.6".to_owned(),
            initialized: true,
            user_pin_initialized: true,
            random_generator: true,
            pin_state: PinState::CountLow,
            session_limit: Some(32),
        }),
        logged_in: true,
        sessions: Sessions { configured: 64, allowed: 30, open: 9, busy: 4, written_off: 2 },
        queue: (11, 1024),
        last_success: Some(Duration::from_millis(1500)),
        last_failure: Some(LastFailure {
            function: "C_Sign".to_owned(),
            ckr: "CKR_DEVICE_ERROR".to_owned(),
            ago: Duration::from_secs(3),
        }),
        calls: BTreeMap::from([((Operation::Sign, Outcome::Ok), 5), ((Operation::Sign, Outcome::Failed), 1)]),
        waited: times.clone(),
        worked: BTreeMap::from([(Operation::Sign, times)]),
        failures: BTreeMap::from([(("C_Sign".to_owned(), "CKR_DEVICE_ERROR".to_owned()), 2)]),
        recoveries: BTreeMap::from([(Level::Login, 1), (Level::Token, 0)]),
        failed_recoveries: 6,
        logins: 2,
        written_off: 3,
        refused: Vec::new(),
        generator: Generator::Sound,
        failing_keys: Vec::new(),
        generator_failures: 0,
        panics: 4,
    }
}

impl Tier for Puppet {
    fn describe(&self) -> Arc<Description> {
        self.inner.describe()
    }

    fn create(&self, key: NewKey) -> Work<'_, Created> {
        self.inner.create(key)
    }

    fn import(&self, key: NewKey, material: SecretBytes) -> Work<'_, Created> {
        self.inner.import(key, material)
    }

    fn unwrapper(&self) -> Option<&dyn Unwrapper> {
        self.inner.unwrapper()
    }

    fn open(&self, key: StoredKey) -> Work<'_, Arc<dyn KeyHandle>> {
        self.inner.open(key)
    }

    fn destroy(&self, material: Material) -> Work<'_, ()> {
        self.inner.destroy(material)
    }

    fn residents(&self) -> Work<'_, Vec<Vec<u8>>> {
        self.inner.residents()
    }

    fn random(&self, share: Share, length: usize) -> Work<'_, SecretBytes> {
        self.inner.random(share, length)
    }

    fn health(&self) -> Work<'_, ()> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        let check = *self.check.lock().unwrap();
        Box::pin(async move {
            match check {
                Check::Works => Ok(()),
                Check::Fails => Err(Error::new(Kind::Unavailable, "It does not work.")),
                Check::Hangs => std::future::pending().await,
            }
        })
    }

    fn slots(&self) -> Vec<SlotStatus> {
        self.slots.lock().unwrap().clone()
    }

    fn close(&self) -> Work<'_, ()> {
        self.inner.close()
    }
}
