//! Keys and their versions. A key is made in three steps, intent, tier, commit, so that a crash in between leaves something that
//! can be found.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::fingerprints::check_no_twin;
use super::import::Fingerprint;
use super::key_life::{locked, presence, presence_columns};
use super::orders;
use super::rotation::end_attempt;
use super::rows::Rows;
use super::seal::{Place, Sealer};
use super::tags::insert_tags;
use super::transaction::{Fault, Writing};
use super::{Store, corrupt, failed};
use crate::base::{Error, Result, Timestamp};
use crate::model::algorithm::{KeySpec, KeyUsage};
use crate::model::key::{Arrival, DeletionProtection, DestructionOrders, Key, KeyAttributes, Material, SubjectPublicKeyInfo};
use crate::model::operator::KeyPolicy;
use crate::model::quota::KeyQuota;
use crate::model::rotation::RotationInterval;
use crate::model::tags::{TaggedResource, Tags};
use crate::model::{InstanceId, KeyId, KeyVersionId};

/// A key that is about to be made in a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyIntent {
    /// The key.
    pub key: KeyId,
    /// Its first version, by which the tier's object is found.
    pub version: KeyVersionId,
    /// Where.
    pub instance: InstanceId,
    /// What kind of key.
    pub spec: KeySpec,
    /// What it may do.
    pub usage: KeyUsage,
    /// When it was begun.
    pub created: Timestamp,
}

/// A version of a key with its material.
pub struct KeyVersion {
    /// Its id.
    pub id: KeyVersionId,
    /// When it was made.
    pub created: Timestamp,
    /// Where its material is; `None` while that is to be imported.
    pub material: Option<Material>,
    /// The public half of a pair.
    pub public_key: Option<SubjectPublicKeyInfo>,
    /// What the token said of the object.
    pub attributes: Option<KeyAttributes>,
    /// What the object in the token is known again by; `None` without a token, and of what was made before until its first use.
    pub fingerprint: Option<Fingerprint>,
    /// AES-GCM encryptions counted, ahead of the real number.
    pub encryptions: u64,
}

/// How many versions a key has, and when the newest was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// How many.
    pub count: usize,
    /// When the newest was made.
    pub newest: Timestamp,
}

/// The columns of the material.
pub(super) struct MaterialColumns {
    /// Empty without material.
    pub(super) object_id: Option<Vec<u8>>,
    /// Sealed; empty for an object in a token.
    pub(super) held: Option<Vec<u8>>,
}

pub(super) const KEY_COLUMNS: &str = "id, instance, spec, usage, origin, state, delete_at, deletion_protection, rotation_interval, description, creator, created, initial_version, primary_version, has_material, material_expires, policy, deletion_proof, expiry_proof";
pub(super) const VERSION_COLUMNS: &str = "id, key_id, created, object_id, held, public_key, arrival, local, sensitive, always_sensitive, \
                               extractable, never_extractable, encryptions, fingerprint";

