//! Whoever can write the database, and has no root key, has nothing destroyed.

use std::sync::Arc;

use keystead::base::{FixedClock, Timestamp, random};
use keystead::model::key::{Key, KeyState, Material, Origin, Presence};
use keystead::model::tags::Tags;
use keystead::model::{KeyId, KeyVersionId};
use keystead::service::RefusedOrder;
use keystead::service::requests::CreateKey;
use keystead::store::KeyVersion;
use keystead::tier::Tier;

use crate::rotation::Moody;
use crate::{NOW, bench, start_on, until};

#[tokio::test]
async fn the_database_alone_makes_no_scheduled_deletion_irrevocable() {
    let bench = bench().await;
    let raw = sqlx::sqlite::SqlitePool::connect(&format!("sqlite:{}", bench.path().display())).await.unwrap();
    bench.kms.spawn_background();
    let begin = async || {
        let key = bench.kms.create_key(&bench.operator, CreateKey::default()).await.unwrap().key.id;
        bench.kms.schedule_key_deletion(&bench.operator, key.as_str(), 7).await.unwrap();
        let statement = "UPDATE keys SET delete_at = NULL, revision = (SELECT revision + 1 FROM installation) WHERE id = $1";
        sqlx::query(statement).bind(key.as_str()).execute(&raw).await.unwrap();
        sqlx::query("UPDATE installation SET revision = revision + 1").execute(&raw).await.unwrap();
        until("it is told of", async || bench.kms.refused_orders().contains(&RefusedOrder::Deletion(key.clone()))).await;
        key
    };
    let (saved, again) = (begin().await, begin().await);
    bench.kms.cancel_key_deletion(&bench.operator, saved.as_str()).await.unwrap();
    assert_eq!(bench.kms.describe_key(&bench.operator, saved.as_str()).unwrap().key.state, KeyState::Enabled);
    bench.kms.schedule_key_deletion(&bench.operator, again.as_str(), 30).await.unwrap();
    until("nothing is told of any more", async || bench.kms.refused_orders().is_empty()).await;
    bench.kms.close().await;
}

#[tokio::test]
async fn what_the_database_orders_alone_is_told_of_and_not_obeyed() {
    let bench = bench().await;
    let (clock, tier) = (Arc::new(FixedClock::at(NOW)), Moody::new());
    let kms = start_on(bench.store.clone(), &bench.instance, Arc::clone(&clock), Arc::clone(&tier) as Arc<dyn Tier>).await;
    let created = kms.create_key(&bench.operator, CreateKey::default()).await.unwrap().key;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let id = KeyId::from_entropy(random::bytes());
        let version = KeyVersionId::from_entropy(&id, random::bytes());
        let key = Key {
            id,
            origin: Origin::External,
            presence: Presence::Present,
            initial_version: version.clone(),
            primary_version: version.clone(),
            ..created.clone()
        };
        let material = Some(Material::Resident(version.as_str().into()));
        let version = KeyVersion {
            id: version,
            created: NOW,
            material,
            public_key: None,
            attributes: None,
            fingerprint: None,
            encryptions: 0,
        };
        bench.store.commit_key(&key, &version, &Tags::default(), None).await.unwrap();
        keys.push(key);
    }
    let [erased, deleted, expired] = &keys[..] else { panic!("three keys") };
    let raw = sqlx::sqlite::SqlitePool::connect(&format!("sqlite:{}", bench.path().display())).await.unwrap();
    let revision = "revision = (SELECT revision + 1 FROM installation)";
    for statement in [
        format!(
            "INSERT INTO erased_objects (object_id, key_id, instance) VALUES (CAST('{}' AS BLOB), '{}', '{}')",
            erased.initial_version, erased.id, bench.instance
        ),
        format!("UPDATE keys SET state = 'PendingDeletion', delete_at = 1, {revision} WHERE id = '{}'", deleted.id),
        format!("UPDATE keys SET material_expires = 1, {revision} WHERE id = '{}'", expired.id),
        "UPDATE installation SET revision = revision + 1".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&raw).await.unwrap();
    }
    kms.spawn_background();
    let expected = [
        RefusedOrder::Deletion(deleted.id.clone()),
        RefusedOrder::Expiry(expired.id.clone()),
        RefusedOrder::Object {
            object: erased.initial_version.to_string(),
            key: erased.id.clone(),
            named_by: Some(erased.initial_version.to_string()),
        },
    ];
    until("they are told of", async || kms.refused_orders() == expected).await;
    // Another start tells of them, too, before anything is done.
    let other = start_on(bench.store.clone(), &bench.instance, Arc::clone(&clock), Arc::clone(&tier) as Arc<dyn Tier>).await;
    assert_eq!(other.refused_orders(), expected);

    // A deletion that is ordered now is carried out, in the same rounds in which the others would be.
    kms.schedule_key_deletion(&bench.operator, deleted.id.as_str(), 7).await.unwrap();
    clock.set(Timestamp::from_unix(NOW.unix() + 7 * 86_400));
    until("it is destroyed", async || bench.store.key(&deleted.id).await.unwrap().is_none()).await;
    until("it is not told of any more", async || kms.refused_orders() == expected[1..]).await;
    assert_eq!(tier.destroyed(), 1);
    for key in [erased, expired] {
        let (_, versions) = bench.store.key(&key.id).await.unwrap().unwrap();
        assert_eq!(versions[0].material.as_ref().unwrap().id(), key.initial_version.as_str().as_bytes());
    }
    assert_eq!(bench.store.key(&expired.id).await.unwrap().unwrap().0.state, KeyState::Enabled, "nothing was written of it");
    kms.close().await;
}
