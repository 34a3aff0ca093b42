//! A clock that cannot be relied on: what a date ends is not used from that date on, and nothing is destroyed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keystead::base::{Clock, Error, FixedClock, Kind, Result, Timestamp};
use keystead::model::KeyId;
use keystead::model::algorithm::KeySpec;
use keystead::model::key::{KeyState, Presence};
use keystead::service::requests::{CreateKey, Form};
use keystead::service::{Kms, Parts};
use keystead::tier::software::SoftwareTier;

use crate::import::Importing;
use crate::{Bench, NOW, bench, encrypt, parts, until};

const DAY: i64 = 86_400;

/// A clock that is relied on when it is told so, and counts how often that was asked.
struct Watched {
    date: FixedClock,
    latest: FixedClock,
    relied_on: AtomicBool,
    asked: AtomicU64,
}

impl Clock for Watched {
    fn now(&self) -> Timestamp {
        self.date.now()
    }

    fn latest(&self) -> Timestamp {
        self.latest.now().max(self.now())
    }

    fn settled(&self) -> Result<Timestamp> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.relied_on.load(Ordering::SeqCst) {
            Ok(self.now())
        } else {
            Err(Error::new(Kind::Unavailable, "The clock was moved."))
        }
    }
}

impl Watched {
    /// Not relied on yet.
    fn new() -> Arc<Self> {
        let [date, latest] = [NOW; 2].map(FixedClock::at);
        Arc::new(Self { date, latest, relied_on: AtomicBool::new(false), asked: AtomicU64::new(0) })
    }
}

async fn start_watched(bench: &Bench, clock: &Arc<Watched>) -> Arc<Kms> {
    let usual = parts(bench.store.clone(), &bench.instance, Arc::new(FixedClock::at(NOW)), Arc::new(SoftwareTier::new()));
    Kms::start(Parts { clock: Arc::clone(clock) as Arc<dyn Clock>, ..usual }).await.unwrap()
}

fn after(days: i64) -> Timestamp {
    Timestamp::from_unix(NOW.unix() + days * DAY)
}

#[tokio::test]
async fn days_ahead_for_a_moment_destroy_nothing_and_end_the_use() {
    let bench = bench().await;
    let clock = Watched::new();
    let kms = start_watched(&bench, &clock).await;
    let importing = Importing { bench, kms: Arc::clone(&kms), clock: Arc::new(FixedClock::at(NOW)) };
    let (bench, operator) = (&importing.bench, &importing.bench.operator);
    let scheduled = async || {
        let request = CreateKey { spec: Some(KeySpec::Aes256), ..CreateKey::default() };
        let key = kms.create_key(operator, request).await.unwrap().key.id;
        kms.schedule_key_deletion(operator, key.as_str(), 7).await.unwrap();
        key
    };
    let (saved, lost) = (scheduled().await, scheduled().await);
    let expiring = importing.aes().await;
    importing.import(&expiring, &[7; 32], Some(after(1))).await.unwrap();
    let use_of = async |key: &KeyId| kms.encrypt(&bench.caller, Form::Plain, encrypt(key)).await.map_err(|error| error.kind());
    assert!(use_of(&expiring).await.is_ok());

    clock.date.set(after(10));
    assert_eq!(use_of(&expiring).await.unwrap_err(), Kind::KeyPendingImport, "its use ends at once");
    kms.spawn_background();
    // Keys and material, once each and begun again.
    until("it was looked what is to be destroyed", async || clock.asked.load(Ordering::SeqCst) >= 4).await;
    clock.date.set(NOW);
    assert!(use_of(&expiring).await.is_ok(), "the material is there");
    for key in [&saved, &lost] {
        let (stored, versions) = bench.store.key(key).await.unwrap().unwrap();
        assert!(stored.delete_at == Some(after(7)) && versions[0].material.is_some(), "nor is it given up");
    }
    kms.cancel_key_deletion(operator, saved.as_str()).await.unwrap();
    assert!(use_of(&saved).await.is_ok());

    clock.date.set(after(10));
    clock.relied_on.store(true, Ordering::SeqCst);
    until("the key is destroyed", async || bench.store.key(&lost).await.unwrap().is_none()).await;
    until("the material is erased", async || {
        let (stored, versions) = bench.store.key(&expiring).await.unwrap().unwrap();
        stored.presence == Presence::Absent && versions.iter().all(|version| version.material.is_none())
    })
    .await;
    assert_eq!(kms.describe_key(operator, saved.as_str()).unwrap().key.state, KeyState::Enabled);
}

#[tokio::test]
async fn a_clock_that_is_behind_or_ahead_for_a_moment_leaves_the_whole_window() {
    let bench = bench().await;
    let clock = Watched::new();
    let kms = start_watched(&bench, &clock).await;
    let request = CreateKey { spec: Some(KeySpec::Aes256), ..CreateKey::default() };
    let key = kms.create_key(&bench.operator, request).await.unwrap().key.id;
    clock.date.set(after(-30));
    kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();
    assert_eq!(bench.store.key(&key).await.unwrap().unwrap().0.delete_at, Some(after(7)));
    // The date alone, which may be wrong, takes nobody the key.
    clock.date.set(after(10));
    kms.cancel_key_deletion(&bench.operator, key.as_str()).await.unwrap();
    assert!(kms.encrypt(&bench.caller, Form::Plain, encrypt(&key)).await.is_ok());
}
