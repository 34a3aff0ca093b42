//! Orders to destroy. Beside what is to be destroyed stands a proof, sealed under the root key: whoever can write the database alone can
//! give no order. A proof is bound to its table and row, and says of what key it is and from when on it holds.
//!
//! An order of before that was put back in its own row is not told from a new one.

use sqlx::{Row, SqliteConnection};

use super::rows::Rows;
use super::seal::{Place, Sealer};
use super::transaction::Fault;
use super::{Store, corrupt, failed};
use crate::base::{Error, Result, Timestamp};
use crate::model::key::{DeletionOrder, DestructionOrders, Key, Material, Presence};
use crate::model::{InstanceId, KeyId};

/// An object in a token that no key has any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedObject {
    /// Its CKA_ID.
    pub id: Vec<u8>,
    /// The key that had it.
    pub key: KeyId,
    /// Where.
    pub instance: InstanceId,
    /// Whether it is to be destroyed.
    pub order: ObjectOrder,
}

/// Whether an object that is called erased is to be destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectOrder {
    /// It is: the service ordered that.
    Proven,
    /// The row says so, and its proof does not.
    Unproven,
    /// This key version names it: its material is in use.
    Named(String),
}

/// What stands in the database as if it were to be destroyed, and is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusedOrder {
    /// A key.
    Deletion(KeyId),
    /// The imported material of a key.
    Expiry(KeyId),
    /// An object, by its CKA_ID.
    Object {
        /// The CKA_ID.
        object: String,
        /// The key that had it, as the row says.
        key: KeyId,
        /// The key version that names it; `None` when there is none, but no proof either.
        named_by: Option<String>,
    },
}

impl RefusedOrder {
    /// Those in the row of a key.
    pub fn of_key(key: &Key) -> impl Iterator<Item = Self> + use<> {
        let deletion = key.lacks_deletion_order().then(|| Self::Deletion(key.id.clone()));
        let expiry = key.lacks_expiry_order().then(|| Self::Expiry(key.id.clone()));
        deletion.into_iter().chain(expiry)
    }

    /// That of an object that is called erased.
    pub fn of_object(erased: &ErasedObject) -> Option<Self> {
        let named_by = match &erased.order {
            ObjectOrder::Proven => return None,
            ObjectOrder::Unproven => None,
            ObjectOrder::Named(version) => Some(version.clone()),
        };
        Some(Self::Object { object: String::from_utf8_lossy(&erased.id).into_owned(), key: erased.key.clone(), named_by })
    }
}

impl std::fmt::Display for RefusedOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deletion(key) => write!(
                f,
                "the deletion of the key {key} has no proof that fits it: the key is not destroyed until ScheduleKeyDeletion orders it anew; \
                 CancelKeyDeletion enables it"
            ),
            Self::Expiry(key) => write!(
                f,
                "the date of the material of the key {key} has no proof: its use ends then, and it is not erased until \
                 ImportKeyMaterial gives the date anew or DeleteKeyMaterial erases it"
            ),
            Self::Object { object, key, named_by: Some(version) } => write!(
                f,
                "the object {object} of the key {key} is called erased, but the key version {version} names it: it is not destroyed"
            ),
            Self::Object { object, key, named_by: None } => write!(
                f,
                "the object {object} of the key {key} is called erased, without a proof: it is not destroyed; if no key needs it, \
                 destroy it with a tool of the token, and the next start forgets it"
            ),
        }
    }
}

impl Store {
    /// The objects that are called erased and were not destroyed yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn erased_objects(&self) -> Result<Vec<ErasedObject>> {
        let statement = "SELECT object_id, key_id, instance, proof,
            (SELECT id FROM key_versions WHERE key_versions.object_id = erased_objects.object_id LIMIT 1) AS named_by
            FROM erased_objects ORDER BY object_id";
        let rows = sqlx::query(statement).fetch_all(&self.pool).await.map_err(failed)?;
        let read = Rows::read("erased_objects", &rows, |row| {
            let id: Vec<u8> = row.try_get("object_id").map_err(failed)?;
            let key: KeyId = row.try_get::<String, _>("key_id").map_err(failed)?.parse().map_err(corrupt)?;
            let instance: InstanceId = row.try_get::<String, _>("instance").map_err(failed)?.parse().map_err(corrupt)?;
            let proof: Option<Vec<u8>> = row.try_get("proof").map_err(failed)?;
            let named_by: Option<String> = row.try_get("named_by").map_err(failed)?;
            let row = shown(&id);
            let proven = self.sealer.proven(object_place(&row), proof.as_deref()) == Some(object_fact(&key, &instance));
            let order = match named_by {
                Some(version) => ObjectOrder::Named(version),
                None if proven => ObjectOrder::Proven,
                None => ObjectOrder::Unproven,
            };
            Ok(ErasedObject { id, key, instance, order })
        });
        Ok(self.told.usable(read))
    }

    /// An object is not there any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_erased_object(&self, id: &[u8]) -> Result<()> {
        sqlx::query("DELETE FROM erased_objects WHERE object_id = $1").bind(id).execute(&self.pool).await.map_err(failed)?;
        Ok(())
    }
}

/// The columns of that in the row of a key; empty without an order.
pub(super) struct KeyProofs {
    pub(super) deletion: Option<Vec<u8>>,
    pub(super) expiry: Option<Vec<u8>>,
}