impl Store {
    /// Notes that a key is about to be made.
    ///
    /// # Errors
    /// The database fails.
    pub async fn intend_key(&self, intent: &KeyIntent) -> Result<()> {
        self.write_unseen("intend key", |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                let statement =
                    "INSERT INTO key_intents (version_id, key_id, instance, spec, usage, created) VALUES ($1, $2, $3, $4, $5, $6)";
                sqlx::query(statement)
                    .bind(intent.version.as_str())
                    .bind(intent.key.as_str())
                    .bind(intent.instance.as_str())
                    .bind(intent.spec.name())
                    .bind(intent.usage.name())
                    .bind(intent.created.unix())
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Keeps a key that was made, with its tags, if its instance has room for it in this moment; its intent goes in the same transaction.
    ///
    /// # Errors
    /// [`Kind::LimitExceeded`](crate::base::Kind::LimitExceeded) when the quota is used up; the database fails.
    pub async fn commit_key(&self, key: &Key, version: &KeyVersion, tags: &Tags, quota: Option<KeyQuota>) -> Result<()> {
        let columns = &self.columns(version)?;
        self.write("commit key", |writing| {
            Box::pin(async move {
                let Writing { connection, revision, .. } = writing;
                check_room(connection, key, quota).await?;
                insert_key(connection, key, revision).await?;
                insert_version(connection, &key.id, version, columns).await?;
                insert_tags(connection, &TaggedResource::Key(key.id.clone()), tags).await?;
                delete_intent(connection, version.id.as_str()).await
            })
        })
        .await
    }

    /// Keeps a further version that was made; of a symmetric key it is the primary one from then on. Its intent goes in the same
    /// transaction.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`](crate::base::Kind::KeyNotFound) when the key is gone; what `agrees` says, which sees the key and its
    /// versions as they are in this moment; [`Kind::LimitExceeded`](crate::base::Kind::LimitExceeded) when the quota of its instance is
    /// used up; the database fails.
    pub async fn commit_version(
        &self,
        key: &KeyId,
        version: &KeyVersion,
        quota: Option<KeyQuota>,
        agrees: impl Fn(&Key, Versions) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        let columns = &self.columns(version)?;
        let agrees = &agrees;
        self.write("commit key version", |writing| {
            Box::pin(async move {
                let Writing { connection, revision, sealer, .. } = writing;
                let kept = locked(connection, sealer, key).await?;
                agrees(&kept, versions_of(connection, &kept).await?)?;
                check_room(connection, &kept, quota).await?;
                insert_version(connection, key, version, columns).await?;
                let primary = if kept.spec.is_symmetric() { &version.id } else { &kept.primary_version };
                sqlx::query("UPDATE keys SET primary_version = $2, revision = $3 WHERE id = $1")
                    .bind(key.as_str())
                    .bind(primary.as_str())
                    .bind(revision)
                    .execute(&mut *connection)
                    .await?;
                end_attempt(connection, key).await?;
                delete_intent(connection, version.id.as_str()).await
            })
        })
        .await
    }

    pub(super) fn columns(&self, version: &KeyVersion) -> Result<MaterialColumns> {
        Ok(match &version.material {
            Some(Material::Held { id, secret }) => {
                let held = self.sealer.seal(held_place(version.id.as_str()), secret)?;
                MaterialColumns { object_id: Some(id.clone()), held: Some(held) }
            }
            Some(Material::Resident(id)) => MaterialColumns { object_id: Some(id.clone()), held: None },
            None => MaterialColumns { object_id: None, held: None },
        })
    }

    /// Forgets a key that was not made after all.
    ///
    /// # Errors
    /// The database fails.
    pub async fn withdraw_intent(&self, version: &KeyVersionId) -> Result<()> {
        self.write_unseen("withdraw intent", |writing| Box::pin(delete_intent(writing.connection, version.as_str()))).await
    }

    /// The keys that were begun and neither kept nor withdrawn; what cannot be read of them is logged.
    ///
    /// # Errors
    /// The database fails.
    pub async fn intents(&self) -> Result<Vec<KeyIntent>> {
        let statement = "SELECT version_id, key_id, instance, spec, usage, created FROM key_intents ORDER BY created, version_id";
        let rows = sqlx::query(statement).fetch_all(&self.pool).await.map_err(failed)?;
        Ok(self.told.usable(Rows::read("key_intents", &rows, |row| KeyIntent::from_row(row).map_err(failed))))
    }

    /// Notes how many AES-GCM encryptions are counted for versions. A number that is lower than what is noted changes nothing, and
    /// the change counter stays: no snapshot shows the numbers of others.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_encryptions(&self, counts: &[(KeyVersionId, u64)]) -> Result<()> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        for (version, count) in counts {
            sqlx::query("UPDATE key_versions SET encryptions = $2 WHERE id = $1 AND encryptions < $2")
                .bind(version.as_str())
                .bind(count.cast_signed())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    pub(super) fn version(&self, row: &SqliteRow) -> Result<KeyVersion> {
        let id: String = row.try_get("id").map_err(failed)?;
        let material = match (row.try_get("object_id").map_err(failed)?, row.try_get("held").map_err(failed)?) {
            (Some::<Vec<u8>>(object), Some::<Vec<u8>>(held)) => {
                Some(Material::Held { id: object, secret: self.sealer.open(held_place(&id), &held)? })
            }
            (Some(object), None) => Some(Material::Resident(object)),
            (None, None) => None,
            (None, Some(_)) => return Err(Error::internal(format!("the material of the version {id} has no id"))),
        };
        Ok(KeyVersion {
            created: Timestamp::from_unix(row.try_get("created").map_err(failed)?),
            material,
            public_key: row.try_get::<Option<Vec<u8>>, _>("public_key").map_err(failed)?.map(SubjectPublicKeyInfo::from_der),
            attributes: attributes(row).map_err(failed)?,
            fingerprint: row
                .try_get::<Option<Vec<u8>>, _>("fingerprint")
                .map_err(failed)?
                .map(|bytes| bytes.try_into().map_err(|_| corrupt("a fingerprint of another length")))
                .transpose()?,
            encryptions: row.try_get::<i64, _>("encryptions").map_err(failed)?.cast_unsigned(),
            id: id.parse().map_err(corrupt)?,
        })
    }
}

/// Statements are made of constants only.
pub(super) fn const_format(columns: &'static str, rest: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("SELECT {columns} {rest}"))
}

fn held_place(version: &str) -> Place<'_> {
    Place { table: "key_versions", row: version, column: "held" }
}

async fn insert_key(connection: &mut SqliteConnection, key: &Key, revision: i64) -> Result<(), Fault> {
    let statement = "INSERT INTO keys (id, instance, spec, usage, origin, state, rotation_interval, description, creator, created,
        initial_version, primary_version, policy, revision, has_material, material_expires)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    let (has_material, material_expires) = presence_columns(key.presence);
    sqlx::query(statement)
        .bind(key.id.as_str())
        .bind(key.instance.as_str())
        .bind(key.spec.name())
        .bind(key.usage.name())
        .bind(key.origin.name())
        .bind(key.state.name())
        .bind(interval_column(key))
        .bind(&key.description)
        .bind(&key.creator)
        .bind(key.created.unix())
        .bind(key.initial_version.as_str())
        .bind(key.primary_version.as_str())
        .bind(key.policy.as_ref().map(|policy| policy.text()))
        .bind(revision)
        .bind(has_material)
        .bind(material_expires)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_version(
    connection: &mut SqliteConnection,
    key: &KeyId,
    version: &KeyVersion,
    columns: &MaterialColumns,
) -> Result<(), Fault> {
    if let (Some(fingerprint), Some(Arrival::Generated)) = (&version.fingerprint, version.attributes.map(|read| read.arrival)) {
        check_no_twin(connection, &version.id, fingerprint).await?;
    }
    let statement =
        "INSERT INTO key_versions (id, key_id, created, object_id, held, public_key, local, sensitive, always_sensitive,
        extractable, never_extractable, encryptions, arrival, fingerprint, number) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
        $11, $12, $13, $14, (SELECT COALESCE(MAX(number), 0) + 1 FROM key_versions WHERE key_id = $2))";
    sqlx::query(statement)
        .bind(version.id.as_str())
        .bind(key.as_str())
        .bind(version.created.unix())
        .bind(columns.object_id.as_deref())
        .bind(columns.held.as_deref())
        .bind(version.public_key.as_ref().map(SubjectPublicKeyInfo::as_der))
        .bind(attribute(version, |attributes| attributes.local))
        .bind(attribute(version, |attributes| attributes.sensitive))
        .bind(attribute(version, |attributes| attributes.always_sensitive))
        .bind(attribute(version, |attributes| attributes.extractable))
        .bind(attribute(version, |attributes| attributes.never_extractable))
        .bind(version.encryptions.cast_signed())
        .bind(arrival(version))
        .bind(version.fingerprint.as_ref().map(Fingerprint::as_slice))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn delete_intent(connection: &mut SqliteConnection, object: &str) -> Result<(), Fault> {
    sqlx::query("DELETE FROM key_intents WHERE version_id = $1").bind(object).execute(connection).await?;
    Ok(())
}

