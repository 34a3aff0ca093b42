//! Rotation policies, the attempts that nodes make, and the order of versions.

use std::sync::atomic::{AtomicUsize, Ordering};

use keystead::base::{Kind, Timestamp, random};
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::model::key::Key;
use keystead::model::rotation::RotationAttempt;
use keystead::model::tags::Tags;
use keystead::model::{KeyId, KeyVersionId};
use keystead::store::{KeyVersion, Store, Versions};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

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
async fn versions_of_one_second_are_listed_as_they_were_made() {
    let bench = bench().await;
    let key = rotating(&bench).await;
    let mut made = vec![key.initial_version.clone()];
    for _ in 0..20 {
        let version = held(&KeyVersionId::from_entropy(&key.id, random::bytes()));
        bench.store.commit_version(&key.id, &version, None, |_, _| Ok(())).await.unwrap();
        made.push(version.id);
    }
    let (read, versions) = bench.store.key(&key.id).await.unwrap().unwrap();
    assert_eq!(versions.into_iter().map(|version| version.id).collect::<Vec<_>>(), made);
    assert_eq!(Some(&read.primary_version), made.last());
    let (_, versions) = bench.again().await.keys().await.unwrap().remove(0);
    assert_eq!(versions.into_iter().map(|version| version.id).collect::<Vec<_>>(), made);
}

/// A database as it was before versions had numbers: what was made in one second is put into the order that is known.
#[tokio::test]
async fn versions_of_before_are_numbered() {
    let bench = bench().await;
    let (kept, _) = key();
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations")).unwrap() {
        let file = file.unwrap();
        if *file.file_name() < *"0014" {
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    let path = bench.directory.path().join("before.db");
    let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true)).await.unwrap();
    Migrator::new(folder.path()).await.unwrap().run(&raw).await.unwrap();
    let mut ids: Vec<_> = (0..6).map(|n| KeyVersionId::from_entropy(&kept.id, [n; 10])).collect();
    ids.sort();
    // The first and the primary one are in the middle by their names, and an earlier one is the last.
    let expected = [&ids[5], &ids[3], &ids[0], &ids[1], &ids[4], &ids[2]];
    let statement = "INSERT INTO keys (id, instance, spec, usage, origin, state, description, creator, created, initial_version,
        primary_version, revision) VALUES ($1, $2, $3, $4, 'Aliyun_KMS', 'Enabled', '', '', $5, $6, $7, 0)";
    sqlx::query(statement)
        .bind(kept.id.as_str())
        .bind(kept.instance.as_str())
        .bind(kept.spec.name())
        .bind(kept.usage.name())
        .bind(kept.created.unix())
        .bind(ids[3].as_str())
        .bind(ids[2].as_str())
        .execute(&raw)
        .await
        .unwrap();
    for id in &ids {
        let created = NOW.unix() - i64::from(*id == ids[5]);
        sqlx::query("INSERT INTO key_versions (id, key_id, created, object_id, encryptions) VALUES ($1, $2, $3, $4, 0)")
            .bind(id.as_str())
            .bind(kept.id.as_str())
            .bind(created)
            .bind(id.as_str().as_bytes())
            .execute(&raw)
            .await
            .unwrap();
    }
    raw.close().await;
    let store = Store::create(&path, &bench.root).await.unwrap();
    let (_, versions) = store.key(&kept.id).await.unwrap().unwrap();
    assert_eq!(versions.iter().map(|version| &version.id).collect::<Vec<_>>(), expected);
    let next = held(&KeyVersionId::from_entropy(&kept.id, [9; 10]));
    store.commit_version(&kept.id, &next, None, |_, _| Ok(())).await.unwrap();
    assert_eq!(store.key(&kept.id).await.unwrap().unwrap().1.last().unwrap().id, next.id);
}

#[tokio::test]
async fn what_no_snapshot_shows_leaves_the_change_counter() {
    let bench = bench().await;
    let key = rotating(&bench).await;
    let before = bench.store.revision().await.unwrap().unwrap();
    bench.store.claim_rotation(&key.id, |_, _, last| RotationAttempt::next(last, NOW)).await.unwrap().unwrap();
    let intent = crate::intent(&key);
    bench.store.intend_key(&intent).await.unwrap();
    bench.store.withdraw_intent(&intent.version).await.unwrap();
    assert_eq!(bench.store.revision().await.unwrap().unwrap(), before);
}
