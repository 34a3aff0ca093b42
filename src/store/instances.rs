//! Instances: which there were, since when, of which kind.

use super::{Store, failed};
use crate::base::{Error, Kind, Result, Timestamp};
use crate::model::InstanceId;
use crate::model::instance::{Instance, InstanceKind};

impl Store {
    /// Notes an instance that is served from now on; its name may change, its kind may not.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] when it was of the other kind: its keys would be lost to it.
    pub async fn register_instance(&self, id: &InstanceId, name: &str, kind: InstanceKind, now: Timestamp) -> Result<Instance> {
        if let Some(known) = self.instance(id).await? {
            if known.kind != kind {
                let text = format!("The instance {id} is of the kind {} and cannot become {kind}: give it another id.", known.kind);
                return Err(Error::new(Kind::InvalidParameter, text));
            }
            if known.name == name {
                return Ok(known);
            }
        }
        let created: i64 = self
            .write("register instance", |writing| {
                Box::pin(async move {
                    let connection = writing.connection;
                    let statement = "INSERT INTO instances (id, name, kind, created) VALUES ($1, $2, $3, $4)
                        ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING created";
                    let bound = sqlx::query_scalar(statement).bind(id.as_str()).bind(name).bind(kind.name()).bind(now.unix());
                    Ok(bound.fetch_one(connection).await?)
                })
            })
            .await?;
        Ok(Instance { id: id.clone(), name: name.to_owned(), kind, created: Timestamp::from_unix(created) })
    }

    async fn instance(&self, id: &InstanceId) -> Result<Option<Instance>> {
        let row: Option<(String, String, i64)> = sqlx::query_as("SELECT name, kind, created FROM instances WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        row.map(|(name, kind, created)| {
            let kind = kind.parse().map_err(super::corrupt)?;
            Ok(Instance { id: id.clone(), name, kind, created: Timestamp::from_unix(created) })
        })
        .transpose()
    }
}
