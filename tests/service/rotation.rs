//! Automatic rotation: when, by whom, and what follows when a tier fails or a node dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keystead::base::{Clock, Error, FixedClock, Kind, SecretBytes, Timestamp, random};
use keystead::model::alert::{AlertEvent, SendingAttempt};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::{KeyState, Material};
use keystead::model::rotation::{AutomaticRotation, RotationAttempt, RotationSchedule};
use keystead::model::{KeyId, KeyVersionId};
use keystead::service::Kms;
use keystead::service::requests::*;
use keystead::store::KeyVersion;
use keystead::tier::software::SoftwareTier;
use keystead::tier::status::SlotStatus;
use keystead::tier::{Created, Description, KeyHandle, NewKey, Share, StoredKey, Tier, Unwrapper, Work};
use tokio::sync::watch;

use crate::{Bench, NOW, bench, encrypt, start_on, until};

const DAY: i64 = 86_400;

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW.unix() + seconds)
}

/// What the making of a key comes to, and the end of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Works,
    Fails,
    Hangs,
}

/// The software tier, but for the making and the end of keys, which are counted and fail when it is told to; the making may hang.
pub struct Moody {
    inner: SoftwareTier,
    pub mood: watch::Sender<Mood>,
    asked: AtomicUsize,
    destroyed: AtomicUsize,
}

impl Moody {
    pub fn new() -> Arc<Self> {
        let [asked, destroyed] = [(); 2].map(|()| AtomicUsize::new(0));
        Arc::new(Self { inner: SoftwareTier::new(), mood: watch::Sender::new(Mood::Works), asked, destroyed })
    }

    /// How many keys it was asked to destroy.
    pub fn destroyed(&self) -> usize {
        self.destroyed.load(Ordering::SeqCst)
    }

    /// How many keys it was asked to make.
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Tier for Moody {
    fn describe(&self) -> Arc<Description> {
        self.inner.describe()
    }

    fn create(&self, key: NewKey) -> Work<'_, Created> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let mood = *self.mood.subscribe().wait_for(|mood| *mood != Mood::Hangs).await.unwrap();
            match mood {
                Mood::Works | Mood::Hangs => self.inner.create(key).await,
                Mood::Fails => Err(Error::new(Kind::Unavailable, "It does not work.")),
            }
        })
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
        self.destroyed.fetch_add(1, Ordering::SeqCst);
        let mood = *self.mood.borrow();
        Box::pin(async move {
            match mood {
                Mood::Works | Mood::Hangs => self.inner.destroy(material).await,
                Mood::Fails => Err(Error::new(Kind::Unavailable, "It does not work.")),
            }
        })
    }

    fn residents(&self) -> Work<'_, Vec<Vec<u8>>> {
        self.inner.residents()
    }

    fn random(&self, share: Share, length: usize) -> Work<'_, SecretBytes> {
        self.inner.random(share, length)
    }

    fn health(&self) -> Work<'_, ()> {
        self.inner.health()
    }

    fn slots(&self) -> Vec<SlotStatus> {
        self.inner.slots()
    }

    fn close(&self) -> Work<'_, ()> {
        self.inner.close()
    }
}

/// A node on the store of a bench, with a tier of its own.
async fn node(bench: &Bench, clock: &Arc<FixedClock>) -> (Arc<Kms>, Arc<Moody>) {
    let tier = Moody::new();
    (start_on(bench.store.clone(), &bench.instance, Arc::clone(clock), Arc::clone(&tier) as Arc<dyn Tier>).await, tier)
}

/// A symmetric key that is rotated weekly.
async fn weekly(bench: &Bench, kms: &Arc<Kms>) -> KeyId {
    let request = CreateKey { rotation: Some("7d".parse().unwrap()), ..CreateKey::default() };
    kms.create_key(&bench.operator, request).await.unwrap().key.id
}

