//! Aliases: names that point to keys.

use sqlx::SqliteConnection;

use super::key_life::locked;
use super::rows::{Rows, parsed};
use super::transaction::is_taken;
use super::{Store, failed, unreadable};
use crate::base::{Error, Kind, Result};
use crate::model::key::Key;
use crate::model::{Alias, KeyId};

impl Store {
    /// Binds a new alias to a key, if `agrees` does, which sees the key as it is in this moment.
    ///
    /// # Errors
    /// [`Kind::AliasExists`], [`Kind::KeyNotFound`], what `agrees` says.
    pub async fn create_alias(&self, alias: &Alias, key: &KeyId, agrees: impl Fn(&Key) -> Result<()> + Send + Sync) -> Result<()> {
        let agrees = &agrees;
        self.write("create alias", move |writing| {
            Box::pin(async move {
                agrees(&locked(writing.connection, writing.sealer, key).await?)?;
                let made = sqlx::query("INSERT INTO aliases (name, key_id) VALUES ($1, $2)")
                    .bind(alias.as_str())
                    .bind(key.as_str())
                    .execute(writing.connection)
                    .await;
                match made {
                    Ok(_) => Ok(()),
                    Err(error) if is_taken(&error) => {
                        Err(Error::new(Kind::AliasExists, format!("The alias {alias} exists already.")).into())
                    }
                    Err(error) => Err(error.into()),
                }
            })
        })
        .await
    }

    /// Binds an alias to another key, if `agrees` does, which sees that key as it is in this moment.
    ///
    /// # Errors
    /// [`Kind::AliasNotFound`], [`Kind::KeyNotFound`], what `agrees` says.
    pub async fn update_alias(&self, alias: &Alias, key: &KeyId, agrees: impl Fn(&Key) -> Result<()> + Send + Sync) -> Result<()> {
        let agrees = &agrees;
        self.write("update alias", move |writing| {
            Box::pin(async move {
                agrees(&locked(writing.connection, writing.sealer, key).await?)?;
                let statement = "UPDATE aliases SET key_id = $2 WHERE name = $1";
                let done = sqlx::query(statement).bind(alias.as_str()).bind(key.as_str()).execute(writing.connection).await?;
                if done.rows_affected() == 0 { Err(unknown(alias).into()) } else { Ok(()) }
            })
        })
        .await
    }

    /// Forgets an alias.
    ///
    /// # Errors
    /// [`Kind::AliasNotFound`].
    pub async fn delete_alias(&self, alias: &Alias) -> Result<()> {
        self.write("delete alias", move |writing| {
            Box::pin(async move {
                let statement = "DELETE FROM aliases WHERE name = $1";
                let done = sqlx::query(statement).bind(alias.as_str()).execute(writing.connection).await?;
                if done.rows_affected() == 0 { Err(unknown(alias).into()) } else { Ok(()) }
            })
        })
        .await
    }

    /// All aliases with their keys, by name; those that cannot be used are logged.
    ///
    /// # Errors
    /// The database fails.
    pub async fn aliases(&self) -> Result<Vec<(Alias, KeyId)>> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        Ok(self.told.usable(aliases(&mut connection).await?))
    }
}

pub(super) async fn aliases(connection: &mut SqliteConnection) -> Result<Rows<(Alias, KeyId)>> {
    let statement = "SELECT name, key_id FROM aliases ORDER BY name";
    let rows = sqlx::query(statement).fetch_all(connection).await.map_err(unreadable("aliases"))?;
    Ok(Rows::read("aliases", &rows, |row| Ok((parsed(row, "name")?, parsed(row, "key_id")?))))
}

fn unknown(alias: &Alias) -> Error {
    Error::new(Kind::AliasNotFound, format!("There is no alias {alias}."))
}
