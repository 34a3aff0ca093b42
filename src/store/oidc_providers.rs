//! OIDC providers with their client ids and key sets.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::rows::{Rows, number, parsed, text};
use super::transaction::{Fault, is_taken};
use super::{Store, corrupt, failed, unreadable};
use crate::base::{Error, Kind, Result, Timestamp};
use crate::model::oidc::{ClientIds, KeySet, OidcProvider, PROVIDERS};
use crate::model::{ClientId, Name};

/// What changes of an OIDC provider; what is not given stays. Its name and its issuer never change.
#[derive(Default)]
pub struct OidcProviderChange {
    /// All of its client ids.
    pub client_ids: Option<ClientIds>,
    /// What its tokens are verified by.
    pub keys: Option<KeySet>,
    /// How long after it was issued a token is taken.
    pub issuance_limit: Option<Duration>,
    /// Free text.
    pub description: Option<String>,
}

impl Store {
    /// Keeps an OIDC provider.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`] when the name is taken, [`Kind::LimitExceeded`] when there are too many.
    pub async fn create_oidc_provider(&self, provider: &OidcProvider) -> Result<()> {
        self.write("create OIDC provider", |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM oidc_providers").fetch_one(&mut *connection).await?;
                if usize::try_from(count).is_ok_and(|count| count >= PROVIDERS) {
                    let text = format!("There are {PROVIDERS} OIDC providers already: delete one first.");
                    return Err(Error::new(Kind::LimitExceeded, text).into());
                }
                let statement = "INSERT INTO oidc_providers (name, issuer, key_set, issuance_limit, description, created)
                    VALUES ($1, $2, $3, $4, $5, $6)";
                let made = sqlx::query(statement)
                    .bind(provider.name.as_str())
                    .bind(provider.issuer.as_str())
                    .bind(provider.keys.text())
                    .bind(seconds(provider.issuance_limit))
                    .bind(&provider.description)
                    .bind(provider.created.unix())
                    .execute(&mut *connection)
                    .await;
                match made {
                    Ok(_) => insert_client_ids(connection, &provider.name, &provider.client_ids).await,
                    Err(error) if is_taken(&error) => {
                        let text = format!("There is an OIDC provider {} already.", provider.name);
                        Err(Error::new(Kind::ResourceExists, text).into())
                    }
                    Err(error) => Err(error.into()),
                }
            })
        })
        .await
    }

    /// Changes an OIDC provider.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn change_oidc_provider(&self, name: &Name, change: &OidcProviderChange) -> Result<()> {
        self.write("change OIDC provider", |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                let statement = "UPDATE oidc_providers SET key_set = COALESCE($2, key_set),
                    issuance_limit = COALESCE($3, issuance_limit), description = COALESCE($4, description) WHERE name = $1";
                let query = sqlx::query(statement)
                    .bind(name.as_str())
                    .bind(change.keys.as_ref().map(KeySet::text))
                    .bind(change.issuance_limit.map(seconds))
                    .bind(change.description.as_deref());
                found(query.execute(&mut *connection).await?.rows_affected(), name)?;
                let Some(client_ids) = &change.client_ids else { return Ok(()) };
                sqlx::query("DELETE FROM oidc_client_ids WHERE provider = $1")
                    .bind(name.as_str())
                    .execute(&mut *connection)
                    .await?;
                insert_client_ids(connection, name, client_ids).await
            })
        })
        .await
    }

    /// Forgets an OIDC provider: its tokens are good for nothing any more.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_oidc_provider(&self, name: &Name) -> Result<()> {
        self.write("delete OIDC provider", |writing| {
            Box::pin(async move {
                let query = sqlx::query("DELETE FROM oidc_providers WHERE name = $1").bind(name.as_str());
                found(query.execute(writing.connection).await?.rows_affected(), name)
            })
        })
        .await
    }

    /// All OIDC providers, by name; those that cannot be used are logged.
    ///
    /// # Errors
    /// The database fails.
    pub async fn oidc_providers(&self) -> Result<Vec<OidcProvider>> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        Ok(self.told.usable(oidc_providers(&mut transaction).await?))
    }
}

pub(super) async fn oidc_providers(connection: &mut SqliteConnection) -> Result<Rows<OidcProvider>> {
    let statement = "SELECT name, issuer, key_set, issuance_limit, description, created FROM oidc_providers ORDER BY name";
    let rows = sqlx::query(statement).fetch_all(&mut *connection).await.map_err(unreadable("oidc_providers"))?;
    let statement = "SELECT provider, client_id FROM oidc_client_ids ORDER BY provider, client_id";
    let client_ids = sqlx::query(statement).fetch_all(connection).await.map_err(unreadable("oidc_client_ids"))?;
    // A token that is for nobody that can be read is for nobody: the others stand.
    let client_ids =
        Rows::read("oidc_client_ids", &client_ids, |row| Ok((text(row, "provider")?, parsed::<ClientId>(row, "client_id")?)));
    let mut providers = Rows::read("oidc_providers", &rows, |row| {
        let name = text(row, "name")?;
        let of_it = client_ids.usable.iter().filter(|(provider, _)| *provider == name).map(|(_, id)| id.clone());
        Ok(OidcProvider {
            client_ids: ClientIds::from_list(of_it.collect()).map_err(corrupt)?,
            name: name.parse().map_err(corrupt)?,
            issuer: parsed(row, "issuer")?,
            keys: parsed(row, "key_set")?,
            issuance_limit: Duration::from_secs(number(row, "issuance_limit")?.try_into().map_err(corrupt)?),
            description: text(row, "description")?,
            created: Timestamp::from_unix(number(row, "created")?),
        })
    });
    providers.unusable.extend(client_ids.unusable);
    Ok(providers)
}

async fn insert_client_ids(connection: &mut SqliteConnection, provider: &Name, client_ids: &ClientIds) -> Result<(), Fault> {
    for client_id in client_ids.iter() {
        sqlx::query("INSERT INTO oidc_client_ids (provider, client_id) VALUES ($1, $2)")
            .bind(provider.as_str())
            .bind(client_id.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn found(rows: u64, name: &Name) -> Result<(), Fault> {
    match rows {
        0 => Err(Error::new(Kind::ResourceNotFound, format!("There is no OIDC provider {name}.")).into()),
        _ => Ok(()),
    }
}

fn seconds(duration: Duration) -> i64 {
    duration.as_secs().cast_signed()
}
