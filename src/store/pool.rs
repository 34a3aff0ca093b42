//! The connections to the database: how they are opened, and which of them are lent again.
//!
//! SQLite ends a transaction by itself when a statement fails for want of disk, memory or by an I/O error. The ROLLBACK that follows then
//! fails, and the connection counts as within a transaction for ever: nothing can be written through it any more. So a connection is lent
//! only if it is outside of a transaction; any other is closed, and a new one takes its place.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

/// Connections to the database: reads go beside the one write.
pub(super) const CONNECTIONS: u32 = 4;
/// How long a statement waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the database, which is there already.
pub(super) async fn connect(path: &Path) -> sqlx::Result<SqlitePool> {
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        // As soon as it comes back: a transaction that could not be rolled back may hold the lock that all others wait for.
        .after_release(|connection, _| Box::pin(is_outside_of_transaction(connection)))
        .before_acquire(|connection, _| Box::pin(is_outside_of_transaction(connection)))
        .connect_with(options(path))
        .await
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // What is deleted is overwritten: sealed material that was erased is not to stay behind in free pages.
        .pragma("secure_delete", "ON")
        .foreign_keys(true)
        .busy_timeout(BUSY)
}

/// Whether a connection can be lent. The ROLLBACK of a transaction that was dropped is only queued: the ping waits until it was tried.
async fn is_outside_of_transaction(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    connection.ping().await?;
    let outside = !connection.is_in_transaction();
    if !outside {
        tracing::warn!("a transaction was not rolled back; its connection to the database is closed");
    }
    Ok(outside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;
    use crate::model::access::{Policy, Scope};
    use crate::store::{RootKey, Store};

    /// As much as a disk that is not full.
    const ROOM: u32 = 100_000;

    /// Lets the database grow to so many pages, whichever connection writes.
    async fn limit(store: &Store, path: &Path, pages: u32) {
        store.pool.set_connect_options(options(path).pragma("max_page_count", pages.to_string()));
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = store.pool.acquire().await.unwrap();
            sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).execute(&mut *connection).await.unwrap();
            all.push(connection);
        }
    }

    /// A policy of several pages.
    fn policy(number: usize) -> Policy {
        Policy {
            name: format!("p{number}").parse().unwrap(),
            scope: Scope::Shared,
            permissions: Vec::new(),
            resources: std::iter::empty().collect(),
            rules: Vec::new(),
            rules_text: String::new(),
            description: "d".repeat(20_000),
        }
    }

    #[tokio::test]
    async fn when_a_full_disk_has_room_again_every_connection_writes_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keystead.db");
        let store = Store::create(&path, &RootKey::generate()).await.unwrap();
        let mut number = 0;
        // The page that is one too many is another one of a row each time.
        for more in 0..8 {
            let used: u32 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&store.pool).await.unwrap();
            limit(&store, &path, used + more).await;
            let full = loop {
                number += 1;
                if let Err(error) = store.create_policy(&policy(number)).await {
                    break error;
                }
            };
            assert!(full.kind() == Kind::Unavailable && full.causes().contains("full"), "{full:?}");
            assert!(store.revision().await.is_ok(), "it is read all the same");
            limit(&store, &path, ROOM).await;
            for _ in 0..2 * CONNECTIONS {
                number += 1;
                store.create_policy(&policy(number)).await.unwrap();
            }
        }
    }
}
