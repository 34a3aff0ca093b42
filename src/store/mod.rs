//! Floor 2: the store, what is kept: keys, access, operators, authorities, alerts, the ends of the audit logs. SQL is written once, for SQLite and PostgreSQL.
//!
//! Called by the service alone. It knows no tier and no protocol. Every write is a named transaction, repeated while the database
//! is busy, and raises the change counter, by which every node sees that its snapshot is old, where a snapshot shows what was written.
//! Secret columns are sealed.

mod access;
mod access_changes;
mod access_rows;
mod alerts;
mod aliases;
mod audit;
mod authorities;
mod fingerprints;
mod import;
mod instances;
mod key_life;
mod key_rows;
mod keys;
mod objects;
mod oidc_providers;
mod operators;
mod orders;
mod pool;
mod roles;
mod rotation;
mod rows;
mod seal;
mod sessions;
mod tags;
mod transaction;
mod unclaimed;

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use sqlx::Row;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqlitePool;

use crate::base::{Error, Kind, Result, SecretBytes, Timestamp, durable};

pub use access::AccessTables;
pub use access_changes::PolicyChange;
pub use access_rows::AccessRows;
pub use alerts::{ALERT_QUEUE, Raised, Sending};
pub use audit::AuditPosition;
pub use authorities::Authorities;
pub use import::{Fingerprint, Placement, WrappingKey};
pub use key_rows::KeyRow;
pub use keys::{KeyIntent, KeyVersion, Versions};
pub use oidc_providers::OidcProviderChange;
pub use operators::{ADMINISTRATOR, AccessKey};
pub use orders::{ErasedObject, ObjectOrder, RefusedOrder};
pub use rows::{Rows, UnusableRow};
pub use seal::RootKey;
pub use sessions::Unopened;

use rows::Told;
use seal::{Place, Sealer};
use sessions::SessionKeys;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// Where the check value is sealed for.
const CHECK: Place<'static> = Place { table: "installation", row: "1", column: "check_value" };
const CHECK_VALUE: &[u8] = b"keystead";

/// What is wrong with the change counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterFault {
    /// There is no row of it: no transaction can begin.
    Gone,
    /// It shows the highest number that there is (2^63 - 1), and cannot be raised: nothing that a snapshot shows can be written.
    Spent,
    /// What stands there is no number, or one below zero. The next transaction makes it one.
    NoNumber,
}

/// What is kept. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
    sealer: Arc<Sealer>,
    session_keys: Arc<SessionKeys>,
    told: Told,
}

impl Store {
    /// Makes the database when it is not there, brings it to this version's schema, opens it.
    ///
    /// # Errors
    /// As [`Store::open`], but for the missing file.
    pub async fn create(path: &Path, root: &RootKey) -> Result<Self> {
        // SQLite would make it readable by everybody; its -wal and -shm get the mode of the database.
        let open = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        open.and_then(|_| durable::sync_folder_of(path))
            .map_err(|error| unavailable(format!("The database {} cannot be made: {error}.", path.display())))?;
        let store = Self::connect(path, root).await?;
        store.leave_check_value().await?;
        store.check_root_key(path).await?;
        Ok(store)
    }

    /// Opens the database and brings it to this version's schema.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] with one line: the file is not there (`keystead init` makes it), has been emptied, is no database of
    /// ours or one of a newer version, or the root key is another one.
    pub async fn open(path: &Path, root: &RootKey) -> Result<Self> {
        let looked = path.try_exists().map_err(|error| unavailable(format!("{} cannot be looked at: {error}.", path.display())));
        if !looked? {
            let text = "bring it back from a backup, or mount what it is on; for a new installation `keystead init` makes one";
            return Err(unavailable(format!("There is no database {}: {text}.", path.display())));
        }
        let store = Self::connect(path, root).await?;
        store.check_root_key(path).await?;
        Ok(store)
    }

