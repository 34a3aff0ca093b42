//! What import needs to be kept: wrapping keys and their tokens, the fingerprint of what was imported first, material that comes and
//! goes, and objects in tokens that are still to be destroyed.

use sqlx::{Row, SqliteConnection};

use super::key_life::{locked, update};
use super::keys::{KeyVersion, MaterialColumns, arrival, attribute, delete_intent};
use super::orders::{Pair, is_proven_pair, list_object, order_objects, prove_pair};
use super::rows::Rows;
use super::seal::{FINGERPRINT, Place, Sealer};
use super::transaction::{Fault, Writing};
use super::{Store, corrupt, failed};
use crate::base::{Error, Kind, Result, SecretBytes, Timestamp, random};
use crate::model::algorithm::WrappingAlgorithm;
use crate::model::key::{Key, Material, SubjectPublicKeyInfo};
use crate::model::{InstanceId, KeyId, KeyVersionId};

/// The most wrapping keys of a key at a time; of more the oldest are dropped.
const WRAPPING_KEYS: i64 = 8;
/// Length of the id of a wrapping key in bytes.
const ID: usize = 16;

/// What tells the material of a key from other material, keyed.
pub type Fingerprint = [u8; FINGERPRINT];

/// The private half of a pair that material is wrapped by.
pub struct WrappingKey {
    /// For which key.
    pub key: KeyId,
    /// How it is wrapped.
    pub algorithm: WrappingAlgorithm,
    /// Where it is: held as PKCS #8, DER, or an object in the token of the key's instance.
    pub private_key: Material,
    /// Until when it serves.
    pub expires: Timestamp,
}

/// What became of the material that was to be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It is the key's from now on.
    Placed,
    /// The key has it already; the object that was made for it is nobody's.
    AlreadyThere,
    /// The key has none, and none was given: nothing was changed.
    Wanting,
}