/// The column of an attribute; empty for a key that no token has.
pub(super) fn attribute(version: &KeyVersion, read: fn(&KeyAttributes) -> bool) -> Option<i64> {
    version.attributes.as_ref().map(|attributes| i64::from(read(attributes)))
}

/// The column of how it came into its token; empty as those are.
pub(super) fn arrival(version: &KeyVersion) -> Option<&'static str> {
    version.attributes.as_ref().map(|attributes| attributes.arrival.name())
}

/// All six or none.
fn attributes(row: &SqliteRow) -> Result<Option<KeyAttributes>, sqlx::Error> {
    let read = |column: &str| row.try_get::<Option<i64>, _>(column).map(|value| value.map(|value| value != 0));
    if row.try_get::<Option<String>, _>("arrival")?.is_none() {
        return Ok(None);
    }
    let arrival = parsed(row, "arrival")?;
    let all = (read("local")?, read("sensitive")?, read("always_sensitive")?, read("extractable")?, read("never_extractable")?);
    Ok(match all {
        (Some(local), Some(sensitive), Some(always_sensitive), Some(extractable), Some(never_extractable)) => {
            Some(KeyAttributes { arrival, local, sensitive, always_sensitive, extractable, never_extractable })
        }
        _ => None,
    })
}

/// Automatic rotation as it is kept: seconds, or nothing.
pub(super) fn interval_column(key: &Key) -> Option<i64> {
    key.rotation_interval.map(|interval| interval.seconds().cast_signed())
}

