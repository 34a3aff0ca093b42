//! Identities with their policies and AccessKeys.

use std::collections::HashSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::rows::{Rows, number, parsed, text};
use super::seal::Place;
use super::transaction::{Fault, is_taken};
use super::{Store, corrupt, failed, unreadable};
use crate::base::{Error, Kind, Result, SecretBytes, Timestamp};
use crate::model::operator::{
    ACCESS_KEYS_PER_IDENTITY, AccessKeyInfo, AccessKeyState, AttachedPolicy, IDENTITIES, Identity, IdentityKind,
    POLICIES_PER_IDENTITY, UnclaimedPolicies,
};
use crate::model::{AccessKeyId, Name};

/// The name of the root, the owner of the AccessKey that `keystead init` makes.
pub const ADMINISTRATOR: &str = "administrator";

/// An AccessKey.
pub struct AccessKey {
    /// What may be seen of it.
    pub info: AccessKeyInfo,
    /// What requests are signed with.
    pub secret: SecretBytes,
}

impl Store {
    /// Keeps an AccessKey of the root, which is made with its first one; the former ones go.
    ///
    /// # Errors
    /// The database fails.
    pub async fn replace_administrator(&self, key: &AccessKey) -> Result<()> {
        let secret = self.sealed_secret(key)?;
        let (owner, secret) = (key.info.owner.as_str(), secret.as_slice());
        self.write("replace administrator", |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                let statement = "INSERT INTO identities (name, kind, description, created) VALUES ($1, $2, $3, $4)
                    ON CONFLICT (name) DO NOTHING";
                sqlx::query(statement)
                    .bind(owner)
                    .bind(IdentityKind::Root.name())
                    .bind("Made by keystead init.")
                    .bind(key.info.created.unix())
                    .execute(&mut *connection)
                    .await?;
                sqlx::query("DELETE FROM access_keys WHERE owner = $1").bind(owner).execute(&mut *connection).await?;
                insert_access_key(connection, &key.info, secret).await
            })
        })
        .await
    }

    /// Keeps an identity with its policies.
    ///
    /// # Errors
    /// [`Kind::ResourceExists`] when the name is taken, [`Kind::LimitExceeded`] when there are too many, or it has too many policies.
    pub async fn create_identity(&self, identity: &Identity) -> Result<()> {
        self.write("create identity", |writing| Box::pin(async move { insert_identity(writing.connection, identity).await })).await
    }

    /// Forgets an identity, its policies and its AccessKeys, which stop working.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`]; [`Kind::UnsupportedOperation`] for the root.
    pub async fn delete_identity(&self, name: &Name) -> Result<()> {
        self.write("delete identity", |writing| {
            Box::pin(async move {
                changeable(writing.connection, name).await?;
                sqlx::query("DELETE FROM identities WHERE name = $1").bind(name.as_str()).execute(writing.connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// Gives an identity a policy; one of the same name is replaced.
    ///
    /// # Errors
    /// As [`Store::delete_identity`]; [`Kind::LimitExceeded`] when it has too many already.
    pub async fn attach_policy(&self, identity: &Name, policy: &AttachedPolicy) -> Result<()> {
        self.write("attach policy", |writing| {
            Box::pin(async move {
                changeable(writing.connection, identity).await?;
                put_policy(writing.connection, identity, policy).await
            })
        })
        .await
    }

    /// Takes a policy from an identity.
    ///
    /// # Errors
    /// As [`Store::delete_identity`]; [`Kind::ResourceNotFound`] when it does not have it.
    pub async fn detach_policy(&self, identity: &Name, policy: &Name) -> Result<()> {
        self.write("detach policy", |writing| {
            Box::pin(async move {
                changeable(writing.connection, identity).await?;
                let statement = "DELETE FROM identity_policies WHERE identity = $1 AND name = $2";
                let query = sqlx::query(statement).bind(identity.as_str()).bind(policy.as_str());
                let text = || format!("The operator {identity} has no policy {policy}.");
                found(query.execute(writing.connection).await?.rows_affected(), text)
            })
        })
        .await
    }

    /// All identities with their policies, by name; those that cannot be used are logged.
    ///
    /// # Errors
    /// The database fails.
    pub async fn identities(&self) -> Result<Vec<Identity>> {
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        Ok(self.told.usable(identities(&mut transaction).await?.0))
    }

    /// Keeps an AccessKey.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`] without its owner, [`Kind::UnsupportedOperation`] for a role, [`Kind::LimitExceeded`] when the owner has
    /// two already.
    pub async fn create_access_key(&self, key: &AccessKey) -> Result<()> {
        let secret = self.sealed_secret(key)?;
        let (owner, secret) = (&key.info.owner, secret.as_slice());
        self.write("create access key", |writing| {
            Box::pin(async move {
                let connection = writing.connection;
                match kind_of(connection, owner).await? {
                    IdentityKind::Root | IdentityKind::User => {}
                    IdentityKind::Role => {
                        return Err(Error::unsupported(format!("{owner} is a role and has no AccessKeys: it is assumed.")).into());
                    }
                }
                let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM access_keys WHERE owner = $1")
                    .bind(owner.as_str())
                    .fetch_one(&mut *connection)
                    .await?;
                within(count, ACCESS_KEYS_PER_IDENTITY, || {
                    format!("The operator {owner} has {ACCESS_KEYS_PER_IDENTITY} AccessKeys already: delete one first.")
                })?;
                insert_access_key(connection, &key.info, secret).await
            })
        })
        .await
    }

    /// Lets an AccessKey be used, or not.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn set_access_key_state(&self, id: &AccessKeyId, state: AccessKeyState) -> Result<()> {
        self.write("set access key state", |writing| {
            Box::pin(async move {
                let query = sqlx::query("UPDATE access_keys SET state = $2 WHERE id = $1").bind(id.as_str()).bind(state.name());
                found(query.execute(writing.connection).await?.rows_affected(), || format!("There is no AccessKey {id}."))
            })
        })
        .await
    }

    /// Forgets an AccessKey.
    ///
    /// # Errors
    /// [`Kind::ResourceNotFound`].
    pub async fn delete_access_key(&self, id: &AccessKeyId) -> Result<()> {
        self.write("delete access key", |writing| {
            Box::pin(async move {
                let query = sqlx::query("DELETE FROM access_keys WHERE id = $1").bind(id.as_str());
                found(query.execute(writing.connection).await?.rows_affected(), || format!("There is no AccessKey {id}."))
            })
        })
        .await
    }

    /// All AccessKeys, the oldest first; those whose secrets do not open are logged.
    ///
    /// # Errors
    /// The database fails.
    pub async fn access_keys(&self) -> Result<Vec<AccessKey>> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        Ok(self.told.usable(self.access_key_rows(&mut connection).await?))
    }

    pub(super) async fn access_key_rows(&self, connection: &mut SqliteConnection) -> Result<Rows<AccessKey>> {
        let statement = "SELECT id, secret, owner, state, created FROM access_keys ORDER BY created, id";
        let rows = sqlx::query(statement).fetch_all(connection).await.map_err(unreadable("access_keys"))?;
        Ok(Rows::read("access_keys", &rows, |row| {
            let sealed: Vec<u8> = row.try_get("secret").map_err(failed)?;
            let secret = self.sealer.open(secret_place(&text(row, "id")?), &sealed)?;
            let created = Timestamp::from_unix(number(row, "created")?);
            let (id, owner, state) = (parsed(row, "id")?, parsed(row, "owner")?, parsed(row, "state")?);
            Ok(AccessKey { info: AccessKeyInfo { id, owner, state, created }, secret })
        }))
    }

    fn sealed_secret(&self, key: &AccessKey) -> Result<Vec<u8>> {
        self.sealer.seal(secret_place(key.info.id.as_str()), &key.secret)
    }
}

/// An identity with its policies.
pub(super) async fn insert_identity(connection: &mut SqliteConnection, identity: &Identity) -> Result<(), Fault> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM identities").fetch_one(&mut *connection).await?;
    within(count, IDENTITIES, || format!("There are {IDENTITIES} operators and roles already."))?;
    let made = sqlx::query("INSERT INTO identities (name, kind, description, created) VALUES ($1, $2, $3, $4)")
        .bind(identity.name.as_str())
        .bind(identity.kind.name())
        .bind(&identity.description)
        .bind(identity.created.unix())
        .execute(&mut *connection)
        .await;
    match made {
        Ok(_) => {}
        Err(error) if is_taken(&error) => {
            let text = format!("There is an operator or a role {} already.", identity.name);
            return Err(Error::new(Kind::ResourceExists, text).into());
        }
        Err(error) => return Err(error.into()),
    }
    for policy in &identity.policies {
        put_policy(connection, &identity.name, policy).await?;
    }
    Ok(())
}

/// All identities with their policies, by name, and the policies of none of them. One of whose policies one cannot be used is none: it may
/// deny what the others allow.
pub(super) async fn identities(connection: &mut SqliteConnection) -> Result<(Rows<Identity>, UnclaimedPolicies)> {
    let statement = "SELECT name, kind, description, created FROM identities ORDER BY name";
    let rows = sqlx::query(statement).fetch_all(&mut *connection).await.map_err(unreadable("identities"))?;
    let statement = "SELECT identity, name, document FROM identity_policies ORDER BY identity, name";
    let policies = sqlx::query(statement).fetch_all(connection).await.map_err(unreadable("identity_policies"))?;
    let policies = policies.iter().map(|row| (text(row, "identity").ok(), attached(row).map_err(|error| error.causes())));
    let policies: Vec<_> = policies.collect();
    let identities = Rows::read("identities", &rows, |row| {
        let name = text(row, "name")?;
        let of_it = policies.iter().filter(|(identity, _)| identity.as_ref() == Some(&name));
        Ok(Identity {
            policies: of_it.map(|(_, policy)| policy.clone().map_err(corrupt)).collect::<Result<_>>()?,
            name: name.parse().map_err(corrupt)?,
            kind: parsed(row, "kind")?,
            description: text(row, "description")?,
            created: Timestamp::from_unix(number(row, "created")?),
        })
    });
    let names: HashSet<String> = rows.iter().filter_map(|row| text(row, "name").ok()).collect();
    let mut unclaimed = UnclaimedPolicies::default();
    for (_, policy) in policies.into_iter().filter(|(identity, _)| identity.as_ref().is_none_or(|name| !names.contains(name))) {
        match policy {
            Ok(policy) => unclaimed.add(policy),
            Err(_) => unclaimed.add_unreadable(),
        }
    }
    Ok((identities, unclaimed))
}

fn attached(row: &SqliteRow) -> Result<AttachedPolicy> {
    let document: Option<String> = row.try_get("document").map_err(failed)?;
    Ok(match document {
        None => AttachedPolicy::BuiltIn(parsed(row, "name")?),
        Some(document) => AttachedPolicy::Custom { name: parsed(row, "name")?, document: document.parse().map_err(corrupt)? },
    })
}

async fn kind_of(connection: &mut SqliteConnection, name: &Name) -> Result<IdentityKind, Fault> {
    let kind: Option<String> =
        sqlx::query_scalar("SELECT kind FROM identities WHERE name = $1").bind(name.as_str()).fetch_optional(connection).await?;
    let kind = kind.ok_or_else(|| Error::new(Kind::ResourceNotFound, format!("There is no operator {name}.")))?;
    Ok(kind.parse().map_err(corrupt)?)
}

/// An identity whose permissions are its policies.
async fn changeable(connection: &mut SqliteConnection, name: &Name) -> Result<(), Fault> {
    match kind_of(connection, name).await? {
        IdentityKind::User | IdentityKind::Role => Ok(()),
        IdentityKind::Root => {
            let text =
                format!("{name} is the root: it is allowed everything, has no policies and stays. Disable its AccessKeys instead.");
            Err(Error::unsupported(text).into())
        }
    }
}

async fn put_policy(connection: &mut SqliteConnection, identity: &Name, policy: &AttachedPolicy) -> Result<(), Fault> {
    let document = match policy {
        AttachedPolicy::BuiltIn(_) => None,
        AttachedPolicy::Custom { document, .. } => Some(document.text()),
    };
    let statement = "INSERT INTO identity_policies (identity, name, document) VALUES ($1, $2, $3)
        ON CONFLICT (identity, name) DO UPDATE SET document = excluded.document";
    sqlx::query(statement).bind(identity.as_str()).bind(policy.name()).bind(document).execute(&mut *connection).await?;
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM identity_policies WHERE identity = $1")
        .bind(identity.as_str())
        .fetch_one(connection)
        .await?;
    within(count - 1, POLICIES_PER_IDENTITY, || format!("The operator {identity} has at most {POLICIES_PER_IDENTITY} policies."))
}

async fn insert_access_key(connection: &mut SqliteConnection, info: &AccessKeyInfo, secret: &[u8]) -> Result<(), Fault> {
    sqlx::query("INSERT INTO access_keys (id, secret, owner, state, created) VALUES ($1, $2, $3, $4, $5)")
        .bind(info.id.as_str())
        .bind(secret)
        .bind(info.owner.as_str())
        .bind(info.state.name())
        .bind(info.created.unix())
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether one more may come to so many.
fn within(count: i64, limit: usize, text: impl Fn() -> String) -> Result<(), Fault> {
    if usize::try_from(count).is_ok_and(|count| count < limit) {
        Ok(())
    } else {
        Err(Error::new(Kind::LimitExceeded, text()).into())
    }
}

fn found(rows: u64, text: impl Fn() -> String) -> Result<(), Fault> {
    match rows {
        0 => Err(Error::new(Kind::ResourceNotFound, text()).into()),
        _ => Ok(()),
    }
}

fn secret_place(id: &str) -> Place<'_> {
    Place { table: "access_keys", row: id, column: "secret" }
}
