//! Orders to destroy: what merely stands in the database is none.

use keystead::model::algorithm::WrappingAlgorithm;
use keystead::store::{ErasedObject, ObjectOrder, RefusedOrder, WrappingKey};

use super::*;

/// An imported key in a token, with material that has no end.
async fn imported(bench: &Bench) -> Key {
    let (key, version) = key();
    let key = Key { origin: Origin::External, ..key };
    let material = Some(Material::Resident(version.as_str().into()));
    bench.store.commit_key(&key, &KeyVersion { material, ..held(&version) }, &Tags::default(), None).await.unwrap();
    key
}

async fn execute(raw: &SqlitePool, statement: &'static str, key: &Key) {
    let done = sqlx::query(statement).bind(key.id.as_str()).execute(raw).await.unwrap();
    assert_eq!(done.rows_affected(), 1, "{statement}");
}

impl Bench {
    async fn kept(&self, key: &Key) -> Key {
        self.again().await.key(&key.id).await.unwrap().unwrap().0
    }

    async fn erased(&self) -> Vec<ErasedObject> {
        self.again().await.erased_objects().await.unwrap()
    }
}

#[tokio::test]
async fn a_deletion_is_due_when_it_was_scheduled_through_the_store_alone() {
    let bench = bench().await;
    let (key, other) = (imported(&bench).await, imported(&bench).await);
    let raw = bench.raw().await;
    let at = |seconds| Timestamp::from_unix(NOW.unix() + seconds);
    for forged in [
        "UPDATE keys SET state = 'PendingDeletion', delete_at = 1 WHERE id = $1",
        "UPDATE keys SET state = 'PendingDeletion', delete_at = NULL WHERE id = $1",
        "UPDATE keys SET state = 'PendingDeletion', delete_at = 1, deletion_proof = X'00' WHERE id = $1",
    ] {
        execute(&raw, forged, &key).await;
        // What else is written of the key makes no order of it.
        bench.store.change_key(&key.id, |key| key.set_rotation(None).or(Ok(()))).await.unwrap();
        let kept = bench.kept(&key).await;
        assert!(kept.lacks_deletion_order() && !kept.is_due(at(i64::from(u32::MAX))), "{forged}");
        assert_eq!(RefusedOrder::of_key(&kept).collect::<Vec<_>>(), [RefusedOrder::Deletion(key.id.clone())]);
    }
    bench.store.change_key(&key.id, |key| key.schedule_deletion(at(7))).await.unwrap();
    let kept = bench.kept(&key).await;
    assert!(!kept.is_due(at(6)) && kept.is_due(at(7)) && RefusedOrder::of_key(&kept).next().is_none());
    // The date cannot be moved, and the order is for no other key.
    execute(&raw, "UPDATE keys SET delete_at = 1 WHERE id = $1", &key).await;
    assert!(bench.kept(&key).await.lacks_deletion_order());
    execute(&raw, "UPDATE keys SET delete_at = NULL WHERE id = $1", &key).await;
    let mut kept = bench.kept(&key).await;
    assert!(kept.lacks_deletion_order() && !kept.is_due(at(7)), "that its destruction was begun is not proven");
    kept.cancel_deletion(NOW).unwrap();
    execute(&raw, "UPDATE keys SET delete_at = 1790000007 WHERE id = $1", &key).await;
    let statement = "UPDATE keys SET (state, delete_at, deletion_proof) =
        (SELECT state, delete_at, deletion_proof FROM keys WHERE id <> $1) WHERE id = $1";
    execute(&raw, statement, &other).await;
    assert!(bench.kept(&other).await.lacks_deletion_order());
    // What was begun stays begun, whatever date is put beside it, and is no order for longer then.
    let begun = imported(&bench).await;
    bench.store.change_key(&begun.id, |key| key.schedule_deletion(at(7))).await.unwrap();
    bench.store.change_key(&begun.id, |key| key.give_up(at(7))).await.unwrap();
    let mut kept = bench.kept(&begun).await;
    assert!(kept.is_due(at(7)) && kept.delete_at.is_none());
    assert_eq!(kept.cancel_deletion(NOW).unwrap_err().kind(), Kind::StateForbids);
    bench.store.change_key(&begun.id, |key| key.give_up(at(8))).await.expect("a destruction that was interrupted goes on");
    execute(&raw, "UPDATE keys SET delete_at = 1790000007 WHERE id = $1", &begun).await;
    assert!(bench.kept(&begun).await.lacks_deletion_order());
    // Nor does an order outlive its end.
    bench.store.change_key(&key.id, |key| key.cancel_deletion(NOW)).await.unwrap();
    execute(&raw, "UPDATE keys SET state = 'PendingDeletion', delete_at = 1790000007 WHERE id = $1", &key).await;
    assert!(bench.kept(&key).await.lacks_deletion_order());
}