impl Store {
    /// Keeps a wrapping key and gives its import token: opaque, authenticated, for this key and this pair alone. The intent of a pair
    /// that was made in a token goes in the same transaction. No snapshot shows them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keep_wrapping_key(&self, wrapping: &WrappingKey) -> Result<Vec<u8>> {
        let bytes: [u8; ID] = random::bytes();
        let id = &hex(&bytes);
        let (sealed, object) = match &wrapping.private_key {
            Material::Held { secret, .. } => (Some(self.sealer.seal(private_key_place(id), secret)?), None),
            Material::Resident(object) => (None, Some(object.as_slice())),
        };
        let sealed = sealed.as_deref();
        let pair = object.map(|object| Pair { key: &wrapping.key, object, expires: wrapping.expires });
        let proof = pair.map(|pair| prove_pair(&self.sealer, id, &pair)).transpose()?;
        let proof = proof.as_deref();
        let mut token = bytes.to_vec();
        token.extend_from_slice(&wrapping.expires.unix().to_be_bytes());
        let token = self.sealer.seal(token_place(&wrapping.key), &SecretBytes::new(token))?;
        self.write_unseen("keep wrapping key", move |writing| {
            Box::pin(async move {
                let Writing { connection, sealer, .. } = writing;
                let statement = "SELECT id FROM wrapping_keys WHERE key_id = $1 AND id NOT IN
                    (SELECT id FROM wrapping_keys WHERE key_id = $1 ORDER BY expires DESC, id LIMIT $2)";
                let superseded: Vec<String> = sqlx::query_scalar(statement)
                    .bind(wrapping.key.as_str())
                    .bind(WRAPPING_KEYS - 1)
                    .fetch_all(&mut *connection)
                    .await?;
                drop_all(connection, sealer, &superseded).await?;
                let statement = "INSERT INTO wrapping_keys (id, key_id, algorithm, private_key, object_id, expires, proof)
                    VALUES ($1, $2, $3, $4, $5, $6, $7)";
                sqlx::query(statement)
                    .bind(id)
                    .bind(wrapping.key.as_str())
                    .bind(wrapping.algorithm.name())
                    .bind(sealed)
                    .bind(object)
                    .bind(wrapping.expires.unix())
                    .bind(proof)
                    .execute(&mut *connection)
                    .await?;
                if let Some(object) = object {
                    delete_intent(connection, &String::from_utf8_lossy(object)).await?;
                }
                Ok(())
            })
        })
        .await?;
        Ok(token)
    }

    /// The wrapping key that a token was given for.
    ///
    /// # Errors
    /// [`Kind::InvalidImportToken`] for what is none of ours, is of another key or was superseded; [`Kind::ExpiredImportToken`]; the
    /// database fails.
    pub async fn wrapping_key(&self, key: &KeyId, token: &[u8], now: Timestamp) -> Result<WrappingKey> {
        let invalid = |text: &str| Error::new(Kind::InvalidImportToken, text);
        let unknown = || invalid("The ImportToken is not one that GetParametersForImport gave for this key.");
        let opened = self.sealer.open(token_place(key), token).map_err(|error| unknown().caused_by(error))?;
        let (id, expires) = token_parts(&opened).ok_or_else(unknown)?;
        if expires <= now {
            return Err(Error::new(Kind::ExpiredImportToken, "The ImportToken has expired; GetParametersForImport gives another."));
        }
        let row = sqlx::query("SELECT algorithm, private_key, object_id FROM wrapping_keys WHERE id = $1 AND key_id = $2")
            .bind(&id)
            .bind(key.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        let superseded = || invalid("The ImportToken was superseded by later ones; GetParametersForImport gives another.");
        let row = row.ok_or_else(superseded)?;
        let algorithm: String = row.try_get("algorithm").map_err(failed)?;
        let private_key = match (row.try_get("private_key").map_err(failed)?, row.try_get("object_id").map_err(failed)?) {
            (_, Some(object)) => Material::Resident(object),
            (Some::<Vec<u8>>(sealed), None) => {
                let secret = self.sealer.open(private_key_place(&id), &sealed)?;
                Material::Held { id: id.into_bytes(), secret }
            }
            (None, None) => return Err(Error::internal(format!("the wrapping key {id} has no private half"))),
        };
        Ok(WrappingKey { key: key.clone(), algorithm: algorithm.parse().map_err(corrupt)?, private_key, expires })
    }

    /// Drops the wrapping keys that have had their time; objects in tokens are noted, to be destroyed. Nothing is written when there
    /// are none.
    ///
    /// # Errors
    /// The first failure; the others are dropped all the same.
    pub async fn drop_wrapping_keys(&self, now: Timestamp) -> Result<()> {
        // A read comes first: every node asks every few seconds, and a statement that may write waits for others that do.
        let statement = "SELECT id FROM wrapping_keys WHERE expires <= $1";
        let rows = sqlx::query(statement).bind(now.unix()).fetch_all(&self.pool).await.map_err(failed)?;
        let ended = Rows::read("wrapping_keys", &rows, |row| row.try_get::<String, _>("id").map_err(failed));
        let mut result = Ok(());
        for id in self.told.usable(ended) {
            let id = std::slice::from_ref(&id);
            let drop =
                self.write_unseen("drop wrapping key", move |writing| Box::pin(drop_all(writing.connection, writing.sealer, id)));
            result = result.and(drop.await);
        }
        result
    }

    /// What tells whether material is the same as before, by its bytes or those of a public half: keyed, and of each key another one.
    pub fn material_fingerprint(&self, key: &KeyId, material: &SecretBytes) -> Fingerprint {
        self.sealer.fingerprint(Place { table: "imported_material", row: key.as_str(), column: "fingerprint" }, material)
    }

    /// The same by what a key encrypts to. It is never that of other material's bytes.
    pub fn check_value_fingerprint(&self, key: &KeyId, check_value: &SecretBytes) -> Fingerprint {
        self.sealer.fingerprint(Place { table: "imported_material", row: key.as_str(), column: "check value" }, check_value)
    }

    /// Whether the material of a key can be known again by its bytes alone: it was imported when there was nothing else.
    ///
    /// # Errors
    /// The database fails.
    pub async fn is_known_by_bytes(&self, key: &KeyId) -> Result<bool> {
        let statement = "SELECT of_bytes FROM imported_material WHERE key_id = $1";
        let found: Option<i64> =
            sqlx::query_scalar(statement).bind(key.as_str()).fetch_optional(&self.pool).await.map_err(failed)?;
        Ok(found.is_some_and(|of_bytes| of_bytes != 0))
    }

    /// Gives a key the material that was made for it, if it is the first or the same as before, and changes the key with it. The
    /// intent of the object goes in the same transaction. Of the first material the first of `fingerprints` is kept; later it is the
    /// same when one of them is the one that was kept.
    ///
    /// # Errors
    /// [`Kind::InvalidKeyMaterial`] for other material than before, [`Kind::KeyNotFound`], what `change` says: then nothing is changed;
    /// the database fails.
    pub async fn place_material(
        &self,
        id: &KeyId,
        fingerprints: &[Fingerprint],
        made: Option<(&KeyVersionId, &KeyVersion)>,
        change: impl Fn(&mut Key) -> Result<()> + Send + Sync,
    ) -> Result<Placement> {
        let made = &match made {
            Some((object, version)) => Some((object, version, self.columns(version)?)),
            None => None,
        };
        let change = &change;
        self.write("place material", move |writing| {
            Box::pin(async move {
                let Writing { connection, revision, sealer, .. } = writing;
                let mut key = locked(connection, sealer, id).await?;
                change(&mut key)?;
                check_fingerprints(connection, id, fingerprints).await?;
                let there: Option<Vec<u8>> = sqlx::query_scalar("SELECT object_id FROM key_versions WHERE id = $1")
                    .bind(key.initial_version.as_str())
                    .fetch_one(&mut *connection)
                    .await?;
                let placement = match (there, made) {
                    (Some(_), _) => Placement::AlreadyThere,
                    (None, None) => return Ok(Placement::Wanting),
                    (None, Some((object, version, columns))) => {
                        put_material(connection, version, columns).await?;
                        delete_intent(connection, object.as_str()).await?;
                        Placement::Placed
                    }
                };
                sqlx::query("INSERT INTO imported_material (key_id, fingerprint) VALUES ($1, $2) ON CONFLICT (key_id) DO NOTHING")
                    .bind(id.as_str())
                    .bind(fingerprints.first().map(|first| first.as_slice()))
                    .execute(&mut *connection)
                    .await?;
                update(connection, sealer, &key, revision).await?;
                Ok(placement)
            })
        })
        .await
    }

    /// Takes the material from a key, whose new state `change` says. Held material is gone with that; an object in a token is noted, to
    /// be destroyed.
    ///
    /// # Errors
    /// As [`Store::change_key`].
    pub async fn erase_material(&self, id: &KeyId, change: impl Fn(&mut Key) -> Result<()> + Send + Sync) -> Result<Key> {
        let change = &change;
        self.write("erase material", move |writing| {
            Box::pin(async move {
                let Writing { connection, revision, sealer, .. } = writing;
                let mut key = locked(connection, sealer, id).await?;
                change(&mut key)?;
                let statement = "SELECT object_id FROM key_versions WHERE key_id = $1 AND object_id IS NOT NULL AND held IS NULL";
                let objects: Vec<Vec<u8>> = sqlx::query_scalar(statement).bind(id.as_str()).fetch_all(&mut *connection).await?;
                order_objects(connection, sealer, (id, &key.instance), &objects).await?;
                let statement =
                    "UPDATE key_versions SET object_id = NULL, held = NULL, public_key = NULL, arrival = NULL, local = NULL,
                    sensitive = NULL, always_sensitive = NULL, extractable = NULL, never_extractable = NULL, fingerprint = NULL WHERE key_id = $1";
                sqlx::query(statement).bind(id.as_str()).execute(&mut *connection).await?;
                update(connection, sealer, &key, revision).await?;
                Ok(key)
            })
        })
        .await
    }
}