pub(super) fn proofs_of_key(sealer: &Sealer, key: &Key) -> Result<KeyProofs> {
    let prove = |fact: Option<Vec<u8>>, column| fact.map(|fact| sealer.prove(key_place(&key.id, column), &fact)).transpose();
    let expiry = key.ordered.expiry.map(|end| end.unix().to_be_bytes().to_vec());
    Ok(KeyProofs { deletion: prove(key.ordered.deletion.map(deletion_fact), DELETION)?, expiry: prove(expiry, EXPIRY)? })
}

/// What those columns prove of a key. What stands beside it and says something else was not written by us, and so there is no order.
pub(super) fn proven(sealer: &Sealer, key: &Key, deletion: Option<&[u8]>, expiry: Option<&[u8]>) -> DestructionOrders {
    let fact = |proof, column| sealer.proven(key_place(&key.id, column), proof);
    let fits = |order: &DeletionOrder| match order {
        DeletionOrder::Scheduled(at) => key.delete_at == Some(*at),
        DeletionOrder::Begun(_) => key.delete_at.is_none(),
    };
    let expires = match key.presence {
        Presence::Until(end) => Some(end),
        Presence::Present | Presence::Absent => None,
    };
    DestructionOrders {
        deletion: fact(deletion, DELETION).and_then(|fact| deletion_of(&fact)).filter(fits),
        expiry: fact(expiry, EXPIRY).and_then(|fact| date_of(&fact)).filter(|end| expires == Some(*end)),
    }
}

/// The date, and whether the destruction was begun.
fn deletion_fact(order: DeletionOrder) -> Vec<u8> {
    let stage = match order {
        DeletionOrder::Scheduled(_) => [].as_slice(),
        DeletionOrder::Begun(_) => BEGUN,
    };
    [&order.date().unix().to_be_bytes(), stage].concat()
}

fn deletion_of(fact: &[u8]) -> Option<DeletionOrder> {
    match fact.strip_suffix(BEGUN) {
        Some(date) => date_of(date).map(DeletionOrder::Begun),
        None => date_of(fact).map(DeletionOrder::Scheduled),
    }
}

fn date_of(fact: &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_unix(i64::from_be_bytes(fact.try_into().ok()?)))
}

/// Notes objects that a key loses, to be destroyed.
///
/// # Errors
/// One of them is called as those of another key: nothing is destroyed on the word of such a row.
pub(super) async fn order_objects(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    (key, instance): (&KeyId, &InstanceId),
    objects: &[Vec<u8>],
) -> Result<(), Fault> {
    for object in objects {
        if !Material::Resident(object.clone()).is_of(key) {
            let object = String::from_utf8_lossy(object);
            let text = format!("the key {key} names the object {object}, which is called as none of its own");
            return Err(Error::internal(text).into());
        }
        let proof = sealer.prove(object_place(&shown(object)), &object_fact(key, instance))?;
        let statement = "INSERT INTO erased_objects (object_id, key_id, instance, proof) VALUES ($1, $2, $3, $4)
            ON CONFLICT (object_id) DO UPDATE SET key_id = excluded.key_id, instance = excluded.instance, proof = excluded.proof";
        sqlx::query(statement)
            .bind(object)
            .bind(key.as_str())
            .bind(instance.as_str())
            .bind(proof)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Lists an object as erased that nobody ordered to be destroyed: it is told of, and stays.
pub(super) async fn list_object(
    connection: &mut SqliteConnection,
    (key, instance): (&KeyId, &InstanceId),
    object: &[u8],
) -> Result<(), Fault> {
    let statement =
        "INSERT INTO erased_objects (object_id, key_id, instance) VALUES ($1, $2, $3) ON CONFLICT (object_id) DO NOTHING";
    sqlx::query(statement).bind(object).bind(key.as_str()).bind(instance.as_str()).execute(connection).await?;
    Ok(())
}

/// The proof of a pair in a token that unwraps: which object of which key it is, and until when it serves.
pub(super) fn prove_pair(sealer: &Sealer, id: &str, pair: &Pair<'_>) -> Result<Vec<u8>> {
    sealer.prove(pair_place(id), &pair.fact())
}

/// Whether that is what the proof says.
pub(super) fn is_proven_pair(sealer: &Sealer, id: &str, pair: &Pair<'_>, proof: Option<&[u8]>) -> bool {
    sealer.proven(pair_place(id), proof) == Some(pair.fact())
}

/// A pair in a token that unwraps.
pub(super) struct Pair<'a> {
    pub(super) key: &'a KeyId,
    pub(super) object: &'a [u8],
    pub(super) expires: Timestamp,
}

impl Pair<'_> {
    /// Each part but the last has one length.
    fn fact(&self) -> Vec<u8> {
        [&self.expires.unix().to_be_bytes(), self.key.as_str().as_bytes(), self.object].concat()
    }
}

const DELETION: &str = "deletion_proof";
const EXPIRY: &str = "expiry_proof";
/// What follows the date of a deletion whose destruction was begun.
const BEGUN: &[u8] = b"begun";

fn key_place<'a>(key: &'a KeyId, column: &'a str) -> Place<'a> {
    Place { table: "keys", row: key.as_str(), column }
}

fn pair_place(id: &str) -> Place<'_> {
    Place { table: "wrapping_keys", row: id, column: "proof" }
}

fn object_place(shown: &str) -> Place<'_> {
    Place { table: "erased_objects", row: shown, column: "proof" }
}

/// Ids of keys have one length.
fn object_fact(key: &KeyId, instance: &InstanceId) -> Vec<u8> {
    [key.as_str(), instance.as_str()].concat().into_bytes()
}

/// An object's CKA_ID in hexadecimal digits: none is like another.
fn shown(object: &[u8]) -> String {
    object.iter().map(|byte| format!("{byte:02x}")).collect()
}
