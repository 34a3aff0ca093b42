//! Roles: identities that are assumed, with who may do so and for how long. Their policies are those of identities.

use std::time::Duration;

use super::operators::insert_identity;
use super::{Store, corrupt, failed};
use crate::base::{Error, Kind, Result};
use crate::model::Name;
use crate::model::operator::{Identity, Role, TrustPolicy};

impl Store {
    /// Keeps a role with the identity of its name.
    ///
    /// # Errors
    /// As [`Store::create_identity`].
    pub async fn create_role(&self, identity: &Identity, role: &Role) -> Result<()> {
        self.write("create role", |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                insert_identity(connection, identity).await?;
                sqlx::query("INSERT INTO roles (name, id, trust, max_session) VALUES ($1, $2, $3, $4)")
                    .bind(role.name.as_str())
                    .bind(role.id.as_str())
                    .bind(role.trust.text())
                    .bind(seconds(role.max_session))
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Changes who may assume a role, and for how long; what is not given stays.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn change_role(&self, name: &Name, trust: Option<&TrustPolicy>, max_session: Option<Duration>) -> Result<()> {
        self.write("change role", |writing| {
            Box::pin(async move {
                let statement =
                    "UPDATE roles SET trust = COALESCE($2, trust), max_session = COALESCE($3, max_session) WHERE name = $1";
                let query = sqlx::query(statement).bind(name.as_str());
                let query = query.bind(trust.map(TrustPolicy::text)).bind(max_session.map(seconds));
                match query.execute(writing.connection).await?.rows_affected() {
                    0 => Err(Error::new(Kind::ResourceNotFound, format!("There is no role {name}.")).into()),
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    /// All roles, by name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn roles(&self) -> Result<Vec<Role>> {
        let statement = "SELECT name, id, trust, max_session FROM roles ORDER BY name";
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as(statement).fetch_all(&self.pool).await.map_err(failed)?;
        rows.into_iter()
            .map(|(name, id, trust, max_session)| {
                Ok(Role {
                    name: name.parse().map_err(corrupt)?,
                    id: id.parse().map_err(corrupt)?,
                    trust: trust.parse().map_err(corrupt)?,
                    max_session: Duration::from_secs(max_session.try_into().map_err(corrupt)?),
                })
            })
            .collect()
    }
}

fn seconds(duration: Duration) -> i64 {
    duration.as_secs().cast_signed()
}