/// Drops wrapping keys. Their objects in tokens are from now on to be destroyed, if they are what the service made for that.
async fn drop_all(connection: &mut SqliteConnection, sealer: &Sealer, ids: &[String]) -> Result<(), Fault> {
    for id in ids {
        let statement = "SELECT wrapping_keys.object_id, wrapping_keys.expires, wrapping_keys.proof, keys.id, keys.instance
            FROM wrapping_keys JOIN keys ON keys.id = wrapping_keys.key_id
            WHERE wrapping_keys.id = $1 AND wrapping_keys.object_id IS NOT NULL";
        if let Some(row) = sqlx::query(statement).bind(id).fetch_optional(&mut *connection).await? {
            let (object, proof): (Vec<u8>, Option<Vec<u8>>) = (row.try_get("object_id")?, row.try_get("proof")?);
            let key: KeyId = row.try_get::<String, _>("id")?.parse().map_err(corrupt)?;
            let instance: InstanceId = row.try_get::<String, _>("instance")?.parse().map_err(corrupt)?;
            let pair = Pair { key: &key, object: &object, expires: Timestamp::from_unix(row.try_get("expires")?) };
            if is_proven_pair(sealer, id, &pair, proof.as_deref()) {
                order_objects(connection, sealer, (&key, &instance), std::slice::from_ref(&object)).await?;
            } else {
                list_object(connection, (&key, &instance), &object).await?;
            }
        }
        sqlx::query("DELETE FROM wrapping_keys WHERE id = $1").bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Drops all wrapping keys of a key that goes.
pub(super) async fn drop_of_key(connection: &mut SqliteConnection, sealer: &Sealer, key: &KeyId) -> Result<(), Fault> {
    let statement = "SELECT id FROM wrapping_keys WHERE key_id = $1";
    let ids: Vec<String> = sqlx::query_scalar(statement).bind(key.as_str()).fetch_all(&mut *connection).await?;
    drop_all(connection, sealer, &ids).await
}

async fn check_fingerprints(connection: &mut SqliteConnection, id: &KeyId, fingerprints: &[Fingerprint]) -> Result<(), Fault> {
    let first: Option<Vec<u8>> = sqlx::query_scalar("SELECT fingerprint FROM imported_material WHERE key_id = $1")
        .bind(id.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    match first {
        None if is_first_material_unclaimed(connection).await? => {
            let text =
                format!("It is not known whether the key {id} had other key material: a row of imported_material is damaged.");
            Err(Error::internal(text).into())
        }
        Some(first) if fingerprints.iter().all(|fingerprint| first != fingerprint) => {
            let text = format!("The key {id} takes only the key material that was imported first; this is another.");
            Err(Error::new(Kind::InvalidKeyMaterial, text).into())
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether there is a row of first material that no key claims: it may be of any key that has none.
async fn is_first_material_unclaimed(connection: &mut SqliteConnection) -> Result<bool, Fault> {
    let statement = "SELECT EXISTS (SELECT 1 FROM imported_material WHERE NOT EXISTS
        (SELECT 1 FROM keys WHERE keys.id = imported_material.key_id))";
    Ok(sqlx::query_scalar(statement).fetch_one(connection).await?)
}

async fn put_material(connection: &mut SqliteConnection, version: &KeyVersion, columns: &MaterialColumns) -> Result<(), Fault> {
    let statement = "UPDATE key_versions SET object_id = $2, held = $3, public_key = $4, local = $5, sensitive = $6,
        always_sensitive = $7, extractable = $8, never_extractable = $9, arrival = $10, fingerprint = $11 WHERE id = $1";
    sqlx::query(statement)
        .bind(version.id.as_str())
        .bind(columns.object_id.as_deref())
        .bind(columns.held.as_deref())
        .bind(version.public_key.as_ref().map(SubjectPublicKeyInfo::as_der))
        .bind(attribute(version, |attributes| attributes.local))
        .bind(attribute(version, |attributes| attributes.sensitive))
        .bind(attribute(version, |attributes| attributes.always_sensitive))
        .bind(attribute(version, |attributes| attributes.extractable))
        .bind(attribute(version, |attributes| attributes.never_extractable))
        .bind(arrival(version))
        .bind(version.fingerprint.as_ref().map(Fingerprint::as_slice))
        .execute(connection)
        .await?;
    Ok(())
}

fn private_key_place(id: &str) -> Place<'_> {
    Place { table: "wrapping_keys", row: id, column: "private_key" }
}

/// A token is no column, but sealed as if it were one of its key.
fn token_place(key: &KeyId) -> Place<'_> {
    Place { table: "wrapping_keys", row: key.as_str(), column: "import token" }
}

/// The id of the wrapping key and until when it serves.
fn token_parts(opened: &SecretBytes) -> Option<(String, Timestamp)> {
    let (id, expires) = opened.expose().split_first_chunk::<ID>()?;
    Some((hex(id), Timestamp::from_unix(i64::from_be_bytes(expires.try_into().ok()?))))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
