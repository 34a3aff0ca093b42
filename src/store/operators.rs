//! The operators' AccessKeys and the authorities that sign certificates.

use super::seal::Place;
use super::{Store, corrupt, failed};
use crate::base::{Result, SecretBytes, Timestamp};
use crate::model::AccessKeyId;

/// The owner of the AccessKey that `keystead init` makes.
pub const ADMINISTRATOR: &str = "administrator";

/// An AccessKey.
pub struct AccessKey {
    /// Its id.
    pub id: AccessKeyId,
    /// What requests are signed with.
    pub secret: SecretBytes,
    /// Whose it is.
    pub owner: String,
    /// When it was made.
    pub created: Timestamp,
}

/// The root and the issuing CA of an installation.
pub struct Authorities {
    /// DER.
    pub root_certificate: Vec<u8>,
    /// PKCS #8, DER.
    pub root_key: SecretBytes,
    /// DER.
    pub issuing_certificate: Vec<u8>,
    /// PKCS #8, DER.
    pub issuing_key: SecretBytes,
}

impl Store {
    /// Keeps an AccessKey; the former ones of its owner go.
    ///
    /// # Errors
    /// The database fails.
    pub async fn replace_administrator(&self, key: &AccessKey) -> Result<()> {
        let secret = self.sealer.seal(secret_place(key.id.as_str()), &key.secret)?;
        let secret = secret.as_slice();
        self.write("replace administrator", |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                sqlx::query("DELETE FROM access_keys WHERE owner = $1").bind(&key.owner).execute(&mut *connection).await?;
                sqlx::query("INSERT INTO access_keys (id, secret, owner, created) VALUES ($1, $2, $3, $4)")
                    .bind(key.id.as_str())
                    .bind(secret)
                    .bind(&key.owner)
                    .bind(key.created.unix())
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// All AccessKeys.
    ///
    /// # Errors
    /// The database fails, or holds what does not open under the root key.
    pub async fn access_keys(&self) -> Result<Vec<AccessKey>> {
        let statement = "SELECT id, secret, owner, created FROM access_keys ORDER BY created, id";
        let rows: Vec<(String, Vec<u8>, String, i64)> = sqlx::query_as(statement).fetch_all(&self.pool).await.map_err(failed)?;
        rows.into_iter()
            .map(|(id, secret, owner, created)| {
                let secret = self.sealer.open(secret_place(&id), &secret)?;
                Ok(AccessKey { id: id.parse().map_err(corrupt)?, secret, owner, created: Timestamp::from_unix(created) })
            })
            .collect()
    }

    /// Keeps the authorities of the installation, once: when there are some already, those stay.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_authorities(&self, authorities: &Authorities) -> Result<()> {
        let root_key = self.sealer.seal(key_place("root"), &authorities.root_key)?;
        let issuing_key = self.sealer.seal(key_place("issuing"), &authorities.issuing_key)?;
        let rows = [("root", &authorities.root_certificate, root_key), ("issuing", &authorities.issuing_certificate, issuing_key)];
        let rows = &rows;
        self.write("put authorities", |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                for (name, certificate, key) in rows {
                    let statement = "INSERT INTO authorities (name, certificate, private_key) VALUES ($1, $2, $3)
                        ON CONFLICT (name) DO NOTHING";
                    sqlx::query(statement)
                        .bind(*name)
                        .bind(certificate.as_slice())
                        .bind(key.as_slice())
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The authorities of the installation, if there are any yet.
    ///
    /// # Errors
    /// The database fails, or holds what does not open under the root key.
    pub async fn authorities(&self) -> Result<Option<Authorities>> {
        let Some((root_certificate, root_key)) = self.authority("root").await? else { return Ok(None) };
        let Some((issuing_certificate, issuing_key)) = self.authority("issuing").await? else { return Ok(None) };
        Ok(Some(Authorities { root_certificate, root_key, issuing_certificate, issuing_key }))
    }

    async fn authority(&self, name: &str) -> Result<Option<(Vec<u8>, SecretBytes)>> {
        let row: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as("SELECT certificate, private_key FROM authorities WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        row.map(|(certificate, key)| Ok((certificate, self.sealer.open(key_place(name), &key)?))).transpose()
    }
}

fn secret_place(id: &str) -> Place<'_> {
    Place { table: "access_keys", row: id, column: "secret" }
}

fn key_place(name: &str) -> Place<'_> {
    Place { table: "authorities", row: name, column: "private_key" }
}
