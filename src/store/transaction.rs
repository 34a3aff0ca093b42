//! Transactions: named, repeated while the database is busy, each raising the change counter but those of what no snapshot shows.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use sqlx::SqliteConnection;

use super::seal::Sealer;
use super::{Store, failed};
use crate::base::{Error, Result};

/// Attempts at one transaction; the database itself waits some seconds in each.
const ATTEMPTS: usize = 3;

/// What a transaction does, to be repeatable: it borrows and changes nothing but the database.
pub(super) type Step<'c, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'c>>;

/// A transaction that is under way, for as long as what it borrows from its caller.
pub(super) struct Writing<'c, 'a> {
    /// The connection that the transaction is on.
    pub(super) connection: &'c mut SqliteConnection,
    /// The new value of the change counter; that which it has where it is not raised.
    pub(super) revision: i64,
    /// What opens and seals columns.
    pub(super) sealer: &'c Sealer,
    /// Tells the compiler that what the work borrows (`'a`) outlives the transaction (`'c`).
    outlives: PhantomData<&'c &'a ()>,
}

/// Why a transaction ended: the database, or a rule of ours.
pub(super) enum Fault {
    Database(sqlx::Error),
    Ours(Error),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// What a transaction does to the change counter.
#[derive(Clone, Copy)]
enum Counter {
    /// It rises: every node reads what was written.
    Rises,
    /// It stays: no snapshot shows what was written.
    Stays,
}

impl Counter {
    const fn statement(self) -> &'static str {
        match self {
            Self::Rises => "UPDATE installation SET revision = revision + 1 RETURNING revision",
            Self::Stays => "SELECT revision FROM installation",
        }
    }
}

impl Store {
    /// Runs `work` as one transaction and commits.
    pub(super) async fn write<'a, T, W>(&self, name: &'static str, work: W) -> Result<T>
    where
        T: Send,
        W: for<'c> Fn(Writing<'c, 'a>) -> Step<'c, T> + Send + Sync,
    {
        self.transact(name, Counter::Rises, work).await
    }

    /// The same for what no snapshot shows.
    pub(super) async fn write_unseen<'a, T, W>(&self, name: &'static str, work: W) -> Result<T>
    where
        T: Send,
        W: for<'c> Fn(Writing<'c, 'a>) -> Step<'c, T> + Send + Sync,
    {
        self.transact(name, Counter::Stays, work).await
    }

    async fn transact<'a, T, W>(&self, name: &'static str, counter: Counter, work: W) -> Result<T>
    where
        T: Send,
        W: for<'c> Fn(Writing<'c, 'a>) -> Step<'c, T> + Send + Sync,
    {
        let mut attempt = 1;
        loop {
            match self.attempt(counter, &work).await {
                Ok(done) => return Ok(done),
                Err(Fault::Ours(error)) => return Err(error),
                Err(Fault::Database(error)) if is_busy(&error) && attempt < ATTEMPTS => {
                    tracing::debug!(transaction = name, attempt, %error, "the database is busy");
                    attempt += 1;
                }
                Err(Fault::Database(error)) => {
                    tracing::error!(transaction = name, %error, "a transaction failed");
                    return Err(failed(error));
                }
            }
        }
    }

    async fn attempt<'a, T, W>(&self, counter: Counter, work: &W) -> Result<T, Fault>
    where
        W: for<'c> Fn(Writing<'c, 'a>) -> Step<'c, T> + Send + Sync,
    {
        // To write from the start: a transaction that begins by reading may find out too late that somebody else wrote.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let revision = sqlx::query_scalar(counter.statement()).fetch_one(&mut *transaction).await?;
        let done = work(Writing { connection: &mut transaction, revision, sealer: &self.sealer, outlives: PhantomData }).await?;
        transaction.commit().await?;
        Ok(done)
    }
}

/// SQLITE_BUSY and SQLITE_LOCKED with their extended codes.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i64>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// Whether a row of that key is there already.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