/// A version of a symmetric key that is not used.
fn version_of(key: &KeyId) -> KeyVersion {
    let id = KeyVersionId::from_entropy(key, random::bytes());
    let secret = SecretBytes::new(vec![7; 32]);
    let material = Some(Material::Held { id: id.as_str().into(), secret });
    KeyVersion { id, created: NOW, material, public_key: None, attributes: None, fingerprint: None, encryptions: 0 }
}

/// How many a node knows of; none before it knows the key.
fn versions(bench: &Bench, kms: &Kms, key: &KeyId) -> usize {
    kms.list_key_versions(&bench.operator, key.as_str(), Page { number: 1, size: 100 }).map_or(0, |listed| listed.total)
}

/// Alerts of rotations that failed.
fn failures_told(kms: &Kms) -> u64 {
    let raised = kms.alerts().raised.into_iter();
    raised.filter(|(event, _)| *event == AlertEvent::KeyRotationFailed).map(|(_, count)| count).sum()
}

fn schedule(next: i64) -> RotationSchedule {
    RotationSchedule { interval: "7d".parse().unwrap(), next: later(next) }
}

#[tokio::test]
async fn a_key_is_rotated_when_its_time_comes_and_by_one_node() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let ((one, one_tier), (two, two_tier)) = (node(&bench, &clock).await, node(&bench, &clock).await);
    let key = weekly(&bench, &one).await;
    let described = one.describe_key(&bench.operator, key.as_str()).unwrap();
    assert_eq!((described.rotation, described.rotated), (AutomaticRotation::Enabled(schedule(7 * DAY)), NOW));
    let old = one.encrypt(&bench.caller, Form::Advance, encrypt(&key)).await.unwrap();

    clock.set(later(7 * DAY - 1));
    assert_eq!(one.rotations()[0].due, 0);
    clock.set(later(7 * DAY));
    assert_eq!(one.rotations()[0].due, 1);
    one.spawn_background();
    two.spawn_background();
    for (kms, count) in [(&one, 2), (&two, 2)] {
        until("it was rotated", async || versions(&bench, kms, &key) == count).await;
        assert_eq!(kms.rotations()[0].due, 0);
    }
    let described = two.describe_key(&bench.operator, key.as_str()).unwrap();
    assert_eq!((described.rotation, described.rotated), (AutomaticRotation::Enabled(schedule(14 * DAY)), later(7 * DAY)));
    let new = one.encrypt(&bench.caller, Form::Advance, encrypt(&key)).await.unwrap();
    assert_eq!((&old.version, &new.version), (&described.key.initial_version, &described.key.primary_version));
    assert_ne!(old.version, new.version);
    for ciphertext in [old.ciphertext, new.ciphertext] {
        let request =
            AdvanceDecrypt { key: None, algorithm: None, padding: None, iv: Vec::new(), aads: vec![Vec::new()], ciphertext };
        assert!(two.advance_decrypt(&bench.caller, request).await.unwrap().plaintext.constant_time_eq(b"hello"));
    }

    clock.set(later(14 * DAY));
    until("it was rotated again", async || versions(&bench, &one, &key) == 3 && versions(&bench, &two, &key) == 3).await;
    assert_eq!(one_tier.asked() + two_tier.asked(), 3, "each version was made once");
    assert_eq!(one.rotations()[0].done + two.rotations()[0].done, 2);
    assert_eq!(one.rotations()[0].failed + two.rotations()[0].failed, 0);
}