fn interval(seconds: i64) -> Result<RotationInterval, sqlx::Error> {
    RotationInterval::from_seconds(seconds.cast_unsigned()).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Whether the instance of a key has room for another version. Transactions that write come one after the other, so no two take the
/// last one.
async fn check_room(connection: &mut SqliteConnection, key: &Key, quota: Option<KeyQuota>) -> Result<(), Fault> {
    let Some(quota) = quota else { return Ok(()) };
    let statement = "SELECT COUNT(*) FROM key_versions JOIN keys ON keys.id = key_versions.key_id WHERE keys.instance = $1";
    let used: i64 = sqlx::query_scalar(statement).bind(key.instance.as_str()).fetch_one(connection).await?;
    Ok(quota.admits(&key.instance, used.cast_unsigned())?)
}

/// Of a key whose row is in hand.
pub(super) async fn versions_of(connection: &mut SqliteConnection, key: &Key) -> Result<Versions, Fault> {
    let (count, newest): (i64, Option<i64>) = sqlx::query_as("SELECT COUNT(*), MAX(created) FROM key_versions WHERE key_id = $1")
        .bind(key.id.as_str())
        .fetch_one(connection)
        .await?;
    Ok(Versions { count: usize::try_from(count).unwrap_or(usize::MAX), newest: newest.map_or(key.created, Timestamp::from_unix) })
}

/// Reads a column and parses it into a type of the model.
fn parsed<T: std::str::FromStr<Err = Error>>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|error: Error| sqlx::Error::Decode(error.into()))
}

impl FromRow<'_, SqliteRow> for KeyIntent {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            key: parsed(row, "key_id")?,
            version: parsed(row, "version_id")?,
            instance: parsed(row, "instance")?,
            spec: parsed(row, "spec")?,
            usage: parsed(row, "usage")?,
            created: Timestamp::from_unix(row.try_get("created")?),
        })
    }
}

fn policy(text: &str) -> Result<Arc<KeyPolicy>, sqlx::Error> {
    text.parse().map(Arc::new).map_err(|error: Error| sqlx::Error::Decode(error.into()))
}

/// A key as its row has it; what it orders to be destroyed as the proofs in the row say.
pub(super) fn key_of(row: &SqliteRow, sealer: &Sealer) -> Result<Key, sqlx::Error> {
    let mut key = Key {
        id: parsed(row, "id")?,
        instance: parsed(row, "instance")?,
        spec: parsed(row, "spec")?,
        usage: parsed(row, "usage")?,
        origin: parsed(row, "origin")?,
        state: parsed(row, "state")?,
        presence: presence((row.try_get("has_material")?, row.try_get("material_expires")?)),
        delete_at: row.try_get::<Option<i64>, _>("delete_at")?.map(Timestamp::from_unix),
        ordered: DestructionOrders::default(),
        deletion_protection: row
            .try_get::<Option<String>, _>("deletion_protection")?
            .map_or(DeletionProtection::Disabled, DeletionProtection::Enabled),
        rotation_interval: row.try_get::<Option<i64>, _>("rotation_interval")?.map(interval).transpose()?,
        description: row.try_get("description")?,
        creator: row.try_get("creator")?,
        created: Timestamp::from_unix(row.try_get("created")?),
        initial_version: parsed(row, "initial_version")?,
        primary_version: parsed(row, "primary_version")?,
        policy: row.try_get::<Option<String>, _>("policy")?.map(|text| policy(&text)).transpose()?,
    };
    key.ordered = orders::proven(sealer, &key, row.try_get("deletion_proof")?, row.try_get("expiry_proof")?);
    Ok(key)
}
