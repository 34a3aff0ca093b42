//! The key quota of an instance: every version counts, nodes share it, and it is told of before it is used up.

use keystead::model::alert::AlertEvent;
use keystead::model::quota::KeyQuota;
use keystead::service::QuotaResource;

use super::*;

const DAY: i64 = 86_400;

async fn node(bench: &Bench, clock: &Arc<FixedClock>, most: u32) -> Arc<Kms> {
    let mut parts = parts(bench.store.clone(), &bench.instance, Arc::clone(clock), Arc::new(SoftwareTier::new()));
    parts.instances[0].key_quota = KeyQuota::new(most);
    Kms::start(parts).await.unwrap()
}

/// The quota of keys, and what is used of it.
fn numbers(bench: &Bench, kms: &Kms) -> (Option<u64>, u64) {
    let all = kms.instance_quotas(&bench.operator, &bench.instance).unwrap();
    let keys = all.into_iter().find(|of| of.resource == QuotaResource::Key).unwrap();
    (keys.quota, keys.used.unwrap())
}

fn told(kms: &Kms, event: AlertEvent) -> u64 {
    kms.alerts().raised.into_iter().find(|(known, _)| *known == event).unwrap().1
}

#[tokio::test]
async fn of_nodes_that_make_keys_at_once_none_passes_the_quota() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let nodes = [node(&bench, &clock, 3).await, node(&bench, &clock, 3).await];
    let mut set = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (kms, operator) = (Arc::clone(&nodes[number % 2]), bench.operator.clone());
        set.spawn(async move { kms.create_key(&operator, CreateKey::default()).await.map(|made| made.key.id) });
    }
    let mut made = Vec::new();
    while let Some(result) = set.join_next().await {
        match result.unwrap() {
            Ok(id) => made.push(id),
            Err(error) => assert_eq!(error.kind(), Kind::LimitExceeded, "{error}"),
        }
    }
    assert_eq!((made.len(), bench.store.keys().await.unwrap().len()), (3, 3));
    assert!(bench.store.intents().await.unwrap().is_empty(), "what was refused leaves nothing behind");
    for kms in &nodes {
        kms.refresh().await.unwrap();
        assert_eq!(numbers(&bench, kms), (Some(3), 3));
        let refused = kms.create_key_version(&bench.operator, made[0].as_str()).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::LimitExceeded);
        assert!(refused.message().contains("its quota is 3"), "{refused}");
    }
    // Without one there is room.
    bench.kms.refresh().await.unwrap();
    bench.kms.create_key_version(&bench.operator, made[0].as_str()).await.unwrap();
    assert_eq!(numbers(&bench, &bench.kms), (None, 4));
}

#[tokio::test]
async fn a_rotation_needs_room_and_says_so() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let kms = node(&bench, &clock, 1).await;
    let request = CreateKey { rotation: Some("7d".parse().unwrap()), ..CreateKey::default() };
    kms.create_key(&bench.operator, request).await.unwrap();
    clock.set(Timestamp::from_unix(NOW.unix() + 7 * DAY));
    kms.spawn_background();
    until("it failed", async || told(&kms, AlertEvent::KeyRotationFailed) == 1).await;
    assert_eq!((kms.rotations()[0].failed, numbers(&bench, &kms)), (1, (Some(1), 1)));
}

#[tokio::test]
async fn a_quota_that_is_nearly_used_up_is_told_of_again_when_it_had_room() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let kms = node(&bench, &clock, 10).await;
    let make = async || kms.create_key(&bench.operator, CreateKey::default()).await.unwrap().key.id;
    let counts = || (told(&kms, AlertEvent::KeyQuotaAt70), told(&kms, AlertEvent::KeyQuotaAt90));
    kms.spawn_background();
    for _ in 0..6 {
        make().await;
    }
    let last = make().await;
    until("70 % are told", async || counts() == (1, 0)).await;
    kms.create_key_version(&bench.operator, last.as_str()).await.unwrap();
    kms.create_key_version(&bench.operator, last.as_str()).await.unwrap();
    until("90 % are told", async || counts() == (1, 1)).await;
    kms.schedule_key_deletion(&bench.operator, last.as_str(), 7).await.unwrap();
    clock.set(Timestamp::from_unix(NOW.unix() + 7 * DAY));
    until("there is room", async || numbers(&bench, &kms) == (Some(10), 6)).await;
    let known = async || bench.store.alerts_told().await.unwrap().iter().filter(|id| id.starts_with("key-quota")).count();
    until("both may be told again", async || known().await == 0).await;
    make().await;
    until("70 % are told again", async || counts() == (2, 1)).await;
}

/// What one node finds nearly used up and another one does not is told once, and again when the quota had been taken away.
#[tokio::test]
async fn nodes_with_different_quotas_do_not_tell_again_and_again() {
    let bench = bench().await;
    let clock = Arc::new(FixedClock::at(NOW));
    let (narrow, wide) = (node(&bench, &clock, 10).await, node(&bench, &clock, 100).await);
    let counts = |kms: &Kms| (told(kms, AlertEvent::KeyQuotaAt70), told(kms, AlertEvent::KeyQuotaAt90));
    for _ in 0..7 {
        narrow.create_key(&bench.operator, CreateKey::default()).await.unwrap();
    }
    narrow.spawn_background();
    until("70 % are told", async || counts(&narrow) == (1, 0)).await;
    wide.spawn_background();
    for _ in 0..2 {
        wide.create_key(&bench.operator, CreateKey::default()).await.unwrap();
    }
    // A round of the first in which the other one has looked, too.
    until("90 % are told", async || counts(&narrow).1 == 1).await;
    assert_eq!((counts(&narrow), counts(&wide)), ((1, 1), (0, 0)));
    narrow.close().await;
    wide.close().await;

    let known = async || bench.store.alerts_told().await.unwrap().iter().filter(|id| id.starts_with("key-quota")).count();
    assert_eq!(known().await, 2);
    let again = node(&bench, &clock, 10).await;
    assert_eq!(known().await, 2, "it is the same quota");
    again.close().await;
    crate::start_at(bench.store.clone(), &bench.instance, Arc::clone(&clock)).await.close().await;
    assert_eq!(known().await, 0, "the instance has no quota any more");
}