#[tokio::test]
async fn a_tier_that_fails_is_tried_again_after_a_pause() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let (kms, tier) = node(&bench, &clock).await;
    let (key, other) = (weekly(&bench, &kms).await, weekly(&bench, &kms).await);
    tier.mood.send_replace(Mood::Fails);
    clock.set(later(7 * DAY));
    kms.spawn_background();
    until("both failed once", async || kms.rotations()[0].failed == 2).await;
    until("both are told", async || failures_told(&kms) == 2).await;
    let attempt = RotationAttempt { number: 1, ends_at: later(7 * DAY + 60) };
    assert_eq!(bench.store.rotation_attempts().await.unwrap(), [(key.clone(), attempt), (other.clone(), attempt)].into());
    assert_eq!((kms.rotations()[0].due, versions(&bench, &kms, &key)), (2, 1));
    assert!(bench.store.intents().await.unwrap().is_empty());
    kms.encrypt(&bench.caller, Form::Plain, encrypt(&key)).await.unwrap();

    clock.set(attempt.ends_at);
    until("one failed again", async || kms.rotations()[0].failed > 2).await;
    let attempts = bench.store.rotation_attempts().await.unwrap();
    let again = RotationAttempt { number: 2, ends_at: later(7 * DAY + 60 + 120) };
    assert!(attempts.values().any(|attempt| *attempt == again), "{attempts:?}");
    tier.mood.send_replace(Mood::Works);
    clock.set(again.ends_at);
    for key in [&key, &other] {
        until("it was rotated", async || versions(&bench, &kms, key) == 2).await;
    }
    assert!(bench.store.rotation_attempts().await.unwrap().is_empty());
    let rotations = kms.rotations().remove(0);
    assert_eq!((rotations.done, rotations.due), (2, 0));
    assert_eq!(failures_told(&kms), 2, "of a day the first failure is told");
    assert_eq!(
        tier.asked() as u64,
        2 + rotations.failed + rotations.done,
        "a key is made for each attempt and for no other reason"
    );
}

#[tokio::test]
async fn a_node_that_dies_in_the_middle_leaves_the_rotation_to_another_one() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let ((dying, its_tier), (other, tier)) = (node(&bench, &clock).await, node(&bench, &clock).await);
    let key = weekly(&bench, &dying).await;
    its_tier.mood.send_replace(Mood::Hangs);
    clock.set(later(7 * DAY));
    dying.spawn_background();
    until("it has begun", async || its_tier.asked() == 2).await;
    let attempt = bench.store.rotation_attempts().await.unwrap()[&key];
    assert_eq!((attempt.number, bench.store.intents().await.unwrap().len()), (1, 1));

    clock.set(attempt.ends_at);
    other.spawn_background();
    until("the other one has rotated it", async || versions(&bench, &other, &key) == 2).await;
    assert_eq!(tier.asked(), 1);
    // The first comes back from the dead: its version is not wanted any more.
    its_tier.mood.send_replace(Mood::Works);
    until("no intent is left", async || bench.store.intents().await.unwrap().is_empty()).await;
    assert_eq!(bench.store.key(&key).await.unwrap().unwrap().1.len(), 2);
    assert_eq!((dying.rotations()[0].done, dying.rotations()[0].failed), (0, 0));
}

#[tokio::test]
async fn a_policy_is_for_keys_that_can_be_rotated_and_stands_still_while_they_are_disabled() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let (kms, _) = node(&bench, &clock).await;
    let make = async |spec, rotation| {
        let request = CreateKey { spec: Some(spec), rotation, ..CreateKey::default() };
        kms.create_key(&bench.operator, request).await
    };
    let week = Some("7d".parse().unwrap());
    let set = async |key: &KeyId, interval| {
        let set = kms.update_rotation_policy(&bench.operator, key.as_str(), interval).await;
        set.map_err(|error| error.kind())
    };
    let rotation = |key: &KeyId| kms.describe_key(&bench.operator, key.as_str()).unwrap().rotation;

    assert_eq!(make(KeySpec::EcP256, week).await.unwrap_err().kind(), Kind::UnsupportedOperation);
    let pair = make(KeySpec::EcP256, None).await.unwrap().key.id;
    assert_eq!(set(&pair, week).await, Err(Kind::UnsupportedByKey));
    assert_eq!(set(&KeyId::from_entropy(random::bytes()), week).await, Err(Kind::KeyNotFound));

    let key = make(KeySpec::Aes256, None).await.unwrap().key.id;
    assert_eq!(rotation(&key), AutomaticRotation::Disabled);
    set(&key, week).await.unwrap();
    assert_eq!(rotation(&key), AutomaticRotation::Enabled(schedule(7 * DAY)));
    kms.disable_key(&bench.operator, key.as_str()).await.unwrap();
    assert_eq!(rotation(&key), AutomaticRotation::Suspended(schedule(7 * DAY)));
    assert_eq!(set(&key, None).await, Err(Kind::KeyDisabled));
    clock.set(later(100 * DAY));
    assert_eq!(kms.rotations()[0].due, 0);
    kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();
    assert_eq!(
        (rotation(&key), set(&key, week).await),
        (AutomaticRotation::Suspended(schedule(7 * DAY)), Err(Kind::KeyPendingDeletion))
    );
    kms.cancel_key_deletion(&bench.operator, key.as_str()).await.unwrap();
    // Its date has passed long ago: it is rotated at once.
    assert_eq!((rotation(&key), kms.rotations()[0].due), (AutomaticRotation::Enabled(schedule(7 * DAY)), 1));
    kms.spawn_background();
    until("it was rotated", async || versions(&bench, &kms, &key) == 2).await;
    assert_eq!(rotation(&key), AutomaticRotation::Enabled(schedule(107 * DAY)));
    set(&key, None).await.unwrap();
    let described = kms.describe_key(&bench.operator, key.as_str()).unwrap();
    assert_eq!((described.rotation, described.key.state), (AutomaticRotation::Disabled, KeyState::Enabled));
}

