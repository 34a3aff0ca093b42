//! Attempts to rotate keys: which node has begun one, and when the next may begin. An attempt ends with the version that it makes.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::key_life::locked;
use super::keys::{Versions, versions_of};
use super::rows::{Rows, number, parsed};
use super::transaction::{Fault, Writing};
use super::{Store, corrupt, failed};
use crate::base::{Result, Timestamp};
use crate::model::KeyId;
use crate::model::key::Key;
use crate::model::rotation::RotationAttempt;

impl Store {
    /// Notes the attempt that `claim` makes of the key, its versions and the last attempt as they are in this moment; nothing when it
    /// makes none. Of several nodes that claim at once one gets the attempt. No snapshot shows attempts.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`](crate::base::Kind::KeyNotFound); the database fails.
    pub async fn claim_rotation(
        &self,
        id: &KeyId,
        claim: impl Fn(&Key, Versions, Option<RotationAttempt>) -> Option<RotationAttempt> + Send + Sync,
    ) -> Result<Option<RotationAttempt>> {
        let claim = &claim;
        self.write_unseen("claim rotation", move |writing| {
            Box::pin(async move {
                let Writing { connection, sealer, .. } = writing;
                let key = locked(connection, sealer, id).await?;
                let versions = versions_of(connection, &key).await?;
                let row: Option<(i64, i64)> = sqlx::query_as("SELECT number, ends_at FROM rotation_attempts WHERE key_id = $1")
                    .bind(id.as_str())
                    .fetch_optional(&mut *connection)
                    .await?;
                let last = row.map(attempt).transpose()?;
                let Some(next) = claim(&key, versions, last) else { return Ok(None) };
                let statement = "INSERT INTO rotation_attempts (key_id, number, ends_at) VALUES ($1, $2, $3)
                    ON CONFLICT (key_id) DO UPDATE SET number = excluded.number, ends_at = excluded.ends_at";
                sqlx::query(statement)
                    .bind(id.as_str())
                    .bind(i64::from(next.number))
                    .bind(next.ends_at.unix())
                    .execute(connection)
                    .await?;
                Ok(Some(next))
            })
        })
        .await
    }

    /// The attempts that made no version yet, by key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn rotation_attempts(&self) -> Result<HashMap<KeyId, RotationAttempt>> {
        let statement = "SELECT key_id, number, ends_at FROM rotation_attempts";
        let rows = sqlx::query(statement).fetch_all(&self.pool).await.map_err(failed)?;
        let read = Rows::read("rotation_attempts", &rows, |row| {
            Ok((parsed(row, "key_id")?, attempt((number(row, "number")?, number(row, "ends_at")?))?))
        });
        Ok(self.told.usable(read).into_iter().collect())
    }
}

/// The key has a new version: whatever was begun is done.
pub(super) async fn end_attempt(connection: &mut SqliteConnection, key: &KeyId) -> Result<(), Fault> {
    sqlx::query("DELETE FROM rotation_attempts WHERE key_id = $1").bind(key.as_str()).execute(connection).await?;
    Ok(())
}

fn attempt((number, ends_at): (i64, i64)) -> Result<RotationAttempt> {
    Ok(RotationAttempt { number: number.try_into().map_err(corrupt)?, ends_at: Timestamp::from_unix(ends_at) })
}
