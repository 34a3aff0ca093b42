//! Fingerprints of the objects of key versions: a keyed hash of what such an object computes, by which it is known again in its token.

use sqlx::SqliteConnection;

use super::Store;
use super::import::Fingerprint;
use super::seal::Place;
use super::transaction::Fault;
use crate::base::{Error, Kind, Result, SecretBytes};
use crate::model::KeyVersionId;
use crate::model::key::Arrival;

impl Store {
    /// That of a key whose check value this is: the same wherever it is kept, so that one key is found under two names.
    pub fn key_fingerprint(&self, check_value: &SecretBytes) -> Fingerprint {
        self.sealer.fingerprint(Place { table: "key_versions", row: "", column: "fingerprint" }, check_value)
    }

    /// Keeps the fingerprint of a version that was made without one. No snapshot shows it to others, which find out by themselves.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it has another one by now, or another version the same; the database fails.
    pub async fn adopt_fingerprint(&self, version: &KeyVersionId, fingerprint: &Fingerprint) -> Result<()> {
        self.write_unseen("adopt fingerprint", move |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                let statement = "SELECT fingerprint, arrival FROM key_versions WHERE id = $1";
                let row: Option<(Option<Vec<u8>>, Option<String>)> =
                    sqlx::query_as(statement).bind(version.as_str()).fetch_optional(&mut *connection).await?;
                match row {
                    // It was erased meanwhile.
                    None => Ok(()),
                    Some((Some(kept), _)) if kept == fingerprint => Ok(()),
                    Some((Some(_), _)) => {
                        let text =
                            format!("The key {version} is not used: the key in the token that has its CKA_ID is another one.");
                        Err(Error::new(Kind::Internal, text).into())
                    }
                    Some((None, arrival)) => {
                        if arrival.is_some_and(|arrival| arrival == Arrival::Generated.name()) {
                            check_no_twin(connection, version, fingerprint).await?;
                        }
                        sqlx::query("UPDATE key_versions SET fingerprint = $2 WHERE id = $1")
                            .bind(version.as_str())
                            .bind(fingerprint.as_slice())
                            .execute(connection)
                            .await?;
                        Ok(())
                    }
                }
            })
        })
        .await
    }
}

/// A token does not generate a key twice, unless its random numbers are none. The same material may be imported twice.
pub(super) async fn check_no_twin(
    connection: &mut SqliteConnection,
    version: &KeyVersionId,
    fingerprint: &Fingerprint,
) -> Result<(), Fault> {
    let twin: Option<String> = sqlx::query_scalar("SELECT id FROM key_versions WHERE fingerprint = $1 AND id <> $2 LIMIT 1")
        .bind(fingerprint.as_slice())
        .bind(version.as_str())
        .fetch_optional(connection)
        .await?;
    let Some(twin) = twin else { return Ok(()) };
    tracing::error!(%version, twin, "the token made a key that there is already: its random numbers are none");
    let text = format!(
        "The key {version} is not used: it is the same as {twin}. Whoever looks after the token must see to its random numbers."
    );
    Err(Error::new(Kind::Internal, text).into())
}
