//! Rows that are not what was written: each is named, and all others are read.

use keystead::model::tags::TaggedResource;
use keystead::store::{KeyRow, Sending, UnusableRow};

use super::alerts::alert;
use super::oidc_providers::provider;
use super::roles::role;
use super::*;

/// Two of everything; what of the second is not touched must be there.
pub(super) async fn full(bench: &Bench) -> Vec<Key> {
    let store = &bench.store;
    for called in ["a", "b"] {
        store.create_network_rule(&rule(called)).await.unwrap();
        store.create_policy(&policy(called)).await.unwrap();
        store.create_access_point(&access_point(called)).await.unwrap();
        store.create_client_key(&client_key(called)).await.unwrap();
        let (identity, role) = role(called, "acs:ram::0:user/alice");
        store.create_role(&identity, &role).await.unwrap();
        store.create_oidc_provider(&provider(called)).await.unwrap();
    }
    store.replace_administrator(&access_key("administrator")).await.unwrap();
    let (one, version) = key();
    let user = keystead::model::operator::Identity {
        name: name("alice"),
        kind: IdentityKind::User,
        policies: vec![keystead::model::operator::AttachedPolicy::BuiltIn(keystead::model::operator::BuiltIn::ALL[0])],
        description: String::new(),
        created: NOW,
    };
    store.create_identity(&user).await.unwrap();
    store.create_access_key(&access_key("alice")).await.unwrap();
    let (other, other_version) = key();
    let tags = || Tags::from_list([("t".parse().unwrap(), "1".parse().unwrap())]).unwrap();
    store.commit_key(&one, &held(&version), &tags(), None).await.unwrap();
    store.commit_key(&other, &held(&other_version), &tags(), None).await.unwrap();
    for (alias, key) in [("alias/a", &one), ("alias/b", &other)] {
        store.create_alias(&alias.parse().unwrap(), &key.id, |_| Ok(())).await.unwrap();
    }
    vec![one, other]
}

/// What is wrong, by table and row.
fn names(rows: &[UnusableRow]) -> Vec<(&'static str, &str)> {
    rows.iter().map(|row| (row.table, row.row.as_str())).collect()
}

#[tokio::test]
async fn a_row_of_access_that_is_not_what_was_written_is_named_and_all_others_are_read() {
    let bench = bench().await;
    full(&bench).await;
    let raw = bench.raw().await;
    let before = bench.store.access_rows().await.unwrap();
    assert!(before.unusable.is_empty());
    let counts = |rows: &keystead::store::AccessRows| {
        let tables = &rows.tables;
        [
            ("network_rules", tables.network_rules.len()),
            ("policies", tables.policies.len()),
            ("access_points", tables.access_points.len()),
            ("client_keys", tables.client_keys.len()),
            ("identities", rows.identities.len()),
            ("roles", rows.roles.len()),
            ("oidc_providers", rows.oidc_providers.len()),
            ("access_keys", rows.access_keys.len()),
            ("aliases", rows.aliases.len()),
        ]
    };
    let mut damaged = 0;
    for (table, many) in counts(&before) {
        let statement = "SELECT name FROM pragma_table_info($1) WHERE name NOT IN ('last_used')";
        let columns: Vec<String> = sqlx::query_scalar(statement).bind(table).fetch_all(&raw).await.unwrap();
        for column in columns {
            // One byte that is no text, no number and nothing that was sealed; what is checked by the schema stays.
            let statement = format!("UPDATE OR IGNORE {table} SET {column} = X'FF' WHERE rowid = (SELECT MAX(rowid) FROM {table})");
            let mut transaction = raw.begin().await.unwrap();
            sqlx::query("PRAGMA defer_foreign_keys = ON").execute(&mut *transaction).await.unwrap();
            let done = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await;
            if done.map_or(0, |done| done.rows_affected()) == 0 || transaction.commit().await.is_err() {
                continue;
            }
            let read = bench.again().await.access_rows().await.unwrap();
            let whole = table == "client_keys" && column == "certificate";
            for (other, expected) in counts(&before) {
                let found = counts(&read).into_iter().find(|(name, _)| *name == other).unwrap().1;
                let expected = if other == table && !whole { expected - 1 } else { expected };
                assert_eq!(found, expected, "{other} when {table}.{column} is damaged");
            }
            assert_eq!(read.unusable.iter().filter(|row| row.table == table).count(), usize::from(!whole), "{table}.{column}");
            assert!(many > 1);
            damaged += 1;
            restore(&bench, &raw).await;
        }
    }
    assert!(damaged > 30, "{damaged}");
}

/// Everything anew, as it was.
async fn restore(bench: &Bench, raw: &SqlitePool) {
    for table in
        ["aliases", "tags", "key_versions", "keys", "client_keys", "access_points", "policies", "network_rules", "access_keys"]
    {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(raw).await.unwrap();
    }
    for table in ["roles", "identity_policies", "identities", "oidc_client_ids", "oidc_providers"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(raw).await.unwrap();
    }
    full(bench).await;
}