    async fn connect(path: &Path, root: &RootKey) -> Result<Self> {
        let failed =
            |error: sqlx::Error| unavailable(format!("The database {} cannot be opened.", path.display())).caused_by(error);
        let pool = pool::connect(path).await.map_err(failed)?;
        MIGRATIONS.run(&pool).await.map_err(|error| match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
                unavailable(format!("The database {} was written by a newer version of Keystead.", path.display()))
            }
            error => {
                unavailable(format!("The database {} cannot be brought to this version's schema.", path.display())).caused_by(error)
            }
        })?;
        Ok(Self {
            pool,
            sealer: Arc::new(Sealer::new(root)?),
            session_keys: Arc::new(SessionKeys::new(root)?),
            told: Told::default(),
        })
    }

    /// Who makes the database leaves a sealed value in it, unless there is one.
    async fn leave_check_value(&self) -> Result<()> {
        let check = self.sealer.seal(CHECK, &SecretBytes::new(CHECK_VALUE.to_vec()))?;
        sqlx::query("INSERT INTO installation (id, revision, check_value) VALUES (1, 0, $1) ON CONFLICT (id) DO NOTHING")
            .bind(check)
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Whoever opens it must be able to open that value. A database without one was emptied: it must not pass for a new one, since
    /// that would hide the loss of every key.
    async fn check_root_key(&self, path: &Path) -> Result<()> {
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT check_value FROM installation").fetch_optional(&self.pool).await.map_err(failed)?;
        let Some(sealed) = sealed else {
            return Err(unavailable(format!("The database {} is empty: bring it back from a backup.", path.display())));
        };
        match self.sealer.open(CHECK, &sealed) {
            Ok(value) if value.constant_time_eq(CHECK_VALUE) => Ok(()),
            Ok(_) | Err(_) => Err(unavailable(format!("The root key is not the one that {} was sealed with.", path.display()))),
        }
    }

    /// The change counter: it rises with every write that a snapshot would show. Else what is wrong with it: somebody else wrote it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn revision(&self) -> Result<Result<u64, CounterFault>> {
        let statement = "SELECT revision FROM installation";
        let row = sqlx::query(statement).fetch_optional(&self.pool).await.map_err(unreadable("installation"))?;
        Ok(row.ok_or(CounterFault::Gone).and_then(|row| match row.try_get::<i64, _>("revision") {
            Ok(i64::MAX) => Err(CounterFault::Spent),
            Ok(revision) => u64::try_from(revision).map_err(|_| CounterFault::NoNumber),
            Err(_) => Err(CounterFault::NoNumber),
        }))
    }

    /// Since when every EncryptionContext is read: since the first time that this is asked, which is `now` if it was not asked before.
    ///
    /// # Errors
    /// The database fails.
    pub async fn contexts_bound_since(&self, now: Timestamp) -> Result<Timestamp> {
        let known = sqlx::query_scalar("SELECT contexts_bound_since FROM installation").fetch_one(&self.pool).await;
        if let Some(since) = known.map_err(failed)? {
            return Ok(Timestamp::from_unix(since));
        }
        let since: i64 = self
            .write_unseen("note since when contexts are bound", |writing| {
                Box::pin(async move {
                    let statement = "UPDATE installation SET contexts_bound_since = COALESCE(contexts_bound_since, $1)
                        RETURNING contexts_bound_since";
                    Ok(sqlx::query_scalar(statement).bind(now.unix()).fetch_one(writing.connection).await?)
                })
            })
            .await?;
        Ok(Timestamp::from_unix(since))
    }

    /// Ends: statements that run are waited for.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn unavailable(text: String) -> Error {
    Error::new(Kind::Unavailable, text)
}

/// What the caller is told of a database that fails.
const UNAVAILABLE: &str = "The store cannot serve the request at the moment.";

/// A database that fails.
fn failed(error: sqlx::Error) -> Error {
    Error::new(Kind::Unavailable, UNAVAILABLE).caused_by(error)
}

/// The same of a table that cannot be read; the log is told which.
fn unreadable(table: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |error| {
        let why = format!("the table {table} cannot be read: {error}");
        Error::new(Kind::Unavailable, UNAVAILABLE).caused_by(why)
    }
}

/// What does not parse in the database was not written by us.
fn corrupt(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("the database holds what does not parse: {error}"))
}