#[tokio::test]
async fn the_date_of_material_erases_it_when_it_came_with_an_import_alone() {
    let bench = bench().await;
    let key = imported(&bench).await;
    let raw = bench.raw().await;
    let until = Timestamp::from_unix(NOW.unix() + 5);
    execute(&raw, "UPDATE keys SET material_expires = 1 WHERE id = $1", &key).await;
    let kept = bench.kept(&key).await;
    assert!(kept.is_expired(NOW) && !kept.material_is_due(NOW));
    assert_eq!(RefusedOrder::of_key(&kept).collect::<Vec<_>>(), [RefusedOrder::Expiry(key.id.clone())]);
    let expired = bench.store.erase_material(&key.id, |key| key.expire_material(NOW)).await;
    assert_eq!(expired.unwrap_err().kind(), Kind::StateForbids);
    assert!(bench.erased().await.is_empty());
    bench.store.change_key(&key.id, |key| key.import_material(Some(until))).await.unwrap();
    let kept = bench.kept(&key).await;
    assert!(!kept.material_is_due(NOW) && kept.material_is_due(until));
    execute(&raw, "UPDATE keys SET material_expires = 1 WHERE id = $1", &key).await;
    assert!(!bench.kept(&key).await.material_is_due(until));
}

#[tokio::test]
async fn an_object_is_destroyed_when_a_key_lost_it_through_the_store_alone() {
    let bench = bench().await;
    let (key, other) = (imported(&bench).await, imported(&bench).await);
    let raw = bench.raw().await;
    let insert = "INSERT INTO erased_objects (object_id, key_id, instance)
        SELECT object_id, key_id, (SELECT instance FROM keys WHERE id = $1) FROM key_versions WHERE key_id = $1";
    execute(&raw, insert, &key).await;
    let object = key.initial_version.as_str().as_bytes().to_vec();
    let [erased] = &bench.erased().await[..] else { panic!("one object") };
    assert_eq!((&erased.id, &erased.order), (&object, &ObjectOrder::Named(key.initial_version.to_string())));
    let shown = RefusedOrder::of_object(erased).unwrap().to_string();
    assert!(shown.contains(&format!("the key version {} names it", key.initial_version)), "{shown}");
    execute(&raw, "UPDATE key_versions SET object_id = NULL WHERE key_id = $1", &key).await;
    assert_eq!(bench.erased().await[0].order, ObjectOrder::Unproven);
    // An order for the one object is none for the other.
    bench.store.erase_material(&other.id, Key::delete_material).await.unwrap();
    let statement = "UPDATE erased_objects SET proof = (SELECT proof FROM erased_objects WHERE key_id <> $1) WHERE key_id = $1";
    execute(&raw, statement, &key).await;
    let orders = |mut erased: Vec<ErasedObject>| {
        erased.sort_by_key(|erased| erased.key != key.id);
        erased.into_iter().map(|erased| erased.order).collect::<Vec<_>>()
    };
    assert_eq!(orders(bench.erased().await), [ObjectOrder::Unproven, ObjectOrder::Proven]);
    // What was inserted before does not keep the service from its own order.
    execute(&raw, "UPDATE key_versions SET object_id = CAST(id AS BLOB) WHERE key_id = $1", &key).await;
    bench.store.erase_material(&key.id, Key::delete_material).await.unwrap();
    assert_eq!(orders(bench.erased().await), [ObjectOrder::Proven, ObjectOrder::Proven]);
}

#[tokio::test]
async fn a_key_gives_up_no_object_that_is_called_as_one_of_another_key() {
    let bench = bench().await;
    let (key, other) = (imported(&bench).await, imported(&bench).await);
    let raw = bench.raw().await;
    let statement = "UPDATE key_versions SET object_id = (SELECT object_id FROM key_versions WHERE key_id <> $1) WHERE key_id = $1";
    execute(&raw, statement, &key).await;
    let refused = bench.store.erase_material(&key.id, Key::delete_material).await.unwrap_err();
    assert!(refused.kind() == Kind::Internal && refused.causes().contains(other.initial_version.as_str()), "{refused:?}");
    assert!(bench.erased().await.is_empty());
}

#[tokio::test]
async fn a_pair_goes_with_its_time_when_it_was_made_for_that() {
    let bench = bench().await;
    let key = imported(&bench).await;
    let pair = KeyVersionId::from_entropy(&key.id, random::bytes());
    let wrapping = WrappingKey {
        key: key.id.clone(),
        algorithm: WrappingAlgorithm::RsaesOaepSha256,
        private_key: Material::Resident(pair.as_str().into()),
        expires: NOW,
    };
    bench.store.keep_wrapping_key(&wrapping).await.unwrap();
    let raw = bench.raw().await;
    let statement = "INSERT INTO wrapping_keys (id, key_id, algorithm, object_id, expires, proof)
        SELECT 'forged', key_id, algorithm, (SELECT object_id FROM key_versions WHERE key_id = $1), expires, proof FROM wrapping_keys";
    execute(&raw, statement, &key).await;
    execute(&raw, "UPDATE key_versions SET object_id = NULL WHERE key_id = $1", &key).await;
    bench.store.drop_wrapping_keys(NOW).await.unwrap();
    let erased = bench.erased().await;
    let order = |id: &KeyVersionId| &erased.iter().find(|erased| erased.id == id.as_str().as_bytes()).unwrap().order;
    assert_eq!((order(&pair), order(&key.initial_version)), (&ObjectOrder::Proven, &ObjectOrder::Unproven));
}
