//! The authorities that sign certificates.

use super::seal::Place;
use super::{Store, failed};
use crate::base::{Result, SecretBytes};

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

fn key_place(name: &str) -> Place<'_> {
    Place { table: "authorities", row: name, column: "private_key" }
}
