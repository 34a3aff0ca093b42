//! Roles: identities that are assumed, with who may do so and for how long. Their policies are those of identities.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::operators::insert_identity;
use super::rows::{Rows, number, parsed};
use super::{Store, corrupt, failed, unreadable};
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

    /// All roles, by name; those that cannot be used are logged.
    ///
    /// # Errors
    /// The database fails.
    pub async fn roles(&self) -> Result<Vec<Role>> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        Ok(self.told.usable(roles(&mut connection).await?))
    }
}

pub(super) async fn roles(connection: &mut SqliteConnection) -> Result<Rows<Role>> {
    let statement = "SELECT name, id, trust, max_session FROM roles ORDER BY name";
    let rows = sqlx::query(statement).fetch_all(connection).await.map_err(unreadable("roles"))?;
    Ok(Rows::read("roles", &rows, |row| {
        let max_session = Duration::from_secs(number(row, "max_session")?.try_into().map_err(corrupt)?);
        Ok(Role { name: parsed(row, "name")?, id: parsed(row, "id")?, trust: parsed(row, "trust")?, max_session })
    }))
}

fn seconds(duration: Duration) -> i64 {
    duration.as_secs().cast_signed()
}
