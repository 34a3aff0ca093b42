//! The objects in tokens that the database names, whatever else became of the rows that name them.

use std::collections::HashSet;

use sqlx::Row;

use super::{Store, failed};
use crate::base::Result;

/// All columns that name objects. Material that is made with its version is called as the version is, that of an intent, too.
const NAMES: [&str; 5] = [
    "SELECT object_id FROM key_versions",
    "SELECT id FROM key_versions",
    "SELECT version_id FROM key_intents",
    "SELECT object_id FROM wrapping_keys",
    "SELECT object_id FROM erased_objects",
];

impl Store {
    /// The CKA_IDs of all objects that the database names: of keys, of what is being made, of what unwraps, of what is to be destroyed. A row
    /// that can be used for nothing else counts: its object may be a key that is needed. An object that is not among them may be one of a
    /// row whose names are damaged themselves.
    ///
    /// # Errors
    /// The database fails.
    pub async fn named_objects(&self) -> Result<HashSet<Vec<u8>>> {
        let mut named = HashSet::new();
        for statement in NAMES {
            let rows = sqlx::query(statement).fetch_all(&self.pool).await.map_err(failed)?;
            // What is neither bytes nor text names nothing.
            named.extend(rows.iter().filter_map(|row| row.try_get::<Option<Vec<u8>>, _>(0).ok().flatten()));
        }
        Ok(named)
    }
}
