//! What happens to a key after it was made: changes of the row, and its end.

use sqlx::SqliteConnection;

use super::Store;
use super::alerts::{Raised, Sending, insert_alert};
use super::import::drop_of_key;
use super::keys::{KEY_COLUMNS, const_format, interval_column, key_of};
use super::orders;
use super::seal::Sealer;
use super::tags::delete_tags;
use super::transaction::{Fault, Writing};
use crate::base::{Error, Kind, Result, Timestamp};
use crate::model::KeyId;
use crate::model::alert::Alert;
use crate::model::key::{DeletionProtection, Key, Presence};
use crate::model::tags::TaggedResource;

impl Store {
    /// Changes what may change of a key: state, deletion, protection, rotation, description, policy. `change` sees the key as it is in this
    /// moment.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`]; what `change` says, and then nothing is changed; the database fails.
    pub async fn change_key(&self, id: &KeyId, change: impl Fn(&mut Key) -> Result<()> + Send + Sync) -> Result<Key> {
        let (key, _) = self.change_key_and_raise(id, Sending::Nowhere, |key| change(key).map(|()| None)).await?;
        Ok(key)
    }

    /// The same, and raises the alert that `change` makes of it, in one transaction.
    ///
    /// # Errors
    /// As [`Store::change_key`].
    pub async fn change_key_and_raise(
        &self,
        id: &KeyId,
        sending: Sending,
        change: impl Fn(&mut Key) -> Result<Option<Alert>> + Send + Sync,
    ) -> Result<(Key, Option<(Alert, Raised)>)> {
        let change = &change;
        self.write("change key", move |writing| {
            Box::pin(async move {
                let Writing { connection, revision, sealer, .. } = writing;
                let mut key = locked(connection, sealer, id).await?;
                let alert = change(&mut key)?;
                update(connection, sealer, &key, revision).await?;
                let Some(alert) = alert else { return Ok((key, None)) };
                let raised = insert_alert(connection, &alert, sending).await?;
                Ok((key, Some((alert, raised))))
            })
        })
        .await
    }

    /// Forgets a key with its versions, aliases and tags, if `agrees` does, which sees it as it is in this moment; raises the alert that
    /// tells of it in the same transaction.
    ///
    /// # Errors
    /// As [`Store::change_key`].
    pub async fn delete_key(
        &self,
        id: &KeyId,
        (alert, sending): (&Alert, Sending),
        agrees: impl Fn(&Key) -> Result<()> + Send + Sync,
    ) -> Result<Raised> {
        let agrees = &agrees;
        self.write("delete key", move |writing| {
            Box::pin(async move {
                let Writing { connection, revision, sealer, .. } = writing;
                agrees(&locked(connection, sealer, id).await?)?;
                // A row that is there already was written by somebody else.
                let statement = "INSERT INTO deleted_keys (id, revision) VALUES ($1, $2)
                    ON CONFLICT (id) DO UPDATE SET revision = excluded.revision";
                sqlx::query(statement).bind(id.as_str()).bind(revision).execute(&mut *connection).await?;
                drop_of_key(connection, sealer, id).await?;
                sqlx::query("DELETE FROM keys WHERE id = $1").bind(id.as_str()).execute(&mut *connection).await?;
                delete_tags(connection, &TaggedResource::Key(id.clone())).await?;
                insert_alert(connection, alert, sending).await
            })
        })
        .await
    }
}

/// The row; a transaction that writes from its start has the only say about it.
pub(super) async fn locked(connection: &mut SqliteConnection, sealer: &Sealer, id: &KeyId) -> Result<Key, Fault> {
    let statement = const_format(KEY_COLUMNS, "FROM keys WHERE id = $1");
    let row = sqlx::query(statement).bind(id.as_str()).fetch_optional(connection).await?;
    let row = row.ok_or_else(|| Error::new(Kind::KeyNotFound, format!("There is no key {id}.")))?;
    Ok(key_of(&row, sealer)?)
}

pub(super) async fn update(connection: &mut SqliteConnection, sealer: &Sealer, key: &Key, revision: i64) -> Result<(), Fault> {
    let protection = match &key.deletion_protection {
        DeletionProtection::Disabled => None,
        DeletionProtection::Enabled(why) => Some(why),
    };
    let statement =
        "UPDATE keys SET state = $2, delete_at = $3, deletion_protection = $4, rotation_interval = $5, description = $6, policy = $7,
        revision = $8, has_material = $9, material_expires = $10, deletion_proof = $11, expiry_proof = $12 WHERE id = $1";
    let (has_material, material_expires) = presence_columns(key.presence);
    let proofs = orders::proofs_of_key(sealer, key)?;
    sqlx::query(statement)
        .bind(key.id.as_str())
        .bind(key.state.name())
        .bind(key.delete_at.map(|at| at.unix()))
        .bind(protection)
        .bind(interval_column(key))
        .bind(&key.description)
        .bind(key.policy.as_ref().map(|policy| policy.text()))
        .bind(revision)
        .bind(has_material)
        .bind(material_expires)
        .bind(proofs.deletion)
        .bind(proofs.expiry)
        .execute(connection)
        .await?;
    Ok(())
}

/// The columns `has_material` and `material_expires`.
pub(super) fn presence_columns(presence: Presence) -> (i64, Option<i64>) {
    match presence {
        Presence::Present => (1, None),
        Presence::Until(end) => (1, Some(end.unix())),
        Presence::Absent => (0, None),
    }
}

/// What those columns say.
pub(super) fn presence((has_material, material_expires): (i64, Option<i64>)) -> Presence {
    match (has_material, material_expires) {
        (0, _) => Presence::Absent,
        (_, None) => Presence::Present,
        (_, Some(end)) => Presence::Until(Timestamp::from_unix(end)),
    }
}
