//! Tags of what has them. They change for several resources in one transaction: all of them or none.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::rows::{Rows, parsed, text, unusable};
use super::transaction::{Fault, Writing};
use super::{Store, corrupt, failed};
use crate::base::{Error, Kind, Result};
use crate::model::KeyId;
use crate::model::tags::{ResourceType, TagKey, TagValue, TaggedResource, Tags};

impl Store {
    /// Changes the tags of each resource; `change` sees them as they are in this moment.
    ///
    /// # Errors
    /// [`Kind::ResourceIdNotFound`] of the first that is not there; what `change` says; then nothing is changed. The database fails.
    pub async fn change_tags(
        &self,
        resources: &[TaggedResource],
        change: impl Fn(&mut Tags) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        let change = &change;
        self.write("change tags", move |writing| {
            Box::pin(async move {
                let Writing { connection, revision, .. } = writing;
                for resource in resources {
                    touch(connection, resource, revision).await?;
                    let mut tags = tags_on(&mut *connection, resource).await?;
                    change(&mut tags)?;
                    delete_tags(connection, resource).await?;
                    insert_tags(connection, resource, &tags).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The tags of a resource; none for what is not there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tags(&self, resource: &TaggedResource) -> Result<Tags> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        tags_on(&mut connection, resource).await.map_err(|fault| match fault {
            Fault::Database(error) => failed(error),
            Fault::Ours(error) => error,
        })
    }

    /// The tags of all keys that have some.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tags_of_keys(&self) -> Result<HashMap<KeyId, Tags>> {
        let statement = "SELECT resource_id, tag_key, tag_value FROM tags WHERE resource_type = $1";
        let rows = sqlx::query(statement).bind(ResourceType::Key.name()).fetch_all(&self.pool).await.map_err(failed)?;
        let tags = self.told.usable(tags_of(&rows));
        tags.into_iter().map(|(id, tags)| Ok((id.parse().map_err(corrupt)?, tags))).collect()
    }
}

/// Tags by what has them. Who has one that cannot be used has none. One of which it cannot be read what has it is claimed by nobody
/// ([`Store::unclaimed_of_keys`]).
pub(super) fn tags_of(rows: &[SqliteRow]) -> Rows<(String, Tags)> {
    let mut lists = HashMap::<String, Result<Vec<(TagKey, TagValue)>>>::new();
    for row in rows {
        let Ok(id) = text(row, "resource_id") else { continue };
        let list = lists.entry(id).or_insert_with(|| Ok(Vec::new()));
        match (tag(row), &mut *list) {
            (Ok(tag), Ok(list)) => list.push(tag),
            (Err(error), Ok(_)) => *list = Err(error),
            (_, Err(_)) => {}
        }
    }
    let mut tags = Rows { usable: Vec::new(), unusable: Vec::new() };
    for (id, list) in lists {
        match list.and_then(Tags::from_list) {
            Ok(all) => tags.usable.push((id, all)),
            Err(error) => tags.unusable.push(unusable("tags", id, &error)),
        }
    }
    tags
}

fn tag(row: &SqliteRow) -> Result<(TagKey, TagValue)> {
    Ok((parsed(row, "tag_key")?, parsed(row, "tag_value")?))
}

/// The resource is there, and every node reads it anew.
async fn touch(connection: &mut SqliteConnection, resource: &TaggedResource, revision: i64) -> Result<(), Fault> {
    let statement = match resource.resource_type() {
        ResourceType::Key => "UPDATE keys SET revision = $2 WHERE id = $1",
    };
    let done = sqlx::query(statement).bind(resource.id()).bind(revision).execute(connection).await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let text = format!("There is no {} {}.", resource.resource_type().name(), resource.id());
    Err(Error::new(Kind::ResourceIdNotFound, text).into())
}

async fn tags_on(connection: &mut SqliteConnection, resource: &TaggedResource) -> Result<Tags, Fault> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT tag_key, tag_value FROM tags WHERE resource_type = $1 AND resource_id = $2")
            .bind(resource.resource_type().name())
            .bind(resource.id())
            .fetch_all(connection)
            .await?;
    Ok(list_of(rows)?)
}

fn list_of(rows: Vec<(String, String)>) -> Result<Tags> {
    let rows = rows.into_iter().map(|(key, value)| {
        let (key, value): (TagKey, TagValue) = (key.parse().map_err(corrupt)?, value.parse().map_err(corrupt)?);
        Ok((key, value))
    });
    Tags::from_list(rows.collect::<Result<Vec<_>>>()?).map_err(corrupt)
}

pub(super) async fn insert_tags(connection: &mut SqliteConnection, resource: &TaggedResource, tags: &Tags) -> Result<(), Fault> {
    for (key, value) in tags.iter() {
        sqlx::query("INSERT INTO tags (resource_type, resource_id, tag_key, tag_value) VALUES ($1, $2, $3, $4)")
            .bind(resource.resource_type().name())
            .bind(resource.id())
            .bind(key.as_str())
            .bind(value.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn delete_tags(connection: &mut SqliteConnection, resource: &TaggedResource) -> Result<(), Fault> {
    sqlx::query("DELETE FROM tags WHERE resource_type = $1 AND resource_id = $2")
        .bind(resource.resource_type().name())
        .bind(resource.id())
        .execute(connection)
        .await?;
    Ok(())
}
