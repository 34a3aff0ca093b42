//! Keys as they are read: with their versions and tags, and with the names of the rows that are not what was written.

use std::collections::{HashMap, HashSet};

use sqlx::sqlite::SqliteRow;

use super::keys::{KEY_COLUMNS, KeyVersion, VERSION_COLUMNS, const_format, key_of};
use super::rows::{Rows, UnusableRow, parsed, text};
use super::tags::tags_of;
use super::{Store, failed, unreadable};
use crate::base::Result;
use crate::model::key::Key;
use crate::model::operator::KeyPolicy;
use crate::model::tags::{ResourceType, Tags};
use crate::model::{KeyId, KeyVersionId};

/// A key with what belongs to it.
pub struct KeyRow {
    /// The key.
    pub key: Key,
    /// Its versions in the order in which they were made, as far as they can be used.
    pub versions: Vec<KeyVersion>,
    /// Those that cannot be used.
    pub unusable_versions: Vec<KeyVersionId>,
    /// Its tags.
    pub tags: Tags,
}

impl Store {
    /// All keys, the oldest first. A key is not among them when its own row or one of its tags cannot be used: a policy or a tag that is not
    /// seen may deny something. A version that cannot be used is missing from its key alone.
    ///
    /// # Errors
    /// The database fails.
    pub async fn key_rows(&self) -> Result<Rows<KeyRow>> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let statement = const_format(KEY_COLUMNS, "FROM keys ORDER BY created, id");
        let keys = sqlx::query(statement).fetch_all(&mut *transaction).await.map_err(unreadable("keys"))?;
        let statement = const_format(VERSION_COLUMNS, "FROM key_versions ORDER BY key_id, number");
        let versions = sqlx::query(statement).fetch_all(&mut *transaction).await.map_err(unreadable("key_versions"))?;
        let statement = "SELECT resource_id, tag_key, tag_value FROM tags WHERE resource_type = $1";
        let tags =
            sqlx::query(statement).bind(ResourceType::Key.name()).fetch_all(&mut *transaction).await.map_err(unreadable("tags"))?;
        Ok(self.joined(&keys, &versions, &tags))
    }

    /// One key; none when there is no such key, or it cannot be used.
    ///
    /// # Errors
    /// As [`Store::key_rows`].
    pub async fn key_row(&self, id: &KeyId) -> Result<Rows<KeyRow>> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let statement = const_format(KEY_COLUMNS, "FROM keys WHERE id = $1");
        let keys = sqlx::query(statement).bind(id.as_str()).fetch_all(&mut *transaction).await.map_err(unreadable("keys"))?;
        let statement = const_format(VERSION_COLUMNS, "FROM key_versions WHERE key_id = $1 ORDER BY number");
        let versions =
            sqlx::query(statement).bind(id.as_str()).fetch_all(&mut *transaction).await.map_err(unreadable("key_versions"))?;
        let statement = "SELECT resource_id, tag_key, tag_value FROM tags WHERE resource_type = $1 AND resource_id = $2";
        let tags = sqlx::query(statement).bind(ResourceType::Key.name()).bind(id.as_str());
        let tags = tags.fetch_all(&mut *transaction).await.map_err(unreadable("tags"))?;
        Ok(self.joined(&keys, &versions, &tags))
    }

    fn joined(&self, keys: &[SqliteRow], versions: &[SqliteRow], tags: &[SqliteRow]) -> Rows<KeyRow> {
        let mut unusable = Vec::new();
        let mut tags_by_key = HashMap::new();
        for (id, tags) in tags_of(tags).split(&mut unusable) {
            tags_by_key.insert(id, tags);
        }
        let untold: HashSet<String> = unusable.iter().map(|row| row.row.clone()).collect();
        let mut versions_by_key = HashMap::<String, Vec<KeyVersion>>::new();
        let read = |row: &SqliteRow| Ok((text(row, "key_id")?, self.version(row)?));
        for (key, version) in Rows::read("key_versions", versions, read).split(&mut unusable) {
            versions_by_key.entry(key).or_default().push(version);
        }
        let read = |row: &SqliteRow| key_of(row, &self.sealer).map_err(failed);
        let damaged = unusable.iter().filter(|row| row.table == "key_versions");
        let damaged: Vec<KeyVersionId> = damaged.filter_map(|row| row.row.parse().ok()).collect();
        let mut keys = Rows::read("keys", keys, read).split(&mut unusable);
        keys.retain(|key| !untold.contains(key.id.as_str()));
        let with_rest = keys.into_iter().map(|key| KeyRow {
            versions: versions_by_key.remove(key.id.as_str()).unwrap_or_default(),
            unusable_versions: damaged.iter().filter(|version| version.key() == key.id).cloned().collect(),
            tags: tags_by_key.remove(key.id.as_str()).unwrap_or_default(),
            key,
        });
        Rows { usable: with_rest.collect(), unusable }
    }

    /// All keys with their versions, the oldest first; what cannot be used is logged.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keys(&self) -> Result<Vec<(Key, Vec<KeyVersion>)>> {
        let keys = self.told.usable(self.key_rows().await?);
        Ok(keys.into_iter().map(|KeyRow { key, versions, .. }| (key, versions)).collect())
    }

    /// One key with all of its versions.
    ///
    /// # Errors
    /// The database fails; a row of the key cannot be used.
    pub async fn key(&self, id: &KeyId) -> Result<Option<(Key, Vec<KeyVersion>)>> {
        let mut read = self.key_row(id).await?;
        match read.unusable.pop() {
            Some(row) => Err(row.into()),
            None => Ok(read.usable.pop().map(|KeyRow { key, versions, .. }| (key, versions))),
        }
    }

    /// The policies of the keys that were given one; those that cannot be used are logged.
    ///
    /// # Errors
    /// The database fails.
    pub async fn key_policies(&self) -> Result<Vec<(KeyId, KeyPolicy)>> {
        let statement = "SELECT id, policy FROM keys WHERE policy IS NOT NULL ORDER BY id";
        let rows = sqlx::query(statement).fetch_all(&self.pool).await.map_err(unreadable("keys"))?;
        Ok(self.told.usable(Rows::read("keys", &rows, |row| Ok((parsed(row, "id")?, parsed(row, "policy")?)))))
    }

    /// The keys that were written after the change counter showed `revision`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keys_since(&self, revision: u64) -> Result<Vec<KeyId>> {
        let statement = "SELECT id FROM keys WHERE revision > $1 ORDER BY revision, id";
        let rows = sqlx::query(statement).bind(revision.cast_signed()).fetch_all(&self.pool).await.map_err(unreadable("keys"))?;
        Ok(self.told.usable(Rows::read("keys", &rows, |row| parsed(row, "id"))))
    }

    /// The keys that were deleted after the change counter showed `revision`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keys_deleted_since(&self, revision: u64) -> Result<Vec<KeyId>> {
        let statement = "SELECT id FROM deleted_keys WHERE revision > $1";
        let rows =
            sqlx::query(statement).bind(revision.cast_signed()).fetch_all(&self.pool).await.map_err(unreadable("deleted_keys"))?;
        Ok(self.told.usable(Rows::read("deleted_keys", &rows, |row| parsed(row, "id"))))
    }

    /// The rows that call a key deleted which is there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn false_deletions(&self) -> Result<Vec<UnusableRow>> {
        let statement = "SELECT keys.id FROM deleted_keys JOIN keys ON keys.id = deleted_keys.id ORDER BY keys.id";
        let ids: Vec<String> =
            sqlx::query_scalar(statement).fetch_all(&self.pool).await.map_err(unreadable("keys or deleted_keys"))?;
        let why = || "the key that it calls deleted is there".to_owned();
        Ok(ids.into_iter().map(|row| UnusableRow { table: "deleted_keys", row, why: why() }).collect())
    }
}
