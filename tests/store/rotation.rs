//! Rotation policies, and the attempts that nodes make.

use std::sync::atomic::{AtomicUsize, Ordering};

use keystead::base::{Kind, Timestamp, random};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Key;
use keystead::model::rotation::RotationAttempt;
use keystead::model::tags::Tags;
use keystead::model::{KeyId, KeyVersionId};
use keystead::store::{KeyVersion, Versions};

use crate::{Bench, NOW, bench, held, key};

/// A symmetric key with a policy, kept.
async fn rotating(bench: &Bench) -> Key {
    let (key, version) = key();
    let week = Some("7d".parse().unwrap());
    let key = Key { spec: KeySpec::Aes256, usage: KeyUsage::EncryptDecrypt, rotation_interval: week, ..key };
    bench.store.commit_key(&key, &held(&version), &Tags::default(), None).await.unwrap();
    key
}

#[tokio::test]
async fn a_policy_is_kept_and_ends() {
    let bench = bench().await;
    let key = rotating(&bench).await;
    let kept = async || bench.again().await.key(&key.id).await.unwrap().unwrap().0.rotation_interval;
    assert_eq!(kept().await, key.rotation_interval);
    bench.store.change_key(&key.id, |key| key.set_rotation(Some("730d".parse().unwrap()))).await.unwrap();
    assert_eq!(kept().await, Some("730d".parse().unwrap()));
    bench.store.change_key(&key.id, |key| key.set_rotation(None)).await.unwrap();
    assert_eq!(kept().await, None);
}

#[tokio::test]
async fn of_nodes_that_claim_at_once_one_gets_the_attempt() {
    let bench = bench().await;
    let key = rotating(&bench).await;
    let mut got = 0;
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, id) = (bench.again().await, key.id.clone());
        set.spawn(async move { store.claim_rotation(&id, |_, _, last| RotationAttempt::next(last, NOW)).await.unwrap() });
    }
    while let Some(claimed) = set.join_next().await {
        got += usize::from(claimed.unwrap().is_some());
    }
    assert_eq!(got, 1);
    let attempt = RotationAttempt { number: 1, ends_at: Timestamp::from_unix(NOW.unix() + 60) };
    assert_eq!(bench.store.rotation_attempts().await.unwrap(), [(key.id.clone(), attempt)].into());
    let next = bench.store.claim_rotation(&key.id, |_, _, last| RotationAttempt::next(last, attempt.ends_at)).await.unwrap();
    assert_eq!(next.unwrap().number, 2);
    let nobody = KeyId::from_entropy(random::bytes());
    let unknown = bench.store.claim_rotation(&nobody, |_, _, last| RotationAttempt::next(last, NOW)).await;
    assert_eq!(unknown.unwrap_err().kind(), Kind::KeyNotFound);
}

#[tokio::test]
async fn a_new_version_ends_the_attempt_and_so_does_the_end_of_the_key() {
    let bench = bench().await;
    let (key, other) = (rotating(&bench).await, rotating(&bench).await);
    for id in [&key.id, &other.id] {
        bench.store.claim_rotation(id, |_, _, last| RotationAttempt::next(last, NOW)).await.unwrap();
    }
    let later = Timestamp::from_unix(NOW.unix() + 7);
    let version = KeyVersion { created: later, ..held(&KeyVersionId::from_entropy(&key.id, random::bytes())) };
    let seen = AtomicUsize::new(0);
    let agrees = |seen_key: &Key, versions: Versions| {
        assert_eq!((&seen_key.id, versions.newest), (&key.id, NOW));
        seen.store(versions.count, Ordering::SeqCst);
        Ok(())
    };
    bench.store.commit_version(&key.id, &version, None, agrees).await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert_eq!(bench.store.rotation_attempts().await.unwrap().into_keys().collect::<Vec<_>>(), vec![other.id.clone()]);
    let claimed = bench.store.claim_rotation(&key.id, |_, versions, _| {
        assert_eq!(versions, Versions { count: 2, newest: later });
        None
    });
    assert_eq!(claimed.await.unwrap(), None);
    let (alert, sending) = crate::alerts::of_key(&other.id);
    bench.store.delete_key(&other.id, (&alert, sending), |_| Ok(())).await.unwrap();
    assert!(bench.store.rotation_attempts().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_no_snapshot_shows_leaves_the_change_counter() {
    let bench = bench().await;
    let key = rotating(&bench).await;
    let before = bench.store.revision().await.unwrap();
    bench.store.claim_rotation(&key.id, |_, _, last| RotationAttempt::next(last, NOW)).await.unwrap().unwrap();
    let intent = crate::intent(&key);
    bench.store.intend_key(&intent).await.unwrap();
    bench.store.withdraw_intent(&intent.version).await.unwrap();
    assert_eq!(bench.store.revision().await.unwrap(), before);
}