#[tokio::test]
async fn one_policy_of_an_operator_that_cannot_be_used_takes_the_others_along() {
    let bench = bench().await;
    full(&bench).await;
    let raw = bench.raw().await;
    sqlx::query("UPDATE identity_policies SET document = '{' WHERE identity = 'alice'").execute(&raw).await.unwrap();
    let read = bench.store.access_rows().await.unwrap();
    assert_eq!(names(&read.unusable), [("identities", "alice")]);
    assert!(read.identities.iter().all(|identity| identity.name.as_str() != "alice"));
}

#[tokio::test]
async fn a_key_that_is_not_what_was_written_is_named_and_all_others_are_read() {
    let bench = bench().await;
    let raw = bench.raw().await;
    let keys = full(&bench).await;
    let (one, other) = (&keys[0], &keys[1]);
    let ids = |rows: &[KeyRow]| rows.iter().map(|row| row.key.id.clone()).collect::<Vec<_>>();
    for (table, damage, undo) in [
        ("keys", "UPDATE keys SET state = 'Open' WHERE id = $1", "UPDATE keys SET state = 'Enabled' WHERE id = $1"),
        ("keys", "UPDATE keys SET policy = X'FF' WHERE id = $1", "UPDATE keys SET policy = NULL WHERE id = $1"),
        (
            "tags",
            "UPDATE tags SET tag_value = X'FF' WHERE resource_id = $1",
            "UPDATE tags SET tag_value = '1' WHERE resource_id = $1",
        ),
    ] {
        sqlx::query(damage).bind(one.id.as_str()).execute(&raw).await.unwrap();
        let read = bench.store.key_rows().await.unwrap();
        assert_eq!((ids(&read.usable), names(&read.unusable)), (vec![other.id.clone()], vec![(table, one.id.as_str())]));
        assert_eq!(read.unusable[0].key().as_ref(), Some(&one.id));
        assert_eq!(bench.store.key(&one.id).await.err().unwrap().kind(), Kind::Internal);
        assert!(bench.store.key(&other.id).await.unwrap().is_some());
        sqlx::query(undo).bind(one.id.as_str()).execute(&raw).await.unwrap();
        assert_eq!(bench.store.key_rows().await.unwrap().usable.len(), 2);
    }
    let next = KeyVersionId::from_entropy(&one.id, random::bytes());
    bench.store.commit_version(&one.id, &held(&next), None, |_, _| Ok(())).await.unwrap();
    sqlx::query("UPDATE key_versions SET held = X'FF' WHERE id = $1").bind(next.as_str()).execute(&raw).await.unwrap();
    let mut read = bench.store.key_row(&one.id).await.unwrap();
    assert_eq!(names(&read.unusable), [("key_versions", next.as_str())]);
    let row = read.usable.pop().unwrap();
    assert_eq!((row.versions.len(), row.unusable_versions), (1, vec![next]));
    let resource = TaggedResource::Key(one.id.clone());
    assert_eq!(bench.store.tags(&resource).await.unwrap(), row.tags);
}

#[tokio::test]
async fn what_waits_beside_the_requests_does_not_wait_for_a_row_that_cannot_be_used() {
    let bench = bench().await;
    let raw = bench.raw().await;
    let (one, version) = key();
    bench.store.intend_key(&intent(&one)).await.unwrap();
    let (other, _) = key();
    bench.store.intend_key(&intent(&other)).await.unwrap();
    sqlx::query("UPDATE key_intents SET spec = 'x' WHERE version_id = $1").bind(version.as_str()).execute(&raw).await.unwrap();
    assert_eq!(bench.store.intents().await.unwrap(), [intent(&other)]);

    for id in ["first", "second"] {
        bench.store.raise_alert(&alert(id), Sending::Queue).await.unwrap();
    }
    sqlx::query("UPDATE alerts SET content = '{' WHERE id = 'first'").execute(&raw).await.unwrap();
    let claim = |last| keystead::model::alert::SendingAttempt::next(last, NOW);
    assert_eq!(bench.store.claim_alert(claim).await.unwrap().unwrap().0.id, "second");

    for object in ["one", "two"] {
        let statement = "INSERT INTO erased_objects (object_id, key_id, instance) VALUES ($1, $2, $3)";
        let key = if object == "one" { "none" } else { other.id.as_str() };
        sqlx::query(statement).bind(object.as_bytes()).bind(key).bind(other.instance.as_str()).execute(&raw).await.unwrap();
    }
    let erased = bench.store.erased_objects().await.unwrap();
    assert_eq!(erased.iter().map(|erased| erased.id.as_slice()).collect::<Vec<_>>(), [b"two"]);
}