/// As many as a key may have are not exceeded by rotation either, and somebody is told; other keys are rotated.
#[tokio::test]
async fn a_key_with_all_its_versions_is_not_rotated_and_told_of() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let (kms, tier) = node(&bench, &clock).await;
    let full = weekly(&bench, &kms).await;
    for _ in 1..1000 {
        bench.store.commit_version(&full, &version_of(&full), None, |_, _| Ok(())).await.unwrap();
    }
    let other = weekly(&bench, &kms).await;
    kms.refresh().await.unwrap();
    assert_eq!(versions(&bench, &kms, &full), 1000);
    let refused = kms.create_key_version(&bench.operator, full.as_str()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::LimitExceeded);
    clock.set(later(7 * DAY));
    kms.spawn_background();
    until("the other one was rotated", async || versions(&bench, &kms, &other) == 2).await;
    until("it is told of", async || failures_told(&kms) == 1).await;
    assert_eq!((versions(&bench, &kms, &full), kms.rotations()[0].failed, kms.rotations()[0].due), (1000, 1, 1));
    assert_eq!(tier.asked(), 3, "nothing is made that cannot be kept");
    assert_eq!(bench.store.queue_unsent(|_| true).await.unwrap(), (1, 0));
    let (alert, _) = bench.store.claim_alert(|last| SendingAttempt::next(last, clock.now())).await.unwrap().expect("it waits");
    assert_eq!(alert.event, AlertEvent::KeyRotationFailed);
    assert!(alert.content["errorMessage"].contains("1000 are the most: make another key"), "{:?}", alert.content);
}

#[tokio::test]
async fn a_version_by_hand_puts_the_rotation_off_and_pairs_have_fifty() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let (kms, _) = node(&bench, &clock).await;
    let key = weekly(&bench, &kms).await;
    clock.set(later(3 * DAY));
    for _ in 0..50 {
        kms.create_key_version(&bench.operator, key.as_str()).await.unwrap();
    }
    assert_eq!(versions(&bench, &kms, &key), 51);
    let described = kms.describe_key(&bench.operator, key.as_str()).unwrap();
    assert_eq!(described.rotation, AutomaticRotation::Enabled(schedule(10 * DAY)));

    let request = CreateKey { spec: Some(KeySpec::EcP256), usage: Some(KeyUsage::SignVerify), ..CreateKey::default() };
    let pair = kms.create_key(&bench.operator, request).await.unwrap().key.id;
    for _ in 0..49 {
        kms.create_key_version(&bench.operator, pair.as_str()).await.unwrap();
    }
    let refused = kms.create_key_version(&bench.operator, pair.as_str()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::LimitExceeded);
    assert!(refused.message().contains("50 are the most"), "{refused}");
}
