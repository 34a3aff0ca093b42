//! Child rows that no owner claims: they are named, of whatever table.

use keystead::store::UnusableRow;

use super::damaged::full;
use super::*;

/// A connection that is not held to foreign keys, as that of somebody who damages rows.
async fn raw(bench: &Bench) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(bench.path()).foreign_keys(false)).await.unwrap()
}

async fn execute(raw: &SqlitePool, statement: String) {
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(raw).await.unwrap();
}

/// What both looks find.
async fn named(bench: &Bench) -> Vec<UnusableRow> {
    let mut all = bench.store.unclaimed_of_keys().await.unwrap();
    all.extend(bench.store.access_rows().await.unwrap().unusable.into_iter().filter(|row| row.row.contains("rowid")));
    all
}

#[tokio::test]
async fn a_row_of_whatever_child_table_that_no_owner_claims_is_named() {
    let bench = bench().await;
    let keys = full(&bench).await;
    let raw = raw(&bench).await;
    let id = &keys[0].id;
    execute(&raw, format!("INSERT INTO imported_material (key_id, fingerprint) VALUES ('{id}', X'00')")).await;
    execute(&raw, format!("INSERT INTO rotation_attempts (key_id, number, ends_at) VALUES ('{id}', 1, 1)")).await;
    let statement = "INSERT INTO wrapping_keys (id, key_id, algorithm, object_id, expires) VALUES ('w',";
    execute(&raw, format!("{statement} '{id}', 'x', X'00', 1)")).await;
    assert_eq!(named(&bench).await, [], "nothing is damaged");
    let statement = "SELECT child.name, parent.\"from\" FROM sqlite_schema AS child, pragma_foreign_key_list(child.name) AS parent
        WHERE child.type = 'table'";
    let mut children: Vec<(String, String)> = sqlx::query_as(statement).fetch_all(&raw).await.unwrap();
    assert!(children.len() >= 10, "{children:?}");
    children.push(("tags".to_owned(), "resource_id".to_owned()));
    children.push(("tags".to_owned(), "resource_type".to_owned()));
    for (table, owner) in &children {
        let (rowid, was): (i64, String) =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("SELECT rowid, {owner} FROM {table} ORDER BY rowid DESC LIMIT 1")))
                .fetch_one(&raw)
                .await
                .unwrap();
        for (damage, shown) in [("'gone'", "gone"), ("X'FF'", "\u{fffd}"), ("'a\nb'", "a\\nb")] {
            execute(&raw, format!("UPDATE {table} SET {owner} = {damage} WHERE rowid = {rowid}")).await;
            let found = named(&bench).await;
            assert_eq!(found.iter().map(|row| row.table).collect::<Vec<_>>(), [table.as_str()], "{table}.{owner} = {damage}");
            assert!(found[0].row.ends_with(&format!("(rowid {rowid})")), "{found:?}");
            assert!(owner == "resource_type" || found[0].row.contains(shown), "{found:?}");
            execute(&raw, format!("UPDATE {table} SET {owner} = '{was}' WHERE rowid = {rowid}")).await;
        }
        assert_eq!(named(&bench).await, [], "{table} is mended");
    }
}

#[tokio::test]
async fn no_deletion_leaves_a_row_that_nobody_claims() {
    let bench = bench().await;
    let keys = full(&bench).await;
    for called in ["a", "b"] {
        bench.store.delete_access_point(&name(called)).await.unwrap();
        bench.store.delete_identity(&name(called)).await.unwrap();
        bench.store.delete_oidc_provider(&name(called)).await.unwrap();
    }
    bench.store.delete_identity(&name("alice")).await.unwrap();
    for key in &keys {
        let (alert, sending) = of_key(&key.id);
        bench.store.delete_key(&key.id, (&alert, sending), |_| Ok(())).await.unwrap();
    }
    assert_eq!(named(&bench).await, []);
}

#[tokio::test]
async fn first_material_that_no_key_claims_may_be_of_any_key_that_has_none() {
    let bench = bench().await;
    let (key, version) = key();
    bench.store.commit_key(&key, &held(&version), &Tags::default(), None).await.unwrap();
    let raw = raw(&bench).await;
    let fingerprint = bench.store.check_value_fingerprint(&key.id, &SecretBytes::new(vec![1; 16]));
    let place = async || bench.store.place_material(&key.id, &[fingerprint], None, |_| Ok(())).await;
    execute(&raw, "INSERT INTO imported_material (key_id, fingerprint) VALUES ('gone', X'00')".to_owned()).await;
    assert_eq!(place().await.err().unwrap().kind(), Kind::Internal);
    execute(&raw, "DELETE FROM imported_material".to_owned()).await;
    assert!(place().await.is_ok());
}
