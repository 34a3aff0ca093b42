//! Child rows that no owner claims: the row that their owner column names is not there, or the column is not what was written. The service leaves
//! none behind, because foreign keys and the transactions of deletions see to that: somebody else wrote them, or they were damaged.
//!
//! Nobody knows whose such a row is. What it grants, nobody gets. What it takes away concerns whoever it may be about: the policies of operators
//! and roles ([`super::AccessRows::unclaimed_policies`]), tags that a condition may ask for, and the first imported material of a key.
//! Each row is named with its rowid, by which a person puts it right or deletes it.

use sqlx::{Row, SqliteConnection};

use super::rows::UnusableRow;
use super::{Store, failed};
use crate::base::{Result, excerpt};

/// A table whose rows belong to rows of another one.
struct Child {
    table: &'static str,
    owner: &'static str,
    of: &'static str,
    /// Finds the unclaimed rows, 100 at the most: a bound on what is told of a table.
    statement: &'static str,
    /// What comes of it.
    so: &'static str,
}

macro_rules! child {
    ($table:literal $owner:literal $of:literal $key:literal $so:literal) => {
        child!($table $owner $of $key $so, "")
    };
    ($table:literal $owner:literal $of:literal $key:literal $so:literal, $and:literal) => {
        Child {
            table: $table,
            owner: $owner,
            of: $of,
            statement: concat!(
                "SELECT CAST(", $owner, " AS BLOB) AS owner, rowid AS number FROM ", $table, " AS child WHERE NOT EXISTS (SELECT 1 FROM ",
                $of, " WHERE ", $of, ".", $key, " = child.", $owner, $and, ") LIMIT 100"
            ),
            so: $so,
        }
    };
}

/// Those whose owners are operators, roles, access points and OIDC providers.
const OF_ACCESS: [Child; 5] = [
    child!("identity_policies" "identity" "identities" "name" "what it denies is denied to all operators and roles but the root"),
    child!("roles" "name" "identities" "name" "nobody assumes the role"),
    child!("access_keys" "owner" "identities" "name" "nobody uses it"),
    child!("client_keys" "access_point" "access_points" "name" "nobody uses it"),
    child!("oidc_client_ids" "provider" "oidc_providers" "name" "no token is taken by it"),
];

/// Those whose owners are keys. Versions, aliases and tags may be as many as keys.
const OF_KEYS: [Child; 6] = [
    child!("tags" "resource_id" "keys" "id" "conditions on tags allow nothing and deny all that they may deny", " AND child.resource_type = 'key'"),
    child!("key_versions" "key_id" "keys" "id" "it is used for nothing"),
    child!("aliases" "key_id" "keys" "id" "it names no key"),
    child!("imported_material" "key_id" "keys" "id" "a key whose first material is not known takes none"),
    child!("wrapping_keys" "key_id" "keys" "id" "nothing is imported by it"),
    child!("rotation_attempts" "key_id" "keys" "id" "it delays no rotation"),
];

impl Store {
    /// The child rows of keys that no key claims. It looks at each child row of each key: called at the start and now and then, not at each
    /// change.
    ///
    /// # Errors
    /// The database fails.
    pub async fn unclaimed_of_keys(&self) -> Result<Vec<UnusableRow>> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        unclaimed(&mut transaction, &OF_KEYS).await
    }
}

/// The child rows of access that no owner claims.
pub(super) async fn unclaimed_of_access(connection: &mut SqliteConnection) -> Result<Vec<UnusableRow>> {
    unclaimed(connection, &OF_ACCESS).await
}

async fn unclaimed(connection: &mut SqliteConnection, children: &[Child]) -> Result<Vec<UnusableRow>> {
    let mut found = Vec::new();
    for Child { table, owner, of, statement, so } in children {
        for row in sqlx::query(*statement).fetch_all(&mut *connection).await.map_err(failed)? {
            let named: Vec<u8> = row.try_get_unchecked("owner").map_err(failed)?;
            let rowid: i64 = row.try_get("number").map_err(failed)?;
            found.push(UnusableRow {
                table,
                row: format!("{:?} (rowid {rowid})", excerpt(&String::from_utf8_lossy(&named))),
                why: format!("no row of {of} claims it; until its {owner} is put right or the row is deleted, {so}"),
            });
        }
    }
    Ok(found)
}
